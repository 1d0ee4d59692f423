//! When requests of a pool are sent again, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::NodeId;
use crate::config::retry::ATTEMPTS_MAX;

/// When a request is sent again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Retry {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// After what. Default: CONNECT_FAILURE and EMPTY_RESPONSE.
    pub(in crate::spec) on: Option<Vec<RetryOn>>,
    /// Most attempts after the first. Default: 3.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    pub(in crate::spec) attempts: Option<u8>,
    /// Retries are at most this share of the requests of the last ten seconds, and three more. Default: 20.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::spec) budget_percent: Option<u8>,
}

/// What an attempt failed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum RetryOn {
    /// No connection to the member.
    ConnectFailure,
    /// The member closed before a byte of an answer. HTTP only.
    EmptyResponse,
    /// It answered 502. HTTP only.
    #[serde(rename = "STATUS_502")]
    Status502,
    /// It answered 503. HTTP only.
    #[serde(rename = "STATUS_503")]
    Status503,
    /// It answered 504. HTTP only.
    #[serde(rename = "STATUS_504")]
    Status504,
    /// It did not answer in time. HTTP only.
    ResponseTimeout,
}
