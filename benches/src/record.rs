//! What rounds leave behind, as it is kept in `results.json`.

use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// How much is played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Effort {
    /// Rounds of each kind.
    pub rounds: usize,
    /// Of one round, in seconds.
    pub seconds: u64,
    /// Count system calls, too.
    pub syscalls: bool,
}

/// What a proxy spent in one round.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Processor time for one request, microseconds.
    pub cpu_us: f64,
    /// Of it in user mode.
    pub user_us: f64,
    /// Of it in the kernel.
    pub system_us: f64,
    /// Context switches for one request.
    pub switches: f64,
    /// Log lines that arrived for one request.
    pub lines: f64,
    /// How full the proxy's cores were, whoever used them.
    pub proxy_cores: f64,
    /// How much of them the proxy itself used.
    pub proxy_share: f64,
    /// How full the load's cores were.
    pub load_cores: f64,
}

/// A round of as much as goes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PeakRound {
    /// Requests in a second.
    pub rps: f64,
    /// What it cost.
    pub cost: Cost,
}

/// A round at a fixed rate. Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RateRound {
    /// Half were answered within.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// All.
    pub max: f64,
    /// Requests not answered in time: it could not keep up.
    pub unanswered: u64,
    /// The longest that the load itself came late.
    pub late: f64,
    /// What it cost.
    pub cost: Cost,
}

/// All of one proxy in one scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Played {
    /// Its name.
    pub name: String,
    /// Why it did not play, if it did not.
    pub absent: Option<String>,
    /// Rounds of as much as goes.
    pub peak: Vec<PeakRound>,
    /// Rounds at the rate.
    pub rate: Vec<RateRound>,
    /// Memory (PSS) after the rounds, in kB.
    pub pss_kb: u64,
    /// Anonymous memory for each idle connection, in bytes.
    pub idle_bytes: Vec<f64>,
    /// System calls for one request, if they were counted.
    pub syscalls: Option<f64>,
}

/// One scenario as it was played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was played.
    pub scenario: Scenario,
    /// By whom.
    pub played: Vec<Played>,
    /// Requests in a second in rounds at a rate.
    pub rate: f64,
    /// The load had cores of its own.
    pub apart: bool,
    /// Load average at its beginning and end.
    pub load_average: [String; 2],
    /// Why it is void.
    pub error: Option<String>,
}
