//! The ground a run stands on: a network namespace with nothing but a loopback, made before there are threads, and a
//! folder that goes with the run. Nothing of the machine's own network is touched.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Settings of the namespace: what would otherwise be measured instead of the proxies.
const SETTINGS: [(&str, &str); 4] = [
    // The default of ten datagrams loses lines of whoever writes them in bursts.
    ("net/unix/max_dgram_qlen", "4096"),
    // New connections for every request need many ports, soon again.
    ("net/ipv4/ip_local_port_range", "10000 65535"),
    ("net/ipv4/tcp_tw_reuse", "1"),
    ("net/core/somaxconn", "8192"),
];

/// Makes the namespace and raises the limit of descriptors. To be called before there are threads. Returns what could
/// not be had.
pub fn prepare() -> anyhow::Result<Vec<String>> {
    let mut lacking = Vec::new();
    if let Err(error) = namespace() {
        lacking.push(format!("no network namespace ({error:#}): the machine's loopback and its limits are used"));
    } else {
        for (key, value) in SETTINGS {
            if let Err(error) = std::fs::write(Path::new("/proc/sys").join(key), value) {
                lacking.push(format!("{key} stays as it is: {error}"));
            }
        }
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of descriptors")?;
    Ok(lacking)
}

/// Descriptors a process of this run may have.
pub fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

fn namespace() -> anyhow::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNET).context("unshare")?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).context("unshare")?;
        let map = |file: &str, line: String| std::fs::write(format!("/proc/self/{file}"), line);
        map("setgroups", "deny".into())?;
        map("uid_map", format!("0 {uid} 1"))?;
        map("gid_map", format!("0 {gid} 1"))?;
    }
    loopback_up()
}

/// A new network namespace has a loopback, but it is down.
pub fn loopback_up() -> anyhow::Result<()> {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip (iproute2) does not start")?;
    if !up.success() {
        bail!("ip link set lo up: {up}");
    }
    Ok(())
}
