//! Counters with one writer: a worker adds to its own cells with plain loads and stores, anybody may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A figure that one thread changes and any thread reads; never locked, never contended.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning worker may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one; only the owning worker may call this.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away (a gauge); only the owning worker may call this.
    pub fn dec(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }

    /// Makes it at least `n`; only the owning worker may call this.
    pub fn raise(&self, n: u64) {
        if n > self.get() {
            self.0.store(n, Ordering::Relaxed);
        }
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts for one listener.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerCell {
    /// Gauge: connections open.
    pub open: Counter,
    /// Connections accepted.
    pub connections: Counter,
    /// Requests begun.
    pub requests: Counter,
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// Requests that failed because of the client.
    pub request_errors: Counter,
    /// Answers by class, 1xx first.
    pub responses: [Counter; 5],
    /// Answers made here.
    pub refusals: Counter,
    /// Gauge: requests that became something else than HTTP and go on.
    pub tunnels_open: Counter,
    /// Requests that did.
    pub tunnels: Counter,
    /// Connections closed because their PROXY header was bad, missing or late.
    pub proxy_header_errors: Counter,
    /// TLS handshakes that led to a connection.
    pub tls_handshakes: Counter,
    /// Those of them that went on with an earlier session.
    pub tls_resumed: Counter,
    /// TLS handshakes that led to nothing.
    pub tls_failures: Counter,
    /// What limits did; made by the first that did something.
    limits: OnceLock<Box<LimitCell>>,
}

impl ListenerCell {
    /// What limits did, to count more of it; only the owning worker may call this.
    pub fn limits(&self) -> &LimitCell {
        self.limits.get_or_init(Box::default)
    }

    /// What limits did, if anything.
    pub fn limits_read(&self) -> Option<&LimitCell> {
        self.limits.get().map(|limits| &**limits)
    }
}

/// What limits of one listener did, as one worker counts it.
#[derive(Debug, Default)]
pub struct LimitCell {
    /// Connections from elsewhere than `allowed_cidrs`, closed.
    pub not_allowed: Counter,
    /// Connections over `connection_limit`, refused.
    pub over_connection_limit: Counter,
    /// Connections of clients that had as many as they may, closed.
    pub client_connections: Counter,
    /// Connections of clients that opened them too fast, closed.
    pub client_connection_rate: Counter,
    /// Requests of clients that sent them too fast, answered 429.
    pub client_request_rate: Counter,
    /// Connections not held to their client's limits because the table was full of clients that were all there.
    pub clients_uncounted: Counter,
    /// Requests whose head is larger than allowed, answered 414 or 431.
    pub heads_too_large: Counter,
    /// Exchanges cut because the client sent or took a body too slowly.
    pub bodies_too_slow: Counter,
    /// Connections closed before they asked for anything because descriptors or memory ran short.
    pub shed: Counter,
    /// Log lines about refused connections that were not written: there were too many.
    pub lines_withheld: Counter,
}

/// What one worker counts for one member.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct MemberCell {
    /// Gauge: requests or connections in flight.
    pub active: Counter,
    /// Requests or connections handed to it.
    pub total: Counter,
    /// Connections opened.
    pub connects: Counter,
    /// Requests on a kept connection.
    pub reuses: Counter,
    /// Gauge: kept connections, idle.
    pub idle: Counter,
    /// Bytes to it.
    pub bytes_in: Counter,
    /// Bytes from it.
    pub bytes_out: Counter,
    /// Connections that could not be made.
    pub connect_errors: Counter,
    /// Answers unreadable, cut short or missing.
    pub response_errors: Counter,
    /// Attempts repeated.
    pub retries: Counter,
    /// Requests that moved elsewhere.
    pub redispatches: Counter,
    /// Answers by class, 1xx first.
    pub responses: [Counter; 5],
}

/// What one worker counts for one pool.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PoolCell {
    /// Gauge: requests or connections in flight on its members.
    pub active: Counter,
    /// Requests that were not sent again because the budget for that was used up.
    pub retries_denied: Counter,
    /// Requests or connections that went to the member that was remembered.
    pub persistence_hits: Counter,
    /// Those of whom nobody was remembered.
    pub persistence_misses: Counter,
    /// Those that went elsewhere than to the member that was remembered.
    pub persistence_moved: Counter,
    /// Those that found its members full.
    pub queued: Counter,
    /// Those that waited for as long as they may.
    pub queue_timeouts: Counter,
    /// Those that were one too many to wait.
    pub queue_refused: Counter,
    /// The longest time one waited, in milliseconds.
    pub longest_wait_ms: Counter,
}

/// What one worker counts for one L7 policy.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PolicyCell {
    /// Requests it matched.
    pub matched: Counter,
    /// Copies sent to its mirror.
    pub mirrored: Counter,
    /// Copies that were not sent, or failed.
    pub mirrors_lost: Counter,
}

/// One cell for each worker, kept by all snapshots that know the same object.
#[derive(Debug)]
pub struct PerWorker<T> {
    cells: Box<[Arc<T>]>,
}

/// The same cells again, whoever counts in them.
impl<T> Clone for PerWorker<T> {
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone() }
    }
}

impl<T: Default> PerWorker<T> {
    /// Fresh cells for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { cells: (0..workers).map(|_| Arc::default()).collect() }
    }

    /// The same cells, with fresh ones added when there are more workers now. Never fewer: what a retired
    /// worker counted stays counted.
    pub fn grown(&self, workers: usize) -> Self {
        let fresh = (self.cells.len()..workers).map(|_| Arc::default());
        Self { cells: self.cells.iter().cloned().chain(fresh).collect() }
    }

    /// The cell of one worker, which alone may write it.
    pub fn of(&self, worker: usize) -> &Arc<T> {
        &self.cells[worker]
    }

    /// A figure summed over all workers.
    pub fn sum(&self, figure: impl Fn(&T) -> u64) -> u64 {
        self.cells.iter().fold(0, |sum, cell| sum.wrapping_add(figure(cell)))
    }

    /// The greatest a figure is with any worker.
    pub fn greatest(&self, figure: impl Fn(&T) -> u64) -> u64 {
        self.cells.iter().map(|cell| figure(cell)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_growth() {
        let two = PerWorker::<MemberCell>::new(2);
        two.of(1).total.add(7);
        let four = two.grown(4);
        two.of(1).total.inc();
        four.of(3).total.inc();
        assert_eq!(four.sum(|c| c.total.get()), 9);
        assert_eq!(four.grown(1).sum(|c| c.total.get()), 9);
    }
}
