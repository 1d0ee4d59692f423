//! Weir's data plane as a process under test, and the words one speaks to it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lb_control::instance::{Applied, DocumentReply, Health, Refused};
use lb_control::stats::{ListenerStats, MemberStats, Stats};
use serde_json::Value;

use crate::binaries::bin;
use crate::message::Head;
use crate::netns::Netns;
use crate::place::Place;
use crate::process::Process;
use crate::setup::Setup;
use crate::wait::{PATIENCE, until};

/// A running lb-proxy with its control socket.
#[derive(Debug)]
pub struct Weir {
    /// The process.
    pub process: Process,
    /// Its control socket.
    pub control: Control,
    log: PathBuf,
}

impl Weir {
    /// Starts one for `setup` and waits until it serves.
    pub fn start(place: &Place, setup: &Setup) -> Self {
        Self::start_with(place, &setup.document(&place.path("access.log")), &[])
    }

    /// Starts one with a document of the test's own and more words on the command line.
    pub fn start_with(place: &Place, document: &Value, arguments: &[&str]) -> Self {
        Self::run(place, document, arguments, Command::new(bin("lb-proxy")))
    }

    /// Starts one inside a network namespace.
    pub fn start_in(namespace: &Netns, place: &Place, setup: &Setup) -> Self {
        Self::run(place, &setup.document(&place.path("access.log")), &[], namespace.command(bin("lb-proxy")))
    }

    /// Starts one for `setup` by way of another program (`prlimit`, say), with more words on its own command line.
    pub fn start_by(program: &[&str], place: &Place, setup: &Setup, arguments: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(bin("lb-proxy"));
        Self::run(place, &setup.document(&place.path("access.log")), arguments, command)
    }

    fn run(place: &Place, document: &Value, arguments: &[&str], mut command: Command) -> Self {
        let config = place.write("weir.yaml", serde_json::to_vec_pretty(document).unwrap());
        let socket = place.path("control.sock");
        command.arg("--config").arg(config).arg("--control").arg(&socket).args(arguments);
        let mut process = Process::start("lb-proxy", command, place.path("lb-proxy"));
        let control = Control { socket };
        process.wait_ready("lb-proxy to serve", || control.try_health().is_some_and(|h| h.generation > 0));
        Self { process, control, log: place.path("access.log") }
    }

    /// Traffic lines so far.
    pub fn log(&self) -> Vec<String> {
        std::fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits for `n` traffic lines.
    pub fn wait_log(&self, n: usize) -> Vec<String> {
        until(PATIENCE, &format!("{n} log lines"), || Some(self.log()).filter(|lines| lines.len() >= n))
    }
}

/// A control socket: a data plane's or the agent's.
#[derive(Clone, Debug)]
pub struct Control {
    /// Where it is.
    pub socket: PathBuf,
}

/// An answer on a control socket.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

impl Reply {
    /// The body as JSON of a known shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("not the JSON promised: {e}\n{}", self.body))
    }
}

impl Control {
    /// Talks to a socket.
    pub fn at(socket: impl AsRef<Path>) -> Self {
        Self { socket: socket.as_ref().to_owned() }
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Reply> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: control\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Err(std::io::Error::other(format!("no answer to {method} {path}")));
        };
        let mut body = bytes.split_off(end + 4);
        let head = Head::parse(bytes);
        if head.chunked() {
            body = unchunk(&body);
        }
        let status = head.word(1).parse().unwrap_or(0);
        Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// As [`Control::request`]; panics if the socket does not answer.
    pub fn must(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.request(method, path, body).unwrap_or_else(|e| panic!("{method} {path} on {}: {e}", self.socket.display()))
    }

    /// Hands over a document; any answer.
    pub fn put(&self, document: &Value) -> Reply {
        self.must("PUT", "/v1/document", &serde_json::to_vec(document).unwrap())
    }

    /// Hands over a document that must be taken.
    pub fn apply(&self, document: &Value) -> Applied {
        let reply = self.put(document);
        assert_eq!(reply.status, 200, "the document was not taken: {}", reply.body);
        reply.json()
    }

    /// Hands over text that must be refused as mistaken.
    pub fn refused(&self, text: &str) -> Refused {
        let reply = self.must("PUT", "/v1/document", text.as_bytes());
        assert_eq!(reply.status, 422, "the document was not refused: {}", reply.body);
        reply.json()
    }

    /// What it serves.
    pub fn document(&self) -> DocumentReply {
        self.must("GET", "/v1/document", b"").json()
    }

    /// Its figures.
    pub fn stats(&self) -> Stats {
        self.must("GET", "/v1/stats", b"").json()
    }

    /// Figures of the first listener.
    pub fn listener(&self) -> ListenerStats {
        self.stats().listeners.into_iter().next().expect("a listener")
    }

    /// Figures of a member.
    pub fn member(&self, name: &str) -> MemberStats {
        let members = self.stats().pools.into_iter().flat_map(|pool| pool.members);
        members.into_iter().find(|m| m.name == name).unwrap_or_else(|| panic!("no figures of member {name}"))
    }

    /// Its health.
    pub fn health(&self) -> Health {
        self.must("GET", "/v1/health", b"").json()
    }

    /// Its health, if it answers.
    pub fn try_health(&self) -> Option<Health> {
        let reply = self.request("GET", "/v1/health", b"").ok()?;
        (reply.status == 200).then(|| reply.json())
    }
}

fn unchunk(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut body) = (bytes, Vec::new());
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&rest[..line]).trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        body.extend(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
    body
}
