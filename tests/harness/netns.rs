//! A network of one's own: namespaces with a bridge between them. Needs root; nothing of the host's is touched.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tools::{output, run};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// True if this process may make network namespaces; tests that need them say so when it may not.
pub fn allowed() -> bool {
    static ALLOWED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let name = format!("wt-{}-probe", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output().is_ok_and(|o| o.status.success());
        if made {
            run(Command::new("ip").args(["netns", "delete", &name]));
        }
        made
    })
}

/// A network namespace, deleted on drop with all that is in it.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one with its loopback up.
    #[allow(clippy::new_without_default, reason = "it makes something: not a default value")]
    pub fn new() -> Self {
        let name = format!("wt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` with these words, inside.
    pub fn ip(&self, words: &str) {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()));
    }

    /// A command that runs inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs words inside; their output.
    pub fn run(&self, words: &[&str]) -> String {
        run(self.command(words[0]).args(&words[1..]))
    }

    /// Does something inside, with sockets: those made there stay there, and so do threads started there.
    pub fn inside<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        inside(&self.name, task)
    }

    /// A bridge inside, up.
    pub fn bridge(&self, name: &str) {
        self.ip(&format!("link add {name} type bridge"));
        self.ip(&format!("link set {name} up"));
    }

    /// A cable from a port of `bridge` in this namespace to `eth0` of `other`, which gets `address` (with prefix).
    /// The name of the port.
    pub fn plug(&self, bridge: &str, other: &Self, address: &str) -> String {
        let port = format!("p{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.ip(&format!("link add {port} type veth peer name eth0 netns {}", other.name));
        self.ip(&format!("link set {port} master {bridge} up"));
        other.ip(&format!("address add {address} dev eth0"));
        other.ip("link set eth0 up");
        port
    }
}

/// As [`Netns::inside`], for a namespace somebody else made.
pub fn inside<T: Send>(name: &str, task: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).unwrap_or_else(|e| panic!("namespace {name}: {e}"));
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            task()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Names of all network namespaces of this machine.
pub fn all() -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = output(Command::new("ip").args(["netns", "delete", &self.name]));
    }
}
