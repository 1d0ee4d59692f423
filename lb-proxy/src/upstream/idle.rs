//! Kept connections to one member, of one worker. The youngest is lent first; old ones are closed.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use lb_core::member::MemberCell;
use lb_core::time::Millis;

use super::h2::Shared;
use crate::wire::{Stream, Unread};

/// Most connections kept to one member by one worker. There are never more than were in use at once a moment ago.
pub const KEPT_MAX: usize = 4096;
/// A kept connection is closed after this long, in milliseconds: less than the 5 s after which common servers
/// close theirs.
pub const KEPT_FOR_MS: u64 = 4_000;
/// A request that may not be repeated takes a kept connection only if it was used this short while ago, in
/// milliseconds: no server closes one that soon of its own accord.
pub const FRESH_MS: u64 = 1_000;

/// No connection is kept to a member that answered unasked, for this long in milliseconds.
pub const DISTRUST_MS: u64 = 60_000;

/// What a member says right behind its answer has come after this long, in milliseconds.
const SETTLED_MS: u64 = 2;

/// See the module.
#[derive(Debug)]
pub struct IdleConnections {
    kept: RefCell<Vec<Kept>>,
    cell: Arc<MemberCell>,
    /// Until then none is kept.
    closed_until: Cell<Millis>,
    /// Those that many requests share, once the member was to be spoken to in HTTP/2.
    shared: OnceCell<Box<Shared>>,
}

#[derive(Debug)]
struct Kept {
    stream: Stream,
    since: Millis,
    /// Which turn of the worker it was put here in.
    turn: u64,
}

thread_local! {
    /// How often this worker has waited for events, at least. A connection that was put here in an earlier turn
    /// has been looked at since: had anything come on it, the runtime would know.
    static TURN: Cell<u64> = const { Cell::new(0) };
}

/// The worker of this thread has waited for events.
pub fn next_turn() {
    TURN.set(TURN.get() + 1);
}

/// What waits on a connection that was put aside in turn `since`, as far as can be known: the kernel is asked only if
/// the runtime cannot have been told.
pub fn unread_since(stream: &Stream, since: u64) -> Unread {
    if since == turn() { stream.peek() } else { stream.unread() }
}

/// The turn this worker is in.
pub fn turn() -> u64 {
    TURN.get()
}

impl IdleConnections {
    /// None yet; `cell` shows how many there are.
    pub fn new(cell: Arc<MemberCell>) -> Self {
        Self { kept: RefCell::default(), cell, closed_until: Cell::default(), shared: OnceCell::new() }
    }

    /// Connections that many requests share.
    pub fn shared(&self) -> &Shared {
        self.shared.get_or_init(Box::default)
    }

    /// Lends the youngest that is still open. `repeatable`: the request could be sent again if the connection
    /// turns out to be dead after all.
    ///
    /// `asked_for`: whom the client asked for, where connections are made for clients that ask for the same name.
    ///
    /// A member that says more than it was asked for does so right behind its answer, and of a connection that was
    /// put here in this very turn the runtime has not been told yet. Such a one is left alone, unless turns have
    /// become so long that the kernel can be asked instead.
    pub fn take(&self, now: Millis, repeatable: bool, asked_for: Option<&str>) -> Option<Stream> {
        let longest = if repeatable { KEPT_FOR_MS } else { FRESH_MS };
        let mut kept = self.kept.borrow_mut();
        let turn = turn();
        loop {
            let settled = |k: &Kept| k.turn != turn || now.since(k.since) >= SETTLED_MS;
            let place = kept.iter().rposition(|k| settled(k) && k.stream.was_made_for(asked_for))?;
            if now.since(kept[place].since) > longest {
                // Those below are older still; housekeeping closes what is too old for everybody.
                return None;
            }
            let candidate = kept.remove(place);
            self.cell.idle.dec();
            match unread_since(&candidate.stream, candidate.turn) {
                Unread::Nothing => return Some(candidate.stream),
                Unread::Bytes => self.distrust(now),
                Unread::End => {}
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&self, stream: Stream, now: Millis) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX && self.is_trusted(now) {
            kept.push(Kept { stream, since: now, turn: turn() });
            self.cell.idle.inc();
        }
    }

    /// The member said more than it was asked for: what else it says unasked must not be taken for the answer
    /// to somebody's request. No connection to it is kept for a while.
    pub fn distrust(&self, now: Millis) {
        self.closed_until.set(self.closed_until.get().max(now.after(DISTRUST_MS)));
    }

    /// False for a while after [`Self::distrust`].
    pub fn is_trusted(&self, now: Millis) -> bool {
        now >= self.closed_until.get()
    }

    /// The member is gone: closes all, and keeps none any more.
    pub fn retire(&self) {
        self.closed_until.set(Millis(u64::MAX));
        if let Some(shared) = self.shared.get() {
            shared.retire();
        }
        self.close_all();
    }

    /// Closes all; true if there were any.
    pub fn close_all(&self) -> bool {
        let closed = self.kept.take().len();
        self.cell.idle.add(0u64.wrapping_sub(closed as u64));
        let shared_closed = self.shared.get().is_some_and(|shared| shared.close_idle());
        closed > 0 || shared_closed
    }

    /// Closes those that are too old or were closed by the member; true if some are left.
    pub fn expire(&self, now: Millis) -> bool {
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        kept.retain(|k| {
            let unread = k.stream.unread();
            if unread == Unread::Bytes {
                self.distrust(now);
            }
            now.since(k.since) <= KEPT_FOR_MS && unread == Unread::Nothing
        });
        self.cell.idle.add(0u64.wrapping_sub((before - kept.len()) as u64));
        if kept.is_empty() {
            kept.shrink_to_fit();
        }
        let shared_left = self.shared.get().is_some_and(|shared| shared.expire(now));
        shared_left || !kept.is_empty()
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        self.cell.idle.add(0u64.wrapping_sub(self.kept.borrow().len() as u64));
    }
}
