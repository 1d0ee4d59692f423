//! The same requests, one after the other, reach the same members through HAProxy and through Weir.
//!
//! Each play is of two fresh programs before three members of these weights. FIRST is played without limits of members: everything
//! goes to the first. RANDOM is compared by its shares.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::haproxy::Haproxy;
use weir_tests::health::{Moody, monitor, with};
use weir_tests::load::Plan;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

const WEIGHTS: [[u16; 3]; 3] = [[1, 1, 1], [3, 2, 1], [10, 20, 30]];

/// One way to choose, said to both.
struct Choice {
    algorithm: &'static str,
    hash: Value,
    haproxy: &'static str,
}

impl Choice {
    fn hash(algorithm: &'static str, hash: Value, haproxy: &'static str) -> Self {
        Self { algorithm, hash, haproxy }
    }

    fn turns(algorithm: &'static str, haproxy: &'static str) -> Self {
        Self { algorithm, hash: Value::Null, haproxy }
    }

    fn setup<'a>(
        &self,
        vip: SocketAddr,
        members: impl IntoIterator<Item = (&'a str, SocketAddr)>,
        weights: &[u16],
    ) -> Setup {
        let mut setup = Setup::new(Mode::Http, vip, members).algorithm(self.algorithm).weights(weights);
        setup.pool = json!({"hash": self.hash});
        // The last line that says it counts.
        setup.haproxy_backend = format!("  balance {}\n", self.haproxy);
        setup
    }

    /// Both ask `ask` of a fresh program before the same members; their answers must be the same.
    fn same(&self, weights: &[u16], ask: impl Fn(SocketAddr) -> String) {
        let place = Place::new();
        let members: Vec<Member> =
            (1..=weights.len()).map(|n| Member::http(&n.to_string(), place.socket()).only_counting()).collect();
        let named = || members.iter().map(|m| (m.name(), m.socket()));
        let theirs = self.setup(place.socket(), named(), weights);
        let haproxy = Haproxy::start(&place, &theirs);
        let expected = ask(theirs.vip);
        drop(haproxy);
        let ours = self.setup(place.socket(), named(), weights).workers(2);
        let _weir = Weir::start(&place, &ours);
        assert_eq!(ask(ours.vip), expected, "{} {} with weights {weights:?}", self.algorithm, self.hash);
    }
}

fn who(client: &mut Client, target: &str, fields: &str) -> String {
    // HAProxy wants them to agree.
    let host = target.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or("weir.test");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    let answer: Value = serde_json::from_str(&client.answer().text()).unwrap();
    answer["member"].as_str().unwrap().to_owned()
}

/// Whom 40 requests go to whose header is that.
fn by_fields(fields: impl Fn(u32) -> String) -> impl Fn(SocketAddr) -> String {
    move |vip| {
        let mut client = Client::connect(vip);
        (0..40).map(|n| who(&mut client, "/", &fields(n))).collect()
    }
}

fn by_target(target: impl Fn(u32) -> String) -> impl Fn(SocketAddr) -> String {
    move |vip| {
        let mut client = Client::connect(vip);
        (0..40).map(|n| who(&mut client, &target(n), "")).collect()
    }
}

fn by_client(vip: SocketAddr) -> String {
    let client = |n| Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 77, n / 7, n)), vip);
    (1..=40).map(|n| who(&mut client(n), "/", "")).collect()
}

#[test]
fn in_turn() {
    for weights in WEIGHTS {
        for (algorithm, haproxy) in [
            ("ROUND_ROBIN", "roundrobin"),
            ("STATIC_RR", "static-rr"),
            ("LEAST_CONNECTIONS", "leastconn"),
            ("FIRST", "first"),
        ] {
            Choice::turns(algorithm, haproxy).same(&weights, by_fields(|_| String::new()));
        }
    }
    for (algorithm, haproxy) in [("ROUND_ROBIN", "roundrobin"), ("STATIC_RR", "static-rr")] {
        Choice::turns(algorithm, haproxy).same(&[7, 3, 3, 11, 1], by_fields(|_| String::new()));
    }
}

#[test]
fn by_the_clients_address() {
    for weights in WEIGHTS {
        let map = json!({"table": "MAP"});
        Choice::hash("SOURCE_IP", map, "source\n  hash-type map-based").same(&weights, by_client);
        let ring = json!({"table": "CONSISTENT"});
        Choice::hash("SOURCE_IP", ring, "source\n  hash-type consistent").same(&weights, by_client);
    }
    let stirred = json!({"table": "MAP", "avalanche": true});
    Choice::hash("SOURCE_IP", stirred, "source\n  hash-type map-based sdbm avalanche").same(&[3, 2, 1], by_client);
}

#[test]
fn by_the_target() {
    let targets = by_target(|n| match n % 5 {
        0 => format!("/a/b{n}/c/d?e={n}"),
        1 => format!("/{n}"),
        2 => format!("/?q={n}/x"),
        3 => format!("http://host{n}.example/p/{n}?a"),
        _ => format!("/a/{n}//{n}/?a?b"),
    });
    for (hash, haproxy) in [
        (json!({"table": "MAP"}), "uri\n  hash-type map-based"),
        (json!({"table": "CONSISTENT"}), "uri\n  hash-type consistent"),
        (json!({"table": "MAP", "whole": true}), "uri whole"),
        (json!({"table": "MAP", "length": 6}), "uri len 6"),
        (json!({"table": "MAP", "depth": 2}), "uri depth 2"),
        (json!({"table": "MAP", "depth": 1, "length": 9, "whole": true}), "uri len 9 depth 1 whole"),
        (json!({"table": "MAP", "path_only": true}), "uri path-only"),
        (json!({"table": "MAP", "function": "WT6"}), "uri\n  hash-type map-based wt6"),
        (json!({"table": "CONSISTENT", "function": "CRC32"}), "uri\n  hash-type consistent crc32 avalanche"),
    ] {
        Choice::hash("URI", hash, haproxy).same(&[3, 2, 1], &targets);
    }
}

#[test]
fn by_a_parameter() {
    let targets = by_target(|n| match n % 6 {
        0 => format!("/?id={n}"),
        1 => format!("/?x=1&id={n}&id=0"),
        2 => format!("/?idx={n}&yid=1"),
        3 => "/no/query".to_owned(),
        4 => format!("/?id=&a={n}"),
        _ => format!("/?ID={n}&id=a/b?c={n}"),
    });
    for weights in WEIGHTS {
        let map = json!({"table": "MAP", "parameter": "id"});
        Choice::hash("URL_PARAM", map, "url_param id").same(&weights, &targets);
    }
    // HAProxy stirs for its ring unless a function is named; then it must be told to.
    let ring = json!({"table": "CONSISTENT", "parameter": "id", "function": "DJB2", "avalanche": false});
    Choice::hash("URL_PARAM", ring, "url_param id\n  hash-type consistent djb2").same(&[3, 2, 1], &targets);
    let ring = json!({"table": "CONSISTENT", "parameter": "id", "function": "DJB2"});
    Choice::hash("URL_PARAM", ring, "url_param id\n  hash-type consistent djb2 avalanche").same(&[3, 2, 1], &targets);
}

#[test]
fn by_a_field() {
    let keys = by_fields(|n| format!("X-Key: key{n}\r\n"));
    for weights in WEIGHTS {
        let map = json!({"table": "MAP", "header": "x-key"});
        Choice::hash("HEADER", map, "hdr(X-Key)").same(&weights, &keys);
        let ring = json!({"table": "CONSISTENT", "header": "X-Key"});
        Choice::hash("HEADER", ring, "hdr(x-key)\n  hash-type consistent").same(&weights, &keys);
    }
    for (function, haproxy) in [("SDBM", "sdbm"), ("DJB2", "djb2"), ("WT6", "wt6"), ("CRC32", "crc32")] {
        let stirred = json!({"table": "MAP", "header": "x-key", "function": function, "avalanche": true});
        let line = format!("hdr(X-Key)\n  hash-type map-based {haproxy} avalanche");
        Choice::hash("HEADER", stirred, line.leak()).same(&[3, 2, 1], &keys);
    }
}

/// Fields that come twice, in lists, in quotes, empty or not at all.
#[test]
fn by_odd_fields() {
    let odd = by_fields(|n| match n % 9 {
        0 => String::new(),
        1 => format!("X-Key: a{n}, b\r\n"),
        2 => format!("X-Key: \r\nX-Key: c{n}\r\n"),
        3 => format!("X-Key: \"d,{n}\", e\r\n"),
        4 => format!("x-key:   f{n}  \r\nX-Key: g\r\n"),
        5 => "X-Key:\r\n".to_owned(),
        6 => format!("X-Key: \"h\\\",{n}\", i\r\n"),
        7 => format!("Other: j{n}\r\n"),
        _ => format!("X-Key: k{n} l,\r\n"),
    });
    for table in ["MAP", "CONSISTENT"] {
        let haproxy = if table == "MAP" { "hdr(x-key)" } else { "hdr(x-key)\n  hash-type consistent" };
        Choice::hash("HEADER", json!({"table": table, "header": "X-Key"}), haproxy).same(&[3, 2, 1], &odd);
    }
}

#[test]
fn by_the_domain_of_a_host() {
    let hosts = by_fields(|n| match n % 5 {
        0 => format!("X-Host: www.site{n}.example\r\n"),
        1 => format!("X-Host: site{n}.example\r\n"),
        2 => format!("X-Host: host{n}\r\n"),
        3 => format!("X-Host: a.b.c{n}.example:80\r\n"),
        _ => format!("X-Host: .x{n}\r\n"),
    });
    let domain = json!({"table": "MAP", "header": "X-Host", "domain_only": true});
    Choice::hash("HEADER", domain, "hdr(X-Host) use_domain_only").same(&[3, 2, 1], &hosts);
}

#[test]
fn a_bound_passes_on_to_the_same_neighbours() {
    let place = Place::new();
    let silent = |n: usize| {
        Member::script(&n.to_string(), place.socket(), |conn| {
            conn.request()?;
            conn.take_to_end();
            Ok(())
        })
    };
    let choice = Choice::hash(
        "HEADER",
        json!({"table": "CONSISTENT", "header": "x-key", "balance_factor": 125}),
        "hdr(x-key)\n  hash-type consistent\n  hash-balance-factor 125",
    );
    let members: [Vec<Member>; 2] = [(1..=4).map(silent).collect(), (1..=4).map(silent).collect()];
    let setup = |members: &[Member]| {
        choice.setup(place.socket(), members.iter().map(|m| (m.name(), m.socket())), &[4, 3, 2, 1])
    };
    let (theirs, ours) = (setup(&members[0]), setup(&members[1]).workers(2));
    let _haproxy = Haproxy::start(&place, &theirs);
    let _weir = Weir::start(&place, &ours);
    let counts = |members: &[Member]| -> Vec<usize> { members.iter().map(Member::requests).collect() };
    let mut held = Vec::new();
    for n in 0..30usize {
        for (side, vip) in [theirs.vip, ours.vip].into_iter().enumerate() {
            let mut client = Client::connect(vip);
            // Nearly everybody asks for the same.
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Key: key{}\r\n\r\n", n % 2));
            until_true(PATIENCE, "the request to reach a member", || {
                counts(&members[side]).iter().sum::<usize>() == n + 1
            });
            held.push(client);
        }
        assert_eq!(counts(&members[1]), counts(&members[0]), "after {} requests", n + 1);
    }
    let used = counts(&members[1]).iter().filter(|count| **count > 0).count();
    assert!(used > 2, "two keys, two members: the bound is of no effect");
}

/// A member that goes down, and comes back, moves the same keys to the same members.
#[test]
fn who_is_down_is_in_no_table() {
    for (algorithm, hash, haproxy) in [
        ("HEADER", json!({"table": "MAP", "header": "x-key"}), "hdr(x-key)"),
        ("HEADER", json!({"table": "CONSISTENT", "header": "x-key"}), "hdr(x-key)\n  hash-type consistent"),
        ("STATIC_RR", Value::Null, "static-rr"),
    ] {
        let place = Place::new();
        let members: Vec<Moody> = (1..=4).map(|n| Moody::http(&format!("m{n}"), place.socket())).collect();
        let choice = Choice { algorithm, hash, haproxy };
        let setup = |vip| {
            let named = members.iter().map(|m| (m.member.name(), m.member.socket()));
            let mut setup = choice
                .setup(vip, named, &[3, 1, 2, 2])
                .monitor(with(monitor("HTTP", 500, 500), &json!({"url_path": "/health"})))
                .workers(2);
            setup.haproxy_backend += "  option httpchk GET /health\n  timeout check 3s\n";
            setup.haproxy_server = "check inter 300ms rise 2 fall 2".to_owned();
            setup
        };
        let (theirs, ours) = (setup(place.socket()), setup(place.socket()));
        let haproxy = Haproxy::start(&place, &theirs);
        let weir = Weir::start(&place, &ours);
        weir.control.wait_asked();
        // STATIC_RR goes on where it stood: all of its cycles is as good a sign, wherever they begin.
        let seen = |vip| {
            let mut client = Client::connect(vip);
            let got: Vec<String> = (0..40).map(|n| who(&mut client, "/", &format!("X-Key: key{n}\r\n"))).collect();
            if algorithm == "STATIC_RR" { cycle(&got) } else { got }
        };
        for down in [None, Some(1), None, Some(0)] {
            for (n, member) in members.iter().enumerate() {
                member.mood(usize::from(down == Some(n)));
            }
            let settled = |n: usize| {
                let (name, up) = (format!("m{}", n + 1), down != Some(n));
                weir.control.member(&name).health.is_some_and(|h| h.operational.is_up() == up)
                    && haproxy.is_up(&name) == up
            };
            until_true(PATIENCE, "both to have seen it", || (0..members.len()).all(settled));
            // Workers take up another table a moment after the verdict.
            until_true(PATIENCE, "the same members", || seen(ours.vip) == seen(theirs.vip));
        }
    }
}

/// One cycle, from a place that is the same however it is turned.
fn cycle(picks: &[String]) -> Vec<String> {
    let len = (1..picks.len()).find(|len| picks[*len..] == picks[..picks.len() - len]).unwrap_or(picks.len());
    let turned = (0..len).map(|from| [&picks[from..len], &picks[..from]].concat());
    turned.min().unwrap_or_default()
}

#[test]
fn drawn_by_weight() {
    let place = Place::new();
    let members = |first: usize| -> Vec<Member> {
        (first..first + 3).map(|n| Member::http(&n.to_string(), place.socket()).only_counting()).collect()
    };
    let choice = Choice::turns("RANDOM", "random");
    let members = [members(1), members(4)];
    let setup =
        |members: &[Member]| choice.setup(place.socket(), members.iter().map(|m| (m.name(), m.socket())), &[5, 3, 2]);
    let (theirs, ours) = (setup(&members[0]), setup(&members[1]).workers(2));
    let _haproxy = Haproxy::start(&place, &theirs);
    let _weir = Weir::start(&place, &ours);
    for (vip, members, name) in [(theirs.vip, &members[0], "HAProxy"), (ours.vip, &members[1], "Weir")] {
        let outcome = Plan::gets(vip, 1).exactly(3000);
        assert_eq!(outcome.good, 3000);
        let counts: Vec<usize> = members.iter().map(Member::requests).collect();
        for (count, fair) in counts.iter().zip([1500usize, 900, 600]) {
            assert!(count.abs_diff(fair) <= 150, "{name}: {counts:?} is not 5:3:2");
        }
    }
}
