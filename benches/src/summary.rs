//! From rounds to what may be said: medians with their spread, ratios, and when nothing may be said.

use serde::{Deserialize, Serialize};

use crate::record::{Cost, Played, Record};

/// HAProxy's own rounds may differ by this much; beyond it a scenario cannot be read.
const CONTROL_LIMIT: f64 = 0.10;
/// A core is full from here on.
const FULL: f64 = 0.95;
/// More than this of the proxy's cores used by others is worth a word.
const DISTURBED: f64 = 0.08;
/// A load that comes later than this, in microseconds, has a machine that does other things.
const LATE_US: f64 = 5000.0;

/// Median, least and most of some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// None of nothing.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = values.collect();
        all.sort_by(f64::total_cmp);
        let (min, max) = (*all.first()?, *all.last()?);
        let half = all.len() / 2;
        let median = if all.len() % 2 == 1 { all[half] } else { f64::midpoint(all[half - 1], all[half]) };
        Some(Self { median, min, max })
    }

    /// Distance between least and most, as a share of the median.
    pub fn width(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }
}

/// One proxy's medians. What it did not play is not there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Requests in a second, as much as went.
    pub rps: Option<Spread>,
    /// Processor time for a request then, microseconds.
    pub cpu_us: Option<Spread>,
    /// Of it in user mode.
    pub user_us: Option<Spread>,
    /// Of it in the kernel.
    pub system_us: Option<Spread>,
    /// Context switches for a request then.
    pub switches: Option<Spread>,
    /// How full the proxy's cores were then.
    pub proxy_cores: Option<Spread>,
    /// How much of them the proxy itself used, where the load has cores of its own.
    pub proxy_share: Option<Spread>,
    /// How full the load's cores were then.
    pub load_cores: Option<Spread>,
    /// How full the proxy's cores were at the fixed rate.
    pub rate_proxy_cores: Option<Spread>,
    /// How full the load's cores were at the fixed rate.
    pub rate_load_cores: Option<Spread>,
    /// Processor time for a request at the fixed rate, microseconds.
    pub rate_cpu_us: Option<Spread>,
    /// Latency at the fixed rate, microseconds.
    pub p50: Option<Spread>,
    /// The same.
    pub p99: Option<Spread>,
    /// The same.
    pub p999: Option<Spread>,
    /// Bytes of anonymous memory for an idle connection.
    pub idle_bytes: Option<Spread>,
    /// Memory (PSS) after the rounds, kB.
    pub pss_kb: u64,
    /// System calls for a request, if counted.
    pub syscalls: Option<f64>,
}

/// Weir's medians over another's. Below 1 is better for all but `rps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ratio {
    /// Whose.
    pub against: String,
    /// Processor time for a request, as much as went.
    pub cpu: Option<f64>,
    /// Processor time for a request at the fixed rate.
    pub rate_cpu: Option<f64>,
    /// Latency at the fixed rate.
    pub p50: Option<f64>,
    /// The same.
    pub p99: Option<f64>,
    /// The same.
    pub p999: Option<f64>,
    /// Memory of an idle connection.
    pub idle: Option<f64>,
    /// Memory (PSS) after the rounds.
    pub pss: Option<f64>,
    /// Requests in a second; only where both filled their core, and had it for themselves.
    pub rps: Option<f64>,
}

/// One scenario, summed up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// In words.
    pub what: String,
    /// Requests in a second in rounds at a rate.
    pub rate: f64,
    /// Proxies.
    pub rows: Vec<Row>,
    /// Weir's against each, and against the better of HAProxy and nginx.
    pub ratios: Vec<Ratio>,
    /// Why it may not be read, if so.
    pub unreadable: Option<String>,
    /// Why it is void, if so.
    pub failed: Option<String>,
    /// What else a reader must know.
    pub notes: Vec<String>,
}

/// Sums a scenario up.
pub fn sum_up(record: &Record) -> Summary {
    let rows: Vec<Row> =
        record.played.iter().filter(|played| played.absent.is_none()).map(|played| row(played, record.apart)).collect();
    let control = rows.iter().find(|row| row.name == "haproxy");
    let width = |spread: Option<Spread>| spread.map_or(0.0, |spread| spread.width());
    let widths = control.map_or((0.0, 0.0), |row| (width(row.cpu_us), width(row.rps)));
    let unreadable = (widths.0.max(widths.1) > CONTROL_LIMIT).then(|| {
        format!(
            "HAProxy's own rounds differ by {:.0} % in CPU and {:.0} % in requests/s (limit: {:.0} %)",
            widths.0 * 100.0,
            widths.1 * 100.0,
            CONTROL_LIMIT * 100.0
        )
    });
    Summary {
        name: record.scenario.name.clone(),
        what: record.scenario.what.clone(),
        rate: record.rate,
        ratios: ratios(&rows),
        notes: notes(record, &rows),
        rows,
        unreadable,
        failed: record.error.clone(),
    }
}

fn row(played: &Played, apart: bool) -> Row {
    let peak = |pick: fn(&Cost) -> f64| Spread::of(played.peak.iter().map(|round| pick(&round.cost)));
    let rate = |pick: fn(&Cost) -> f64| Spread::of(played.rate.iter().map(|round| pick(&round.cost)));
    // Nobody in between costs nothing.
    let spent = |spread: Option<Spread>| spread.filter(|spread| spread.max > 0.0);
    Row {
        name: played.name.clone(),
        rps: Spread::of(played.peak.iter().map(|round| round.rps)),
        cpu_us: spent(peak(|cost| cost.cpu_us)),
        user_us: spent(peak(|cost| cost.user_us)),
        system_us: spent(peak(|cost| cost.system_us)),
        switches: peak(|cost| cost.switches),
        proxy_cores: peak(|cost| cost.proxy_cores),
        proxy_share: peak(|cost| cost.proxy_share).filter(|_| apart),
        load_cores: peak(|cost| cost.load_cores),
        rate_proxy_cores: rate(|cost| cost.proxy_cores),
        rate_load_cores: rate(|cost| cost.load_cores),
        rate_cpu_us: spent(rate(|cost| cost.cpu_us)),
        p50: Spread::of(played.rate.iter().map(|round| round.p50)),
        p99: Spread::of(played.rate.iter().map(|round| round.p99)),
        p999: Spread::of(played.rate.iter().map(|round| round.p999)),
        idle_bytes: Spread::of(played.idle_bytes.iter().copied()),
        pss_kb: played.pss_kb,
        syscalls: played.syscalls,
    }
}

fn full(row: &Row) -> bool {
    row.proxy_cores.is_some_and(|cores| cores.median >= FULL)
}

/// Share of the proxy's cores that others used.
fn strangers(row: &Row) -> f64 {
    row.proxy_cores.zip(row.proxy_share).map_or(0.0, |(cores, share)| cores.median - share.median)
}

/// Its requests in a second are what it can do: its core was full, and its own.
fn at_capacity(row: &Row) -> bool {
    full(row) && strangers(row) <= DISTURBED
}

fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let Some(weir) = rows.iter().find(|row| row.name == "weir") else { return Vec::new() };
    let others: Vec<&Row> = rows.iter().filter(|row| !matches!(row.name.as_str(), "weir" | "direct")).collect();
    let mut all: Vec<Ratio> = others.iter().map(|other| ratio(weir, &other.name, &[other])).collect();
    let both: Vec<&Row> = others.into_iter().filter(|row| matches!(row.name.as_str(), "haproxy" | "nginx")).collect();
    if both.len() == 2 {
        all.push(ratio(weir, "the better", &both));
    }
    all
}

fn ratio(weir: &Row, against: &str, others: &[&Row]) -> Ratio {
    let least = |pick: fn(&Row) -> Option<f64>| {
        let best = others.iter().filter_map(|row| pick(row)).min_by(f64::total_cmp)?;
        Some(pick(weir)? / best).filter(|ratio| ratio.is_finite())
    };
    let most = others.iter().filter_map(|row| row.rps).map(|rps| rps.median).max_by(f64::total_cmp);
    let rps = weir.rps.zip(most).map(|(rps, most)| rps.median / most);
    Ratio {
        against: against.to_owned(),
        cpu: least(|row| row.cpu_us.map(|s| s.median)),
        rate_cpu: least(|row| row.rate_cpu_us.map(|s| s.median)),
        p50: least(|row| row.p50.map(|s| s.median)),
        p99: least(|row| row.p99.map(|s| s.median)),
        p999: least(|row| row.p999.map(|s| s.median)),
        idle: least(|row| row.idle_bytes.map(|s| s.median)),
        pss: least(|row| Some(row.pss_kb as f64).filter(|kb| *kb > 0.0)),
        rps: rps.filter(|_| at_capacity(weir) && others.iter().all(|row| at_capacity(row))),
    }
}

fn notes(record: &Record, rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    let slack: Vec<String> = rows
        .iter()
        .filter(|row| row.name != "direct" && !full(row))
        .filter_map(|row| Some(format!("{} {:.0} %", row.name, row.proxy_cores?.median * 100.0)))
        .collect();
    if !slack.is_empty() {
        notes.push(format!(
            "requests/s are not compared, the load side was the limit: proxy's core at {}",
            slack.join(", ")
        ));
    }
    let shared: Vec<String> = rows
        .iter()
        .filter(|row| row.name != "direct" && strangers(row) > DISTURBED)
        .map(|row| format!("{:.0} % beside {}", strangers(row) * 100.0, row.name))
        .collect();
    if !shared.is_empty() {
        let shared = shared.join(", ");
        notes.push(format!("requests/s are not compared, others used the proxy's core: {shared}"));
    }
    let busy: Vec<String> = rows
        .iter()
        .filter(|row| row.name != "direct" && row.rate_load_cores.is_some_and(|cores| cores.median >= FULL))
        .filter_map(|row| Some(format!("{} {:.0} %", row.name, row.rate_load_cores?.median * 100.0)))
        .collect();
    if !busy.is_empty() {
        let busy = busy.join(", ");
        notes.push(format!("latencies hold the load's own waiting: its core was full at the fixed rate with {busy}"));
    }
    for played in &record.played {
        let name = &played.name;
        if let Some(reason) = &played.absent {
            notes.push(format!("{name} did not play: {reason}"));
        }
        let lines = Spread::of(played.peak.iter().map(|round| round.cost.lines)).map_or(1.0, |spread| spread.median);
        // A relay writes a line for each connection, not for each request.
        let each = record.scenario.http || record.scenario.request.close;
        if record.scenario.log && each && lines < 0.99 && name != "direct" && !played.peak.is_empty() {
            notes.push(format!("{name}: {lines:.2} log lines for each request arrived"));
        }
        let late = Spread::of(played.rate.iter().map(|round| round.late)).map_or(0.0, |spread| spread.median);
        if late > LATE_US {
            notes.push(format!("{name}: the load itself came up to {late:.0} µs late; p99.9 and beyond hold that"));
        }
        let late: u64 = played.rate.iter().map(|round| round.unanswered).sum();
        if late > 0 {
            notes.push(format!("{name} could not keep up with {:.0} requests/s: {late} unanswered", record.rate));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_the_middle_one() {
        let odd = Spread::of([3.0, 1.0, 2.0].into_iter()).unwrap();
        assert_eq!((odd.median, odd.min, odd.max, odd.width()), (2.0, 1.0, 3.0, 1.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()).unwrap().median, 2.5);
        assert_eq!(Spread::of(std::iter::empty()), None);
    }
}
