//! The counts that are defended (`benches/micro.json`), and how new ones are judged.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::callgrind::{Counted, Ground};

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// How far a count may be off.
    pub tolerance: Tolerance,
    /// What was counted with.
    pub ground: Ground,
    /// Instructions of one call, by the scenario's name.
    pub instructions: BTreeMap<String, u64>,
}

/// How far a count may be off: the larger of the two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Of the stored count.
    pub percent: f64,
    /// In instructions.
    pub instructions: u64,
}

/// What is to be said of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Same,
    /// More than it was.
    Dearer,
    /// Less than it was: the stored count defends nothing any more.
    Cheaper,
    /// Counted, but not stored.
    New,
    /// Stored, but there is no such scenario.
    Gone,
}

/// One scenario beside its stored count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Instructions as stored.
    pub before: Option<u64>,
    /// Instructions as counted.
    pub now: Option<u64>,
    /// Judged.
    pub verdict: Verdict,
}

impl Tolerance {
    fn judge(self, before: u64, now: u64) -> Verdict {
        let allowed = (before as f64 * self.percent / 100.0).max(self.instructions as f64);
        match now.abs_diff(before) as f64 > allowed {
            false => Verdict::Same,
            true if now > before => Verdict::Dearer,
            true => Verdict::Cheaper,
        }
    }
}

impl Stored {
    /// Reads the file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not what `micro --write` writes", file.display()))
    }

    /// Writes it.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Every scenario that was counted beside what is stored, then those that are only stored. `only`: as in
    /// [`super::callgrind::count`].
    pub fn compare(&self, counted: &Counted, only: &str) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (name, now) in &counted.instructions {
            let before = self.instructions.get(name).copied();
            let verdict = before.map_or(Verdict::New, |before| self.tolerance.judge(before, *now));
            rows.push(Row { name: name.clone(), before, now: Some(*now), verdict });
        }
        for (name, before) in self.instructions.iter().filter(|(name, _)| name.contains(only)) {
            if !rows.iter().any(|row| row.name == *name) {
                rows.push(Row { name: name.clone(), before: Some(*before), now: None, verdict: Verdict::Gone });
            }
        }
        rows
    }

    /// Takes up what was counted. What was not, for it is not in `only`, stays.
    pub fn take(&mut self, counted: &Counted, only: &str) {
        self.instructions.retain(|name, _| !name.contains(only));
        self.instructions.extend(counted.instructions.iter().cloned());
        self.ground = counted.ground.clone();
    }
}

impl Verdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Dearer => "dearer",
            Self::Cheaper => "cheaper: store it",
            Self::New => "not stored",
            Self::Gone => "no such scenario",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let instructions = [("small", 100), ("large", 10_000), ("gone", 5)];
        Stored {
            tolerance: Tolerance { percent: 3.0, instructions: 20 },
            ground: Ground { valgrind: "v".into(), libc: "l".into() },
            instructions: instructions.map(|(name, n)| (name.to_owned(), n)).into(),
        }
    }

    fn verdicts(counts: &[(&str, u64)], only: &str) -> Vec<(String, Verdict)> {
        let instructions = counts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let counted = Counted { ground: stored().ground, instructions };
        stored().compare(&counted, only).into_iter().map(|row| (row.name, row.verdict)).collect()
    }

    #[test]
    fn the_larger_tolerance_holds_in_both_directions() {
        use Verdict::*;
        for (small, large, verdict) in
            [(100, 10_000, Same), (120, 10_300, Same), (80, 9_700, Same), (121, 10_301, Dearer), (79, 9_699, Cheaper)]
        {
            let seen = verdicts(&[("small", small), ("large", large)], "l");
            assert_eq!(seen, [("small".to_owned(), verdict), ("large".to_owned(), verdict)]);
        }
    }

    #[test]
    fn what_is_only_counted_or_only_stored_is_told() {
        let seen = verdicts(&[("small", 100), ("large", 10_000), ("fresh", 1)], "");
        let unusual: Vec<_> = seen.into_iter().filter(|(_, verdict)| *verdict != Verdict::Same).collect();
        assert_eq!(unusual, [("fresh".to_owned(), Verdict::New), ("gone".to_owned(), Verdict::Gone)]);
    }

    #[test]
    fn what_was_not_counted_is_kept_when_a_part_is_stored() {
        let mut stored = stored();
        let counted = Counted { ground: stored.ground.clone(), instructions: vec![("small".to_owned(), 90)] };
        stored.take(&counted, "small");
        assert_eq!(stored.instructions["small"], 90);
        assert_eq!(stored.instructions.len(), 3);
        stored.take(&counted, "");
        assert_eq!(stored.instructions.len(), 1, "what is gone goes");
    }
}
