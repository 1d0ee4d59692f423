//! Answers in, waits and addresses out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::snapshot::Snapshot;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn found(texts: &[&str], ttl_s: u32) -> Result<Found, Fault> {
    Ok(Found { addresses: ips(texts), ttl_s })
}

/// Waits are up to a sixteenth shorter than they could be.
fn about(wait_ms: u64, longest_ms: u64) -> bool {
    wait_ms <= longest_ms && wait_ms >= (longest_ms - longest_ms / 16).max(TTL_MIN_MS)
}

#[test]
fn an_answer_counts_as_long_as_its_ttl_says_within_bounds() {
    for (ttl_s, longest_ms) in [(0, 1_000), (1, 1_000), (60, 60_000), (3600, 3_600_000), (u32::MAX, 3_600_000)] {
        let mut known = Known::default();
        let wait_ms = known.hear(found(&["10.0.0.2"], ttl_s), u64::from(ttl_s));
        assert!(about(wait_ms, longest_ms), "{ttl_s}: {wait_ms}");
    }
    for (ttl_s, longest_ms) in [(Some(0), 1_000), (Some(5), 5_000), (Some(86_400), 30_000), (None, 30_000)] {
        for fault in [Fault::NoSuchName { ttl_s }, Fault::NoAddress { ttl_s }] {
            let wait_ms = Known::default().hear(Err(fault), 7);
            assert!(about(wait_ms, longest_ms), "{ttl_s:?}: {wait_ms}");
        }
    }
}

#[test]
fn what_fails_is_asked_again_ever_more_seldom_and_keeps_what_it_had() {
    let mut known = Known::default();
    let mut longest_ms = RETRY_FIRST_MS;
    for n in 0..40 {
        let wait_ms = known.hear(Err(Fault::Silent), n);
        assert!(about(wait_ms, longest_ms), "{n}: {wait_ms}");
        longest_ms = (longest_ms * 2).min(RETRY_MAX_MS);
    }
    known.hear(found(&["10.0.0.3", "10.0.0.2", "10.0.0.3"], 5), 0);
    assert_eq!((&*known.addresses, known.fault.as_ref()), (&ips(&["10.0.0.2", "10.0.0.3"])[..], None));
    let wait_ms = known.hear(Err(Fault::Server("SERVFAIL".into())), 0);
    assert!(about(wait_ms, RETRY_FIRST_MS), "a good answer begins anew");
    known.hear(Err(Fault::NoSuchName { ttl_s: None }), 0);
    assert_eq!(&*known.addresses, ips(&["10.0.0.2", "10.0.0.3"]), "the last good answer");
    assert!(known.fault.is_some());
}

#[test]
fn only_addresses_of_hosts_are_taken() {
    let mut known = Known::default();
    known.hear(found(&["0.0.0.0", "224.0.0.1", "::ffff:10.0.0.9", "fe80::1", "::", "ff02::1", "2001:db8::1"], 5), 0);
    assert_eq!(&*known.addresses, ips(&["10.0.0.9", "2001:db8::1"]));
    known.hear(found(&["0.0.0.0"], 5), 0);
    assert_eq!(known.fault, Some(Fault::Unusable));
    let many = (0..1000_u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into())).collect();
    known.hear(Ok(Found { addresses: many, ttl_s: 5 }), 0);
    assert_eq!(known.addresses.len(), ADDRESSES_MAX);
}

/// A document whose pool has these members: name, host, port.
fn document(members: &[(&str, &str, u16)]) -> LoadBalancer {
    let member = |(name, host, port): &(&str, &str, u16)| {
        format!("    - {{name: {name}, address: '{host}', protocol_port: {port}}}\n")
    };
    let text = format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  listeners: [{{protocol: TCP, protocol_port: 80}}]\n  pools:\n  \
         - name: a\n    protocol: TCP\n    lb_algorithm: ROUND_ROBIN\n    members:\n{}",
        members.iter().map(member).collect::<String>()
    );
    crate::spec::read("test", &text).unwrap()
}

fn names(answers: &[(&str, &[&str])]) -> HashMap<HostName, Known> {
    let known = |addresses: &[&str]| {
        let mut known = Known::default();
        let answer = if addresses.is_empty() { Err(Fault::NoSuchName { ttl_s: None }) } else { found(addresses, 5) };
        known.hear(answer, 0);
        known
    };
    answers.iter().map(|(name, addresses)| (name.parse().unwrap(), known(addresses))).collect()
}

fn placed(config: &LoadBalancer, known: &HashMap<HostName, Known>, before: &Addresses) -> Addresses {
    assign(config, |name| known.get(name), before)
}

fn sockets(config: &LoadBalancer, addresses: &Addresses) -> Vec<String> {
    let text = |m: &Member| {
        addresses.socket(m).map_or_else(|| addresses.fault(m).unwrap().to_owned(), |socket| socket.to_string())
    };
    config.pools[0].members.iter().map(text).collect()
}

#[test]
fn members_keep_what_they_have_and_others_take_what_is_free() {
    let app = "app.example.com";
    let config = document(&[("a", app, 80), ("b", app, 80), ("c", app, 80), ("d", "10.0.0.9", 80)]);
    let none = Addresses::default();
    let first = placed(&config, &names(&[(app, &["10.0.0.2", "10.0.0.3", "10.0.0.4"])]), &none);
    let all: BTreeSet<String> = sockets(&config, &first).into_iter().collect();
    assert_eq!(all.len(), 4, "everybody has an address of their own: {all:?}");
    assert_eq!(placed(&config, &names(&[(app, &["10.0.0.4", "10.0.0.2", "10.0.0.3"])]), &none), first);

    // One is gone and two are new: only who had that one moves.
    let (before, gone) = (sockets(&config, &first), "10.0.0.3");
    let next = placed(&config, &names(&[(app, &["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"])]), &first);
    for (old, new) in before.iter().zip(sockets(&config, &next)) {
        if old.starts_with(gone) {
            assert!(["10.0.0.5:80", "10.0.0.6:80"].contains(&new.as_str()), "{new}");
        } else {
            assert_eq!(*old, new);
        }
    }
    // More members than addresses share them evenly.
    let two = sockets(&config, &placed(&config, &names(&[(app, &["10.0.0.7", "10.0.0.8"])]), &next));
    assert_eq!(two[..3].iter().collect::<BTreeSet<_>>().len(), 2, "{two:?}");
}

#[test]
fn a_name_that_leads_nowhere_says_why() {
    let config = document(&[("a", "app.example.com", 80), ("b", "app.example.com", 81), ("c", "db.example.com", 80)]);
    let none = Addresses::default();
    let yet = "its name is being resolved";
    assert_eq!(sockets(&config, &none), [yet; 3]);
    assert_eq!(sockets(&config, &placed(&config, &HashMap::new(), &none)), [yet; 3]);
    let known = names(&[("app.example.com", &["10.0.0.1"]), ("db.example.com", &[])]);
    let own = "app.example.com leads to this load balancer's own listener 10.0.0.1:80";
    let nobody = "cannot resolve db.example.com: NXDOMAIN";
    assert_eq!(sockets(&config, &placed(&config, &known, &none)), [own, "10.0.0.1:81", nobody]);
    // Only the way in a circle is left out.
    let known = names(&[("app.example.com", &["10.0.0.1", "10.0.0.2"]), ("db.example.com", &["10.0.0.3"])]);
    assert_eq!(sockets(&config, &placed(&config, &known, &none))[0], "10.0.0.2:80");
}

#[test]
fn the_family_of_the_vip_comes_first_and_the_other_is_better_than_none() {
    let config = document(&[("a", "app", 80), ("b", "app", 80)]);
    let six = names(&[("app", &["2001:db8::2", "2001:db8::3"])]);
    let first = placed(&config, &six, &Addresses::default());
    assert!(sockets(&config, &first).iter().all(|socket| socket.starts_with('[')));
    let both = names(&[("app", &["2001:db8::2", "2001:db8::3", "10.0.0.2"])]);
    assert_eq!(sockets(&config, &placed(&config, &both, &Addresses::default())), ["10.0.0.2:80"; 2]);
    assert_eq!(placed(&config, &both, &first), first, "who has one keeps it");
}

#[test]
fn a_member_that_moves_is_another_one_to_sockets_and_the_same_to_people() {
    let config = Arc::new(document(&[("a", "app.example.com", 80), ("b", "10.0.0.9", 80)]));
    let at = |address: &str, before: &Addresses| placed(&config, &names(&[("app.example.com", &[address])]), before);
    let nowhere = Snapshot::build(Arc::clone(&config), &Snapshot::empty(), 1);
    let [a, b] = &*nowhere.pools[0].members else { panic!("two members") };
    assert!(!a.takes_new_work() && !a.state.up() && a.socket().is_none());
    assert!(b.takes_new_work() && b.state.up());
    a.cells.of(0).total.add(5);

    let here = at("10.0.0.2", &Addresses::default());
    let first = nowhere.moved(&here, 1).unwrap();
    assert_eq!(first.generation, nowhere.generation);
    let [moved, stayed] = &*first.pools[0].members else { panic!("two members") };
    assert!(moved.takes_new_work() && moved.state.up() && moved.address.to_string() == "10.0.0.2:80");
    assert!(!Arc::ptr_eq(&moved.state, &a.state), "what is known belongs to the old place");
    assert!(Arc::ptr_eq(&stayed.state, &b.state));
    assert_eq!(moved.cells.of(0).total.get(), 5, "figures are its own wherever it is");
    assert!(first.moved(&here, 1).is_none(), "nobody moved");

    let second = first.moved(&at("10.0.0.3", &here), 1).unwrap();
    assert_eq!(second.pools[0].members[0].address.to_string(), "10.0.0.3:80");
    assert!(Arc::ptr_eq(&second.pools[0].members[1].state, &b.state));
}

fn answers() -> impl Strategy<Value = Vec<IpAddr>> {
    prop::collection::vec((2_u8..20).prop_map(|n| IpAddr::from([10, 0, 0, n])), 1..12)
}

proptest! {
    /// Whatever answers follow one another: nobody moves without need, and load differs by one at most where all move.
    #[test]
    fn moves_are_needed_and_loads_are_even(count in 1_usize..12, answers in prop::collection::vec(answers(), 1..6)) {
        let members: Vec<String> = (0..count).map(|n| format!("m{n}")).collect();
        let members: Vec<(&str, &str, u16)> = members.iter().map(|name| (name.as_str(), "app", 80)).collect();
        let config = document(&members);
        let mut before = Addresses::default();
        for (n, answer) in answers.into_iter().enumerate() {
            let mut known = Known::default();
            known.hear(Ok(Found { addresses: answer.clone(), ttl_s: 1 }), 0);
            let now = assign(&config, |_| Some(&known), &before);
            let mut load: HashMap<IpAddr, usize> = known.addresses.iter().map(|address| (*address, 0)).collect();
            for member in &config.pools[0].members {
                let at = now.socket(member).unwrap().ip();
                prop_assert!(answer.contains(&at));
                *load.get_mut(&at).unwrap() += 1;
                if let Some(old) = before.socket(member).map(|socket| socket.ip()) {
                    prop_assert!(old == at || !answer.contains(&old));
                }
            }
            if n == 0 {
                prop_assert!(load.values().max().unwrap() - load.values().min().unwrap() <= 1);
            }
            before = now;
        }
    }
}
