//! What all threads of a data plane share: the snapshot in force, the log, and a few counts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use lb_control::stats::WorkerStats;
use lb_core::limits::rate::Nanos;
use lb_core::member::MemberState;
use lb_core::persistence::Secret;
use lb_core::snapshot::Snapshot;
use lb_core::time::Millis;
use tokio::sync::Notify;

use crate::clock;
use crate::memory::Memory;
use crate::observe::queue::Log;
use crate::observe::stats::WorkerCell;
use crate::room::{Room, Shortage, try_enter};

/// See the module.
#[derive(Debug)]
pub struct Process {
    /// What is being served. Written by the control thread only.
    pub snapshot: ArcSwap<Snapshot>,
    /// Lines on their way out.
    pub log: Arc<Log>,
    /// How many connections there may be.
    pub room: Room,
    /// Makes what clients could otherwise foresee unforeseeable: places in tables they fill.
    pub seed: u64,
    began: Instant,
    panics: AtomicU64,
    /// Acceptors that wait for a listener below its limit.
    pub admission: Admission,
    /// Members that live traffic makes suspect.
    pub suspects: Suspects,
    cut: AtomicBool,
    workers: Box<[WorkerCell]>,
    /// For each worker: others ask it to make room.
    calls: Box<[Call]>,
    live_workers: AtomicUsize,
    draining: AtomicBool,
}

impl Process {
    /// Room for `workers_max` workers, within `memory`. `secret`: what cookies are made unforgeable with.
    pub fn new(workers_max: usize, memory: Memory, secret: Secret) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(Snapshot::keyed(secret)),
            log: Arc::new(Log::new(workers_max)),
            room: Room::new(memory),
            seed: RandomState::new().build_hasher().finish(),
            began: Instant::now(),
            panics: AtomicU64::new(0),
            admission: Admission::default(),
            suspects: Suspects::default(),
            cut: AtomicBool::new(false),
            workers: (0..workers_max).map(|_| WorkerCell::default()).collect(),
            calls: (0..workers_max).map(|_| Call::default()).collect(),
            live_workers: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Most workers this process can have.
    pub fn workers_max(&self) -> usize {
        self.workers.len()
    }

    /// Milliseconds since the process began.
    pub fn now(&self) -> Millis {
        self.millis(clock::now().into_std())
    }

    /// An instant, in milliseconds since the process began.
    pub fn millis(&self, instant: Instant) -> Millis {
        Millis(instant.saturating_duration_since(self.began).as_millis() as u64)
    }

    /// The time in nanoseconds since the process began: what rates are held against.
    pub fn nanos(&self) -> Nanos {
        Nanos(clock::now().into_std().saturating_duration_since(self.began).as_nanos() as u64)
    }

    /// The instant so many milliseconds after the process began.
    pub fn instant(&self, millis: Millis) -> Instant {
        self.began + Duration::from_millis(millis.0)
    }

    /// Connections from clients, open now.
    pub fn connections(&self) -> u32 {
        self.room.taken()
    }

    /// A session ended in a panic.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions that ended in a panic.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Figures of one worker, written by it alone.
    pub fn worker(&self, index: usize) -> &WorkerCell {
        &self.workers[index]
    }

    /// Sessions of all workers that have yet to send a whole request, as far as is known.
    pub fn headless(&self) -> u64 {
        self.workers[..self.live_workers()].iter().map(|cell| cell.headless.get()).sum()
    }

    /// Worker `by` is short of something: all others are asked to make room for it.
    pub fn call_for_room(&self, by: usize, shortage: Shortage) {
        for (_, call) in self.calls[..self.live_workers()].iter().enumerate().filter(|(index, _)| *index != by) {
            call.say(shortage);
        }
    }

    /// Waits until another worker than `index` needs room.
    pub async fn called_for_room(&self, index: usize) -> Shortage {
        self.calls[index].heard().await
    }

    /// Figures of all workers that run.
    pub fn worker_totals(&self) -> Vec<WorkerStats> {
        self.workers[..self.live_workers()].iter().map(WorkerCell::read).collect()
    }

    /// How many workers run. They never get fewer.
    pub fn live_workers(&self) -> usize {
        self.live_workers.load(Ordering::Relaxed)
    }

    /// One more worker runs.
    pub fn worker_started(&self) {
        self.live_workers.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections to some members are to be closed: their sessions have to be woken.
    pub fn cut_wanted(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// True once after each [`Self::cut_wanted`].
    pub fn take_cut(&self) -> bool {
        self.cut.swap(false, Ordering::AcqRel)
    }

    /// Nothing new is accepted from now on.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// See [`Self::begin_draining`].
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// What one worker was asked for by others.
#[derive(Debug, Default)]
struct Call {
    /// Of each kind of shortage: whether it was met and nobody has heard of it.
    met: [AtomicBool; 2],
    said: Notify,
}

impl Call {
    fn say(&self, shortage: Shortage) {
        if !self.met[shortage as usize].swap(true, Ordering::AcqRel) {
            self.said.notify_one();
        }
    }

    async fn heard(&self) -> Shortage {
        loop {
            let met = |shortage: &Shortage| self.met[*shortage as usize].swap(false, Ordering::AcqRel);
            if let Some(shortage) = [Shortage::Memory, Shortage::Descriptors].into_iter().find(met) {
                return shortage;
            }
            self.said.notified().await;
        }
    }
}

/// Members named by workers because live traffic failed on them, until the control thread looks.
#[derive(Debug, Default)]
pub struct Suspects {
    members: Mutex<Vec<Arc<MemberState>>>,
    named: Notify,
}

impl Suspects {
    /// Names one. Happens once in a row of failures, so a lock is no burden.
    pub fn name(&self, member: Arc<MemberState>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if !members.iter().any(|known| Arc::ptr_eq(known, &member)) {
            members.push(member);
        }
        drop(members);
        self.named.notify_one();
    }

    /// All that were named since the last call.
    pub fn take(&self) -> Vec<Arc<MemberState>> {
        std::mem::take(&mut *self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until one is named.
    pub async fn named(&self) {
        self.named.notified().await;
    }
}

/// Where clients of a full listener wait. A place is taken by counting up and looking; whoever frees one tells
/// those who wait. The counts are sequentially consistent, so that no freed place goes unnoticed.
#[derive(Debug, Default)]
pub struct Admission {
    waiting: AtomicU32,
    freed: Notify,
}

/// What a listener counts against its limit, and the limit.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Connections open, of all workers.
    pub admitted: Arc<AtomicU32>,
    /// Most of them.
    pub limit: Option<u32>,
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The listener has as many connections as it may.
    Listener,
    /// The process has.
    Process,
}

/// One place below a listener's limit and below the process's, given back when dropped.
#[derive(Debug)]
pub struct Place {
    admitted: Arc<AtomicU32>,
    process: Arc<Process>,
}

impl Place {
    /// Takes a place if there is one now.
    pub fn take(process: &Arc<Process>, gate: &Gate) -> Result<Self, Full> {
        if !try_enter(&gate.admitted, gate.limit) {
            return Err(Full::Listener);
        }
        if !process.room.enter() {
            gate.admitted.fetch_sub(1, Ordering::SeqCst);
            return Err(Full::Process);
        }
        Ok(Self { admitted: Arc::clone(&gate.admitted), process: Arc::clone(process) })
    }

    /// Waits for a place. `gate` says which listener's, and is asked again whenever something has changed;
    /// `None`: it has no listener any more.
    pub async fn wait(process: &Arc<Process>, gate: impl Fn() -> Option<Gate>) -> Option<Self> {
        let admission = &process.admission;
        admission.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&admission.waiting);
        loop {
            let freed = admission.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Ok(place) = Self::take(process, &gate()?) {
                return Some(place);
            }
            freed.await;
        }
    }

    /// True if the place is one of those that `admitted` counts.
    pub fn counts_in(&self, admitted: &Arc<AtomicU32>) -> bool {
        Arc::ptr_eq(&self.admitted, admitted)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admitted.fetch_sub(1, Ordering::SeqCst);
        self.process.room.leave();
        self.process.admission.recheck();
    }
}

impl Admission {
    /// A place may have become free, or the listener another one.
    pub fn recheck(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
