//! RANDOM: two members drawn by weight, and of those the one with less in flight for its weight.
//!
//! That keeps the longest line short without anybody looking at all of them, and data planes that do not know of each
//! other do not fall upon the same member at once. Randomness comes in with the flow ([`FlowKey::draw`]).

use super::flow::mix;
use super::{FlowKey, MemberIndex};
use crate::snapshot::MemberSlot;

/// Draws made for one pick before members are counted instead: with half of the weight usable one in sixty-five
/// thousand picks gets there.
const DRAWS_MAX: u64 = 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct Random {
    indices: Box<[MemberIndex]>,
    /// Weight of each member and all before it.
    up_to: Box<[u32]>,
}

impl Random {
    pub(super) fn build(members: &[MemberSlot], indices: Vec<MemberIndex>) -> Self {
        let weights = indices.iter().map(|i| members[usize::from(i.0)].effective_weight);
        let up_to = weights
            .scan(0u32, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self { indices: indices.into(), up_to }
    }

    pub(super) fn pick(
        &self,
        members: &[MemberSlot],
        key: &FlowKey,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        if let [only] = *self.indices {
            return usable(only).then_some(only);
        }
        let total = u64::from(*self.up_to.last()?);
        let seed = mix(u64::from(key.draw));
        let mut drawn = (0..DRAWS_MAX)
            .map(|n| mix(seed.wrapping_add(n)))
            .map(|random| self.owner(((random >> 32) * total) >> 32))
            .filter(|member| usable(*member));
        let Some(first) = drawn.next() else { return self.counted(members, seed, usable) };
        let Some(second) = drawn.next() else { return Some(first) };
        Some(if is_lighter(&members[usize::from(second.0)], &members[usize::from(first.0)]) { second } else { first })
    }

    /// Whose share `point` is in, which is below the sum of weights.
    fn owner(&self, point: u64) -> MemberIndex {
        self.indices[self.up_to.partition_point(|up_to| u64::from(*up_to) <= point)]
    }

    /// One of those that are usable, by weight.
    fn counted(&self, members: &[MemberSlot], seed: u64, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        let weight = |i: &MemberIndex| u64::from(members[usize::from(i.0)].effective_weight);
        let left = || self.indices.iter().filter(|i| usable(**i));
        let total: u64 = left().map(weight).sum();
        let point = mix(seed).checked_rem(total)?;
        let mut passed = 0;
        // Somebody may have become usable, or no longer be, between the two counts.
        let found = left().find(|i| {
            passed += weight(i);
            passed > point
        });
        found.or_else(|| left().next()).copied()
    }
}

/// Compares in flight / weight without dividing.
fn is_lighter(one: &MemberSlot, other: &MemberSlot) -> bool {
    let (in_flight, others) = (u64::from(one.state.in_flight()), u64::from(other.state.in_flight()));
    in_flight * u64::from(other.effective_weight) < others * u64::from(one.effective_weight)
}
