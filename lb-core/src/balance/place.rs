//! Where a flow goes now, and a slot there: to whom it belongs, else to whoever the algorithm picks.

use super::{FlowKey, MemberIndex, Pick, Tried, admits, pick, preview};
use crate::balance::cursor::{PEEK, TAKE};
use crate::snapshot::PoolSnapshot;
use crate::time::Millis;

/// Lost races for a slot after which a flow waits its turn.
const RACES_MAX: usize = 4;

/// To whom a flow belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// That member; `None`: to nobody.
    pub member: Option<MemberIndex>,
    /// It has yet to be tried: it comes before everybody else, also if it just failed, for a client that moves loses its
    /// session, and one refused connection costs nothing. Only where connections hang it is not waited for in vain.
    pub first: bool,
}

/// Chooses a member and takes a slot of it. [`Pick::Member`] is to be paired with one
/// [`crate::member::MemberState::leave`]; the others took nothing.
#[inline]
pub fn place(pool: &PoolSnapshot, key: FlowKey, now: Millis, tried: &Tried, home: Home) -> Pick {
    settle::<TAKE>(pool, key, now, tried, home)
}

/// What [`place`] would come to next. Nothing is taken, claimed or moved on by it.
pub fn foresee(pool: &PoolSnapshot, key: FlowKey, now: Millis, tried: &Tried, home: Home) -> Pick {
    settle::<PEEK>(pool, key, now, tried, home)
}

#[inline(always)]
fn settle<const TAKES: bool>(pool: &PoolSnapshot, key: FlowKey, now: Millis, tried: &Tried, home: Home) -> Pick {
    if home.first
        && let Some(member) = home.member.filter(|home| !pool.member(*home).state.fault.hangs())
    {
        if TAKES {
            // If it was avoided, and is due for another try, this is the try.
            pool.member(member).state.fault.claim(now);
        }
        return if enter::<TAKES>(pool, member) { Pick::Member(member) } else { Pick::Full(Some(member)) };
    }
    for _ in 0..RACES_MAX {
        let picked = if TAKES { pick(pool, key, now, tried) } else { preview(pool, key, now, tried) };
        let member = match picked {
            Pick::Member(member) => member,
            Pick::Full(whom) => return Pick::Full(whom),
            // One that gets no new clients still is what is left for its own.
            Pick::Nobody => match home.member.filter(|home| admits(pool, *home)) {
                Some(home) => home,
                None => return Pick::Nobody,
            },
        };
        if enter::<TAKES>(pool, member) {
            return Pick::Member(member);
        }
    }
    Pick::Full(None)
}

#[inline(always)]
fn enter<const TAKES: bool>(pool: &PoolSnapshot, member: MemberIndex) -> bool {
    let slots = &pool.member(member).state.slots;
    match (pool.limits.limited, TAKES) {
        (false, TAKE) => {
            slots.enter();
            true
        }
        (false, PEEK) => true,
        (true, TAKE) => slots.try_enter(),
        (true, PEEK) => slots.has_room(),
    }
}
