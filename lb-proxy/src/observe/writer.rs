//! The log thread: takes batches from the workers' queues, formats them, writes them, sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::format::{self, WallClock};
use super::queue::{Batch, Log};
use super::record::SinkId;
use super::sink::Sink;

/// While there is traffic, batches are taken this often.
const BATCH_EVERY: Duration = Duration::from_millis(5);
/// Stack of the thread; it formats into memory it keeps.
const STACK: usize = 128 * 1024;

/// Tells the log thread to open its files again, or to end.
#[derive(Debug, Default)]
pub struct Orders {
    reopen: AtomicBool,
    stop: AtomicBool,
}

/// The running log thread.
#[derive(Debug)]
pub struct Writer {
    log: Arc<Log>,
    orders: Arc<Orders>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Starts it.
    pub fn start(log: Arc<Log>) -> std::io::Result<Self> {
        let orders = Arc::<Orders>::default();
        let (for_thread, log_for_thread) = (Arc::clone(&orders), Arc::clone(&log));
        let thread = std::thread::Builder::new()
            .name("weir-log".into())
            .stack_size(STACK)
            .spawn(move || run(&log_for_thread, &for_thread))?;
        log.attach_writer(thread.thread().clone());
        Ok(Self { log, orders, thread })
    }

    /// Closes all files and opens them at the next line: after they were rotated.
    pub fn reopen(&self) {
        self.orders.reopen.store(true, Ordering::Release);
        self.log.wake();
    }

    /// Writes what waits and ends, within `patience`: a sink that blocks must not keep the process alive.
    pub fn stop(self, patience: Duration) {
        self.orders.stop.store(true, Ordering::Release);
        self.log.wake();
        let deadline = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

fn run(log: &Log, orders: &Orders) {
    let mut targets = Targets::default();
    let mut batch = Batch::default();
    let mut quiet = false;
    loop {
        let stopping = orders.stop.load(Ordering::Acquire);
        if orders.reopen.swap(false, Ordering::AcqRel) {
            targets.sinks.clear();
        }
        let wrote = log.take(&mut batch, |batch| targets.write(log, batch));
        match (wrote, stopping) {
            (true, _) => quiet = false,
            (false, true) => return,
            (false, false) if quiet => std::thread::park(),
            (false, false) => {
                // One more look after the flag is up, so that no line waits for the next one to come.
                log.fall_asleep();
                batch.release();
                targets.release();
                quiet = true;
                continue;
            }
        }
        if wrote && !stopping {
            std::thread::park_timeout(BATCH_EVERY);
        }
    }
}

/// Every target that lines go to, in the order they were registered.
#[derive(Default)]
struct Targets {
    sinks: Vec<Target>,
    clock: WallClock,
}

/// One of them, opened when its first line comes.
#[derive(Default)]
struct Target {
    sink: Option<Sink>,
    /// It could not be opened; it is tried again with the next batch.
    failed: bool,
}

impl Targets {
    fn write(&mut self, log: &Log, batch: &Batch) {
        // Records carry monotonic time; the wall clock is asked once a batch.
        let (now, wall) = (Instant::now(), Timestamp::now());
        for (record, words) in batch.iter() {
            let Some(sink) = sink(&mut self.sinks, log, record.sink) else {
                log.drop_lines(1);
                continue;
            };
            let age = SignedDuration::try_from(now.saturating_duration_since(record.began)).unwrap_or_default();
            let began = wall.checked_sub(age).unwrap_or(wall);
            let (format, clock) = (sink.format, &mut self.clock);
            let lost = sink.put(wall, |out| format::line(format, record, words, began, clock, out));
            log.drop_lines(lost);
        }
        for target in &mut self.sinks {
            target.failed = false;
            log.drop_lines(target.sink.as_mut().map_or(0, Sink::flush));
        }
    }

    fn release(&mut self) {
        self.sinks.iter_mut().filter_map(|target| target.sink.as_mut()).for_each(Sink::release);
    }
}

fn sink<'s>(targets: &'s mut Vec<Target>, log: &Log, id: SinkId) -> Option<&'s mut Sink> {
    let place = usize::from(id.0);
    if place >= targets.len() {
        targets.resize_with(place + 1, Target::default);
    }
    let target = &mut targets[place];
    if target.sink.is_none() && !target.failed {
        let settings = log.settings(id)?;
        target.sink = Sink::open(&settings, settings.format?).ok();
        target.failed = target.sink.is_none();
    }
    target.sink.as_mut()
}
