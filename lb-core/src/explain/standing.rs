//! How a member stands when somebody new comes: whether it could be chosen, and if not, why.

use crate::balance::MemberIndex;
use crate::snapshot::{MemberSlot, PoolSnapshot};
use crate::time::Millis;

/// See the module. The first that holds, in this order but for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It could be chosen.
    Ready,
    /// Its name leads nowhere.
    Nowhere,
    /// Its operator, or its pool's, took it out.
    Disabled,
    /// It is judged down.
    Down,
    /// It gets nothing new: its weight, or what it gets of it, is 0.
    Weightless,
    /// Connections to it hang.
    Hangs,
    /// It just failed, and is left alone for a while.
    Avoided,
    /// It is a backup, and ordinary members can serve.
    Backup,
    /// It works on as much as it may.
    Full,
    /// It has room, and somebody waits for it already.
    WaitedFor,
}

impl Standing {
    /// True if somebody new may be given to it, now or once it has room.
    fn serves(self) -> bool {
        matches!(self, Self::Ready | Self::Full | Self::WaitedFor)
    }
}

/// How a member stands, were there no others.
pub fn standing(pool: &PoolSnapshot, slot: &MemberSlot, now: Millis) -> Standing {
    let state = &slot.state;
    match () {
        () if !slot.placed => Standing::Nowhere,
        () if !slot.admin_state_up => Standing::Disabled,
        () if !state.up() => Standing::Down,
        () if !slot.takes_new_work() => Standing::Weightless,
        () if state.fault.hangs() => Standing::Hangs,
        () if !state.fault.usable(now) => Standing::Avoided,
        () if !pool.limits.limited => Standing::Ready,
        () if state.slots.limit().is_some_and(|limit| state.slots.taken() >= limit) => Standing::Full,
        () if !state.slots.has_room() || pool.limits.queue.is_waited_for_any() => Standing::WaitedFor,
        () => Standing::Ready,
    }
}

/// How all members stand, by place. Of a pool whose ordinary members can serve, backups are left out whatever else they are
/// able to; else those who could only be a last resort are.
pub(super) fn all(pool: &PoolSnapshot, now: Millis) -> Vec<Standing> {
    let mut all: Vec<Standing> = pool.members.iter().map(|slot| standing(pool, slot, now)).collect();
    let is_backup = |place: usize| pool.member(MemberIndex(place as u16)).backup;
    if (0..all.len()).any(|place| all[place].serves() && !is_backup(place)) {
        for (place, standing) in all.iter_mut().enumerate() {
            if standing.serves() && is_backup(place) {
                *standing = Standing::Backup;
            }
        }
    }
    all
}
