//! Waiting for a member that has room: until a slot is granted, the client leaves, or the time is over.
//!
//! Who waits holds its request as it is and no memory besides; the queue itself is [`lb_core::limits`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lb_core::balance::MemberIndex;
use lb_core::limits::{Asking, Outcome, Queue, QueueFull, Slot};
use lb_core::snapshot::{MemberSlot, PoolSnapshot};
use tokio::time::Instant;

use crate::clock;
use crate::worker::Worker;

/// Members that failed may be tried again after a while, which nobody tells of: those who wait look this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a log line tells of the queues a request stood in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// It stood in one.
    pub stood: bool,
    /// Milliseconds in all.
    pub ms: u64,
    /// Its place among those who waited for the same member alone, when it came; 1: the first. 0: it was not among
    /// them. Of several times the sum, as in HAProxy.
    pub place_member: u32,
    /// The same among those who waited for any member.
    pub place_pool: u32,
    /// What it met: the requests that may be worked on, or may wait, at once; 0: nothing.
    pub limit: u32,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSlot {
    /// So many wait already as may.
    Full,
    /// The time was over.
    TimeOver,
    /// The client left.
    Left,
    /// No member is up any more.
    Nobody,
}

/// Waits for a slot until `deadline`, or until `left` is over: then the client has left. `place` grows by its
/// place in the queue.
pub async fn for_slot(
    worker: &Worker,
    queue: &Arc<Queue>,
    asking: Asking<'_>,
    deadline: Option<Instant>,
    left: &mut impl AsyncFnMut(),
    place: &mut u32,
) -> Result<Slot, NoSlot> {
    let wait = queue.join(asking).map_err(|QueueFull| NoSlot::Full)?;
    *place = place.saturating_add(wait.ahead()).saturating_add(1);
    let mut wait = pin!(wait);
    let mut leaving = pin!(left());
    let next = |now: Instant| deadline.map_or(now + LOOK_AGAIN, |deadline| deadline.min(now + LOOK_AGAIN));
    let mut timer = pin!(tokio::time::sleep_until(next(clock::now())));
    poll_fn(|cx| {
        loop {
            // A client that is gone needs none: what was granted meanwhile is handed on.
            if leaving.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(NoSlot::Left));
            }
            if let Poll::Ready(outcome) = wait.as_mut().poll(cx) {
                return Poll::Ready(match outcome {
                    Outcome::Granted(slot) => Ok(slot),
                    Outcome::Nobody => Err(NoSlot::Nobody),
                });
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = clock::refresh();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Poll::Ready(Err(NoSlot::TimeOver));
            }
            queue.look(worker.now());
            timer.as_mut().reset(next(now));
        }
    })
    .await
}

/// What may be worked on at once by that member, or by all that take new work.
pub fn limit_of(pool: &PoolSnapshot, whom: Option<MemberIndex>) -> u32 {
    let limit = |slot: &MemberSlot| slot.state.slots.limit().unwrap_or(0);
    match whom {
        Some(member) => limit(pool.member(member)),
        None => {
            let working = pool.members.iter().filter(|slot| slot.takes_new_work() && slot.state.up());
            working.fold(0, |sum, slot| sum.saturating_add(limit(slot)))
        }
    }
}
