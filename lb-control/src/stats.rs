//! Figures of a data plane: counters since it began (they never go back, whatever is applied) and gauges.

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
    /// Per listener, in document order; removed ones are gone.
    pub listeners: Vec<ListenerStats>,
    /// Per pool, in document order.
    pub pools: Vec<PoolStats>,
    /// Accepted connections per worker: shows that all work.
    pub workers: Vec<WorkerStats>,
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

/// Octavia's five figures of a listener, and what an operator asks next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListenerStats {
    /// Id of the listener.
    pub id: String,
    /// Its name.
    pub name: String,
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
    /// Answers made here (refusals), not by a member.
    pub refusals: u64,
}

/// One pool with its members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStats {
    /// Id of the pool.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Requests or connections in flight.
    pub active_connections: u64,
    /// Requests or connections ever handed to its members.
    pub total_connections: u64,
    /// Bytes sent to members.
    pub bytes_in: u64,
    /// Bytes received from members.
    pub bytes_out: u64,
    /// In document order.
    pub members: Vec<MemberStats>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemberStats {
    /// Id of the member.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `address:port`.
    pub address: String,
    /// As in the document.
    pub weight: u16,
    /// As in the document.
    pub backup: bool,
    /// As in the document.
    pub admin_state_up: bool,
    /// True while live traffic avoids it because it just failed.
    pub avoided: bool,
    /// Requests or connections in flight.
    pub active_connections: u64,
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
