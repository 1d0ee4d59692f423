//! Accepting: one task for each listening socket of a worker, holding the listener to its limit.

pub mod door;
mod proxy_header;
pub mod sockets;

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use lb_core::config::limits::OnConnectionLimit;
use lb_core::limits::clients::Guest;
use lb_core::member::ListenerCell;
use lb_core::snapshot::ListenerSnapshot;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;

use crate::buffer::Buffer;
use crate::process::{Full, Gate, Place};
use crate::view::View;
use crate::wire::Stream;
use crate::worker::{Ticket, Worker};
use crate::{clock, http, http2, tcp, tls};
use door::{Knock, Reason};

/// Pause after an accept that failed for want of descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);
/// Somebody who waits for a place looks this often whether others can be closed for it.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// What accepting may cost in one turn of the event loop, in clients turned away: then whoever is connected already has its turn. A
/// flood that always has somebody in the kernel's queue would else keep everybody else out.
const TURN: u32 = 32;
/// What a client costs that is let in: its session begins in the same turn.
const LET_IN: u32 = 4;

/// One client's connection, admitted and counted until it is dropped.
#[derive(Debug)]
pub struct Downstream {
    /// The worker it lives on.
    pub worker: Rc<Worker>,
    /// The view it came in under; sessions of HTTP move on to newer ones.
    pub view: Rc<View>,
    /// Its listener.
    pub listener: Arc<ListenerSnapshot>,
    /// The listener's position in the snapshot.
    pub position: usize,
    /// What the connection holds while it is open.
    pub held: Rc<Held>,
    /// Who came: the connection's other end, or whom a trusted one named in a PROXY header.
    pub peer: SocketAddr,
    /// Where the client connected to, if a PROXY header said.
    pub destination: Option<Box<SocketAddr>>,
    /// When.
    pub accepted: Instant,
    /// Its place in the worker's list.
    pub ticket: Ticket,
}

/// What a connection holds while it is open, whoever works for it.
#[derive(Debug)]
pub struct Held {
    /// Its place below the listener's limit and the process's.
    pub place: Place,
    /// Counts it.
    pub counted: Counted,
    /// Counts it for its client, if clients are held to limits of their own.
    pub guest: RefCell<Option<Guest>>,
}

/// A connection in the figures of its listener, until it is dropped.
#[derive(Debug)]
pub struct Counted {
    cell: Arc<ListenerCell>,
}

impl Counted {
    fn new(cell: &Arc<ListenerCell>) -> Self {
        cell.open.inc();
        cell.connections.inc();
        Self { cell: Arc::clone(cell) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.cell.open.dec();
    }
}

impl Downstream {
    /// Where the client connected to: this listener, or what a PROXY header said.
    pub fn local(&self) -> SocketAddr {
        self.destination.as_deref().copied().unwrap_or(self.listener.address)
    }

    /// One more piece of work for the same client, beginning now.
    pub fn sibling(&self) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            view: Rc::clone(&self.view),
            listener: Arc::clone(&self.listener),
            position: self.position,
            held: Rc::clone(&self.held),
            peer: self.peer,
            destination: self.destination.clone(),
            accepted: clock::now().into_std(),
            ticket: self.worker.enter(),
        }
    }

    /// Has `waker` woken when the worker begins to drain, or something else has changed.
    pub fn wake_on_change(&self, waker: &std::task::Waker) {
        self.ticket.wake_on_change(waker);
    }

    /// Reads once, behind what was read of the client's first bytes. The buffer is lent when there is something to read, and given
    /// back if there is not. 0 is the end of the stream.
    pub fn poll_first_bytes(
        &self,
        stream: &Stream,
        cx: &mut Context<'_>,
        first: &mut Option<Buffer>,
    ) -> Poll<io::Result<usize>> {
        ready!(stream.poll_readable(cx))?;
        let mut lent = first.take().unwrap_or_else(|| self.worker.buffers.lend());
        lent.make_room();
        let read = stream.poll_read(cx, lent.room());
        if let Poll::Ready(Ok(n)) = read {
            lent.fill(n);
        }
        *first = Some(lent).filter(|lent| !lent.is_empty());
        read
    }

    /// As whom it came.
    pub fn knock(&self) -> Knock {
        let (view, listener) = (Rc::clone(&self.view), Arc::clone(&self.listener));
        Knock { view, position: self.position, listener, peer: self.peer }
    }
}

/// Accepts on `socket` for whichever listener has `address`, until the task is aborted.
pub async fn accept(worker: Rc<Worker>, address: SocketAddr, socket: AsyncFd<TcpListener>) {
    let mut spent = 0;
    loop {
        if spent >= TURN {
            spent = 0;
            // Wakes when the loop has looked for events.
            tokio::task::yield_now().await;
        }
        spent += 1;
        let (stream, peer) = match next(&socket).await {
            Ok(accepted) => accepted,
            // The client left while it waited in the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            // No descriptor or no memory: those who have not asked for anything make room, and whoever ends does.
            Err(error) => {
                worker.short_of(error.raw_os_error());
                tokio::time::sleep(SHORTAGE_PAUSE).await;
                continue;
            }
        };
        let Some((view, position, listener)) = worker.listener_at(address) else { continue };
        let knock = Knock { view, position, listener, peer };
        // Of whoever may say who its client is, that client is looked at, once it is known.
        if !knock.is_trusted() && !knock.listener.limits.allows(peer.ip()) {
            door::turn_away(&worker, &knock, stream, Reason::NotAllowed);
            continue;
        }
        match Place::take(&worker.process, &gate_of(&knock.listener)) {
            Ok(place) => {
                spent += LET_IN - 1;
                begin(&worker, knock, place, stream);
            }
            Err(Full::Listener) if knock.listener.limits.on_connection_limit == OnConnectionLimit::Refuse => {
                door::turn_away(&worker, &knock, stream, Reason::Full);
            }
            // Its turn does not depend on this task, which ends when the socket goes to another worker.
            Err(_) => {
                let waiting = wait_for_place(Rc::clone(&worker), address, stream, peer);
                let _ = tokio::task::spawn_local(waiting).await;
            }
        }
    }
}

/// Takes the next client out of the kernel's queue.
async fn next(socket: &AsyncFd<TcpListener>) -> io::Result<(Stream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    loop {
        let mut known = socket.readable().await?;
        match acceptfrom_with(socket.get_ref(), flags) {
            Ok((accepted, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
                return Ok((Stream::new(accepted.into()), peer));
            }
            Err(Errno::WOULDBLOCK) => known.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the listener and the process have a place. Meanwhile those who have not asked for anything are closed if it is
/// the process that is full: one look now and then, since sessions become idle without telling.
async fn wait_for_place(worker: Rc<Worker>, address: SocketAddr, stream: Stream, peer: SocketAddr) {
    let place = loop {
        worker.make_room();
        let waiting = Place::wait(&worker.process, || worker.gate(address));
        match tokio::time::timeout(ROOM_PAUSE, waiting).await {
            Ok(Some(place)) => break place,
            Ok(None) => return,
            Err(_) => {}
        }
    };
    // The place was taken a moment ago, in the same turn: the listener is the one it was taken of.
    let Some((view, position, listener)) = worker.listener_at(address) else { return };
    begin(&worker, Knock { view, position, listener, peer }, place, stream);
}

fn begin(worker: &Rc<Worker>, knock: Knock, place: Place, stream: Stream) {
    let counted = Counted::new(knock.listener.cells.of(worker.index));
    worker.process.worker(worker.index).connections.inc();
    worker.keep_house();
    let is_trusted = knock.is_trusted();
    let ticket = worker.enter();
    let accepted = Instant::now();
    let Knock { view, position, listener, peer } = knock;
    let (worker, destination) = (Rc::clone(worker), None);
    let held = Rc::new(Held { place, counted, guest: RefCell::default() });
    let downstream = Downstream { worker, view, listener, position, held, peer, destination, accepted, ticket };
    if is_trusted {
        tokio::task::spawn_local(clock::scoped(proxy_header::receive(downstream, stream)));
    } else {
        serve(downstream, stream, None);
    }
}

/// Hands a client to its session, now that it is known who it is, unless it is turned away. `first`: what it said already.
fn serve(downstream: Downstream, stream: Stream, first: Option<Buffer>) {
    if let Err(reason) = door::admit(&downstream) {
        return door::turn_away(&downstream.worker, &downstream.knock(), stream, reason);
    }
    if let Some(tls) = downstream.view.tls().listener(downstream.position).map(Arc::clone) {
        tokio::task::spawn_local(clock::scoped(tls::handshake::serve(downstream, stream, tls, first)));
    } else if downstream.listener.http2_prior_knowledge {
        tokio::task::spawn_local(clock::scoped(http2::preface::serve(downstream, stream, first)));
    } else if downstream.listener.protocol.is_http() {
        tokio::task::spawn_local(clock::scoped(http::session::serve(downstream, stream, first)));
    } else if downstream.listener.policies.is_some() {
        tokio::task::spawn_local(clock::scoped(tcp::greeting::serve(downstream, stream, first)));
    } else {
        let choice = tcp::greeting::Choice::of_default(&downstream);
        tokio::task::spawn_local(clock::scoped(tcp::session::serve(downstream, stream, first, choice)));
    }
}

fn gate_of(listener: &ListenerSnapshot) -> Gate {
    Gate { admitted: Arc::clone(&listener.admitted), limit: listener.connection_limit }
}

impl Worker {
    /// What the listener that accepts on `address` now counts, and its limit.
    fn gate(&self, address: SocketAddr) -> Option<Gate> {
        self.listener_at(address).map(|(_, _, listener)| gate_of(&listener))
    }

    /// The listener that accepts on `address` now, with its view and its position in it.
    pub fn listener_at(&self, address: SocketAddr) -> Option<(Rc<View>, usize, Arc<ListenerSnapshot>)> {
        let view = self.view();
        let listeners = &view.snapshot.listeners;
        let position = listeners.iter().position(|l| l.up && l.address == address)?;
        let listener = Arc::clone(&listeners[position]);
        Some((view, position, listener))
    }
}
