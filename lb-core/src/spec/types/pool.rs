//! A pool and its members, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    AgentCheck, AlpnProtocol, Hashing, HealthMonitor, LbAlgorithm, Line, NodeId, Observe, OnMarkedDown, Retry, Seconds,
    SessionPersistence, Text, TlsVersion,
};
use crate::config::{MAX_CONNECTIONS_MAX, MAX_QUEUE_MAX, WEIGHT_MAX};
use crate::id::{MemberId, PoolId};
use crate::spec::{MEMBERS_MAX, MONITORS_MAX, TIMEOUT_MS_MAX, TLS_CIPHERS_LEN_MAX};

/// Members that serve the same thing, and how one is chosen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Pool {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Its UUID. Without one it is derived from the load balancer and the name, or from the listener it stands in.
    pub(in crate::spec) id: Option<PoolId>,
    /// What people call it. A shared pool needs a name or an id.
    pub(in crate::spec) name: Option<Line>,
    /// Free text.
    pub(in crate::spec) description: Option<Text>,
    /// What its members speak.
    #[schemars(with = "PoolProtocol")]
    pub(in crate::spec) protocol: Option<PoolProtocol>,
    /// How a member is chosen.
    #[schemars(with = "LbAlgorithm")]
    pub(in crate::spec) lb_algorithm: Option<LbAlgorithm>,
    /// Extension: what is hashed, and how a member is found by it; for algorithms that hash.
    pub(in crate::spec) hash: Option<Hashing>,
    /// False: no member of it is used. Default: true.
    pub(in crate::spec) admin_state_up: Option<bool>,
    /// The servers behind it.
    #[schemars(length(max = MEMBERS_MAX))]
    pub(in crate::spec) members: Option<Vec<Member>>,
    /// How it remembers its clients. Without it every request is balanced.
    pub(in crate::spec) session_persistence: Option<SessionPersistence>,
    /// How members are judged. Without one they are not asked. Not together with `healthmonitors`.
    pub(in crate::spec) healthmonitor: Option<HealthMonitor>,
    /// Extension: several monitors; a member is up only while all agree.
    #[schemars(length(max = MONITORS_MAX))]
    pub(in crate::spec) healthmonitors: Option<Vec<HealthMonitor>>,
    /// Extension: live traffic as a witness; needs a monitor.
    pub(in crate::spec) observe: Option<Observe>,
    /// Extension: seconds over which the share of a member that came up again grows. Default: 0.
    pub(in crate::spec) slow_start: Option<Seconds<0>>,
    /// Extension: a port on which members tell their own weight and state.
    pub(in crate::spec) agent_check: Option<AgentCheck>,
    /// Extension: what becomes of connections when their member is marked down. Default: `KEEP_SESSIONS`.
    pub(in crate::spec) on_marked_down: Option<OnMarkedDown>,
    /// Extension: when a request is sent again. Default: what is safe, a few times.
    pub(in crate::spec) retry: Option<Retry>,
    /// Extension: requests that may wait for a member below its `max_connections`; 0: none; -1: no limit. Default: -1.
    #[schemars(range(min = -1, max = MAX_QUEUE_MAX))]
    pub(in crate::spec) max_queue: Option<i64>,
    /// Extension: milliseconds one may wait; 0: no limit. Default: the listener's `timeout_member_connect`.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_queue: Option<u64>,
    /// True: TLS is spoken to members. Not for HTTPS, which is TLS already. Default: false.
    pub(in crate::spec) tls_enabled: Option<bool>,
    /// Certificate, chain and key to show members: `file:/absolute/path` of a PEM file. Needs `tls_enabled`, like every
    /// key that follows.
    pub(in crate::spec) tls_container_ref: Option<Line>,
    /// PEM file of those who may sign members' certificates. Default: the system's.
    pub(in crate::spec) ca_tls_container_ref: Option<Line>,
    /// PEM file of members' certificates that are revoked.
    pub(in crate::spec) crl_container_ref: Option<Line>,
    /// Cipher suites in the order preferred, by OpenSSL's or IANA's names, with `:` between. Default: all that are spoken.
    #[schemars(length(min = 1, max = TLS_CIPHERS_LEN_MAX))]
    pub(in crate::spec) tls_ciphers: Option<Line>,
    /// Versions of TLS. Default: `TLSv1.2` and `TLSv1.3`.
    pub(in crate::spec) tls_versions: Option<Vec<TlsVersion>>,
    /// What is offered by ALPN, in the order preferred. Default: nothing, and HTTP/1.1 is spoken.
    pub(in crate::spec) alpn_protocols: Option<Vec<AlpnProtocol>>,
    /// Extension: a member's certificate must be valid. Default: true if `ca_tls_container_ref` is given, else false.
    pub(in crate::spec) tls_verify: Option<bool>,
    /// Extension: host a member is asked for (SNI) and must prove to be; `client`: the one the client asked for;
    /// `address`: none, and it must prove its address. Default: `client`.
    pub(in crate::spec) tls_server_name: Option<Line>,
    /// Extension: members are spoken to in HTTP/2 without being asked; HTTP without TLS only. Default: false.
    pub(in crate::spec) http2_prior_knowledge: Option<bool>,
    /// Labels; recorded, not interpreted.
    pub(in crate::spec) tags: Option<Vec<Line>>,
}

/// A pool of the document's `pools`, by its name or its id.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only describes the schema; read as a `Pool` with nothing else in it")]
pub(super) struct PoolReference {
    /// The pool's UUID.
    id: Option<PoolId>,
    /// The pool's name.
    name: Option<Line>,
}

/// A reference to a shared pool, or a pool of the listener's own.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only describes the schema; read as a `Pool` with nothing else in it")]
pub(super) enum DefaultPool {
    /// Only `name` or `id`: a pool of the document's `pools`.
    Reference(PoolReference),
    /// Anything else: the pool itself.
    Inline(Box<Pool>),
}

/// What a pool's members speak.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum PoolProtocol {
    /// Bytes, relayed.
    Tcp,
    /// HTTP/1.1.
    Http,
    /// TLS, passed through untouched.
    Https,
    /// What the listener speaks, after a PROXY header of version 1 that tells who the client is.
    Proxy,
    /// The same with version 2.
    ProxyV2,
}

/// One server: an address (or a name that leads to one) and a port with a weight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Member {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Its UUID. Without one it is derived from the pool and the name, or the address and port.
    pub(in crate::spec) id: Option<MemberId>,
    /// What people call it.
    pub(in crate::spec) name: Option<Line>,
    /// Its IPv4 or IPv6 address. Extension: or a host name, which is resolved again and again.
    #[schemars(with = "Line")]
    pub(in crate::spec) address: Option<Line>,
    /// Its port.
    #[schemars(with = "u16", range(min = 1, max = 65535))]
    pub(in crate::spec) protocol_port: Option<u16>,
    /// Its share of new work; 0: none. Default: 1.
    #[schemars(range(min = 0, max = WEIGHT_MAX))]
    pub(in crate::spec) weight: Option<u16>,
    /// Extension: requests (HTTP) or connections (TCP) it works on at once; 0: no limit. Default: 0.
    #[schemars(range(min = 0, max = MAX_CONNECTIONS_MAX))]
    pub(in crate::spec) max_connections: Option<u32>,
    /// True: used only when no other member can be. Default: false.
    pub(in crate::spec) backup: Option<bool>,
    /// False: not used at all. Default: true.
    pub(in crate::spec) admin_state_up: Option<bool>,
    /// Where it is asked whether it is well. Default: its address.
    pub(in crate::spec) monitor_address: Option<Line>,
    /// The port for that. Default: its port.
    #[schemars(range(min = 1, max = 65535))]
    pub(in crate::spec) monitor_port: Option<u16>,
    /// The subnet it is reached through; accepted and ignored.
    #[expect(dead_code, reason = "accepted so that Octavia's documents fit")]
    pub(in crate::spec) subnet_id: Option<Line>,
    /// Labels; recorded, not interpreted.
    pub(in crate::spec) tags: Option<Vec<Line>>,
}
