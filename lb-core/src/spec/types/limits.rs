//! What a listener lets nobody exceed, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Line, NodeId};
use crate::config::limits::{CIDRS_MAX, TABLE_SIZE_MAX, TABLE_SIZE_MIN};
use crate::limits::rate::RATE_MAX;

/// What becomes of a client that comes while its listener is full.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum OnConnectionLimit {
    /// It waits, for the most part in the kernel's queue.
    Wait,
    /// It is told so (HTTP: 503) and closed at once.
    Refuse,
}

/// What one client may take: an IPv4 address, or an IPv6 network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ClientLimits {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Connections at once; more are reset.
    #[schemars(range(min = 1, max = u32::MAX))]
    pub(in crate::spec) connections: Option<u32>,
    /// New connections a second; more are reset.
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub(in crate::spec) connection_rate: Option<u32>,
    /// New connections at once, above which the rate holds. Default: `connection_rate`.
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub(in crate::spec) connection_burst: Option<u32>,
    /// Requests a second; more are answered 429. HTTP only.
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub(in crate::spec) request_rate: Option<u32>,
    /// Requests at once, above which the rate holds. Default: `request_rate`. HTTP only.
    #[schemars(range(min = 1, max = RATE_MAX))]
    pub(in crate::spec) request_burst: Option<u32>,
    /// So many bits of an IPv6 address are one client. Default: 64.
    #[schemars(range(min = 1, max = 128))]
    pub(in crate::spec) ipv6_prefix: Option<u8>,
    /// Networks whose clients are not limited (`192.0.2.0/24`). Default: none.
    #[schemars(length(max = CIDRS_MAX))]
    pub(in crate::spec) exempt: Option<Vec<Line>>,
    /// Clients that are known at once, at most 64 bytes each. Default: 32768.
    #[schemars(range(min = TABLE_SIZE_MIN, max = TABLE_SIZE_MAX))]
    pub(in crate::spec) table_size: Option<u32>,
}
