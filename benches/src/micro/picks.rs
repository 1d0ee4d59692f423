//! Picks: a member for a request, by each algorithm, from few members to many.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, ensure};
use lb_core::balance::{self, FlowKey, Tried};
use lb_core::config::LbAlgorithm;
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
        ("round-robin", LbAlgorithm::RoundRobin, Load::Idle),
        ("least-connections-idle", LbAlgorithm::LeastConnections, Load::Idle),
        ("least-connections-busy", LbAlgorithm::LeastConnections, Load::Busy),
        ("source-ip", LbAlgorithm::SourceIp, Load::Idle),
        ("round-robin-limited", LbAlgorithm::RoundRobin, Load::Limited),
    ];
    let sizes = [2, 8, 1000];
    kinds.iter().flat_map(|kind| sizes.map(|members| pick(*kind, members))).collect()
}

fn pick((name, algorithm, load): (&str, LbAlgorithm, Load), members: u16) -> Scenario {
    Scenario::new(format!("pick/{name}/{members}"), move || {
        let limit = if load == Load::Limited { 100 } else { 0 };
        let pool = pool(algorithm, members, limit)?;
        if load == Load::Busy {
            for (i, slot) in pool.members.iter().enumerate() {
                (0..=i % 3).for_each(|_| slot.state.enter());
            }
        }
        let (tried, now) = (Tried::default(), Millis(1_000));
        // Clients of one network, one after the other.
        let mut clients = (0..CALLS_ALL as u32).map(|i| FlowKey { source: Ipv4Addr::from(0xc633_6400 + i).into() });
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
fn pool(algorithm: LbAlgorithm, members: u16, limit: u32) -> anyhow::Result<PoolSnapshot> {
    let members: Vec<String> = (0..members)
        .map(|i| {
            let address = IpAddr::from([10, 0, (i >> 8) as u8, i as u8]);
            format!("{{name: web-{i}, address: {address}, protocol_port: 80, max_connections: {limit}}}")
        })
        .collect();
    let document = format!(
        "loadbalancer: {{name: micro, vip_address: 20.20.20.6, listeners: [], pools: [{{name: web, protocol: HTTP, \
         lb_algorithm: {algorithm}, members: [{}]}}]}}",
        members.join(", ")
    );
    let config = lb_core::spec::read("micro", &document)?;
    let pool = Snapshot::build(Arc::new(config), &Snapshot::empty(), 1).pools.into_iter().next();
    let pool = pool.context("a document with a pool")?;
    ensure!(pool.members.len() == members.len());
    Ok(pool)
}
