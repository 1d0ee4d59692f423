//! Plays all scenarios in one process under `valgrind --tool=callgrind` and reads what it counted.
//!
//! The program starts itself again. Callgrind counts inside of one function only and notes a sum whenever
//! another returns, so neither the start nor the making of inputs is in a figure. Environment and time zone are
//! fixed: they decide where the stack begins and how a date is worked out.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::{CALLS, Scenario, nothing, scenarios, weir_micro_scenario};

/// The argument that makes the program play instead of counting.
pub const PLAY: &str = "--play";
/// Who looks for a faster way at run time (memchr, httparse, memcpy, ln) looks for these, so counts are stored for
/// CPUs that have them.
const FEATURES: [&str; 2] = ["avx2", "fma"];
/// Summer time by rule, as a zone file says it after its last entry; needs no file.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// What counts depend on besides the code and the compiler, which the workspace pins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// `valgrind-3.19.0`
    pub valgrind: String,
    /// `glibc 2.36`: its memcpy, malloc and ln are in the counts.
    pub libc: String,
}

/// What was counted.
#[derive(Debug)]
pub struct Counted {
    /// With what.
    pub ground: Ground,
    /// Instructions of one call, by the scenario's name, in the order of play.
    pub instructions: Vec<(String, u64)>,
}

/// How counting went.
#[derive(Debug)]
pub enum Outcome {
    /// It did.
    Counted(Counted),
    /// Valgrind offers less on this CPU than what the stored counts were made with: these are lacking.
    OtherCpu(Vec<String>),
}

/// Counts every scenario of which the name contains `only`. `folder` is empty and takes callgrind's file.
pub fn count(only: &str, folder: &Path) -> anyhow::Result<Outcome> {
    let ground = Ground { valgrind: said("valgrind", &["--version"])?, libc: said("getconf", &["GNU_LIBC_VERSION"])? };
    let file = folder.join("callgrind");
    let mut path = std::ffi::OsString::from("--callgrind-out-file=");
    path.push(&file);
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--combine-dumps=yes"])
        .args(["--toggle-collect=*weir_micro_counted*", "--dump-after=*weir_micro_scenario*"])
        .arg(path)
        .arg(std::env::current_exe()?)
        .args([PLAY, "--only", only])
        .env_clear()
        .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("TZ", ZONE)])
        .stderr(Stdio::inherit())
        .output()
        .context("valgrind does not start")?;
    ensure!(output.status.success(), "the scenarios did not play to their end: {}", output.status);
    let features = String::from_utf8(output.stdout)?;
    let lacking: Vec<String> = FEATURES
        .iter()
        .filter(|f| !features.split_whitespace().any(|has| has == **f))
        .map(|f| (*f).to_owned())
        .collect();
    if !lacking.is_empty() {
        return Ok(Outcome::OtherCpu(lacking));
    }
    let text = std::fs::read_to_string(&file).context("callgrind left no file")?;
    Ok(Outcome::Counted(Counted { ground, instructions: per_call(&text, &chosen(only))? }))
}

/// Inside of valgrind: makes the calls, and says what the CPU offers.
pub fn play(only: &str) -> anyhow::Result<String> {
    for scenario in chosen(only) {
        let name = scenario.name.clone();
        weir_micro_scenario(scenario).with_context(|| format!("{name} does not play"))?;
    }
    Ok(features())
}

#[cfg(target_arch = "x86_64")]
fn features() -> String {
    let has = [std::is_x86_feature_detected!("avx2"), std::is_x86_feature_detected!("fma")];
    FEATURES.iter().zip(has).filter(|(_, has)| *has).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// Counts are stored for x86-64 only.
#[cfg(not(target_arch = "x86_64"))]
fn features() -> String {
    String::new()
}

fn chosen(only: &str) -> Vec<Scenario> {
    let all = scenarios().into_iter().filter(|scenario| scenario.name.contains(only));
    std::iter::once(nothing()).chain(all).collect()
}

/// Callgrind's file has a part for each scenario, in order, with a line `totals: N`, and one more for the end.
fn per_call(text: &str, played: &[Scenario]) -> anyhow::Result<Vec<(String, u64)>> {
    let totals: Vec<u64> =
        text.lines().filter_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok()).take(played.len()).collect();
    ensure!(totals.len() == played.len(), "callgrind counted {} of {} scenarios", totals.len(), played.len());
    let calls = CALLS as u64;
    let mut names = BTreeSet::new();
    let mut counts = Vec::new();
    for (scenario, total) in played.iter().zip(&totals) {
        // Each loop runs so many times; what is less than that was not in it.
        ensure!(*total > calls, "callgrind did not count {}", scenario.name);
        ensure!(names.insert(&scenario.name), "two scenarios are named {}", scenario.name);
        let own = total.saturating_sub(totals[0]);
        counts.push((scenario.name.clone(), (own + calls / 2) / calls));
    }
    counts.remove(0);
    Ok(counts)
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("{program} does not start"))?;
    ensure!(output.status.success(), "{program} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_itself_is_taken_away() {
        let played = || ["nothing", "a", "b"].map(|name| Scenario::new(name, || Ok(Box::new(|| {}))));
        let file = "totals: 1000\nsummary: 1\ntotals: 3000\n\ntotals: 21100\ntotals: 7\n";
        let counts = per_call(file, &played()).expect("three parts");
        assert_eq!(counts, [("a".to_owned(), 10), ("b".to_owned(), 101)]);
        assert!(per_call("totals: 1000\n", &played()).is_err(), "parts are missing");
        assert!(per_call("totals: 1000\ntotals: 0\ntotals: 3000\n", &played()).is_err(), "nothing was counted");
    }
}
