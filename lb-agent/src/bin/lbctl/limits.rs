//! What limits and shortages did, in words; nothing is said of what did nothing.

use lb_control::stats::{LimitStats, ShortageStats};

/// What the limits of a listener did; empty: nothing.
pub(crate) fn limits(did: &LimitStats) -> String {
    told(&[
        (did.not_allowed, "connections from elsewhere than allowed_cidrs"),
        (did.over_connection_limit, "connections over connection_limit"),
        (did.client_connections, "connections of clients that had too many"),
        (did.client_connection_rate, "connections of clients that opened them too fast"),
        (did.client_request_rate, "requests of clients that sent them too fast"),
        (did.clients_uncounted, "connections not counted for their client"),
        (did.heads_too_large, "heads too large"),
        (did.bodies_too_slow, "bodies too slow"),
        (did.shed, "connections closed for want of descriptors or memory"),
        (did.lines_withheld, "log lines withheld"),
    ])
}

/// What a data plane ran short of; empty: nothing.
pub(crate) fn shortage(short: &ShortageStats) -> String {
    told(&[
        (short.shed_for_descriptors, "connections closed for want of descriptors"),
        (short.shed_for_memory, "connections closed for want of memory"),
        (short.descriptors_refused, "descriptors the kernel did not have"),
    ])
}

fn told(figures: &[(u64, &str)]) -> String {
    let some = figures.iter().filter(|(n, _)| *n > 0);
    some.map(|(n, what)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_told() {
        assert_eq!(limits(&LimitStats { clients: 5, clients_bytes: 700, ..LimitStats::default() }), "");
        let did = LimitStats { not_allowed: 3, shed: 1, ..LimitStats::default() };
        let words =
            "3 connections from elsewhere than allowed_cidrs, 1 connections closed for want of descriptors or memory";
        assert_eq!(limits(&did), words);
        assert_eq!(shortage(&ShortageStats { connections_max: Some(9), ..ShortageStats::default() }), "");
    }
}
