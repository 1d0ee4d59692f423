//! Promise: a request goes where the listener's policies say, as HAProxy with Octavia's rules would have it, and what they
//! change is changed and nothing else.

mod changes;
mod decisions;
mod differential;
mod mirrors;

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::weir::Weir;

/// Pools of one member each behind a listener with policies. The member of pool `a` is called `on-a`.
pub(crate) struct Play {
    pub(crate) weir: Weir,
    pub(crate) vip: SocketAddr,
    pub(crate) members: Vec<Member>,
    pub(crate) place: Place,
    pub(crate) document: Value,
}

/// Pools beside the default pool, `main`.
const POOLS: [&str; 3] = ["main", "a", "b"];

impl Play {
    /// With these policies; the log is JSON.
    pub(crate) fn new(policies: &Value) -> Self {
        Self::tuned(policies, |_| ())
    }

    /// The same, with changes to the load balancer.
    pub(crate) fn tuned(policies: &Value, tune: impl FnOnce(&mut Value)) -> Self {
        let place = Place::new();
        let members: Vec<Member> =
            POOLS.iter().map(|pool| Member::http(&format!("on-{pool}"), place.socket())).collect();
        let vip = place.socket();
        let mut document = document(&place, vip, &members, policies);
        tune(&mut document["loadbalancer"]);
        let weir = Weir::start_with(&place, &document, &[]);
        Self { weir, vip, members, place, document }
    }

    /// The member of this pool.
    pub(crate) fn on(&self, pool: &str) -> &Member {
        self.members.iter().find(|member| member.name() == format!("on-{pool}")).expect("a pool of the play")
    }

    /// The first `n` lines of the log.
    pub(crate) fn lines(&self, n: usize) -> Vec<Value> {
        let log = self.place.path("access.log");
        let lines = || -> Vec<Value> {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
        };
        weir_tests::wait::until(weir_tests::wait::PATIENCE, &format!("{n} lines"), || {
            Some(lines()).filter(|lines| lines.len() >= n)
        })
    }
}

/// A document with all members' pools, the first of which is the default pool.
fn document(place: &Place, vip: SocketAddr, members: &[Member], policies: &Value) -> Value {
    let pools: Vec<Value> = POOLS
        .iter()
        .zip(members)
        .map(|(pool, member)| {
            json!({
                "name": pool, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
                "members": [{
                    "name": member.name(), "address": member.socket().ip(), "protocol_port": member.socket().port(),
                }],
            })
        })
        .collect();
    json!({"loadbalancer": {
        "name": "test", "vip_address": vip.ip(), "workers": 1, "pools": pools,
        "listeners": [{
            "name": "front", "protocol": "HTTP", "protocol_port": vip.port(), "default_pool": {"name": "main"},
            "timeout_member_connect": 1000, "timeout_member_data": 5000,
            "log": {"format": "json", "target": format!("file:{}", place.path("access.log").display())},
            "l7policies": policies,
        }],
    }})
}

/// A policy that sends paths that begin with `path` to a pool.
pub(crate) fn to_pool(name: &str, path: &str, pool: &str) -> Value {
    json!({
        "name": name, "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": pool}, "rules": [starts_with(path)],
    })
}

/// A rule about the beginning of a path.
pub(crate) fn starts_with(path: &str) -> Value {
    json!({"type": "PATH", "compare_type": "STARTS_WITH", "value": path})
}
