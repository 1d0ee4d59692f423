//! Processes of a run. Each leads a process group of its own, which is killed by its number on every way out: when the
//! value is dropped, on Ctrl-C, and (through `setpriv`, where there is one) when this process is killed.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// For a program to begin to serve.
const PATIENCE: Duration = Duration::from_secs(20);

static STARTED: LazyLock<Mutex<Vec<Pid>>> = LazyLock::new(Mutex::default);

fn started() -> MutexGuard<'static, Vec<Pid>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A started program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `program`; what it writes goes to a file in `folder`.
    pub fn start(name: &str, program: &Path, arguments: &[&str], folder: &Path) -> anyhow::Result<Self> {
        let output = folder.join(format!("{name}.output"));
        let file = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        let mut command = with_parent(program);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        if let Some(pid) = pid_of(&child) {
            started().push(pid);
        }
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Waits until it takes connections on `socket`.
    pub fn wait_port(&mut self, socket: SocketAddr) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(socket).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}) instead of serving:\n{}", self.name, self.words());
            }
            if Instant::now() > until {
                bail!("{} does not serve on {socket}:\n{}", self.name, self.words());
            }
            crate::pause(Duration::from_millis(10));
        }
        Ok(())
    }

    /// An error if it does not run any more.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.words()),
            None => Ok(()),
        }
    }

    /// It and all it started.
    pub fn pids(&self) -> Vec<u32> {
        let leader = self.child.id();
        let mut all = vec![leader];
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if pid != leader && group_of(pid) == Some(leader) {
                all.push(pid);
            }
        }
        all
    }

    /// What it wrote last.
    pub fn words(&self) -> String {
        let text = std::fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = pid_of(&self.child) {
            let _ = kill_process_group(pid, Signal::KILL);
            started().retain(|p| *p != pid);
        }
        let _ = self.child.wait();
    }
}

/// Kills all that still runs. For ways out on which nothing is dropped.
pub fn kill_all() {
    for pid in started().drain(..) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Ends the run on SIGINT and SIGTERM, with all it started and its `folder`.
pub fn end_on_signals(folder: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut int, mut term) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
        });
        kill_all();
        let _ = std::fs::remove_dir_all(&folder);
        std::process::exit(130);
    })?;
    Ok(())
}

/// `program`, killed by the kernel when we are, if `setpriv` is there to ask for it.
fn with_parent(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn group_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state parent group ...; a name may hold anything.
    text.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}
