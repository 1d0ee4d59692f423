//! What processes have used: run time, its split, context switches, memory.

use std::ops::Sub;
use std::time::Duration;

use anyhow::Context;

/// Figures of some processes since they began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a core (scheduler's count, nanoseconds).
    pub run: Duration,
    /// Of it in user mode (ticks: only the proportion is used).
    user: Duration,
    /// Of it in the kernel.
    system: Duration,
    /// Context switches, voluntary and involuntary.
    pub switches: u64,
}

impl Usage {
    /// Reads them of all threads of `pids`.
    pub fn read(pids: &[u32]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for pid in pids {
            let folder = format!("/proc/{pid}/task");
            for entry in std::fs::read_dir(&folder).with_context(|| format!("process {pid} is gone"))? {
                // A thread may end in between.
                let _ = all.add_thread(&entry?.path());
            }
        }
        Ok(all)
    }

    fn add_thread(&mut self, folder: &std::path::Path) -> std::io::Result<()> {
        let run = std::fs::read_to_string(folder.join("schedstat"))?;
        let run = run.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        self.run += Duration::from_nanos(run);
        let tick = 1000 / rustix::param::clock_ticks_per_second();
        let stat = std::fs::read_to_string(folder.join("stat"))?;
        // After the name: state is the 3rd field of proc_pid_stat(5), utime the 14th, stime the 15th.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let mut times = fields.split_whitespace().skip(11).filter_map(|n| n.parse::<u64>().ok());
        self.user += Duration::from_millis(times.next().unwrap_or(0) * tick);
        self.system += Duration::from_millis(times.next().unwrap_or(0) * tick);
        let status = std::fs::read_to_string(folder.join("status"))?;
        let switches = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
        self.switches += switches.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
        Ok(())
    }

    /// Share of the run time that was in user mode.
    pub fn user_share(&self) -> f64 {
        let (user, system) = (self.user.as_secs_f64(), self.system.as_secs_f64());
        if user + system > 0.0 { user / (user + system) } else { 0.0 }
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            run: self.run.saturating_sub(before.run),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// Memory of some processes, in kB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional set size.
    pub pss: u64,
    /// Its anonymous part: heap and stacks.
    pub anonymous: u64,
}

impl Memory {
    /// Reads it of `pids`.
    pub fn read(pids: &[u32]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for pid in pids {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            all.pss += field("Pss:");
            all.anonymous += field("Pss_Anon:");
        }
        Ok(all)
    }
}
