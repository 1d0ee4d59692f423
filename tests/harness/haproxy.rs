//! The program to be replaced, run as the reference.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use crate::place::Place;
use crate::process::Process;
use crate::setup::Setup;

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    process: Process,
    stats: PathBuf,
}

impl Haproxy {
    /// Starts one for `setup`.
    pub fn start(place: &Place, setup: &Setup) -> Self {
        Self::start_with(place, &setup.haproxy(), setup.vip)
    }

    /// Starts one with a configuration of the test's own, which begins with `global`; it serves once it listens on
    /// `address`.
    pub fn start_with(place: &Place, config: &str, address: SocketAddr) -> Self {
        let stats = place.path("haproxy.sock");
        let socket = format!("global\n  stats socket {} level admin\n", stats.display());
        let config = place.write("haproxy.cfg", config.replacen("global\n", &socket, 1));
        let mut command = Command::new(program());
        command.arg("-db").arg("-f").arg(config);
        let mut process = Process::start("haproxy", command, place.path("haproxy"));
        process.wait_ready(&format!("haproxy to listen on {address}"), || listening(address));
        Self { process, stats }
    }

    /// What it says of a server: the columns of `show stat` by name.
    pub fn server(&self, name: &str) -> HashMap<String, String> {
        let table = self.ask("show stat");
        let mut lines = table.trim_start_matches("# ").lines();
        let columns: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let rows = lines.map(|line| line.split(',').collect::<Vec<_>>());
        let row =
            rows.into_iter().find(|row| row.get(1) == Some(&name)).unwrap_or_else(|| panic!("no {name}: {table}"));
        columns.iter().zip(row).map(|(column, value)| ((*column).to_owned(), value.to_owned())).collect()
    }

    /// True while it sends new work to the server, as far as checks are concerned (`UP`, `UP 1/3`).
    pub fn is_up(&self, name: &str) -> bool {
        let status = self.server(name).remove("status").unwrap_or_default();
        status.starts_with("UP") || status == "no check"
    }

    /// A command on its socket.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.stats).unwrap();
        writeln!(stream, "{command}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Traffic lines so far.
    pub fn log(&self) -> Vec<String> {
        self.process.stdout().lines().filter(|line| line.starts_with("127.")).map(str::to_owned).collect()
    }
}

fn program() -> &'static str {
    let path = "/usr/sbin/haproxy";
    assert!(std::path::Path::new(path).exists(), "the differential tests need HAProxy: run ./check, or install it");
    path
}

/// True if somebody listens there, seen without connecting (a connection would be counted and logged).
pub fn listening(socket: std::net::SocketAddr) -> bool {
    let std::net::IpAddr::V4(ip) = socket.ip() else {
        return false;
    };
    let octets = ip.octets();
    let wanted = format!("{:02X}{:02X}{:02X}{:02X}:{:04X}", octets[3], octets[2], octets[1], octets[0], socket.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&wanted) && words.nth(1) == Some("0A")
    })
}
