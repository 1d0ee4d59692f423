//! Commands that talk to the agent, and `check`, which needs nobody.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lb_control::node::{NodeClient, NodeError, Status, Summary};
use lb_control::stats::Stats;
use lb_core::config::LoadBalancer;
use lb_core::spec;
use serde::Serialize;

use crate::output::{self, Format, Told};
use crate::{Command, events, explain, persistence, tree};

/// Carries out a command with the agent at `socket`.
pub(crate) async fn talk(socket: &Path, format: Format, command: Command) -> anyhow::Result<()> {
    let node = NodeClient::new(socket);
    match command {
        Command::Apply { files } => apply(&node, &files, format).await,
        Command::Get { name } => {
            let document = node.document(&name).await?;
            if format == Format::Json { output::json(&document) } else { output::yaml(&document) }
        }
        Command::List => output::value(format, &node.list().await?, |all| list(all)),
        Command::Show { name } => output::value(format, &node.status(&name).await?, show),
        Command::Delete { names } => delete(&node, &names, format).await,
        Command::Status { name } => {
            let mut all = Vec::new();
            for name in names(&node, name).await? {
                all.push(node.status(&name).await?);
            }
            let now_ms = output::now_ms();
            let drawn = |status: &Status| tree::status(status, now_ms);
            output::value(format, &all, |all| all.iter().map(drawn).collect::<Vec<_>>().join("\n"))
        }
        Command::Events(options) => events::events(&node, &options, format).await,
        Command::Explain(options) => explain::explain(&node, options, format).await,
        Command::Persistence(command) => persistence::persistence(&node, command, format).await,
        Command::Stats { name } => {
            let mut all = Vec::new();
            for name in names(&node, name).await? {
                let summary = node.status(&name).await?.loadbalancer;
                all.push(Figures { id: summary.id, name: summary.name, stats: node.stats(&name).await? });
            }
            let drawn =
                |all: &Vec<Figures>| all.iter().map(|f| tree::stats(&f.name, &f.stats)).collect::<Vec<_>>().join("\n");
            output::value(format, &all, drawn)
        }
        Command::Check { .. } | Command::Schema | Command::Run(_) | Command::Demo { .. } | Command::Member { .. } => {
            Ok(())
        }
    }
}

#[derive(Serialize)]
struct Figures {
    id: String,
    name: String,
    stats: Stats,
}

async fn apply(node: &NodeClient, files: &[PathBuf], format: Format) -> anyhow::Result<()> {
    let mut failed = false;
    let mut replies = Vec::new();
    for file in files {
        let text = read(file)?;
        // Also here, so that mistakes bear the file's name.
        if let Err(mistakes) = spec::read(&file.display().to_string(), &text) {
            eprintln!("{}", mistakes.rendered.trim_end());
            failed = true;
            continue;
        }
        match node.apply(text).await {
            Ok(reply) => replies.push(reply),
            Err(NodeError::Client(error)) => return Err(error.into()),
            Err(error) => {
                eprintln!("lbctl: {}: {error}", file.display());
                failed = true;
            }
        }
    }
    output::value(format, &replies, |replies| {
        let line = |r: &lb_control::node::ApplyReply| {
            let (done, name) =
                (if r.created { "created" } else { "replaced" }, if r.name.is_empty() { &r.id } else { &r.name });
            format!(
                "{name} {done}, served after {:.1} ms (id {}, generation {})\n",
                r.took_us as f64 / 1000.0,
                r.id,
                r.generation
            )
        };
        replies.iter().map(line).collect()
    })?;
    if failed { Err(Told.into()) } else { Ok(()) }
}

async fn delete(node: &NodeClient, names: &[String], format: Format) -> anyhow::Result<()> {
    let mut replies = Vec::new();
    for name in names {
        replies.push(node.delete(name).await?);
    }
    output::value(format, &replies, |replies| {
        replies.iter().map(|r| format!("{} deleted\n", if r.name.is_empty() { &r.id } else { &r.name })).collect()
    })
}

/// The one that is named, or the ids of all.
async fn names(node: &NodeClient, name: Option<String>) -> Result<Vec<String>, NodeError> {
    match name {
        Some(name) => Ok(vec![name]),
        None => Ok(node.list().await?.into_iter().map(|summary| summary.id).collect()),
    }
}

fn list(all: &[Summary]) -> String {
    if all.is_empty() {
        return "no load balancers\n".to_owned();
    }
    let row = |s: &Summary| {
        vec![
            s.name.clone(),
            s.id.clone(),
            s.vip_address.clone(),
            s.listeners.to_string(),
            tree::word(&s.provisioning_status),
            s.operating_status.to_string(),
            s.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        ]
    };
    let head = ["NAME", "ID", "VIP", "LISTENERS", "PROVISIONING", "OPERATING", "PID"];
    output::table(&head, &all.iter().map(row).collect::<Vec<_>>())
}

fn show(status: &Status) -> String {
    let (lb, instance) = (&status.loadbalancer, &status.instance);
    let listener =
        |l: &lb_control::node::ListenerStatus| format!("{} {}:{}", l.protocol, lb.vip_address, l.protocol_port);
    let rows = [
        ("id", lb.id.clone()),
        ("name", lb.name.clone()),
        ("vip_address", lb.vip_address.clone()),
        ("admin_state_up", lb.admin_state_up.to_string()),
        ("provisioning_status", tree::word(&lb.provisioning_status)),
        ("operating_status", lb.operating_status.to_string()),
        ("listeners", lb.listeners.iter().map(listener).collect::<Vec<_>>().join(", ")),
        ("namespace", instance.namespace.clone()),
        ("pid", instance.pid.map_or_else(|| "-".into(), |pid| pid.to_string())),
        ("generation", instance.generation.to_string()),
        ("uptime", tree::duration(instance.uptime_ms)),
        ("restarts", instance.restarts.to_string()),
        ("last_exit", instance.last_exit.clone().unwrap_or_else(|| "-".into())),
        ("fault", instance.fault.clone().unwrap_or_else(|| "-".into())),
    ];
    rows.iter().map(|(key, value)| format!("{key:<20} {value}").trim_end().to_owned() + "\n").collect()
}

/// What `check` says of one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    ok: bool,
    mistakes: Vec<spec::Mistake>,
}

/// Finds the mistakes of documents.
pub(crate) fn check(files: &[PathBuf], format: Format) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut lines = String::new();
    for file in files {
        let name = file.display().to_string();
        let mistakes = match spec::read(&name, &read(file)?) {
            Ok(document) => {
                lines.push_str(&format!("{name}: ok: {}\n", in_short(&document)));
                Vec::new()
            }
            Err(mistakes) => {
                eprintln!("{}", mistakes.rendered.trim_end());
                mistakes.mistakes
            }
        };
        all.push(Checked { file: name, ok: mistakes.is_empty(), mistakes });
    }
    output::value(format, &all, |_| lines)?;
    if all.iter().all(|checked| checked.ok) { Ok(()) } else { Err(Told.into()) }
}

fn in_short(document: &LoadBalancer) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let members = document.pools.iter().map(|pool| pool.members.len()).sum();
    let name = if document.name.is_empty() { "(no name)" } else { &document.name };
    let (listeners, members) = (count(document.listeners.len(), "listener"), count(members, "member"));
    format!("{name}, VIP {}, {listeners}, {members}", document.vip_address)
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
