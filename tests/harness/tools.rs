//! Programs others wrote, run to the end: wrk, curl, ip.

use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What wrk reports.
#[derive(Clone, Debug, Default)]
pub struct WrkReport {
    /// Requests answered.
    pub requests: u64,
    /// Requests a second.
    pub rate: f64,
    /// Connect, read, write and timeout errors together.
    pub socket_errors: u64,
    /// Answers that are not 2xx or 3xx.
    pub bad_statuses: u64,
    /// All it wrote.
    pub text: String,
}

/// Runs a command and returns what it wrote; panics if it fails.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"))
}

/// wrk with `connections` for `seconds` against `url`, started by `prefix` (a network namespace, or nothing).
pub fn wrk_command(connections: u32, seconds: u32, url: &str) -> Vec<String> {
    let (c, d) = (connections.to_string(), format!("{seconds}s"));
    ["wrk", "-t", "1", "-c", &c, "-d", &d, url].map(str::to_owned).to_vec()
}

/// Reads wrk's report.
pub fn wrk_report(text: String) -> WrkReport {
    let mut report = WrkReport::default();
    for line in text.lines().map(str::trim) {
        if let Some((count, _)) = line.split_once(" requests in ") {
            report.requests = count.parse().unwrap();
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            report.rate = rate.trim().parse().unwrap();
        } else if let Some(errors) = line.strip_prefix("Socket errors:") {
            report.socket_errors =
                errors.split(',').filter_map(|w| w.split_whitespace().last()?.parse::<u64>().ok()).sum();
        } else if let Some(bad) = line.strip_prefix("Non-2xx or 3xx responses:") {
            report.bad_statuses = bad.trim().parse().unwrap();
        }
    }
    assert!(report.requests > 0, "wrk got no answer:\n{text}");
    report.text = text;
    report
}

/// Runs wrk on this machine's loopback.
pub fn wrk(connections: u32, seconds: u32, url: &str) -> WrkReport {
    let words = wrk_command(connections, seconds, url);
    wrk_report(run(Command::new(&words[0]).args(&words[1..])))
}

/// Lets this process open as many connections as it may at all; how many that is, less what a test needs besides.
pub fn connections_possible() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(most).unwrap().saturating_sub(200)
}
