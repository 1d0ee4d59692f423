//! The border between what was written and what is legal: [`types`](super::types) in, [`config`] out.
//!
//! What one value alone can get wrong has been reported by the check, and such a value is `None` here like one
//! that was never written. So a rule that lacks a value it needs is silent: its absence is reported already.

mod address;
mod cipher_suites;
mod file;
mod hashing;
mod host;
mod http2;
mod l7;
mod l7_change;
mod l7_relayed;
mod l7_rule;
mod limits;
mod listener;
mod log;
mod monitor;
mod monitor_fields;
mod persistence;
mod pool;
mod proxy_protocol;
mod retry;
mod tls;
mod unique;

use std::net::{IpAddr, SocketAddr};

use super::mistake::{Findings, shown};
use super::near::nearest;
use super::tree::{NodeId, Spot, Tree};
use super::types::{Line, LoadBalancer, Text};
use super::{POOLS_MAX, types};
use crate::config;
use crate::id::{LoadBalancerId, PoolId};
use pool::Pool;
use unique::Unique;

/// Reports what is wrong with `document` as a whole; the second floor if nothing is.
pub(super) fn validate(tree: &Tree, document: LoadBalancer, findings: &mut Findings) -> Option<config::LoadBalancer> {
    Border { tree, findings, unique: Unique::default(), pools: Vec::new(), vip_is_ipv6: None }.load_balancer(document)
}

struct Border<'b> {
    tree: &'b Tree,
    findings: &'b mut Findings,
    unique: Unique,
    /// Every pool seen so far: first the shared ones, then those inside listeners.
    pools: Vec<Pool>,
    /// Which kind of address clients have; `None`: unknown.
    vip_is_ipv6: Option<bool>,
}

impl Border<'_> {
    fn load_balancer(mut self, document: LoadBalancer) -> Option<config::LoadBalancer> {
        let at = document.at;
        let vip_address = self.address(at, "vip_address", document.vip_address.as_ref());
        self.vip_is_ipv6 = vip_address.map(|address| address.is_ipv6());
        let resolvers = self.resolvers(at, document.resolvers.as_deref().unwrap_or_default());
        let name = line(document.name);
        let id = document.id.unwrap_or_else(|| match vip_address {
            Some(address) if name.is_empty() => LoadBalancerId::for_name(&address.to_string()),
            _ => LoadBalancerId::for_name(&name),
        });
        for pool in document.pools.unwrap_or_default() {
            self.shared_pool(id, pool);
        }
        let written = document.listeners.unwrap_or_default();
        let ports: Vec<u16> = written.iter().filter_map(|listener| listener.protocol_port).collect();
        let count = written.len();
        let listeners: Vec<config::Listener> =
            written.into_iter().filter_map(|listener| self.listener(id, listener)).collect();
        if let Some(vip_address) = vip_address {
            self.members_are_not_the_vip(vip_address, &ports);
        }
        if let Some(over) = self.pools.get(POOLS_MAX) {
            let message = format!("{} pools are too many for one load balancer", self.pools.len());
            self.mistake(self.tree.spot(over.at), message, format!("at most {POOLS_MAX}"));
        }
        if listeners.len() < count {
            return None;
        }
        Some(config::LoadBalancer {
            id,
            name,
            description: text(document.description),
            project_id: document.project_id.map(|id| id.0),
            vip_address: vip_address?,
            vip_network: document.vip_subnet_id.or(document.vip_network_id).map(|id| id.0),
            admin_state_up: document.admin_state_up.unwrap_or(true),
            tags: lines(document.tags),
            workers: document.workers,
            resolvers: resolvers?,
            listeners,
            pools: self.pools.into_iter().map(|pool| pool.config).collect::<Option<_>>()?,
        })
    }

    fn members_are_not_the_vip(&mut self, vip_address: IpAddr, ports: &[u16]) {
        let own = |member: &&(NodeId, SocketAddr)| member.1.ip() == vip_address && ports.contains(&member.1.port());
        let loops: Vec<(NodeId, SocketAddr)> =
            self.pools.iter().flat_map(|pool| pool.sockets.iter().filter(own)).copied().collect();
        for (at, socket) in loops {
            let message = format!("this member is its own VIP: {socket} is served by a listener of this document");
            let spot = self.tree.spot_of(at, "address");
            self.mistake(spot, message, "give the address of a server".to_owned());
        }
    }

    /// The shared pool a listener names, by id, by name, or by both.
    fn shared(&mut self, spot: Spot, id: Option<PoolId>, name: &str) -> Option<usize> {
        let by_id = |pool: &Pool| id.is_none_or(|id| pool.id == id);
        let by_name = |pool: &Pool| name.is_empty() || pool.name == name;
        let found = self.pools.iter().position(|pool| pool.shared && by_id(pool) && by_name(pool));
        if found.is_some() || self.pools_are_incomplete() {
            return found;
        }
        let (message, help) = match id {
            Some(id) if name.is_empty() => (format!("no pool of `pools` has the id {id}"), None),
            Some(id) => (format!("no pool of `pools` has the id {id} and the name {}", shown(name)), None),
            None => (format!("no pool of `pools` is named {}", shown(name)), self.near_pool(name)),
        };
        self.mistake(spot, message, help);
        None
    }

    fn near_pool(&self, name: &str) -> Option<String> {
        if self.pools.iter().any(|pool| !pool.shared && pool.name == name) {
            return Some("a pool of that name stands inside a listener: move it to `pools` to share it".to_owned());
        }
        let names: Vec<&str> = self.pools.iter().filter(|p| p.shared && !p.name.is_empty()).map(|p| &*p.name).collect();
        match nearest(name, names.iter().copied()) {
            Some(near) => Some(format!("did you mean {}?", shown(near))),
            None if names.is_empty() => Some("`pools` of this document has no named pool".to_owned()),
            None => {
                Some(format!("there are: {}", names.iter().take(10).map(|n| shown(n)).collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// True if a pool, or the name or id of one, was refused: then a reference that finds nothing may be right.
    fn pools_are_incomplete(&self) -> bool {
        let load_balancer = self.tree.entry(Tree::ROOT, "loadbalancer").map(|entry| entry.value);
        let entries = load_balancer.map_or(&[][..], |id| self.tree.entries(id));
        entries.iter().filter(|entry| entry.key == "pools").any(|entry| {
            self.tree.is_rejected(entry.value)
                || self.tree.items(entry.value).iter().any(|pool| {
                    self.tree.is_rejected(*pool) || self.tree.is_lost(*pool, "name") || self.tree.is_lost(*pool, "id")
                })
        })
    }

    fn address(&mut self, map: NodeId, key: &str, written: Option<&Line>) -> Option<IpAddr> {
        match address::parse(&written?.0) {
            Ok(address) => Some(address),
            Err(fault) => {
                self.mistake(self.tree.spot_of(map, key), fault.message, fault.help);
                None
            }
        }
    }

    fn mistake(&mut self, spot: Spot, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.findings.push(spot, message, help);
    }
}

fn line(line: Option<Line>) -> String {
    line.unwrap_or_default().0
}

fn text(text: Option<Text>) -> String {
    text.unwrap_or_default().0
}

fn lines(lines: Option<Vec<Line>>) -> Vec<String> {
    lines.unwrap_or_default().into_iter().map(|line| line.0).collect()
}
