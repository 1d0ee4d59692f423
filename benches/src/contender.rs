//! Who plays, with equal settings: threads, keep-alive on both sides, forwarded-for, one log line for each request to the
//! same kind of sink, the same timeouts. What differs between the configurations differs in words only.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::json;

use crate::scenario::{Algorithm, Scenario};
use crate::tls;

/// Port of all members.
pub const MEMBER_PORT: u16 = 9000;
/// Where nginx's relay of bytes is, if it is a module.
const STREAM_MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

/// A kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody: the load asks the member itself.
    Direct,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// Weir.
    Weir,
}

/// A proxy that takes part.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What it is called in tables.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its program.
    pub program: PathBuf,
    /// What it says its version is.
    pub version: String,
}

/// How it is to be started.
#[derive(Debug)]
pub struct Start {
    /// Arguments.
    pub arguments: Vec<String>,
    /// A reason not to: it cannot play this.
    pub cannot: Option<String>,
}

/// What a configuration is made from.
#[derive(Debug)]
pub struct Setting<'s> {
    /// What is played.
    pub scenario: &'s Scenario,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Data threads.
    pub threads: usize,
    /// Log socket.
    pub log: &'s Path,
    /// For its files.
    pub folder: &'s Path,
}

/// Address of the nth member.
pub fn member(n: usize) -> SocketAddr {
    let (third, fourth) = ((n / 250) as u8, (n % 250) as u8 + 1);
    SocketAddr::from((Ipv4Addr::new(127, 1, third, fourth), MEMBER_PORT))
}

impl Contender {
    /// One that is there.
    pub fn new(name: &str, kind: Kind, program: PathBuf) -> anyhow::Result<Self> {
        let version = match kind {
            Kind::Direct => String::new(),
            Kind::Haproxy | Kind::Nginx => version(&program, "-v")?,
            Kind::Weir => version(&program, "--version")?,
        };
        Ok(Self { name: name.to_owned(), kind, program, version })
    }

    /// Writes its configuration.
    pub fn prepare(&self, setting: &Setting<'_>) -> anyhow::Result<Start> {
        let file = setting.folder.join(format!("{}.conf", self.name));
        let (path, folder) = (file.display().to_string(), setting.folder.display().to_string());
        let mut cannot = None;
        let (text, arguments) = match self.kind {
            Kind::Direct => bail!("nobody is not started"),
            Kind::Haproxy => (haproxy(setting), vec!["-db".to_owned(), "-f".into(), path]),
            Kind::Weir => (weir(setting), vec!["--user".to_owned(), "root".into(), "--config".into(), path]),
            Kind::Nginx => {
                let module = stream_module();
                if !setting.scenario.http && module.is_none() {
                    cannot = Some("nginx has no stream module here (Debian: libnginx-mod-stream)".to_owned());
                }
                if setting.scenario.checked_every_s.is_some() {
                    cannot = Some("nginx does not ask its members".to_owned());
                }
                let start = setting.folder.join("nginx-start.log").display().to_string();
                let arguments = vec!["-p".to_owned(), folder, "-e".into(), start, "-c".into(), path];
                (nginx(setting, module.as_deref()), arguments)
            }
        };
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Start { arguments, cannot })
    }
}

fn version(program: &Path, flag: &str) -> anyhow::Result<String> {
    let output =
        Command::new(program).arg(flag).output().with_context(|| format!("cannot run {}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

fn stream_module() -> Option<PathBuf> {
    let named = std::env::var_os("WEIR_BENCH_NGINX_STREAM").map(PathBuf::from);
    named.into_iter().chain(STREAM_MODULES.map(PathBuf::from)).find(|path| path.exists())
}

fn haproxy(setting: &Setting<'_>) -> String {
    let scenario = setting.scenario;
    let (mode, option) = if scenario.http { ("http", "httplog") } else { ("tcp", "tcplog") };
    let balance = match scenario.algorithm {
        Algorithm::RoundRobin => "roundrobin",
        Algorithm::LeastConnections => "leastconn",
        Algorithm::SourceIp => "source",
    };
    let mut text = format!("global\n  nbthread {}\n", setting.threads);
    if scenario.idle > 0 {
        // Its own sum would take two descriptors for each connection, and end at half of what is needed.
        text += &format!("  no strict-limits\n  maxconn {}\n", scenario.idle + 2000);
    }
    if scenario.log {
        text += &format!("  log {} local0\n", setting.log.display());
    }
    text += &format!(
        "defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n  \
         timeout http-request 10s\n  timeout http-keep-alive 50s\n"
    );
    if scenario.log {
        text += &format!("  log global\n  option {option}\n");
    }
    if scenario.http {
        text += "  option forwardfor\n  http-reuse always\n";
    }
    text += &format!(
        "frontend vip\n  bind {}{}\n  default_backend pool\nbackend pool\n  balance {balance}\n",
        setting.listen,
        scenario.tls.map_or_else(String::new, |_| format!(
            " ssl crt {} alpn h2,http/1.1 curves {}",
            tls::bundle(setting.folder).display(),
            tls::GROUPS
        ))
    );
    let check = scenario.checked_every_s.map_or_else(String::new, |every_s| format!(" check inter {every_s}s"));
    if !check.is_empty() {
        text += "  option httpchk GET /b/128\n";
    }
    for n in 0..scenario.members {
        text += &format!("  server m{n} {}{check}\n", member(n));
    }
    text
}

fn nginx(setting: &Setting<'_>, module: Option<&Path>) -> String {
    let (scenario, folder) = (setting.scenario, setting.folder.display());
    let mut text = String::new();
    if let Some(module) = module.filter(|_| !scenario.http) {
        text += &format!("load_module {};\n", module.display());
    }
    if setting.threads == 1 {
        text += "master_process off;\n";
    }
    text += &format!(
        "daemon off;\nuser root;\nworker_processes {};\npid {folder}/nginx.pid;\nerror_log {folder}/nginx-error.log error;\n\
         events {{ worker_connections {}; }}\n",
        setting.threads,
        4096 + 2 * scenario.members + scenario.idle
    );
    let balance = match scenario.algorithm {
        Algorithm::RoundRobin => "",
        Algorithm::LeastConnections => "    least_conn;\n",
        Algorithm::SourceIp => "    hash $remote_addr;\n",
    };
    let servers: String = (0..scenario.members).map(|n| format!("    server {};\n", member(n))).collect();
    let format = if scenario.http { "combined" } else { "relay" };
    let log = if scenario.log {
        format!("access_log syslog:server=unix:{} {format}", setting.log.display())
    } else {
        "access_log off".to_owned()
    };
    // Several workers share one socket or have one each; the second spreads better.
    let reuse = if setting.threads > 1 { " reuseport" } else { "" };
    let listen = match scenario.tls {
        None => format!("listen {} backlog=4096{reuse};", setting.listen),
        Some(speaks) => format!(
            "listen {} backlog=4096{reuse} ssl{};\n    ssl_certificate {bundle};\n    ssl_certificate_key {bundle};\n    \
             ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_ecdh_curve {};\n    ssl_session_tickets on;",
            setting.listen,
            if speaks.http2 { " http2" } else { "" },
            tls::GROUPS,
            bundle = tls::bundle(setting.folder).display(),
        ),
    };
    if !scenario.http {
        return text
            + &format!(
                "stream {{\n  log_format relay '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received \
                 $session_time';\n  {log};\n  upstream pool {{\n{balance}{servers}  }}\n  server {{\n    {listen}\n    \
                 proxy_pass pool;\n    proxy_connect_timeout 5s;\n    proxy_timeout 50s;\n  }}\n}}\n"
            );
    }
    // Kept connections: 128, more where members or clients are more.
    let kept = 128.max(2 * scenario.members).max(scenario.connections);
    text + &format!(
        "http {{\n  {log};\n  keepalive_timeout 50s;\n  keepalive_requests 1000000000;\n  client_header_timeout 10s;\n  \
         client_body_timeout 50s;\n  send_timeout 50s;\n  client_max_body_size 0;\n  client_body_temp_path {folder}/body;\n  \
         proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  \
         scgi_temp_path {folder}/scgi;\n  upstream pool {{\n{balance}{servers}    keepalive {kept};\n    \
         keepalive_requests 1000000000;\n    keepalive_timeout 50s;\n  }}\n  server {{\n    {listen}\n    location / {{\n      \
         proxy_pass http://pool;\n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      \
         proxy_set_header Host $http_host;\n      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
         proxy_connect_timeout 5s;\n      proxy_read_timeout 50s;\n      proxy_send_timeout 50s;\n      \
         proxy_buffer_size 16k;\n      proxy_buffers 8 16k;\n      proxy_max_temp_file_size 0;\n      \
         proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    )
}

fn weir(setting: &Setting<'_>) -> String {
    let scenario = setting.scenario;
    let protocol = if scenario.http { "HTTP" } else { "TCP" };
    let algorithm = match scenario.algorithm {
        Algorithm::RoundRobin => "ROUND_ROBIN",
        Algorithm::LeastConnections => "LEAST_CONNECTIONS",
        Algorithm::SourceIp => "SOURCE_IP",
    };
    let members: Vec<_> = (0..scenario.members)
        .map(|n| json!({"name": format!("m{n}"), "address": member(n).ip().to_string(), "protocol_port": MEMBER_PORT}))
        .collect();
    let mut listener = json!({
        "name": "vip",
        "protocol": protocol,
        "protocol_port": setting.listen.port(),
        "timeout_client_data": 50_000,
        "timeout_member_connect": 5_000,
        "timeout_member_data": 50_000,
        "default_pool": {"name": "pool", "protocol": protocol, "lb_algorithm": algorithm, "members": members},
    });
    listener["log"] =
        if scenario.log { json!({"target": format!("syslog:{}", setting.log.display())}) } else { json!(false) };
    if scenario.http {
        listener["timeout_http_request"] = json!(10_000);
        listener["timeout_http_keep_alive"] = json!(50_000);
        listener["insert_headers"] = json!({"X-Forwarded-For": "true"});
    }
    if scenario.tls.is_some() {
        listener["protocol"] = json!("TERMINATED_HTTPS");
        listener["default_tls_container_ref"] = json!(format!("file:{}", tls::bundle(setting.folder).display()));
    }
    if let Some(every_s) = scenario.checked_every_s {
        listener["default_pool"]["healthmonitor"] = json!({
            "type": "HTTP", "delay": every_s, "timeout": every_s, "max_retries": 3, "url_path": "/b/128",
        });
    }
    let document = json!({"loadbalancer": {
        "name": "bench",
        "vip_address": setting.listen.ip().to_string(),
        "workers": setting.threads,
        "listeners": [listener],
    }});
    format!("{document:#}\n")
}
