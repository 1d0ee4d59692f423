//! A thousand members asked every two seconds: what that takes, and how even it is. The members are addresses of
//! 127/8 with one server behind all of them, which notes when each question came.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::pause;
use crate::process::Process;
use crate::usage::Usage;

/// Until everybody was asked and the last document is forgotten.
const SETTLE: Duration = Duration::from_secs(3);
/// Questions are counted in windows of this length.
pub const WINDOW: Duration = Duration::from_millis(100);

/// What is asked of how many, and for how long that is watched.
#[derive(Clone, Debug)]
pub struct Checks {
    /// `TCP`, `HTTP`; or `none`: nobody is asked.
    pub kind: String,
    /// Members.
    pub members: u32,
    /// From question to question.
    pub delay: Duration,
    /// How long it is watched.
    pub watched: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Processor time of the data plane, as a share of one core.
    pub cpu: f64,
    /// Questions in each window.
    pub windows: Vec<usize>,
    /// Threads of the data plane.
    pub threads: usize,
    /// Its descriptors before and after.
    pub descriptors: (usize, usize),
    /// Its anonymous memory, kB.
    pub anonymous_kb: u64,
    /// Members it took for down at the end.
    pub down: usize,
}

impl Seen {
    /// Questions in all windows.
    pub fn asked(&self) -> usize {
        self.windows.iter().sum()
    }
}

type Times = Arc<Mutex<Vec<Instant>>>;

/// Answers whoever comes, one after the other, and notes when.
fn serve(listener: &TcpListener, http: bool, times: &Times) {
    let mut buffer = [0; 1024];
    while let Ok((mut stream, _)) = listener.accept() {
        times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        if http && stream.read(&mut buffer).is_ok() {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        // Left open until the other side ends it, which it does by a reset: nothing waits here.
        let _ = stream.read(&mut buffer);
    }
}

/// Plays one, with the data plane at `program`.
pub fn play(checks: &Checks, program: &Path, folder: &Path) -> anyhow::Result<Seen> {
    let times = Times::default();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("the members cannot listen")?;
    let port = listener.local_addr()?.port();
    let (seen, http) = (Arc::clone(&times), checks.kind == "HTTP");
    std::thread::spawn(move || serve(&listener, http, &seen));

    let members: Vec<_> = (0..checks.members)
        .map(|n| json!({"address": Ipv4Addr::from((127 << 24 | 70 << 16) + 256 + n), "protocol_port": port}))
        .collect();
    let mut pool = json!({"name": "back", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": members});
    if checks.kind != "none" {
        let delay = checks.delay.as_secs_f64();
        pool["healthmonitor"] =
            json!({"type": checks.kind, "delay": delay, "timeout": delay, "max_retries": 2, "max_retries_down": 3});
    }
    let vip = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let document = json!({"loadbalancer": {
        "name": "checks", "vip_address": vip.ip(), "workers": 2,
        "listeners": [{"name": "front", "protocol": "HTTP", "protocol_port": vip.port(), "log": false, "default_pool": pool}],
    }});
    let config = folder.join("checks.json");
    std::fs::write(&config, document.to_string())?;
    let mut proxy = Process::start("lb-proxy", program, &["--config", &config.to_string_lossy()], folder)?;
    proxy.wait_port(vip)?;
    pause(SETTLE);

    let pids = proxy.pids();
    let pid = pids[0];
    let before = (Usage::read(&pids)?, descriptors(pid));
    let began = Instant::now();
    pause(checks.watched);
    let (used, took) = (Usage::read(&pids)? - before.0, began.elapsed());
    proxy.must_run()?;
    let down = std::fs::read_to_string(folder.join("lb-proxy.output"))?.matches("UP -> DOWN").count();
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let mut windows = vec![0; (took.as_millis() / WINDOW.as_millis()) as usize];
    ensure!(!windows.is_empty(), "nothing was watched");
    for at in times.iter().filter_map(|at| at.checked_duration_since(began)) {
        if let Some(window) = windows.get_mut((at.as_millis() / WINDOW.as_millis()) as usize) {
            *window += 1;
        }
    }
    Ok(Seen {
        cpu: used.run.as_secs_f64() / took.as_secs_f64(),
        windows,
        threads: std::fs::read_dir(format!("/proc/{pid}/task"))?.count(),
        descriptors: (before.1, descriptors(pid)),
        anonymous_kb: anonymous_kb(pid),
        down,
    })
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn anonymous_kb(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
