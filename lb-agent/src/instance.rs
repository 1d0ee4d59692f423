//! One data plane as a process: started inside its namespace, watched, taken over from an earlier agent.
//!
//! Nothing ties its life to the agent's: it is in a process group of its own and is watched through a descriptor
//! of the process, never through a pipe. A process that is not our child is watched the same way; only how it
//! ended stays unknown.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lb_core::id::LoadBalancerId;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::netns::{self, NetnsError};

/// From the start of a data plane until it answers on its sockets.
pub const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether it does: short, since its clients wait.
const READY_STEP: Duration = Duration::from_millis(1);

/// Where a data plane's sockets and pid are: `<run_dir>/<id>/`.
#[derive(Clone, Debug)]
pub struct RunDir {
    /// The folder.
    pub path: PathBuf,
}

impl RunDir {
    /// Of one load balancer.
    pub fn new(run_dir: &Path, id: LoadBalancerId) -> Self {
        Self { path: run_dir.join(id.to_string()) }
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Where it takes and gives listening sockets.
    pub fn handoff(&self) -> PathBuf {
        self.path.join("handoff.sock")
    }

    /// Its process id, for people; the agent looks for the process itself.
    pub fn pid(&self) -> PathBuf {
        self.path.join("pid")
    }

    /// Marks what bears the load balancer's names as ours, before anything is made.
    pub fn mark(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.path)
    }

    /// Is the mark there?
    pub fn is_marked(&self) -> bool {
        self.path.is_dir()
    }

    /// Removes the mark and all beside it.
    pub fn unmark(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// How a data plane is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub binary: PathBuf,
    /// Whom it becomes when root started it.
    pub user: String,
    /// How long its sessions may take to end when it drains.
    pub drain_timeout_s: u32,
    /// What its persistence cookies are made unforgeable with; `None`: each makes its own at start.
    pub persistence_secret: Option<PathBuf>,
}

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Its namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It cannot be started.
    #[error("cannot start {}: {source}", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// It cannot be watched.
    #[error("cannot watch the data plane, pid {pid}: {source}")]
    Watch {
        /// The process.
        pid: u32,
        /// What the machine said.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the data plane ended at once: {0}")]
    EndedEarly(Exit),
    /// It runs, but does not answer.
    #[error("the data plane does not answer on {} within {} s", path.display(), READY_TIMEOUT.as_secs())]
    Mute {
        /// Its control socket.
        path: PathBuf,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By a signal.
    Signal(i32),
    /// It was another agent's child.
    Unknown,
}

impl Exit {
    /// Who ended it.
    pub fn by(self) -> &'static str {
        match self {
            Self::Status(_) => "itself",
            Self::Signal(_) => "a signal",
            Self::Unknown => "nobody knows",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(number) => match Signal::from_named_raw(number) {
                Some(signal) => write!(f, "killed by signal {number} ({})", plain(&format!("{signal:?}"))),
                None => write!(f, "killed by signal {number}"),
            },
            Self::Unknown => f.write_str("ended, how is not known (an earlier agent had started it)"),
        }
    }
}

/// `KILL`, of what is shown for programmers: `"Signal::KILL"`.
fn plain(name: &str) -> &str {
    let name = name.trim_matches('"');
    name.rsplit("::").next().unwrap_or(name)
}

/// A data plane that runs, or ran.
#[derive(Debug)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// When this agent started it or found it.
    pub since: Instant,
    watch: AsyncFd<OwnedFd>,
    is_child: bool,
    /// A child can be asked only once how it ended.
    exit: OnceLock<Exit>,
}

impl Process {
    /// Starts a data plane in `namespace`. It is not ready yet: see [`Process::ready`].
    pub async fn start(launch: &Launch, namespace: &str, run: &RunDir) -> Result<Self, InstanceError> {
        let mut command = Command::new(&launch.binary);
        command.arg("--control").arg(run.control()).arg("--handoff").arg(run.handoff());
        command.arg("--drain-timeout").arg(launch.drain_timeout_s.to_string()).arg("--user").arg(&launch.user);
        if let Some(secret) = &launch.persistence_secret {
            command.arg("--persistence-secret").arg(secret);
        }
        // The agent's Ctrl-C is not for it, nor is its end.
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        let pid = netns::inside_async(namespace, move || command.spawn().map(|child| child.id())).await?;
        let pid = pid.map_err(|source| InstanceError::Spawn { binary: launch.binary.clone(), source })?;
        // Not reaped before it is waited for below, so the number cannot be another process's yet.
        let process = Self::watch(pid, true)?;
        // For people only, so a failure is no fault.
        let _ = std::fs::write(run.pid(), format!("{pid}\n"));
        Ok(process)
    }

    /// Takes over a process that runs.
    pub fn adopt(pid: u32) -> Result<Self, InstanceError> {
        Self::watch(pid, false)
    }

    fn watch(pid: u32, is_child: bool) -> Result<Self, InstanceError> {
        let failed = |source| InstanceError::Watch { pid, source };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let fd = pidfd_open(raw, PidfdFlags::NONBLOCK).map_err(|e| failed(e.into()))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of other types; an OwnedFd stays open and the same"
        )]
        let watch = AsyncFd::new(fd).map_err(failed)?;
        Ok(Self { pid, since: Instant::now(), watch, is_child, exit: OnceLock::new() })
    }

    /// Waits until it has ended, and reaps it. May be called again.
    pub async fn ended(&self) -> Exit {
        // The descriptor is readable for ever once the process has ended.
        let _ = self.watch.readable().await;
        *self.exit.get_or_init(|| self.reap().unwrap_or(Exit::Unknown))
    }

    fn reap(&self) -> Option<Exit> {
        if !self.is_child {
            return None;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(self.watch.get_ref().as_fd()), options).ok()??;
        let code = status.exit_status().map(Exit::Status);
        code.or_else(|| status.terminating_signal().map(Exit::Signal))
    }

    /// Waits until it answers on both its sockets.
    pub async fn ready(&self, run: &RunDir) -> Result<(), InstanceError> {
        let (control, handoff) = (run.control(), run.handoff());
        let answers = async {
            for path in [&control, &handoff] {
                while UnixStream::connect(path).await.is_err() {
                    tokio::time::sleep(READY_STEP).await;
                }
            }
        };
        tokio::select! {
            biased;
            exit = self.ended() => Err(InstanceError::EndedEarly(exit)),
            answered = tokio::time::timeout(READY_TIMEOUT, answers) => {
                answered.map_err(|_| InstanceError::Mute { path: run.control() })
            }
        }
    }

    /// Lets it end: SIGTERM, and SIGKILL after `patience`. Returns when it has ended.
    pub async fn drain(&self, patience: Duration) -> Exit {
        self.signal(Signal::TERM);
        match tokio::time::timeout(patience, self.ended()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// Ends it now.
    pub async fn kill(&self) -> Exit {
        self.signal(Signal::KILL);
        self.ended().await
    }

    fn signal(&self, signal: Signal) {
        // It fails only when the process is gone, which is what a signal is for.
        let _ = pidfd_send_signal(self.watch.get_ref(), signal);
    }
}

/// All data planes of this run folder that are running, found by their command lines: pid files may be stale or
/// missing after a crash, these are not.
pub fn find_running(run_dir: &Path) -> HashMap<LoadBalancerId, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((owner_of(&line, run_dir)?, pid))
    })
    .collect()
}

/// Whose data plane a command line (arguments ended by NUL) starts, if it does.
fn owner_of(line: &[u8], run_dir: &Path) -> Option<LoadBalancerId> {
    let words: Vec<&str> = line.split(|b| *b == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
    let control = words.iter().skip_while(|word| **word != "--control").nth(1)?;
    let folder = Path::new(control).strip_prefix(run_dir).ok()?;
    let id = folder.parent()?.to_str()?.parse().ok().map(LoadBalancerId)?;
    (Path::new(control) == RunDir::new(run_dir, id).control()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_tell_the_owner() {
        let id = LoadBalancerId::for_name("web");
        let run_dir = Path::new("/run/weir");
        let line = format!("/usr/bin/lb-proxy\0--control\0/run/weir/{id}/control.sock\0--user\0nobody\0");
        assert_eq!(owner_of(line.as_bytes(), run_dir), Some(id));
        assert_eq!(owner_of(line.as_bytes(), Path::new("/run/other")), None);
        for other in ["", "lb-proxy\0--control\0", "x\0--control\0/run/weir/no-uuid/control.sock\0", "\0\0\0"] {
            assert_eq!(owner_of(other.as_bytes(), run_dir), None);
        }
    }

    #[test]
    fn exits_are_told_in_words() {
        assert_eq!(Exit::Status(3).to_string(), "exited with status 3");
        assert_eq!(Exit::Signal(9).to_string(), "killed by signal 9 (KILL)");
        assert_eq!(Exit::Signal(15).to_string(), "killed by signal 15 (TERM)");
        assert_eq!(Exit::Signal(99).to_string(), "killed by signal 99");
    }

    /// Reaped by what is tested.
    fn child(program: &str) -> u32 {
        Command::new(program).arg("60").spawn().unwrap().id()
    }

    #[tokio::test]
    async fn a_child_is_watched_and_reaped() {
        let pid = child("sleep");
        let process = Process::watch(pid, true).unwrap();
        assert_eq!(process.drain(Duration::from_secs(5)).await, Exit::Signal(15));
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a zombie is left");
    }

    #[tokio::test]
    async fn others_children_are_watched_too() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::adopt(child.id()).unwrap();
        assert_eq!(process.kill().await, Exit::Unknown);
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn an_early_end_is_told() {
        let process = Process::watch(child("false"), true).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let error = process.ready(&RunDir { path: dir.path().to_owned() }).await.unwrap_err();
        assert_eq!(error.to_string(), "the data plane ended at once: exited with status 1");
    }
}
