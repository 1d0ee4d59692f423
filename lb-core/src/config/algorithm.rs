//! How a pool chooses a member: the algorithm, and what a hash is made of and looked up in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Highest bound on a member's load, in percent of its fair share.
pub const BALANCE_FACTOR_MAX: u16 = 10_000;
/// Lowest: at the share itself nobody could ever take one more.
pub const BALANCE_FACTOR_MIN: u16 = 101;

/// How a pool chooses a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LbAlgorithm {
    /// In turn, by weight, exactly.
    RoundRobin,
    /// Fewest connections in flight for its weight.
    LeastConnections,
    /// By the client's address, stable while the set of members is.
    SourceIp,
    /// By the client's address and port.
    SourceIpPort,
    /// In turn by a table that only members that come or go change. Extension.
    StaticRr,
    /// The first in the document that can take it. Extension.
    First,
    /// Two drawn by weight, the less busy one of them. Extension.
    Random,
    /// By the request's target. Extension.
    Uri,
    /// By a parameter of the request's query. Extension.
    UrlParam,
    /// By a field of the request. Extension.
    Header,
    /// By a cookie in the first message of a remote desktop client. Extension.
    RdpCookie,
}

impl LbAlgorithm {
    /// Every one, in the order of the reference.
    pub const ALL: [Self; 11] = [
        Self::RoundRobin,
        Self::LeastConnections,
        Self::SourceIp,
        Self::SourceIpPort,
        Self::StaticRr,
        Self::First,
        Self::Random,
        Self::Uri,
        Self::UrlParam,
        Self::Header,
        Self::RdpCookie,
    ];

    /// As a document says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::LeastConnections => "LEAST_CONNECTIONS",
            Self::SourceIp => "SOURCE_IP",
            Self::SourceIpPort => "SOURCE_IP_PORT",
            Self::StaticRr => "STATIC_RR",
            Self::First => "FIRST",
            Self::Random => "RANDOM",
            Self::Uri => "URI",
            Self::UrlParam => "URL_PARAM",
            Self::Header => "HEADER",
            Self::RdpCookie => "RDP_COOKIE",
        }
    }

    /// True if the same key goes to the same member.
    pub fn is_hash(self) -> bool {
        match self {
            Self::SourceIp | Self::SourceIpPort | Self::Uri | Self::UrlParam | Self::Header | Self::RdpCookie => true,
            Self::RoundRobin | Self::LeastConnections | Self::StaticRr | Self::First | Self::Random => false,
        }
    }

    /// True if it looks at requests: where bytes are only relayed there are none.
    pub fn reads_requests(self) -> bool {
        matches!(self, Self::Uri | Self::UrlParam | Self::Header)
    }
}

impl fmt::Display for LbAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a hash is made of, and how a member is found by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashing {
    /// What is hashed.
    pub key: HashKey,
    /// How a member is found by the hash.
    pub table: HashTable,
    /// Makes a number of a text. Of no effect for addresses.
    pub function: HashFunction,
    /// Whether the number is stirred once more, so that near ones part. For MAP and CONSISTENT.
    pub avalanche: bool,
    /// No member takes more than this many percent of its fair share of what is in flight. Not for MAP.
    pub balance_factor: Option<u16>,
}

/// What is hashed; fits the algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HashKey {
    /// The client's address.
    Source,
    /// The client's address and port.
    SourcePort,
    /// The request's target up to its query.
    Uri {
        /// At most so many bytes of it.
        length: Option<u16>,
        /// At most so many directories of it.
        depth: Option<u16>,
        /// With the query.
        whole: bool,
        /// Without scheme and host, where a client sends them.
        path_only: bool,
    },
    /// The value of the first parameter of that name in the query.
    UrlParam {
        /// Its name, exact.
        parameter: String,
    },
    /// The first value of the first field of that name; none if that is empty.
    Header {
        /// Its name, in any case.
        header: String,
        /// Only the label before the last dot: `example` of `www.example.org`.
        domain_only: bool,
    },
    /// A cookie in the first message of a remote desktop client.
    RdpCookie {
        /// Its name, in any case.
        cookie: String,
    },
}

/// How a member is found by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HashTable {
    /// HAProxy's `map-based`: exact shares, and a change of the set moves most keys.
    Map,
    /// HAProxy's `consistent`: a ring of points.
    Consistent,
    /// A table of 65537 places: one look, nearly exact shares, few keys move.
    Maglev,
    /// The highest score wins: no table, only keys of who leaves move.
    Rendezvous,
}

/// Makes a number of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HashFunction {
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

impl Hashing {
    /// What an algorithm hashes when its document says no more. `None`: it hashes nothing, or needs to be told what.
    pub fn of(algorithm: LbAlgorithm) -> Option<Self> {
        let key = match algorithm {
            LbAlgorithm::SourceIp => HashKey::Source,
            LbAlgorithm::SourceIpPort => HashKey::SourcePort,
            LbAlgorithm::Uri => HashKey::Uri { length: None, depth: None, whole: false, path_only: false },
            LbAlgorithm::RdpCookie => HashKey::RdpCookie { cookie: RDP_COOKIE.to_owned() },
            _ => return None,
        };
        Some(Self::with(key, HashTable::DEFAULT))
    }

    /// `key` in `table`, the rest as HAProxy does it.
    pub fn with(key: HashKey, table: HashTable) -> Self {
        let avalanche = table == HashTable::Consistent;
        Self { key, table, function: HashFunction::Sdbm, avalanche, balance_factor: None }
    }
}

impl HashTable {
    /// The one that moves the fewest keys.
    pub const DEFAULT: Self = Self::Rendezvous;

    /// As a document says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Map => "MAP",
            Self::Consistent => "CONSISTENT",
            Self::Maglev => "MAGLEV",
            Self::Rendezvous => "RENDEZVOUS",
        }
    }
}

/// The cookie of Microsoft's clients.
pub const RDP_COOKIE: &str = "mstshash";
