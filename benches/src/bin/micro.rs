//! `micro`: instruction counts of hot functions, held against the stored ones. See `benches/README.md`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Parser;
use weir_benches::micro::callgrind::{self, Counted, Outcome};
use weir_benches::micro::stored::{Row, Stored, Verdict};
use weir_benches::report;

/// Counts the instructions of hot functions under valgrind, and shows them beside the stored counts.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Fails (exit status 1) if a count is off its stored one, and tells which
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Stores what is counted
    #[arg(long)]
    write: bool,
    /// Only scenarios with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// Where counts are stored
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/micro.json"))]
    stored: PathBuf,
    /// What this program starts itself with under valgrind
    #[arg(long, hide = true)]
    play: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match if arguments.play { play(&arguments) } else { run(&arguments) } {
        Ok(status) => status,
        Err(error) => {
            eprintln!("micro: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn play(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let features = callgrind::play(&arguments.only)?;
    out(&features)?;
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    ensure!(!cfg!(debug_assertions), "what is not optimised is not counted: build with --release");
    let mut stored = Stored::read(&arguments.stored)?;
    let folder = tempfile::tempdir()?;
    let counted = match callgrind::count(&arguments.only, folder.path())? {
        Outcome::Counted(counted) => counted,
        Outcome::OtherCpu(lacking) if arguments.check => {
            eprintln!("micro: NOTHING WAS COMPARED: valgrind offers no {} on this CPU", lacking.join(", "));
            return Ok(ExitCode::SUCCESS);
        }
        Outcome::OtherCpu(lacking) => bail!("valgrind offers no {} on this CPU", lacking.join(", ")),
    };
    ensure!(!counted.instructions.is_empty(), "no scenario has {} in its name", arguments.only);
    let rows = stored.compare(&counted, &arguments.only);
    if arguments.write {
        stored.take(&counted, &arguments.only);
        stored.write(&arguments.stored)?;
    }
    if !arguments.check {
        out(&table(rows.iter()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.iter().all(|row| row.verdict == Verdict::Same) {
        eprintln!("micro: {} instruction counts are as stored", rows.len());
        return Ok(ExitCode::SUCCESS);
    }
    complain(&rows, &stored, &counted, &arguments.stored);
    Ok(ExitCode::FAILURE)
}

fn complain(rows: &[Row], stored: &Stored, counted: &Counted, file: &Path) {
    eprintln!(
        "micro: instruction counts are not as stored (they may be off by {} % or {} instructions):\n\n{}",
        stored.tolerance.percent,
        stored.tolerance.instructions,
        table(rows.iter().filter(|row| row.verdict != Verdict::Same))
    );
    if stored.ground != counted.ground {
        let (then, now) = (&stored.ground, &counted.ground);
        eprintln!("Counted with {} and {}, stored with {} and {}.", now.valgrind, now.libc, then.valgrind, then.libc);
    }
    eprintln!("Where that is meant, store it: cargo run --release -p weir-benches --bin micro -- --write");
    eprintln!("It goes to {}; the commit says why.", file.display());
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let number = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
    let rows: Vec<Vec<String>> = rows
        .map(|row| {
            let change = match (row.before, row.now) {
                (Some(before), Some(now)) if before > 0 => {
                    format!("{:+.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
                }
                _ => String::new(),
            };
            vec![row.name.clone(), number(row.before), number(row.now), change, row.verdict.words().to_owned()]
        })
        .collect();
    report::table(&["", "stored", "instructions", "change", ""], &rows)
}

fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
