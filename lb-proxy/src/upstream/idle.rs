//! Kept connections to one member, of one worker. The youngest is lent first; old ones are closed.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lb_core::member::MemberCell;
use lb_core::time::Millis;
use tokio::net::TcpStream;

/// Most connections kept to one member by one worker.
pub const KEPT_MAX: usize = 128;
/// A kept connection is closed after this long, in milliseconds: less than the 5 s after which common servers
/// close theirs.
pub const KEPT_FOR_MS: u64 = 4_000;
/// A request that may not be repeated takes a kept connection only if it was used this short while ago, in
/// milliseconds: no server closes one that soon of its own accord.
pub const FRESH_MS: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct IdleConnections {
    kept: RefCell<Vec<Kept>>,
    cell: Arc<MemberCell>,
}

#[derive(Debug)]
struct Kept {
    stream: TcpStream,
    since: Millis,
}

impl IdleConnections {
    /// None yet; `cell` shows how many there are.
    pub fn new(cell: Arc<MemberCell>) -> Self {
        Self { kept: RefCell::default(), cell }
    }

    /// Lends the youngest that is still open. `repeatable`: the request could be sent again if the connection
    /// turns out to be dead after all.
    pub fn take(&self, now: Millis, repeatable: bool) -> Option<TcpStream> {
        let longest = if repeatable { KEPT_FOR_MS } else { FRESH_MS };
        let mut kept = self.kept.borrow_mut();
        while let Some(candidate) = kept.pop() {
            self.cell.idle.dec();
            if now.since(candidate.since) > longest {
                // Those below are older still.
                if repeatable {
                    self.cell.idle.add(0u64.wrapping_sub(kept.len() as u64));
                    kept.clear();
                } else {
                    self.cell.idle.inc();
                    kept.push(candidate);
                }
                return None;
            }
            if is_silent(&candidate.stream) {
                return Some(candidate.stream);
            }
        }
        None
    }

    /// Keeps a connection whose last answer was read to its end.
    pub fn put(&self, stream: TcpStream, now: Millis) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(Kept { stream, since: now });
            self.cell.idle.inc();
        }
    }

    /// Closes those that are too old or were closed by the member; true if some are left.
    pub fn expire(&self, now: Millis) -> bool {
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        kept.retain(|k| now.since(k.since) <= KEPT_FOR_MS && is_silent(&k.stream));
        self.cell.idle.add(0u64.wrapping_sub((before - kept.len()) as u64));
        if kept.is_empty() {
            kept.shrink_to_fit();
        }
        !kept.is_empty()
    }
}

impl Drop for IdleConnections {
    fn drop(&mut self) {
        self.cell.idle.add(0u64.wrapping_sub(self.kept.borrow().len() as u64));
    }
}

/// True if nothing has come on an idle connection: neither its end nor bytes nobody asked for. Costs no
/// system call, since the runtime was told of either when it happened.
fn is_silent(stream: &TcpStream) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(stream.poll_read_ready(&mut cx), Poll::Pending)
}
