//! Many VIPs on one node, at rest: an agent in a network namespace of this process, a namespace and a data plane for each
//! VIP, and beside them HAProxy processes with the same listener. `/run` is this process's own, so that all the
//! namespaces' names go with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lb_control::node::NodeClient;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::member;
use crate::pause;
use crate::process::Process;
use crate::summary::Spread;
use crate::usage::{Memory, Usage};

/// Until what was made has come to rest.
const SETTLE: Duration = Duration::from_secs(3);
/// Applies that are timed.
const APPLIES: usize = 10;
/// For an agent to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// One size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Density {
    /// `weir` or `haproxy`.
    pub name: String,
    /// VIPs.
    pub vips: usize,
    /// Memory (PSS) of a data plane, kB.
    pub pss_kb: f64,
    /// Of it anonymous.
    pub anonymous_kb: f64,
    /// Memory of the kernel for a VIP, kB: the whole machine's difference, so rough where others work.
    pub kernel_kb: f64,
    /// Memory (PSS) of the agent, kB.
    pub agent_kb: u64,
    /// Processor time of all data planes at rest, as a share of one core.
    pub rest: f64,
    /// The same of the agent.
    pub agent_rest: f64,
    /// From the first to the last served, in seconds.
    pub create_s: f64,
    /// One apply of a changed document at that size, milliseconds.
    pub apply_ms: Option<Spread>,
    /// The list of all with their states, milliseconds.
    pub list_ms: Option<f64>,
    /// Figures of all, one after the other, milliseconds.
    pub stats_ms: Option<f64>,
}

/// Mounts and network of this process alone. To be called before there are threads.
pub fn prepare() -> anyhow::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("namespaces cannot be made; it needs root")?;
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).context("cannot make mounts private")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).context("cannot mount a /run")?;
    Ok(())
}

/// The members of all VIPs, on the bridge that the agent plugs them into; they end with this process.
pub fn members() -> anyhow::Result<()> {
    let commands = [
        "link add br-density type bridge",
        "addr add 10.77.200.1/16 dev br-density",
        "addr add 10.77.200.2/16 dev br-density",
        "link set br-density up",
    ];
    for command in commands {
        let done = Command::new("ip").args(command.split(' ')).status().context("ip does not start")?;
        ensure!(done.success(), "ip {command} failed");
    }
    std::thread::Builder::new().name("members".into()).spawn(|| {
        let sockets = [1, 2].map(|n| SocketAddr::from(([10, 77, 200, n], 80)));
        if let Err(error) = member::serve(&sockets) {
            eprintln!("density: the members ended: {error:#}");
        }
    })?;
    Ok(())
}

/// An agent with VIPs. All it made ends with it.
#[derive(Debug)]
pub struct Node {
    agent: Process,
    client: NodeClient,
    planes: Vec<u32>,
    folder: PathBuf,
    threads: usize,
    check_s: u64,
}

impl Node {
    /// An agent with nothing to mind yet. `programs`: where `lb-agent` and `lb-proxy` are.
    pub async fn start(programs: &Path, threads: usize, check_s: u64) -> anyhow::Result<Self> {
        let folder = PathBuf::from("/run/weir-density");
        std::fs::create_dir_all(&folder)?;
        let config = folder.join("agent.yaml");
        let text = "networks:\n  - {name: density, cidr: 10.77.0.0/16, bridge: br-density, create_bridge: true}\n";
        let text = format!("state_dir: {0}/state\nrun_dir: {0}/run\n{text}", folder.display());
        std::fs::write(&config, text)?;
        let agent = Process::start(
            "lb-agent",
            &programs.join("lb-agent"),
            &["--config", &config.display().to_string()],
            &folder,
        )?;
        let client = NodeClient::new(folder.join("run/agent.sock"));
        let mut node = Self { agent, client, planes: Vec::new(), folder, threads, check_s };
        let until = Instant::now() + PATIENCE;
        while node.client.health().await.is_err() {
            node.agent.must_run()?;
            ensure!(Instant::now() < until, "the agent does not answer:\n{}", node.agent.words());
            pause(Duration::from_millis(10));
        }
        Ok(node)
    }

    /// Makes `vips` VIPs and measures them at rest.
    pub async fn measure(&mut self, vips: usize, rest: Duration) -> anyhow::Result<Density> {
        let kernel = kernel_kb();
        let began = Instant::now();
        for n in 0..vips {
            self.client
                .apply(document(n, 50_000, self.threads, self.check_s))
                .await
                .with_context(|| format!("VIP {n}"))?;
        }
        let create_s = began.elapsed().as_secs_f64();
        let list = self.client.list().await?;
        self.planes = list.iter().filter_map(|one| one.pid).collect();
        ensure!(self.planes.len() == vips, "{} of {vips} data planes run", self.planes.len());
        pause(SETTLE);
        let memory = Memory::read(&self.planes)?;
        let agents = self.agent.pids();
        let agents: Vec<u32> = agents.into_iter().filter(|pid| !self.planes.contains(pid)).collect();
        let agent_kb = Memory::read(&agents)?.pss;
        let kernel_kb = (kernel_kb() - kernel) / vips as f64;
        let before = (Usage::read(&self.planes)?, Usage::read(&agents)?);
        pause(rest);
        let used = (Usage::read(&self.planes)? - before.0, Usage::read(&agents)? - before.1);
        let share = |usage: Usage| usage.run.as_secs_f64() / rest.as_secs_f64();

        let mut applies = Vec::new();
        for n in 0..APPLIES {
            let began = Instant::now();
            self.client.apply(document(n % vips, 40_000 + n as u64, self.threads, self.check_s)).await?;
            applies.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let began = Instant::now();
        self.client.list().await?;
        let list_ms = began.elapsed().as_secs_f64() * 1000.0;
        let began = Instant::now();
        for one in &list {
            self.client.stats(&one.id).await?;
        }
        let stats_ms = began.elapsed().as_secs_f64() * 1000.0;
        Ok(Density {
            name: "weir".to_owned(),
            vips,
            pss_kb: memory.pss as f64 / vips as f64,
            anonymous_kb: memory.anonymous as f64 / vips as f64,
            kernel_kb,
            agent_kb,
            rest: share(used.0),
            agent_rest: share(used.1),
            create_s,
            apply_ms: Spread::of(applies.into_iter()),
            list_ms: Some(list_ms),
            stats_ms: Some(stats_ms),
        })
    }

    /// Removes everything the polite way.
    pub async fn clear(&mut self) -> anyhow::Result<()> {
        for one in self.client.list().await? {
            self.client.delete(&one.id).await?;
        }
        self.planes.clear();
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The agent first: it would start them again. Data planes are known by the run folder in their command line.
        let agent = self.agent.pids().first().and_then(|pid| Pid::from_raw(i32::try_from(*pid).ok()?));
        agent.map(|pid| kill_process(pid, Signal::KILL));
        let mark = self.folder.join("run").display().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let ours = memchr::memmem::find(&line, mark.as_bytes()).is_some() && same_mounts(&entry.path());
            let pid = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
            if let Some(pid) = pid.filter(|_| ours) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// In the mount namespace of this process: started by it, or by what it started.
fn same_mounts(process: &Path) -> bool {
    let of = |path: &Path| std::fs::read_link(path.join("ns/mnt")).ok();
    of(process).is_some_and(|mounts| Some(mounts) == of(Path::new("/proc/self")))
}

/// As many HAProxy processes with the same listener, at rest.
pub fn haproxy(vips: usize, rest: Duration, threads: usize, check_s: u64) -> anyhow::Result<Density> {
    let folder = Path::new("/run/haproxy-density");
    std::fs::create_dir_all(folder)?;
    let kernel = kernel_kb();
    let began = Instant::now();
    let mut processes = Vec::new();
    let check = if check_s > 0 { format!(" check inter {check_s}s") } else { String::new() };
    for n in 0..vips {
        let port = 10_000 + n as u16;
        let config = folder.join(format!("{n}.cfg"));
        std::fs::write(
            &config,
            format!(
                "global\n  nbthread {threads}\n  maxconn 2000\n  stats socket {}/{n}.sock\ndefaults\n  mode http\n  \
                 timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n  option httplog\n  option forwardfor\n\
                 frontend vip\n  bind 127.0.0.1:{port}\n  default_backend pool\nbackend pool\n  balance roundrobin\n  \
                 server m0 10.77.200.1:80{check}\n  server m1 10.77.200.2:80{check}\n",
                folder.display()
            ),
        )?;
        let arguments = ["-db", "-f", &config.display().to_string()];
        let mut process = Process::start(&format!("haproxy-{n}"), Path::new("/usr/sbin/haproxy"), &arguments, folder)?;
        process.wait_port(SocketAddr::from(([127, 0, 0, 1], port)))?;
        processes.push(process);
    }
    let create_s = began.elapsed().as_secs_f64();
    pause(SETTLE);
    let pids: Vec<u32> = processes.iter().filter_map(|process| process.pids().first().copied()).collect();
    let memory = Memory::read(&pids)?;
    let kernel_kb = (kernel_kb() - kernel) / vips as f64;
    let before = Usage::read(&pids)?;
    pause(rest);
    let used = Usage::read(&pids)? - before;
    Ok(Density {
        name: "haproxy".to_owned(),
        vips,
        pss_kb: memory.pss as f64 / vips as f64,
        anonymous_kb: memory.anonymous as f64 / vips as f64,
        kernel_kb,
        agent_kb: 0,
        rest: used.run.as_secs_f64() / rest.as_secs_f64(),
        agent_rest: 0.0,
        create_s,
        apply_ms: None,
        list_ms: None,
        stats_ms: None,
    })
}

fn document(n: usize, timeout: u64, threads: usize, check_s: u64) -> String {
    let vip = format!("10.77.{}.{}", 1 + n / 250, 1 + n % 250);
    let monitor = match check_s {
        0 => String::new(),
        delay => format!("\n        healthmonitor: {{type: TCP, delay: {delay}, timeout: 3, max_retries: 2}}"),
    };
    format!(
        "loadbalancer:
  name: vip-{n}
  vip_address: {vip}
  workers: {threads}
  listeners:
    - name: http
      protocol: HTTP
      protocol_port: 80
      connection_limit: 2000
      timeout_client_data: {timeout}
      insert_headers: {{X-Forwarded-For: \"true\"}}
      default_pool:
        name: web
        protocol: HTTP
        lb_algorithm: ROUND_ROBIN{monitor}
        members:
          - {{name: lb-1, address: 10.77.200.1, protocol_port: 80}}
          - {{name: lb-2, address: 10.77.200.2, protocol_port: 80}}
"
    )
}

/// What the kernel holds for processes, sockets and namespaces, of the whole machine.
fn kernel_kb() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let fields = ["Slab:", "KernelStack:", "PageTables:", "Percpu:"];
    let lines = text.lines().filter(|line| fields.iter().any(|field| line.starts_with(field)));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
}
