//! What is known of a member while it serves: figures, load, and whether live traffic should avoid it.
//!
//! Shared by all workers of a process and kept across replaced documents, as long as the member's id stays.

pub mod counters;
pub mod fault;

use std::sync::atomic::{AtomicU32, Ordering};

pub use counters::{Counter, ListenerCell, MemberCell, PerWorker, PoolCell};
pub use fault::Fault;

/// State of one member that every worker reads and writes. On a cache line pair of its own, because two
/// workers that load different members should not meet.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct MemberState {
    in_flight: AtomicU32,
    /// Whether traffic should avoid it; written by whoever tried it.
    pub fault: Fault,
}

impl MemberState {
    /// Requests (HTTP) or connections (TCP) it is working on now, of all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One more is handed to it. Each call is paired with one [`Self::leave`].
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// One is done.
    pub fn leave(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "left a member more often than entered");
    }
}
