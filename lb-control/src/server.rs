//! The serving end of a local socket: HTTP/1.1 over a Unix listener.
//!
//! Bounded on every side, because a socket that operators and tools talk to must answer when things are bad:
//! at most [`CONNECTIONS_MAX`] connections at once (more wait in the kernel's queue), a head within
//! [`HEAD_TIMEOUT`], a body within [`BODY_TIMEOUT`] and of at most [`BODY_BYTES_MAX`] bytes, and answers that are read:
//! see [`crate::patience`]. Each connection is its own task: one that is slow or silent holds up nobody.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use crate::patience::Patient;
pub use crate::socket::{BindError, bind_socket};

/// Connections served at once.
pub const CONNECTIONS_MAX: usize = 128;
/// Largest body of a request.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// For the whole head of a request, and for silence between two requests.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the whole body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// One request, its body read to the end.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, PUT, ...
    pub method: Method,
    /// Without the query, as sent: percent-encoding is not undone.
    pub path: String,
    /// What follows `?`, if anything does.
    pub query: Option<String>,
    /// All header fields.
    pub headers: HeaderMap,
    /// At most [`BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// Who asks.
    pub peer: Peer,
}

/// Who is at the other end, as the kernel recorded it when they connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Group id (the effective one; supplementary groups are not in it).
    pub gid: u32,
    /// Process id, unknown across some pid namespaces.
    pub pid: Option<i32>,
}

/// One answer.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// Its body.
    pub body: Body,
}

/// What is answered.
#[derive(Debug)]
pub enum Body {
    /// All of it; empty once it is taken.
    Whole(Bytes),
    /// Piece by piece, as they come, until the sender is dropped. An error cuts the connection, so that whoever reads
    /// sees that something is missing. The channel is closed when the reader is gone; it is bounded, and a reader that
    /// does not read is gone after [`crate::patience::STALL_TIMEOUT`].
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

impl Response {
    /// An answer that grows: what comes out of `pieces`, see [`Body::Pieces`].
    pub fn pieces(content_type: &'static str, pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { status: StatusCode::OK, content_type, body: Body::Pieces(pieces) }
    }

    /// `value` as JSON, ended with a newline so that it is pleasant in a terminal.
    pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self { status, content_type: "application/json", body: Body::Whole(body.into()) }
            }
            Err(error) => {
                Self::text(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be written as JSON: {error}"))
            }
        }
    }

    /// Plain text; a final newline is added.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Self { status, content_type: "text/plain; charset=utf-8", body: Body::Whole(text.into()) }
    }
}

/// Serves `listener` with `handler`, each connection in a task of the current runtime. Returns only when the
/// listener itself is broken; a shortage of descriptors is waited out.
pub async fn serve<H, F>(listener: UnixListener, handler: H) -> io::Result<Infallible>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send,
{
    serve_guarded(listener, |_| true, handler).await
}

/// As [`serve`], but whoever `guard` does not let in is answered 403 whatever they ask.
pub async fn serve_guarded<G, H, F>(listener: UnixListener, guard: G, handler: H) -> io::Result<Infallible>
where
    G: Fn(&Peer) -> bool,
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let stream = accept(&listener).await?;
        // A peer whose credentials the kernel will not tell is nobody we know.
        let peer = peer_of(&stream);
        let admitted = peer.filter(|peer| guard(peer));
        let handler = handler.clone();
        tokio::spawn(async move {
            connection(stream, admitted, handler).await;
            drop(place);
        });
    }
}

async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(stream),
            // The peer gave up while queued.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Out of descriptors or memory: others will give some back.
            Err(error) if matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let cred = stream.peer_cred().ok()?;
    Some(Peer { uid: cred.uid(), gid: cred.gid(), pid: cred.pid() })
}

/// Serves one connection to its end. Errors are the peer's (it went away, it spoke nonsense) and end here.
async fn connection<H, F>(stream: UnixStream, admitted: Option<Peer>, handler: H)
where
    H: Fn(Request) -> F,
    F: Future<Output = Response> + Send,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let handler = &handler;
        async move {
            let response = match admitted {
                Some(peer) => match read(request, peer).await {
                    Ok(request) => handler(request).await,
                    Err(refusal) => refusal,
                },
                None => Response::text(StatusCode::FORBIDDEN, "this socket does not answer you"),
            };
            Ok::<_, Infallible>(to_hyper(response))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Patient::new(stream)), service)
        .await;
}

async fn read(request: hyper::Request<Incoming>, peer: Peer) -> Result<Request, Response> {
    let too_large =
        || Response::text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {BODY_BYTES_MAX} bytes"));
    let (head, body) = request.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let body = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => return Err(Response::text(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => return Err(Response::text(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    Ok(Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body,
        peer,
    })
}

fn to_hyper(response: Response) -> hyper::Response<Body> {
    let mut answer = hyper::Response::new(response.body);
    *answer.status_mut() = response.status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, ClientError};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn echo(request: Request) -> Response {
        match request.path.as_str() {
            "/echo" => Response::json(StatusCode::OK, &String::from_utf8_lossy(&request.body)),
            "/who" => Response::json(StatusCode::OK, &request.peer.uid),
            other => Response::text(StatusCode::NOT_FOUND, format!("no {other}")),
        }
    }

    fn started(dir: &tempfile::TempDir) -> std::path::PathBuf {
        let path = dir.path().join("s.sock");
        let listener = bind_socket(&path, 0o600, None).unwrap();
        tokio::spawn(serve(listener, echo));
        path
    }

    #[tokio::test]
    async fn answers_and_reports_errors() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(started(&dir));
        let said: String = client.put("/echo", "hello").await.unwrap();
        assert_eq!(said, "hello");
        let uid: u32 = client.get("/who?x=1").await.unwrap();
        assert_eq!(uid, rustix::process::geteuid().as_raw());
        let error = client.get::<String>("/nothing").await.unwrap_err();
        assert!(matches!(error, ClientError::Status { status: StatusCode::NOT_FOUND, .. }), "{error}");
        assert!(error.to_string().contains("no /nothing"), "{error}");
    }

    #[tokio::test]
    async fn too_large_is_413() {
        let dir = tempfile::tempdir().unwrap();
        let path = started(&dir);
        let error = Client::new(&path).put::<String>("/echo", vec![b'x'; BODY_BYTES_MAX + 1]).await.unwrap_err();
        // The answer comes before the body is read, so writing it may break off first.
        match error {
            ClientError::Status { status, .. } => assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE),
            ClientError::Broken { .. } => {}
            other => panic!("{other}"),
        }
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"PUT /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n").await.unwrap();
        let mut answer = [0u8; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }

    #[tokio::test]
    async fn silent_clients_hold_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = started(&dir);
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX - 1 {
            silent.push(UnixStream::connect(&path).await.unwrap());
        }
        let said: String = Client::new(&path).put("/echo", "still here").await.unwrap();
        assert_eq!(said, "still here");
    }

    /// Tells when the connection of a stream's reader is given up.
    #[tokio::test(start_paused = true)]
    async fn a_stream_is_bounded_by_its_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        let (told, mut tell) = mpsc::channel(1);
        let endless = move |_: Request| {
            let told = told.clone();
            async move {
                let (pieces, body) = mpsc::channel(1);
                tokio::spawn(async move {
                    let mut sent = 0;
                    while pieces.send(Ok(Bytes::from(vec![b'x'; 1 << 16]))).await.is_ok() {
                        sent += 1;
                    }
                    let _ = told.send(sent).await;
                });
                Response::pieces("text/plain", body)
            }
        };
        tokio::spawn(serve(bind_socket(&path, 0o600, None).unwrap(), endless));
        let mut mute = UnixStream::connect(&path).await.unwrap();
        mute.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let sent: usize = tell.recv().await.unwrap();
        assert!(sent < 64, "{sent} pieces for a reader that does not read");
        drop(mute);
        // One that leaves ends it at once.
        let mut brief = UnixStream::connect(&path).await.unwrap();
        brief.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        brief.read_exact(&mut [0; 100]).await.unwrap();
        drop(brief);
        tell.recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_fails_is_seen_to_be_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.sock");
        let broken = async |request: Request| {
            let (pieces, body) = mpsc::channel(4);
            pieces.send(Ok(Bytes::from_static(b"one\ntw"))).await.unwrap();
            pieces.send(Ok(Bytes::from_static(b"o\nthree\n"))).await.unwrap();
            if request.path == "/broken" {
                pieces.send(Err(io::Error::other("too slow"))).await.unwrap();
            }
            Response::pieces("application/x-ndjson", body)
        };
        tokio::spawn(serve(bind_socket(&path, 0o600, None).unwrap(), broken));
        for (uri, cut) in [("/whole", false), ("/broken", true)] {
            let mut all = Vec::new();
            // The cut may come before the head was written.
            let mut lines = match Client::new(&path).lines(uri).await {
                Ok(lines) => lines,
                Err(error) => {
                    assert!(cut, "{uri}: {error}");
                    continue;
                }
            };
            let end = loop {
                match lines.next().await {
                    Ok(Some(line)) => all.push(String::from_utf8(line.to_vec()).unwrap()),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            assert_eq!(end, cut, "{uri}");
            assert!(cut || all == ["one", "two", "three"], "{all:?}");
        }
    }

    #[tokio::test]
    async fn strangers_are_answered_403() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.sock");
        let listener = bind_socket(&path, 0o600, None).unwrap();
        tokio::spawn(serve_guarded(listener, |peer| peer.uid == u32::MAX, echo));
        let error = Client::new(&path).get::<String>("/who").await.unwrap_err();
        assert!(matches!(error, ClientError::Status { status: StatusCode::FORBIDDEN, .. }), "{error}");
    }

    #[tokio::test]
    async fn nonsense_is_answered_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = started(&dir);
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"\x00\xff garbage\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{rest:?}");
        let said: String = Client::new(&path).put("/echo", "ok").await.unwrap();
        assert_eq!(said, "ok");
    }
}
