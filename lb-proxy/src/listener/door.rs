//! The door: who is turned away before a byte of theirs is read, how, and what is noted of it.
//!
//! A flood is mostly made of these: each costs an accept, a look-up, a reset and a counter. Lines are written at a bounded rate.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::limits::clients::Refusal;
use lb_core::limits::rate::Rate;
use lb_core::snapshot::ListenerSnapshot;

use super::Downstream;
use crate::clock;
use crate::http::refusal;
use crate::observe::record::{Ending, Load, Record, Times, Words, endings};
use crate::persistence::Noted;
use crate::timer::{Deadlines, Patience, Wait};
use crate::view::View;
use crate::wire::{self, Stream};
use crate::worker::Worker;

/// Lines about clients turned away that one worker writes: so many a second, and at once.
pub const LINES: Rate = Rate { per_second: 100, burst: 100 };
/// Clients that were told why they are refused and get a moment to read it, at once and of one worker. Others are closed at once.
const PARTING_MAX: usize = 64;
/// That moment.
const PARTING_FOR: Duration = Duration::from_millis(1_000);

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It comes from elsewhere than `allowed_cidrs`.
    NotAllowed,
    /// `connection_limit` is reached and its excess is refused.
    Full,
    /// It takes more than one client may.
    Client(Refusal),
}

impl Reason {
    /// How that ends.
    pub fn ending(self) -> Ending {
        match self {
            Self::NotAllowed => endings::NOT_ALLOWED,
            Self::Full => endings::LISTENER_FULL,
            Self::Client(Refusal::Connections) => endings::CLIENT_CONNECTIONS,
            Self::Client(Refusal::ConnectionRate) => endings::CLIENT_CONNECTION_RATE,
        }
    }
}

/// Somebody at the door: where they want in, and from where.
#[derive(Clone, Debug)]
pub struct Knock {
    /// The view in force.
    pub view: Rc<View>,
    /// The listener's position in it.
    pub position: usize,
    /// The listener.
    pub listener: Arc<ListenerSnapshot>,
    /// Who.
    pub peer: SocketAddr,
}

impl Knock {
    /// True for one that may say who its client is, in a PROXY header.
    pub fn is_trusted(&self) -> bool {
        self.listener.proxy_protocol.as_ref().is_some_and(|senders| senders.trust(self.peer.ip()))
    }
}

/// Holds a client whose address is known to what its address may and to what one client may take. Counts it while it is there.
/// Called once for a connection, before anything is read of what the client itself says.
pub fn admit(downstream: &Downstream) -> Result<(), Reason> {
    let limits = &downstream.listener.limits;
    let client = downstream.peer.ip();
    if !limits.allows(client) {
        return Err(Reason::NotAllowed);
    }
    let Some(rules) = &limits.clients else { return Ok(()) };
    let Some(key) = rules.key(client) else { return Ok(()) };
    let process = &downstream.worker.process;
    let guest = downstream.listener.clients.enter(process.seed, key, rules, process.nanos()).map_err(Reason::Client)?;
    if guest.is_none() {
        downstream.view.listener_cell(&downstream.listener).limits().clients_uncounted.inc();
    }
    *downstream.held.guest.borrow_mut() = guest;
    Ok(())
}

/// Holds a client to its rate of requests. `Err`: it may ask again in so many seconds.
pub fn ask(downstream: &Downstream) -> Result<(), u64> {
    let Some(rules) = downstream.listener.limits.clients.as_ref().filter(|rules| rules.request_rate.is_some()) else {
        return Ok(());
    };
    let Some(key) = rules.key(downstream.peer.ip()) else { return Ok(()) };
    let process = &downstream.worker.process;
    let mut guest = downstream.held.guest.borrow_mut();
    if guest.is_none() {
        // It came before there were limits, or when the table was full.
        *guest = downstream.listener.clients.join(process.seed, key, rules);
    }
    let Some(guest) = &*guest else { return Ok(()) };
    guest.ask(rules, process.nanos()).map_err(|nanos| nanos.div_ceil(1_000_000_000).max(1))
}

/// Closes a client that is turned away, and notes it.
pub fn turn_away(worker: &Rc<Worker>, knock: &Knock, stream: Stream, reason: Reason) {
    let limits = knock.view.listener_cell(&knock.listener).limits();
    match reason {
        Reason::NotAllowed => limits.not_allowed.inc(),
        Reason::Full => limits.over_connection_limit.inc(),
        Reason::Client(Refusal::Connections) => limits.client_connections.inc(),
        Reason::Client(Refusal::ConnectionRate) => limits.client_connection_rate.inc(),
    }
    let mut ending = reason.ending();
    // Over TLS nothing can be said before a handshake.
    let plain = knock.listener.protocol.is_http() && knock.view.tls().listener(knock.position).is_none();
    let told = ending.status > 0 && plain && tell(worker, knock, &stream, ending.status);
    if told {
        part(worker, stream);
    } else {
        ending.status = 0;
        stream.reset();
    }
    note(worker, knock, ending, clock::now().into_std());
}

/// Writes the page of `status` if the kernel takes it at once.
fn tell(worker: &Rc<Worker>, knock: &Knock, stream: &Stream, status: u16) -> bool {
    let mut page = worker.buffers.lend_sheet();
    refusal::write(status, &knock.listener.error_pages, refusal::Answer::default(), &mut page.out);
    knock.view.listener_cell(&knock.listener).refusals.inc();
    stream.try_write(&page.out).is_ok_and(|written| written == page.out.len())
}

/// Gives a client that was told why a moment to read it: what it still sends would reset the connection.
fn part(worker: &Rc<Worker>, stream: Stream) {
    // It takes a place of the process, though none of the listener: descriptors are counted.
    if stream.shutdown().is_err() || worker.parting.get() >= PARTING_MAX || !worker.process.room.enter() {
        return;
    }
    worker.parting.set(worker.parting.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let rest = async {
            let unused = Deadlines::default();
            let patience = Patience::new(&unused, Wait::ClientRead, 0);
            let mut thrown_away = [0; 1024];
            while wire::read(&stream, &mut thrown_away, patience).await.is_ok_and(|n| n > 0) {}
        };
        let _ = tokio::time::timeout(PARTING_FOR, rest).await;
        drop(stream);
        worker.parting.set(worker.parting.get() - 1);
        worker.process.room.leave();
        worker.process.admission.recheck();
    });
}

/// Writes the line of a connection that ended without a request, unless there were too many of them.
pub fn note(worker: &Worker, knock: &Knock, ending: Ending, began: Instant) {
    let Some(sink) = knock.view.sink(knock.position) else { return };
    let mut lines = worker.door_lines.get();
    let may = lines.take(LINES, worker.process.nanos()).is_ok();
    worker.door_lines.set(lines);
    if !may {
        return knock.view.listener_cell(&knock.listener).limits().lines_withheld.inc();
    }
    let listener = &knock.listener;
    let record = Record {
        sink,
        http: listener.protocol.is_http(),
        began,
        client: knock.peer,
        times: Times::NONE,
        status: ending.status,
        bytes_counted: 0,
        bytes_out: 0,
        bytes_in: 0,
        ending,
        load: Load {
            process: worker.process.connections(),
            listener: listener.cells.sum(|c| c.open.get()) as u32,
            ..Load::default()
        },
        unnamed: None,
        noted: Noted::NOTHING,
        queued: Default::default(),
        retries: 0,
        redispatched: false,
    };
    let words = Words { listener: &listener.label, pool: None, member: None, policy: None, line: b"" };
    worker.process.log.note(worker.index, &record, words);
}
