//! The asking end of a local socket: one connection for each request, JSON in and out, errors that say who was
//! asked, what for and what happened.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::lines::{self, Lines};
use crate::poll;

/// For connecting: a Unix socket answers at once or its owner is in trouble.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole exchange, unless [`Client::with_timeout`] says otherwise.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("not running: connect to {}: {source}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// Somebody listens, but not for us.
    #[error("not allowed: connect to {}: {source}", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// It took too long.
    #[error("no answer from {} within {} ms: {what}", path.display(), after.as_millis())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// `GET /v1/health`, or `connect`.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("{what} at {} broke off: {why}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// `GET /v1/health`, or `connect`.
        what: String,
        /// In words.
        why: String,
    },
    /// An answer, but not a 2xx.
    #[error("{what} at {}: {status}: {}", path.display(), String::from_utf8_lossy(body).trim_end())]
    Status {
        /// The socket.
        path: PathBuf,
        /// `GET /v1/health`.
        what: String,
        /// The status.
        status: StatusCode,
        /// The body, often JSON with the reason.
        body: Bytes,
    },
    /// A 2xx whose body is not what was expected: the other side is of another version.
    #[error("{what} at {} answered something unexpected: {source}", path.display())]
    Unexpected {
        /// The socket.
        path: PathBuf,
        /// `GET /v1/health`.
        what: String,
        /// What serde said.
        source: serde_json::Error,
    },
}

/// Asks one socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    timeout: Duration,
}

impl Client {
    /// Nothing is opened until the first request.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), timeout: EXCHANGE_TIMEOUT }
    }

    /// The same socket, with another limit for a whole exchange.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The socket that is asked.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// GET, the answer read from JSON.
    pub async fn get<T: DeserializeOwned>(&self, uri: &str) -> Result<T, ClientError> {
        self.typed(Method::GET, uri, Bytes::new()).await
    }

    /// PUT `body` as it is, the answer read from JSON.
    pub async fn put<T: DeserializeOwned>(&self, uri: &str, body: impl Into<Bytes>) -> Result<T, ClientError> {
        self.typed(Method::PUT, uri, body.into()).await
    }

    /// POST `body` as it is, the answer read from JSON.
    pub async fn post<T: DeserializeOwned>(&self, uri: &str, body: impl Into<Bytes>) -> Result<T, ClientError> {
        self.typed(Method::POST, uri, body.into()).await
    }

    /// DELETE, the answer read from JSON.
    pub async fn delete<T: DeserializeOwned>(&self, uri: &str) -> Result<T, ClientError> {
        self.typed(Method::DELETE, uri, Bytes::new()).await
    }

    /// Any request; the status and the body as they came.
    pub async fn send(&self, method: Method, uri: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let what = format!("{method} {uri}");
        let stream = self.within(CONNECT_TIMEOUT.min(self.timeout), "connect", self.connect()).await??;
        // Boxed: hyper keeps its read buffer inside the future.
        let exchange = Box::pin(self.exchange(stream, method, uri, body, &what));
        self.within(self.timeout, &what, exchange).await?
    }

    /// An empty 2xx body counts as `null`, so `()` can be asked for.
    async fn typed<T: DeserializeOwned>(&self, method: Method, uri: &str, body: Bytes) -> Result<T, ClientError> {
        let what = format!("{method} {uri}");
        let (status, body) = self.send(method, uri, body).await?;
        if !status.is_success() {
            return Err(ClientError::Status { path: self.path.clone(), what, status, body });
        }
        let json: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(json).map_err(|source| ClientError::Unexpected { path: self.path.clone(), what, source })
    }

    /// GET, waiting up to `wait` for the answer to begin, with nothing in memory but the socket; then `self`'s limit
    /// holds. For asking many at once who may have nothing to say.
    pub async fn wait_for<T: DeserializeOwned>(&self, uri: &str, wait: Duration) -> Result<T, ClientError> {
        let what = format!("GET {uri}");
        let mut stream = self.within(CONNECT_TIMEOUT.min(self.timeout), "connect", self.connect()).await??;
        let broken = |why: String| ClientError::Broken { path: self.path.clone(), what: what.clone(), why };
        self.within(self.timeout, &what, poll::ask(&mut stream, uri)).await?.map_err(|e| broken(e.to_string()))?;
        self.within(wait + self.timeout, &what, stream.readable()).await?.map_err(|e| broken(e.to_string()))?;
        let (status, body) = self.within(self.timeout, &what, poll::answer(&mut stream)).await?.map_err(broken)?;
        if !status.is_success() {
            return Err(ClientError::Status { path: self.path.clone(), what, status, body });
        }
        serde_json::from_slice(&body).map_err(|source| ClientError::Unexpected {
            path: self.path.clone(),
            what,
            source,
        })
    }

    /// GET of an answer that grows, line by line. The limit holds for its beginning only.
    pub async fn lines(&self, uri: &str) -> Result<Lines, ClientError> {
        let what = format!("GET {uri}");
        let stream = self.within(CONNECT_TIMEOUT.min(self.timeout), "connect", self.connect()).await??;
        let broken = |why: String| ClientError::Broken { path: self.path.clone(), what: what.clone(), why };
        let opened = self.within(self.timeout, &what, lines::open(stream, uri)).await?;
        let (status, mut lines) = opened.map_err(|error| broken(chain(&error)))?;
        if status.is_success() {
            return Ok(lines);
        }
        let body = self.within(self.timeout, &what, lines.rest()).await?.map_err(|error| broken(error.to_string()))?;
        Err(ClientError::Status { path: self.path.clone(), what, status, body })
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.path).await.map_err(|source| {
            let path = self.path.clone();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { path, source },
                io::ErrorKind::PermissionDenied => ClientError::Denied { path, source },
                _ => ClientError::Broken { path, what: "connect".into(), why: source.to_string() },
            }
        })
    }

    async fn exchange(
        &self,
        stream: UnixStream,
        method: Method,
        uri: &str,
        body: Bytes,
        what: &str,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |why: String| ClientError::Broken { path: self.path.clone(), what: what.to_owned(), why };
        let request = hyper::Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(body))
            .map_err(|e| broken(e.to_string()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(chain(&e)))?;
        let mut answer = pin!(async move {
            let response = sender.send_request(request).await.map_err(|e| chain(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok::<_, String>((status, body.map_err(|e| e.to_string())?.to_bytes()))
        });
        let mut connection = pin!(connection);
        tokio::select! {
            answered = &mut answer => answered,
            // The connection may end before the answer it delivered has been taken.
            _ = &mut connection => answer.await,
        }
        .map_err(broken)
    }

    async fn within<T>(&self, after: Duration, what: &str, future: impl Future<Output = T>) -> Result<T, ClientError> {
        tokio::time::timeout(after, future).await.map_err(|_| ClientError::Timeout {
            path: self.path.clone(),
            what: what.to_owned(),
            after,
        })
    }
}

/// hyper keeps the reason of an error in its sources.
fn chain(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        words = format!("{words}: {error}");
        next = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn says_when_nobody_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.sock");
        let error = Client::new(&path).get::<()>("/v1/health").await.unwrap_err();
        assert!(error.to_string().starts_with("not running: connect to "), "{error}");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Client::new(&path).get::<()>("/v1/health").await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn does_not_wait_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mute.sock");
        let _mute = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let client = Client::new(&path).with_timeout(Duration::from_millis(30));
        let error = client.get::<()>("/v1/health").await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    }
}
