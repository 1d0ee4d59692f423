//! From workers to the log thread: one bounded queue for each worker, emptied in batches.
//!
//! A worker copies a record's figures and words into its queue; the lock around it is contended only for the
//! moment in which the log thread swaps the batch away. When the queue is full the line is dropped and counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::Thread;

use lb_core::config::LogSettings;

use super::record::{Record, SinkId, Words};

/// Most bytes of words waiting in one queue.
const TEXT_MAX: usize = 1024 * 1024;
/// Most records waiting in one queue: a few megabytes.
const RECORDS_MAX: usize = 16 * 1024;
/// Longest request line kept, in bytes (HAProxy's lines end at 1024).
pub const LINE_MAX: usize = 1024;

/// The logging of a process.
#[derive(Debug)]
pub struct Log {
    queues: Box<[Mutex<Batch>]>,
    dropped: AtomicU64,
    sinks: RwLock<Vec<Arc<LogSettings>>>,
    asleep: AtomicBool,
    writer: Mutex<Option<Thread>>,
}

/// Records with their words, in order.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<(Record, Lengths)>,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Lengths {
    listener: u16,
    pool: Option<u16>,
    member: Option<u16>,
    policy: Option<u16>,
    line: u16,
}

impl Log {
    /// Queues for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            queues: (0..workers).map(|_| Mutex::default()).collect(),
            dropped: AtomicU64::new(0),
            sinks: RwLock::default(),
            asleep: AtomicBool::new(true),
            writer: Mutex::default(),
        }
    }

    /// The sink for `settings`, or `None` when they ask for no lines.
    pub fn register(&self, settings: &LogSettings) -> Option<SinkId> {
        settings.format?;
        let mut sinks = self.sinks.write().unwrap_or_else(PoisonError::into_inner);
        let place = sinks.iter().position(|s| **s == *settings).unwrap_or_else(|| {
            sinks.push(Arc::new(settings.clone()));
            sinks.len() - 1
        });
        u16::try_from(place).ok().map(SinkId)
    }

    /// What a sink was registered for.
    pub fn settings(&self, sink: SinkId) -> Option<Arc<LogSettings>> {
        let sinks = self.sinks.read().unwrap_or_else(PoisonError::into_inner);
        sinks.get(usize::from(sink.0)).cloned()
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes `n` lost lines.
    pub fn drop_lines(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// Notes one line. Called by the worker that `worker` names.
    pub fn note(&self, worker: usize, record: &Record, words: Words<'_>) {
        {
            let mut batch = self.queues[worker].lock().unwrap_or_else(PoisonError::into_inner);
            if batch.text.len() >= TEXT_MAX || batch.records.len() >= RECORDS_MAX {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            batch.push(record, words);
        }
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Wakes the log thread.
    pub fn wake(&self) {
        if let Some(thread) = &*self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }

    /// Names the thread that [`Self::note`] wakes.
    pub fn attach_writer(&self, thread: Thread) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// The log thread is about to sleep until woken; it looks once more after this.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// Takes what waits in each queue, leaving `spare` (empty, with its memory) in its place.
    pub fn take(&self, spare: &mut Batch, mut with: impl FnMut(&Batch)) -> bool {
        let mut any = false;
        for queue in &self.queues {
            {
                let mut waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.records.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *waiting, spare);
            }
            any = true;
            with(spare);
            spare.clear();
        }
        any
    }
}

impl Batch {
    fn push(&mut self, record: &Record, words: Words<'_>) {
        let line = &words.line[..words.line.len().min(LINE_MAX)];
        self.text.extend_from_slice(words.listener.as_bytes());
        self.text.extend_from_slice(words.pool.unwrap_or_default().as_bytes());
        self.text.extend_from_slice(words.member.unwrap_or_default().as_bytes());
        if let Some(policy) = words.policy {
            self.text.extend_from_slice(policy.as_bytes());
        }
        self.text.extend_from_slice(line);
        let lengths = Lengths {
            listener: words.listener.len() as u16,
            pool: words.pool.map(|p| p.len() as u16),
            member: words.member.map(|m| m.len() as u16),
            policy: words.policy.map(|p| p.len() as u16),
            line: line.len() as u16,
        };
        self.records.push((*record, lengths));
    }

    /// Every record with its words.
    pub fn iter(&self) -> impl Iterator<Item = (&Record, Words<'_>)> {
        let mut rest = &self.text[..];
        self.records.iter().map(move |(record, lengths)| {
            let mut next = |len: u16| {
                let (word, after) = rest.split_at(usize::from(len));
                rest = after;
                word
            };
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or("?");
            let words = Words {
                listener: text(next(lengths.listener)),
                pool: lengths.pool.map(|len| text(next(len))),
                member: lengths.member.map(|len| text(next(len))),
                policy: lengths.policy.map(|len| text(next(len))),
                line: next(lengths.line),
            };
            (record, words)
        })
    }

    /// Empties it; memory beyond what a busy moment needs is given back.
    fn clear(&mut self) {
        self.records.clear();
        self.text.clear();
        if self.text.capacity() > 128 * 1024 {
            self.text.shrink_to(16 * 1024);
            self.records.shrink_to(64);
        }
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        *self = Self::default();
    }
}
