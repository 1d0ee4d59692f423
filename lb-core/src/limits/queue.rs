//! The queue of one pool: who finds no member with room waits here, whichever worker serves it.
//!
//! The lock is taken only by those who wait, by who leaves a member somebody waits for, and when members change.
//! Nobody is woken under it.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::line::{End, Joining, Line, Place, Ticket, is_full, name_of};
use super::sync::{AtomicU32, Mutex, MutexGuard, Ordering};
use crate::member::MemberState;
use crate::time::Millis;

/// See the module.
#[derive(Debug)]
pub struct Queue {
    /// Waiting now; written under the lock. A reader may be a moment behind.
    waiting: AtomicU32,
    /// Of those, who may go to any member.
    for_any: AtomicU32,
    /// Made when a pool gets limits.
    line: Mutex<Option<Box<Line>>>,
}

/// So many wait already as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// What somebody waits for, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Only this member will do, while it can be waited for.
    pub member: Option<&'a Arc<MemberState>>,
    /// This one just failed: any other is better.
    pub not: Option<&'a Arc<MemberState>>,
    /// Most that may wait; `None`: no limit.
    pub max: Option<u32>,
    /// When.
    pub now: Millis,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: AtomicU32::new(0), for_any: AtomicU32::new(0), line: Mutex::new(None) }
    }
}

impl Queue {
    /// How many wait now.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// True if somebody waits who may go to any member: a newcomer that may do so, too, is behind it.
    pub fn is_waited_for_any(&self) -> bool {
        self.for_any.load(Ordering::Relaxed) > 0
    }

    /// True if one more would find as many as may wait.
    pub fn is_full(&self, max: Option<u32>) -> bool {
        is_full(self.waiting(), max)
    }

    /// How many wait for that member alone.
    pub fn pinned_to(&self, state: &Arc<MemberState>) -> u32 {
        if self.waiting() == 0 {
            return 0;
        }
        self.lock().as_ref().map_or(0, |line| line.pinned_to(state))
    }

    /// How long the longest waiting one has waited, in milliseconds; 0: nobody waits.
    pub fn longest_ms(&self, now: Millis) -> u64 {
        self.lock().as_ref().and_then(|line| line.oldest()).map_or(0, |since| now.since(since))
    }

    /// Joins the queue. The wait may be over at once.
    pub fn join(self: &Arc<Self>, asking: Asking<'_>) -> Result<Wait, QueueFull> {
        let Asking { member, not, max, now } = asking;
        let joining = Joining { pin: member.map(name_of), not: not.map(name_of), since: now, max };
        let (ticket, ahead) = {
            let mut guard = self.lock();
            let line = guard.get_or_insert_default();
            let joined = line.join(joining)?;
            self.publish(line);
            joined
        };
        // Whoever left before the mark was set has told nobody. Behind others that has been looked at already.
        if let Some(member) = member {
            self.freed(member);
        }
        if ahead == 0 && self.is_waited_for_any() {
            self.wake_while(|line| line.grant_any(Some(now)));
            self.wake_while(Line::dismiss);
        }
        Ok(Wait { queue: Arc::clone(self), ticket, ahead, over: false })
    }

    /// A slot of that member is free, and somebody waits for it.
    pub fn freed(&self, state: &Arc<MemberState>) {
        self.wake_while(|line| line.grant_of(state));
    }

    /// A member came up or went down, or a limit was changed.
    pub fn recheck(&self) {
        if let Some(line) = &mut *self.lock() {
            line.renew();
            self.publish(line);
        }
        self.wake_while(Line::dismiss);
        self.wake_while(|line| line.grant_any(None));
    }

    /// A while has passed: members that failed may be due for another try.
    pub fn look(&self, now: Millis) {
        self.wake_while(|line| line.grant_any(Some(now)));
    }

    /// These are the pool's members now. `limited`: some may have limits; else memory is given back when nobody waits.
    pub fn arrange(&self, places: impl FnOnce() -> Vec<Place>, limited: bool) {
        {
            let mut guard = self.lock();
            if guard.is_none() && !limited {
                return;
            }
            let line = guard.get_or_insert_default();
            line.arrange(places());
            self.publish(line);
        }
        self.recheck();
        if !limited {
            let mut guard = self.lock();
            *guard = guard.take().filter(|line| !line.is_empty());
        }
    }

    /// True if nobody can be waiting for its members, because it was never told of any.
    pub(crate) fn is_new(&self) -> bool {
        self.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Line>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, line: &Line) {
        self.waiting.store(line.waiting(), Ordering::Relaxed);
        self.for_any.store(line.for_any(), Ordering::Relaxed);
    }

    /// Ends waits for as long as `next` finds one to end, and wakes each outside of the lock: what is woken may be
    /// anything, even somebody who gives up a place here.
    fn wake_while(&self, mut next: impl FnMut(&mut Line) -> Option<Option<Waker>>) {
        loop {
            let woken = {
                let mut guard = self.lock();
                let Some(line) = &mut *guard else { return };
                let Some(woken) = next(line) else { return };
                self.publish(line);
                woken
            };
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

/// How a wait ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a slot.
    Granted(Slot),
    /// No member is up any more.
    Nobody,
}

/// Somebody who waits. Dropping it gives up the place, and hands on a slot that was granted meanwhile.
#[derive(Debug)]
pub struct Wait {
    queue: Arc<Queue>,
    ticket: Ticket,
    ahead: u32,
    over: bool,
}

impl Wait {
    /// How many waited for the same when this one came.
    pub fn ahead(&self) -> u32 {
        self.ahead
    }
}

impl Future for Wait {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let end = self.queue.lock().as_mut().and_then(|line| line.poll(self.ticket, cx.waker()));
        match end {
            None => Poll::Pending,
            Some(end) => {
                self.over = true;
                Poll::Ready(match end {
                    End::Granted(state) => {
                        Outcome::Granted(Slot { queue: Arc::clone(&self.queue), state: Some(state) })
                    }
                    End::Nobody => Outcome::Nobody,
                })
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let given = {
            let mut guard = self.queue.lock();
            guard.as_mut().and_then(|line| {
                let given = line.leave(self.ticket);
                self.queue.publish(line);
                given
            })
        };
        if let Some(End::Granted(state)) = given {
            drop(Slot { queue: Arc::clone(&self.queue), state: Some(state) });
        }
    }
}

/// A slot of a member, taken for somebody who waited. Given back, and handed on, unless it is [kept](Slot::keep).
#[derive(Debug)]
pub struct Slot {
    queue: Arc<Queue>,
    state: Option<Arc<MemberState>>,
}

impl Slot {
    /// Whose it is.
    pub fn is_of(&self, state: &Arc<MemberState>) -> bool {
        self.state.as_ref().is_some_and(|own| Arc::ptr_eq(own, state))
    }

    /// From now on it is the caller's, who pairs it with one [`MemberState::leave`].
    pub fn keep(mut self) {
        self.state = None;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(state) = self.state.take()
            && state.leave()
        {
            self.queue.freed(&state);
        }
    }
}
