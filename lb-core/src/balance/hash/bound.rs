//! Bounded loads: how much of what is in flight a member may have before a hash passes it over.
//!
//! HAProxy's rule (`hash-balance-factor`): the requests in flight with the new one, times the factor, are so many places;
//! they are shared out by weight, whole, so that all are given away, and everybody has at least one.

use super::super::MemberIndex;
use crate::snapshot::MemberSlot;

/// See the module. Of the members that were up when the group was compiled.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    factor_percent: u64,
    /// Weight of all of them.
    total: u64,
    /// By the member's place in its pool.
    shares: Box<[Share]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    weight: u32,
    /// Weight of all before it.
    before: u32,
}

/// Places for one pick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    for_each_weight: u64,
    rest: u64,
}

impl Bound {
    pub(super) fn build(factor_percent: u16, members: &[MemberSlot], indices: &[MemberIndex]) -> Self {
        let mut shares = vec![Share::default(); members.len()];
        let mut before = 0;
        for index in indices {
            let slot = &members[usize::from(index.0)];
            if slot.was_up {
                shares[usize::from(index.0)] = Share { weight: slot.effective_weight, before };
                before += slot.effective_weight;
            }
        }
        Self { factor_percent: u64::from(factor_percent), total: u64::from(before), shares: shares.into() }
    }

    /// Places when so many are in flight and one more comes.
    pub(super) fn places(&self, in_flight: u64) -> Places {
        let places = ((in_flight + 1) * self.factor_percent).div_ceil(100);
        let total = self.total.max(1);
        Places { for_each_weight: places / total, rest: places % total }
    }

    /// True if the member has a place left.
    pub(super) fn has_place(&self, places: Places, members: &[MemberSlot], member: MemberIndex) -> bool {
        let Share { weight, before } = self.shares[usize::from(member.0)];
        let (weight, before, total) = (u64::from(weight), u64::from(before), self.total.max(1));
        let of_rest = (before + weight) * places.rest / total - before * places.rest / total;
        let own = weight * places.for_each_weight + of_rest;
        u64::from(members[usize::from(member.0)].state.in_flight()) < own.max(1)
    }
}
