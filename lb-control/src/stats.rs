//! Figures of a data plane: counters since it began (they never go back, whatever is applied) and gauges.

use lb_core::expiry::Term;
use lb_core::health::{Administrative, OperatingStatus, Operational};
use serde::{Deserialize, Serialize};

/// One data plane, read in one go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Milliseconds since the process began.
    pub uptime_ms: u64,
    /// Which document these figures belong to.
    pub generation: u64,
    /// Connections from clients, open now.
    pub active_connections: u64,
    /// Log lines that were lost because a sink was slow or gone.
    pub log_lines_dropped: u64,
    /// Sessions that ended in a panic of ours. Should stay 0.
    pub sessions_panicked: u64,
    /// What it ran short of, and whom it turned away for it.
    #[serde(default)]
    pub shortage: ShortageStats,
    /// Octavia's word for the whole.
    pub operating_status: Option<OperatingStatus>,
    /// Per listener, in document order; removed ones are gone.
    pub listeners: Vec<ListenerStats>,
    /// Per pool, in document order.
    pub pools: Vec<PoolStats>,
    /// Accepted connections per worker: shows that all work.
    pub workers: Vec<WorkerStats>,
    /// Certificates that are shown to clients or members, and lists of revoked ones that theirs are looked up in, the first
    /// to end first; at most [`CERTIFICATES_MAX`].
    #[serde(default)]
    pub certificates: Vec<CertificateStats>,
}

/// Certificates that are listed: of more, those that end first.
pub const CERTIFICATES_MAX: usize = 1024;

/// One certificate or revocation list in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStats {
    /// The file it was read from.
    pub path: String,
    /// Who it says it is, in one line: `/O=example/CN=www.example.org`. Of a list: who made it.
    pub subject: String,
    /// The names it is for. Of lists: who made them.
    pub names: Vec<String>,
    /// Of a revocation list: when it was made, in milliseconds since 1970. Absent: it is a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_issued_ms: Option<i64>,
    /// When it ends, in milliseconds since 1970.
    pub not_after_ms: i64,
    /// Who shows it, or looks others up in it: `listener web`, `pool back`.
    pub used_by: Vec<String>,
}

impl CertificateStats {
    /// How long it is good for.
    pub fn term(&self) -> Term {
        Term { list_issued_ms: self.list_issued_ms, not_after_ms: self.not_after_ms }
    }
}

/// One data thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Connections accepted since start.
    pub total_connections: u64,
    /// Requests (HTTP) begun since start.
    pub total_requests: u64,
    /// Connections that are parked: open, silent for a while, held in next to no memory.
    pub parked_connections: u64,
}

/// What a data plane ran short of. Whoever has asked for something is served; those who have not are closed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortageStats {
    /// Connections from clients that there are descriptors for; `None`: it serves no document yet.
    pub connections_max: Option<u32>,
    /// Bytes of memory it may take; `None`: no bound is known.
    pub memory_max: Option<u64>,
    /// Connections closed before they asked for anything, because all descriptors for clients were taken.
    pub shed_for_descriptors: u64,
    /// The same because memory was near its bound.
    pub shed_for_memory: u64,
    /// Times the kernel had no descriptor left. Should stay 0.
    pub descriptors_refused: u64,
}

/// What the limits of a listener did since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStats {
    /// Connections from elsewhere than `allowed_cidrs`, reset.
    pub not_allowed: u64,
    /// Connections over `connection_limit` that were refused (`on_connection_limit: REFUSE`).
    pub over_connection_limit: u64,
    /// Connections of clients that had as many as they may, reset.
    pub client_connections: u64,
    /// Connections of clients that opened them too fast, reset.
    pub client_connection_rate: u64,
    /// Requests of clients that sent them too fast, answered 429.
    pub client_request_rate: u64,
    /// Connections not held to their client's limits because the table was full of clients that were all there.
    pub clients_uncounted: u64,
    /// Requests whose head was too large, answered 414 or 431.
    pub heads_too_large: u64,
    /// Exchanges cut because the client sent or took a body too slowly.
    pub bodies_too_slow: u64,
    /// Connections closed before they asked for anything, because the data plane was short of something.
    pub shed: u64,
    /// Log lines about connections turned away that were not written: there were too many.
    pub lines_withheld: u64,
    /// Clients that are known now.
    pub clients: u64,
    /// Memory that takes, in bytes.
    pub clients_bytes: u64,
}

/// Octavia's five figures of a listener, and what an operator asks next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerStats {
    /// Id of the listener.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Octavia's word for it.
    pub operating_status: Option<OperatingStatus>,
    /// Open now.
    pub active_connections: u64,
    /// Accepted since start.
    pub total_connections: u64,
    /// Requests since start (HTTP; 0 for TCP).
    pub total_requests: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Requests that could not be served because of the client: unreadable, too slow, abandoned.
    pub request_errors: u64,
    /// Answers sent, by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub responses: [u64; 5],
    /// Answers made here (refusals, redirects), not by a member.
    pub refusals: u64,
    /// Requests that became something else than HTTP (WebSockets for the most part) and go on.
    #[serde(default)]
    pub tunnels_open: u64,
    /// Requests that did.
    #[serde(default)]
    pub tunnels: u64,
    /// Per L7 policy, in the order of their positions.
    #[serde(default)]
    pub l7policies: Vec<PolicyStats>,
    /// Connections closed because their PROXY header was bad, missing or late.
    #[serde(default)]
    pub proxy_header_errors: u64,
    /// TLS handshakes that led to a connection.
    #[serde(default)]
    pub tls_handshakes: u64,
    /// Those of them that went on with an earlier session.
    #[serde(default)]
    pub tls_resumed: u64,
    /// TLS handshakes that led to nothing.
    #[serde(default)]
    pub tls_failures: u64,
    /// What its limits did.
    #[serde(default)]
    pub limits: LimitStats,
}

/// One L7 policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyStats {
    /// Id of the policy.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Requests it matched.
    pub matched: u64,
    /// Copies it had sent elsewhere.
    pub mirrored: u64,
    /// Copies that were not sent, or got no answer.
    pub mirrors_lost: u64,
}

/// One pool with its members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStats {
    /// Id of the pool.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Octavia's word for it.
    pub operating_status: Option<OperatingStatus>,
    /// Requests or connections in flight.
    pub active_connections: u64,
    /// Requests or connections ever handed to its members.
    pub total_connections: u64,
    /// Bytes sent to members.
    pub bytes_in: u64,
    /// Bytes received from members.
    pub bytes_out: u64,
    /// Requests that were not sent again because the budget for that was used up.
    #[serde(default)]
    pub retries_denied: u64,
    /// How it remembers its clients; `None`: it does not.
    #[serde(default)]
    pub persistence: Option<PersistenceStats>,
    /// Who waits for members at their limit.
    #[serde(default)]
    pub queue: QueueStats,
    /// In document order.
    pub members: Vec<MemberStats>,
}

/// How a pool remembers its clients. Of a cookie made here there is no table: its figures are 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PersistenceStats {
    /// `SOURCE_IP`, `HTTP_COOKIE` or `APP_COOKIE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Clients in the table.
    pub entries: u64,
    /// Most of them.
    pub size: u64,
    /// Forgotten since start to make room.
    pub evicted: u64,
    /// Forgotten since start because they were away for too long.
    pub expired: u64,
    /// Memory behind the table.
    pub bytes: u64,
    /// Requests (HTTP) or connections (TCP) that went to the member that was remembered.
    pub hits: u64,
    /// Those of whom nobody was remembered.
    pub misses: u64,
    /// Those that went elsewhere, because the member was down, not to be used, or could not be reached.
    pub moved: u64,
}

/// The queue of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Waiting now.
    pub waiting: u64,
    /// How long the first of them has waited, in milliseconds; 0: nobody waits.
    pub oldest_ms: u64,
    /// The longest time one has waited since start, in milliseconds, those that wait now left out.
    pub longest_wait_ms: u64,
    /// Those that found all members full since start: they waited, or were refused.
    pub queued: u64,
    /// Those of them that waited for as long as they may, and were refused.
    pub timeouts: u64,
    /// Those of them that were refused at once because as many waited as may.
    pub refused: u64,
}

/// What is known of a member's health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberHealth {
    /// Octavia's word for both axes.
    pub operating_status: OperatingStatus,
    /// What the operator wants of it.
    pub administrative: Administrative,
    /// What is observed of it.
    pub operational: Operational,
    /// Since when it is up, or down, in milliseconds since 1970.
    pub since_ms: u64,
    /// What last turned it, in words; empty: it has been up since it is known.
    pub reason: String,
    /// Its share of the pool's new work now, in thousandths.
    pub share_permille: u32,
    /// What each monitor knows, in document order.
    pub monitors: Vec<MonitorView>,
    /// What its own agent last said, in words; empty: nothing, or it has none.
    pub agent: String,
}

/// What one monitor knows of a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorView {
    /// Its id.
    pub id: String,
    /// Its name, or its id.
    pub name: String,
    /// `HTTP`, `PING`, ...
    pub kind: String,
    /// The last result in words: `HTTP 500, expected 200, 3 of 3, 2 ms`; empty: none yet.
    pub last: String,
    /// When that was, in milliseconds since 1970; 0: never.
    pub last_ms: u64,
    /// Milliseconds until it asks again; 0: it is asking now.
    pub next_in_ms: u64,
}

/// What is known of a member's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// As the document has it.
    pub name: String,
    /// `address:port` in use; empty: it leads nowhere.
    pub address: String,
    /// All addresses last found; they stay in use when it cannot be resolved for a while.
    pub addresses: Vec<String>,
    /// What was wrong with the last question: `NXDOMAIN`; empty: nothing, or it was not asked for yet.
    pub fault: String,
    /// Milliseconds until it is asked for again; 0: it is being asked for now.
    pub next_in_ms: u64,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemberStats {
    /// Id of the member.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `address:port`; empty: its name leads nowhere.
    pub address: String,
    /// What is known of its name; `None`: it has an address.
    #[serde(default)]
    pub resolution: Option<Resolution>,
    /// As in the document.
    pub weight: u16,
    /// As in the document.
    pub backup: bool,
    /// As in the document.
    pub admin_state_up: bool,
    /// What is known of its health.
    pub health: Option<MemberHealth>,
    /// True while live traffic avoids it because it just failed.
    pub avoided: bool,
    /// Requests or connections in flight.
    pub active_connections: u64,
    /// Most of them at once, as of now: the document's word, the agent's, and slow start. `None`: no limit.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Those that wait for this member alone.
    #[serde(default)]
    pub waiting: u64,
    /// Requests (HTTP) or connections (TCP) handed to it.
    pub total_connections: u64,
    /// Connections opened to it.
    pub connects: u64,
    /// Requests that took a kept connection.
    pub reuses: u64,
    /// Kept connections, idle now.
    pub idle_connections: u64,
    /// Bytes sent to it.
    pub bytes_in: u64,
    /// Bytes received from it.
    pub bytes_out: u64,
    /// Connections that could not be made.
    pub connect_errors: u64,
    /// Answers that were unreadable, cut short, or never came.
    pub response_errors: u64,
    /// Attempts on it that were repeated, here or elsewhere.
    pub retries: u64,
    /// Requests that left it for another member.
    pub redispatches: u64,
    /// Answers, by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub responses: [u64; 5],
}
