//! `versus`: HAProxy, nginx, Weir and nobody through the same scenarios in one run. See `benches/README.md`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use weir_benches::contender::{Contender, Kind, member};
use weir_benches::cores::{Layout, pin};
use weir_benches::record::Effort;
use weir_benches::report::{self, Report};
use weir_benches::{member as server, place, process, run, scenario, summary};

/// Plays the same scenarios through HAProxy, nginx, Weir and nobody, in one run, and compares.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Scenarios or groups of them, with commas; all if none is named
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Rounds of each kind, with orders that alternate
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of each round
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Who runs where
    #[arg(long, value_enum, default_value_t = Mode::OneCore)]
    mode: Mode,
    /// Folder for results.json, results.md and plots
    #[arg(long, default_value = "target/versus")]
    out: PathBuf,
    /// Count system calls, too (perf, else strace)
    #[arg(long)]
    syscalls: bool,
    /// This Weir instead of the workspace's, which is built first
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Only these of direct, haproxy, haproxy-2, nginx, weir
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Say what there is to play, and end
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Proxies on core 0 with one thread; load, members and log sink on the others
    OneCore,
    /// Proxies on cores 0 and 1 with two threads; the rest on the others, or beside them where there are none
    TwoCores,
}

/// Parts of a run that are processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Member {
        #[arg(long)]
        count: usize,
    },
}

fn main() -> ExitCode {
    let done = run(&Arguments::parse());
    process::kill_all();
    match done {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("versus: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if a scenario failed.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    if let Some(Part::Member { count }) = arguments.part {
        server::serve(&(0..count).map(member).collect::<Vec<_>>())?;
        return Ok(false);
    }
    let scenarios = scenario::named(&arguments.scenario)?;
    if arguments.list {
        for scenario in scenarios {
            out(&format!("{:<18} {}\n", scenario.name, scenario.what))?;
        }
        return Ok(false);
    }
    let contenders = contenders(arguments)?;
    let lacking = place::prepare()?;
    let layout = layout(arguments.mode)?;
    pin(&layout.load)?;
    let folder = tempfile::Builder::new().prefix("weir-versus-").tempdir()?;
    process::end_on_signals(folder.path().to_owned())?;
    // Proxies may run as somebody else.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;

    let effort =
        Effort { rounds: usize::from(arguments.rounds), seconds: arguments.seconds, syscalls: arguments.syscalls };
    let mut report = Report {
        mode: arguments.mode.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default(),
        layout,
        effort,
        machine: machine(),
        versions: contenders.iter().map(|c| (c.name.clone(), c.version.clone())).collect(),
        lacking,
        summaries: Vec::new(),
        records: Vec::new(),
    };
    for scenario in &scenarios {
        ensure!(
            place::descriptors() > (scenario.idle + scenario.connections * 2 + 500) as u64,
            "{} needs more descriptors than the {} a process may have here",
            scenario.name,
            place::descriptors()
        );
        eprintln!("{}: {}", scenario.name, scenario.what);
        let mut say = |words: &str| eprintln!("{words}");
        let record = run::play(scenario, &contenders, &report.layout, &report.effort, folder.path(), &mut say);
        let summary = summary::sum_up(&record);
        out(&report::scenario(&summary, &record.load_average))?;
        report.summaries.push(summary);
        report.records.push(record);
        // After each: what is there is kept if the rest is not waited for.
        report.write(&arguments.out)?;
    }
    out(&format!("\nWritten to {}\n", arguments.out.display()))?;
    for summary in report.summaries.iter().filter(|summary| summary.failed.is_some()) {
        eprintln!("versus: {} FAILED: {}", summary.name, summary.failed.as_deref().unwrap_or_default());
    }
    Ok(report.failed())
}

fn contenders(arguments: &Arguments) -> anyhow::Result<Vec<Contender>> {
    let weir = match &arguments.weir {
        Some(path) => path.clone(),
        None => build()?,
    };
    let mut all = vec![
        ("direct", Kind::Direct, PathBuf::new()),
        ("haproxy", Kind::Haproxy, PathBuf::from("/usr/sbin/haproxy")),
        ("nginx", Kind::Nginx, PathBuf::from("/usr/sbin/nginx")),
        ("weir", Kind::Weir, weir),
    ];
    if let Some(path) = std::env::var_os("WEIR_BENCH_HAPROXY") {
        all.insert(2, ("haproxy-2", Kind::Haproxy, path.into()));
    }
    all.retain(|(name, ..)| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name));
    if all.is_empty() {
        bail!("nobody is left to play");
    }
    all.into_iter().map(|(name, kind, program)| Contender::new(name, kind, program)).collect()
}

/// The workspace's own, as it is released.
fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "lb-proxy"])
        .current_dir(root)
        .status()
        .context("cargo does not start")?;
    ensure!(built.success(), "lb-proxy does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    Ok(target.join("release/lb-proxy"))
}

fn layout(mode: Mode) -> anyhow::Result<Layout> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "one core for the proxy and one for the load are needed; there is one");
    Ok(match mode {
        Mode::OneCore => Layout { proxy: vec![0], load: (1..cores).collect(), threads: 1 },
        Mode::TwoCores => {
            let load = if cores > 2 { (2..cores).collect() } else { vec![0, 1] };
            Layout { proxy: vec![0, 1], load, threads: 2 }
        }
    })
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, m)| m);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores of {model}, Linux {}", kernel.trim())
}

fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
