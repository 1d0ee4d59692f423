//! `checks`: a thousand members asked every two seconds; processor time, evenness, descriptors. See `benches/README.md`.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use weir_benches::checks::{Checks, Seen, WINDOW, play};
use weir_benches::plot::columns;

/// What members being asked takes.
#[derive(Debug, Parser)]
struct Options {
    /// What is asked, with commas; `none`: a data plane that asks nobody.
    #[arg(long, value_delimiter = ',', default_value = "none,TCP,HTTP")]
    kinds: Vec<String>,
    /// Members.
    #[arg(long, default_value_t = 1000)]
    members: u32,
    /// From question to question, seconds.
    #[arg(long, default_value_t = 2.0)]
    delay: f64,
    /// How long each is watched, seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Another data plane than the workspace's.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Where plots go.
    #[arg(long, default_value = "target/checks")]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let program = match &options.weir {
        Some(path) => path.clone(),
        None => built()?,
    };
    std::fs::create_dir_all(&options.out).context("no place for plots")?;
    let folder = tempfile::tempdir()?;
    // Whoever gives up root's rights reads its document and writes its words there.
    println!(
        "| asked | CPU, % of a core | questions/s | in {} ms: least, even, most | threads | descriptors | kB |",
        WINDOW.as_millis()
    );
    println!("|---|---|---|---|---|---|---|");
    for kind in &options.kinds {
        let checks = Checks {
            kind: kind.clone(),
            members: options.members,
            delay: Duration::from_secs_f64(options.delay),
            watched: Duration::from_secs(options.seconds),
        };
        let seen = play(&checks, &program, folder.path())?;
        report(&checks, &seen);
        if kind != "none" {
            let even = f64::from(checks.members) * WINDOW.as_secs_f64() / options.delay;
            let title = format!("{kind}: questions in each {} ms, {} members", WINDOW.as_millis(), checks.members);
            std::fs::write(options.out.join(format!("{kind}.svg")), columns(&title, &seen.windows, even))?;
        }
    }
    Ok(())
}

fn report(checks: &Checks, seen: &Seen) {
    let (least, most) = (seen.windows.iter().min(), seen.windows.iter().max());
    println!(
        "| {} | {:.2} | {:.0} | {}, {:.0}, {} | {} | {} to {} | {} |",
        checks.kind,
        seen.cpu * 100.0,
        seen.asked() as f64 / checks.watched.as_secs_f64(),
        least.unwrap_or(&0),
        f64::from(checks.members) * WINDOW.as_secs_f64() / checks.delay.as_secs_f64(),
        most.unwrap_or(&0),
        seen.threads,
        seen.descriptors.0,
        seen.descriptors.1,
        seen.anonymous_kb,
    );
    if seen.down > 0 {
        println!("(turned down: {})", seen.down);
    }
}

/// The workspace's data plane in release mode.
fn built() -> anyhow::Result<PathBuf> {
    let status = Command::new("cargo").args(["build", "--release", "-p", "lb-proxy"]).status()?;
    ensure!(status.success(), "lb-proxy does not build");
    let here = std::env::current_exe()?;
    Ok(here.parent().context("no folder")?.join("lb-proxy"))
}
