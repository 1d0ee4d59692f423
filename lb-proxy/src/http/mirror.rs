//! Copies of requests to another pool: sent beside the request, bounded in number and time, their answers thrown away.
//!
//! A copy is a task of its own. Nothing waits for it, and nothing it meets has a say in what the client gets.

use std::cell::Cell;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lb_core::balance::FlowKey;
use lb_core::member::PolicyCell;
use lb_core::proxy_protocol::Ends;
use lb_core::snapshot::PoolIndex;

use super::discard::{self, Discarded};
use super::h1::request::Method;
use crate::dispatch::{Journey, Reached, Reuse};
use crate::timer::{Deadlines, Patience, Wait};
use crate::upstream::proxy_header;
use crate::view::View;
use crate::wire;
use crate::worker::Worker;

/// Most copies under way in one worker. With a head and what fits a buffer each they hold 3 MiB at most.
pub const COPIES_MAX: usize = 64;
/// How long one copy may take, connecting included.
const COPY_FOR: Duration = Duration::from_secs(5);

/// A request to be sent once more, elsewhere.
#[derive(Debug)]
pub struct Copy {
    /// Where it goes.
    pub pool: PoolIndex,
    /// Who asked, and where.
    pub ends: Ends,
    /// The name the client asked for in its handshake.
    pub asked_for: Option<Box<str>>,
    /// What to know of its method.
    pub method: Method,
    /// The head as the member gets it, and the whole body.
    pub bytes: Vec<u8>,
    /// How long to wait for a connection, in milliseconds; 0: until the time for the copy is over.
    pub connect_ms: u64,
    /// Who wants it.
    pub cell: Arc<PolicyCell>,
}

thread_local! {
    /// Copies under way in this worker.
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

/// One place among [`COPIES_MAX`], given back when dropped.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let under_way = UNDER_WAY.get();
        (under_way < COPIES_MAX).then(|| {
            UNDER_WAY.set(under_way + 1);
            Self
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

/// Sends what `copy` makes, unless too many are under way; `cell` counts which.
pub fn send(worker: &Rc<Worker>, view: &Rc<View>, cell: &PolicyCell, copy: impl FnOnce() -> Copy) {
    let Some(place) = Place::take() else {
        cell.mirrors_lost.inc();
        return;
    };
    cell.mirrored.inc();
    let (worker, view, copy) = (Rc::clone(worker), Rc::clone(view), copy());
    tokio::task::spawn_local(async move {
        let _place = place;
        // Boxed: the runtime keeps room for the largest task it has seen in each of them.
        let sent = tokio::time::timeout(COPY_FOR, Box::pin(copy.run(&worker, &view))).await;
        if !matches!(sent, Ok(Some(()))) {
            copy.cell.mirrors_lost.inc();
        }
    });
}

impl Copy {
    async fn run(&self, worker: &Worker, view: &Rc<View>) -> Option<()> {
        // Its pool may choose by chance, and not by what the request says.
        let key = FlowKey { draw: worker.draws.next(), ..FlowKey::of(self.ends.source) };
        let mut journey = Journey::new(self.pool, key).asking_for(view, self.asked_for.as_deref());
        // Whoever asked has nothing to do with a copy.
        let mut stays = async || std::future::pending().await;
        let reuse = if self.method.idempotent() { Reuse::Any } else { Reuse::IfFresh };
        let mut reached = journey.reach(worker, view, reuse, self.connect_ms, &mut stays).await.ok()?;
        let mut answer = self.exchange(&reached, worker).await;
        if answer == Discarded::Nothing && reached.reused && self.method.idempotent() {
            reached = journey.reach_again(worker, view, reached.lease, self.connect_ms, &mut stays).await.ok()?;
            answer = self.exchange(&reached, worker).await;
        }
        match answer {
            Discarded::Whole => {
                journey.keep(reached, worker);
                Some(())
            }
            Discarded::Part => Some(()),
            Discarded::Nothing => None,
        }
    }

    async fn exchange(&self, reached: &Reached, worker: &Worker) -> Discarded {
        // The whole copy is under one deadline.
        let unused = Deadlines::default();
        let patience = Patience::new(&unused, Wait::MemberWrite, 0);
        // A member may answer and close before it has read everything: the answer tells.
        let header = proxy_header::between(reached, self.ends);
        let header = header.as_deref().unwrap_or_default();
        let mut parts = [IoSlice::new(header), IoSlice::new(&self.bytes)];
        let _ = wire::write_all(&reached.stream, &mut parts, patience).await;
        discard::answer(&reached.stream, self.method, &worker.buffers).await
    }
}
