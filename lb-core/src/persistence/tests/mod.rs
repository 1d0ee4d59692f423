//! Decisions on whole pools, with time as a number.

mod app_cookie;
mod http_cookie;
mod source_ip;
mod stream;
mod table;

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::snapshot::Snapshot;
use crate::spec;

/// A request with these fields.
struct Request {
    method: &'static str,
    target: String,
    cookies: Vec<String>,
}

impl Parts for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.cookies.iter().map(String::as_bytes).filter(move |_| name == b"cookie")
    }
}

fn get(cookies: &[&str]) -> Request {
    Request { method: "GET", target: "/".into(), cookies: cookies.iter().map(|c| (*c).to_owned()).collect() }
}

fn at(target: &str) -> Request {
    Request { method: "GET", target: target.into(), cookies: Vec::new() }
}

/// An answer with these fields.
struct Head(u16, Vec<(&'static str, String)>);

impl Answer for Head {
    fn status(&self) -> u16 {
        self.0
    }

    fn fields<'a>(&'a self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.1.iter().filter(move |(n, _)| n.as_bytes() == name).map(|(_, value)| value.as_bytes())
    }
}

fn plain() -> Head {
    Head(200, Vec::new())
}

fn sets(cookie: &str) -> Head {
    Head(200, vec![("set-cookie", cookie.to_owned())])
}

/// A pool of members `m1`, `m2`, … with this persistence, and what its members say for themselves.
fn snapshot(persistence: &str, members: &[&str], previous: &Snapshot) -> Snapshot {
    let member = |(n, keys): (usize, &&str)| {
        format!("{{name: {}, address: 10.0.0.9, protocol_port: {}{}}}", name_of(keys, n), n + 1, rest_of(keys))
    };
    let members: Vec<String> = members.iter().enumerate().map(member).collect();
    let text = format!(
        "loadbalancer:\n  name: x\n  vip_address: 10.0.0.1\n  pools:\n  - name: p\n    protocol: HTTP\n    \
         lb_algorithm: ROUND_ROBIN\n    session_persistence: {{{persistence}}}\n    members: [{}]\n",
        members.join(", ")
    );
    let config = spec::read("t", &text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
    Snapshot::build(Arc::new(config), previous, 1)
}

/// A member is written `name`, or `name, key: value`.
fn name_of(keys: &str, n: usize) -> String {
    let name = keys.split(',').next().unwrap_or_default().trim();
    if name.is_empty() { format!("m{}", n + 1) } else { name.to_owned() }
}

fn rest_of(keys: &str) -> String {
    keys.split_once(',').map_or_else(String::new, |(_, rest)| format!(",{rest}"))
}

fn first(persistence: &str, members: usize) -> Snapshot {
    let secret = Secret::from_bytes(&[5; 32]).unwrap();
    snapshot(persistence, &vec![""; members], &Snapshot::keyed(secret))
}

fn second(n: u64) -> Moment {
    Moment { now: Millis(n * 1000), wall_s: 1_790_000_000 + n }
}

fn somebody() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn m(n: u16) -> MemberIndex {
    MemberIndex(n - 1)
}

/// What is found, and nothing of the rest.
fn asked(snapshot: &Snapshot, request: &Request, n: u64) -> (Outcome, Option<MemberIndex>) {
    let found = look_up(&snapshot.pools[0], request, somebody(), second(n), Touch::Refresh);
    (found.outcome, found.member)
}

/// One request that `served` answers so: flags, and the lines added to the head.
fn served(snapshot: &Snapshot, request: &Request, served: u16, head: &Head, n: u64) -> (String, Vec<String>, Edit) {
    let pool = &snapshot.pools[0];
    let found = look_up(pool, request, somebody(), second(n), Touch::Refresh);
    placed(pool, &found, m(served), second(n).now);
    let mut out = Vec::new();
    let edit = answer(pool, &found, m(served), head, second(n), &mut out);
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<String> = out.split_terminator("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.len(), edit.lines);
    let flags = [found.outcome.flag(), edit.answered.flag()];
    (String::from_utf8_lossy(&flags).into_owned(), lines, edit)
}
