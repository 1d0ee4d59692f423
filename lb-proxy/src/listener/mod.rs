//! Accepting: one task for each listening socket of a worker, holding the listener to its limit.

pub mod sockets;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::snapshot::ListenerSnapshot;
use tokio::net::{TcpListener, TcpStream};

use crate::view::View;
use crate::worker::{Ticket, Worker};
use crate::{http, tcp};

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
    /// The listener's place in the snapshot.
    pub place: usize,
    /// Who came.
    pub peer: SocketAddr,
    /// When.
    pub accepted: Instant,
    ticket: Ticket,
}

impl Downstream {
    /// Has `waker` woken when the worker begins to drain.
    pub fn wake_on_drain(&self, waker: &std::task::Waker) {
        self.ticket.wake_on_drain(waker);
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.view.listener_cell(&self.listener).open.dec();
        self.worker.process.disconnected();
        self.worker.process.admission.leave(&self.listener.admitted);
    }
}

/// Accepts on `socket` for whichever listener has `address`, until the task is aborted.
pub async fn accept(worker: Rc<Worker>, address: SocketAddr, socket: TcpListener) {
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_shortage(&error) => {
                tokio::time::sleep(SHORTAGE_PAUSE).await;
                continue;
            }
            // The client left while it waited in the queue.
            Err(_) => continue,
        };
        let Some(admitted) = worker.listener_at(address).map(|(_, _, l)| Arc::clone(&l.admitted)) else { continue };
        let limit = || worker.listener_at(address).and_then(|(_, _, l)| l.connection_limit);
        worker.process.admission.enter(&admitted, limit).await;
        let Some((view, place, listener)) = worker.listener_at(address) else {
            worker.process.admission.leave(&admitted);
            continue;
        };
        begin(&worker, view, place, listener, stream, peer);
    }
}

fn begin(
    worker: &Rc<Worker>,
    view: Rc<View>,
    place: usize,
    listener: Arc<ListenerSnapshot>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let cell = view.listener_cell(&listener);
    cell.open.inc();
    cell.connections.inc();
    worker.process.worker(worker.index).connections.inc();
    worker.process.connected();
    worker.keep_house();
    let is_http = listener.protocol.is_http();
    let ticket = worker.enter();
    let accepted = Instant::now();
    let downstream = Downstream { worker: Rc::clone(worker), view, listener, place, peer, accepted, ticket };
    if is_http {
        tokio::task::spawn_local(http::session::serve(downstream, stream));
    } else {
        tokio::task::spawn_local(tcp::session::serve(downstream, stream));
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

impl Worker {
    /// The listener that accepts on `address` now, with its view and its place in it.
    pub fn listener_at(&self, address: SocketAddr) -> Option<(Rc<View>, usize, Arc<ListenerSnapshot>)> {
        let view = self.view();
        let listeners = &view.snapshot.listeners;
        let place = listeners.iter().position(|l| l.up && l.address == address)?;
        let listener = Arc::clone(&listeners[place]);
        Some((view, place, listener))
    }
}
