//! One VIP described once, written out for Weir and for HAProxy alike.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// What the listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests and answers.
    Http,
    /// Bytes.
    Tcp,
}

/// Milliseconds; the same words for both programs.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To connect to a member.
    pub connect: u64,
    /// Silence of a client.
    pub client: u64,
    /// Silence of a member.
    pub member: u64,
    /// A whole request head.
    pub request: u64,
    /// Between two requests.
    pub keep_alive: u64,
}

/// A member as the proxy is told of it.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub socket: SocketAddr,
    /// Its share.
    pub weight: u16,
    /// Only when no other can be used.
    pub backup: bool,
    /// False: not used.
    pub admin_state_up: bool,
    /// More keys.
    pub more: Value,
}

/// One listener with its pool.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the listener speaks.
    pub mode: Mode,
    /// Where clients connect.
    pub vip: SocketAddr,
    /// Who answers them.
    pub members: Vec<Backend>,
    /// Octavia's word for it.
    pub algorithm: &'static str,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Tell members who asked.
    pub forwarded_for: bool,
    /// Connections at once.
    pub connection_limit: Option<u32>,
    /// Data threads.
    pub workers: u16,
    /// Shape of log lines; `None`: as suits the mode.
    pub log_format: Option<&'static str>,
    /// More keys of the pool: monitors and what goes with them.
    pub pool: Value,
    /// More keys of the listener.
    pub listener: Value,
    /// The same for HAProxy: words behind its bind, and lines of its frontend below.
    pub haproxy_bind: String,
    /// For HAProxy: lines of its backend.
    pub haproxy_backend: String,
    /// And words behind each of its servers.
    pub haproxy_server: String,
}

impl Setup {
    /// A listener on `vip` before `members`, with patient timeouts.
    pub fn new<'a>(mode: Mode, vip: SocketAddr, members: impl IntoIterator<Item = (&'a str, SocketAddr)>) -> Self {
        let members = members.into_iter().map(|(name, socket)| backend(name, socket)).collect();
        let timeouts = Timeouts { connect: 5000, client: 50_000, member: 50_000, request: 10_000, keep_alive: 50_000 };
        Self {
            mode,
            vip,
            members,
            algorithm: "ROUND_ROBIN",
            timeouts,
            forwarded_for: false,
            connection_limit: None,
            workers: 1,
            log_format: None,
            pool: json!({}),
            listener: json!({}),
            haproxy_bind: String::new(),
            haproxy_backend: String::new(),
            haproxy_server: String::new(),
        }
    }

    /// As [`Setup::new`] with weights.
    #[must_use]
    pub fn weights(mut self, weights: &[u16]) -> Self {
        for (member, weight) in self.members.iter_mut().zip(weights) {
            member.weight = *weight;
        }
        self
    }

    /// As [`Setup::new`] with this many data threads.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// As [`Setup::new`] with this algorithm.
    #[must_use]
    pub fn algorithm(mut self, algorithm: &'static str) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// As [`Setup::new`] with this health monitor.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "what is written at the call is a value")]
    pub fn monitor(self, monitor: Value) -> Self {
        self.pool_keys(json!({"healthmonitor": monitor}))
    }

    /// As [`Setup::new`] with more keys of the pool.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "what is written at the call is a value")]
    pub fn pool_keys(mut self, keys: Value) -> Self {
        merge(&mut self.pool, &keys);
        self
    }

    /// The document, as JSON (which is YAML). Log lines go to `log`.
    pub fn document(&self, log: &Path) -> Value {
        let (protocol, format) = match self.mode {
            Mode::Http => ("HTTP", "httplog"),
            Mode::Tcp => ("TCP", "tcplog"),
        };
        let members: Vec<Value> = self
            .members
            .iter()
            .map(|m| {
                let mut member = json!({
                    "name": m.name, "address": m.socket.ip(), "protocol_port": m.socket.port(),
                    "weight": m.weight, "backup": m.backup, "admin_state_up": m.admin_state_up,
                });
                merge(&mut member, &m.more);
                member
            })
            .collect();
        let mut listener = json!({
            "name": "front",
            "protocol": protocol,
            "protocol_port": self.vip.port(),
            "timeout_client_data": self.timeouts.client,
            "timeout_member_connect": self.timeouts.connect,
            "timeout_member_data": self.timeouts.member,
            "timeout_http_request": self.timeouts.request,
            "timeout_http_keep_alive": self.timeouts.keep_alive,
            "log": {"format": self.log_format.unwrap_or(format), "target": format!("file:{}", log.display())},
            "default_pool": {
                "name": "back", "protocol": protocol, "lb_algorithm": self.algorithm, "members": members,
            },
        });
        merge(&mut listener["default_pool"], &self.pool);
        merge(&mut listener, &self.listener);
        if self.forwarded_for {
            listener["insert_headers"] = json!({"X-Forwarded-For": "true"});
        }
        if let Some(limit) = self.connection_limit {
            listener["connection_limit"] = json!(limit);
        }
        json!({"loadbalancer": {
            "name": "test", "vip_address": self.vip.ip(), "workers": self.workers, "listeners": [listener],
        }})
    }

    /// The same for HAProxy, its log on standard output.
    pub fn haproxy(&self) -> String {
        let (mode, log) = match self.mode {
            Mode::Http => ("http", "httplog"),
            Mode::Tcp => ("tcp", "tcplog"),
        };
        let t = self.timeouts;
        let balance = match self.algorithm {
            "ROUND_ROBIN" => "roundrobin",
            "LEAST_CONNECTIONS" => "leastconn",
            _ => "source",
        };
        let mut text = format!(
            "global\n  log stdout format raw local0\n  nbthread {}\n  maxconn 2000\n\
             defaults\n  mode {mode}\n  log global\n  option {log}\n  retries 3\n  option redispatch\n\
             \x20 timeout connect {}\n  timeout client {}\n  timeout server {}\n\
             \x20 timeout http-request {}\n  timeout http-keep-alive {}\n\
             frontend front\n  bind {} {}\n  default_backend back\n",
            self.workers, t.connect, t.client, t.member, t.request, t.keep_alive, self.vip, self.haproxy_bind,
        );
        if let Some(limit) = self.connection_limit {
            writeln!(text, "  maxconn {limit}").unwrap();
        }
        if self.forwarded_for {
            text.push_str("  option forwardfor\n");
        }
        writeln!(text, "backend back\n  balance {balance}\n{}", self.haproxy_backend).unwrap();
        for m in &self.members {
            let backup = if m.backup { " backup" } else { "" };
            let disabled = if m.admin_state_up { "" } else { " disabled" };
            let more = &self.haproxy_server;
            writeln!(text, "  server {} {} weight {}{backup}{disabled} {more}", m.name, m.socket, m.weight).unwrap();
        }
        text
    }
}

/// A member with weight 1.
pub fn backend(name: &str, socket: SocketAddr) -> Backend {
    Backend { name: name.to_owned(), socket, weight: 1, backup: false, admin_state_up: true, more: json!({}) }
}

/// Adds the keys of one mapping to another.
fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}
