//! How many connections the process may have, and what happens when it is short of something.
//!
//! A connection from a client may need one to a member beside it, so the process takes half as many clients as it has descriptors,
//! less what it needs for itself: then members, checks, the control socket and logs always find one. More are taken where
//! members' own limits leave more. While memory is near its
//! bound nobody is taken at all. Counts are changed by all workers; the bounds by the control thread and by whoever looks at memory.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use lb_control::stats::ShortageStats;
use tokio::sync::Notify;

use crate::memory::Memory;

/// What a client that has just come takes at most before it has sent a whole head, in bytes: its session, its first buffer.
const NEWCOMER: i64 = 16 * 1024;

/// What the process is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Descriptors.
    Descriptors,
    /// Memory.
    Memory,
}

/// See the module.
#[derive(Debug)]
pub struct Room {
    taken: AtomicU32,
    most: AtomicU32,
    tight: AtomicBool,
    memory: Memory,
    /// Newcomers there is memory for, before it has to be looked at again.
    credit: AtomicI64,
    /// Connections closed before they asked for anything, by what was short.
    shed: [AtomicU64; 2],
    /// Times a descriptor was asked of the kernel in vain.
    refused: AtomicU64,
    /// Something is short, since the last look of whoever tells of it.
    short: [AtomicBool; 2],
    news: Notify,
}

impl Room {
    /// No bound on connections yet.
    pub fn new(memory: Memory) -> Self {
        Self {
            taken: AtomicU32::new(0),
            most: AtomicU32::new(u32::MAX),
            tight: AtomicBool::new(false),
            memory,
            credit: AtomicI64::new(0),
            shed: Default::default(),
            refused: AtomicU64::new(0),
            short: Default::default(),
            news: Notify::new(),
        }
    }

    /// Connections from clients, open now.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// One more connection, if it may be.
    pub fn enter(&self) -> bool {
        self.has_memory() && try_enter(&self.taken, Some(self.most.load(Ordering::Relaxed)))
    }

    /// True if memory has a bound.
    pub fn is_bounded(&self) -> bool {
        self.memory.is_bounded()
    }

    /// True if there is memory for a client that takes its first. Costs a look for every so many of them, the fewer the nearer
    /// the bound is: however fast they come, they do not take more than there is.
    pub fn has_memory(&self) -> bool {
        if !self.memory.is_bounded() || self.credit.fetch_sub(1, Ordering::Relaxed) > 0 {
            return true;
        }
        !self.look()
    }

    /// One less.
    pub fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes no more clients than `descriptors` allow, of which the process needs `own` for itself and at most `members` for
    /// connections to members, if those are limited.
    pub fn resize(&self, descriptors: u64, own: u64, members: Option<u64>) {
        self.most.store(clients_for(descriptors, own, members), Ordering::SeqCst);
    }

    /// What there is too little of, if anything.
    pub fn shortage(&self) -> Option<Shortage> {
        if self.tight.load(Ordering::Relaxed) {
            return Some(Shortage::Memory);
        }
        (self.taken() >= self.most.load(Ordering::Relaxed)).then_some(Shortage::Descriptors)
    }

    /// Looks at memory. True if there is too little.
    pub fn look(&self) -> bool {
        if !self.memory.is_bounded() {
            return false;
        }
        let left = self.memory.left(self.tight.load(Ordering::Relaxed));
        self.credit.store(left / NEWCOMER, Ordering::Relaxed);
        let tight = left < NEWCOMER;
        self.tight.store(tight, Ordering::SeqCst);
        if tight {
            self.tell(Shortage::Memory);
        }
        tight
    }

    /// `n` connections were closed because of it.
    pub fn count_shed(&self, shortage: Shortage, n: u64) {
        self.shed[shortage as usize].fetch_add(n, Ordering::Relaxed);
        self.tell(shortage);
    }

    /// The kernel had no descriptor.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.tell(Shortage::Descriptors);
    }

    /// Somebody met a shortage.
    pub fn tell(&self, shortage: Shortage) {
        if !self.short[shortage as usize].swap(true, Ordering::Relaxed) {
            self.news.notify_one();
        }
    }

    /// Waits until a shortage was met.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// What was met since the last call.
    pub fn take_news(&self) -> Option<Shortage> {
        let met = |shortage: Shortage| self.short[shortage as usize].swap(false, Ordering::Relaxed);
        // Both are asked, so that neither is told of twice.
        match (met(Shortage::Memory), met(Shortage::Descriptors)) {
            (true, _) => Some(Shortage::Memory),
            (false, true) => Some(Shortage::Descriptors),
            (false, false) => None,
        }
    }

    /// Figures.
    pub fn stats(&self) -> ShortageStats {
        let most = self.most.load(Ordering::Relaxed);
        ShortageStats {
            connections_max: (most < u32::MAX).then_some(most),
            memory_max: self.memory.max(),
            shed_for_descriptors: self.shed[Shortage::Descriptors as usize].load(Ordering::Relaxed),
            shed_for_memory: self.shed[Shortage::Memory as usize].load(Ordering::Relaxed),
            descriptors_refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// Clients that `descriptors` are enough for; one at least.
fn clients_for(descriptors: u64, own: u64, members: Option<u64>) -> u32 {
    let left = descriptors.saturating_sub(own);
    let beside_members = members.map_or(0, |members| left.saturating_sub(members));
    u32::try_from(beside_members.max(left / 2)).unwrap_or(u32::MAX).max(1)
}

/// True if there may be no more than there are.
pub fn is_full(count: u32, limit: Option<u32>) -> bool {
    limit.is_some_and(|limit| count >= limit)
}

/// Counts one more unless that would be more than `limit`.
pub fn try_enter(count: &AtomicU32, limit: Option<u32>) -> bool {
    let before = count.fetch_add(1, Ordering::SeqCst);
    if is_full(before, limit) {
        count.fetch_sub(1, Ordering::SeqCst);
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_descriptor_for_its_member() {
        assert_eq!(clients_for(1024, 64, None), 480);
        assert_eq!(clients_for(1024, 64, Some(20)), 940, "no more than 20 are ever beside them");
        assert_eq!(clients_for(1024, 64, Some(900)), 480);
        assert_eq!(clients_for(20, 64, None), 1, "it serves somebody, whatever the limit");
        assert_eq!(clients_for(u64::MAX, 64, None), u32::MAX);
    }

    #[test]
    fn what_is_full_takes_nobody_and_says_so_once() {
        let room = Room::new(Memory::unbounded());
        assert!(room.enter() && room.shortage().is_none());
        room.resize(66, 62, None);
        assert!(room.enter() && !room.enter());
        assert_eq!(room.shortage(), Some(Shortage::Descriptors));
        room.leave();
        assert!(room.enter());
        room.count_shed(Shortage::Descriptors, 3);
        room.count_refused();
        assert_eq!(room.take_news(), Some(Shortage::Descriptors));
        assert_eq!(room.take_news(), None);
        let stats = room.stats();
        assert_eq!((stats.connections_max, stats.shed_for_descriptors, stats.descriptors_refused), (Some(2), 3, 1));
    }
}
