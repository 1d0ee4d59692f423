//! What the demo plays on: a node, members and a client, each in a network namespace of its own, joined by a
//! bridge that is in the node's namespace. Nothing of the host's own network is touched, and all of it goes with
//! the [`Stage`], on every way out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lb_agent::desired::{Plug, namespace_of};
use lb_agent::instance::find_running;
use lb_agent::link::{self, Ends};
use lb_agent::netns;
use lb_core::id::LoadBalancerId;
use rustix::process::{Pid, Signal, kill_process};

/// Bridge in the node's namespace.
pub(crate) const BRIDGE: &str = "br-demo";
const PREFIX_LEN: u8 = 24;
/// For anything that should take no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything the demo made.
pub(crate) struct Stage {
    /// All namespaces begin with it.
    pub(crate) prefix: String,
    /// Of the demo's load balancer.
    pub(crate) id: LoadBalancerId,
    dir: tempfile::TempDir,
    namespaces: Vec<String>,
    agent: Option<Child>,
    members: Vec<(String, Child)>,
}

impl Stage {
    /// A node with a bridge, nothing on it yet. `folder`: where its files are.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random id")?;
        let id = LoadBalancerId(id.trim().parse().context("no random id")?);
        let prefix: String = "weir-".chars().chain(id.to_string().chars().take(4)).collect();
        let dir = tempfile::Builder::new().prefix("weir-demo-").tempdir_in(folder).context("cannot make a folder")?;
        let mut stage = Self { prefix, id, dir, namespaces: Vec::new(), agent: None, members: Vec::new() };
        let node = stage.node();
        stage.namespace(&node)?;
        netns::inside(&node, || link::bridge(BRIDGE))??;
        Ok(stage)
    }

    /// Namespace of the agent and the bridge.
    pub(crate) fn node(&self) -> String {
        format!("{}-node", self.prefix)
    }

    /// Namespace of a host called `name`.
    pub(crate) fn host(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// The agent's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run_dir().join("agent.sock")
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    fn namespace(&mut self, name: &str) -> anyhow::Result<()> {
        // First noted, then made: what is half made is removed, too.
        self.namespaces.push(name.to_owned());
        Ok(netns::create(name, None)?)
    }

    /// Adds a host on the bridge.
    pub(crate) fn add_host(&mut self, name: &str, address: IpAddr) -> anyhow::Result<()> {
        let namespace = self.host(name);
        self.namespace(&namespace)?;
        let ends = Ends { namespace: &namespace, inner: "eth0", outer: name };
        let plug = Plug {
            vip: address,
            prefix_len: PREFIX_LEN,
            gateway: None,
            bridge: BRIDGE.to_owned(),
            create_bridge: false,
            mtu: None,
        };
        Ok(netns::inside(&self.node(), || link::plug(ends, &plug))??)
    }

    /// Starts a member on a host, and waits until it listens.
    pub(crate) fn start_member(&mut self, name: &str, listen: SocketAddr) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["member", "--name", name, "--listen", &listen.to_string()]);
        let child = self.spawn(&self.host(name), command)?;
        self.members.push((name.to_owned(), child));
        let host = self.host(name);
        let listens = || netns::inside(&host, || TcpStream::connect(listen).is_ok()).unwrap_or(false);
        wait_for(listens, &format!("member {name}"))
    }

    /// Ends a member at once.
    pub(crate) fn stop_member(&mut self, name: &str) {
        self.members.retain_mut(|(who, child)| {
            if who == name {
                end(child);
            }
            who != name
        });
    }

    /// Starts an agent in the node's namespace, and waits until it answers.
    pub(crate) fn start_agent(&mut self, config: &str) -> anyhow::Result<u32> {
        let program = lb_agent::find_program("lb-agent").context("lb-agent is neither beside lbctl nor in PATH")?;
        let file = self.dir.path().join("agent.yaml");
        std::fs::write(&file, config)?;
        let log = File::create(self.log())?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).arg("--run-dir").arg(self.run_dir());
        command.arg("--state-dir").arg(self.dir.path().join("state"));
        command.stdout(log.try_clone()?).stderr(log);
        let mut agent = self.spawn(&self.node(), command)?;
        let pid = agent.id();
        let socket = self.socket();
        let up = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
        let ready = wait_for(|| up() || agent.try_wait().is_ok_and(|ended| ended.is_some()), "the agent");
        let ended = agent.try_wait()?;
        self.agent = Some(agent);
        ready?;
        if ended.is_some() {
            bail!("the agent ended at once:\n{}", self.agent_says());
        }
        Ok(pid)
    }

    /// The last lines of the agent's log.
    pub(crate) fn agent_says(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Out of the way of the terminal's Ctrl-C: the stage ends them in its order.
    fn spawn(&self, namespace: &str, mut command: Command) -> anyhow::Result<Child> {
        command.stdin(Stdio::null()).process_group(0);
        Ok(netns::inside(namespace, || command.spawn())??)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, member) in &mut self.members {
            end(member);
        }
        if let Some(agent) = &mut self.agent {
            end(agent);
        }
        // Only what runs out of this stage's own folder.
        for pid in find_running(&self.run_dir()).values() {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        self.namespaces.push(namespace_of(self.id));
        for namespace in &self.namespaces {
            if let Err(error) = netns::delete(namespace) {
                eprintln!("lbctl: {error}");
            }
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn wait_for(mut condition: impl FnMut() -> bool, what: &str) -> anyhow::Result<()> {
    const STEP: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            bail!("{what} does not come up within {} s", PATIENCE.as_secs());
        }
        std::thread::park_timeout(STEP);
    }
    Ok(())
}

/// One request over a connection of its own, in the calling thread's namespace: who answered.
pub(crate) fn request(to: SocketAddr) -> io::Result<String> {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", to.ip())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut space = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut space);
    if head.parse(&answer).map_err(|e| odd(&e.to_string()))?.is_partial() {
        return Err(odd("the answer is cut short"));
    }
    match head.code {
        Some(200) => {}
        code => return Err(odd(&format!("status {}", code.unwrap_or(0)))),
    }
    let member = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("x-member"));
    let member = member.ok_or_else(|| odd("no member says that it answered"))?;
    Ok(String::from_utf8_lossy(member.value).into_owned())
}
