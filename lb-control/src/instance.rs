//! What a data plane answers on its control socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/document` | [`DocumentReply`]: what it serves, ids and defaults filled in |
//! | `PUT /v1/document` (YAML or JSON) | 200 [`Applied`] once every worker serves it; 422 [`Refused`] and nothing changed; 409 [`Failed`] when a port cannot be bound |
//! | `PUT /v1/files` ([`GivenFiles`]) | 204: keys and certificates that the next document or the next reading is made with, because the data plane may not read them itself |
//! | `POST /v1/tls` | 200 once all certificates and keys were read anew and are shown; 409 [`Failed`] and the old ones are still shown |
//! | `GET /v1/stats` | [`crate::stats::Stats`] |
//! | `GET /v1/events?row=R&after=N&wait_ms=MS` | [`crate::events::Events`]: those after number N of row R, waiting for one for MS at most (60000) when there is none yet |
//! | `GET /v1/health` | [`Health`] |
//! | `GET /v1/persistence` | all persistence tables as a stream ([`lb_core::persistence::stream`]) |
//! | `PUT /v1/persistence` (such a stream, at most 8 MiB) | 200 [`Imported`]; 422 [`Failed`] if a byte of it is wrong, and nothing was taken up |
//! | `POST /v1/explain` ([`Question`]) | [`Explanation`]; nothing changes by it. See [`crate::explain`] |
//! | `POST /v1/drain` | 202: as SIGTERM |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use lb_core::config::LoadBalancer;
use lb_core::spec::Mistake;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{Client, ClientError};
use crate::events::Events;
use crate::explain::{self, Explanation, Question};
use crate::lines::Lines;
use crate::stats::Stats;

/// Longest that a request for events waits.
pub const EVENTS_WAIT_MAX: Duration = Duration::from_secs(60);
/// Where a data plane's persistence tables are.
const PERSISTENCE: &str = "/v1/persistence";
/// What each step of an answer may take beyond its wait.
const EVENTS_GRACE: Duration = Duration::from_secs(5);

/// What is being served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentReply {
    /// 0 before the first document; grows by one with each that is applied.
    pub generation: u64,
    /// `None` before the first document.
    pub loadbalancer: Option<LoadBalancer>,
}

/// A document was taken: every worker serves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Which one is served now.
    pub generation: u64,
    /// From the request to the last worker's word, in microseconds.
    pub took_us: u64,
}

/// A document was refused whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// One line for people.
    pub message: String,
    /// Every mistake, each with its place.
    pub mistakes: Vec<Mistake>,
    /// All mistakes drawn with the lines they stand in.
    pub rendered: String,
}

/// Files by path, their bytes in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenFiles(pub BTreeMap<PathBuf, String>);

impl GivenFiles {
    /// From bytes.
    pub fn new(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        Self(files.into_iter().map(|(path, bytes)| (path, BASE64_STANDARD.encode(bytes))).collect())
    }

    /// To bytes.
    pub fn decode(self) -> Result<Vec<(PathBuf, Vec<u8>)>, base64::DecodeError> {
        self.0.into_iter().map(|(path, text)| Ok((path, BASE64_STANDARD.decode(text)?))).collect()
    }
}

/// A request could not be carried out although its document is sound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// What went wrong, in words.
    pub message: String,
}

/// What became of a stream of persistence tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Clients that are in a table now, or were there already.
    pub entries: u64,
    /// Clients of pools or members that are not here, away for too long, or too many.
    pub skipped: u64,
}

/// Is the process well?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Process id.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// Milliseconds since it began.
    pub uptime_ms: u64,
    /// Which document it serves; 0: none yet.
    pub generation: u64,
    /// Data threads.
    pub workers: usize,
    /// What it is doing.
    pub state: InstanceState,
}

/// What a data plane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Up, no document yet.
    Waiting,
    /// Serving.
    Serving,
    /// Accepts nothing new, lets sessions end.
    Draining,
}

/// Asks one data plane.
#[derive(Clone, Debug)]
pub struct InstanceClient {
    client: Client,
}

impl InstanceClient {
    /// `control`: its control socket.
    pub fn new(control: impl AsRef<Path>) -> Self {
        Self { client: Client::new(control) }
    }

    /// The same data plane, with another limit for a whole exchange.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { client: self.client.with_timeout(timeout) }
    }

    /// What it serves.
    pub async fn document(&self) -> Result<DocumentReply, ClientError> {
        self.client.get("/v1/document").await
    }

    /// Replaces the document (YAML or JSON). `Ok` means that every worker serves it; on `Refused` and `Failed` nothing
    /// changed; on [`ApplyError::Client`] it is unknown, and applying again is harmless.
    pub async fn apply(&self, text: impl Into<Bytes>) -> Result<Applied, ApplyError> {
        let uri = "/v1/document";
        let (status, body) = self.client.send(Method::PUT, uri, text.into()).await?;
        let what = format!("PUT {uri}");
        match status {
            StatusCode::UNPROCESSABLE_ENTITY => Err(ApplyError::Refused(self.read(&what, &body)?)),
            StatusCode::CONFLICT => Err(ApplyError::Failed(self.read(&what, &body)?)),
            status if status.is_success() => Ok(self.read(&what, &body)?),
            status => {
                Err(ApplyError::Client(ClientError::Status { path: self.client.path().to_owned(), what, status, body }))
            }
        }
    }

    /// Gives it files it may not read itself, in place of all that were given before.
    pub async fn give(&self, files: &GivenFiles) -> Result<(), ClientError> {
        let body = serde_json::to_vec(files).unwrap_or_default();
        self.tell(Method::PUT, "/v1/files", body.into()).await
    }

    /// Has it read certificates and keys anew and show them.
    pub async fn renew_tls(&self) -> Result<(), ApplyError> {
        let uri = "/v1/tls";
        let (status, body) = self.client.send(Method::POST, uri, Bytes::new()).await?;
        let what = format!("POST {uri}");
        match status {
            StatusCode::CONFLICT => Err(ApplyError::Failed(self.read(&what, &body)?)),
            status if status.is_success() => Ok(()),
            status => {
                Err(ApplyError::Client(ClientError::Status { path: self.client.path().to_owned(), what, status, body }))
            }
        }
    }

    /// Its figures.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.client.get("/v1/stats").await
    }

    /// What happened after number `after` of row `row`; waits up to `wait` for something to happen.
    pub async fn events(&self, row: u64, after: u64, wait: Duration) -> Result<Events, ClientError> {
        let wait_ms = wait.as_millis();
        let client = self.client.clone().with_timeout(EVENTS_GRACE);
        client.wait_for(&format!("/v1/events?row={row}&after={after}&wait_ms={wait_ms}"), wait).await
    }

    /// Its persistence tables, to be read piece by piece.
    pub async fn persistence(&self) -> Result<Lines, ClientError> {
        self.client.lines(PERSISTENCE).await
    }

    /// Has it take up a stream of persistence tables; a whole one, of at most [`crate::server::BODY_BYTES_MAX`].
    pub async fn take_up(&self, stream: Bytes) -> Result<Imported, ClientError> {
        self.client.put(PERSISTENCE, stream).await
    }

    /// What would become of a request.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, ClientError> {
        self.client.post(explain::PATH, serde_json::to_vec(question).unwrap_or_default()).await
    }

    /// Is it well?
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.client.get("/v1/health").await
    }

    /// Lets it end: it accepts nothing new and goes when its sessions have.
    pub async fn drain(&self) -> Result<(), ClientError> {
        self.tell(Method::POST, "/v1/drain", Bytes::new()).await
    }

    async fn tell(&self, method: Method, uri: &str, body: Bytes) -> Result<(), ClientError> {
        let what = format!("{method} {uri}");
        let (status, body) = self.client.send(method, uri, body).await?;
        if status.is_success() {
            return Ok(());
        }
        let path = self.client.path().to_owned();
        Err(ClientError::Status { path, what, status, body })
    }

    fn read<T: DeserializeOwned>(&self, what: &str, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|source| ClientError::Unexpected {
            path: self.client.path().to_owned(),
            what: what.to_owned(),
            source,
        })
    }
}

/// Why a document is not served.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is wrong. Nothing changed.
    #[error("{}", .0.rendered)]
    Refused(Refused),
    /// It is sound, but cannot be served. Nothing changed.
    #[error("{}", .0.message)]
    Failed(Failed),
    /// The data plane did not answer properly: whether anything changed is unknown.
    #[error(transparent)]
    Client(#[from] ClientError),
}
