//! The status tree and the figures, drawn as text.

use std::fmt::Write;

use lb_control::node::{ListenerStatus, MemberStatus, PoolStatus, Status};
use lb_control::stats::{ListenerStats, MemberStats, PoolStats, Stats};
use serde::Serialize;

use crate::output::table;

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

/// One load balancer with all below it.
pub(crate) fn status(status: &Status) -> String {
    let (lb, instance) = (&status.loadbalancer, &status.instance);
    let mut out = String::new();
    let runs = match instance.pid {
        Some(pid) => format!("pid {pid}, up {}, generation {}", duration(instance.uptime_ms), instance.generation),
        None => "no data plane runs".to_owned(),
    };
    let words = format!("{} {}", word(&lb.provisioning_status), word(&lb.operating_status));
    let _ = writeln!(out, "{} {}  {words}", label(&lb.name, &lb.id), lb.vip_address);
    let _ = writeln!(out, "│  {} ({runs}, {} restarts)", instance.namespace, instance.restarts);
    for (what, words) in [("last exit", &instance.last_exit), ("fault", &instance.fault)] {
        if let Some(words) = words {
            let _ = writeln!(out, "│  {what}: {words}");
        }
    }
    let last_listener = lb.unused_pools.is_empty();
    for (i, l) in lb.listeners.iter().enumerate() {
        listener(&mut out, l, last_listener && i + 1 == lb.listeners.len());
    }
    for (i, p) in lb.unused_pools.iter().enumerate() {
        pool(&mut out, p, "", i + 1 == lb.unused_pools.len());
    }
    out
}

fn listener(out: &mut String, l: &ListenerStatus, is_last: bool) {
    let name = label(&l.name, &l.id);
    let state = word(&l.operating_status);
    let _ = writeln!(out, "{} listener {name}  {} :{}  {state}", branch(is_last), l.protocol, l.protocol_port);
    for (i, p) in l.pools.iter().enumerate() {
        pool(out, p, if is_last { "   " } else { "│  " }, i + 1 == l.pools.len());
    }
}

fn pool(out: &mut String, p: &PoolStatus, indent: &str, is_last: bool) {
    let (name, state) = (label(&p.name, &p.id), word(&p.operating_status));
    let _ = writeln!(out, "{indent}{} pool {name}  {}  {state}", branch(is_last), p.lb_algorithm);
    let indent = format!("{indent}{}", if is_last { "   " } else { "│  " });
    for (i, m) in p.members.iter().enumerate() {
        member(out, m, &indent, i + 1 == p.members.len());
    }
}

fn member(out: &mut String, m: &MemberStatus, indent: &str, is_last: bool) {
    let at = if m.address.contains(':') {
        format!("[{}]:{}", m.address, m.protocol_port)
    } else {
        format!("{}:{}", m.address, m.protocol_port)
    };
    let backup = if m.backup { "  backup" } else { "" };
    let avoided = if m.avoided { "  avoided: it just failed" } else { "" };
    let (name, state) = (label(&m.name, &m.id), word(&m.operating_status));
    let _ =
        writeln!(out, "{indent}{} member {name}  {at}  weight {}{backup}  {state}{avoided}", branch(is_last), m.weight);
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
    out
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

fn label(name: &str, id: &str) -> String {
    if name.is_empty() { id.to_owned() } else { name.to_owned() }
}
