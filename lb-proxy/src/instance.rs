//! One VIP's life: documents applied while it serves, sockets passed on, an end that lets sessions finish.

use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_control::events::{Event, EventKind, Subject};
use lb_control::handoff::{HandoffStore, Sockets};
use lb_control::instance::Applied;
use lb_control::listen::ListenError;
use lb_control::stats::CertificateStats;
use lb_core::config::{LoadBalancer, Pool, WORKERS_MAX};
use lb_core::persistence::Secret;
use lb_core::snapshot::Snapshot;
use lb_core::spec::{self, Mistakes};
use lb_core::time::Millis;
use lb_health::Pinger;
use tokio::sync::{Notify, oneshot};

use crate::health::minder::{MonitorError, Prepared, QUESTIONS_MAX};
use crate::health::{Minder, timeline};
use crate::listener::sockets::SocketBook;
use crate::memory::Memory;
use crate::names::Names;
use crate::privilege;
use crate::process::Process;
use crate::tls::countdown::{self, Countdown};
use crate::tls::table::{Compiler, TlsError, TlsTable};
use crate::worker::{self, Order, WorkerHandle};

/// Why a sound document could not be put in force. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A port cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Threads or descriptors ran out.
    #[error("cannot start serving: {0}")]
    Resources(#[from] io::Error),
    /// The process is about to end.
    #[error("the data plane is draining and takes no documents")]
    Draining,
    /// A monitor cannot ask: its authorities cannot be read, for one.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// A certificate, a key or an authority is no good.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A data thread is gone.
    #[error("a data thread has ended; the data plane must be restarted")]
    WorkerLost,
}

/// TLS as it is in force, and what makes the next.
#[derive(Debug, Default)]
struct Tls {
    compiler: Compiler,
    table: Arc<TlsTable>,
    countdown: Countdown,
}

impl Tls {
    fn publish(&mut self, table: Arc<TlsTable>) {
        self.table = table;
        self.countdown.hasten();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Instance {
    /// What all threads share.
    pub process: Arc<Process>,
    /// Knows how its members fare.
    pub minder: Minder,
    /// Knows where members' names lead.
    pub names: Names,
    workers: Mutex<Vec<WorkerHandle>>,
    tls: Mutex<Tls>,
    sockets: Mutex<SocketBook>,
    applying: tokio::sync::Mutex<()>,
    drain_wanted: Notify,
}

impl Instance {
    /// Serves nothing yet, within `memory`. `pinger` was opened while root was still held, if it ever was. `secret`: what
    /// cookies are made unforgeable with.
    pub fn new(pinger: Pinger, memory: Memory, secret: Secret) -> Arc<Self> {
        let process = Arc::new(Process::new(usize::from(WORKERS_MAX), memory, secret));
        Arc::new(Self {
            minder: Minder::new(Arc::clone(&process), pinger),
            process,
            names: Names::default(),
            workers: Mutex::default(),
            tls: Mutex::default(),
            sockets: Mutex::default(),
            applying: tokio::sync::Mutex::default(),
            drain_wanted: Notify::new(),
        })
    }

    /// Binds what `config` needs and does not have yet, so that privileges can be dropped before threads start.
    pub fn bind_ahead(&self, config: &LoadBalancer) -> Result<(), ApplyError> {
        let mut book = lock(&self.sockets);
        let wanted: Vec<_> = config.sockets().collect();
        let workers = workers_for(config);
        let prepared = book.prepare(&wanted, workers, workers)?;
        book.commit(prepared);
        book.forget_holders();
        // Keys may be for root alone to read.
        let mut tls = lock(&self.tls);
        let Tls { compiler, table, .. } = &mut *tls;
        *table = Arc::new(compiler.compile(config, table)?);
        Ok(())
    }

    /// Puts a document in force. When this returns, every worker serves it and only it: established
    /// connections go on, figures are kept, requests that come now meet the new one.
    pub async fn apply(&self, config: LoadBalancer) -> Result<Applied, ApplyError> {
        let _one_at_a_time = self.applying.lock().await;
        if self.process.draining() {
            return Err(ApplyError::Draining);
        }
        let began = Instant::now();
        let wanted = workers_for(&config);
        self.names.learn(&config).await;
        // Nothing is waited for from here until it is in force: certificates that are read anew meanwhile would be lost.
        let published = self.compile(&config).and_then(|(prepared, tls)| self.publish(config, wanted, &prepared, &tls));
        self.names.keep_to(self.process.snapshot.load().config.as_deref());
        // An offer is for the document that follows it; a port nobody accepts on must not stay open.
        self.forget_offers();
        let (orders, generation) = published?;
        let process = Arc::clone(&self.process);
        // A task of its own: whoever asked may not wait for the answer, and those in queues must hear of it.
        let taken_up = tokio::spawn(async move {
            for done in orders {
                done.await?;
            }
            process.snapshot.load().arrange_queues();
            Ok::<(), oneshot::error::RecvError>(())
        });
        if !matches!(taken_up.await, Ok(Ok(()))) {
            return Err(ApplyError::WorkerLost);
        }
        self.process.admission.recheck();
        crate::sys::trim_heap();
        Ok(Applied { generation, took_us: began.elapsed().as_micros() as u64 })
    }

    fn compile(&self, config: &LoadBalancer) -> Result<(Arc<Prepared>, Arc<TlsTable>), ApplyError> {
        let mut tls = lock(&self.tls);
        let Tls { compiler, table, .. } = &mut *tls;
        let compiled = compiler.compile(config, table);
        compiler.files.forget();
        let table = Arc::new(compiled?);
        Ok((Arc::new(self.minder.prepare(config, &table)?), table))
    }

    fn publish(
        &self,
        config: LoadBalancer,
        wanted: usize,
        prepared: &Arc<Prepared>,
        tls: &Arc<TlsTable>,
    ) -> Result<(Vec<oneshot::Receiver<()>>, u64), ApplyError> {
        let mut book = lock(&self.sockets);
        let mut workers = lock(&self.workers);
        while workers.len() < wanted {
            let worker = worker::start(workers.len(), Arc::clone(&self.process))?;
            workers.push(worker);
            self.process.worker_started();
        }
        if workers.iter().any(|worker| !worker.alive()) {
            return Err(ApplyError::WorkerLost);
        }
        let addresses: Vec<_> = config.sockets().collect();
        let sockets = book.prepare(&addresses, wanted, workers.len())?;
        let changes = book.commit(sockets);
        let own = own_descriptors(&config, workers.len());
        self.process.room.resize(privilege::descriptor_limit(), own, member_connections_max(&config));
        let addresses = self.names.place(&config);
        let mut snapshot =
            Snapshot::build_at(Arc::new(config), &addresses, &self.process.snapshot.load(), workers.len());
        self.minder.adopt(&snapshot, prepared, &addresses);
        if let Some(with_shares) = snapshot.rebuilt() {
            snapshot = with_shares;
        }
        let sinks: Vec<_> = snapshot.listeners.iter().map(|l| self.process.log.register(&l.log)).collect();
        let generation = snapshot.generation;
        lock(&self.tls).publish(Arc::clone(tls));
        self.process.snapshot.store(Arc::new(snapshot));
        let mut waiting = Vec::with_capacity(workers.len());
        for (worker, changes) in workers.iter().zip(changes) {
            let (done, wait) = oneshot::channel();
            let (sinks, tls) = (sinks.clone(), Arc::clone(tls));
            let order = Order::Refresh { open: changes.open, close: changes.close, sinks, tls, done };
            worker.orders.send(order).map_err(|_| ApplyError::WorkerLost)?;
            waiting.push(wait);
        }
        Ok((waiting, generation))
    }

    /// Takes keys and certificates that somebody else has read.
    pub fn give_files(&self, files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) {
        lock(&self.tls).compiler.files.give(files.into_iter().collect());
    }

    /// Reads all certificates and keys anew and shows them from the next handshake on. When one is no good, all stay as
    /// they are.
    pub fn renew_tls(&self) -> Result<(), TlsError> {
        let Some(config) = self.process.snapshot.load().config.clone() else { return Ok(()) };
        let mut tls = lock(&self.tls);
        let Tls { compiler, table, .. } = &mut *tls;
        let compiled = compiler.compile(&config, table);
        compiler.files.forget();
        match compiled {
            Ok(table) => {
                let table = Arc::new(table);
                tls.publish(Arc::clone(&table));
                // Members are asked with what they are shown. What cannot be read for a monitor stays as it was.
                if let Ok(prepared) = self.minder.prepare(&config, &table) {
                    let addresses = self.names.place(&config);
                    self.minder.adopt(&self.process.snapshot.load(), &Arc::new(prepared), &addresses);
                }
                self.tell_certificates(&config, "read anew", "");
            }
            Err(error) => {
                self.tell_certificates(&config, "unchanged", &error.to_string());
                return Err(error);
            }
        }
        drop(tls);
        self.refresh_workers();
        self.minder.wake();
        Ok(())
    }

    /// Certificates in use, the first to end first.
    pub fn certificates(&self) -> Vec<CertificateStats> {
        let Some(config) = self.process.snapshot.load().config.clone() else { return Vec::new() };
        let table = Arc::clone(&lock(&self.tls).table);
        countdown::listed(&table, &config)
    }

    /// Tells of certificates that are about to end, if it is time to look. Returns when it will be again.
    pub fn count_down(&self) -> Option<Millis> {
        let config = self.process.snapshot.load().config.clone()?;
        let mut tls = lock(&self.tls);
        let Tls { table, countdown, .. } = &mut *tls;
        let (news, next) = countdown.look(table, &config, self.process.now(), timeline::unix_ms());
        drop(tls);
        news.into_iter().for_each(|event| self.minder.timeline.tell(event));
        next
    }

    fn tell_certificates(&self, config: &LoadBalancer, new: &str, reason: &str) {
        let (id, name) = (config.id.to_string(), config.name.clone());
        let subject = Subject { kind: "loadbalancer".to_owned(), id, name };
        let (new, reason) = (format!("certificates {new}"), reason.to_owned());
        self.minder.timeline.tell(Event { new, reason, ..Event::new(EventKind::Certificates, subject) });
    }

    /// Puts the same document in force with the shares its members have now.
    pub fn republish(&self) {
        let Some(snapshot) = self.process.snapshot.load().rebuilt() else { return };
        self.process.snapshot.store(Arc::new(snapshot));
        self.refresh_workers();
    }

    /// Puts the same document in force with members where their names lead now.
    pub fn follow_names(&self) {
        let before = self.process.snapshot.load_full();
        let Some(config) = &before.config else { return };
        let addresses = self.names.place(config);
        let workers = lock(&self.workers).len();
        let Some(snapshot) = before.moved(&addresses, workers) else {
            return self.minder.explain(&addresses);
        };
        self.minder.follow(&before, &snapshot, &addresses);
        self.process.snapshot.store(Arc::new(snapshot.rebuilt().unwrap_or(snapshot)));
        let (waiting, process) = (self.order_refresh(), Arc::clone(&self.process));
        // Another member to those in queues, who must be able to find it when they hear of it.
        tokio::spawn(async move {
            for taken_up in waiting {
                let _ = taken_up.await;
            }
            process.snapshot.load().arrange_queues();
        });
    }

    /// Has every worker take up what is in force, which has the same members: those who wait need not be waited for.
    fn refresh_workers(&self) {
        drop(self.order_refresh());
        self.process.snapshot.load().arrange_queues();
    }

    /// Has every worker take up what is in force. Each says when it has.
    fn order_refresh(&self) -> Vec<oneshot::Receiver<()>> {
        let snapshot = self.process.snapshot.load();
        let sinks: Vec<_> = snapshot.listeners.iter().map(|l| self.process.log.register(&l.log)).collect();
        let table = Arc::clone(&lock(&self.tls).table);
        let mut waiting = Vec::new();
        for worker in lock(&self.workers).iter() {
            let (done, wait) = oneshot::channel();
            let (sinks, tls) = (sinks.clone(), Arc::clone(&table));
            let order = Order::Refresh { open: Vec::new(), close: Vec::new(), sinks, tls, done };
            // A worker that is gone is found out by the next document.
            let _ = worker.orders.send(order);
            waiting.push(wait);
        }
        waiting
    }

    /// Has every session look whether it should go on.
    pub fn wake_sessions(&self) {
        for worker in lock(&self.workers).iter() {
            let _ = worker.orders.send(Order::Wake);
        }
    }

    /// Closes sockets that were offered for a document that is not to be.
    pub fn forget_offers(&self) {
        lock(&self.sockets).forget_offers();
    }

    /// How many data threads run.
    pub fn workers(&self) -> usize {
        self.process.live_workers()
    }

    /// Asks for the end of the process, as SIGTERM does.
    pub fn request_drain(&self) {
        self.drain_wanted.notify_one();
    }

    /// Waits until somebody called [`Self::request_drain`].
    pub async fn drain_requested(&self) {
        self.drain_wanted.notified().await;
    }

    /// Accepts nothing more and waits for the sessions to end, for `patience` at most. Returns how many were
    /// left when it ran out.
    pub async fn drain(&self, patience: Duration) -> u32 {
        self.process.begin_draining();
        let mut waiting = Vec::new();
        for worker in lock(&self.workers).iter() {
            let (done, wait) = oneshot::channel();
            if worker.orders.send(Order::Drain { done }).is_ok() {
                waiting.push(wait);
            }
        }
        lock(&self.sockets).close_all();
        let all = async {
            for wait in waiting {
                let _ = wait.await;
            }
        };
        match tokio::time::timeout(patience, all).await {
            Ok(()) => 0,
            Err(_) => self.process.connections(),
        }
    }
}

impl HandoffStore for Instance {
    fn offered(&self, sockets: Sockets) {
        lock(&self.sockets).take_offer(sockets);
    }

    fn held(&self) -> io::Result<Sockets> {
        lock(&self.sockets).duplicates()
    }
}

/// Reads and validates a document on a thread of its own: the stack and most of the memory that takes are
/// gone with it, and a data plane at rest weighs no more for having understood its document.
pub fn understand(origin: &str, text: &str) -> io::Result<Result<LoadBalancer, Mistakes>> {
    std::thread::scope(|scope| {
        let reader =
            std::thread::Builder::new().name("weir-read".into()).spawn_scoped(scope, || spec::read(origin, text))?;
        reader.join().map_err(|_| io::Error::other("reading the document failed"))
    })
}

/// Data threads a document wants: what it says, or one for each processor.
pub fn workers_for(config: &LoadBalancer) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    config.workers.map_or(processors, usize::from).clamp(1, usize::from(WORKERS_MAX))
}

/// Descriptors that `config` takes before the first client comes: the process's own and those of operators and the agent that ask
/// it; each worker's; listening sockets, kept, accepted on, handed on and with a client that waits; logs; and members' checks.
fn own_descriptors(config: &LoadBalancer, workers: usize) -> u64 {
    let asked = |pool: &Pool| pool.members.len() * (pool.monitors.len() + usize::from(pool.agent_check.is_some()));
    let checks = config.pools.iter().map(asked).sum::<usize>().min(QUESTIONS_MAX);
    let listeners = config.listeners.len();
    (OWN_DESCRIPTORS + workers * WORKER_DESCRIPTORS + listeners * (4 * workers + 1) + checks) as u64
}

/// Connections to members there can be at once, in use and kept; `None`: some member has no limit.
fn member_connections_max(config: &LoadBalancer) -> Option<u64> {
    let members = config.pools.iter().flat_map(|pool| &pool.members);
    members.map(|member| member.max_connections.map(|most| 2 * u64::from(most))).sum()
}

const OWN_DESCRIPTORS: usize = 64;
const WORKER_DESCRIPTORS: usize = 8;

/// A panic while the lock was held would have left plain values behind: they are still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
