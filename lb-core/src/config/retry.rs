//! When a request is sent again, for pools that say so. Extension.

use serde::{Deserialize, Serialize};

/// Most attempts after the first.
pub const ATTEMPTS_MAX: u8 = 7;

/// What makes a request of a pool be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// After what; in the order of [`RetryOn`], each once.
    pub on: Vec<RetryOn>,
    /// Most attempts after the first, 1..=[`ATTEMPTS_MAX`].
    pub attempts: u8,
    /// Retries are at most this share of requests, in percent, 0..=100.
    pub budget_percent: u8,
}

/// What an attempt failed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetryOn {
    /// No connection.
    ConnectFailure,
    /// The member closed before a byte of an answer.
    EmptyResponse,
    /// It answered 502.
    #[serde(rename = "STATUS_502")]
    Status502,
    /// It answered 503.
    #[serde(rename = "STATUS_503")]
    Status503,
    /// It answered 504.
    #[serde(rename = "STATUS_504")]
    Status504,
    /// It did not answer in time.
    ResponseTimeout,
}

impl RetryOn {
    /// The cause that this status of an answer is.
    pub fn status(status: u16) -> Option<Self> {
        match status {
            502 => Some(Self::Status502),
            503 => Some(Self::Status503),
            504 => Some(Self::Status504),
            _ => None,
        }
    }
}
