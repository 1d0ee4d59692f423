//! CONSISTENT: HAProxy's ring. Each member has points on it, sixteen for each unit of weight; a key goes to the nearest
//! point on either side. When a member leaves, only its own keys move, to the neighbours of its points.
//!
//! A member's points depend on its number ([`MemberSlot::number`]), which is HAProxy's server id in a data plane that
//! has just started, and which it keeps while that runs.

use std::sync::Arc;

use super::super::MemberIndex;
use super::super::cursor::Cursor;
use super::functions::avalanche;
use crate::snapshot::MemberSlot;

/// Points a member may have at most (HAProxy: the highest weight times 16): the distance of numbers.
const POINTS_OF_MEMBER: u32 = 4096;
/// Points of a ring at most, 6 bytes each. Where weights ask for more, all are halved until they do not.
const POINTS_MAX: u64 = 1 << 20;
/// Points passed before it is asked whether anybody at all is usable.
const PASSED_MAX: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// In order.
    points: Arc<[u32]>,
    /// Whose point stands at the same place.
    owners: Arc<[MemberIndex]>,
    members: Arc<[Made]>,
    /// For requests without a key: the next point.
    cursor: Cursor,
}

/// What a member's points were made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    member: MemberIndex,
    number: u16,
    weight: u32,
}

impl Ring {
    /// `old`: what it replaces; taken again if nothing changed.
    pub(super) fn build(members: &[MemberSlot], indices: &[MemberIndex], old: Option<&Self>) -> Self {
        let made = |index: &MemberIndex| {
            let slot = &members[usize::from(index.0)];
            Made { member: *index, number: slot.number, weight: slot.effective_weight }
        };
        let made: Arc<[Made]> = indices.iter().map(made).collect();
        if let Some(old) = old.filter(|old| old.members == made) {
            return old.clone();
        }
        let mut points: Vec<(u32, MemberIndex)> = Vec::new();
        let halvings = halvings(&made);
        for Made { member, number, weight } in &*made {
            let base = (u32::from(*number) + 1) * POINTS_OF_MEMBER;
            let count = halved(*weight, halvings);
            points.extend((0..count).map(|i| (avalanche(base.wrapping_add(i)), *member)));
        }
        // Stable: of two points in one place the earlier member's comes first.
        points.sort_by_key(|(point, _)| *point);
        let (points, owners): (Vec<u32>, Vec<MemberIndex>) = points.into_iter().unzip();
        let cursor = old.map_or_else(Cursor::default, |old| old.cursor.clone());
        Self { points: points.into(), owners: owners.into(), members: made, cursor }
    }

    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.points, &other.points)
    }

    /// The next point's, for a request without a key.
    pub(super) fn in_turn<const TAKES: bool>(&self, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        self.cursor.walk::<TAKES>(&self.owners, self.owners.len(), usable)
    }

    /// The nearest point's whose owner is usable.
    pub(super) fn nearest(&self, key: u32, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        self.nearest_place(key, usable).map(|place| self.owners[place])
    }

    /// From there clockwise the first that is `roomy`; the nearest if nobody is.
    pub(super) fn nearest_of(
        &self,
        key: u32,
        usable: impl Fn(MemberIndex) -> bool,
        roomy: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        let nearest = self.nearest_place(key, usable)?;
        let (before, after) = self.owners.split_at(nearest);
        let clockwise = after.iter().chain(before).copied();
        // Hardly ever far: most members have room. A ring may have a million points; who is left then is looked for.
        let mut near = clockwise.take(PASSED_MAX + 4 * self.members.len());
        near.find(|member| roomy(*member))
            .or_else(|| self.members.iter().map(|made| made.member).find(|member| roomy(*member)))
            .or(Some(self.owners[nearest]))
    }

    fn nearest_place(&self, key: u32, usable: impl Fn(MemberIndex) -> bool) -> Option<usize> {
        let count = self.points.len();
        if count == 0 {
            return None;
        }
        let next = |place: usize| if place + 1 == count { 0 } else { place + 1 };
        let previous = |place: usize| if place == 0 { count - 1 } else { place - 1 };
        let mut above = self.points.partition_point(|point| *point < key) % count;
        let mut below = previous(above);
        for passed in 0..count {
            // Distances on a ring: they wrap. Of equal ones the lower point wins.
            let down = key.wrapping_sub(self.points[below]);
            let up = self.points[above].wrapping_sub(key);
            let place = if down <= up { below } else { above };
            if usable(self.owners[place]) {
                return Some(place);
            }
            if passed == PASSED_MAX && !self.members.iter().any(|made| usable(made.member)) {
                return None;
            }
            if down <= up {
                below = previous(below);
            } else {
                above = next(above);
            }
        }
        None
    }
}

fn halved(weight: u32, halvings: u32) -> u32 {
    weight.div_ceil(1 << halvings)
}

fn halvings(made: &[Made]) -> u32 {
    let points = |halvings: u32| made.iter().map(|made| u64::from(halved(made.weight, halvings))).sum::<u64>();
    (0..POINTS_OF_MEMBER.ilog2()).find(|halvings| points(*halvings) <= POINTS_MAX).unwrap_or(POINTS_OF_MEMBER.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_bounded() {
        let made = |weight| Made { member: MemberIndex(0), number: 0, weight };
        assert_eq!(halvings(&[made(4096); 256]), 0);
        assert_eq!(halvings(&[made(4096); 257]), 1);
        assert_eq!(halvings(&[made(4096); 4096]), 4);
        assert_eq!(halved(1, 4), 1, "nobody is left without a point");
    }
}
