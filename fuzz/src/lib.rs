//! What must hold for whatever bytes come: a target for each place where bytes of others are read. `fuzz/run` looks for bytes for which
//! it does not hold; what it found is kept under `found/` and tried by this crate's test from then on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says with a panic that it does not hold"
)]

mod drive;
mod drive_h2;
mod forwarded;
mod judge;
mod reference;
mod targets;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, Timespec, clock_gettime};

pub use targets::TARGETS;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most processor time one input may take, in nanoseconds: more is a hang.
const BUSY_NS_MAX: i64 = 1_000_000_000;
/// Most memory one input may take at once, in bytes, beside a multiple of its own length.
const MEMORY_MAX: usize = 4 << 20;
/// And that multiple.
const MEMORY_PER_BYTE_MAX: usize = 128;

/// One place where bytes of others are read.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folders under `corpus/` and `found/`.
    pub name: &'static str,
    /// Panics if what must hold does not.
    pub run: fn(&[u8]),
    /// Longest input that says anything new, in bytes.
    pub len_max: usize,
    /// A file under `words/` with what its inputs are made of, without which few come about; may be empty.
    pub words: &'static str,
    /// Other targets whose corpora are of the same kind.
    pub also: &'static [&'static str],
}

/// Runs a target on one input, and holds it to its time and memory. Threads that run targets at the same time count as one.
pub fn hold(target: &Target, bytes: &[u8]) {
    let began = clock_gettime(ClockId::ThreadCPUTime);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    (target.run)(bytes);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let busy_ns = nanoseconds(clock_gettime(ClockId::ThreadCPUTime)) - nanoseconds(began);
    assert!(busy_ns <= BUSY_NS_MAX, "{}: {} bytes took {} ms", target.name, bytes.len(), busy_ns / 1_000_000);
    let most = MEMORY_MAX + MEMORY_PER_BYTE_MAX * bytes.len();
    assert!(taken <= most, "{}: {} bytes took {taken} bytes of memory", target.name, bytes.len());
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
