//! Who waits in one pool, in the order they came, and which slot suits whom. Plain data: the queue guards it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Waker;

use super::queue::QueueFull;
use crate::member::MemberState;
use crate::time::Millis;

/// Place in the order of arrival; never given twice.
pub(super) type Ticket = u64;
/// Waiters that a slot does not suit are passed over, but not more than this: then it goes to the first of them.
const PASSED_OVER_MAX: usize = 64;

/// A member as its queue knows it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its state; also names it.
    pub state: Arc<MemberState>,
    /// It may be used at all: what is bound to it may wait for it.
    pub admin_state_up: bool,
    /// It takes new work.
    pub takes_new_work: bool,
    /// Only while no ordinary member is up.
    pub backup: bool,
    /// Its share of new work.
    pub effective_weight: u32,
}

/// How one stopped waiting.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// A slot of this member was taken for it.
    Granted(Arc<MemberState>),
    /// No member is up any more.
    Nobody,
}

#[derive(Debug)]
struct Waiter {
    /// The member it is bound to.
    pin: Option<usize>,
    /// A member that just failed it: another is better.
    not: Option<usize>,
    since: Millis,
    waker: Option<Waker>,
    /// Set once it does not wait any more and has yet to notice.
    end: Option<End>,
}

/// A member and who waits for it alone.
#[derive(Debug)]
struct Stand {
    place: Place,
    pinned: BTreeSet<Ticket>,
    /// Its word says that somebody waits.
    marked: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Line {
    stands: Vec<Stand>,
    /// By the name of the state.
    stand_of: HashMap<usize, usize>,
    waiters: BTreeMap<Ticket, Waiter>,
    any: BTreeSet<Ticket>,
    next: Ticket,
    /// Of those in `waiters`, how many still wait.
    waiting: u32,
}

/// Who asks to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    pub(super) pin: Option<usize>,
    pub(super) not: Option<usize>,
    pub(super) since: Millis,
    pub(super) max: Option<u32>,
}

/// Names a member's state.
pub(super) fn name_of(state: &Arc<MemberState>) -> usize {
    Arc::as_ptr(state) as usize
}

impl Stand {
    /// Somebody who may go to any member could come here, now or when it is well again.
    fn is_open(&self) -> bool {
        self.place.takes_new_work && self.place.state.up()
    }

    /// Somebody who is bound to it has a reason to wait.
    fn keeps(&self) -> bool {
        self.place.admin_state_up && self.place.state.up()
    }

    /// How good it is for somebody who may go to any: the best there are get the work, as in [`crate::balance::pick`].
    /// With `now`, one that failed may be due for another try.
    fn rank(&self, now: Option<Millis>) -> Option<u8> {
        let fault = &self.place.state.fault;
        let well = now.map_or_else(|| !fault.avoided(), |now| fault.usable(now));
        self.is_open().then_some(match (well, self.place.backup) {
            (true, false) => 0,
            (true, true) => 1,
            (false, false) => 2,
            (false, true) => 3,
        })
    }

    /// Load for its weight, if it took one more: smaller is better.
    fn load(&self) -> u64 {
        (u64::from(self.place.state.slots.taken()) + 1) * 1_000_000 / u64::from(self.place.effective_weight.max(1))
    }
}

/// True if nobody may wait beside those who do.
pub(super) fn is_full(waiting: u32, max: Option<u32>) -> bool {
    max.is_some_and(|max| waiting >= max)
}

impl Line {
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(super) fn for_any(&self) -> u32 {
        self.any.len() as u32
    }

    pub(super) fn pinned_to(&self, state: &Arc<MemberState>) -> u32 {
        self.stand_of.get(&name_of(state)).map_or(0, |stand| self.stands[*stand].pinned.len() as u32)
    }

    /// Nobody is here, not even somebody who has yet to notice that the wait is over.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Since when the longest waiting one waits.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.waiters.values().find(|waiter| waiter.end.is_none()).map(|waiter| waiter.since)
    }

    /// Somebody comes. Returns its ticket and how many wait for the same before it.
    pub(super) fn join(&mut self, who: Joining) -> Result<(Ticket, u32), QueueFull> {
        if is_full(self.waiting, who.max) {
            return Err(QueueFull);
        }
        let ticket = self.next;
        self.next += 1;
        let mut waiter = Waiter { pin: None, not: who.not, since: who.since, waker: None, end: None };
        let stand = who.pin.and_then(|pin| self.stand_of.get(&pin).copied()).filter(|s| self.stands[*s].keeps());
        self.waiting += 1;
        let ahead = match stand {
            Some(stand) => {
                waiter.pin = who.pin;
                let pinned = &mut self.stands[stand].pinned;
                let ahead = pinned.len();
                pinned.insert(ticket);
                ahead
            }
            None => {
                let ahead = self.any.len();
                self.any.insert(ticket);
                ahead
            }
        };
        self.waiters.insert(ticket, waiter);
        match stand {
            Some(stand) => self.mark(stand),
            None if ahead == 0 => self.mark_all(),
            None => {}
        }
        Ok((ticket, ahead as u32))
    }

    /// The end of that wait, or `None` and a note whom to wake.
    pub(super) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Option<End> {
        let waiter = self.waiters.get_mut(&ticket)?;
        if let Some(end) = waiter.end.take() {
            self.waiters.remove(&ticket);
            return Some(end);
        }
        if waiter.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            waiter.waker = Some(waker.clone());
        }
        None
    }

    /// Somebody leaves. Returns what it was given and never took.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<End> {
        let waiter = self.waiters.remove(&ticket)?;
        if waiter.end.is_none() {
            self.waiting -= 1;
            self.forget(ticket, waiter.pin);
        }
        waiter.end
    }

    /// Takes a ticket off the list it stands in, and the marks off members that nobody waits for any more.
    fn forget(&mut self, ticket: Ticket, pin: Option<usize>) {
        match pin.and_then(|pin| self.stand_of.get(&pin).copied()) {
            Some(stand) => {
                self.stands[stand].pinned.remove(&ticket);
                self.mark(stand);
            }
            None => {
                self.any.remove(&ticket);
                if self.any.is_empty() {
                    self.mark_all();
                }
            }
        }
    }

    fn mark(&mut self, stand: usize) {
        let anybody = !self.any.is_empty();
        let stand = &mut self.stands[stand];
        let marked = !stand.pinned.is_empty() || (anybody && stand.is_open());
        if marked != stand.marked {
            stand.marked = marked;
            stand.place.state.slots.mark(marked);
        }
    }

    fn mark_all(&mut self) {
        (0..self.stands.len()).for_each(|stand| self.mark(stand));
    }

    /// Other members, or the same with other words. Who was bound to one that is gone waits for any.
    pub(super) fn arrange(&mut self, places: Vec<Place>) {
        let mut known: HashMap<usize, Stand> =
            std::mem::take(&mut self.stands).into_iter().map(|stand| (name_of(&stand.place.state), stand)).collect();
        for place in places {
            let (pinned, marked) =
                known.remove(&name_of(&place.state)).map_or_else(Default::default, |s| (s.pinned, s.marked));
            self.stands.push(Stand { place, pinned, marked });
        }
        let names = self.stands.iter().enumerate().map(|(i, stand)| (name_of(&stand.place.state), i));
        self.stand_of = names.collect();
        for mut gone in known.into_values() {
            self.unbind(&std::mem::take(&mut gone.pinned));
            if gone.marked {
                gone.place.state.slots.mark(false);
            }
        }
        self.renew();
    }

    /// Members may have come up or gone down: who was bound to one that cannot be waited for waits for any.
    pub(super) fn renew(&mut self) {
        for stand in 0..self.stands.len() {
            if !self.stands[stand].keeps() {
                let pinned = std::mem::take(&mut self.stands[stand].pinned);
                self.unbind(&pinned);
            }
        }
        self.mark_all();
    }

    fn unbind(&mut self, tickets: &BTreeSet<Ticket>) {
        for ticket in tickets {
            if let Some(waiter) = self.waiters.get_mut(ticket) {
                waiter.pin = None;
                self.any.insert(*ticket);
            }
        }
    }

    /// Ends the wait of one for whom nobody is left, if there is such a one.
    pub(super) fn dismiss(&mut self) -> Option<Option<Waker>> {
        if self.any.is_empty() || self.stands.iter().any(Stand::is_open) {
            return None;
        }
        let ticket = *self.any.first()?;
        Some(self.end(ticket, End::Nobody))
    }

    /// Hands a free slot of that member to the longest waiting one it suits.
    pub(super) fn grant_of(&mut self, state: &Arc<MemberState>) -> Option<Option<Waker>> {
        let stand = *self.stand_of.get(&name_of(state))?;
        let rank = self.stands[stand].rank(None);
        // The best rank there is needs no comparing.
        let serves_any = rank == Some(0) || (rank.is_some() && rank == self.best_rank(None));
        let ticket = self.first_for(stand, serves_any, None)?;
        self.grant(stand, ticket, None)
    }

    /// Hands any free slot to one it suits. With `now` a member that failed a while ago may be tried again.
    pub(super) fn grant_any(&mut self, now: Option<Millis>) -> Option<Option<Waker>> {
        let best = self.best_rank(now);
        // Whoever has the least to do for its weight comes first.
        let mut chosen: Option<(u64, usize, Ticket)> = None;
        for (i, stand) in self.stands.iter().enumerate().filter(|(_, s)| s.marked && s.place.state.slots.is_free()) {
            let serves_any = best.is_some() && stand.rank(now) == best;
            let load = stand.load();
            if chosen.is_none_or(|(least, ..)| load < least)
                && let Some(ticket) = self.first_for(i, serves_any, now)
            {
                chosen = Some((load, i, ticket));
            }
        }
        let (_, stand, ticket) = chosen?;
        self.grant(stand, ticket, now)
    }

    fn best_rank(&self, now: Option<Millis>) -> Option<u8> {
        self.stands.iter().filter_map(|stand| stand.rank(now)).min()
    }

    /// Who has waited longest of those a slot of that member suits.
    fn first_for(&self, stand: usize, serves_any: bool, now: Option<Millis>) -> Option<Ticket> {
        let bound = self.stands[stand].pinned.first().copied();
        let any = if serves_any { self.first_suited(stand, now) } else { None };
        match (bound, any) {
            (Some(bound), Some(any)) => Some(bound.min(any)),
            (bound, any) => bound.or(any),
        }
    }

    fn grant(&mut self, stand: usize, ticket: Ticket, now: Option<Millis>) -> Option<Option<Waker>> {
        let state = Arc::clone(&self.stands[stand].place.state);
        if !state.slots.take_for_waiter() {
            return None;
        }
        // A member that failed is tried by one at a time.
        if let Some(now) = now.filter(|_| state.fault.avoided()) {
            state.fault.claim(now);
        }
        Some(self.end(ticket, End::Granted(state)))
    }

    /// The longest waiting one of those for any whom that member has not just failed, unless there is no other member.
    fn first_suited(&self, stand: usize, now: Option<Millis>) -> Option<Ticket> {
        let first = self.any.first().copied()?;
        let name = name_of(&self.stands[stand].place.state);
        let is_not = |ticket: &Ticket| self.waiters.get(ticket).is_some_and(|waiter| waiter.not == Some(name));
        if !is_not(&first) {
            return Some(first);
        }
        let rank = self.stands[stand].rank(now);
        if !self.stands.iter().enumerate().any(|(i, other)| i != stand && other.rank(now) == rank) {
            return Some(first);
        }
        let mut passed = self.any.iter().take(PASSED_OVER_MAX + 1);
        let suited = passed.find(|ticket| !is_not(ticket)).copied();
        suited.or_else(|| Some(first).filter(|_| self.any.len() > PASSED_OVER_MAX))
    }

    fn end(&mut self, ticket: Ticket, end: End) -> Option<Waker> {
        let waiter = self.waiters.get_mut(&ticket)?;
        waiter.end = Some(end);
        let (waker, pin) = (waiter.waker.take(), waiter.pin);
        self.waiting -= 1;
        self.forget(ticket, pin);
        waker
    }
}
