//! The log thread: takes batches from the workers' queues, formats them, writes them, sleeps.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::format;
use super::queue::{Batch, Log};
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
    let mut sinks: HashMap<u16, Option<Sink>> = HashMap::new();
    let mut batch = Batch::default();
    let mut line = String::new();
    let mut quiet = false;
    loop {
        let stopping = orders.stop.load(Ordering::Acquire);
        if orders.reopen.swap(false, Ordering::AcqRel) {
            sinks.clear();
        }
        let wrote = log.take(&mut batch, |batch| write_batch(log, batch, &mut sinks, &mut line));
        match (wrote, stopping) {
            (true, _) => quiet = false,
            (false, true) => return,
            (false, false) if quiet => std::thread::park(),
            (false, false) => {
                // One more look after the flag is up, so that no line waits for the next one to come.
                log.fall_asleep();
                batch.release();
                quiet = true;
                continue;
            }
        }
        if wrote && !stopping {
            std::thread::park_timeout(BATCH_EVERY);
        }
    }
}

fn write_batch(log: &Log, batch: &Batch, sinks: &mut HashMap<u16, Option<Sink>>, line: &mut String) {
    // Records carry monotonic time; the wall clock is asked once a batch.
    let (now, wall) = (Instant::now(), Timestamp::now());
    for (record, words) in batch.iter() {
        let Some(settings) = log.settings(record.sink) else { continue };
        let Some(format) = settings.format else { continue };
        let age = SignedDuration::try_from(now.saturating_duration_since(record.began)).unwrap_or_default();
        let began = wall.checked_sub(age).unwrap_or(wall);
        let sink = sinks.entry(record.sink.0).or_insert_with(|| Sink::open(&settings).ok());
        let Some(sink) = sink else {
            log.drop_lines(1);
            continue;
        };
        line.clear();
        format::line(format, record, words, began, line);
        log.drop_lines(sink.put(line, wall));
    }
    for sink in sinks.values_mut().flatten() {
        log.drop_lines(sink.flush());
    }
    // A target that could not be opened is tried again with the next batch.
    sinks.retain(|_, sink| sink.is_some());
}
