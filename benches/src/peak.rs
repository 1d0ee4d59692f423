//! The load that takes what it gets: `wrk`, each connection asking again once answered.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::scenario::Request;

/// What `wrk` counted.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Requests answered 200 in full.
    pub requests: u64,
    /// Over this long.
    pub time: Duration,
}

/// Asks as much as goes. Any error, and any answer that is not a 2xx or 3xx, is one.
pub fn run(
    scheme: &str,
    to: SocketAddr,
    request: &Request,
    connections: usize,
    time: Duration,
    folder: &Path,
) -> anyhow::Result<Peak> {
    let script = folder.join("wrk.lua");
    std::fs::write(&script, lua(request)).with_context(|| format!("cannot write {}", script.display()))?;
    let output = Command::new("wrk")
        .args(["--threads", "1", "--timeout", "10s"])
        .arg("--connections")
        .arg(connections.to_string())
        .arg("--duration")
        .arg(format!("{}s", time.as_secs().max(1)))
        .arg("--script")
        .arg(&script)
        .arg(format!("{scheme}://{to}{}", request.path))
        .stdin(Stdio::null())
        .output()
        .context("wrk does not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("COUNTED ")).with_context(|| {
        format!("wrk did not count ({}):\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    let counts = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [requests, time, connect, read, write, status, timeout] = counts[..] else { bail!("wrk wrote {line:?}") };
    if connect + read + write + status + timeout > 0 {
        bail!(
            "of {requests} requests: {status} not answered 2xx, {timeout} timed out, {connect} not connected, \
             {read} failed reading, {write} failed writing"
        );
    }
    if requests == 0 {
        bail!("not one request was answered");
    }
    Ok(Peak { requests, time: Duration::from_micros(time) })
}

fn lua(request: &Request) -> String {
    let mut lua = format!("wrk.method = {:?}\nwrk.path = {:?}\n", request.method(), request.path);
    for (name, value) in request.headers() {
        lua += &format!("wrk.headers[{name:?}] = {value:?}\n");
    }
    if request.body > 0 {
        lua += &format!("wrk.body = string.rep('u', {})\n", request.body);
    }
    lua + "done = function(summary, latency, requests)\n\
           \x20 local e = summary.errors\n\
           \x20 io.write(string.format('COUNTED %d %d %d %d %d %d %d\\n', summary.requests, summary.duration,\n\
           \x20   e.connect, e.read, e.write, e.status, e.timeout))\n\
           end\n"
}
