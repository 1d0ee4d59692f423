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

use super::cursor::Cursor;
use super::{MemberIndex, WEIGHT_SCALE};
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Clone, Debug)]
pub struct RoundRobin {
    order: Arc<[MemberIndex]>,
    cursor: Cursor,
    members: usize,
}

impl RoundRobin {
    pub(super) fn build(members: &[MemberSlot], indices: &[MemberIndex]) -> Self {
        let weights = indices.iter().map(|i| members[usize::from(i.0)].effective_weight).collect();
        let order = turns(&coarse(weights)).into_iter().map(|at| indices[at]).collect();
        Self { order, cursor: Cursor::default(), members: indices.len() }
    }

    /// This rotation, going on where `old` stands if the order is the same.
    pub(super) fn continuing(mut self, old: &Self) -> Self {
        if self.order == old.order {
            self.cursor = old.cursor.clone();
        }
        self
    }

    /// This rotation as the same members with other shares: it goes on at about the place where `old` stands.
    pub(super) fn turned(mut self, old: &Self) -> Self {
        if self.order == old.order {
            self.cursor = old.cursor.clone();
        } else if !old.order.is_empty() {
            let (len, old_len) = (self.order.len() as u64, old.order.len() as u64);
            self.cursor = Cursor::at(old.cursor.place() % old_len * len / old_len);
        }
        self
    }

    pub(super) fn pick<const TAKES: bool>(&self, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        self.cursor.walk::<TAKES>(&self.order, self.members * 2, usable)
    }
}

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Weights that make no longer a cycle than [`CYCLE_LEN_MAX`], nearly the same among each other. Whole shares keep
/// theirs: their common divisor makes their cycle short.
fn coarse(mut weights: Vec<u32>) -> Vec<u32> {
    while weights.iter().any(|w| w % WEIGHT_SCALE != 0)
        && cycle_len(&weights) > CYCLE_LEN_MAX
        && weights.iter().any(|w| *w > 1)
    {
        for weight in &mut weights {
            *weight = weight.div_ceil(2);
        }
    }
    weights
}

fn divisor_of(weights: &[u32]) -> u64 {
    weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)))
}

fn cycle_len(weights: &[u32]) -> u64 {
    let sum: u64 = weights.iter().map(|w| u64::from(*w)).sum();
    sum / divisor_of(weights).max(1)
}

/// One cycle: places into `weights`, each as often as its weight divided by the common divisor. Weights are
/// scaled by [`WEIGHT_SCALE`] and above 0.
///
/// Bounds: the result has at most 256 entries for each member if all shares are whole; else it may also have
/// [`CYCLE_LEN_MAX`].
fn turns(weights: &[u32]) -> Vec<usize> {
    let divisor = divisor_of(weights);
    if divisor == 0 {
        return Vec::new();
    }
    let mut schedule = Schedule::new(weights, divisor);
    (0..cycle_len(weights)).map_while(|_| schedule.next()).collect()
}

/// HAProxy's scheduler, run once over a cycle.
struct Schedule<'a> {
    weights: &'a [u32],
    turns_left: Vec<u64>,
    due: Vec<Due>,
    total: u64,
    position: u64,
    round: u64,
    /// Not yet served in this round: heaviest first.
    fresh: BTreeSet<(Reverse<u32>, usize)>,
    /// Due again in this round, by sort key, then by who came first.
    current: BTreeSet<(u64, u64, usize)>,
    /// Waiting for the next round.
    later: BTreeSet<(Reverse<u32>, usize)>,
    stamp: u64,
}

#[derive(Clone, Copy, Default)]
struct Due {
    position: u64,
    rest: u64,
}

impl<'a> Schedule<'a> {
    fn new(weights: &'a [u32], divisor: u64) -> Self {
        let total = weights.iter().map(|w| u64::from(*w)).sum();
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
        let weight = u64::from(self.weights[member]);
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

/// Longest cycle laid out for shares that are not whole. A longer one would say hardly more, and each step of a
/// slow start lays out a new one.
const CYCLE_LEN_MAX: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(weights: &[u16]) -> Vec<u32> {
        coarse(weights.iter().map(|w| u32::from(*w) * WEIGHT_SCALE).collect())
    }

    fn letters(weights: &[u16], picks: usize) -> String {
        let order = turns(&scaled(weights));
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

    #[test]
    fn a_share_of_a_small_weight_is_fewer_turns() {
        // Two of weight 1, one of them at 37 %: 16 and 6 sixteenths.
        let order = turns(&coarse(vec![16, 6]));
        let second = order.iter().filter(|m| **m == 1).count();
        assert_eq!((order.len(), second), (11, 3));
    }

    proptest! {
        #[test]
        fn shares_that_are_not_whole_make_no_long_cycle(weights in prop::collection::vec(1u32..=4096, 2..300)) {
            let coarse = coarse(weights.clone());
            let len = cycle_len(&coarse);
            prop_assert!(len <= CYCLE_LEN_MAX || weights.iter().all(|w| w % WEIGHT_SCALE == 0));
            // Nearly the same shares: off by what rounding up may add.
            let sum = |weights: &[u32]| weights.iter().map(|w| f64::from(*w)).sum::<f64>();
            for (exact, coarse_one) in weights.iter().zip(&coarse) {
                let (exact, coarse) = (f64::from(*exact) / sum(&weights), f64::from(*coarse_one) / sum(&coarse));
                prop_assert!((exact - coarse).abs() <= 0.02, "{} became {}", exact, coarse);
            }
        }

        #[test]
        fn every_member_gets_exactly_its_weight(weights in prop::collection::vec(1u16..=256, 1..12)) {
            let order = turns(&scaled(&weights));
            let divisor = weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)));
            for (i, weight) in weights.iter().enumerate() {
                let got = order.iter().filter(|m| **m == i).count() as u64;
                prop_assert_eq!(got, u64::from(*weight) / divisor);
            }
        }

        #[test]
        fn turns_are_spread(weights in prop::collection::vec(1u16..=40, 2..8)) {
            // Nobody is more than a few turns ahead of or behind its fair share at any place of the cycle.
            let order = turns(&scaled(&weights));
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
