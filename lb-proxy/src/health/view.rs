//! What is known of members' health, as it is shown.

use lb_control::stats::{MemberHealth, MonitorView};
use lb_core::config::monitor::{HealthMonitor, Probe};
use lb_core::config::{Member, Pool};
use lb_core::health::operating_status::of_member;
use lb_core::health::{Administrative, Operational};
use lb_core::snapshot::{MemberSlot, PoolSnapshot};
use lb_core::time::Millis;

use super::minder::{Book, Minder};
use super::timeline::unix_ms;
use super::ward::{Ward, Who};

/// A look at everybody's health at one moment.
pub struct Look<'m> {
    book: std::sync::MutexGuard<'m, Book>,
    now: Millis,
    unix_ms: u64,
}

impl Minder {
    /// Looks now. Nothing is judged until the look is dropped.
    pub fn look(&self, now: Millis) -> Look<'_> {
        Look { book: self.lock(), now, unix_ms: unix_ms() }
    }
}

impl Look<'_> {
    /// A member's health. `pool` and `member` are what the `slot` was compiled from.
    pub fn member(&self, pool: &Pool, member: &Member, shares: &Shares, slot: &MemberSlot) -> MemberHealth {
        let ward = self.book.ward(&slot.state);
        let administrative =
            ward.map_or_else(|| Administrative::of(pool, member, None), |w| w.judgement.administrative(pool, member));
        let operational =
            ward.map_or(Operational::NoCheck, |ward| ward.judgement.operational(pool.slow_start_ms, self.now));
        MemberHealth {
            operating_status: of_member(administrative, operational),
            administrative,
            operational,
            since_ms: ward.map_or_else(|| self.unix_ms.saturating_sub(self.now.0), |ward| ward.since_ms),
            reason: ward
                .and_then(|ward| ward.judgement.cause())
                .map_or_else(String::new, |cause| cause.words(&pool.monitors)),
            share_permille: shares.share(slot),
            monitors: ward.map_or_else(Vec::new, |ward| self.monitors(pool, ward)),
            agent: ward.map_or_else(String::new, agent_words),
        }
    }

    fn monitors(&self, pool: &Pool, ward: &Ward) -> Vec<MonitorView> {
        let view = |monitor: &HealthMonitor| {
            let watch = ward.judgement.watches().iter().find(|watch| watch.monitor == monitor.id);
            let last = watch.and_then(|watch| watch.last.as_ref());
            let due = ward.asks.iter().find(|ask| ask.who == Who::Monitor(monitor.id)).map(|ask| ask.schedule.due());
            MonitorView {
                id: monitor.id.to_string(),
                name: monitor.label(),
                kind: kind(&monitor.probe).to_owned(),
                last: last.map_or_else(String::new, |last| last.result.words(Some(monitor), last.tally)),
                last_ms: last.map_or(0, |last| self.unix_ms.saturating_sub(self.now.since(last.at))),
                next_in_ms: due.map_or(0, |due| due.since(self.now)),
            }
        };
        pool.monitors.iter().map(view).collect()
    }
}

/// Who gets how much of a pool's new work now.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    total: u64,
    /// No ordinary member can take work.
    backups: bool,
}

impl Shares {
    /// As of now.
    pub fn of(slots: &PoolSnapshot) -> Self {
        let backups = !slots.members.iter().any(|slot| works(slot) && !slot.backup);
        let weights = slots.members.iter().filter(|slot| works(slot) && slot.backup == backups);
        Self { total: weights.map(|slot| u64::from(slot.effective_weight)).sum(), backups }
    }

    /// One member's, in thousandths.
    fn share(self, slot: &MemberSlot) -> u32 {
        let mine = works(slot) && slot.backup == self.backups;
        let weight = if mine { u64::from(slot.effective_weight) } else { 0 };
        (weight * 1000).checked_div(self.total).unwrap_or(0) as u32
    }
}

fn works(slot: &MemberSlot) -> bool {
    slot.takes_new_work() && slot.state.up() && slot.effective_weight > 0
}

fn agent_words(ward: &Ward) -> String {
    let agent = ward.judgement.agent();
    let mut words: Vec<String> = Vec::new();
    words.extend(agent.health.map(|health| format!("{health:?}").to_lowercase()));
    words.extend(agent.admin.map(|admin| format!("{admin:?}").to_lowercase()));
    words.extend(agent.weight.map(|weight| format!("{weight:?}").to_lowercase()));
    words.extend(agent.maxconn.map(|maxconn| format!("maxconn {maxconn}")));
    if !agent.reason.is_empty() {
        words.push(agent.reason.to_string());
    }
    words.join(", ")
}

fn kind(probe: &Probe) -> &'static str {
    match probe {
        Probe::Ping => "PING",
        Probe::Tcp => "TCP",
        Probe::Http(_) => "HTTP",
        Probe::Https(..) => "HTTPS",
        Probe::TlsHello(_) => "TLS-HELLO",
        Probe::Mysql(_) => "MYSQL",
    }
}
