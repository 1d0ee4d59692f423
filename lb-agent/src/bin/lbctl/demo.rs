//! `lbctl demo`: all of it at once, explained, and gone again afterwards.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lb_agent::netns;
use lb_control::node::NodeClient;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::{now_ms, text};
use crate::stage::{BRIDGE, Stage, request};
use crate::tree;

const VIP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(20, 20, 20, 6)), 80);
const MEMBERS: [(&str, SocketAddr); 2] = [
    ("lb-1", SocketAddr::new(IpAddr::V4(Ipv4Addr::new(20, 20, 20, 2)), 80)),
    ("lb-2", SocketAddr::new(IpAddr::V4(Ipv4Addr::new(20, 20, 20, 4)), 80)),
];
const CLIENT: (&str, IpAddr) = ("client", IpAddr::V4(Ipv4Addr::new(20, 20, 20, 100)));
const REQUESTS: usize = 10;

/// What the demo may do on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Namespaces are seen by `ip netns`.
    Root,
    /// Root only inside a user namespace, which has a `/run` of its own.
    UserNamespace,
}

/// Without root, becomes root of a user namespace. To be called before there are threads.
pub(crate) fn prepare() -> anyhow::Result<Rights> {
    if geteuid().is_root() {
        return Ok(Rights::Root);
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context(
        "the demo makes network namespaces. It needs root, or a kernel that lets users make user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0, \
         kernel.apparmor_restrict_unprivileged_userns=0)",
    )?;
    let map = |file: &str, line: String| {
        std::fs::write(format!("/proc/self/{file}"), line).with_context(|| format!("cannot write /proc/self/{file}"))
    };
    map("setgroups", "deny".into())?;
    map("uid_map", format!("0 {uid} 1"))?;
    map("gid_map", format!("0 {gid} 1"))?;
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE).context("cannot make mounts private")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).context("cannot mount a /run")?;
    Ok(Rights::UserNamespace)
}

/// Plays it. Everything is removed on every way out; `once`: does not wait for Ctrl-C at the end.
pub(crate) async fn demo(once: bool, rights: Rights) -> anyhow::Result<()> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let folder = if rights == Rights::Root { std::env::temp_dir() } else { "/run".into() };
    let mut stage = Stage::new(&folder)
        .context("cannot set up the demo's namespaces (in a container? it needs CAP_SYS_ADMIN and CAP_NET_ADMIN)")?;
    let played = tokio::select! {
        played = play(&mut stage, rights) => played,
        _ = int.recv() => Ok(()),
        _ = term.recv() => Ok(()),
    };
    let stayed = match (&played, once) {
        (Ok(()), false) => {
            let said = text(&format!(
                "\nIt stays up. From another terminal:\n\n    {}\n\nCtrl-C ends it and removes everything.",
                command_for_readers(&stage, rights)
            ));
            tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
            said
        }
        _ => Ok(()),
    };
    if played.is_err() {
        eprintln!("The agent's last words:\n{}\n", stage.agent_says());
    }
    let gone = take_down(stage).await;
    played.and(stayed).and(gone)
}

async fn play(stage: &mut Stage, rights: Rights) -> anyhow::Result<()> {
    say("Weir demo: one VIP before two members. All of it is in network namespaces of its own.")?;
    if rights == Rights::UserNamespace {
        say("Not root: it plays in a user namespace, which nobody else sees.")?;
    }
    for (name, at) in MEMBERS {
        stage.add_host(name, at.ip())?;
        stage.start_member(name, at)?;
        say(&format!("  {:<18} member {name}, listens on {at}", stage.host(name)))?;
    }
    stage.add_host(CLIENT.0, CLIENT.1)?;
    say(&format!("  {:<18} client, {}", stage.host(CLIENT.0), CLIENT.1))?;
    let pid = stage.start_agent(&agent_config(rights))?;
    say(&format!("  {:<18} the agent (pid {pid}) and the bridge {BRIDGE} that joins them", stage.node()))?;

    let node = NodeClient::new(stage.socket());
    let applied = node.apply(document(stage)).await?;
    let instance = node.status(&applied.id).await?.instance;
    let took = applied.took_us as f64 / 1000.0;
    say(&format!(
        "\nApplied a document: VIP {VIP}, HTTP, ROUND_ROBIN. Served after {took:.0} ms by its own data plane"
    ))?;
    say(&format!("  {} (pid {})", instance.namespace, instance.pid.unwrap_or(0)))?;

    let mut lost = send(stage, "both members run").await?;
    let victim = MEMBERS[1];
    stage.stop_member(victim.0);
    lost += send(stage, &format!("{} is killed", victim.0)).await?;
    stage.start_member(victim.0, victim.1)?;
    let waited = until_used_again(stage, victim.0).await?;
    say(&format!("\n{} runs again, and is used again {} ms later.", victim.0, waited.as_millis()))?;
    lost += send(stage, "both members run").await?;

    say("\n$ lbctl status")?;
    say(&tree::status(&node.status(&applied.id).await?, now_ms()))?;
    say("$ lbctl stats")?;
    say(&tree::stats("demo", &node.stats(&applied.id).await?))?;
    if lost > 0 {
        bail!("{lost} requests failed");
    }
    Ok(())
}

/// A member that just failed is avoided for a while.
async fn until_used_again(stage: &Stage, member: &str) -> anyhow::Result<Duration> {
    const LONGEST: Duration = Duration::from_secs(30);
    const STEP: Duration = Duration::from_millis(50);
    let (client, began) = (stage.host(CLIENT.0), Instant::now());
    while netns::inside_async(&client, || request(VIP)).await?? != member {
        if began.elapsed() > LONGEST {
            bail!("{member} gets no requests {} s after it came back", LONGEST.as_secs());
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(began.elapsed())
}

/// Sends requests from the client and shows who answered; returns how many failed.
async fn send(stage: &Stage, when: &str) -> anyhow::Result<usize> {
    let client = stage.host(CLIENT.0);
    let all = netns::inside_async(&client, || (0..REQUESTS).map(|_| request(VIP)).collect::<Vec<_>>()).await?;
    let mut counts = BTreeMap::<String, usize>::new();
    let names: Vec<String> = all
        .into_iter()
        .map(|answer| {
            let name = answer.unwrap_or_else(|error| format!("FAILED ({error})"));
            *counts.entry(name.clone()).or_default() += 1;
            name
        })
        .collect();
    let lost: usize = counts.iter().filter(|(name, _)| name.starts_with("FAILED")).map(|(_, n)| n).sum();
    let sum: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
    say(&format!("\n{REQUESTS} requests to http://{}/ while {when}:", VIP.ip()))?;
    say(&format!("  {}\n  = {}, {lost} failed", names.join(" "), sum.join(", ")))?;
    Ok(lost)
}

/// The polite way out; what it leaves, the stage removes.
async fn take_down(stage: Stage) -> anyhow::Result<()> {
    let node = NodeClient::new(stage.socket());
    let _ = node.delete(&stage.id.to_string()).await;
    drop(stage);
    say("Everything is removed.")
}

fn command_for_readers(stage: &Stage, rights: Rights) -> String {
    let client = stage.host(CLIENT.0);
    let curl = format!("curl http://{}/", VIP.ip());
    match rights {
        Rights::Root => format!("ip netns exec {client} {curl}"),
        Rights::UserNamespace => {
            let pid = std::process::id();
            let path = Path::new("/proc")
                .join(pid.to_string())
                .join("root")
                .join(netns::path_of(&client).strip_prefix("/").unwrap_or(Path::new("")));
            format!("nsenter -t {pid} -U --preserve-credentials --net={} {curl}", path.display())
        }
    }
}

/// In a user namespace there is nobody but its root.
fn agent_config(rights: Rights) -> String {
    let user = if rights == Rights::Root { "nobody" } else { "root" };
    format!("user: {user}\ndrain_timeout_s: 1\nnetworks:\n  - {{name: demo, cidr: 20.20.20.0/24, bridge: {BRIDGE}}}\n")
}

fn document(stage: &Stage) -> String {
    let members: Vec<String> = MEMBERS
        .iter()
        .map(|(name, at)| {
            format!("          - {{name: {name}, address: {}, protocol_port: {}, weight: 1}}\n", at.ip(), at.port())
        })
        .collect();
    format!(
        "loadbalancer:
  id: {}
  name: demo
  vip_address: {}
  listeners:
    - name: http
      protocol: HTTP
      protocol_port: {}
      insert_headers: {{X-Forwarded-For: \"true\"}}
      log: {{format: httplog, target: stderr}}
      default_pool:
        name: web
        protocol: HTTP
        lb_algorithm: ROUND_ROBIN
        members:
{}",
        stage.id,
        VIP.ip(),
        VIP.port(),
        members.concat()
    )
}

fn say(words: &str) -> anyhow::Result<()> {
    text(&format!("{words}\n"))
}
