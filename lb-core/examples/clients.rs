//! What 200,000 remembered clients cost: `cargo run --release -p lb-core --example clients`.
//!
//! Two threads ask one table for clients drawn at random, as two workers do; then one asks alone, then one reads
//! cookies, which need no table.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement that cannot be made must say so")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use lb_core::balance::MemberIndex;
use lb_core::persistence::{Answer, Moment, Outcome, Secret, Touch, answer, look_up, placed};
use lb_core::request::{Parts, Unread};
use lb_core::snapshot::{PoolSnapshot, Snapshot};
use lb_core::spec;
use lb_core::time::Millis;

const CLIENTS: u32 = 200_000;
const ASKED: u32 = 2_000_000;
const MEMBERS: u16 = 16;

fn main() {
    let by_address = snapshot("type: SOURCE_IP, table_size: 200000, persistence_timeout: 3600");
    let pool = &by_address.pools[0];
    let began = Instant::now();
    for client in 0..CLIENTS {
        let found = look_up(pool, &Unread, address(client), at(0), Touch::Refresh);
        placed(pool, &found, MemberIndex((client % u32::from(MEMBERS)) as u16), Millis(0));
    }
    tell("a client is met for the first time", began, CLIENTS);
    let figures = pool.persistence.as_ref().expect("persistence").figures(Millis(0)).expect("a table");
    assert_eq!((figures.entries, figures.evicted), (CLIENTS, 0));
    println!("{:.1} bytes an entry, {} entries", figures.bytes as f64 / f64::from(figures.entries), figures.entries);

    let began = Instant::now();
    ask(pool, 1);
    tell("a client is known again, one thread", began, ASKED);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            scope.spawn(move || ask(pool, seed));
        }
    });
    tell("a client is known again, two threads at once, for each", began, ASKED);

    let by_cookie = snapshot("type: HTTP_COOKIE");
    let pool = &by_cookie.pools[0];
    let mut line = Vec::new();
    let found = look_up(pool, &Request(String::new()), address(0), at(0), Touch::Refresh);
    answer(pool, &found, MemberIndex(7), &Plain, at(0), &mut line);
    let line = String::from_utf8(line).expect("text");
    let value = line.split(['=', ';']).nth(1).expect("a value");
    let request = Request(format!("lang=en; theme=dark; SRV={value}; tracking=0123456789abcdef"));
    let began = Instant::now();
    for _ in 0..ASKED {
        let found = look_up(pool, std::hint::black_box(&request), address(0), at(0), Touch::Refresh);
        assert_eq!(found.member, Some(MemberIndex(7)));
    }
    tell("a cookie is read, the third of four", began, ASKED);
}

fn ask(pool: &PoolSnapshot, seed: u64) {
    let mut x = seed;
    for n in 0..ASKED {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let client = ((x >> 33) % u64::from(CLIENTS)) as u32;
        let found = look_up(pool, &Unread, address(client), at(u64::from(n) / 1000), Touch::Refresh);
        assert_eq!(found.outcome, Outcome::Hit);
        assert_eq!(found.member, Some(MemberIndex((client % u32::from(MEMBERS)) as u16)));
    }
}

fn tell(what: &str, began: Instant, times: u32) {
    println!("{:>6.0} ns  {what}", began.elapsed().as_nanos() as f64 / f64::from(times));
}

fn address(client: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + client).into()
}

fn at(ms: u64) -> Moment {
    Moment { now: Millis(ms), wall_s: 0 }
}

fn snapshot(persistence: &str) -> Snapshot {
    let members: Vec<String> = (1..=MEMBERS).map(|n| format!("{{address: 10.1.0.{n}, protocol_port: 80}}")).collect();
    let text = format!(
        "loadbalancer: {{vip_address: 10.0.0.1, pools: [{{name: p, protocol: HTTP, lb_algorithm: ROUND_ROBIN, \
         session_persistence: {{{persistence}}}, members: [{}]}}]}}",
        members.join(", ")
    );
    let config = spec::read("example", &text).expect("a legal document");
    let secret = Secret::from_bytes(&[7; 32]).expect("a secret");
    Snapshot::build(Arc::new(config), &Snapshot::keyed(secret), 2)
}

struct Request(String);

impl Parts for Request {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn target(&self) -> &[u8] {
        b"/"
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        [self.0.as_bytes()].into_iter().filter(move |_| name == b"cookie")
    }
}

struct Plain;

impl Answer for Plain {
    fn status(&self) -> u16 {
        200
    }

    fn fields<'a>(&'a self, _name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}
