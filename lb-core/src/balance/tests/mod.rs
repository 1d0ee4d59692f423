//! Picks among members that are judged up or down, and that get only a share of their weight.

mod disruption;
mod fairness;
mod next;
mod vectors;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::snapshot::Snapshot;

/// Every algorithm, hashes with each table, as the keys of a pool.
const ALGORITHMS: [&str; 12] = [
    "lb_algorithm: ROUND_ROBIN",
    "lb_algorithm: STATIC_RR",
    "lb_algorithm: LEAST_CONNECTIONS",
    "lb_algorithm: FIRST",
    "lb_algorithm: RANDOM",
    "lb_algorithm: SOURCE_IP",
    "lb_algorithm: SOURCE_IP_PORT, hash: {balance_factor: 150}",
    "lb_algorithm: SOURCE_IP, hash: {table: MAP}",
    "lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT}",
    "lb_algorithm: SOURCE_IP_PORT, hash: {table: CONSISTENT, balance_factor: 101}",
    "lb_algorithm: SOURCE_IP, hash: {table: MAGLEV}",
    "lb_algorithm: RDP_COOKIE, hash: {table: MAGLEV, balance_factor: 200}",
];

/// Those whose shares follow a weight at once and over any clients.
const SHARING: [&str; 6] = [ALGORITHMS[0], ALGORITHMS[2], ALGORITHMS[4], ALGORITHMS[5], ALGORITHMS[6], ALGORITHMS[10]];

/// Two pools of these members (weight, backup), compiled.
fn snapshot(algorithm: &str, members: &[(u16, bool)]) -> Snapshot {
    Snapshot::build(Arc::new(config(algorithm, members)), &Snapshot::empty(), 1)
}

fn config(algorithm: &str, members: &[(u16, bool)]) -> config::LoadBalancer {
    let member = |(i, (weight, backup)): (usize, &(u16, bool))| {
        format!(
            "{{name: m{i}, address: 10.0.{}.{}, protocol_port: 80, weight: {weight}, backup: {backup}}}",
            i / 250,
            i % 250 + 2
        )
    };
    let members: Vec<String> = members.iter().enumerate().map(member).collect();
    let pool = |name| format!("{{name: {name}, protocol: TCP, {algorithm}, members: [{}]}}", members.join(", "));
    let text = format!(
        "loadbalancer: {{vip_address: 10.1.0.1, listeners: [{{protocol: TCP, protocol_port: 80}}], pools: [{}, {}]}}",
        pool("a"),
        pool("b")
    );
    crate::spec::read("test", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn key(client: u32) -> FlowKey {
    let source = IpAddr::V4(Ipv4Addr::from(client));
    FlowKey { source, source_port: client as u16, hash: Some(mix(client.into()) as u32), draw: client }
}

fn set_up(pool: &PoolSnapshot, members: &[usize], up: bool) {
    members.iter().for_each(|i| pool.members[*i].state.set_up(up));
}

fn picks(pool: &PoolSnapshot, count: u32) -> Vec<usize> {
    let pick = |client| pick(pool, key(client), Millis(1), &Tried::default()).member().map(|m| usize::from(m.0));
    (0..count).filter_map(pick).collect()
}

fn counts(pool: &PoolSnapshot, count: u32) -> Vec<usize> {
    let picks = picks(pool, count);
    (0..pool.members.len()).map(|i| picks.iter().filter(|m| **m == i).count()).collect()
}

#[test]
fn members_that_are_down_get_nothing_and_backups_stand_in() {
    for algorithm in ALGORITHMS {
        let snapshot = snapshot(algorithm, &[(1, false), (1, false), (1, true), (1, true)]);
        let pool = &snapshot.pools[0];
        assert_eq!(counts(pool, 300)[2..], [0, 0], "{algorithm}: backups wait");
        assert!(counts(pool, 300)[0] > 0, "{algorithm}");
        set_up(pool, &[0], false);
        assert_eq!(counts(pool, 300), [0, 300, 0, 0], "{algorithm}");
        set_up(pool, &[1, 2], false);
        assert_eq!(counts(pool, 300), [0, 0, 0, 300], "{algorithm}");
        // Whether the tables were compiled anew meanwhile makes no difference to that.
        let snapshot = snapshot.rebuilt().unwrap_or(snapshot);
        let pool = &snapshot.pools[0];
        assert_eq!(counts(pool, 300), [0, 0, 0, 300], "{algorithm}");
        set_up(pool, &[3], false);
        assert!(picks(pool, 300).is_empty(), "{algorithm}: not even as a last resort");
        assert!(!alternative(pool, Millis(1), &Tried::default()));
        set_up(pool, &[0], true);
        assert_eq!(counts(pool, 300), [300, 0, 0, 0], "{algorithm}");
        assert!(alternative(pool, Millis(1), &Tried::default()));
        let mut tried = Tried::default();
        tried.note(MemberIndex(0));
        assert_eq!(
            pick(pool, key(1), Millis(1), &tried),
            Pick::Member(MemberIndex(0)),
            "{algorithm}: the only one that is up"
        );
    }
}

#[test]
fn who_is_left_shares_by_weight() {
    let snapshot = snapshot("lb_algorithm: ROUND_ROBIN", &[(3, false), (2, false), (1, false)]);
    set_up(&snapshot.pools[0], &[0], false);
    assert_eq!(counts(&snapshot.pools[0], 300), [0, 200, 100]);
}

#[test]
fn shares_are_met_after_the_next_compilation() {
    for algorithm in SHARING {
        let before = snapshot(algorithm, &[(1, false), (1, false)]);
        before.pools[0].members[1].state.set_share_permille(250);
        let after = before.rebuilt().unwrap();
        let pool = &after.pools[0];
        assert_eq!((pool.members[0].effective_weight, pool.members[1].effective_weight), (16, 4));
        // Idle members come first whatever their weight: a little load shows the weights of LEAST_CONNECTIONS.
        let mut got = [0usize; 2];
        for client in 0..5000 {
            let member = pick(pool, key(client), Millis(1), &Tried::default()).member().unwrap();
            pool.member(member).state.enter();
            pool.cells.of(0).active.inc();
            got[usize::from(member.0)] += 1;
        }
        let fine = if algorithm.contains("IP") || algorithm.contains("RANDOM") { 900..=1100 } else { 995..=1005 };
        assert!(fine.contains(&got[1]), "{algorithm}: {got:?}");
    }
}

#[test]
fn a_share_of_nothing_is_nothing() {
    for algorithm in ALGORITHMS {
        let before = snapshot(algorithm, &[(1, false), (1, false), (1, true)]);
        before.pools[0].members[0].state.set_share_permille(0);
        let after = before.rebuilt().unwrap();
        assert_eq!(counts(&after.pools[0], 100), [0, 100, 0], "{algorithm}");
        after.pools[0].members[1].state.set_share_permille(0);
        let after = after.rebuilt().unwrap();
        assert_eq!(counts(&after.pools[0], 100), [0, 0, 100], "{algorithm}: backups stand in");
    }
}

#[test]
fn weights_are_scaled_as_in_haproxy() {
    assert_eq!(effective_weight(1, 1000), 16);
    assert_eq!(effective_weight(1, 10), 1, "a percent of the smallest weight is something");
    assert_eq!(effective_weight(10, 370), 60);
    assert_eq!(effective_weight(0, 1000), 0);
    assert_eq!(effective_weight(256, 0), 0);
    assert_eq!(effective_weight(256, 256_000), 4096, "never more than the highest weight");
}

#[test]
fn a_compilation_keeps_what_is_shared() {
    let before = snapshot("lb_algorithm: ROUND_ROBIN", &[(3, false), (2, false), (1, false)]);
    assert!(before.rebuilt().is_none(), "nothing changed");
    assert_eq!(picks(&before.pools[0], 2), [0, 1]);
    assert_eq!(picks(&before.pools[1], 2), [0, 1]);
    before.pools[0].cells.of(0).active.add(7);
    before.pools[0].members[0].cells.of(0).total.add(9);
    before.pools[0].members[2].state.set_share_permille(500);
    let after = before.rebuilt().unwrap();
    assert_eq!((after.generation, after.config.as_ref()), (before.generation, before.config.as_ref()));
    assert!(Arc::ptr_eq(&after.listeners[0], &before.listeners[0]));
    for (old, new) in before.pools[0].members.iter().zip(&after.pools[0].members) {
        assert!(Arc::ptr_eq(&old.state, &new.state));
        assert_eq!((old.id, old.weight, old.hash_seed), (new.id, new.weight, new.hash_seed));
    }
    before.pools[0].cells.of(0).active.add(1);
    assert_eq!(after.pools[0].cells.sum(|cell| cell.active.get()), 8, "the same cells");
    assert_eq!(after.pools[0].members[0].cells.sum(|cell| cell.total.get()), 9);
    // The other pool goes on exactly where it stood, in both snapshots.
    assert_eq!(picks(&after.pools[1], 2), [0, 2]);
    assert_eq!(picks(&before.pools[1], 2), [0, 1]);
    // Two of six turns were taken; with 48, 32 and 8 sixteenths a cycle has eleven, so three are.
    assert_eq!(counts(&after.pools[0], 11), [6, 4, 1]);
    let fresh = snapshot("lb_algorithm: ROUND_ROBIN", &[(6, false), (4, false), (1, false)]);
    picks(&fresh.pools[0], 3);
    assert_eq!(picks(&after.pools[0], 11), picks(&fresh.pools[0], 11), "at the same place of the cycle");
    assert!(after.rebuilt().is_none());
}

#[test]
fn shares_outlive_a_document() {
    let before = snapshot("lb_algorithm: ROUND_ROBIN", &[(1, false), (1, false)]);
    before.pools[0].members[0].state.set_share_permille(500);
    before.pools[0].members[1].state.set_up(false);
    let next = Snapshot::build(before.config.clone().unwrap(), &before, 1);
    assert_eq!(next.pools[0].members[0].effective_weight, 8);
    assert_eq!(counts(&next.pools[0], 10), [10, 0]);
    assert!(next.rebuilt().is_none());
}

proptest! {
    #[test]
    fn only_who_is_up_and_takes_work_is_picked(
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        members in prop::collection::vec((0u16..4, any::<bool>()), 1..8),
        up in prop::collection::vec(any::<bool>(), 8),
        failed in prop::collection::vec(any::<bool>(), 8),
        shares in prop::collection::vec(prop::sample::select(vec![0u32, 10, 500, 1000, 3000]), 8),
        tried in prop::collection::vec(0u16..8, 0..8),
        client in any::<u32>(),
    ) {
        let before = snapshot(algorithm, &members);
        for (i, slot) in before.pools[0].members.iter().enumerate() {
            slot.state.set_up(up[i]);
            slot.state.set_share_permille(shares[i]);
            if failed[i] {
                slot.state.fault.failed(Millis(1));
            }
        }
        let after = before.rebuilt().unwrap_or(before);
        let pool = &after.pools[0];
        let mut noted = Tried::default();
        tried.into_iter().for_each(|i| noted.note(MemberIndex(i)));
        let able = |i: usize| up[i] && members[i].0 > 0 && shares[i] > 0;
        let expected = preview(pool, key(client), Millis(1), &noted);
        prop_assert_eq!(preview(pool, key(client), Millis(1), &noted), expected, "a look changed something");
        let picked = pick(pool, key(client), Millis(1), &noted);
        prop_assert_eq!(picked, expected, "somebody else was foretold");
        let picked = picked.member().map(|m| usize::from(m.0));
        prop_assert_eq!(picked.is_some(), (0..members.len()).any(able));
        if let Some(picked) = picked {
            prop_assert!(able(picked));
            let untried = |i: usize| able(i) && !noted.contains(MemberIndex(i as u16));
            prop_assert!(untried(picked) || !(0..members.len()).any(untried), "tried before somebody new");
            let healthy = |i: usize| untried(i) && !failed[i];
            prop_assert!(healthy(picked) || !(0..members.len()).any(healthy), "somebody healthy was left");
            let ordinary = |i: usize| healthy(i) && !members[i].1;
            prop_assert!(ordinary(picked) || !(0..members.len()).any(ordinary), "a backup before an ordinary one");
        }
    }
}

/// Fills a member's slots.
fn fill(pool: &PoolSnapshot, member: usize) {
    let slots = &pool.members[member].state.slots;
    slots.set_document(Some(2));
    while slots.try_enter() {}
}

fn limited(algorithm: &str, members: &[(u16, bool)]) -> Snapshot {
    let mut snapshot = snapshot(algorithm, members);
    snapshot.pools[0].limits.limited = true;
    snapshot
}

#[test]
fn a_member_that_is_full_is_passed_over() {
    for algorithm in &ALGORITHMS[..5] {
        let snapshot = limited(algorithm, &[(1, false), (1, false), (1, true)]);
        let pool = &snapshot.pools[0];
        fill(pool, 0);
        assert_eq!(counts(pool, 100), [0, 100, 0], "{algorithm}");
        fill(pool, 1);
        let choose = || pick(pool, key(1), Millis(1), &Tried::default());
        assert_eq!(choose(), Pick::Full(None), "{algorithm}: full is no reason for a backup");
        set_up(pool, &[0, 1], false);
        assert_eq!(counts(pool, 100), [0, 0, 100], "{algorithm}");
        set_up(pool, &[2], false);
        assert_eq!(choose(), Pick::Nobody, "{algorithm}");
        set_up(pool, &[0, 1], true);
        assert!(!pool.members[1].state.leave());
        assert_eq!(choose(), Pick::Member(MemberIndex(1)), "{algorithm}");
        assert!(alternative_with_room(pool, Millis(1), &Tried::default()));
        // One that just failed has room, and is still no better than a full one.
        fill(pool, 1);
        assert!(!pool.members[0].state.leave());
        pool.members[0].state.fault.failed(Millis(1));
        assert_eq!(choose(), Pick::Full(None), "{algorithm}");
        assert!(!alternative_with_room(pool, Millis(1), &Tried::default()));
        assert!(alternative(pool, Millis(1), &Tried::default()));
        // Nobody is well: then it is one that has room.
        pool.members[1].state.fault.failed(Millis(1));
        assert_eq!(choose(), Pick::Member(MemberIndex(0)), "{algorithm}");
    }
}

#[test]
fn a_hash_keeps_to_a_member_that_is_full() {
    for algorithm in &ALGORITHMS[5..] {
        let members = [(1, false), (1, false)];
        let (free, full) = (snapshot(algorithm, &members), limited(algorithm, &members));
        fill(&full.pools[0], 0);
        for client in 0..200 {
            let choose = |snapshot: &Snapshot| pick(&snapshot.pools[0], key(client), Millis(1), &Tried::default());
            let expected = match choose(&free).member() {
                // A bound is another matter: who has all that is in flight has no place for more.
                Some(MemberIndex(0)) if !algorithm.contains("balance_factor") => Pick::Full(Some(MemberIndex(0))),
                _ => Pick::Member(MemberIndex(1)),
            };
            assert_eq!(choose(&full), expected, "{algorithm}");
        }
    }
}

#[test]
fn what_has_no_key_passes_over_who_is_full() {
    for table in ["MAP", "CONSISTENT", "MAGLEV", "RENDEZVOUS"] {
        let algorithm = format!("lb_algorithm: RDP_COOKIE, hash: {{table: {table}}}");
        let full = limited(&algorithm, &[(1, false), (1, false)]);
        let pool = &full.pools[0];
        fill(pool, 0);
        let choose = || pick(pool, FlowKey { hash: None, ..key(1) }, Millis(1), &Tried::default());
        assert!((0..20).all(|_| choose() == Pick::Member(MemberIndex(1))), "{table}");
        fill(pool, 1);
        assert_eq!(choose(), Pick::Full(None), "{table}");
    }
}

#[test]
fn a_newcomer_goes_to_nobody_while_others_wait_for_any() {
    let snapshot = limited("lb_algorithm: ROUND_ROBIN", &[(1, false), (1, false)]);
    let pool = &snapshot.pools[0];
    let queue = &pool.limits.queue;
    (0..2).for_each(|member| fill(pool, member));
    queue.arrange(|| pool.places(), true);
    let asking = crate::limits::Asking { member: None, not: None, max: None, now: Millis(1) };
    let _waiting = queue.join(asking).unwrap();
    assert_eq!(pick(pool, key(1), Millis(1), &Tried::default()), Pick::Full(None));
    assert!(!pool.members[0].state.slots.has_room());
}
