//! Accepting: one task for each listening socket of a worker, holding the listener to its limit.

mod proxy_header;
pub mod sockets;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::member::ListenerCell;
use lb_core::snapshot::ListenerSnapshot;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;

use crate::buffer::Buffer;
use crate::process::{Gate, Place, Process};
use crate::view::View;
use crate::wire::Stream;
use crate::worker::{Ticket, Worker};
use crate::{clock, http, http2, tcp, tls};

/// Pause after an accept that failed for want of descriptors or memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

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
    /// Its place below the listener's limit.
    pub place: Place,
    /// Counts it.
    pub counted: Counted,
}

/// A connection in the figures of its listener and of the process, until it is dropped.
#[derive(Debug)]
pub struct Counted {
    cell: Arc<ListenerCell>,
    process: Arc<Process>,
}

impl Counted {
    fn new(cell: &Arc<ListenerCell>, process: &Arc<Process>) -> Self {
        cell.open.inc();
        cell.connections.inc();
        process.connected();
        Self { cell: Arc::clone(cell), process: Arc::clone(process) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.cell.open.dec();
        self.process.disconnected();
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
}

/// Accepts on `socket` for whichever listener has `address`, until the task is aborted.
pub async fn accept(worker: Rc<Worker>, address: SocketAddr, socket: AsyncFd<TcpListener>) {
    loop {
        let (stream, peer) = match next(&socket).await {
            Ok(accepted) => accepted,
            // The client left while it waited in the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            // No descriptor or no memory: whoever ends frees some.
            Err(_) => {
                tokio::time::sleep(SHORTAGE_PAUSE).await;
                continue;
            }
        };
        let place = worker.gate(address).and_then(|gate| Place::take(&worker.process, &gate));
        if let Some(place) = place {
            begin(&worker, address, place, stream, peer);
            continue;
        }
        // Its turn does not depend on this task, which ends when the socket goes to another worker.
        let waiting = wait_for_place(Rc::clone(&worker), address, stream, peer);
        let _ = tokio::task::spawn_local(waiting).await;
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

async fn wait_for_place(worker: Rc<Worker>, address: SocketAddr, stream: Stream, peer: SocketAddr) {
    if let Some(place) = Place::wait(&worker.process, || worker.gate(address)).await {
        begin(&worker, address, place, stream, peer);
    }
}

fn begin(worker: &Rc<Worker>, address: SocketAddr, place: Place, stream: Stream, peer: SocketAddr) {
    // The place was taken a moment ago, in the same turn: the listener is the one it was taken of.
    let Some((view, position, listener)) = worker.listener_at(address) else { return };
    let counted = Counted::new(listener.cells.of(worker.index), &worker.process);
    worker.process.worker(worker.index).connections.inc();
    worker.keep_house();
    let is_trusted = listener.proxy_protocol.as_ref().is_some_and(|senders| senders.trust(peer.ip()));
    let ticket = worker.enter();
    let accepted = Instant::now();
    let (worker, destination) = (Rc::clone(worker), None);
    let held = Rc::new(Held { place, counted });
    let downstream = Downstream { worker, view, listener, position, held, peer, destination, accepted, ticket };
    if is_trusted {
        tokio::task::spawn_local(clock::scoped(proxy_header::receive(downstream, stream)));
    } else {
        serve(downstream, stream, None);
    }
}

/// Hands a client to its session, now that it is known who it is. `first`: what it said already.
fn serve(downstream: Downstream, stream: Stream, first: Option<Buffer>) {
    if let Some(tls) = downstream.view.tls().listener(downstream.position).map(Arc::clone) {
        tokio::task::spawn_local(clock::scoped(tls::handshake::serve(downstream, stream, tls, first)));
    } else if downstream.listener.http2_prior_knowledge {
        tokio::task::spawn_local(clock::scoped(http2::preface::serve(downstream, stream, first)));
    } else if downstream.listener.protocol.is_http() {
        tokio::task::spawn_local(clock::scoped(http::session::serve(downstream, stream, first)));
    } else {
        tokio::task::spawn_local(clock::scoped(tcp::session::serve(downstream, stream, first)));
    }
}

impl Worker {
    /// What the listener that accepts on `address` now counts, and its limit.
    fn gate(&self, address: SocketAddr) -> Option<Gate> {
        let (_, _, listener) = self.listener_at(address)?;
        Some(Gate { admitted: Arc::clone(&listener.admitted), limit: listener.connection_limit })
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
