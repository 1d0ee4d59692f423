//! The status tree and the figures, drawn as text.

use std::fmt::Write;

use lb_control::events::visible;
use lb_control::node::{ListenerStatus, MemberStatus, PolicyStatus, PoolStatus, Status};
use lb_control::stats::{
    CertificateStats, ListenerStats, MemberHealth, MemberStats, PersistenceStats, PolicyStats, PoolStats, QueueStats,
    Resolution, Stats,
};
use lb_core::expiry::{self, Stage};
use serde::Serialize;

use crate::limits::{limits, shortage};
use crate::output::table;

/// Certificates that a status shows one by one.
const CERTIFICATES_SHOWN: usize = 16;

/// A status as its JSON spells it.
pub(crate) fn word<T: Serialize>(status: &T) -> String {
    serde_json::to_value(status).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Milliseconds for people.
pub(crate) fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{}.{} s", s, ms % 1000 / 100),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86400, s % 86400 / 3600),
    }
}

/// Milliseconds in a few letters: `3m12s`.
fn short(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{}s", s / 60, s % 60),
        3600..86400 => format!("{}h{}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{}h", s / 86400, s % 86400 / 3600),
    }
}

/// One load balancer with all below it. `now_ms`: since 1970.
pub(crate) fn status(status: &Status, now_ms: u64) -> String {
    let (lb, instance) = (&status.loadbalancer, &status.instance);
    let mut out = String::new();
    let runs = match instance.pid {
        Some(pid) => format!("pid {pid}, up {}, generation {}", duration(instance.uptime_ms), instance.generation),
        None => "no data plane runs".to_owned(),
    };
    let words = format!("{} {}", word(&lb.provisioning_status), lb.operating_status);
    let _ = writeln!(out, "{} {}  {words}", label(&lb.name, &lb.id), lb.vip_address);
    let _ = writeln!(out, "│  {} ({runs}, {} restarts)", instance.namespace, instance.restarts);
    let short = Some(shortage(&instance.shortage)).filter(|words| !words.is_empty());
    for (what, words) in [("last exit", &instance.last_exit), ("fault", &instance.fault), ("shortage", &short)] {
        if let Some(words) = words {
            let _ = writeln!(out, "│  {what}: {words}");
        }
    }
    certificates(&mut out, &lb.certificates, now_ms);
    let last_listener = lb.unused_pools.is_empty();
    for (i, l) in lb.listeners.iter().enumerate() {
        listener(&mut out, l, last_listener && i + 1 == lb.listeners.len(), now_ms);
    }
    for (i, p) in lb.unused_pools.iter().enumerate() {
        pool(&mut out, p, "", i + 1 == lb.unused_pools.len(), now_ms);
    }
    out
}

/// How long each certificate lasts. Of many, those that end first.
fn certificates(out: &mut String, all: &[CertificateStats], now_ms: u64) {
    let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    for certificate in all.iter().take(CERTIFICATES_SHOWN) {
        let (path, names) = (visible(&certificate.path), certificate.names.join(", "));
        let lasts = expiry::words(certificate.not_after_ms, now_ms);
        let (kind, ended) = match certificate.list_issued_ms {
            None => ("certificate", " (warning: clients refuse it)"),
            Some(_) => ("revocation list", " (warning: whoever has to be looked up in it is refused)"),
        };
        let warning = match certificate.term().stage(now_ms) {
            Stage::Far => "",
            Stage::Days30 | Stage::Days7 | Stage::Day1 => " (warning: replace it soon)",
            Stage::Expired => ended,
        };
        let _ = writeln!(out, "│  {kind} {path} ({}): {lasts}{warning}", visible(&names));
    }
    if let Some(more) = all.get(CERTIFICATES_SHOWN..).filter(|more| !more.is_empty()) {
        let _ = writeln!(out, "│  and {} more that last longer", more.len());
    }
}

fn listener(out: &mut String, l: &ListenerStatus, is_last: bool, now_ms: u64) {
    let name = label(&l.name, &l.id);
    let state = l.operating_status;
    let _ = writeln!(out, "{} listener {name}  {} :{}  {state}", branch(is_last), l.protocol, l.protocol_port);
    let did = limits(&l.limits);
    if !did.is_empty() {
        let _ = writeln!(out, "{}   limits: {did}", if is_last { " " } else { "│" });
    }
    let indent = if is_last { "   " } else { "│  " };
    for (i, p) in l.l7policies.iter().enumerate() {
        policy(out, p, indent, l.pools.is_empty() && i + 1 == l.l7policies.len());
    }
    for (i, p) in l.pools.iter().enumerate() {
        pool(out, p, indent, i + 1 == l.pools.len(), now_ms);
    }
}

fn policy(out: &mut String, p: &PolicyStatus, indent: &str, is_last: bool) {
    let matched = p.matched.map_or_else(String::new, |n| format!("  matched {n}"));
    let down = if p.admin_state_up { "" } else { "  administratively down" };
    let name = label(&p.name, &p.id);
    let _ = writeln!(out, "{indent}{} policy {name}  {}{down}{matched}", branch(is_last), p.action);
}

fn pool(out: &mut String, p: &PoolStatus, indent: &str, is_last: bool, now_ms: u64) {
    let (name, state) = (label(&p.name, &p.id), p.operating_status);
    let queue = queue(&p.queue);
    let _ = writeln!(out, "{indent}{} pool {name}  {}  {state}{queue}", branch(is_last), p.lb_algorithm);
    let indent = format!("{indent}{}", if is_last { "   " } else { "│  " });
    if let Some(known) = &p.persistence {
        let _ = writeln!(out, "{indent}{}  {}", if p.members.is_empty() { " " } else { "│" }, persistence(known));
    }
    for (i, m) in p.members.iter().enumerate() {
        member(out, m, &indent, i + 1 == p.members.len(), now_ms);
    }
}

/// How many clients are remembered, and how that went.
fn persistence(p: &PersistenceStats) -> String {
    let table = match p.size {
        0 => String::new(),
        size => format!(
            ": {} of {size} clients, {} kB, {} evicted, {} expired",
            p.entries,
            p.bytes.div_ceil(1024),
            p.evicted,
            p.expired
        ),
    };
    format!("persistence {}{table}; {} hits, {} misses, {} moved", p.kind, p.hits, p.misses, p.moved)
}

/// Who waits in a pool, or waited; nothing if nobody ever did.
fn queue(queue: &QueueStats) -> String {
    let QueueStats { waiting, oldest_ms, longest_wait_ms, queued, timeouts, refused } = *queue;
    let now = match waiting {
        0 if queued == 0 => return String::new(),
        0 => "nobody waits".to_owned(),
        _ => format!("{waiting} waiting for {}", duration(oldest_ms)),
    };
    let counts = format!("{queued} queued, {timeouts} timed out, {refused} refused");
    format!("  {now} (longest wait {}; {counts})", duration(longest_wait_ms))
}

fn member(out: &mut String, m: &MemberStatus, indent: &str, is_last: bool, now_ms: u64) {
    let at = if m.address.contains(':') {
        format!("[{}]:{}", m.address, m.protocol_port)
    } else {
        format!("{}:{}", m.address, m.protocol_port)
    };
    let leads_to = |r: &Resolution| if r.address.is_empty() { "nowhere".to_owned() } else { r.address.clone() };
    let at = m.resolution.iter().fold(at, |at, resolution| format!("{at} → {}", leads_to(resolution)));
    let backup = if m.backup { "  backup" } else { "" };
    let avoided = if m.avoided { "  avoided: it just failed" } else { "" };
    let (name, state) = (label(&m.name, &m.id), m.operating_status);
    let limit = m.max_connections.map_or_else(String::new, |most| format!("  {} of {most}", m.active_connections));
    let words = format!("weight {}{backup}{limit}  {state}{avoided}", m.weight);
    let _ = writeln!(out, "{indent}{} member {name}  {at}  {words}", branch(is_last));
    let indent = format!("{indent}{}  ", if is_last { " " } else { "│" });
    if let Some(known) = &m.health {
        health(out, known, &indent, now_ms);
    }
    if let Some(resolution) = m.resolution.as_ref().filter(|resolution| !resolution.fault.is_empty()) {
        let next = match resolution.next_in_ms {
            0 => "asking now".to_owned(),
            ms => format!("asks again in {}", duration(ms)),
        };
        let _ = writeln!(out, "{indent}its name: {}; {next}", visible(&resolution.fault));
    }
}

/// Both axes, since when, why; what each monitor last heard and when it asks again.
fn health(out: &mut String, h: &MemberHealth, indent: &str, now_ms: u64) {
    let ago = |at_ms: u64| short(now_ms.saturating_sub(at_ms));
    let since = if h.since_ms == 0 { String::new() } else { format!(" for {}", ago(h.since_ms)) };
    let reason = if h.reason.is_empty() { String::new() } else { format!(": {}", visible(&h.reason)) };
    let share = format!("{}.{} %", h.share_permille / 10, h.share_permille % 10);
    let states = format!("{}, {}", word(&h.administrative), word(&h.operational));
    let _ = writeln!(out, "{indent}{states}{since}{reason}; share of new work {share}");
    for monitor in &h.monitors {
        let last = match (monitor.last.as_str(), monitor.last_ms) {
            ("", _) | (_, 0) => "no answer yet".to_owned(),
            (last, at_ms) => format!("{} ({} ago)", visible(last), ago(at_ms)),
        };
        let next = match monitor.next_in_ms {
            0 => "asking now".to_owned(),
            ms => format!("asks again in {}", duration(ms)),
        };
        let name = label(&monitor.name, &monitor.id);
        let _ = writeln!(out, "{indent}monitor {} {}: {last}; {next}", visible(&name), monitor.kind);
    }
    if !h.agent.is_empty() {
        let _ = writeln!(out, "{indent}its agent: {}", visible(&h.agent));
    }
}

fn branch(is_last: bool) -> &'static str {
    if is_last { "└─" } else { "├─" }
}

/// The figures of one load balancer.
pub(crate) fn stats(name: &str, stats: &Stats) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{name}: up {}, {} connections open, {} log lines lost",
        duration(stats.uptime_ms),
        stats.active_connections,
        stats.log_lines_dropped
    );
    let short = shortage(&stats.shortage);
    if !short.is_empty() {
        let _ = writeln!(out, "shortage: {short}");
    }
    for l in &stats.listeners {
        let did = limits(&l.limits);
        if !did.is_empty() {
            let _ = writeln!(out, "limits of {}: {did}", label(&l.name, &l.id));
        }
    }
    let listener = |l: &ListenerStats| {
        let numbers = [
            l.active_connections,
            l.total_connections,
            l.total_requests,
            l.bytes_in,
            l.bytes_out,
            l.request_errors,
            l.refusals,
        ];
        row("listener", label(&l.name, &l.id), &numbers, &l.responses)
    };
    let head = [
        "",
        "NAME",
        "OPEN",
        "CONNECTIONS",
        "REQUESTS",
        "BYTES IN",
        "BYTES OUT",
        "CLIENT ERRORS",
        "REFUSALS",
        "1XX",
        "2XX",
        "3XX",
        "4XX",
        "5XX",
    ];
    out.push_str(&table(&head, &stats.listeners.iter().map(listener).collect::<Vec<_>>()));
    let pool = |p: &PoolStats| p.members.iter().map(|m| member_row(p, m)).collect::<Vec<_>>();
    let head = [
        "",
        "NAME",
        "OPEN",
        "TOTAL",
        "CONNECTS",
        "REUSES",
        "BYTES IN",
        "BYTES OUT",
        "CONNECT ERRORS",
        "RESPONSE ERRORS",
        "1XX",
        "2XX",
        "3XX",
        "4XX",
        "5XX",
    ];
    out.push_str(&table(&head, &stats.pools.iter().flat_map(pool).collect::<Vec<_>>()));
    let policies: Vec<_> = stats.listeners.iter().flat_map(policy_rows).collect();
    if !policies.is_empty() {
        out.push_str(&table(&["", "NAME", "MATCHED", "MIRRORED", "MIRRORS LOST"], &policies));
    }
    out
}

fn policy_rows(listener: &ListenerStats) -> Vec<Vec<String>> {
    let within = |name: String| format!("{}/{name}", label(&listener.name, &listener.id));
    let row = |p: &PolicyStats| {
        let numbers = [p.matched, p.mirrored, p.mirrors_lost].map(|n| n.to_string());
        ["policy".to_owned(), within(label(&p.name, &p.id))].into_iter().chain(numbers).collect()
    };
    listener.l7policies.iter().map(row).collect()
}

fn member_row(pool: &PoolStats, m: &MemberStats) -> Vec<String> {
    let numbers = [
        m.active_connections,
        m.total_connections,
        m.connects,
        m.reuses,
        m.bytes_in,
        m.bytes_out,
        m.connect_errors,
        m.response_errors,
    ];
    let name = format!("{}/{}", label(&pool.name, &pool.id), label(&m.name, &m.id));
    row("member", name, &numbers, &m.responses)
}

fn row(kind: &str, name: String, numbers: &[u64], responses: &[u64; 5]) -> Vec<String> {
    let numbers = numbers.iter().chain(responses).map(u64::to_string);
    [kind.to_owned(), name].into_iter().chain(numbers).collect()
}

pub(crate) fn label(name: &str, id: &str) -> String {
    if name.is_empty() { id.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_control::node::ProvisioningStatus;
    use lb_control::stats::MonitorView;
    use lb_core::health::{Administrative, OperatingStatus, Operational};

    #[test]
    fn certificates_say_how_long_they_last_and_warn() {
        const DAY_MS: i64 = 86_400_000;
        let now_ms: u64 = 1_800_000_000_000;
        let one = |path: &str, days: i64| CertificateStats {
            path: path.into(),
            names: vec!["a.test".into(), "*.b.test".into()],
            not_after_ms: 1_800_000_000_000 + days * DAY_MS,
            ..CertificateStats::default()
        };
        let mut out = String::new();
        let list = |path: &str, days: i64| CertificateStats {
            names: vec!["/CN=ca".into()],
            list_issued_ms: Some(1_800_000_000_000 - 6 * DAY_MS),
            ..one(path, days)
        };
        let all = [one("/old", -3), list("/ended", -1), list("/late", 1), list("/new", 6), one("/soon", 12)];
        certificates(&mut out, &[&all[..], &[one("/far", 200)]].concat(), now_ms);
        assert_eq!(
            out.lines().collect::<Vec<_>>(),
            [
                "│  certificate /old (a.test, *.b.test): expired 3 days ago (warning: clients refuse it)",
                "│  revocation list /ended (/CN=ca): expired 1 day ago (warning: whoever has to be looked up in it is refused)",
                "│  revocation list /late (/CN=ca): expires in 1 day (warning: replace it soon)",
                "│  revocation list /new (/CN=ca): expires in 6 days",
                "│  certificate /soon (a.test, *.b.test): expires in 12 days (warning: replace it soon)",
                "│  certificate /far (a.test, *.b.test): expires in 200 days",
            ]
        );
        let mut out = String::new();
        certificates(&mut out, &vec![one("/x", 99); CERTIFICATES_SHOWN + 5], now_ms);
        assert!(out.ends_with("│  and 5 more that last longer\n"), "{out}");
    }

    #[test]
    fn a_queue_is_told_once_somebody_waited() {
        assert_eq!(queue(&QueueStats::default()), "");
        let mut known =
            QueueStats { queued: 7, timeouts: 2, refused: 1, longest_wait_ms: 5_020, ..QueueStats::default() };
        assert_eq!(queue(&known), "  nobody waits (longest wait 5.0 s; 7 queued, 2 timed out, 1 refused)");
        (known.waiting, known.oldest_ms) = (3, 1_500);
        assert!(queue(&known).starts_with("  3 waiting for 1.5 s ("));
    }

    #[test]
    fn a_member_by_name_shows_where_it_is_and_what_is_wrong_with_its_name() {
        let mut status = MemberStatus {
            id: "1".into(),
            name: "web-1".into(),
            address: "app.example.com".into(),
            protocol_port: 80,
            weight: 1,
            backup: false,
            admin_state_up: true,
            provisioning_status: ProvisioningStatus::Active,
            operating_status: OperatingStatus::NoMonitor,
            avoided: false,
            active_connections: 0,
            max_connections: None,
            health: None,
            resolution: Some(Resolution { address: "10.0.0.5:80".into(), ..Resolution::default() }),
        };
        let drawn = |status: &MemberStatus| {
            let mut out = String::new();
            member(&mut out, status, "", true, 0);
            out
        };
        let line = "└─ member web-1  app.example.com:80 → 10.0.0.5:80  weight 1  NO_MONITOR\n";
        assert_eq!(drawn(&status), line);
        let resolution = status.resolution.as_mut().unwrap();
        (resolution.fault, resolution.next_in_ms) = ("NXDOMAIN".into(), 4_200);
        assert_eq!(drawn(&status), format!("{line}   its name: NXDOMAIN; asks again in 4.2 s\n"));
        status.resolution = Some(Resolution::default());
        assert!(drawn(&status).contains("app.example.com:80 → nowhere  weight"), "{}", drawn(&status));
    }

    #[test]
    fn a_member_that_is_down_says_why_and_since_when() {
        let mut known = MemberHealth {
            operating_status: OperatingStatus::Error,
            administrative: Administrative::Ready,
            operational: Operational::Down,
            since_ms: 1_000_000,
            reason: "HTTP 500, expected 200, 3 of 3, 2 ms".into(),
            share_permille: 0,
            monitors: vec![MonitorView {
                id: "1".into(),
                name: "web-http".into(),
                kind: "HTTP".into(),
                last: "HTTP 500, expected 200".into(),
                last_ms: 1_190_000,
                next_in_ms: 1_250,
            }],
            agent: "drain".into(),
        };
        let mut out = String::new();
        health(&mut out, &known, "  ", 1_192_000);
        assert_eq!(
            out.lines().collect::<Vec<_>>(),
            [
                "  READY, DOWN for 3m12s: HTTP 500, expected 200, 3 of 3, 2 ms; share of new work 0.0 %",
                "  monitor web-http HTTP: HTTP 500, expected 200 (2s ago); asks again in 1.2 s",
                "  its agent: drain",
            ]
        );
        // Just begun: nobody has answered.
        (known.operational, known.since_ms, known.share_permille) = (Operational::NoCheck, 0, 505);
        (known.reason, known.agent) = (String::new(), String::new());
        (known.monitors[0].last, known.monitors[0].next_in_ms) = (String::new(), 0);
        let mut out = String::new();
        health(&mut out, &known, "", 1_192_000);
        assert_eq!(
            out,
            "READY, NO_CHECK; share of new work 50.5 %\nmonitor web-http HTTP: no answer yet; asking now\n"
        );
    }
}
