//! Events in words.

use lb_control::events::Subject;
use lb_core::config::{Member, Pool};
use lb_core::health::{Administrative, Cause, Change};

/// Who says where names lead.
pub(super) const DNS: &str = "DNS";
/// Who writes documents.
pub(super) use lb_control::events::OPERATOR;

pub(super) fn member(pool: &Pool, member: &Member) -> Subject {
    let name = format!("{}/{}", pool.label(), member.label());
    Subject { kind: "member".to_owned(), id: member.id.to_string(), name }
}

pub(super) fn pool(pool: &Pool) -> Subject {
    Subject { kind: "pool".to_owned(), id: pool.id.to_string(), name: pool.label() }
}

/// Who turned it.
pub(super) fn by(cause: &Cause, pool: &Pool) -> String {
    match cause {
        Cause::Probe { monitor, .. } => {
            let monitor = pool.monitors.iter().find(|known| known.id == *monitor);
            monitor.map_or_else(|| "a monitor".to_owned(), |monitor| format!("monitor {}", monitor.label()))
        }
        Cause::Traffic { .. } => "live traffic".to_owned(),
        Cause::Agent { .. } => "the member's agent".to_owned(),
        Cause::Name { .. } => DNS.to_owned(),
        Cause::Document | Cause::Maintenance => OPERATOR.to_owned(),
    }
}

/// What a turn does to traffic.
pub(super) fn effect(change: Change, cut: bool, in_flight: u32, up: usize, members: usize) -> String {
    let left = format!("{up} of {members} members take new work");
    match (change, in_flight, cut) {
        (Change::CameUp, _, _) | (Change::WentDown, 0, _) => left,
        (Change::WentDown, n, true) => format!("{n} in flight are closed; {left}"),
        (Change::WentDown, n, false) => format!("{n} in flight go on; {left}"),
    }
}

pub(super) fn axis(administrative: Administrative) -> &'static str {
    match administrative {
        Administrative::Ready => "READY",
        Administrative::Drain => "DRAIN",
        Administrative::Maint => "MAINT",
    }
}
