//! LEAST_CONNECTIONS: the member with the fewest requests in flight for its weight, counted over all workers.
//!
//! Idle members come first whatever their weight, as in HAProxy, and take turns: the search starts where the
//! last pick ended and stops at the first idle member, so a large pool under light load costs a step or two.
//!
//! When nobody is idle, up to [`LOOKED_AT_MAX`] members are all compared. Of more, that many are, from where the last
//! pick ended, and some of each weight wherever they stand: the best of them is among the best few of all, for a
//! fraction of the cost, and the next pick looks at others. How near that comes is held by a test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::MemberIndex;
use crate::snapshot::MemberSlot;

/// Members compared for one pick, in the order of the document.
const LOOKED_AT_MAX: usize = 64;
/// Members of each weight compared beyond those, where weights differ.
const LOOKED_AT_OF_WEIGHT: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct LeastConnections {
    indices: Arc<[MemberIndex]>,
    /// Places into `indices` by weight; empty where everybody is looked at, or all weigh the same.
    weights: Arc<[Box<[u16]>]>,
    /// Where the next search starts. Written by every worker; a lost race only repeats a start.
    start: AtomicUsize,
}

impl LeastConnections {
    pub(super) fn build(members: &[MemberSlot], indices: Vec<MemberIndex>) -> Self {
        let mut by_weight: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
        if indices.len() > LOOKED_AT_MAX {
            for (place, index) in indices.iter().enumerate() {
                by_weight.entry(members[usize::from(index.0)].effective_weight).or_default().push(place as u16);
            }
        }
        let differ = by_weight.len() > 1;
        let weights = by_weight.into_values().filter(|_| differ).map(Vec::into_boxed_slice).collect();
        Self { indices: indices.into(), weights, start: AtomicUsize::new(0) }
    }

    /// This group, searching on where `old` stands.
    pub(super) fn continuing(self, old: &Self) -> Self {
        Self { start: AtomicUsize::new(old.start.load(Ordering::Relaxed)), ..self }
    }

    pub(super) fn again(&self) -> Self {
        Self { indices: Arc::clone(&self.indices), weights: Arc::clone(&self.weights), start: AtomicUsize::new(0) }
            .continuing(self)
    }

    pub(super) fn pick<const TAKES: bool>(
        &self,
        members: &[MemberSlot],
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        let count = self.indices.len();
        if count == 0 {
            return None;
        }
        let start = self.start.load(Ordering::Relaxed) % count;
        let (before, after) = self.indices.split_at(start);
        // As many as are looked at, from the start on and then from the beginning.
        let (first, more) = after.split_at(after.len().min(LOOKED_AT_MAX));
        let (second, last) = before.split_at(before.len().min(LOOKED_AT_MAX - first.len()));
        let mut best = least(members, first, start, None, &usable);
        if !best.as_ref().is_some_and(Candidate::is_idle) {
            best = least(members, second, 0, best, &usable);
        }
        let mut next = best.as_ref().map_or(0, |best| best.place + 1);
        if count > LOOKED_AT_MAX && !best.as_ref().is_some_and(Candidate::is_idle) {
            let rest = [(more, start + first.len()), (last, second.len())];
            best = self.in_a_large_pool(members, start, best, rest, &usable);
            // Whoever is idle elsewhere is come across soon.
            next = start + LOOKED_AT_MAX;
        }
        if TAKES && best.is_some() {
            self.start.store(next, Ordering::Relaxed);
        }
        best.map(|best| self.indices[best.place])
    }

    /// Nobody is idle among the first: somebody lighter among some of each weight, for heavy members that stand together
    /// would else be looked at only now and then. Or anybody of the rest, if nobody of the first was usable.
    #[cold]
    #[inline(never)]
    fn in_a_large_pool(
        &self,
        members: &[MemberSlot],
        start: usize,
        mut best: Option<Candidate>,
        rest: [(&[MemberIndex], usize); 2],
        usable: &dyn Fn(MemberIndex) -> bool,
    ) -> Option<Candidate> {
        for places in &*self.weights {
            let (before, after) = places.split_at(start % places.len());
            for place in after.iter().chain(before).take(LOOKED_AT_OF_WEIGHT) {
                let index = self.indices[usize::from(*place)];
                let load = Load::of(&members[usize::from(index.0)]);
                if best.as_ref().is_none_or(|best| load.lighter_than(&best.load)) && usable(index) {
                    best = Some(Candidate { place: usize::from(*place), load });
                }
            }
        }
        if best.is_none() {
            for (indices, place) in rest {
                best = least(members, indices, place, best, usable);
            }
        }
        best
    }
}

/// The first idle one of `indices`, else whoever of them and `best` has the least for its weight. `place` is that of the
/// first of them.
#[inline(always)]
fn least(
    members: &[MemberSlot],
    indices: &[MemberIndex],
    place: usize,
    mut best: Option<Candidate>,
    usable: impl Fn(MemberIndex) -> bool,
) -> Option<Candidate> {
    for (index, place) in indices.iter().zip(place..) {
        let load = Load::of(&members[usize::from(index.0)]);
        // Whether it may be used is the dearer question: only those that would win are asked.
        if best.as_ref().is_none_or(|best| load.in_flight == 0 || load.lighter_than(&best.load)) && usable(*index) {
            let idle = load.in_flight == 0;
            best = Some(Candidate { place, load });
            if idle {
                break;
            }
        }
    }
    best
}

struct Candidate {
    /// Into `indices`.
    place: usize,
    load: Load,
}

impl Candidate {
    fn is_idle(&self) -> bool {
        self.load.in_flight == 0
    }
}

struct Load {
    in_flight: u32,
    weight: u32,
}

impl Load {
    fn of(slot: &MemberSlot) -> Self {
        Self { in_flight: slot.state.in_flight(), weight: slot.effective_weight }
    }

    /// Compares (in flight + 1) / weight without dividing.
    fn lighter_than(&self, other: &Self) -> bool {
        (u64::from(self.in_flight) + 1) * u64::from(other.weight)
            < (u64::from(other.in_flight) + 1) * u64::from(self.weight)
    }
}
