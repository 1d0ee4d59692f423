//! Picks: a member for a request, by each algorithm, from few members to many; and what hashes make of a request.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, ensure};
use lb_core::balance::{self, Asks, FlowKey, Tried};
use lb_core::request::Parts;
use lb_core::snapshot::{PoolSnapshot, Snapshot};
use lb_core::time::Millis;

use super::{CALLS_ALL, Scenario};

/// Work on the members when they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Idle,
    /// Nobody is idle: one to three requests on each.
    Busy,
    /// Nobody has anything to do, and all have limits: the slot is taken and given back, too.
    Limited,
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let kinds = [
        ("round-robin", "lb_algorithm: ROUND_ROBIN", Load::Idle),
        ("least-connections-idle", "lb_algorithm: LEAST_CONNECTIONS", Load::Idle),
        ("least-connections-busy", "lb_algorithm: LEAST_CONNECTIONS", Load::Busy),
        ("source-ip", "lb_algorithm: SOURCE_IP", Load::Idle),
        ("round-robin-limited", "lb_algorithm: ROUND_ROBIN", Load::Limited),
    ];
    let sizes = [2, 8, 1000];
    let extensions = [
        ("static-rr", "lb_algorithm: STATIC_RR", Load::Idle),
        ("first", "lb_algorithm: FIRST", Load::Idle),
        ("random", "lb_algorithm: RANDOM", Load::Busy),
        ("source-ip-port", "lb_algorithm: SOURCE_IP_PORT", Load::Idle),
        ("map", "lb_algorithm: SOURCE_IP, hash: {table: MAP}", Load::Idle),
        ("consistent", "lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT}", Load::Idle),
        ("consistent-bounded", "lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT, balance_factor: 125}", Load::Busy),
        ("maglev", "lb_algorithm: SOURCE_IP, hash: {table: MAGLEV}", Load::Idle),
    ];
    let of = |kinds: &[Kind], sizes: &[u16]| -> Vec<Scenario> {
        kinds.iter().flat_map(|kind| sizes.iter().map(|members| pick(*kind, *members))).collect()
    };
    [of(&kinds, &sizes), of(&extensions, &[10, 1000]), keys()].into_iter().flatten().collect()
}

/// A name, the keys of a pool, and what its members have to do.
type Kind = (&'static str, &'static str, Load);

/// A key made of a request, by each algorithm that hashes one.
fn keys() -> Vec<Scenario> {
    let kinds = [
        ("uri", "lb_algorithm: URI", 2),
        ("url-param", "lb_algorithm: URL_PARAM, hash: {parameter: user}", 2),
        ("header", "lb_algorithm: HEADER, hash: {header: X-User}", 2),
        ("one-candidate", "lb_algorithm: URI", 1),
    ];
    kinds
        .into_iter()
        .map(|(name, keys, members)| {
            Scenario::new(format!("key/{name}"), move || {
                let pool = pool(keys, members, 0)?;
                Ok(Box::new(move || {
                    let hash = match &black_box(&pool).asks {
                        Asks::Request(rule) => rule.of_request(&Asked),
                        _ => None,
                    };
                    black_box(hash);
                }))
            })
        })
        .collect()
}

/// A request of usual length.
struct Asked;

impl Parts for Asked {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn target(&self) -> &[u8] {
        b"/catalogue/books/index.html?page=2&user=0123456789abcdef"
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        Some(&b"0123456789abcdef"[..]).filter(|_| name == b"X-User").into_iter()
    }
}

fn pick((name, keys, load): Kind, members: u16) -> Scenario {
    Scenario::new(format!("pick/{name}/{members}"), move || {
        let limit = if load == Load::Limited { 100 } else { 0 };
        let pool = pool(keys, members, limit)?;
        if load == Load::Busy {
            for (i, slot) in pool.members.iter().enumerate() {
                for _ in 0..=i % 3 {
                    slot.state.enter();
                    pool.cells.of(0).active.inc();
                }
            }
        }
        let (tried, now) = (Tried::default(), Millis(1_000));
        // Clients of one network, one after the other.
        let mut clients = (0..CALLS_ALL as u32).map(|i| {
            let source = Ipv4Addr::from(0xc633_6400 + i).into();
            FlowKey { source, source_port: i as u16, hash: None, draw: i.wrapping_mul(0x9e37_79b9) }
        });
        Ok(Box::new(move || {
            let Some(key) = clients.next() else { return };
            let picked = black_box(balance::pick(black_box(&pool), key, now, black_box(&tried)));
            if let (Load::Limited, Some(member)) = (load, picked.member()) {
                let slots = &pool.member(member).state.slots;
                let waited_for = slots.try_enter() && slots.leave();
                black_box(waited_for);
            }
        }))
    })
}

/// A pool of members of the same weight, compiled from a document as any other.
fn pool(keys: &str, members: u16, limit: u32) -> anyhow::Result<PoolSnapshot> {
    let members: Vec<String> = (0..members)
        .map(|i| {
            let address = IpAddr::from([10, 0, (i >> 8) as u8, i as u8]);
            format!("{{name: web-{i}, address: {address}, protocol_port: 80, max_connections: {limit}}}")
        })
        .collect();
    let document = format!(
        "loadbalancer: {{name: micro, vip_address: 20.20.20.6, listeners: [], pools: [{{name: web, protocol: HTTP, \
         {keys}, members: [{}]}}]}}",
        members.join(", ")
    );
    let config = lb_core::spec::read("micro", &document)?;
    let pool = Snapshot::build(Arc::new(config), &Snapshot::empty(), 1).pools.into_iter().next();
    let pool = pool.context("a document with a pool")?;
    ensure!(pool.members.len() == members.len());
    Ok(pool)
}
