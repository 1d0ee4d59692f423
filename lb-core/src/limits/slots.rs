//! The slots of one member: how many are taken, how many there are, and whether somebody waits for one.
//!
//! All three are one atomic word, written by every worker (taken), by the control thread (the limit) and under the
//! lock of the pool's queue (the mark). Its modification order alone carries the protocol, so no ordering is asked for.

use std::sync::atomic::AtomicU32;

use super::sync::{AtomicU64, Ordering};
use crate::health::slow_start::WHOLE_PERMILLE;

/// Bits of the word that count slots taken.
const TAKEN: u64 = u32::MAX as u64;
/// Somebody waits for a slot: newcomers keep out, and who leaves sees to it.
const WAITED_FOR: u64 = 1 << 32;
/// The limit stands above this bit; 0: none.
const LIMIT_SHIFT: u32 = 33;

/// See the module.
#[derive(Debug)]
pub struct Slots {
    word: AtomicU64,
    /// What the document says; 0: no limit. This and the next two are written by the control thread.
    document: AtomicU32,
    /// What the member's agent asks for; 0: nothing.
    asked: AtomicU32,
    /// How far it has grown by slow start, in thousandths.
    grown_permille: AtomicU32,
}

impl Default for Slots {
    /// No limit, nothing taken.
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            document: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            grown_permille: AtomicU32::new(WHOLE_PERMILLE),
        }
    }
}

impl Slots {
    /// Slots taken now, by all workers.
    pub fn taken(&self) -> u32 {
        (self.word.load(Ordering::Relaxed) & TAKEN) as u32
    }

    /// The limit in force; `None`: there is none.
    pub fn limit(&self) -> Option<u32> {
        Some(limit_in(self.word.load(Ordering::Relaxed)) as u32).filter(|limit| *limit > 0)
    }

    /// True if a newcomer may take a slot: there is one, and nobody waits for it.
    pub fn has_room(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word & WAITED_FOR == 0 && is_free(word)
    }

    /// Takes a slot whatever the limit is. Pair with [`Self::leave`].
    pub fn enter(&self) {
        self.word.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a slot if a newcomer may. Pair with [`Self::leave`].
    pub fn try_enter(&self) -> bool {
        self.take_if(|word| word & WAITED_FOR == 0 && is_free(word))
    }

    /// Takes a slot for somebody who waits. Pair with [`Self::leave`].
    pub(super) fn take_for_waiter(&self) -> bool {
        self.take_if(is_free)
    }

    /// True if somebody who waits could have a slot now.
    pub(super) fn is_free(&self) -> bool {
        is_free(self.word.load(Ordering::Relaxed))
    }

    /// Gives a slot back. True if somebody waits for it: then the pool's queue is to be told ([`super::Queue::freed`]).
    #[must_use]
    pub fn leave(&self) -> bool {
        let before = self.word.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before & TAKEN > 0, "left a member more often than entered");
        before & WAITED_FOR != 0
    }

    /// Says whether somebody waits for a slot of this member. Only under the lock of the queue.
    pub(super) fn mark(&self, waited_for: bool) {
        if waited_for {
            self.word.fetch_or(WAITED_FOR, Ordering::Relaxed);
        } else {
            self.word.fetch_and(!WAITED_FOR, Ordering::Relaxed);
        }
    }

    /// The limit of the document; `None`: no limit.
    pub fn set_document(&self, limit: Option<u32>) {
        self.document.store(limit.unwrap_or(0), Ordering::Relaxed);
        self.settle();
    }

    /// The limit the member's own agent asks for; it lowers the document's or stands in its stead. `None`: it asks
    /// for nothing. `grown_permille` is how far the limit has grown by slow start. True if the limit in force changed.
    pub fn set_asked(&self, limit: Option<u32>, grown_permille: u32) -> bool {
        self.asked.store(limit.unwrap_or(0), Ordering::Relaxed);
        self.grown_permille.store(grown_permille, Ordering::Relaxed);
        self.settle()
    }

    /// Only the control thread comes here, so nothing of the three changes meanwhile.
    fn settle(&self) -> bool {
        let said = [&self.document, &self.asked].map(|limit| limit.load(Ordering::Relaxed)).into_iter();
        let least = said.filter(|limit| *limit > 0).min();
        let limit = least.map_or(0, |least| grown(least, self.grown_permille.load(Ordering::Relaxed)));
        let with = |word: u64| Some((word & (TAKEN | WAITED_FOR)) | (u64::from(limit) << LIMIT_SHIFT));
        let before = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        before.is_ok_and(|before| limit_in(before) != u64::from(limit))
    }

    fn take_if(&self, may: impl Fn(u64) -> bool) -> bool {
        let taken = |word: u64| may(word).then_some(word + 1);
        self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

fn limit_in(word: u64) -> u64 {
    word >> LIMIT_SHIFT
}

fn is_free(word: u64) -> bool {
    let limit = limit_in(word);
    limit == 0 || (word & TAKEN) < limit
}

/// A limit that has grown so far, in thousandths; at least 1, as in HAProxy.
fn grown(limit: u32, permille: u32) -> u32 {
    let exact = u64::from(limit) * u64::from(permille.min(WHOLE_PERMILLE)) / u64::from(WHOLE_PERMILLE);
    (exact as u32).clamp(1, crate::config::MAX_CONNECTIONS_MAX)
}
