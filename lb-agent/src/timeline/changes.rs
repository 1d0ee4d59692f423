//! What another document changes, in a few words. Pure.

use std::fmt::Display;

use lb_core::config::l7::L7Policy;
use lb_core::config::{Listener, LoadBalancer, Member, Pool};

/// Changes that are told one by one; of the others only the number is.
const CHANGES_MAX: usize = 12;

/// What a first document brings.
pub fn contents(document: &LoadBalancer) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let members = document.pools.iter().map(|pool| pool.members.len()).sum();
    let pools = count(document.pools.len(), "pool");
    format!("{}, {pools}, {}", count(document.listeners.len(), "listener"), count(members, "member"))
}

/// What differs from `old` in `new`; empty: nothing.
pub fn between(old: &LoadBalancer, new: &LoadBalancer) -> String {
    let mut changes = Changes(Vec::new());
    changes.value("VIP", &old.vip_address, &new.vip_address);
    changes.value("name", &old.name, &new.name);
    changes.up("load balancer", old.admin_state_up, new.admin_state_up);
    for (old, new) in changes.pairs("listener", (&old.listeners, &new.listeners), |l| l.id, Listener::label) {
        changes.listener(old, new);
    }
    for (old, new) in changes.pairs("pool", (&old.pools, &new.pools), |p| p.id, Pool::label) {
        changes.pool(old, new);
    }
    if changes.0.is_empty() && old != new {
        changes.0.push("other settings".into());
    }
    changes.in_words()
}

struct Changes(Vec<String>);

impl Changes {
    fn listener(&mut self, old: &Listener, new: &Listener) {
        let (before, label) = (self.0.len(), format!("listener {}", new.label()));
        self.value(&format!("port of {label}"), &old.protocol_port, &new.protocol_port);
        self.up(&label, old.admin_state_up, new.admin_state_up);
        if old.default_pool != new.default_pool {
            self.0.push(format!("{label} has another default pool"));
        }
        let within = |policy: &L7Policy| format!("{}/{}", new.label(), policy.label());
        for (old, new) in self.pairs("policy", (&old.l7policies, &new.l7policies), |p| p.id, within) {
            let (before, label) = (self.0.len(), format!("policy {}", within(new)));
            self.up(&label, old.admin_state_up, new.admin_state_up);
            self.settings(&label, before, old != new);
        }
        let limit = |l: &Listener| l.connection_limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        self.value(&format!("connection limit of {label}"), &limit(old), &limit(new));
        self.settings(&label, before, old != new);
    }

    fn pool(&mut self, old: &Pool, new: &Pool) {
        let (before, label) = (self.0.len(), format!("pool {}", new.label()));
        self.value(&format!("algorithm of {label}"), &old.lb_algorithm, &new.lb_algorithm);
        self.up(&label, old.admin_state_up, new.admin_state_up);
        let within = |name: String| format!("{}/{name}", new.label());
        for (old, new) in self.pairs("member", (&old.members, &new.members), |m| m.id, |m| within(m.label())) {
            self.member(old, new, &format!("member {}", within(new.label())));
        }
        for (old, new) in self.pairs("monitor", (&old.monitors, &new.monitors), |m| m.id, |m| within(m.label())) {
            if old != new {
                self.0.push(format!("monitor {} changed", within(new.label())));
            }
        }
        self.settings(&label, before, old != new);
    }

    fn member(&mut self, old: &Member, new: &Member, label: &str) {
        let before = self.0.len();
        let at = |member: &Member| member.address.with_port(member.protocol_port);
        self.value(&format!("address of {label}"), &at(old), &at(new));
        self.value(&format!("weight of {label}"), &old.weight, &new.weight);
        self.up(label, old.admin_state_up, new.admin_state_up);
        if old.backup != new.backup {
            self.0.push(format!("{label} is {} backup", if new.backup { "a" } else { "no" }));
        }
        self.settings(label, before, old != new);
    }

    fn value<T: PartialEq + Display>(&mut self, what: &str, old: &T, new: &T) {
        if old != new {
            self.0.push(format!("{what} {old} → {new}"));
        }
    }

    fn up(&mut self, what: &str, old: bool, new: bool) {
        if old != new {
            self.0.push(format!("{what} administratively {}", if new { "up" } else { "down" }));
        }
    }

    /// For what has no words of its own.
    fn settings(&mut self, what: &str, before: usize, differs: bool) {
        if differs && self.0.len() == before {
            self.0.push(format!("settings of {what}"));
        }
    }

    /// Tells who came and who went; those that stayed, before and after.
    fn pairs<'a, T, I: PartialEq>(
        &mut self,
        kind: &str,
        (old, new): (&'a [T], &'a [T]),
        id: impl Fn(&T) -> I,
        label: impl Fn(&T) -> String,
    ) -> Vec<(&'a T, &'a T)> {
        let of = |all: &'a [T], one: &T| all.iter().find(|other| id(other) == id(one));
        let gone = old.iter().filter(|one| of(new, one).is_none());
        self.0.extend(gone.map(|one| format!("{kind} {} removed", label(one))));
        let come = new.iter().filter(|one| of(old, one).is_none());
        self.0.extend(come.map(|one| format!("{kind} {} added", label(one))));
        new.iter().filter_map(|one| Some((of(old, one)?, one))).collect()
    }

    fn in_words(mut self) -> String {
        let more = self.0.len().saturating_sub(CHANGES_MAX);
        self.0.truncate(CHANGES_MAX);
        let more = if more == 0 { String::new() } else { format!("; and {more} more changes") };
        self.0.join("; ") + &more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    #[test]
    fn the_same_is_no_change() {
        let lb = document("web", "20.20.20.6", &[80]);
        assert_eq!(between(&lb, &lb), "");
        assert_eq!(contents(&lb), "1 listener, 1 pool, 1 member");
    }

    #[test]
    fn every_change_has_words() {
        type Change = fn(&mut LoadBalancer);
        let cases: [(Change, &str); 13] = [
            (|lb| lb.pools[0].members[0].weight = 5, "weight of member pool/m1 1 → 5"),
            (|lb| lb.pools[0].members[0].admin_state_up = false, "member pool/m1 administratively down"),
            (|lb| lb.pools[0].members[0].backup = true, "member pool/m1 is a backup"),
            (|lb| lb.pools[0].members[0].monitor_port = Some(1), "settings of member pool/m1"),
            (|lb| lb.pools[0].members.clear(), "member pool/m1 removed"),
            (|lb| lb.pools[0].slow_start_ms = 7, "settings of pool pool"),
            (|lb| lb.listeners.clear(), "listener l80 removed"),
            (|lb| lb.listeners[0].protocol_port = 81, "port of listener l80 80 → 81"),
            (|lb| lb.listeners[0].connection_limit = Some(9), "connection limit of listener l80 none → 9"),
            (|lb| lb.listeners[0].default_pool = None, "listener l80 has another default pool"),
            (|lb| lb.admin_state_up = false, "load balancer administratively down"),
            (|lb| lb.vip_address = "20.20.20.7".parse().unwrap(), "VIP 20.20.20.6 → 20.20.20.7"),
            (|lb| lb.workers = Some(4), "other settings"),
        ];
        for (change, words) in cases {
            let old = document("web", "20.20.20.6", &[80]);
            let mut new = old.clone();
            change(&mut new);
            assert_eq!(between(&old, &new), words);
        }
    }

    #[test]
    fn many_changes_are_counted() {
        let old = document("web", "20.20.20.6", &[80]);
        let new = document("web", "20.20.20.6", &(80..100).collect::<Vec<_>>());
        let words = between(&old, &new);
        assert!(words.starts_with("listener l81 added; ") && words.ends_with("; and 7 more changes"), "{words}");
    }
}
