//! LEAST_CONNECTIONS: the member with the fewest requests in flight for its weight, counted over all workers.
//!
//! Idle members come first whatever their weight, as in HAProxy, and take turns: the search starts where the
//! last pick ended and stops at the first idle member, so a large pool under light load costs a step or two.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::MemberIndex;
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Debug)]
pub struct LeastConnections {
    indices: Box<[MemberIndex]>,
    /// Where the next search starts. Written by every worker; a lost race only repeats a start.
    start: AtomicUsize,
}

impl LeastConnections {
    pub(super) fn build(indices: Vec<MemberIndex>) -> Self {
        Self { indices: indices.into(), start: AtomicUsize::new(0) }
    }

    /// This group, searching on where `old` stands.
    pub(super) fn continuing(self, old: &Self) -> Self {
        Self { start: AtomicUsize::new(old.start.load(Ordering::Relaxed)), ..self }
    }

    pub(super) fn again(&self) -> Self {
        Self { indices: self.indices.clone(), start: AtomicUsize::new(0) }.continuing(self)
    }

    pub(super) fn pick(&self, members: &[MemberSlot], usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        let count = self.indices.len();
        if count == 0 {
            return None;
        }
        let start = self.start.load(Ordering::Relaxed) % count;
        let (place, member) = self.least(members, start, usable)?;
        self.start.store(place + 1, Ordering::Relaxed);
        Some(member)
    }

    fn least(
        &self,
        members: &[MemberSlot],
        start: usize,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<(usize, MemberIndex)> {
        let (before, after) = self.indices.split_at(start);
        let in_turn = after.iter().zip(start..).chain(before.iter().zip(0..));
        let mut best: Option<(usize, MemberIndex, Load)> = None;
        for (index, place) in in_turn {
            let slot = &members[usize::from(index.0)];
            let load = Load { in_flight: slot.state.in_flight(), weight: slot.effective_weight };
            // Whether it may be used is the dearer question: only those that would win are asked.
            if best.as_ref().is_none_or(|(_, _, least)| load.in_flight == 0 || load.lighter_than(least))
                && usable(*index)
            {
                if load.in_flight == 0 {
                    return Some((place, *index));
                }
                best = Some((place, *index, load));
            }
        }
        best.map(|(place, index, _)| (place, index))
    }
}

struct Load {
    in_flight: u32,
    weight: u32,
}

impl Load {
    /// Compares (in flight + 1) / weight without dividing.
    fn lighter_than(&self, other: &Self) -> bool {
        (u64::from(self.in_flight) + 1) * u64::from(other.weight)
            < (u64::from(other.in_flight) + 1) * u64::from(self.weight)
    }
}
