//! `floods`: what slow readers, floods and half-open clients cost others. See `benches/README.md`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use weir_benches::contender::{Contender, Kind, member};
use weir_benches::cores;
use weir_benches::floods::{Attack, Plan, Seen, play};
use weir_benches::{member as server, place, process};

/// Plays attacks against HAProxy and Weir, while others ask at a steady rate.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Attacks, with commas
    #[arg(long, value_delimiter = ',', default_value = "none,slow-read,one-address,network,half-open")]
    attacks: Vec<String>,
    /// Slow readers
    #[arg(long, default_value_t = 1000)]
    readers: usize,
    /// Half-open clients
    #[arg(long, default_value_t = 5000)]
    half_open: usize,
    /// Others' requests each second
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Seconds of each
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Data threads; the last core is everybody else's
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Only these: `haproxy`, `weir`
    #[arg(long, value_delimiter = ',', default_value = "haproxy,weir")]
    only: Vec<String>,
    /// Another data plane than the workspace's
    #[arg(long)]
    weir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = run(&Options::parse());
    process::kill_all();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floods: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let program = match &options.weir {
        Some(path) => path.clone(),
        None => built()?,
    };
    for lacking in place::prepare()? {
        println!("({lacking})");
    }
    let folder = tempfile::tempdir()?;
    process::end_on_signals(folder.path().to_owned())?;
    let last = std::thread::available_parallelism()?.get() - 1;
    cores::pin(&[last])?;
    std::thread::Builder::new().name("member".into()).spawn(|| {
        let sockets: [SocketAddr; 1] = [member(0)];
        // A member is another machine: what its kernel would hold must not use up this one's.
        if let Err(error) = server::serve_holding(&sockets, Some(64 * 1024)) {
            eprintln!("floods: the member ended: {error:#}");
        }
    })?;
    // What asks is not to wait for those who attack.
    let _ = Command::new("renice").args(["-n", "-15", "-p", &std::process::id().to_string()]).output();
    let mut contenders = Vec::new();
    if options.only.iter().any(|name| name == "haproxy") {
        contenders.push(Contender::new("haproxy", Kind::Haproxy, PathBuf::from("/usr/sbin/haproxy"))?);
    }
    if options.only.iter().any(|name| name == "weir") {
        contenders.push(Contender::new("weir", Kind::Weir, program)?);
    }
    println!(
        "| attack | proxy | p50 ms | p99 ms | p99.9 ms | worst ms | failed | core % | memory kB, each | kernel kB | made/s |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for name in &options.attacks {
        let attack = Attack::ALL.into_iter().find(|attack| attack.name() == name).context("no such attack")?;
        let attackers = if attack == Attack::HalfOpen { options.half_open } else { options.readers };
        let time = Duration::from_secs(options.seconds);
        let plan = Plan { attack, attackers, rate: options.rate, time, threads: options.threads };
        for contender in &contenders {
            let seen = play(&plan, contender, folder.path())?;
            report(&plan, &contender.name, &seen);
        }
    }
    Ok(())
}

fn report(plan: &Plan, name: &str, seen: &Seen) {
    let ms = |nanos: u64| nanos as f64 / 1e6;
    let latency = &seen.others.latency;
    let grown = seen.memory_kb.1.saturating_sub(seen.memory_kb.0);
    let holds = matches!(plan.attack, Attack::SlowRead | Attack::HalfOpen);
    let each = if holds { format!("{:.1}", grown as f64 / plan.attackers as f64) } else { "–".to_owned() };
    println!(
        "| {} | {name} | {:.2} | {:.2} | {:.2} | {:.1} | {} | {:.0} | {grown}, {each} | {} | {:.0} |",
        plan.attack.name(),
        ms(latency.value_at_quantile(0.5)),
        ms(latency.value_at_quantile(0.99)),
        ms(latency.value_at_quantile(0.999)),
        ms(latency.max()),
        seen.others.errors.len() as u64 + seen.others.unanswered,
        seen.cpu * 100.0,
        seen.kernel_kb.1.saturating_sub(seen.kernel_kb.0),
        seen.made,
    );
    for error in seen.others.errors.iter().take(3) {
        println!("({error})");
    }
}

/// The workspace's data plane in release mode.
fn built() -> anyhow::Result<PathBuf> {
    let status = Command::new("cargo").args(["build", "--release", "-p", "lb-proxy"]).status()?;
    ensure!(status.success(), "lb-proxy does not build");
    let here = std::env::current_exe()?;
    Ok(here.parent().context("no folder")?.join("lb-proxy"))
}
