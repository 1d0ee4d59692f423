//! Which cores a thread may use, and how full they were.

use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// Who runs where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layout {
    /// Cores of the proxy under test.
    pub proxy: Vec<usize>,
    /// Cores of everything else: load, members, log sink.
    pub load: Vec<usize>,
    /// Data threads of each proxy.
    pub threads: usize,
}

/// Pins the calling thread, and with it all it starts.
pub fn pin(cores: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot use cores {cores:?}"))
}

/// Runs `start` pinned to `cores`, then goes back to `home`. What `start` starts stays there.
pub fn pinned<T>(cores: &[usize], home: &[usize], start: impl FnOnce() -> T) -> anyhow::Result<T> {
    pin(cores)?;
    let started = start();
    pin(home)?;
    Ok(started)
}

/// Idle time of each core since the machine started, and when that was read.
#[derive(Clone, Debug)]
pub struct Clock {
    at: Instant,
    idle: Vec<Duration>,
}

impl Clock {
    /// Reads it.
    pub fn read() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let at = Instant::now();
        let tick = 1000 / rustix::param::clock_ticks_per_second();
        let idle = text
            .lines()
            .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
            .map(|line| {
                // user nice system idle iowait ...
                let waited = line.split_whitespace().skip(4).take(2).filter_map(|n| n.parse::<u64>().ok()).sum::<u64>();
                Duration::from_millis(waited * tick)
            })
            .collect();
        Ok(Self { at, idle })
    }

    /// How full `cores` were between `self` and `later`, 0 to 1.
    pub fn full(&self, later: &Self, cores: &[usize]) -> f64 {
        let wall = later.at.duration_since(self.at).as_secs_f64();
        let idle = |clock: &Self, core: usize| clock.idle.get(core).copied().unwrap_or_default().as_secs_f64();
        let free: f64 = cores.iter().map(|core| idle(later, *core) - idle(self, *core)).sum();
        (1.0 - free / (wall * cores.len().max(1) as f64)).clamp(0.0, 1.0)
    }
}

/// The load average, as the kernel writes it.
pub fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
