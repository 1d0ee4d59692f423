//! Clients that have been silent for a while: held in about a hundred bytes each, without a task, a timer or an entry
//! in the runtime's tables. Owned by one worker.
//!
//! One epoll set watches them all, and the runtime watches that set. Whoever speaks becomes a session again.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lb_core::snapshot::ListenerSnapshot;
use lb_core::time::Millis;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use slab::Slab;

use super::session;
use crate::listener::door::Knock;
use crate::listener::{Downstream, Held};
use crate::room::Shortage;
use crate::view::View;
use crate::wire::{Rested, Stream, Unread};
use crate::worker::Worker;
use crate::{clock, sys};

/// Clients looked after in one go before others get their turn.
const BATCH: usize = 64;
/// Time that is over is noticed this much too late at most, in milliseconds.
const SWEEP_MS: u64 = 100;
/// Clients that come later may have less patience: it is looked at this often at least, in milliseconds.
const LOOK_AGAIN_MS: u64 = 1_000;
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// See the module.
#[derive(Debug, Default)]
pub struct Parking {
    /// While there is anybody: the set that watches them.
    set: RefCell<Option<Rc<OwnedFd>>>,
    parked: RefCell<Slab<Parked>>,
}

#[derive(Debug)]
struct Parked {
    connection: Rested,
    served: u32,
    since: Millis,
    peer: SocketAddr,
    destination: Option<Box<SocketAddr>>,
    view: Rc<View>,
    listener: Arc<ListenerSnapshot>,
    position: usize,
    /// Not on the heap on its own: small pieces between those of sessions that are gone would keep their pages.
    held: Held,
}

impl Parked {
    /// When its patience is over; `None`: never.
    fn until(&self) -> Option<Millis> {
        let ms = self.listener.timeouts.http_keep_alive_ms;
        (ms > 0).then(|| self.since.after(ms))
    }
}

impl Parking {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.parked.borrow().len()
    }

    /// True if there is nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all.
    pub fn clear(&self, worker: &Worker) {
        let all = self.parked.take();
        worker.process.worker(worker.index).parked.add(0u64.wrapping_sub(all.len() as u64));
    }

    /// Has all take up `view`; those whose listener is gone keep the old one for a last request.
    pub fn renew(&self, view: &Rc<View>) {
        for (_, parked) in self.parked.borrow_mut().iter_mut() {
            if let Some(position) = view.listener_of(&parked.listener, &parked.held.place) {
                parked.listener = Arc::clone(&view.snapshot.listeners[position]);
                parked.position = position;
                parked.view = Rc::clone(view);
            }
        }
    }

    /// Takes in a client that served `served` requests and has been silent since `since`.
    /// One that cannot be watched is parted with.
    pub fn park(&self, downstream: Downstream, stream: Stream, served: u32, since: Millis) {
        let worker = Rc::clone(&downstream.worker);
        let Some(connection) = stream.rest() else { return };
        let Downstream { view, listener, position, held, peer, destination, .. } = downstream;
        // Nobody else works for it: it has one request at a time.
        let Some(held) = Rc::into_inner(held) else { return };
        let parked = Parked { connection, served, since, peer, destination, view, listener, position, held };
        let set = match self.open(&worker) {
            Ok(set) => set,
            // Nothing is left to watch it with: a client between two requests is the one to part with.
            Err(_) => return,
        };
        let mut all = self.parked.borrow_mut();
        let entry = all.vacant_entry();
        let data = epoll::EventData::new_u64(entry.key() as u64);
        if epoll::add(&*set, parked.connection.socket(), data, epoll::EventFlags::IN | epoll::EventFlags::RDHUP).is_ok()
        {
            entry.insert(parked);
            worker.process.worker(worker.index).parked.inc();
        }
    }

    /// The set, with a task that minds it while there is one.
    fn open(&self, worker: &Rc<Worker>) -> io::Result<Rc<OwnedFd>> {
        if let Some(set) = &*self.set.borrow() {
            return Ok(Rc::clone(set));
        }
        let set = Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let watch = sys::watch_descriptor(set.try_clone()?)?;
        *self.set.borrow_mut() = Some(Rc::clone(&set));
        tokio::task::spawn_local(mind(Rc::clone(worker), watch));
        Ok(set)
    }

    fn take(&self, worker: &Worker, key: usize) -> Option<Parked> {
        let parked = self.parked.borrow_mut().try_remove(key)?;
        worker.process.worker(worker.index).parked.dec();
        if let Some(set) = &*self.set.borrow() {
            let _ = epoll::delete(&**set, parked.connection.socket());
        }
        Some(parked)
    }

    /// Closes the `most` that have been silent for the shortest time, because of `shortage`.
    pub fn close_newest(&self, worker: &Worker, most: usize, shortage: Shortage) {
        let mut newest: Vec<(Reverse<Millis>, usize)> =
            self.parked.borrow().iter().map(|(key, parked)| (Reverse(parked.since), key)).collect();
        if most < newest.len() {
            newest.select_nth_unstable(most);
            newest.truncate(most);
        }
        for (_, key) in newest {
            let Some(parked) = self.take(worker, key) else { continue };
            let began = worker.process.instant(parked.since);
            let Parked { view, position, listener, peer, .. } = parked;
            worker.note_shed(&Knock { view, position, listener, peer }, shortage, began);
        }
    }

    /// Closes those whose time is over. Returns when to look again.
    fn sweep(&self, worker: &Worker) -> Option<Millis> {
        let now = worker.now();
        let mut next: Option<Millis> = None;
        let before = self.len();
        self.parked.borrow_mut().retain(|_, parked| match parked.until() {
            Some(until) if until <= now => false,
            Some(until) => {
                next = Some(next.map_or(until, |next| next.min(until)));
                true
            }
            None => true,
        });
        let gone = before - self.len();
        worker.process.worker(worker.index).parked.add(0u64.wrapping_sub(gone as u64));
        next
    }
}

/// Minds the parked clients of `worker` for as long as there are any.
async fn mind(worker: Rc<Worker>, watch: tokio::io::unix::AsyncFd<OwnedFd>) {
    let parking = &worker.parking;
    let mut events = Vec::with_capacity(BATCH);
    let mut sweep_at = worker.now();
    loop {
        let pause = Duration::from_millis(sweep_at.since(worker.now()));
        if let Ok(readable) = tokio::time::timeout(pause, watch.readable()).await {
            let Ok(mut readable) = readable else { break };
            events.clear();
            let taken = epoll::wait(watch.get_ref(), spare_capacity(&mut events), Some(&NO_TIME));
            // The set tells again as long as there is somebody it has not told of.
            if taken.is_ok() && events.len() < BATCH {
                readable.clear_ready();
            }
            for event in &events {
                wake(&worker, event.data.u64() as usize);
            }
        } else {
            let next = parking.sweep(&worker);
            let (soonest, latest) = (worker.now().after(SWEEP_MS), worker.now().after(LOOK_AGAIN_MS));
            sweep_at = next.map_or(latest, |next| next.clamp(soonest, latest));
        }
        if parking.is_empty() {
            break;
        }
    }
    parking.set.take();
    *parking.parked.borrow_mut() = Slab::new();
    sys::trim_heap();
}

/// A parked client did something.
fn wake(worker: &Rc<Worker>, key: usize) {
    let Some(parked) = worker.parking.take(worker, key) else { return };
    let Parked { connection, served, since, peer, destination, view, listener, position, held } = parked;
    let stream = connection.wake();
    if stream.peek() == Unread::End {
        return;
    }
    worker.keep_house();
    let accepted = clock::now().into_std();
    let ticket = worker.enter();
    ticket.waits();
    let worker = Rc::clone(worker);
    let downstream =
        Downstream { worker, view, listener, position, held: Rc::new(held), peer, destination, accepted, ticket };
    tokio::task::spawn_local(clock::scoped(session::resume(downstream, stream, served, since)));
}
