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
use super::cursor::Look;
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

    pub(super) fn pick(
        &self,
        members: &[MemberSlot],
        look: Look,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        let count = self.indices.len();
        if count == 0 {
            return None;
        }
        let start = self.start.load(Ordering::Relaxed) % count;
        let mut best = self.least(members, start, &usable)?;
        let mut next = best.place + 1;
        if count > LOOKED_AT_MAX && best.load.in_flight > 0 {
            best = self.least_of_weights(members, start, best, usable);
            // Whoever is idle elsewhere is come across soon.
            next = start + LOOKED_AT_MAX;
        }
        if look == Look::Take {
            self.start.store(next, Ordering::Relaxed);
        }
        Some(self.indices[best.place])
    }

    fn least(&self, members: &[MemberSlot], start: usize, usable: impl Fn(MemberIndex) -> bool) -> Option<Candidate> {
        let (before, after) = self.indices.split_at(start);
        let in_turn = after.iter().zip(start..).chain(before.iter().zip(0..));
        let mut best: Option<Candidate> = None;
        for (looked_at, (index, place)) in in_turn.enumerate() {
            if looked_at >= LOOKED_AT_MAX && best.is_some() {
                break;
            }
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

    /// Somebody lighter than `best` among some of each weight: heavy members that stand together would else be looked
    /// at only now and then.
    fn least_of_weights(
        &self,
        members: &[MemberSlot],
        start: usize,
        mut best: Candidate,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Candidate {
        for places in &*self.weights {
            let (before, after) = places.split_at(start % places.len());
            for place in after.iter().chain(before).take(LOOKED_AT_OF_WEIGHT) {
                let index = self.indices[usize::from(*place)];
                let load = Load::of(&members[usize::from(index.0)]);
                if load.lighter_than(&best.load) && usable(index) {
                    best = Candidate { place: usize::from(*place), load };
                }
            }
        }
        best
    }
}

struct Candidate {
    /// Into `indices`.
    place: usize,
    load: Load,
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
