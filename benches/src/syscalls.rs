//! Counting system calls of processes: with `perf`, which hardly disturbs, else with `strace`, which slows the proxy down
//! (and so makes it find more work at each wait).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::pause;

/// For the counter to attach.
const ATTACH: Duration = Duration::from_millis(500);

/// A running count.
#[derive(Debug)]
pub struct Counter {
    child: Child,
    output: PathBuf,
    strace: bool,
}

impl Counter {
    /// Begins to count calls of `pids`.
    pub fn start(pids: &[u32], folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(pids, folder, false).or_else(|_| Self::start_with(pids, folder, true))
    }

    fn start_with(pids: &[u32], folder: &Path, strace: bool) -> anyhow::Result<Self> {
        let output = folder.join("syscalls");
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut command = Command::new(if strace { "strace" } else { "perf" });
        if strace {
            command.args(["-c", "-f", "-q", "-o"]).arg(&output);
            pids.iter().for_each(|pid| {
                command.args(["-p", pid]);
            });
        } else {
            command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o"]).arg(&output);
            command.arg("-p").arg(pids.join(","));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut counter = Self { child, output, strace };
        pause(ATTACH);
        if let Some(status) = counter.child.try_wait()? {
            bail!("the counter ended: {status}");
        }
        Ok(counter)
    }

    /// Ends it; calls counted.
    pub fn stop(mut self) -> anyhow::Result<u64> {
        self.interrupt();
        self.child.wait()?;
        let text = std::fs::read_to_string(&self.output).context("the counter wrote nothing")?;
        let count = if self.strace {
            // % time, seconds, usecs/call, calls, [errors,] total
            let total = text.lines().find(|line| line.trim_end().ends_with("total"));
            total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        } else {
            let line = text.lines().find(|line| line.contains("sys_enter"));
            line.and_then(|line| line.split(',').next()?.parse().ok())
        };
        count.with_context(|| format!("the counter wrote {text:?}"))
    }

    fn interrupt(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.interrupt();
            let _ = self.child.wait();
        }
    }
}
