//! The rules played out: crowds of members, scripted answers, every combination.

mod judgement;
mod machine;
mod schedule;

use crate::config::Pool;
use crate::config::monitor::HealthMonitor;

/// A pool of protocol HTTP with one member at 10.0.0.2:80 and these keys.
pub(super) fn pool(keys: &str) -> Pool {
    let text = format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: HTTP\n    \
         lb_algorithm: ROUND_ROBIN\n    members: [{{address: 10.0.0.2, protocol_port: 80}}]\n    {keys}\n"
    );
    crate::spec::read("test", &text).unwrap().pools.remove(0)
}

/// A health monitor with these keys.
pub(super) fn monitor(keys: &str) -> HealthMonitor {
    pool(&format!("healthmonitor: {{{keys}}}")).monitors.remove(0)
}
