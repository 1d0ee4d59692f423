//! The second floor: a document that is legal, with every default filled in.
//!
//! Values of these types exist only as the result of [`crate::spec::read`] (or of deserialising
//! what was serialised from one), so nobody above re-checks them. Names and defaults are Octavia's.

pub mod address;
mod algorithm;
pub mod l7;
pub mod limits;
pub mod monitor;
pub mod persistence;
pub mod proxy_protocol;
pub mod retry;
pub mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use address::{HostName, MemberAddress};
pub use algorithm::{
    BALANCE_FACTOR_MAX, BALANCE_FACTOR_MIN, HashFunction, HashKey, HashTable, Hashing, LbAlgorithm, RDP_COOKIE,
};

use crate::id::{ListenerId, LoadBalancerId, MemberId, PoolId};
use l7::{Action, L7Policy};
use limits::ListenerLimits;
use monitor::{AgentCheck, HealthMonitor, Observation, OnMarkedDown, ProxyVersion};
use persistence::SessionPersistence;
use proxy_protocol::ProxyProtocol;
use retry::Retry;

/// Most workers a document may ask for.
pub const WORKERS_MAX: u16 = 64;
/// Highest weight of a member (Octavia and HAProxy: 256).
pub const WEIGHT_MAX: u16 = 256;
/// Highest limit of a member's requests or connections: Octavia's `connection_limit` goes as far.
pub const MAX_CONNECTIONS_MAX: u32 = i32::MAX as u32;
/// Highest limit of requests that wait in one pool.
pub const MAX_QUEUE_MAX: u32 = i32::MAX as u32;

/// One VIP with everything behind it: what one data plane serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Identity; names the namespace on a node.
    pub id: LoadBalancerId,
    /// What people call it; may be empty.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The tenant it belongs to; recorded, not interpreted.
    pub project_id: Option<String>,
    /// The address every listener binds.
    pub vip_address: IpAddr,
    /// Network the VIP is plugged into, when the document names one (`vip_subnet_id` or `vip_network_id`).
    pub vip_network: Option<String>,
    /// False: nothing is bound, the load balancer is OFFLINE.
    pub admin_state_up: bool,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
    /// Data threads; `None`: one for each processor.
    pub workers: Option<u16>,
    /// Who is asked where members' names lead; none: whom the machine asks. Extension.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<SocketAddr>,
    /// At least none; ports are distinct.
    pub listeners: Vec<Listener>,
    /// Every pool once, whether written inside a listener or shared.
    pub pools: Vec<Pool>,
}

impl LoadBalancer {
    /// The pool of that id, if the document has one.
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.id == id)
    }

    /// Where `listener` accepts.
    pub fn socket_of(&self, listener: &Listener) -> SocketAddr {
        SocketAddr::new(self.vip_address, listener.protocol_port)
    }

    /// Every file or folder its TLS is made from.
    pub fn tls_files(&self) -> impl Iterator<Item = &Path> {
        let of_listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let of_pools = self.pools.iter().filter_map(|pool| pool.tls.as_ref());
        of_listeners.flat_map(tls::ListenerTls::files).chain(of_pools.flat_map(tls::PoolTls::files))
    }

    /// Every address that must be listening while this document is served.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let up = self.admin_state_up;
        self.listeners.iter().filter(move |l| up && l.admin_state_up).map(|l| self.socket_of(l))
    }
}

/// What a listener speaks to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ListenerProtocol {
    /// Bytes, relayed.
    Tcp,
    /// HTTP/1.0 and 1.1.
    Http,
    /// TLS passed through untouched: relayed like TCP.
    Https,
    /// TLS ended here, HTTP inside it.
    #[serde(rename = "TERMINATED_HTTPS")]
    TerminatedHttps,
}

impl ListenerProtocol {
    /// True where requests are read one by one; false where bytes are relayed.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::TerminatedHttps)
    }

    /// What `X-Forwarded-Proto` says of its requests.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::TerminatedHttps => "https",
            Self::Tcp | Self::Http | Self::Https => "http",
        }
    }
}

impl fmt::Display for ListenerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::TerminatedHttps => "TERMINATED_HTTPS",
        })
    }
}

/// What a pool speaks to its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PoolProtocol {
    /// Bytes, relayed.
    Tcp,
    /// HTTP/1.1.
    Http,
    /// TLS passed through untouched.
    Https,
    /// What the listener speaks, each connection beginning with a PROXY header of version 1.
    Proxy,
    /// The same with version 2.
    ProxyV2,
}

impl PoolProtocol {
    /// The PROXY header that every connection to a member begins with, if one does.
    pub fn proxy_version(self) -> Option<ProxyVersion> {
        match self {
            Self::Tcp | Self::Http | Self::Https => None,
            Self::Proxy => Some(ProxyVersion::V1),
            Self::ProxyV2 => Some(ProxyVersion::V2),
        }
    }
}

impl fmt::Display for PoolProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Proxy => "PROXY",
            Self::ProxyV2 => "PROXYV2",
        })
    }
}

/// Protocol and port on the VIP, with its limits and its default pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Identity.
    pub id: ListenerId,
    /// What people call it; may be empty.
    pub name: String,
    /// Free text.
    pub description: String,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// Port on the VIP, 1..=65535.
    pub protocol_port: u16,
    /// False: the port is not bound.
    pub admin_state_up: bool,
    /// Connections at once; `None`: as many as the process may open. What is over waits in the accept queue.
    pub connection_limit: Option<u32>,
    /// Where its traffic goes; `None`: 503, or a closed connection for TCP.
    pub default_pool: Option<PoolId>,
    /// What else becomes of requests, in the order of their positions; of connections, where TLS is passed through. Not
    /// for TCP.
    #[serde(default)]
    pub l7policies: Vec<L7Policy>,
    /// How long it waits for what.
    pub timeouts: Timeouts,
    /// Headers it adds to what members see (HTTP only).
    pub insert_headers: InsertHeaders,
    /// One line for each request or connection.
    pub log: LogSettings,
    /// Bodies that replace the built-in page of a status.
    pub error_pages: BTreeMap<u16, String>,
    /// Who may say, by a PROXY header, who its clients are; `None`: nobody. Extension.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS, for `TERMINATED_HTTPS` and nothing else.
    #[serde(default)]
    pub tls: Option<tls::ListenerTls>,
    /// Clients may begin in HTTP/2 without asking; `HTTP` only. Extension.
    #[serde(default)]
    pub http2_prior_knowledge: bool,
    /// What it lets nobody exceed.
    #[serde(default)]
    pub limits: ListenerLimits,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
}

impl Listener {
    /// Every pool its requests may go to: each once, the default pool first, those that only get copies last.
    pub fn pools(&self) -> Vec<PoolId> {
        let of_policy = |policy: &L7Policy| match policy.action {
            Action::ToPool(pool) => Some(pool),
            _ => None,
        };
        let mut pools: Vec<PoolId> = Vec::new();
        let serving = self.default_pool.into_iter().chain(self.l7policies.iter().filter_map(of_policy));
        let copies = self.l7policies.iter().filter_map(|policy| policy.mirror.map(|mirror| mirror.pool));
        for pool in serving.chain(copies) {
            if !pools.contains(&pool) {
                pools.push(pool);
            }
        }
        pools
    }

    /// Its name, or its id when it has none: what log lines and tables show.
    pub fn label(&self) -> String {
        label(&self.name, self.id)
    }
}

/// Timeouts of one listener, in milliseconds. 0 means: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Silence of a client that should send or take bytes. Octavia's `timeout_client_data`, 50000.
    pub client_data_ms: u64,
    /// From the first SYN to an established connection. `timeout_member_connect`, 5000.
    pub member_connect_ms: u64,
    /// Silence of a member that should send or take bytes. `timeout_member_data`, 50000.
    pub member_data_ms: u64,
    /// A whole request head, however slowly it drips. Extension `timeout_http_request`, 10000.
    pub http_request_ms: u64,
    /// A kept connection between two requests. Extension `timeout_http_keep_alive`; default: the client's.
    pub http_keep_alive_ms: u64,
    /// Silence of both sides of a relay. Extension `timeout_tunnel`; `None`: client's and member's apply.
    pub tunnel_ms: Option<u64>,
    /// The first bytes of a relayed client, where a pool or a policy chooses by them. `timeout_tcp_inspect`; 0: as long as is sensible.
    #[serde(default)]
    pub tcp_inspect_ms: u64,
}

/// Octavia's `insert_headers`, for HTTP listeners. Those about the client's certificate are for `TERMINATED_HTTPS` only,
/// and replace any that the client sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsertHeaders {
    /// One more `X-Forwarded-For` line with the client's address.
    pub x_forwarded_for: bool,
    /// `X-Forwarded-Port` set to the listener's port, replacing any.
    pub x_forwarded_port: bool,
    /// `X-Forwarded-Proto` set to the listener's scheme, replacing any.
    pub x_forwarded_proto: bool,
    /// `X-SSL-Client-Verify`: 0 for a certificate that is good, and for none; else what is wrong, as a number.
    #[serde(default)]
    pub x_ssl_client_verify: bool,
    /// `X-SSL-Client-Has-Cert`: 1 if the client showed one, else 0.
    #[serde(default)]
    pub x_ssl_client_has_cert: bool,
    /// `X-SSL-Client-DN`: its subject, like `/O=oslb/CN=client.example.com`.
    #[serde(default)]
    pub x_ssl_client_dn: bool,
    /// `X-SSL-Client-CN`: the common name of its subject.
    #[serde(default)]
    pub x_ssl_client_cn: bool,
    /// `X-SSL-Issuer`: who signed it, written like the subject.
    #[serde(default)]
    pub x_ssl_issuer: bool,
    /// `X-SSL-Client-SHA1`: its fingerprint, 40 hexadecimal digits.
    #[serde(default)]
    pub x_ssl_client_sha1: bool,
    /// `X-SSL-Client-Not-Before`: since when it is valid.
    #[serde(default)]
    pub x_ssl_client_not_before: bool,
    /// `X-SSL-Client-Not-After`: until when it is valid.
    #[serde(default)]
    pub x_ssl_client_not_after: bool,
}

/// Where a listener's log lines go and what they look like. Extension `log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Shape of a line; `None`: no line is written.
    pub format: Option<LogFormat>,
    /// Where lines go.
    pub target: LogTarget,
    /// Syslog facility (only for [`LogTarget::Syslog`]).
    pub facility: SyslogFacility,
    /// Program name in a syslog header.
    pub tag: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// HAProxy's `option tcplog`.
    Tcplog,
    /// HAProxy's `option httplog`.
    Httplog,
    /// One JSON object with a `reason` in words.
    Json,
}

/// Where log lines go. Written `stderr`, `file:/path`, or `syslog:/dev/log`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// Standard error of the data plane.
    Stderr,
    /// Appended to a file, opened again on SIGHUP.
    File(PathBuf),
    /// Datagrams to a Unix socket, RFC 3164 style.
    Syslog(PathBuf),
}

/// Syslog facility, RFC 5424 section 6.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SyslogFacility(pub u8);

impl SyslogFacility {
    /// `local0`, the default here and in OpenStack's files.
    pub const LOCAL0: Self = Self(16);
}

/// Members that serve the same thing, and how one is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Identity.
    pub id: PoolId,
    /// What people call it; may be empty.
    pub name: String,
    /// Free text.
    pub description: String,
    /// What it speaks to members.
    pub protocol: PoolProtocol,
    /// How a member is chosen.
    pub lb_algorithm: LbAlgorithm,
    /// What is hashed and how; of algorithms that hash. `None`: as [`Hashing::of`] says. Extension.
    #[serde(default)]
    pub hash: Option<Hashing>,
    /// False: no member of it is used.
    pub admin_state_up: bool,
    /// In the order written; addresses (with ports) are distinct, names too.
    pub members: Vec<Member>,
    /// By which members are judged: a member is up only while all agree. None: members are not asked.
    #[serde(default)]
    pub monitors: Vec<HealthMonitor>,
    /// Live traffic as a witness; only with monitors. Extension.
    #[serde(default)]
    pub observation: Option<Observation>,
    /// A member that came up again gets its share of work grown over so many milliseconds; 0: at once. Extension.
    #[serde(default)]
    pub slow_start_ms: u64,
    /// A port on which members tell their own weight and state. Extension.
    #[serde(default)]
    pub agent_check: Option<AgentCheck>,
    /// What becomes of connections when their member is marked down. Extension.
    #[serde(default)]
    pub on_marked_down: OnMarkedDown,
    /// When a request is sent again; `None`: as the data plane does by itself. Extension.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// How it remembers its clients; `None`: it does not.
    #[serde(default)]
    pub session_persistence: Option<SessionPersistence>,
    /// Requests or connections that may wait for a member with room; `None`: as many as clients may connect. Extension.
    #[serde(default)]
    pub max_queue: Option<u32>,
    /// How long one may wait, in milliseconds, 0: for ever; `None`: its listener's `member_connect_ms`. Extension.
    #[serde(default)]
    pub timeout_queue_ms: Option<u64>,
    /// TLS to members.
    #[serde(default)]
    pub tls: Option<tls::PoolTls>,
    /// Members are spoken to in HTTP/2 without being asked; `HTTP` without TLS only. Extension.
    #[serde(default)]
    pub http2_prior_knowledge: bool,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
}

impl Pool {
    /// The PROXY header a probe of `member` begins with when its monitor does not name one: the pool's own. Somebody
    /// who is asked elsewhere than where traffic goes expects none, as in HAProxy.
    pub fn probe_header(&self, member: &Member) -> Option<ProxyVersion> {
        self.protocol.proxy_version().filter(|_| !member.is_monitored_elsewhere())
    }

    /// Its name, or its id when it has none.
    pub fn label(&self) -> String {
        label(&self.name, self.id)
    }
}

/// One server: an address (or a name that leads to one) and a port with a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Identity.
    pub id: MemberId,
    /// What people call it; may be empty.
    pub name: String,
    /// Where it listens.
    pub address: MemberAddress,
    /// Where it listens, 1..=65535.
    pub protocol_port: u16,
    /// Share of new work, 0..=256; 0: none.
    pub weight: u16,
    /// Requests (HTTP) or connections (TCP) it works on at once, 1..=[`MAX_CONNECTIONS_MAX`]; `None`: no limit.
    /// Extension.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Used only when no other member can be.
    pub backup: bool,
    /// False: not used at all.
    pub admin_state_up: bool,
    /// Where it is asked whether it is well; `None`: its own address.
    #[serde(default)]
    pub monitor_address: Option<IpAddr>,
    /// The port for that, 1..=65535; `None`: its own.
    #[serde(default)]
    pub monitor_port: Option<u16>,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
}

impl Member {
    /// Where it listens, if the document says so; `None`: where its name leads.
    pub fn socket(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address.ip()?, self.protocol_port))
    }

    /// Where it is asked whether it is well while it listens at `address`.
    pub fn monitor_socket(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(self.monitor_address.unwrap_or(address), self.monitor_port.unwrap_or(self.protocol_port))
    }

    /// True if its monitors ask another place than the one it serves at. What a pool does to connections to its members
    /// is not done to those, as in HAProxy.
    pub fn is_monitored_elsewhere(&self) -> bool {
        self.monitor_address.is_some() || self.monitor_port.is_some()
    }

    /// Its name, or its id when it has none.
    pub fn label(&self) -> String {
        label(&self.name, self.id)
    }
}

fn label(name: &str, id: impl fmt::Display) -> String {
    if name.is_empty() { id.to_string() } else { name.to_owned() }
}
