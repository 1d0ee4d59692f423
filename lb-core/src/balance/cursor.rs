//! A place in a cycle that all workers walk together, and the walk itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::MemberIndex;

/// Who is found has its turn by that. As a constant, so that the walk pays nothing for being able to only look.
pub(super) const TAKE: bool = true;
/// Who is found is only named: nothing changes.
pub(super) const PEEK: bool = false;

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
    fn next<const TAKES: bool>(&self, taken: u64) -> u64 {
        match TAKES {
            TAKE => self.0.fetch_add(1, Ordering::Relaxed),
            PEEK => self.0.load(Ordering::Relaxed).wrapping_add(taken),
        }
    }

    /// Walks on over `order` until somebody is usable, for `steps_max` steps at most.
    pub(super) fn walk<const TAKES: bool>(
        &self,
        order: &[MemberIndex],
        steps_max: usize,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        // A member may have many turns in a row, so walking on until everyone was seen can take a whole cycle.
        // A few steps find somebody nearly always; the rest is a plain search.
        let steps = order.len().min(steps_max);
        for taken in 0..steps {
            let turn = self.next::<TAKES>(taken as u64) % order.len() as u64;
            let member = order[turn as usize];
            if usable(member) {
                return Some(member);
            }
        }
        self.search::<TAKES>(order, steps, &usable)
    }

    /// Anybody who is usable, after so many steps in vain.
    #[cold]
    #[inline(never)]
    fn search<const TAKES: bool>(
        &self,
        order: &[MemberIndex],
        steps: usize,
        usable: &dyn Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        let found = order.iter().copied().find(|m| usable(*m));
        if found.is_none() && TAKES {
            // Nobody had a turn: the next search, which may ask for less, begins where this one did.
            self.0.fetch_sub(steps as u64, Ordering::Relaxed);
        }
        found
    }
}
