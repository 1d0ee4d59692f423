//! What is played. A scenario is data: nothing in a proxy or in the load knows its name.

use serde::{Deserialize, Serialize};

/// How a member is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// In turn.
    RoundRobin,
    /// Fewest connections.
    LeastConnections,
    /// By the client's address.
    SourceIp,
}

/// How clients speak TLS to a proxy; it speaks to members in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Of the proxy's certificate.
    pub key: KeyType,
    /// Clients that come again go on with their session; else each connection is a whole handshake.
    pub resumes: bool,
    /// HTTP/2 inside.
    pub http2: bool,
}

/// A certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA, 2048 bits.
    Rsa,
}

/// One request, the same over and over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Path, which tells the member what to answer.
    pub path: String,
    /// Bytes of body sent, by POST; 0: a GET.
    pub body: usize,
    /// A new connection for each.
    pub close: bool,
    /// Header fields besides the necessary ones.
    pub fields: usize,
}

impl Request {
    /// A GET of `path` on a kept connection.
    pub fn get(path: &str) -> Self {
        Self { path: path.to_owned(), body: 0, close: false, fields: 0 }
    }

    /// `GET` or `POST`.
    pub fn method(&self) -> &'static str {
        if self.body > 0 { "POST" } else { "GET" }
    }

    /// Header fields, `Content-Length` apart.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut all = vec![("Host".to_owned(), "bench.test".to_owned())];
        if self.close {
            all.push(("Connection".to_owned(), "close".to_owned()));
        }
        all.extend((0..self.fields).map(|n| (format!("X-Field-{n:02}"), format!("a value of usual length {n:04}"))));
        all
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method(), self.path);
        for (name, value) in self.headers() {
            head += &format!("{name}: {value}\r\n");
        }
        if self.body > 0 {
            head += &format!("Content-Length: {}\r\n", self.body);
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.resize(bytes.len() + self.body, b'u');
        bytes
    }
}

/// One scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: String,
    /// A name it shares with others, which asks for all of them.
    pub group: String,
    /// In words.
    pub what: String,
    /// HTTP mode; else bytes are relayed (and are HTTP for the load and the member).
    pub http: bool,
    /// Access log on.
    pub log: bool,
    /// Members behind the proxy.
    pub members: usize,
    /// How they are chosen.
    pub algorithm: Algorithm,
    /// What is asked.
    pub request: Request,
    /// Connections at once.
    pub connections: usize,
    /// Idle keep-alive connections beside them.
    pub idle: usize,
    /// Seconds between two health checks (HTTP) of each member; `None`: nobody asks them.
    pub checked_every_s: Option<u32>,
    /// Clients speak TLS. Such a scenario has no rounds at a rate.
    #[serde(default)]
    pub tls: Option<Tls>,
}

impl Scenario {
    fn http(name: &str, what: &str, connections: usize, request: Request) -> Self {
        Self {
            name: name.to_owned(),
            group: name.to_owned(),
            what: what.to_owned(),
            http: true,
            log: true,
            members: 1,
            algorithm: Algorithm::RoundRobin,
            request,
            connections,
            idle: 0,
            checked_every_s: None,
            tls: None,
        }
    }

    fn tls(name: &str, what: &str, connections: usize, request: Request, tls: Tls) -> Self {
        Self { tls: Some(tls), ..Self::http(name, what, connections, request) }
    }

    fn tcp(name: &str, what: &str, connections: usize, request: Request) -> Self {
        Self { http: false, ..Self::http(name, what, connections, request) }
    }
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    let get = Request::get;
    let small = || get("/b/128");
    let closed = || Request { close: true, ..small() };
    let mut all = vec![
        Scenario::http("small-16", "128-byte answers, 16 kept connections", 16, small()),
        Scenario::http("small-64", "128-byte answers, 64 kept connections", 64, small()),
        Scenario::http("small-512", "128-byte answers, 512 kept connections", 512, small()),
        Scenario { log: false, ..Scenario::http("small-64-nolog", "small-64 without access log", 64, small()) },
        Scenario::http("headers-64", "small-64 with 20 header fields", 64, Request { fields: 20, ..small() }),
        Scenario::http("close-64", "a new connection for each request, 64 at once", 64, closed()),
        Scenario::http("body-16k", "16 KiB answers", 64, get("/b/16384")),
        Scenario::http("body-1m", "1 MiB answers", 16, get("/b/1048576")),
        Scenario::http("upload-1m", "1 MiB uploads", 16, Request { body: 1 << 20, ..small() }),
        Scenario::http("chunked-16k", "16 KiB answers in four chunks", 64, get("/c/16384")),
        Scenario::tcp("tcp-small-64", "TCP mode, 128-byte answers on 64 kept connections", 64, small()),
        Scenario::tcp("tcp-16k", "TCP mode, 16 KiB answers", 64, get("/b/16384")),
        Scenario::tcp("tcp-1m", "TCP mode, 1 MiB answers", 16, get("/b/1048576")),
        Scenario::tcp("tcp-close", "TCP mode, a new connection for each request", 64, closed()),
    ];
    let algorithms = [
        ("rr", "ROUND_ROBIN", Algorithm::RoundRobin),
        ("lc", "LEAST_CONNECTIONS", Algorithm::LeastConnections),
        ("src", "SOURCE_IP", Algorithm::SourceIp),
    ];
    for members in [1, 8, 200, 1000] {
        for (short, word, algorithm) in algorithms {
            let name = format!("members-{members}-{short}");
            let what = format!("small-64 over {members} members, {word}");
            let group = format!("members-{members}");
            all.push(Scenario { group, members, algorithm, ..Scenario::http(&name, &what, 64, small()) });
        }
    }
    let checked =
        Scenario::http("members-1000-checked", "members-1000-rr, each asked over HTTP every 2 s", 64, small());
    all.push(Scenario { group: "members-1000".to_owned(), members: 1000, checked_every_s: Some(2), ..checked });
    let idle = Scenario::http("idle-10k", "small-64 beside 10,000 idle connections; memory of each", 64, small());
    all.push(Scenario { idle: 10_000, ..idle });
    let tls = Tls { key: KeyType::Ecdsa, resumes: false, http2: false };
    let (rsa, resumed, h2) =
        (Tls { key: KeyType::Rsa, ..tls }, Tls { resumes: true, ..tls }, Tls { http2: true, ..tls });
    let close = |name: &str, what: &str, tls| Scenario {
        group: "tls-close".to_owned(),
        ..Scenario::tls(name, what, 16, closed(), tls)
    };
    all.extend([
        Scenario::tls("tls-small-64", "TLS 1.3, 128-byte answers on 64 kept connections", 64, small(), tls),
        close("tls-close-ecdsa", "a whole TLS 1.3 handshake for each request, ECDSA P-256", tls),
        close("tls-close-rsa", "a whole TLS 1.3 handshake for each request, RSA-2048", rsa),
        Scenario::tls("tls-resume", "a resumed TLS 1.3 session for each request", 16, closed(), resumed),
        Scenario::tls("tls-body-1m", "TLS 1.3, 1 MiB answers", 16, get("/b/1048576"), tls),
        Scenario::tls("h2-small", "HTTP/2, 128-byte answers, 16 connections with 10 streams each", 16, small(), h2),
    ]);
    all
}

/// Those of the given names or groups; all if there are none.
pub fn named(names: &[String]) -> anyhow::Result<Vec<Scenario>> {
    let mut chosen = Vec::new();
    for name in names {
        let found: Vec<Scenario> = all().into_iter().filter(|s| s.name == *name || s.group == *name).collect();
        anyhow::ensure!(!found.is_empty(), "there is no scenario {name}; --list has them all");
        chosen.extend(found);
    }
    Ok(if names.is_empty() { all() } else { chosen })
}
