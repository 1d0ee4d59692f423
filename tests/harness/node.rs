//! A node of one's own: a network namespace with a bridge, an agent in it, clients and members around it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::binaries::bin;
use crate::member::Member;
use crate::netns::{Netns, all};
use crate::place::Place;
use crate::process::Process;
use crate::tools::output;
use crate::wait::{PATIENCE, until, until_true};
use crate::weir::Control;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where the members of every node are.
const MEMBERS: &str = "10.77.0.2";

/// A node with all that was made for it; nothing is left on drop.
pub struct Node {
    /// The agent; `None` while it is down.
    pub agent: Option<Process>,
    /// Its socket.
    pub control: Control,
    /// Where clients are.
    pub clients: Netns,
    /// Where members are.
    pub members: Netns,
    /// The node's own network, with the bridge `br0` in it.
    pub host: Netns,
    /// Its files.
    pub place: Place,
    id_base: String,
}

impl Node {
    /// A node with its agent running.
    #[allow(clippy::new_without_default, reason = "it makes much: not a default value")]
    pub fn new() -> Self {
        let place = Place::new();
        let (host, clients, members) = (Netns::new(), Netns::new(), Netns::new());
        host.bridge("br0");
        host.plug("br0", &clients, "10.77.0.3/24");
        host.plug("br0", &members, &format!("{MEMBERS}/24"));
        let config = json!({
            "state_dir": place.path("state"),
            "run_dir": place.path("run"),
            "proxy_binary": bin("lb-proxy"),
            "drain_timeout_s": 2,
            "networks": [
                {"name": "net", "cidr": "10.77.0.0/24", "bridge": "br0"},
                {"name": "other", "cidr": "10.78.0.0/24", "bridge": "br1", "create_bridge": true},
            ],
        });
        place.write("agent.yaml", config.to_string());
        let control = Control::at(place.path("run/agent.sock"));
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let id_base = format!("{:06x}-{n:02x}00-4000-8000-000000000001", std::process::id());
        let mut node = Self { agent: None, control, clients, members, host, place, id_base };
        node.start_agent();
        node
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&mut self) {
        // Only its network is another: what it mounts must be seen by everybody.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.host.name())).arg(bin("lb-agent"));
        command.arg("--config").arg(self.place.path("agent.yaml"));
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut process = Process::start("lb-agent", command, self.place.path(format!("agent-{n}")));
        let control = self.control.clone();
        process.wait_ready("the agent to answer", || {
            control.request("GET", "/v1/health", b"").is_ok_and(|reply| reply.status == 200)
        });
        self.agent = Some(process);
    }

    /// Ends the agent with a signal and waits for its end.
    pub fn end_agent(&mut self, signal: Signal) {
        let mut agent = self.agent.take().expect("an agent");
        agent.signal(signal);
        agent.wait(PATIENCE);
    }

    /// A member in the members' network; `port` is its own.
    pub fn member(&self, name: &str, port: u16) -> Member {
        let at = SocketAddr::new(MEMBERS.parse().unwrap(), port);
        self.members.inside(|| Member::http(name, at).only_counting())
    }

    /// The id of this node's `n`th load balancer; no other test has it.
    pub fn id(&self, n: u32) -> String {
        format!("{n:02x}{}", self.id_base)
    }

    /// A document for the `n`th load balancer: 10.77.0.(100+n), port 80, before `members`.
    pub fn document(&self, n: u32, members: &[&Member]) -> Value {
        let members: Vec<Value> = members
            .iter()
            .map(|m| json!({"name": m.name(), "address": m.socket().ip(), "protocol_port": m.socket().port()}))
            .collect();
        json!({"loadbalancer": {
            "id": self.id(n), "name": format!("web{n}"), "vip_address": format!("10.77.0.{}", 100 + n), "workers": 2,
            "listeners": [{
                "name": "front", "protocol": "HTTP", "protocol_port": 80,
                "log": false,
                "default_pool": {
                    "name": "back", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": members,
                },
            }],
        }})
    }

    /// Where clients reach the `n`th load balancer.
    pub fn vip(n: u32) -> SocketAddr {
        SocketAddr::new(format!("10.77.0.{}", 100 + n).parse().unwrap(), 80)
    }

    /// Hands a document to the agent, which must take it.
    pub fn apply(&self, document: &Value) -> Value {
        let reply = self.put(document);
        assert!(matches!(reply.0, 200 | 201), "the agent did not take it: {} {}", reply.0, reply.1);
        reply.1
    }

    /// Hands a document to the agent: status and answer.
    pub fn put(&self, document: &Value) -> (u16, Value) {
        let reply = self.control.must("PUT", "/v1/loadbalancers", document.to_string().as_bytes());
        (reply.status, serde_json::from_str(&reply.body).unwrap_or(Value::String(reply.body)))
    }

    /// Asks the agent.
    pub fn get(&self, path: &str) -> Value {
        let reply = self.control.must("GET", path, b"");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.json()
    }

    /// The data plane of the `n`th load balancer.
    pub fn data_plane(&self, n: u32) -> u32 {
        until(PATIENCE, "a data plane", || {
            let status = self.get(&format!("/v1/loadbalancers/{}/status", self.id(n)));
            status["instance"]["pid"].as_u64().map(|pid| u32::try_from(pid).unwrap())
        })
    }

    /// `kill -9`.
    pub fn kill_data_plane(&self, n: u32) -> u32 {
        let pid = self.data_plane(n);
        signal(pid, Signal::KILL);
        pid
    }

    /// `lbctl` with these words, to this node's agent.
    pub fn lbctl(&self, words: &[&str]) -> Output {
        output(Command::new(bin("lbctl")).arg("--socket").arg(&self.control.socket).args(words))
    }
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
}

/// True if that process is a data plane of the agent with this folder.
fn is_ours(pid: u32, run: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    line.contains("lb-proxy") && line.contains(&run.display().to_string())
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agent = None;
        let run = self.place.path("run");
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids.filter(|pid| is_ours(*pid, &run)) {
            signal(pid, Signal::KILL);
            let gone = || !Path::new(&format!("/proc/{pid}")).exists();
            if !std::thread::panicking() {
                until_true(PATIENCE, "a data plane to be gone", gone);
            }
        }
        for name in all().iter().filter(|name| name.contains(&self.id_base)) {
            let _ = output(Command::new("ip").args(["netns", "delete", name]));
        }
    }
}
