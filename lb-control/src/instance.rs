//! What a data plane answers on its control socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/document` | [`DocumentReply`]: what it serves, ids and defaults filled in |
//! | `PUT /v1/document` (YAML or JSON) | 200 [`Applied`] once every worker serves it; 422 [`Refused`] and nothing changed; 409 [`Failed`] when a port cannot be bound |
//! | `GET /v1/stats` | [`crate::stats::Stats`] |
//! | `GET /v1/health` | [`Health`] |
//! | `POST /v1/drain` | 202: as SIGTERM |

use lb_core::config::LoadBalancer;
use lb_core::spec::Mistake;
use serde::{Deserialize, Serialize};

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

/// A request could not be carried out although its document is sound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// What went wrong, in words.
    pub message: String,
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
