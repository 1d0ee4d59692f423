//! `lbctl run`: a document from the command line, served in the foreground by `lb-proxy`.

use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use lb_core::spec;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Value, json};

use crate::{Protocol, RunOptions, word};

/// Becomes `lb-proxy`; returns only when that fails.
pub(crate) fn run(options: &RunOptions) -> anyhow::Result<()> {
    let text = document(options).to_string();
    spec::read("<command line>", &text).map_err(|mistakes| {
        let told = |m: &spec::Mistake| m.help.iter().fold(m.message.clone(), |words, help| format!("{words} ({help})"));
        let words: Vec<String> = mistakes.mistakes.iter().map(told).collect();
        anyhow::anyhow!("{}", words.join("; "))
    })?;
    let proxy = lb_agent::find_program("lb-proxy").context("lb-proxy is neither beside lbctl nor in PATH")?;

    // In memory, so that nothing is left behind; open across exec.
    let mut file = std::fs::File::from(memfd_create("weir-run", MemfdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let fd = file.into_raw_fd();
    eprintln!("lbctl: {} balanced over {} member(s); Ctrl-C ends it", options.listen, options.to.len());
    let error = Command::new(&proxy).arg("--config").arg(path).exec();
    Err(error).with_context(|| format!("cannot start {} (with descriptor {fd})", proxy.display()))
}

fn document(options: &RunOptions) -> Value {
    let protocol = word(&options.protocol);
    let member = |(i, to): (usize, &std::net::SocketAddr)| json!({"name": format!("m{}", i + 1), "address": to.ip(), "protocol_port": to.port()});
    let mut listener = json!({
        "name": "run",
        "protocol": protocol,
        "protocol_port": options.listen.port(),
        "default_pool": {
            "name": "run",
            "protocol": protocol,
            "lb_algorithm": word(&options.algorithm),
            "members": options.to.iter().enumerate().map(member).collect::<Vec<_>>(),
        },
    });
    if matches!(options.protocol, Protocol::Http) {
        listener["insert_headers"] = json!({"X-Forwarded-For": "true"});
    }
    let mut body = json!({"name": "run", "vip_address": options.listen.ip(), "listeners": [listener]});
    if let Some(workers) = options.workers {
        body["workers"] = json!(workers);
    }
    json!({ "loadbalancer": body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Options};
    use clap::Parser;

    #[test]
    fn every_command_line_makes_a_legal_document() {
        for line in [
            "lbctl run --listen 127.0.0.1:8080 --to 127.0.0.1:1 --to 127.0.0.1:2",
            "lbctl run --listen [::1]:8080 --to [::1]:1 127.0.0.1:2 --protocol tcp --algorithm source_ip --workers 2",
            "lbctl run --listen 192.0.2.1:80 --to 127.0.0.1:1 --algorithm LEAST_CONNECTIONS",
        ] {
            let options = Options::try_parse_from(line.split(' ')).unwrap();
            let Command::Run(options) = options.command else { panic!() };
            let text = document(&options).to_string();
            let read = spec::read("t", &text).unwrap_or_else(|m| panic!("{line}\n{m}"));
            assert_eq!(read.pools[0].members.len(), options.to.len());
        }
    }
}
