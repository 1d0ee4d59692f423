//! What a listener lets nobody exceed, validated.

use serde::{Deserialize, Serialize};

use crate::limits::cidr::Cidr;
use crate::limits::rate::Rate;

/// Longest head of a request that a listener may take, in bytes (HAProxy: a buffer of 16384 less its reserve). The default.
pub const HEAD_SIZE_MAX: u16 = 15 * 1024;
/// Most fields of a head that a listener may take (HAProxy: 101). The default.
pub const HEADER_COUNT_MAX: u16 = 128;
/// Longest target of a request that a listener may take, in bytes; RFC 9112 section 3 asks for at least 8000. The default.
pub const TARGET_LENGTH_MAX: u16 = 12 * 1024;
/// Shortest `max_head_size` and `max_target_length` that leave room for a request.
pub const HEAD_SIZE_MIN: u16 = 128;
/// Most networks in a list of them.
pub const CIDRS_MAX: usize = 4096;
/// Clients that are known at once if a document does not say: 2 MiB at most.
pub const TABLE_SIZE: u32 = 32_768;
/// Fewest.
pub const TABLE_SIZE_MIN: u32 = 1024;
/// Most: 64 MiB.
pub const TABLE_SIZE_MAX: u32 = 1_048_576;
/// So many bits of an IPv6 address are one client if a document does not say: what one customer gets.
pub const IPV6_PREFIX: u8 = 64;
/// A stretch over which the rate of a body is judged if a document does not say, in milliseconds: who is too slow is cut within two
/// of them.
pub const BODY_GRACE_MS: u64 = 10_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerLimits {
    /// Where clients may come from; empty: from everywhere.
    pub allowed_cidrs: Vec<Cidr>,
    /// What becomes of those that come while `connection_limit` is reached. Extension.
    pub on_connection_limit: OnConnectionLimit,
    /// What one client may take. Extension.
    pub clients: Option<ClientLimits>,
    /// How large a request's head may be. Extension.
    pub heads: HeadLimits,
    /// How fast a client has to send and to take bodies; `None`: at any pace. Extension; HTTP only.
    pub body_rate: Option<BodyRate>,
}

/// What becomes of a client that comes while its listener is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnConnectionLimit {
    /// It waits, for the most part in the kernel's queue, as with HAProxy.
    #[default]
    Wait,
    /// It is told so (HTTP: 503) and closed at once.
    Refuse,
}

/// What one client may take: an IPv4 address, or an IPv6 network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientLimits {
    /// Connections at once.
    pub connections: Option<u32>,
    /// New connections.
    pub connection_rate: Option<Rate>,
    /// Requests. HTTP only.
    pub request_rate: Option<Rate>,
    /// So many bits of an IPv6 address are one client, 1..=128.
    pub ipv6_prefix: u8,
    /// Who is not held to any of it.
    pub exempt: Vec<Cidr>,
    /// Most clients that are known at once.
    pub table_size: u32,
}

/// How large a request's head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadLimits {
    /// Bytes of all of it, with its empty line.
    pub size: u16,
    /// Fields.
    pub fields: u16,
    /// Bytes of the target.
    pub target: u16,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { size: HEAD_SIZE_MAX, fields: HEADER_COUNT_MAX, target: TARGET_LENGTH_MAX }
    }
}

/// How fast a client has to send a body, or to take one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyRate {
    /// Bytes in each second spent waiting for the client, on average over `grace_ms`.
    pub per_second: u32,
    /// In milliseconds.
    pub grace_ms: u64,
}
