//! Reading an answer that grows: one line after the other, for as long as the other side has something to tell.

use std::io;

use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Longest line that is read.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Lines of an answer.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    /// Came, and is not given out yet.
    held: Vec<u8>,
    /// Drives the connection; ends with this.
    connection: JoinHandle<()>,
}

/// Asks for `uri`; the answer's status and what follows it.
pub(crate) async fn open(stream: UnixStream, uri: &str) -> hyper::Result<(StatusCode, Lines)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        // Its errors are the body's, too, where they are told.
        let _ = connection.await;
    });
    let mut request = hyper::Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri.parse().unwrap_or_default();
    request.headers_mut().insert(HOST, hyper::header::HeaderValue::from_static("localhost"));
    let response = sender.send_request(request).await?;
    Ok((response.status(), Lines { body: response.into_body(), held: Vec::new(), connection }))
}

impl Lines {
    /// The next line without its end; `None`: the other side has told all it had to. Nothing is lost when this is
    /// dropped while it waits.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.held[looked_at..].iter().position(|b| *b == b'\n') {
                let rest = self.held.split_off(looked_at + end + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                return Ok(Some(line.into()));
            }
            looked_at = self.held.len();
            if looked_at > LINE_BYTES_MAX {
                return Err(io::Error::other("a line without an end"));
            }
            match self.piece().await? {
                Some(bytes) => self.held.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// All that comes, up to a limit.
    pub(crate) async fn rest(&mut self) -> io::Result<Bytes> {
        while self.held.len() <= LINE_BYTES_MAX
            && let Some(bytes) = self.piece().await?
        {
            self.held.extend_from_slice(&bytes);
        }
        Ok(std::mem::take(&mut self.held).into())
    }

    /// What comes next, as it comes, for an answer that has no lines; `None` at its end. Not after [`Self::next`].
    pub async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
