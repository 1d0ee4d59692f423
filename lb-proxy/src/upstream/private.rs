//! Kept connections that are one client's alone: they began with a PROXY header, and to the member they are that client.
//! Owned by the client's session; closed when it is parked or ends.

use std::sync::Arc;

use lb_core::config::monitor::ProxyVersion;
use lb_core::member::{MemberCell, MemberState};
use lb_core::snapshot::MemberSlot;
use lb_core::time::Millis;

use super::idle::{self, FRESH_MS, KEPT_FOR_MS};
use crate::wire::{Stream, Unread};
use crate::worker::Worker;

/// Most that one client keeps: members it met lately.
const KEPT_MAX: usize = 8;

/// See the module. Takes no memory while there are none.
#[derive(Debug, Default)]
pub struct PrivateConnections {
    /// The one kept last is last.
    kept: Vec<Private>,
}

#[derive(Debug)]
struct Private {
    stream: Stream,
    since: Millis,
    /// Which turn of the worker it was put here in.
    turn: u64,
    version: ProxyVersion,
    /// The member it leads to, at the address it had.
    state: Arc<MemberState>,
    _counted: Counted,
}

/// A kept connection in the figures of its member.
#[derive(Debug)]
struct Counted(Arc<MemberCell>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.idle.dec();
    }
}

impl PrivateConnections {
    /// The kept connection to `member`, if it is still open. `repeatable`: the request could be sent again if it turns
    /// out to be dead after all.
    pub fn take(
        &mut self,
        member: &MemberSlot,
        version: ProxyVersion,
        now: Millis,
        repeatable: bool,
    ) -> Option<Stream> {
        let longest = if repeatable { KEPT_FOR_MS } else { FRESH_MS };
        let is_its = |kept: &Private| Arc::ptr_eq(&kept.state, &member.state) && kept.version == version;
        let place = self.kept.iter().position(is_its)?;
        let Private { stream, since, turn, .. } = self.kept.remove(place);
        // What a member says unasked would be taken for the answer to this client's next request.
        let is_quiet = || idle::unread_since(&stream, turn) == Unread::Nothing;
        (now.since(since) <= longest && is_quiet()).then_some(stream)
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&mut self, member: &MemberSlot, version: ProxyVersion, stream: Stream, worker: &Worker) {
        let since = worker.now();
        self.kept.retain(|kept| since.since(kept.since) <= KEPT_FOR_MS);
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        let cell = member.cells.of(worker.index);
        cell.idle.inc();
        let (state, counted) = (Arc::clone(&member.state), Counted(Arc::clone(cell)));
        self.kept.push(Private { stream, since, turn: idle::turn(), version, state, _counted: counted });
    }
}
