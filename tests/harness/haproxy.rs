//! The program to be replaced, run as the reference.

use std::process::Command;

use crate::place::Place;
use crate::process::Process;
use crate::setup::Setup;

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    process: Process,
}

impl Haproxy {
    /// Starts one for `setup`.
    pub fn start(place: &Place, setup: &Setup) -> Self {
        let config = place.write("haproxy.cfg", setup.haproxy());
        let mut command = Command::new(program());
        command.arg("-db").arg("-f").arg(config);
        let mut process = Process::start("haproxy", command, place.path("haproxy"));
        process.wait_ready(&format!("haproxy to listen on {}", setup.vip), || listening(setup.vip));
        Self { process }
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
