//! A place in a cycle that all workers walk together, and the walk itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::MemberIndex;

/// Whether who is found has its turn by that, or is only named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It has its turn.
    Take,
    /// Nothing changes.
    Peek,
}

/// Written by every worker; shared by all snapshots that go on with the same cycle.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor(Arc<AtomicU64>);

impl Cursor {
    /// A new one that stands there.
    pub(super) fn at(place: u64) -> Self {
        Self(Arc::new(AtomicU64::new(place)))
    }

    /// Where it stands; the place in a cycle is that modulo its length.
    pub(super) fn place(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The next place, `taken` steps into a walk.
    fn next(&self, look: Look, taken: u64) -> u64 {
        match look {
            Look::Take => self.0.fetch_add(1, Ordering::Relaxed),
            Look::Peek => self.0.load(Ordering::Relaxed).wrapping_add(taken),
        }
    }

    /// Walks on over `order` until somebody is usable, for `steps_max` steps at most.
    pub(super) fn walk(
        &self,
        order: &[MemberIndex],
        steps_max: usize,
        look: Look,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        // A member may have many turns in a row, so walking on until everyone was seen can take a whole cycle.
        // A few steps find somebody nearly always; the rest is a plain search.
        let steps = order.len().min(steps_max);
        for taken in 0..steps {
            let turn = self.next(look, taken as u64) % order.len() as u64;
            let member = order[turn as usize];
            if usable(member) {
                return Some(member);
            }
        }
        let found = order.iter().copied().find(|m| usable(*m));
        if found.is_none() && look == Look::Take {
            // Nobody had a turn: the next search, which may ask for less, begins where this one did.
            self.0.fetch_sub(steps as u64, Ordering::Relaxed);
        }
        found
    }
}
