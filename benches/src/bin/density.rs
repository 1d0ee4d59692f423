//! `density`: how many VIPs fit on a node, and what they cost at rest, beside HAProxy processes. See `benches/README.md`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use weir_benches::cores::load_average;
use weir_benches::density::{self, Density, Node};
use weir_benches::summary::Spread;
use weir_benches::{place, plot, process, report};

/// Makes VIPs through an agent, each in a namespace of its own, and measures them at rest; HAProxy beside it. Needs root.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Numbers of VIPs
    #[arg(long, value_delimiter = ',', default_value = "10,100,500")]
    vips: Vec<usize>,
    /// HAProxy is beside it up to this many
    #[arg(long, default_value_t = 100)]
    haproxy_up_to: usize,
    /// Data threads of each
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds of rest that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    rest: u64,
    /// Seconds between two checks of each member (TCP); 0: none
    #[arg(long, default_value_t = 5)]
    check: u64,
    /// Folder with lb-agent and lb-proxy, instead of the workspace's, which are built first
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Folder for density.json, density.md and a plot
    #[arg(long, default_value = "target/density")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let done = run(&Arguments::parse());
    process::kill_all();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("density: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = match &arguments.programs {
        Some(folder) => folder.canonicalize().with_context(|| format!("{} is not there", folder.display()))?,
        None => build()?,
    };
    density::prepare()?;
    place::loopback_up()?;
    density::members()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            played = play(arguments, &programs) => played,
            _ = int.recv() => anyhow::bail!("interrupted"),
            _ = term.recv() => anyhow::bail!("interrupted"),
        }
    })?;
    let text = markdown(&played);
    std::fs::create_dir_all(&arguments.out)?;
    std::fs::write(arguments.out.join("density.json"), serde_json::to_string_pretty(&played)?)?;
    std::fs::write(arguments.out.join("density.md"), &text)?;
    std::fs::write(arguments.out.join("density.svg"), plot(&played))?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

async fn play(arguments: &Arguments, programs: &Path) -> anyhow::Result<Vec<Density>> {
    let rest = Duration::from_secs(arguments.rest);
    let mut played = Vec::new();
    for vips in &arguments.vips {
        ensure!((1..=50_000).contains(vips), "{vips} VIPs do not fit the network");
        eprintln!("{vips} VIPs");
        let mut node = Node::start(programs, arguments.threads, arguments.check).await?;
        played.push(node.measure(*vips, rest).await?);
        node.clear().await?;
        drop(node);
        if *vips <= arguments.haproxy_up_to {
            eprintln!("{vips} HAProxy processes");
            played.push(density::haproxy(*vips, rest, arguments.threads, arguments.check)?);
        }
    }
    Ok(played)
}

fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // One after the other, as they are released: together, one would get features of libraries that only the other needs.
    for program in ["lb-proxy", "lb-agent"] {
        let mut build = Command::new(&cargo);
        let built = build.args(["build", "--release", "--quiet", "-p", program]).current_dir(root).status();
        ensure!(built.context("cargo does not start")?.success(), "{program} does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    Ok(target.join("release"))
}

/// Memory of one VIP: the process's, and the kernel's.
fn plot(played: &[Density]) -> String {
    let mut groups: Vec<plot::Group> = Vec::new();
    for one in played {
        let bar = |what: &str, kb: f64| {
            let spread = Spread { median: kb, min: kb, max: kb };
            (format!("{} VIPs: {what}", one.vips), vec![(one.name.clone(), spread)])
        };
        for (label, bar) in [bar("process, kB (PSS)", one.pss_kb), bar("kernel, kB", one.kernel_kb)] {
            match groups.iter_mut().find(|(known, _)| *known == label) {
                Some((_, bars)) => bars.extend(bar),
                None => groups.push((label, bar)),
            }
        }
    }
    plot::chart("Memory of an idle VIP", &groups)
}

fn markdown(played: &[Density]) -> String {
    let head = [
        "",
        "VIPs",
        "PSS kB each",
        "anonymous kB",
        "kernel kB (rough)",
        "agent PSS kB",
        "at rest",
        "agent at rest",
        "create s",
        "apply ms",
        "list ms",
        "stats ms",
    ];
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
    let rows: Vec<Vec<String>> = played
        .iter()
        .map(|d| {
            vec![
                d.name.clone(),
                d.vips.to_string(),
                format!("{:.0}", d.pss_kb),
                format!("{:.0}", d.anonymous_kb),
                format!("{:.0}", d.kernel_kb),
                d.agent_kb.to_string(),
                format!("{:.2} %", d.rest * 100.0),
                format!("{:.2} %", d.agent_rest * 100.0),
                format!("{:.2}", d.create_s),
                d.apply_ms.map_or(String::new(), |s| format!("{:.1} ({:.1}–{:.1})", s.median, s.min, s.max)),
                number(d.list_ms),
                number(d.stats_ms),
            ]
        })
        .collect();
    format!(
        "# density\n\nAt rest: shares of one core. Load average at the end: {}\n\n{}",
        load_average(),
        report::table(&head, &rows)
    )
}
