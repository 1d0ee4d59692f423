//! STATIC_RR, and what HAProxy's map-based hashes look up in: a table in which each member stands as often as its
//! weight says, in HAProxy's order.
//!
//! The weights are the document's: a share that changes (slow start, agent) has no effect short of nothing, for it
//! would move most keys of a hash. The table is of the members that are up, and compiled anew when one comes or goes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::MemberIndex;
use super::cursor::Cursor;
use super::rotation::gcd;
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Clone, Debug)]
pub struct StaticRr {
    pub(super) table: Arc<[MemberIndex]>,
    cursor: Cursor,
    /// Everybody, also those that were down when the table was made.
    pub(super) all: Arc<[MemberIndex]>,
}

impl StaticRr {
    pub(super) fn build(members: &[MemberSlot], indices: &[MemberIndex]) -> Self {
        let mut standing: Vec<MemberIndex> = indices.to_vec();
        standing.retain(|i| members[usize::from(i.0)].was_up);
        if standing.is_empty() {
            // Who comes back first should not have to wait for another table.
            standing = indices.to_vec();
        }
        let weights: Vec<u32> = standing.iter().map(|i| u32::from(members[usize::from(i.0)].weight)).collect();
        let table = by_credit(&weights).into_iter().map(|at| standing[at]).collect();
        Self { table, cursor: Cursor::default(), all: indices.into() }
    }

    /// This table, going on where `old` stands, or at the beginning if it has no such place.
    pub(super) fn continuing(mut self, old: &Self) -> Self {
        if self.table == old.table {
            self.cursor = old.cursor.clone();
        } else if !old.table.is_empty() {
            let place = old.cursor.place() % old.table.len() as u64;
            self.cursor = Cursor::at(if place < self.table.len() as u64 { place } else { 0 });
        }
        self
    }

    pub(super) fn pick<const TAKES: bool>(&self, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        let in_turn = self.cursor.walk::<TAKES>(&self.table, self.all.len() * 2, &usable);
        in_turn.or_else(|| self.all.iter().copied().find(|i| usable(*i)))
    }
}

/// One cycle: places into `weights`, each as often as its weight divided by the common divisor.
///
/// Every step each member gains credit of its weight, one of them pays the sum of all. That is the first that has
/// more than the sum, else the first that owes nothing. Looking at everybody in each step would take minutes for
/// large pools, so members wait in two heaps for the step in which they get so far.
fn by_credit(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)));
    if divisor == 0 {
        return Vec::new();
    }
    let weights: Vec<u64> = weights.iter().map(|w| u64::from(*w) / divisor).collect();
    let total: u64 = weights.iter().sum();
    // Credit after the gain of step t, counted from 0, and k payments: weight * (t + 1) - total * k.
    let step_at = |member: usize, sums: u64| (total * sums).div_ceil(weights[member]).saturating_sub(1);
    let mut paid = vec![0u64; weights.len()];
    let mut solvent: BTreeSet<usize> = (0..weights.len()).filter(|i| weights[*i] > 0).collect();
    let mut rich: BTreeSet<usize> = BTreeSet::new();
    let mut solvent_at: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut rich_at: BinaryHeap<Reverse<(u64, usize)>> =
        solvent.iter().map(|member| Reverse((step_at(*member, 1), *member))).collect();
    let mut table = Vec::with_capacity(total as usize);
    for step in 0..total {
        while let Some(Reverse((at, member))) = solvent_at.peek().copied().filter(|due| due.0.0 <= step) {
            solvent_at.pop();
            // Everybody owes once at a time, so this entry is about now.
            debug_assert!(at <= step);
            solvent.insert(member);
        }
        while let Some(Reverse((at, member))) = rich_at.peek().copied().filter(|due| due.0.0 <= step) {
            rich_at.pop();
            // Who has paid since gets rich later: another entry stands for that.
            if at == step_at(member, paid[member] + 1) {
                rich.insert(member);
            }
        }
        let Some(winner) = rich.first().or(solvent.first()).copied() else { break };
        table.push(winner);
        paid[winner] += 1;
        rich.remove(&winner);
        rich_at.push(Reverse((step_at(winner, paid[winner] + 1), winner)));
        let solvent_again = step_at(winner, paid[winner]);
        if solvent_again > step {
            solvent.remove(&winner);
            solvent_at.push(Reverse((solvent_again, winner)));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letters(weights: &[u32], picks: usize) -> String {
        let table = by_credit(weights);
        (0..picks).map(|i| char::from(b'1' + table[i % table.len()] as u8)).collect()
    }

    #[test]
    fn follows_the_sequences_measured_on_haproxy() {
        assert_eq!(letters(&[1, 1, 1], 12), "123123123123");
        assert_eq!(letters(&[3, 2, 1], 12), "112123112123");
        assert_eq!(letters(&[10, 20, 30], 12), "132323132323");
        assert_eq!(letters(&[5, 1, 1], 14), "11121131112113");
        assert_eq!(letters(&[100, 100, 50], 14), "12123121231212");
    }

    #[test]
    fn the_largest_pool_is_laid_out_at_once() {
        let weights: Vec<u32> = (0..4096u32).map(|i| 1 + i % 256).collect();
        assert_eq!(by_credit(&weights).len() as u32, weights.iter().sum::<u32>());
    }

    /// The rule as it is told, everybody looked at in each step.
    fn told(weights: &[u32]) -> Vec<usize> {
        let total: i64 = weights.iter().map(|w| i64::from(*w)).sum();
        let divisor = weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)));
        let mut credit = vec![0i64; weights.len()];
        let steps = total as u64 / divisor.max(1);
        let step = |_| {
            credit.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += i64::from(*weight));
            let (mut best, mut most) = (0, 0);
            for (i, credit) in credit.iter().enumerate() {
                let value = (credit + total).div_euclid(total);
                if value > most {
                    (best, most) = (i, value);
                }
            }
            credit[best] -= total;
            best
        };
        (0..steps).map(step).collect()
    }

    proptest! {
        #[test]
        fn the_heaps_say_the_same_as_the_rule(weights in prop::collection::vec(1u32..=256, 1..40)) {
            prop_assert_eq!(by_credit(&weights), told(&weights));
        }
    }
}
