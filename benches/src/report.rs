//! What is written: one Markdown text for the terminal and `results.md`, everything in `results.json`, plots.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cores::Layout;
use crate::plot;
use crate::record::{Effort, Record};
use crate::summary::{Ratio, Row, Spread, Summary};

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// `one-core` or `two-cores`.
    pub mode: String,
    /// Who ran where.
    pub layout: Layout,
    /// How much was played.
    pub effort: Effort,
    /// The machine in words.
    pub machine: String,
    /// Proxies and what they say their versions are.
    pub versions: Vec<(String, String)>,
    /// What the ground lacked.
    pub lacking: Vec<String>,
    /// Summed up.
    pub summaries: Vec<Summary>,
    /// Every round.
    pub records: Vec<Record>,
}

impl Report {
    /// Writes `results.json`, `results.md` and plots into `folder`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let put = |name: &str, text: String| {
            let file = folder.join(name);
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        put("results.json", serde_json::to_string_pretty(self)?)?;
        put("results.md", self.markdown())?;
        let bars = |name: &str, title: &str, pick: fn(&Row) -> Option<Spread>| {
            put(&format!("{name}.svg"), plot::bars(title, &self.summaries, pick))
        };
        bars("cpu", "Processor time for a request, µs (less is better)", |row| row.cpu_us)?;
        bars("rps", "Requests in a second (more is better)", |row| row.rps)?;
        bars("p99", "99th percentile of latency at 70 % of HAProxy's peak, µs (less is better)", |row| row.p99)?;
        if self.summaries.iter().any(|summary| summary.rows.iter().any(|row| row.idle_bytes.is_some())) {
            bars("idle", "Anonymous memory of an idle connection, bytes (less is better)", |row| row.idle_bytes)?;
        }
        Ok(())
    }

    /// True if a scenario failed.
    pub fn failed(&self) -> bool {
        self.summaries.iter().any(|summary| summary.failed.is_some())
    }

    /// All of it as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# versus, {}\n\n{}\n\n", self.mode, self.machine);
        for (name, version) in self.versions.iter().filter(|(_, version)| !version.is_empty()) {
            let _ = writeln!(text, "- {name}: {version}");
        }
        let _ = writeln!(
            text,
            "- {} rounds of {} s; proxy on cores {:?} with {} thread(s), load and members on {:?}",
            self.effort.rounds, self.effort.seconds, self.layout.proxy, self.layout.threads, self.layout.load
        );
        for lacking in &self.lacking {
            let _ = writeln!(text, "- lacking: {lacking}");
        }
        text += "\nMedians (min–max over rounds). CPU is the proxy's, for one request. Latencies are at the fixed rate; how full cores \
                 were is said at peak / at the fixed rate.\n";
        for (summary, record) in self.summaries.iter().zip(&self.records) {
            text += &scenario(summary, &record.load_average);
        }
        text
    }
}

/// One scenario as Markdown.
pub fn scenario(summary: &Summary, load_average: &[String; 2]) -> String {
    let mut text = format!("\n## {}\n\n{}", summary.name, summary.what);
    let _ = writeln!(
        text,
        "; fixed rate {:.0}/s; load average {} before, {} after\n",
        summary.rate, load_average[0], load_average[1]
    );
    if let Some(error) = &summary.failed {
        let _ = writeln!(text, "**FAILED**: {error}\n");
    }
    if let Some(reason) = &summary.unreadable {
        let _ = writeln!(text, "**unreadable**: {reason}\n");
    }
    let mut head = vec!["", "requests/s", "CPU µs", "user+system", "CPU µs at rate", "switches", "p50 µs", "p99 µs"];
    head.extend(["p99.9 µs", "proxy core", "load core", "PSS kB"]);
    let syscalls = summary.rows.iter().any(|row| row.syscalls.is_some());
    let idle = summary.rows.iter().any(|row| row.idle_bytes.is_some());
    head.extend(syscalls.then_some("syscalls"));
    head.extend(idle.then_some("bytes/idle"));
    let mut lines = Vec::new();
    for row in &summary.rows {
        let mut cells = vec![
            row.name.clone(),
            cell(row.rps, 0),
            cell(row.cpu_us, 2),
            row.user_us.zip(row.system_us).map_or(String::new(), |(u, s)| format!("{:.1}+{:.1}", u.median, s.median)),
            cell(row.rate_cpu_us, 2),
            row.switches.map_or(String::new(), |s| format!("{:.3}", s.median)),
            cell(row.p50, 0),
            cell(row.p99, 0),
            cell(row.p999, 0),
            fullness(row.proxy_cores, row.rate_proxy_cores),
            fullness(row.load_cores, row.rate_load_cores),
            if row.pss_kb > 0 { row.pss_kb.to_string() } else { String::new() },
        ];
        if syscalls {
            cells.push(row.syscalls.map_or(String::new(), |n| format!("{n:.2}")));
        }
        if idle {
            cells.push(cell(row.idle_bytes, 0));
        }
        lines.push(cells);
    }
    text += &table(&head, &lines);
    if !summary.ratios.is_empty() {
        text += "\n";
        let head = ["weir /", "CPU", "CPU at rate", "p50", "p99", "p99.9", "PSS", "idle", "requests/s"];
        text += &table(&head, &summary.ratios.iter().map(ratio_cells).collect::<Vec<_>>());
    }
    if !summary.notes.is_empty() {
        text += "\n";
    }
    for note in &summary.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

fn ratio_cells(ratio: &Ratio) -> Vec<String> {
    let all = [ratio.cpu, ratio.rate_cpu, ratio.p50, ratio.p99, ratio.p999, ratio.pss, ratio.idle];
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
    let rps = ratio.rps.map_or("refused".to_owned(), |value| format!("{value:.2}"));
    std::iter::once(ratio.against.clone()).chain(all.into_iter().map(number)).chain([rps]).collect()
}

fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or(String::new(), |s| format!("{:.digits$} ({:.digits$}–{:.digits$})", s.median, s.min, s.max))
}

/// At peak and at the fixed rate.
fn fullness(peak: Option<Spread>, rate: Option<Spread>) -> String {
    let percent = |spread: Option<Spread>| spread.map_or("–".to_owned(), |s| format!("{:.0} %", s.median * 100.0));
    format!("{} / {}", percent(peak), percent(rate))
}

/// A Markdown table whose columns are straight in a terminal, too.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain([head[n].chars().count(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells
            .zip(&widths)
            .enumerate()
            .map(|(n, (c, w))| if n == 0 { format!("{c:<w$}") } else { format!("{c:>w$}") })
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rules: Vec<String> =
        widths.iter().enumerate().map(|(n, w)| if n == 0 { "-".repeat(*w) } else { "-".repeat(w - 1) + ":" }).collect();
    let mut text = line(&mut head.iter().copied());
    text += &line(&mut rules.iter().map(String::as_str));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}
