//! What is known of a member while it serves: figures, load, and whether live traffic should avoid it.
//!
//! Shared by all workers of a process and kept across replaced documents, as long as the member's id stays.

pub mod counters;
pub mod fault;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub use counters::{Counter, LimitCell, ListenerCell, MemberCell, PerWorker, PolicyCell, PoolCell};
pub use fault::Fault;

use crate::health::Witness;
use crate::health::slow_start::WHOLE_PERMILLE;
use crate::limits::Slots;

/// State of one member that every worker reads and writes. On a cache line pair of its own, because two
/// workers that load different members should not meet.
#[derive(Debug)]
#[repr(align(128))]
pub struct MemberState {
    /// Requests (HTTP) or connections (TCP) it is working on, and how many it may; see [`crate::limits`].
    pub slots: Slots,
    /// Judged down. Written by the control thread.
    down: AtomicBool,
    /// How often the connections to it were to be closed. Written by the control thread.
    cuts: AtomicU32,
    /// What of its weight it gets, in thousandths. Written by the control thread; read when groups are compiled.
    share_permille: AtomicU32,
    /// Whether traffic should avoid it; written by whoever tried it.
    pub fault: Fault,
    /// What live traffic says of it; written by every worker, if the pool has an observation.
    pub witness: Witness,
}

impl Default for MemberState {
    /// Up, with its whole share: nobody has judged it yet.
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            down: AtomicBool::new(false),
            cuts: AtomicU32::new(0),
            share_permille: AtomicU32::new(WHOLE_PERMILLE),
            fault: Fault::default(),
            witness: Witness::default(),
        }
    }
}

impl MemberState {
    /// False while it is judged down: it gets no new work, not even as a last resort.
    pub fn up(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }

    /// Says whether it is judged up; workers meet it at their next pick.
    pub fn set_up(&self, up: bool) {
        self.down.store(!up, Ordering::Relaxed);
    }

    /// Has all connections to it closed: sessions compare [`Self::cuts`] with what it was when they began.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// How often [`Self::cut`] was called.
    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// What of its weight it gets, in thousandths; more than 1000 if its agent asks for more.
    pub fn share_permille(&self) -> u32 {
        self.share_permille.load(Ordering::Relaxed)
    }

    /// Sets that share. Traffic follows when the snapshot is compiled anew
    /// ([`crate::snapshot::Snapshot::rebuilt`]).
    pub fn set_share_permille(&self, permille: u32) {
        self.share_permille.store(permille, Ordering::Relaxed);
    }

    /// Requests (HTTP) or connections (TCP) it is working on now, of all workers.
    pub fn in_flight(&self) -> u32 {
        self.slots.taken()
    }

    /// One more is handed to it, whatever its limit is. Each call is paired with one [`Self::leave`].
    pub fn enter(&self) {
        self.slots.enter();
    }

    /// One is done. True if somebody waits for its slot ([`crate::limits::Queue::freed`]).
    #[must_use]
    pub fn leave(&self) -> bool {
        self.slots.leave()
    }
}
