//! Promise: a client of TLS that is passed through comes to the pool that its listener's policies choose by the server it asks for, with
//! every byte it said, and nobody else waits for that.
//!
//! | file | what it proves |
//! |---|---|
//! | [`decisions`] | who comes where, what log and figures say, how long is waited for what |
//! | [`differential`] | the same beside HAProxy with `req.ssl_sni` |
//! | [`real`] | openssl and curl shake hands with the nginx they asked for |
//! | [`explained`] | what `lbctl explain` says of it beforehand |

mod decisions;
mod differential;
mod explained;
mod real;

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::hello::hello;
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::wait::{PATIENCE, until};
use weir_tests::weir::Weir;

/// Pools of one member each, the first of which is the default pool. A member says its letter to whoever said something.
const POOLS: [&str; 3] = ["main", "a", "b"];

/// A listener that passes TLS through, with policies.
struct Play {
    weir: Weir,
    vip: SocketAddr,
    members: Vec<Member>,
    place: Place,
    document: Value,
}

impl Play {
    fn new(policies: &Value) -> Self {
        Self::tuned(policies, |_| ())
    }

    /// With changes to the load balancer.
    fn tuned(policies: &Value, tune: impl FnOnce(&mut Value)) -> Self {
        let place = Place::new();
        let members = members(&place);
        let vip = place.socket();
        let mut document = document(&place, vip, &members, policies);
        tune(&mut document["loadbalancer"]);
        let weir = Weir::start_with(&place, &document, &[]);
        Self { weir, vip, members, place, document }
    }

    fn on(&self, pool: &str) -> &Member {
        &self.members[POOLS.iter().position(|known| *known == pool).expect("a pool of the play")]
    }

    /// The first `n` lines of the log.
    fn lines(&self, n: usize) -> Vec<Value> {
        let log = self.place.path("access.log");
        let lines = || -> Vec<Value> {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
        };
        until(PATIENCE, &format!("{n} lines"), || Some(lines()).filter(|lines| lines.len() >= n))
    }
}

fn members(place: &Place) -> Vec<Member> {
    let member = |pool: &&str| {
        let letter = letter(pool);
        Member::script(&format!("on-{pool}"), place.socket(), move |conn| {
            conn.take(1)?;
            conn.send([letter])?;
            conn.take_to_end();
            Ok(())
        })
    };
    POOLS.iter().map(member).collect()
}

fn letter(pool: &str) -> u8 {
    pool.as_bytes()[0]
}

/// The log is JSON.
fn document(place: &Place, vip: SocketAddr, members: &[Member], policies: &Value) -> Value {
    let pool = |(pool, member): (&&str, &Member)| {
        json!({
            "name": pool, "protocol": "HTTPS", "lb_algorithm": "ROUND_ROBIN",
            "members": [{
                "name": member.name(), "address": member.socket().ip(), "protocol_port": member.socket().port(),
            }],
        })
    };
    let pools: Vec<Value> = POOLS.iter().zip(members).map(pool).collect();
    json!({"loadbalancer": {
        "name": "test", "vip_address": vip.ip(), "workers": 1, "pools": pools,
        "listeners": [{
            "name": "front", "protocol": "HTTPS", "protocol_port": vip.port(), "default_pool": {"name": "main"},
            "timeout_member_connect": 1000, "timeout_tcp_inspect": 20_000,
            "log": {"format": "json", "target": format!("file:{}", place.path("access.log").display())},
            "l7policies": policies,
        }],
    }})
}

/// A rule about the server's name.
fn named(compare: &str, value: &str) -> Value {
    json!({"type": "HOST_NAME", "compare_type": compare, "value": value})
}

fn to_pool(name: &str, pool: &str, rules: &[Value]) -> Value {
    json!({"name": name, "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": pool}, "rules": rules})
}

/// Exactly `a.test` to `a`, what is below `b.test` to `b`, and nothing with `blocked` in its name.
fn policies() -> Value {
    json!([
        to_pool("exact", "a", &[named("EQUAL_TO", "A.test")]),
        to_pool("below", "b", &[named("ENDS_WITH", ".b.test")]),
        {"name": "no", "action": "REJECT", "rules": [named("CONTAINS", "blocked")]},
    ])
}

/// Which pool answers a client that said all it says; or how it was turned away.
fn answered(client: &mut Client) -> Result<&'static str, End> {
    let said = client.wire().exact(1)?;
    Ok(POOLS.into_iter().find(|pool| letter(pool) == said[0]).expect("a letter of a pool"))
}

/// Which pool a client comes to that says `bytes`; panics if it is turned away.
fn pool_of(vip: SocketAddr, bytes: &[u8]) -> &'static str {
    let mut client = Client::connect(vip);
    client.send(bytes);
    answered(&mut client).expect("a member")
}

/// Which pool a client comes to that asks for `name`.
fn pool_for(vip: SocketAddr, name: &str) -> &'static str {
    pool_of(vip, &hello(Some(name)))
}
