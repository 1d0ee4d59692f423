//! Which member takes a request: one file per algorithm, all of the same shape.

mod asks;
mod cursor;
mod first;
mod flow;
mod hash;
mod least_connections;
mod place;
mod random;
mod rotation;
mod static_rr;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use asks::Asks;
pub use first::First;
pub use flow::FlowKey;
pub(crate) use flow::mix;
pub use hash::{HashRule, Hashed, rdp_cookie};
pub use least_connections::LeastConnections;
pub use place::{Home, foresee, place};
pub use random::Random;
pub use rotation::RoundRobin;
pub use static_rr::StaticRr;

use cursor::{PEEK, TAKE};

use crate::config::{self, Hashing, LbAlgorithm, WEIGHT_MAX};
use crate::snapshot::{MemberSlot, PoolSnapshot};
use crate::time::Millis;

/// Place of a member in its pool's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub u16);

/// Weights are scaled by this, as in HAProxy, so that a few percent of a small weight are still something.
pub const WEIGHT_SCALE: u32 = 16;

/// What counts as a member's weight: that of the document, scaled, by its share in thousandths. At least 1 unless
/// one of both is 0; at most that of the highest weight.
pub fn effective_weight(weight: u16, share_permille: u32) -> u32 {
    let exact = u64::from(weight) * u64::from(WEIGHT_SCALE) * u64::from(share_permille);
    (exact.div_ceil(1000) as u32).min(u32::from(WEIGHT_MAX) * WEIGHT_SCALE)
}

/// Members one request has been tried on already. Bounded, since retries are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// The first `count` are filled.
    members: [MemberIndex; Self::MAX],
    count: u8,
}

impl Tried {
    /// More are forgotten: no request is tried that often.
    pub const MAX: usize = 8;

    /// Notes one.
    pub fn note(&mut self, member: MemberIndex) {
        if let Some(free) = self.members.get_mut(usize::from(self.count)) {
            *free = member;
            self.count += 1;
        }
    }

    /// The one noted last.
    pub fn last(&self) -> Option<MemberIndex> {
        self.members[..usize::from(self.count)].last().copied()
    }

    /// Was it noted?
    pub fn contains(&self, member: MemberIndex) -> bool {
        // Nearly always nothing was tried yet, and this is asked of every candidate.
        self.count != 0 && self.members[..usize::from(self.count)].contains(&member)
    }
}

/// Members that stand for each other: the ordinary ones of a pool, or its backups.
#[derive(Debug)]
pub struct Group {
    balancer: Balancer,
}

/// How a group chooses. Closed: matched exhaustively.
#[derive(Debug)]
enum Balancer {
    RoundRobin(RoundRobin),
    StaticRr(StaticRr),
    LeastConnections(LeastConnections),
    First(First),
    Random(Random),
    /// What it hashes is kept for when it is compiled anew.
    Hashed(Box<Hashed>, Arc<Hashing>),
}

impl Group {
    /// Compiles the members at `indices` of `members`, in the order of the document. `previous` is the group this one
    /// replaces: state that still fits (the place in the rotation) is carried over.
    pub(crate) fn build(
        pool: &config::Pool,
        members: &[MemberSlot],
        indices: Vec<MemberIndex>,
        previous: Option<&Self>,
    ) -> Self {
        let old = previous.map(|previous| &previous.balancer);
        let balancer = match (pool.lb_algorithm, old) {
            (LbAlgorithm::RoundRobin, Some(Balancer::RoundRobin(old))) => {
                Balancer::RoundRobin(RoundRobin::build(members, &indices).continuing(old))
            }
            (LbAlgorithm::StaticRr, Some(Balancer::StaticRr(old))) => {
                Balancer::StaticRr(StaticRr::build(members, &indices).continuing(old))
            }
            (LbAlgorithm::StaticRr, _) => Balancer::StaticRr(StaticRr::build(members, &indices)),
            (LbAlgorithm::LeastConnections, _) => Balancer::LeastConnections(LeastConnections::build(members, indices)),
            (LbAlgorithm::First, _) => Balancer::First(First::build(indices)),
            (LbAlgorithm::Random, _) => Balancer::Random(Random::build(members, indices)),
            (algorithm, old) => match pool.hash.clone().or_else(|| Hashing::of(algorithm)) {
                Some(hashing) => {
                    let old = if let Some(Balancer::Hashed(old, _)) = old { Some(&**old) } else { None };
                    Balancer::Hashed(Box::new(Hashed::build(&hashing, members, &indices, old)), Arc::new(hashing))
                }
                None => Balancer::RoundRobin(RoundRobin::build(members, &indices)),
            },
        };
        Self { balancer }
    }

    /// The same members with other shares, or others of them up: state is carried over as far as it makes sense.
    pub(crate) fn rebuilt(&self, members: &[MemberSlot], indices: Vec<MemberIndex>) -> Self {
        let balancer = match &self.balancer {
            Balancer::RoundRobin(old) => Balancer::RoundRobin(RoundRobin::build(members, &indices).turned(old)),
            Balancer::StaticRr(old) => Balancer::StaticRr(StaticRr::build(members, &indices).continuing(old)),
            Balancer::LeastConnections(old) => {
                Balancer::LeastConnections(LeastConnections::build(members, indices).continuing(old))
            }
            Balancer::First(_) => Balancer::First(First::build(indices)),
            Balancer::Random(_) => Balancer::Random(Random::build(members, indices)),
            Balancer::Hashed(old, hashing) => {
                let new = Hashed::build(hashing, members, &indices, Some(old));
                Balancer::Hashed(Box::new(new), Arc::clone(hashing))
            }
        };
        Self { balancer }
    }

    /// The same group once more, for another snapshot.
    pub(crate) fn again(&self) -> Self {
        let balancer = match &self.balancer {
            Balancer::RoundRobin(b) => Balancer::RoundRobin(b.clone()),
            Balancer::StaticRr(b) => Balancer::StaticRr(b.clone()),
            Balancer::LeastConnections(b) => Balancer::LeastConnections(b.again()),
            Balancer::First(b) => Balancer::First(b.clone()),
            Balancer::Random(b) => Balancer::Random(b.clone()),
            Balancer::Hashed(b, hashing) => Balancer::Hashed(b.clone(), Arc::clone(hashing)),
        };
        Self { balancer }
    }

    /// It stays with the member it chose even if that one is full: it chose by a key.
    fn keeps_to_its_choice(&self, key: &FlowKey) -> bool {
        match &self.balancer {
            Balancer::Hashed(b, _) => b.has_key(key),
            Balancer::RoundRobin(_)
            | Balancer::StaticRr(_)
            | Balancer::LeastConnections(_)
            | Balancer::First(_)
            | Balancer::Random(_) => false,
        }
    }

    /// True if it chooses by the client's port as well as by its address.
    pub(crate) fn asks_port(&self) -> bool {
        matches!(&self.balancer, Balancer::Hashed(b, _) if b.asks_port())
    }

    /// True if it is to be compiled anew when a member comes up or goes down: HAProxy's tables are of those that are up.
    /// Others pass over who is down.
    pub(crate) fn heeds_up(&self) -> bool {
        match &self.balancer {
            Balancer::StaticRr(_) => true,
            Balancer::Hashed(b, _) => b.heeds_up(),
            Balancer::RoundRobin(_) | Balancer::LeastConnections(_) | Balancer::First(_) | Balancer::Random(_) => false,
        }
    }

    fn pick<const TAKES: bool>(
        &self,
        pool: &PoolSnapshot,
        key: &FlowKey,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        match &self.balancer {
            Balancer::RoundRobin(b) => b.pick::<TAKES>(usable),
            Balancer::LeastConnections(b) => b.pick::<TAKES>(&pool.members, usable),
            Balancer::Hashed(b, _) => b.pick::<TAKES>(pool, key, usable),
            Balancer::StaticRr(_) | Balancer::First(_) | Balancer::Random(_) => {
                self.pick_aside::<TAKES>(pool, key, &usable)
            }
        }
    }

    /// The same with one copy of the code: were all inlined into one place, none of them would be well.
    #[inline(never)]
    fn pick_aside<const TAKES: bool>(
        &self,
        pool: &PoolSnapshot,
        key: &FlowKey,
        usable: &dyn Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        match &self.balancer {
            Balancer::RoundRobin(b) => b.pick::<TAKES>(usable),
            Balancer::StaticRr(b) => b.pick::<TAKES>(usable),
            Balancer::LeastConnections(b) => b.pick::<TAKES>(&pool.members, usable),
            Balancer::First(b) => b.pick(usable),
            Balancer::Random(b) => b.pick(&pool.members, key, usable),
            Balancer::Hashed(b, _) => b.pick::<TAKES>(pool, key, usable),
        }
    }
}

/// Lost races for a member that is tried again before others are looked at regardless.
const CLAIMS_MAX: usize = 4;

/// What a choice came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one.
    Member(MemberIndex),
    /// Whoever it may go to is full: it has to wait, for that member or for any.
    Full(Option<MemberIndex>),
    /// Nobody of the pool is up and may take traffic.
    Nobody,
}

impl Pick {
    /// The member, if there is one to go to now.
    pub fn member(self) -> Option<MemberIndex> {
        match self {
            Self::Member(member) => Some(member),
            Self::Full(_) | Self::Nobody => None,
        }
    }
}

/// Chooses a member for one connection or request, and claims the right to try it.
///
/// Members in `tried` come last, members that just failed before them, backups before both. A member that is
/// judged down is never chosen, and one without room only to wait for. [`Pick::Nobody`] only if the pool has no
/// member that is up and may take traffic. In a pool with limits the slot is still to be taken
/// ([`crate::limits::Slots::try_enter`]).
pub fn pick(pool: &PoolSnapshot, key: FlowKey, now: Millis, tried: &Tried) -> Pick {
    choose::<TAKE>(pool, &key, now, tried)
}

/// What [`pick`] would come to next. Nothing is claimed and nobody has its turn by it.
pub fn preview(pool: &PoolSnapshot, key: FlowKey, now: Millis, tried: &Tried) -> Pick {
    choose::<PEEK>(pool, &key, now, tried)
}

// One caller each: a call on the walk would be for nothing.
#[inline(always)]
fn choose<const TAKES: bool>(pool: &PoolSnapshot, key: &FlowKey, now: Millis, tried: &Tried) -> Pick {
    if pool.limits.limited {
        return pick_with_room::<TAKES>(pool, key, now, tried);
    }
    let groups = [&pool.ordinary, &pool.backups];
    for group in groups {
        let healthy = |i: MemberIndex| {
            let state = &pool.member(i).state;
            state.up() && !tried.contains(i) && state.fault.usable(now)
        };
        // Somebody else may claim the right to try a member between the look and the claim; then it is no
        // longer usable, and the next look finds another.
        for _ in 0..CLAIMS_MAX {
            match group.pick::<TAKES>(pool, key, healthy) {
                Some(member) if !TAKES || pool.member(member).state.fault.claim(now) => return Pick::Member(member),
                Some(_) => {}
                None => break,
            }
        }
    }
    last_resort::<TAKES>(pool, key, tried)
}

/// Nobody is healthy: one that just failed, else one that was tried.
#[cold]
#[inline(never)]
fn last_resort<const TAKES: bool>(pool: &PoolSnapshot, key: &FlowKey, tried: &Tried) -> Pick {
    let groups = [&pool.ordinary, &pool.backups];
    let up = |i: MemberIndex| pool.member(i).state.up();
    let untried = |i: MemberIndex| up(i) && !tried.contains(i);
    groups
        .iter()
        .find_map(|group| group.pick_aside::<TAKES>(pool, key, &untried))
        .or_else(|| groups.iter().find_map(|group| group.pick_aside::<TAKES>(pool, key, &up)))
        .map_or(Pick::Nobody, Pick::Member)
}

/// True if `member` may be given work that belongs to it: it is not judged down, and its operator lets it take traffic. A weight
/// of 0, or that it is a backup, is no hindrance: that only keeps new clients away.
pub fn admits(pool: &PoolSnapshot, member: MemberIndex) -> bool {
    let slot = pool.member(member);
    slot.placed && slot.admin_state_up && slot.state.up()
}

/// [`pick`] where members may be full. The best who could serve are the ones to wait for: a member that just failed,
/// or a backup, is no better for having room.
// Kept out of `pick`, which would pay for what this one prepares.
#[inline(never)]
fn pick_with_room<const TAKES: bool>(pool: &PoolSnapshot, key: &FlowKey, now: Millis, tried: &Tried) -> Pick {
    let up = |i: MemberIndex| pool.member(i).state.up();
    let untried = |i: MemberIndex| up(i) && !tried.contains(i);
    let healthy = |i: MemberIndex| untried(i) && pool.member(i).state.fault.usable(now);
    for backup in [false, true] {
        for _ in 0..CLAIMS_MAX {
            match pool.choose::<TAKES>(backup, key, healthy) {
                Pick::Member(member) if TAKES && !pool.member(member).state.fault.claim(now) => {}
                Pick::Nobody => break,
                chosen => return chosen,
            }
        }
    }
    for backup in [false, true] {
        let chosen = pool.choose::<TAKES>(backup, key, untried);
        if chosen != Pick::Nobody {
            return chosen;
        }
    }
    match pool.choose::<TAKES>(false, key, up) {
        Pick::Nobody => pool.choose::<TAKES>(true, key, up),
        chosen => chosen,
    }
}

impl PoolSnapshot {
    /// A member of one group that fits and has room.
    fn choose<const TAKES: bool>(&self, backup: bool, key: &FlowKey, fits: impl Fn(MemberIndex) -> bool) -> Pick {
        let group = if backup { &self.backups } else { &self.ordinary };
        let has_room = |i: MemberIndex| self.member(i).state.slots.has_room();
        if group.keeps_to_its_choice(key) {
            return match group.pick::<TAKES>(self, key, fits) {
                Some(member) if has_room(member) => Pick::Member(member),
                Some(member) => Pick::Full(Some(member)),
                None => Pick::Nobody,
            };
        }
        // While somebody waits for any of them nobody has room for a newcomer, and it need not be looked for.
        let found = match self.limits.queue.is_waited_for_any() {
            true => None,
            false => group.pick::<TAKES>(self, key, |i| fits(i) && has_room(i)),
        };
        let of_group = |slot: &MemberSlot| slot.backup == backup && slot.takes_new_work();
        let anybody = || (0..).zip(&self.members).any(|(i, slot)| of_group(slot) && fits(MemberIndex(i)));
        match found {
            Some(member) => Pick::Member(member),
            None if anybody() => Pick::Full(None),
            None => Pick::Nobody,
        }
    }
}

/// True if another member than those in `tried` is ready to take a request, or to let it wait.
pub fn alternative(pool: &PoolSnapshot, now: Millis, tried: &Tried) -> bool {
    pool.members.iter().enumerate().any(|(i, slot)| {
        let ready = slot.takes_new_work() && slot.state.up() && slot.state.fault.usable(now);
        ready && !tried.contains(MemberIndex(i as u16))
    })
}

/// True if another member than those in `tried` is ready to take a request at once.
pub fn alternative_with_room(pool: &PoolSnapshot, now: Millis, tried: &Tried) -> bool {
    pool.members.iter().enumerate().any(|(i, slot)| {
        let ready = slot.takes_new_work() && slot.state.up() && slot.state.fault.usable(now);
        ready && !tried.contains(MemberIndex(i as u16)) && slot.state.slots.has_room()
    })
}
