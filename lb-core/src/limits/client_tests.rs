//! Buckets never give more than they hold, clients do not share them, and the table keeps within its bounds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::cidr::{Cidr, CidrSet};
use super::clients::{Clients, Guest, Refusal};
use super::rate::{Bucket, Nanos, Rate};
use super::rules::ClientRules;
use super::shard::Shard;

const SECOND: u64 = 1_000_000_000;

fn rules() -> ClientRules {
    ClientRules {
        connections: None,
        connection_rate: None,
        request_rate: None,
        ipv6_prefix: 64,
        exempt: CidrSet::default(),
        table_size: 1024,
    }
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nth(n: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + n).to_be_bytes())
}

fn enter(clients: &Arc<Clients>, from: IpAddr, rules: &ClientRules, now: u64) -> Result<Option<Guest>, Refusal> {
    clients.enter(7, rules.key(from).unwrap(), rules, Nanos(now))
}

#[test]
fn networks_hold_what_they_say() {
    let set = CidrSet::new(&[cidr("10.0.0.0/8"), cidr("192.0.2.128/25"), cidr("2001:db8::/33"), cidr("203.0.113.7")]);
    for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.128", "203.0.113.7", "2001:db8:7fff::1", "::ffff:10.1.2.3"] {
        assert!(set.contains(ip(inside)), "{inside}");
    }
    for outside in
        ["9.255.255.255", "11.0.0.0", "192.0.2.127", "203.0.113.8", "2001:db8:8000::", "::ffff:11.0.0.0", "::10.0.0.1"]
    {
        assert!(!set.contains(ip(outside)), "{outside}");
    }
    let everybody = CidrSet::new(&[cidr("0.0.0.0/0"), cidr("::/0"), cidr("255.255.255.255")]);
    assert!(
        everybody.contains(ip("255.255.255.255"))
            && everybody.contains(ip("ffff::"))
            && everybody.contains(ip("0.0.0.0"))
    );
    assert!(CidrSet::new(&[]).is_empty());
}

#[test]
fn only_networks_are_read() {
    for (text, meaning) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ] {
        assert_eq!(cidr(text).to_string(), meaning);
    }
    for text in [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/33",
        "::/129",
        "10.0.0/8",
        "a",
        "10.0.0.0/8/8",
        "::ffff:0:0/95",
        "10.0.0.0/256",
        "10.0.0.0/ 8",
    ] {
        assert!(text.parse::<Cidr>().is_err(), "{text}");
    }
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let rate = Rate { per_second: 10, burst: 3 };
    let mut bucket = Bucket::default();
    let now = 5 * SECOND;
    assert_eq!((0..5).filter(|_| bucket.take(rate, Nanos(now)).is_ok()).count(), 3);
    assert_eq!(bucket.take(rate, Nanos(now)), Err(SECOND / 10));
    assert_eq!(bucket.take(rate, Nanos(now + SECOND / 10)), Ok(()));
    assert!(bucket.take(rate, Nanos(now + SECOND / 10)).is_err());
    assert!(!bucket.is_full(Nanos(now)) && bucket.is_full(Nanos(now + SECOND)));
    // A slower rate from before does not lock its client out for longer than this one's burst.
    let mut bucket = Bucket::default();
    let slow = Rate { per_second: 1, burst: 1000 };
    (0..1000).for_each(|_| assert!(bucket.take(slow, Nanos(now)).is_ok()));
    assert_eq!(bucket.take(rate, Nanos(now + SECOND / 10)), Err(SECOND / 10));
    assert_eq!(bucket.take(rate, Nanos(now + SECOND / 5)), Ok(()));
}

#[test]
fn one_client_has_as_many_connections_as_it_may() {
    let clients = Arc::new(Clients::default());
    let rules = ClientRules { connections: Some(2), exempt: CidrSet::new(&[cidr("10.9.0.0/16")]), ..rules() };
    assert_eq!((clients.len(), clients.bytes()), (0, 0), "made when somebody comes");
    let first = enter(&clients, nth(1), &rules, 0).unwrap();
    let _second = enter(&clients, nth(1), &rules, 0).unwrap();
    assert_eq!(enter(&clients, nth(1), &rules, 0).unwrap_err(), Refusal::Connections);
    assert_eq!(enter(&clients, ip("::ffff:10.0.0.1"), &rules, 0).unwrap_err(), Refusal::Connections, "the same client");
    let _other = enter(&clients, nth(2), &rules, 0).unwrap();
    drop(first);
    assert!(enter(&clients, nth(1), &rules, 0).unwrap().is_some());
    assert!(rules.key(ip("10.9.1.1")).is_none());
    // An IPv6 network is one client.
    let _a = enter(&clients, ip("2001:db8::1"), &rules, 0).unwrap();
    let _b = enter(&clients, ip("2001:db8::ffff:2"), &rules, 0).unwrap();
    assert!(enter(&clients, ip("2001:db8:0:0:3::"), &rules, 0).is_err());
    assert!(enter(&clients, ip("2001:db8:0:1::1"), &rules, 0).is_ok());
}

#[test]
fn requests_are_counted_for_the_client_and_not_for_its_connection() {
    let clients = Arc::new(Clients::default());
    let rules = ClientRules { request_rate: Some(Rate { per_second: 1, burst: 2 }), ..rules() };
    let a = enter(&clients, nth(1), &rules, 0).unwrap().unwrap();
    let b = enter(&clients, nth(1), &rules, 0).unwrap().unwrap();
    let c = enter(&clients, nth(2), &rules, 0).unwrap().unwrap();
    assert_eq!((a.ask(&rules, Nanos(0)), b.ask(&rules, Nanos(0))), (Ok(()), Ok(())));
    assert_eq!(a.ask(&rules, Nanos(0)), Err(SECOND));
    assert_eq!(c.ask(&rules, Nanos(0)), Ok(()));
    assert_eq!(b.ask(&rules, Nanos(SECOND)), Ok(()));
    // Leaving and coming again fills no bucket.
    drop((a, b));
    let again = enter(&clients, nth(1), &rules, SECOND).unwrap().unwrap();
    assert!(again.ask(&rules, Nanos(SECOND)).is_err());
}

#[test]
fn a_table_full_of_clients_that_are_here_counts_no_newcomer() {
    let clients = Arc::new(Clients::default());
    let rules = ClientRules { connections: Some(1), ..rules() };
    let guests: Vec<_> = (0..4096).map(|n| enter(&clients, nth(n), &rules, 0).unwrap()).collect();
    let counted = guests.iter().flatten().count();
    assert_eq!(counted, clients.len());
    assert!((900..=1024).contains(&counted), "{counted}");
    // Those that are here are still held to their limit, newcomers are not.
    let known = guests.iter().position(Option::is_some).unwrap() as u32;
    let unknown = guests.iter().rposition(Option::is_none).unwrap() as u32;
    assert!(enter(&clients, nth(known), &rules, 0).is_err());
    assert!(enter(&clients, nth(unknown), &rules, 0).unwrap().is_none());
    drop(guests);
    // They have left: all of them make room.
    let _again: Vec<_> = (5000..5100).map(|n| enter(&clients, nth(n), &rules, 0).unwrap().unwrap()).collect();
}

#[test]
fn a_client_takes_no_more_than_64_bytes_and_gives_them_back() {
    let clients = Arc::new(Clients::default());
    let rules =
        ClientRules { connection_rate: Some(Rate { per_second: 10, burst: 10 }), table_size: 65_536, ..rules() };
    (0..200_000).for_each(|n| drop(enter(&clients, nth(n), &rules, 0)));
    assert!(clients.len() <= 65_536 && clients.len() > 65_000, "{}", clients.len());
    let each = clients.bytes() / clients.len();
    assert!(each <= 64, "{each} bytes for each client");
    clients.tidy(Nanos(SECOND / 100));
    assert!(!clients.is_empty(), "their buckets are not full yet");
    clients.tidy(Nanos(SECOND));
    assert!(clients.is_empty() && clients.bytes() < 4096, "{} bytes", clients.bytes());
    // And it begins anew.
    assert!(enter(&clients, nth(1), &rules, SECOND).unwrap().is_some());
}

#[test]
fn rules_may_change_while_clients_are_here() {
    let clients = Arc::new(Clients::default());
    let wide = ClientRules { connections: Some(9), table_size: 16 * 1024, ..rules() };
    let guests: Vec<_> = (0..9000).map(|n| enter(&clients, nth(n), &wide, 0).unwrap().unwrap()).collect();
    let narrow = ClientRules { connections: Some(1), table_size: 1024, ..rules() };
    assert!(enter(&clients, nth(5), &narrow, 0).is_err());
    assert!(enter(&clients, nth(10_000), &narrow, 0).unwrap().is_none());
    assert!(clients.join(7, narrow.key(nth(5)).unwrap(), &narrow).is_some());
    drop(guests);
    clients.tidy(Nanos(0));
    assert!(clients.is_empty());
}

/// What somebody does to the table.
#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Leave(usize),
    Ask(usize),
    Tidy,
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<u8>().prop_map(Step::Enter),
        4 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Ask),
        1 => Just(Step::Tidy),
        2 => (0u32..400_000_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn never_more_than_rate_and_burst(
        (per_second, burst) in (1u32..2000, 1u32..50),
        pauses in prop::collection::vec(0u64..20_000_000, 1..400),
    ) {
        let rate = Rate { per_second, burst };
        let mut bucket = Bucket::default();
        let (mut now, mut taken) = (SECOND, Vec::new());
        for pause in pauses {
            now += pause;
            if bucket.take(rate, Nanos(now)).is_ok() {
                taken.push(now);
            }
        }
        for (i, first) in taken.iter().enumerate() {
            for (count, last) in taken[i..].iter().enumerate() {
                let most = u128::from(last - first) * u128::from(per_second) / u128::from(SECOND) + u128::from(burst);
                prop_assert!((count as u128) < most, "{} in {} ns", count + 1, last - first);
            }
        }
    }

    /// A client gets what it would get alone, whatever others do.
    #[test]
    fn nobody_pays_for_another(pauses in prop::collection::vec((0u64..50_000_000, 0u32..20), 1..200)) {
        let rules = ClientRules { connection_rate: Some(Rate { per_second: 50, burst: 5 }), ..rules() };
        let (together, alone) = (Arc::new(Clients::default()), Arc::new(Clients::default()));
        let mut now = 0;
        for (pause, other) in pauses {
            now += pause;
            drop(enter(&together, nth(100 + other), &rules, now));
            drop(enter(&together, nth(100), &rules, now));
            prop_assert_eq!(enter(&together, nth(1), &rules, now).is_ok(), enter(&alone, nth(1), &rules, now).is_ok());
        }
    }

    /// Against a map that forgets nobody who is here: counts agree, the bound holds, those that are here stay.
    #[test]
    fn the_table_keeps_its_books(steps in steps(), capacity in 1usize..40) {
        let rules = ClientRules { connections: Some(3), request_rate: Some(Rate { per_second: 3, burst: 2 }), ..rules() };
        let mut shard = Shard::new(99);
        let mut here: Vec<(u8, u32)> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Enter(n) => {
                    let open = here.iter().filter(|(known, _)| *known == n).count();
                    let distinct: HashMap<u8, u32> = here.iter().copied().collect();
                    match shard.enter(rules.key(nth(n.into())).unwrap(), &rules, capacity, Nanos(now)) {
                        Ok(Some(place)) => {
                            prop_assert!(open < 3);
                            prop_assert!(here.iter().all(|(known, p)| (*known == n) == (*p == place)));
                            here.push((n, place));
                        }
                        Ok(None) => prop_assert!(open == 0 && distinct.len() == capacity),
                        Err(refusal) => prop_assert!(refusal == Refusal::Connections && open == 3),
                    }
                }
                Step::Leave(i) if !here.is_empty() => {
                    let (_, place) = here.swap_remove(i % here.len());
                    shard.leave(place);
                }
                Step::Ask(i) if !here.is_empty() => {
                    let _ = shard.ask(here[i % here.len()].1, &rules, Nanos(now));
                }
                Step::Tidy => shard.tidy(Nanos(now)),
                Step::Wait(ns) => now += u64::from(ns),
                Step::Leave(_) | Step::Ask(_) => {}
            }
            prop_assert!(shard.len() <= capacity);
        }
        for (_, place) in here {
            shard.leave(place);
        }
        shard.tidy(Nanos(now + 10 * SECOND));
        prop_assert_eq!((shard.len(), shard.bytes()), (0, 0));
    }

    #[test]
    fn a_set_holds_what_any_of_its_networks_holds(
        networks in prop::collection::vec((any::<[u8; 4]>(), 0u8..=32), 0..20),
        address in any::<[u8; 4]>(),
    ) {
        let all: Vec<Cidr> = networks.iter().map(|(a, len)| Cidr::new(IpAddr::from(*a), *len).unwrap()).collect();
        let held = |address: [u8; 4]| networks.iter().any(|(a, len)| {
            let shift = 32 - u32::from(*len);
            let cut = |x: [u8; 4]| u32::from_be_bytes(x).checked_shr(shift).unwrap_or(0);
            cut(*a) == cut(address)
        });
        let set = CidrSet::new(&all);
        prop_assert_eq!(set.contains(address.into()), held(address));
        for (edge, _) in &networks {
            for step in [-1i64, 0, 1] {
                let near = (i64::from(u32::from_be_bytes(*edge)) + step).rem_euclid(1 << 32) as u32;
                prop_assert_eq!(set.contains(near.to_be_bytes().into()), held(near.to_be_bytes()));
            }
        }
    }

    #[test]
    fn any_text_is_a_network_or_none(text in "[0-9a-f:./+ -]{0,40}") {
        if let Ok(network) = text.parse::<Cidr>() {
            prop_assert_eq!(network.to_string().parse::<Cidr>().unwrap(), network);
        }
    }
}
