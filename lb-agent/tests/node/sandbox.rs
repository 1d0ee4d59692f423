//! A machine of a test's own: a network and a `/run` nobody else sees, and agents on it that may crash.

#![allow(dead_code, reason = "several tests share it, and none uses all of it")]

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lb_agent::config::Config;
use lb_agent::hands::Env;
use lb_agent::instance::{Launch, RunDir, find_running};
use lb_agent::netns;
use lb_agent::node::Node;
use lb_agent::store::Store;
use lb_control::client::Client;
use lb_control::events::{Event, EventKind, Subject};
use lb_core::id::LoadBalancerId;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};

#[derive(Clone)]
pub(crate) struct Sandbox {
    dir: Arc<tempfile::TempDir>,
}

/// What an agent left behind.
pub(crate) struct Crashed {
    pub(crate) pids: HashMap<String, u32>,
}

/// A document on 20.20.20.0/24 with an HTTP listener on each port.
pub(crate) fn document(name: &str, vip: u8, ports: &[u16], description: &str) -> String {
    let listeners: Vec<_> = ports
        .iter()
        .map(|port| serde_json::json!({"name": format!("l{port}"), "protocol": "HTTP", "protocol_port": port}))
        .collect();
    let vip = format!("20.20.20.{vip}");
    let body = serde_json::json!({
        "name": name, "description": description, "vip_address": vip, "workers": 2, "listeners": listeners,
    });
    serde_json::json!({ "loadbalancer": body }).to_string()
}

/// Runs a test on a machine of its own; without root it is skipped, saying so.
pub(crate) fn in_sandbox(test: impl AsyncFnOnce(Sandbox) + Send) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: making network namespaces needs root");
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            const NONE: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).unwrap();
            mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
            let dir = Arc::new(tempfile::tempdir().unwrap());
            let sandbox = Sandbox { dir };
            let guard = KillAll(sandbox.run_dir());
            runtime().block_on(test(sandbox));
            drop(guard);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Sandbox {
    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn documents(&self) -> PathBuf {
        self.dir.path().join("state/loadbalancers")
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.documents().join(format!("{}.json", LoadBalancerId::for_name(name)))
    }

    pub(crate) fn namespace(&self, name: &str) -> String {
        lb_agent::desired::namespace_of(LoadBalancerId::for_name(name))
    }

    /// The agent's.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run_dir().join("agent.sock")
    }

    /// A data plane's.
    pub(crate) fn control(&self, name: &str) -> PathBuf {
        RunDir::new(&self.run_dir(), LoadBalancerId::for_name(name)).control()
    }

    /// Where a data plane gives its sockets.
    pub(crate) fn handoff(&self, name: &str) -> PathBuf {
        RunDir::new(&self.run_dir(), LoadBalancerId::for_name(name)).handoff()
    }

    /// An agent that lives as long as the test.
    pub(crate) async fn node(&self) -> Arc<Node> {
        let text = "networks: [{name: n, cidr: 20.20.20.0/24, bridge: br-n, create_bridge: true}]";
        let mut config = Config::parse(Path::new("agent.yaml"), text).unwrap();
        config.run_dir = self.run_dir();
        config.state_dir = self.dir.path().join("state");
        let launch =
            Launch { binary: fake_data_plane(), user: "root".into(), drain_timeout_s: 2, persistence_secret: None };
        let store = Store::open(&config.state_dir).unwrap();
        Node::start(Env { config, launch, processors: 2 }, store).await.unwrap()
    }

    /// An agent that is gone from one moment to the next when `task` is done: nothing of it runs any more.
    pub(crate) fn agent_that_crashes(&self, task: impl AsyncFnOnce(Arc<Node>) + Send) -> Crashed {
        std::thread::scope(|scope| {
            let work = || {
                let runtime = runtime();
                let pids = runtime.block_on(async {
                    let node = self.node().await;
                    task(node.clone()).await;
                    node.list().into_iter().map(|s| (s.name, s.pid.unwrap())).collect()
                });
                runtime.shutdown_background();
                Crashed { pids }
            };
            scope.spawn(work).join().unwrap()
        })
    }

    /// Flips a bit of a stored document.
    pub(crate) fn damage(&self, name: &str) {
        let mut bytes = std::fs::read(self.file_of(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(self.file_of(name), bytes).unwrap();
    }

    /// Removes a stored document behind the agent's back.
    pub(crate) fn forget(&self, name: &str) {
        std::fs::remove_file(self.file_of(name)).unwrap();
    }

    /// All stored documents, byte for byte.
    pub(crate) fn stored(&self) -> Vec<Vec<u8>> {
        self.files("json").iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.documents()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
    }

    /// Where the events of `name` are kept.
    pub(crate) fn events_of(&self, name: &str) -> PathBuf {
        self.file_of(name).with_extension("events")
    }

    /// Nothing more can be written where documents are, until this is undone with `umount`.
    pub(crate) fn fill_documents(&self) {
        let kept: Vec<_> = ["json", "events"].iter().flat_map(|e| self.files(e)).collect();
        let kept: Vec<_> = kept.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        mount(Some("tmpfs"), &self.documents(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        for (bytes, path) in kept {
            std::fs::write(path, bytes).unwrap();
        }
        let _ = std::fs::write(self.documents().join("filler"), vec![0; 1 << 20]);
    }

    /// There is room again.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.documents().join("filler")).unwrap();
    }

    /// Something happened to a member, says the data plane of `name`.
    pub(crate) async fn happens(&self, name: &str, kind: EventKind, new: &str) {
        let subject = Subject { kind: "member".into(), id: "1".into(), name: "back/m1".into() };
        let (old, reason, by) = ("UP".into(), "HTTP 500".into(), "monitor m".into());
        let event = Event { seq: 0, at_ms: 1, kind, subject, old, new: new.into(), reason, by, effect: String::new() };
        let body = serde_json::to_vec(&event).unwrap();
        let _: u64 = Client::new(self.control(name)).post("/v1/events", body).await.unwrap();
    }

    pub(crate) fn runs(&self, pid: u32) -> bool {
        find_running(&self.run_dir()).values().any(|running| *running == pid)
    }

    pub(crate) fn assert_clean(&self) {
        assert!(self.is_clean(), "namespaces {:?}, running {:?}", netns::list(), find_running(&self.run_dir()));
        assert!(self.stored().is_empty() && self.files("events").is_empty());
    }

    /// No namespace, no process, no folder, no link but the bridge.
    pub(crate) fn is_clean(&self) -> bool {
        let folders = std::fs::read_dir(self.run_dir()).map_or(0, Iterator::count);
        let links = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        netns::list().is_empty() && find_running(&self.run_dir()).is_empty() && folders == 0 && !links.contains("lb-")
    }

    /// Waits for a condition, with a deadline.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, condition: impl Fn() -> F) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time");
    }
}

/// Data planes do not end with their agent, so a test that fails must end them.
struct KillAll(PathBuf);

impl Drop for KillAll {
    fn drop(&mut self) {
        for pid in find_running(&self.0).values() {
            let _ = kill_process(Pid::from_raw(*pid as i32).unwrap(), Signal::KILL);
        }
    }
}

/// Built with the tests, beside their folder.
fn fake_data_plane() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("examples/fake-data-plane");
    assert!(path.is_file(), "{} is missing: build the examples (cargo test does)", path.display());
    path
}
