//! ROUND_ROBIN: every member in turn, as often as its weight says.
//!
//! The turn order of one whole cycle is worked out when the document is compiled, and all workers walk it with
//! one shared cursor. So over a cycle each member gets exactly its weight, whatever the number of workers, and
//! a pick costs one atomic addition.
//!
//! The order is HAProxy's (three sets ordered by the position at which a member is due again), with one
//! addition: nobody gets more than its weight in a cycle, where HAProxy's own rounding is off by one now and
//! then for crooked weights.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::MemberIndex;
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Debug)]
pub struct RoundRobin {
    order: Arc<[MemberIndex]>,
    /// Next place in `order`, modulo its length. Written by every worker.
    cursor: Arc<AtomicU64>,
    members: usize,
}

impl RoundRobin {
    pub(super) fn build(members: &[MemberSlot], indices: &[MemberIndex]) -> Self {
        let weights: Vec<u16> = indices.iter().map(|i| members[usize::from(i.0)].weight).collect();
        let order = turns(&weights).into_iter().map(|at| indices[at]).collect();
        Self { order, cursor: Arc::default(), members: indices.len() }
    }

    /// This rotation, going on where `old` stands if the order is the same.
    pub(super) fn continuing(mut self, old: &Self) -> Self {
        if self.order == old.order {
            self.cursor = Arc::clone(&old.cursor);
        }
        self
    }

    pub(super) fn pick(&self, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        // A member may have many turns in a row, so walking on until everyone was seen can take a whole cycle.
        // A few steps find somebody nearly always; the rest is a plain search.
        for _ in 0..self.order.len().min(self.members * 2) {
            let turn = self.cursor.fetch_add(1, Ordering::Relaxed) % self.order.len() as u64;
            let member = self.order[turn as usize];
            if usable(member) {
                return Some(member);
            }
        }
        self.order.iter().copied().find(|m| usable(*m))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One cycle: places into `weights`, each as often as its weight divided by the common divisor.
///
/// Bounds: the result has at most `weights.len() * 256` entries; weights are above 0.
fn turns(weights: &[u16]) -> Vec<usize> {
    let divisor = weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)));
    if divisor == 0 {
        return Vec::new();
    }
    let cycle = weights.iter().map(|w| u64::from(*w) / divisor).sum::<u64>() as usize;
    let mut schedule = Schedule::new(weights, divisor);
    (0..cycle).map_while(|_| schedule.next()).collect()
}

/// HAProxy's scheduler, run once over a cycle. Weights are scaled by 16 as there.
struct Schedule<'a> {
    weights: &'a [u16],
    turns_left: Vec<u64>,
    due: Vec<Due>,
    total: u64,
    position: u64,
    round: u64,
    /// Not yet served in this round: heaviest first.
    fresh: BTreeSet<(Reverse<u16>, usize)>,
    /// Due again in this round, by sort key, then by who came first.
    current: BTreeSet<(u64, u64, usize)>,
    /// Waiting for the next round.
    later: BTreeSet<(Reverse<u16>, usize)>,
    stamp: u64,
}

#[derive(Clone, Copy, Default)]
struct Due {
    position: u64,
    rest: u64,
}

impl<'a> Schedule<'a> {
    fn new(weights: &'a [u16], divisor: u64) -> Self {
        let total = weights.iter().map(|w| u64::from(*w) * 16).sum();
        Self {
            weights,
            turns_left: weights.iter().map(|w| u64::from(*w) / divisor).collect(),
            due: vec![Due::default(); weights.len()],
            total,
            position: total,
            round: total,
            fresh: weights.iter().enumerate().map(|(i, w)| (Reverse(*w), i)).collect(),
            current: BTreeSet::new(),
            later: BTreeSet::new(),
            stamp: 0,
        }
    }

    fn next(&mut self) -> Option<usize> {
        let member = self.take().or_else(|| {
            std::mem::swap(&mut self.fresh, &mut self.later);
            self.position = self.total;
            self.round = self.total;
            self.take()
        })?;
        self.turns_left[member] -= 1;
        if self.turns_left[member] > 0 {
            self.put_back(member);
        } else {
            self.position += 1;
        }
        Some(member)
    }

    fn take(&mut self) -> Option<usize> {
        let first = self.current.first().copied();
        if let Some(entry) = first.filter(|(_, _, m)| self.due[*m].position <= self.position) {
            self.current.remove(&entry);
            return Some(entry.2);
        }
        if let Some((_, member)) = self.fresh.pop_first() {
            self.due[member] = Due::default();
            return Some(member);
        }
        self.current.pop_first().map(|(_, _, member)| member)
    }

    fn put_back(&mut self, member: usize) {
        let weight = u64::from(self.weights[member]) * 16;
        let due = &mut self.due[member];
        if due.position == 0 {
            due.position = self.position;
        }
        due.position += self.total / weight;
        due.rest += self.total % weight;
        if due.rest >= weight {
            due.rest -= weight;
            due.position += 1;
        }
        self.position += 1;
        if due.position >= 2 * self.round || due.position >= self.round + self.total {
            due.position -= self.round;
            self.later.insert((Reverse(self.weights[member]), member));
        } else {
            self.stamp += 1;
            let key = 256 * due.position + (4096 + due.rest - weight) / 16;
            self.current.insert((key, self.stamp, member));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letters(weights: &[u16], picks: usize) -> String {
        let order = turns(weights);
        (0..picks).map(|i| char::from(b'1' + order[i % order.len()] as u8)).collect()
    }

    #[test]
    fn follows_the_sequences_measured_on_haproxy() {
        assert_eq!(letters(&[1, 1, 1], 12), "123123123123");
        assert_eq!(letters(&[3, 2, 1], 12), "121312121312");
        assert_eq!(letters(&[10, 20, 30], 12), "323132323132");
        assert_eq!(letters(&[5, 1, 1], 14), "11121131112113");
        assert_eq!(letters(&[100, 100, 50], 14), "12123121231212");
    }

    proptest! {
        #[test]
        fn every_member_gets_exactly_its_weight(weights in prop::collection::vec(1u16..=256, 1..12)) {
            let order = turns(&weights);
            let divisor = weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)));
            for (i, weight) in weights.iter().enumerate() {
                let got = order.iter().filter(|m| **m == i).count() as u64;
                prop_assert_eq!(got, u64::from(*weight) / divisor);
            }
        }

        #[test]
        fn turns_are_spread(weights in prop::collection::vec(1u16..=40, 2..8)) {
            // Nobody is more than a few turns ahead of or behind its fair share at any place of the cycle.
            let order = turns(&weights);
            let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let mut got = vec![0.0; weights.len()];
            for (n, member) in order.iter().enumerate() {
                got[*member] += 1.0;
                for (i, weight) in weights.iter().enumerate() {
                    let share = (n + 1) as f64 * f64::from(*weight) / total;
                    prop_assert!((got[i] - share).abs() <= weights.len() as f64, "{:?} at {}", order, n);
                }
            }
        }
    }
}
