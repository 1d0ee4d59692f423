//! One data thread: its runtime, its acceptors, its sessions. Nothing it owns is shared with another worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use lb_core::limits::rate::Bucket;
use lb_core::member::Counter;
use lb_core::snapshot::Snapshot;
use lb_core::time::Millis;
use slab::Slab;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::buffer::Buffers;
use crate::draw::Draws;
use crate::http::parked::Parking;
use crate::lingering::Lingering;
use crate::listener;
use crate::observe::record::SinkId;
use crate::process::Process;
use crate::room::Shortage;
use crate::tls::table::TlsTable;
use crate::upstream::idle;
use crate::view::{Beside, CurrentView, View};

/// Stack of a worker: sessions live on the heap, only parsing needs some.
const STACK: usize = 256 * 1024;
/// Events taken by one wait of a worker; the kernel keeps the rest. Each costs 12 bytes at rest.
const EVENTS_PER_WAIT: usize = 256;
/// Tasks run before new events are looked for, at most: all that one wait woke, and whom they woke. When none is left
/// the thread waits, and only then it knows that a turn is over ([`idle::next_turn`]).
const TASKS_PER_WAIT: u32 = 4 * EVENTS_PER_WAIT as u32;
/// Sessions that asked for a look are woken this often.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Kept connections are looked over this often while there are any.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// While memory is short.
const HOUSEKEEPING_WHILE_SHORT: Duration = Duration::from_millis(100);

/// Exit status when a data thread failed (EX_SOFTWARE).
const EXIT_WORKER_LOST: i32 = 70;
/// So many sessions at once are a storm, after which memory is worth giving back.
const STORM: usize = 128;

/// What the control thread tells a worker. Each is answered when done.
#[derive(Debug)]
pub enum Order {
    /// Take up the published snapshot, and other listening sockets than before.
    Refresh {
        /// Sockets to accept on from now on.
        open: Vec<(SocketId, SocketAddr, std::net::TcpListener)>,
        /// Sockets to leave alone from now on.
        close: Vec<SocketId>,
        /// Where each listener's lines go, in the snapshot's order.
        sinks: Vec<Option<SinkId>>,
        /// TLS of listeners and pools.
        tls: Arc<TlsTable>,
        /// Done.
        done: oneshot::Sender<()>,
    },
    /// Wake every session: something has changed that it looks for when it is woken.
    Wake,
    /// Accept nothing more, end idle sessions; answered when the last session has ended.
    Drain {
        /// Done.
        done: oneshot::Sender<()>,
    },
}

/// Names one listening socket of the process, whoever accepts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub u64);

/// The control thread's end of a worker.
#[derive(Debug)]
pub struct WorkerHandle {
    /// For [`Order`]s.
    pub orders: mpsc::UnboundedSender<Order>,
    thread: std::thread::JoinHandle<()>,
}

impl WorkerHandle {
    /// False once the thread has ended, which it never does of its own accord.
    pub fn alive(&self) -> bool {
        !self.thread.is_finished()
    }
}

/// What sessions of one worker use.
#[derive(Debug)]
pub struct Worker {
    /// Which one; its place in every per-worker table.
    pub index: usize,
    /// What all threads share.
    pub process: Arc<Process>,
    /// Clients that have been silent for a while.
    pub parking: Parking,
    /// Memory to lend.
    pub buffers: Rc<Buffers>,
    /// Random numbers for pools that draw.
    pub draws: Draws,
    view: CurrentView,
    sessions: RefCell<Slab<Entry>>,
    /// Sessions that wait for the next look.
    looks: Cell<usize>,
    looking: Cell<bool>,
    /// Most sessions at once since memory was last given back.
    most_sessions: Cell<usize>,
    draining: Cell<bool>,
    last_left: RefCell<Option<oneshot::Sender<()>>>,
    acceptors: RefCell<HashMap<SocketId, JoinHandle<()>>>,
    housekeeping: Cell<bool>,
    /// Grows with every session that begins to wait for a request: the newest has the highest.
    order: Cell<u32>,
    /// Clients that were told why they are refused and have yet to read it.
    pub parting: Cell<usize>,
    /// Clients that were answered for the last time and have yet to read it.
    pub lingering: Lingering,
    /// What may still be written about clients turned away.
    pub door_lines: Cell<Bucket>,
}

/// Starts worker `index`.
pub fn start(index: usize, process: Arc<Process>) -> io::Result<WorkerHandle> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let (built, outcome) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("weir-{index}")).stack_size(STACK).spawn(move || {
        crate::sys::recycle::begin();
        let work = AssertUnwindSafe(|| {
            // Tasks of this runtime never leave the thread it was built on.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_io_events_per_tick(EVENTS_PER_WAIT)
                .event_interval(TASKS_PER_WAIT)
                .on_thread_unpark(idle::next_turn)
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = built.send(Ok(()));
                    runtime.block_on(Worker::new(index, process).run(inbox));
                }
                Err(error) => {
                    let _ = built.send(Err(error));
                }
            }
        });
        // A session that panics ends alone. A worker that does would leave clients waiting on its sockets for
        // ever: better the whole process ends, and whoever minds it starts another on the same sockets.
        if catch_unwind(work).is_err() {
            eprintln!("lb-proxy: data thread {index} failed; ending");
            std::process::exit(EXIT_WORKER_LOST);
        }
    })?;
    outcome.recv().unwrap_or_else(|_| Err(io::Error::other("a data thread ended at its beginning")))?;
    Ok(WorkerHandle { orders, thread })
}

impl Worker {
    fn new(index: usize, process: Arc<Process>) -> Rc<Self> {
        // The snapshot in force may have no cells for a worker that has just been added: the first order brings
        // the one that has.
        let view = View::build(Arc::new(Snapshot::empty()), index, None, Beside::default());
        Rc::new(Self {
            index,
            process,
            parking: Parking::default(),
            buffers: Rc::default(),
            draws: Draws::default(),
            view: RefCell::new(Rc::new(view)),
            sessions: RefCell::default(),
            looks: Cell::new(0),
            looking: Cell::new(false),
            most_sessions: Cell::new(0),
            draining: Cell::new(false),
            last_left: RefCell::default(),
            acceptors: RefCell::default(),
            housekeeping: Cell::new(false),
            order: Cell::new(0),
            parting: Cell::new(0),
            lingering: Lingering::default(),
            door_lines: Cell::default(),
        })
    }

    async fn run(self: Rc<Self>, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut calls = std::pin::pin!(self.heed_calls());
        loop {
            let order = tokio::select! {
                order = inbox.recv() => order,
                () = &mut calls => None,
            };
            let Some(order) = order else { break };
            match order {
                Order::Refresh { open, close, sinks, tls, done } => {
                    self.refresh(open, &close, Beside { sinks, tls }).await;
                    let _ = done.send(());
                }
                Order::Wake => self.sessions.borrow().iter().for_each(|(_, entry)| entry.wake()),
                Order::Drain { done } => self.drain(done),
            }
        }
    }

    /// The view in force.
    pub fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// Milliseconds since the process began.
    pub fn now(&self) -> Millis {
        self.process.now()
    }

    /// True once nothing new is accepted.
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    async fn refresh(
        self: &Rc<Self>,
        open: Vec<(SocketId, SocketAddr, std::net::TcpListener)>,
        close: &[SocketId],
        beside: Beside,
    ) {
        let snapshot = self.process.snapshot.load_full();
        let view = View::build(snapshot, self.index, Some(&self.view.borrow()), beside);
        *self.view.borrow_mut() = Rc::new(view);
        self.parking.renew(&self.view());
        let closing: Vec<_> = close.iter().filter_map(|id| self.acceptors.borrow_mut().remove(id)).collect();
        for task in closing {
            task.abort();
            // Once this is over its socket is closed, and whoever waits for our answer may bind the port again.
            let _ = task.await;
        }
        for (id, address, socket) in open {
            if self.draining() {
                break;
            }
            let Ok(socket) = crate::sys::watch_listener(socket) else { continue };
            let task = tokio::task::spawn_local(listener::accept(Rc::clone(self), address, socket));
            self.acceptors.borrow_mut().insert(id, task);
        }
        // Connections of HTTP/2 whose listener is gone say so before they are asked for more.
        self.sessions.borrow().iter().for_each(|(_, entry)| entry.wake());
    }

    fn drain(&self, done: oneshot::Sender<()>) {
        self.draining.set(true);
        for (_, task) in self.acceptors.borrow_mut().drain() {
            task.abort();
        }
        self.parking.clear(self);
        let sessions = self.sessions.borrow();
        if sessions.is_empty() {
            let _ = done.send(());
            return;
        }
        *self.last_left.borrow_mut() = Some(done);
        sessions.iter().for_each(|(_, entry)| entry.wake());
    }

    /// Enters a session into the worker's list; it is there until the ticket is dropped.
    pub fn enter(self: &Rc<Self>) -> Ticket {
        let mut sessions = self.sessions.borrow_mut();
        let key = sessions.insert(Entry { order: self.next_order(), ..Entry::default() });
        self.headless().inc();
        self.most_sessions.set(self.most_sessions.get().max(sessions.len()));
        Ticket { worker: Rc::clone(self), key }
    }

    /// How many sessions have yet to send a whole request.
    fn headless(&self) -> &Counter {
        &self.process.worker(self.index).headless
    }

    fn next_order(&self) -> u32 {
        self.order.set(self.order.get().wrapping_add(1));
        self.order.get()
    }

    /// How many sessions have a task.
    pub fn sessions(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Has the newest `most` of the sessions that are in `phase` end because of `shortage`. Returns how many there were.
    pub fn end_newest(&self, phase: Phase, most: usize, shortage: Shortage) -> usize {
        let mut sessions = self.sessions.borrow_mut();
        let now = self.order.get();
        let of_phase = sessions.iter().filter(|(_, entry)| entry.phase == phase);
        let mut newest: Vec<(u32, usize)> = of_phase.map(|(key, e)| (now.wrapping_sub(e.order), key)).collect();
        if most < newest.len() {
            newest.select_nth_unstable(most);
            newest.truncate(most);
        }
        for (_, key) in &newest {
            sessions[*key].turn(Phase::Shed(shortage), self.headless());
            sessions[*key].wake();
        }
        newest.len()
    }

    /// Gives memory back when most of many sessions have ended.
    fn trim_after_storm(&self) {
        let now = self.sessions.borrow().len();
        let most = self.most_sessions.get();
        if most >= STORM && now < most / 2 {
            self.most_sessions.set(now);
            crate::sys::trim_heap();
        }
    }

    /// Wakes those who asked for a look, for as long as there are any.
    fn look_later(self: &Rc<Self>) {
        if self.looking.replace(true) {
            return;
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while worker.looks.get() > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
                for (_, entry) in worker.sessions.borrow_mut().iter_mut().filter(|(_, entry)| entry.wants_look) {
                    entry.wants_look = false;
                    entry.wake();
                }
                worker.looks.set(0);
            }
            worker.looking.set(false);
        });
    }

    /// Sees to it that kept connections and spare memory are looked over while there are any.
    pub fn keep_house(self: &Rc<Self>) {
        if self.housekeeping.replace(true) {
            return;
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let mut pause = HOUSEKEEPING;
            loop {
                tokio::time::sleep(pause).await;
                pause = if worker.look_at_memory() { HOUSEKEEPING_WHILE_SHORT } else { HOUSEKEEPING };
                let idle_left = worker.view().expire_idle(worker.now());
                worker.buffers.tidy();
                worker.trim_after_storm();
                let clients_left = worker.tidy_limits();
                if !idle_left && !clients_left && worker.sessions.borrow().is_empty() {
                    break;
                }
            }
            worker.housekeeping.set(false);
            worker.buffers.trim();
            *worker.sessions.borrow_mut() = Slab::new();
            crate::sys::trim_heap();
        });
    }
}

/// What a session does, as far as it matters when somebody else needs its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It has yet to send a whole request, its first.
    #[default]
    Headless,
    /// It was served, and has not sent another whole request.
    Idle,
    /// It is being served.
    Working,
    /// It has to end, unless a whole request of it comes first.
    Shed(Shortage),
}

/// What the worker knows of a session.
#[derive(Debug, Default)]
struct Entry {
    waker: Option<Waker>,
    /// When it began to wait for a request, in the worker's order.
    order: u32,
    phase: Phase,
    /// It asked to be woken at the next look.
    wants_look: bool,
}

impl Entry {
    /// From now on it is in `phase`. `headless` counts those that have yet to ask.
    fn turn(&mut self, phase: Phase, headless: &Counter) {
        if std::mem::replace(&mut self.phase, phase) == Phase::Headless {
            headless.dec();
        }
    }

    fn wake(&self) {
        self.waker.iter().for_each(Waker::wake_by_ref);
    }

    fn keep(&mut self, waker: &Waker) {
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

/// A session's place in its worker's list.
#[derive(Debug)]
pub struct Ticket {
    worker: Rc<Worker>,
    key: usize,
}

impl Ticket {
    /// Has `waker` woken when the worker begins to drain, or something else has changed.
    pub fn wake_on_change(&self, waker: &Waker) {
        self.worker.sessions.borrow_mut()[self.key].keep(waker);
    }

    /// Has `waker` woken in [`LOOK_EVERY`] or a little later. One timer serves all who ask: most have no need of it
    /// any more when it fires.
    pub fn wake_later(&self, waker: &Waker) {
        let mut sessions = self.worker.sessions.borrow_mut();
        let entry = &mut sessions[self.key];
        entry.keep(waker);
        if !std::mem::replace(&mut entry.wants_look, true) {
            self.worker.looks.set(self.worker.looks.get() + 1);
            self.worker.look_later();
        }
    }

    /// The session is being served.
    pub fn works(&self) {
        self.worker.sessions.borrow_mut()[self.key].turn(Phase::Working, self.worker.headless());
    }

    /// The session was served and waits for another request.
    pub fn waits(&self) {
        let entry = &mut self.worker.sessions.borrow_mut()[self.key];
        entry.order = self.worker.next_order();
        entry.turn(Phase::Idle, self.worker.headless());
    }

    /// The session has to end unless it has sent a whole request already.
    pub fn must_end(&self, shortage: Shortage) {
        self.worker.sessions.borrow_mut()[self.key].turn(Phase::Shed(shortage), self.worker.headless());
    }

    /// What it has to end for, if it has to.
    pub fn shed(&self) -> Option<Shortage> {
        match self.worker.sessions.borrow()[self.key].phase {
            Phase::Shed(shortage) => Some(shortage),
            _ => None,
        }
    }

    /// Runs `work` until it is done or the session has to end: then `None`.
    pub async fn unless_shed<F: Future>(&self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.shed().is_some() => Poll::Ready(None),
            Poll::Pending => {
                self.wake_on_change(cx.waker());
                Poll::Pending
            }
        })
        .await
    }

    /// True while the look that was asked for is still to come.
    pub fn look_is_due(&self) -> bool {
        self.worker.sessions.borrow()[self.key].wants_look
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut sessions = self.worker.sessions.borrow_mut();
        if let Some(entry) = sessions.try_remove(self.key) {
            if entry.phase == Phase::Headless {
                self.worker.headless().dec();
            }
            if entry.wants_look {
                self.worker.looks.set(self.worker.looks.get() - 1);
            }
        }
        if std::thread::panicking() {
            self.worker.process.panicked();
        }
        if sessions.is_empty()
            && let Some(done) = self.worker.last_left.borrow_mut().take()
        {
            let _ = done.send(());
        }
    }
}

/// Milliseconds between two moments, as log lines carry them.
pub fn millis_between(from: Instant, to: Instant) -> i32 {
    to.saturating_duration_since(from).as_millis().min(i32::MAX as u128) as i32
}
