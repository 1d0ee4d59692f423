//! Processes that end with the test that started them, by their pid, and whose words are kept for the report.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{PATIENCE, until};

/// A started program. Killed on drop; what it wrote is shown when the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its output in files beginning with `output`.
    pub fn start(name: &str, mut command: Command, output: impl Into<PathBuf>) -> Self {
        let output = output.into();
        let (stdout, stderr) = (output.with_extension("stdout"), output.with_extension("stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start ({command:?}): {e}"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap()).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal)
            .unwrap_or_else(|e| panic!("cannot signal {}: {e}", self.name));
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        until(patience, &what, || self.child.try_wait().unwrap())
    }

    /// Waits until a connection to `socket` is taken.
    pub fn wait_port(&mut self, socket: SocketAddr) {
        let what = format!("{} to accept on {socket}", self.name);
        self.wait_ready(&what, || TcpStream::connect(socket).is_ok());
    }

    /// Waits for `ready`; panics at once, with its last words, if the process ends instead.
    pub fn wait_ready(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        until(PATIENCE, what, || {
            if let Some(status) = self.ended() {
                panic!("{} ended ({status}) instead of serving:\n{}{}", self.name, self.stdout(), self.stderr());
            }
            ready().then_some(())
        });
    }

    /// `VmRSS`, threads, … of `/proc/PID/status`.
    pub fn status_field(&self, field: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// Memory it holds, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let held = self.status_field("VmRSS").unwrap_or_default();
        held.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
    }

    /// Memory that is its own share, in kilobytes (`Pss` of `/proc/PID/smaps_rollup`).
    pub fn pss_kb(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time it took so far, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, rest) = text.rsplit_once(')').unwrap();
        let ticks = |n: usize| rest.split_whitespace().nth(n).unwrap().parse::<u64>().unwrap();
        // utime and stime, in hundredths of a second.
        (ticks(11) + ticks(12)) * 10
    }

    /// Descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} wrote:\n{}{}---", self.name, tail(self.stdout()), tail(self.stderr()));
        }
    }
}

fn tail(text: String) -> String {
    let skip = text.lines().count().saturating_sub(60);
    if skip == 0 { text } else { text.lines().skip(skip).map(|l| format!("{l}\n")).collect() }
}
