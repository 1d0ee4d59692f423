//! How a pool chooses a member, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Line, NodeId};
use crate::config::{BALANCE_FACTOR_MAX, BALANCE_FACTOR_MIN};

/// How a pool chooses a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum LbAlgorithm {
    /// In turn, by weight.
    RoundRobin,
    /// Fewest connections in flight for its weight.
    LeastConnections,
    /// By the client's address.
    SourceIp,
    /// By the client's address and port.
    SourceIpPort,
    /// Extension: in turn by HAProxy's static table.
    StaticRr,
    /// Extension: the first in the document that can take it.
    First,
    /// Extension: two drawn by weight, the less busy one of them.
    Random,
    /// Extension: by the request's target.
    Uri,
    /// Extension: by a parameter of the query.
    UrlParam,
    /// Extension: by a field of the request.
    Header,
    /// Extension: by the cookie of a remote desktop client.
    RdpCookie,
}

/// What is hashed, and how a member is found by it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Hashing {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// How a member is found. Default: `RENDEZVOUS`.
    pub(in crate::spec) table: Option<HashTable>,
    /// What makes a number of a text. Default: `SDBM`. Not for addresses.
    pub(in crate::spec) function: Option<HashFunction>,
    /// True: the number is stirred once more. Default: true for `CONSISTENT`, false for `MAP`; only for those.
    pub(in crate::spec) avalanche: Option<bool>,
    /// No member takes more than so many percent of its fair share. Not for `MAP`. Default: no bound.
    #[schemars(range(min = BALANCE_FACTOR_MIN, max = BALANCE_FACTOR_MAX))]
    pub(in crate::spec) balance_factor: Option<u16>,
    /// Most bytes of a target that count (URI). Default: all.
    #[schemars(range(min = 1, max = u16::MAX))]
    pub(in crate::spec) length: Option<u16>,
    /// Most directories of a target that count (URI). Default: all.
    #[schemars(range(min = 1, max = u16::MAX))]
    pub(in crate::spec) depth: Option<u16>,
    /// True: with the query (URI). Default: false.
    pub(in crate::spec) whole: Option<bool>,
    /// True: without scheme and host where a client sends them (URI). Default: false.
    pub(in crate::spec) path_only: Option<bool>,
    /// Name of the parameter (URL_PARAM).
    #[schemars(length(min = 1))]
    pub(in crate::spec) parameter: Option<Line>,
    /// Name of the field (HEADER).
    #[schemars(length(min = 1))]
    pub(in crate::spec) header: Option<Line>,
    /// True: only the label before the last dot of a host name (HEADER). Default: false.
    pub(in crate::spec) domain_only: Option<bool>,
    /// Name of the cookie (RDP_COOKIE). Default: `mstshash`.
    #[schemars(length(min = 1))]
    pub(in crate::spec) cookie: Option<Line>,
}

/// How a member is found by a hash.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum HashTable {
    /// HAProxy's `map-based`.
    Map,
    /// HAProxy's `consistent`.
    Consistent,
    /// A table of 65537 places.
    Maglev,
    /// The highest score.
    Rendezvous,
}

/// What makes a number of a text.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum HashFunction {
    /// HAProxy's default.
    Sdbm,
    /// Bernstein's.
    Djb2,
    /// HAProxy's wt6.
    Wt6,
    /// That of Ethernet and zip.
    Crc32,
    /// The text is a number.
    None,
}
