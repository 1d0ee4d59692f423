//! What clients that mean harm cost others: each attack is played against HAProxy and Weir in one run, while somebody else asks at a
//! steady rate.
//!
//! The proxy has a core of its own; attackers, members and the load share the other, the load before all.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::contender::{Contender, Kind, member};
use crate::fixed_rate::{self, Outcome};
use crate::pause;
use crate::process::Process;
use crate::usage::{Memory, Usage};

/// Where others ask.
pub const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), 8080);
/// Bytes that a slow reader asks for.
const LONG: usize = 10 << 20;
/// Its room for what it does not read.
const NARROW: usize = 4096;
/// How often it reads, and how much.
const SIP_EVERY: Duration = Duration::from_millis(1_000);
const SIP: usize = 32;
/// Until an attack is under way.
const SETTLE: Duration = Duration::from_secs(3);

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Nothing.
    None,
    /// Clients that ask for a long answer and hardly read it.
    SlowRead,
    /// One address connects without end; it may have 20 connections at once and make 50 a second.
    OneAddress,
    /// 65,536 addresses do, each below its limits.
    Network,
    /// Clients that begin a request and stop.
    HalfOpen,
}

impl Attack {
    /// All.
    pub const ALL: [Self; 5] = [Self::None, Self::SlowRead, Self::OneAddress, Self::Network, Self::HalfOpen];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SlowRead => "slow-read",
            Self::OneAddress => "one-address",
            Self::Network => "network",
            Self::HalfOpen => "half-open",
        }
    }
}

/// One play.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is done.
    pub attack: Attack,
    /// Clients that do it, for attacks that hold connections.
    pub attackers: usize,
    /// What others ask, each second.
    pub rate: f64,
    /// For so long.
    pub time: Duration,
    /// Data threads of the proxy.
    pub threads: usize,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// What became of the others' requests.
    pub others: Outcome,
    /// The proxy's processor time, as a share of one core.
    pub cpu: f64,
    /// Its memory before and at its most, kB.
    pub memory_kb: (u64, u64),
    /// Memory of the kernel for TCP before and at its most, kB; the whole machine's.
    pub kernel_kb: (u64, u64),
    /// Connections the attackers made in a second.
    pub made: f64,
}

/// Plays it against one proxy.
pub fn play(plan: &Plan, contender: &Contender, folder: &Path) -> anyhow::Result<Seen> {
    let file = folder.join(format!("{}.conf", contender.name));
    let path = file.display().to_string();
    let (text, arguments) = match contender.kind {
        Kind::Weir => (weir(plan), vec!["--user", "root", "--config", &path]),
        _ => (haproxy(plan), vec!["-db", "-f", &path]),
    };
    std::fs::write(&file, text).context("no configuration")?;
    let cores: Vec<String> = (0..plan.threads).map(|core| core.to_string()).collect();
    let program = contender.program.display().to_string();
    let cores = cores.join(",");
    let mut pinned = vec!["-c", &cores, &program];
    pinned.extend(arguments);
    let mut proxy = Process::start(&contender.name, &PathBuf::from("/usr/bin/taskset"), &pinned, folder)?;
    proxy.wait_port(VIP)?;
    // Everything is there once.
    let warm = fixed_rate::run(&others(plan, 1.0))?;
    drop(warm);
    let pids = proxy.pids();
    let before = (Memory::read(&pids)?.anonymous, tcp_kb());
    let attackers = Attackers::start(plan);
    pause(SETTLE);
    let (used, began, made) = (Usage::read(&pids)?, Instant::now(), attackers.made());
    let watch = Watch::start(pids.clone());
    let outcome = fixed_rate::run(&others(plan, plan.time.as_secs_f64()))?;
    let took = began.elapsed().as_secs_f64();
    let most = watch.end();
    let used = Usage::read(&pids)? - used;
    let made = (attackers.made() - made) as f64 / took;
    attackers.end();
    proxy.must_run()?;
    Ok(Seen {
        others: outcome,
        cpu: used.run.as_secs_f64() / took,
        memory_kb: (before.0, most.0),
        kernel_kb: (before.1, most.1),
        made,
    })
}

fn others(plan: &Plan, seconds: f64) -> fixed_rate::Plan {
    fixed_rate::Plan {
        to: VIP,
        request: b"GET /b/128 HTTP/1.1\r\nHost: weir.test\r\n\r\n".to_vec(),
        close: false,
        connections: 64,
        rate: plan.rate,
        time: Duration::from_secs_f64(seconds),
    }
}

/// The same words of limits for both.
fn weir(plan: &Plan) -> String {
    let mut listener = json!({
        "name": "vip", "protocol": "HTTP", "protocol_port": VIP.port(), "log": false,
        "timeout_http_request": 10_000, "timeout_client_data": 50_000,
        "default_pool": {"name": "pool", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
            "members": [{"name": "m0", "address": member(0).ip(), "protocol_port": member(0).port()}]},
    });
    if matches!(plan.attack, Attack::OneAddress | Attack::Network) {
        // The load is one address, too.
        listener["client_limits"] =
            json!({"connections": 20, "connection_rate": 50, "exempt": ["127.0.0.1/32"], "table_size": 100_000});
    }
    json!({"loadbalancer": {
        "name": "floods", "vip_address": VIP.ip(), "workers": plan.threads, "listeners": [listener],
    }})
    .to_string()
}

fn haproxy(plan: &Plan) -> String {
    let limits = match plan.attack {
        Attack::OneAddress | Attack::Network => {
            "  stick-table type ip size 100k expire 30s store conn_cur,conn_rate(1s)\n  \
             tcp-request connection accept if { src 127.0.0.1 }\n  tcp-request connection track-sc0 src\n  \
             tcp-request connection reject if { sc_conn_cur(0) gt 20 } or { sc_conn_rate(0) gt 50 }\n"
        }
        _ => "",
    };
    format!(
        "global\n  nbthread {}\n  maxconn 9000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n  \
         timeout http-request 10s\n  timeout http-keep-alive 50s\n  http-reuse always\nfrontend vip\n  bind {VIP}\n{limits}  \
         default_backend pool\nbackend pool\n  server m0 {}\n",
        plan.threads,
        member(0)
    )
}

/// Memory of the kernel for TCP, in kB.
fn tcp_kb() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    line.split_whitespace().last().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}

/// Looks at memory now and then.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

impl Watch {
    fn start(pids: Vec<u32>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = (0, 0);
            while !seen.load(Ordering::Relaxed) {
                let anonymous = Memory::read(&pids).map_or(0, |memory| memory.anonymous);
                most = (anonymous.max(most.0), tcp_kb().max(most.1));
                pause(Duration::from_millis(250));
            }
            most
        });
        Self { stop, thread }
    }

    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Those who mean harm; they give way to the load.
struct Attackers {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Attackers {
    fn start(plan: &Plan) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (attack, count) = (plan.attack, plan.attackers);
        let workers = match attack {
            Attack::None => 0,
            Attack::OneAddress | Attack::Network => 2,
            Attack::SlowRead | Attack::HalfOpen => 1,
        };
        let threads = (0..workers)
            .map(|_| {
                let (stop, made) = (Arc::clone(&stop), Arc::clone(&made));
                std::thread::spawn(move || {
                    give_way();
                    match attack {
                        Attack::None => {}
                        Attack::SlowRead => slow_readers(count, &stop, &made),
                        Attack::HalfOpen => half_open(count, &stop, &made),
                        Attack::OneAddress => connect_without_end(&stop, &made, |_| Ipv4Addr::new(127, 66, 6, 6)),
                        Attack::Network => connect_without_end(&stop, &made, |n| {
                            let [.., third, fourth] = n.wrapping_mul(40_503).to_be_bytes();
                            Ipv4Addr::new(127, 65, third, fourth)
                        }),
                    }
                })
            })
            .collect();
        Self { stop, made, threads }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// The calling thread runs when nobody else wants to.
fn give_way() {
    let id = rustix::thread::gettid().as_raw_nonzero().to_string();
    let _ = Command::new("renice").args(["-n", "10", "-p", &id]).output();
}

fn connect(from: Option<Ipv4Addr>, room: Option<usize>) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(room) = room {
        socket.set_recv_buffer_size(room)?;
    }
    if let Some(from) = from {
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    socket.connect(&VIP.into())?;
    Ok(socket)
}

fn connect_without_end(stop: &AtomicBool, made: &AtomicU64, from: impl Fn(u32) -> Ipv4Addr) {
    while !stop.load(Ordering::Relaxed) {
        let n = made.fetch_add(1, Ordering::Relaxed);
        if let Ok(socket) = connect(Some(from(n as u32)), None) {
            let _ = (&socket).write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

fn slow_readers(count: usize, stop: &AtomicBool, made: &AtomicU64) {
    let mut readers: Vec<TcpStream> = Vec::new();
    let mut sip = [0; SIP];
    while !stop.load(Ordering::Relaxed) {
        while readers.len() < count && !stop.load(Ordering::Relaxed) {
            let Ok(socket) = connect(None, Some(NARROW)) else { break };
            made.fetch_add(1, Ordering::Relaxed);
            let mut stream = TcpStream::from(socket);
            let _ = stream.write_all(format!("GET /b/{LONG} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let _ = stream.set_nonblocking(true);
            readers.push(stream);
        }
        readers.retain_mut(|reader| match reader.read(&mut sip) {
            Ok(n) => n > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        pause(SIP_EVERY);
    }
}

fn half_open(count: usize, stop: &AtomicBool, made: &AtomicU64) {
    let Ok(poll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return };
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(1024);
    while !stop.load(Ordering::Relaxed) {
        while clients.len() - free.len() < count && !stop.load(Ordering::Relaxed) {
            let Ok(socket) = connect(None, None) else { break };
            made.fetch_add(1, Ordering::Relaxed);
            let mut stream = TcpStream::from(socket);
            let _ = stream.write_all(b"GET / HT");
            let slot = free.pop().unwrap_or(clients.len());
            let data = epoll::EventData::new_u64(slot as u64);
            let _ = epoll::add(&poll, &stream, data, epoll::EventFlags::IN | epoll::EventFlags::RDHUP);
            match clients.get_mut(slot) {
                Some(place) => *place = Some(stream),
                None => clients.push(Some(stream)),
            }
        }
        events.clear();
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if epoll::wait(&poll, spare_capacity(&mut events), Some(&wait)).is_err() {
            continue;
        }
        for event in &events {
            // It was told or cut: another takes its place.
            let slot = event.data.u64() as usize;
            if clients[slot].take().is_some() {
                free.push(slot);
            }
        }
    }
}
