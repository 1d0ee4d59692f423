//! Sequences measured on HAProxy 2.6 and 3.5, one thread, fresh start: servers 1 to 3 with these weights.

use std::net::SocketAddr;

use super::*;
use crate::request::Parts;

/// A request as far as hashes look at it.
struct Asked {
    target: String,
    field: (&'static [u8], String),
}

impl Parts for Asked {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        Some(self.field.1.as_bytes()).filter(|_| name.eq_ignore_ascii_case(self.field.0)).into_iter()
    }
}

const WEIGHTS: [[u16; 3]; 3] = [[1, 1, 1], [3, 2, 1], [10, 20, 30]];

fn pool_of(keys: &str, weights: &[u16]) -> Snapshot {
    let protocol = if keys.contains("hash") && !keys.contains("IP") || keys.contains("URI") { "HTTP" } else { "TCP" };
    let member = |(i, weight): (usize, &u16)| {
        format!("{{name: s{}, address: 10.0.0.{}, protocol_port: 80, weight: {weight}}}", i + 1, i + 1)
    };
    let members: Vec<String> = weights.iter().enumerate().map(member).collect();
    let text = format!(
        "loadbalancer: {{vip_address: 10.1.0.1, pools: [{{name: a, protocol: {protocol}, {keys}, members: [{}]}}]}}",
        members.join(", ")
    );
    let config = crate::spec::read("test", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Snapshot::build(Arc::new(config), &Snapshot::empty(), 1)
}

/// Whom requests 1, 2, … go to.
fn chosen(keys: &str, weights: &[u16], count: u32, asked: impl Fn(u32) -> Asked) -> String {
    let snapshot = pool_of(keys, weights);
    let pool = &snapshot.pools[0];
    let choose = |n| {
        let client = SocketAddr::from(([127, 0, 0, n as u8], 40_000 + n as u16));
        let hash = match &pool.asks {
            Asks::Request(rule) => rule.of_request(&asked(n)),
            _ => None,
        };
        let key = FlowKey { hash, ..FlowKey::of(client) };
        assert_eq!(preview(pool, key, Millis(1), &Tried::default()), preview(pool, key, Millis(1), &Tried::default()));
        char::from(b'1' + pick(pool, key, Millis(1), &Tried::default()).member().unwrap().0 as u8)
    };
    (1..=count).map(choose).collect()
}

fn plain(_: u32) -> Asked {
    Asked { target: "/".to_owned(), field: (b"none", String::new()) }
}

fn header(n: u32) -> Asked {
    Asked { target: "/".to_owned(), field: (b"x-key", format!("key{n}")) }
}

fn parameter(n: u32) -> Asked {
    Asked { target: format!("/?p=v{n}"), field: (b"none", String::new()) }
}

#[test]
fn turns() {
    for (algorithm, expected) in [
        ("ROUND_ROBIN", ["123123123123", "121312121312", "323132323132"]),
        ("STATIC_RR", ["123123123123", "112123112123", "132323132323"]),
        ("LEAST_CONNECTIONS", ["123123123123", "123123123123", "123123123123"]),
        ("FIRST", ["111111111111", "111111111111", "111111111111"]),
    ] {
        let keys = format!("lb_algorithm: {algorithm}");
        for (weights, expected) in WEIGHTS.iter().zip(expected) {
            assert_eq!(chosen(&keys, weights, 12, plain), expected, "{algorithm} {weights:?}");
        }
    }
    for algorithm in ["ROUND_ROBIN", "STATIC_RR"] {
        let keys = format!("lb_algorithm: {algorithm}");
        assert_eq!(chosen(&keys, &[5, 1, 1], 14, plain), "11121131112113");
        assert_eq!(chosen(&keys, &[100, 100, 50], 14, plain), "12123121231212");
    }
}

#[test]
fn hashes() {
    type Row = (&'static str, fn(u32) -> Asked, [&'static str; 3]);
    let rows: [Row; 9] = [
        (
            "lb_algorithm: SOURCE_IP, hash: {table: MAP}",
            plain,
            ["31231231231231231231", "31121231121231121231", "31323231323231323231"],
        ),
        (
            "lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT}",
            plain,
            ["21312131132333111311", "21211131122313211111", "33313323323213223311"],
        ),
        (
            "lb_algorithm: HEADER, hash: {header: X-Key, table: MAP}",
            header,
            ["23123123112312312312", "23112123111212311211", "23132323113232313233"],
        ),
        (
            "lb_algorithm: HEADER, hash: {header: X-Key, table: CONSISTENT}",
            header,
            ["13322121323322133223", "13122121122222222221", "23233223133323323333"],
        ),
        (
            "lb_algorithm: HEADER, hash: {header: X-Key, table: MAP, function: DJB2}",
            header,
            ["12312312331231231233", "12311212331121231122", "32313232331323231322"],
        ),
        (
            "lb_algorithm: HEADER, hash: {header: X-Key, table: MAP, function: CRC32}",
            header,
            ["22112233312212113321", "22111132211112112311", "22133332233332112331"],
        ),
        (
            "lb_algorithm: HEADER, hash: {header: X-Key, table: MAP, avalanche: true}",
            header,
            ["31122231133321112332", "21122131122321112322", "21322333122323112322"],
        ),
        (
            "lb_algorithm: URL_PARAM, hash: {parameter: p, table: MAP}",
            parameter,
            ["31231231223123123123", "31121231112123112122", "31323231332323132322"],
        ),
        // Every request without a value: the table in turn.
        (
            "lb_algorithm: URL_PARAM, hash: {parameter: q, table: MAP}",
            parameter,
            ["12312312312312312312", "11212311212311212311", "13232313232313232313"],
        ),
    ];
    for (keys, asked, expected) in rows {
        for (weights, expected) in WEIGHTS.iter().zip(expected) {
            assert_eq!(chosen(keys, weights, 20, asked), expected, "{keys} {weights:?}");
        }
    }
}

#[test]
fn targets() {
    let expected = ["12312312323123123123", "21231121223112123113", "13232313223132323133"];
    for ((weights, name), expected) in WEIGHTS.iter().zip(["111", "321", "10_20_30"]).zip(expected) {
        let asked = |n| Asked { target: format!("/urim_{name}/u{n}"), field: (b"none", String::new()) };
        assert_eq!(chosen("lb_algorithm: URI, hash: {table: MAP}", weights, 20, asked), expected, "{weights:?}");
    }
}
