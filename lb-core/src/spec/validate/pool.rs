//! A pool and its members crossing the border.

use std::net::SocketAddr;

use super::hashing::algorithm;
use super::monitor::on_marked_down;
use super::unique::{Identity, Seen};
use super::{Border, NodeId, line, lines, text, types};
use crate::config;
use crate::id::{LoadBalancerId, MemberId, PoolId};

/// A pool that was read, even if only half of it is right.
pub(super) struct Pool {
    pub(super) at: NodeId,
    pub(super) id: PoolId,
    pub(super) name: String,
    /// Written in `pools`; otherwise inside a listener.
    pub(super) shared: bool,
    pub(super) protocol: Option<config::PoolProtocol>,
    pub(super) lb_algorithm: Option<config::LbAlgorithm>,
    /// It knows its clients by a cookie.
    pub(super) reads_cookies: bool,
    /// Where its members listen, as far as known.
    pub(super) sockets: Vec<(NodeId, SocketAddr)>,
    /// `None` if something was wrong.
    pub(super) config: Option<config::Pool>,
}

/// Where a pool stands in the document.
#[derive(Clone, Copy)]
pub(super) struct Standing<'k> {
    /// In `pools`; otherwise inside a listener.
    pub(super) shared: bool,
    /// What its id is derived from when it has no name.
    pub(super) key: &'k str,
    /// Another pool has that key, and that has been reported.
    pub(super) doubled: bool,
}

/// The pool that members and monitors stand in.
#[derive(Clone, Copy)]
pub(super) struct Parent {
    pub(super) id: PoolId,
    /// Another pool has that id, and that has been reported.
    pub(super) doubled: bool,
}

impl Border<'_> {
    pub(super) fn shared_pool(&mut self, parent: LoadBalancerId, pool: types::Pool) {
        let nameless = pool.id.is_none() && pool.name.as_ref().is_none_or(|name| name.0.is_empty());
        if nameless && !self.tree.is_lost(pool.at, "name") && !self.tree.is_lost(pool.at, "id") {
            let help = "give it a name, so that listeners can use it".to_owned();
            self.mistake(self.tree.spot(pool.at), "a shared pool needs a `name` or an `id`", help);
        }
        let key = format!("pool {}", self.pools.len());
        self.pool(parent, pool, Standing { shared: true, key: &key, doubled: false });
    }

    /// Reads a pool and returns its place in `self.pools`.
    pub(super) fn pool(&mut self, parent: LoadBalancerId, mut pool: types::Pool, standing: Standing<'_>) -> usize {
        let Standing { shared, key, doubled: key_doubled } = standing;
        let at = pool.at;
        let name = line(pool.name.take());
        let explicit = pool.id.is_some();
        let id = pool.id.unwrap_or_else(|| PoolId::derived(parent.0, if name.is_empty() { key } else { &name }));
        let name_doubled = self.doubled_name("pool", at, &name, |b| &mut b.unique.pool_names);
        let doubled = name_doubled || (name.is_empty() && key_doubled);
        let identity = Identity { kind: "pool", at, id: id.0, explicit, doubled };
        let doubled = self.doubled_id(&identity, |b| &mut b.unique.pool_ids);

        let parent = Parent { id, doubled };
        let written = pool.members.take().unwrap_or_default();
        let count = written.len();
        let mut sockets = Vec::with_capacity(count);
        let members = self.members(parent, written, &mut sockets);
        let protocol = pool.protocol.map(protocol);
        let lb_algorithm = pool.lb_algorithm.map(algorithm);
        let hash = self.hashing(at, pool.hash.take(), lb_algorithm, protocol);
        let has_monitors = ["healthmonitor", "healthmonitors"].iter().any(|key| self.tree.is_lost(at, key))
            || pool.healthmonitor.is_some()
            || pool.healthmonitors.as_ref().is_some_and(|monitors| !monitors.is_empty());
        let monitors = self.monitors(&mut pool, parent);
        let tls = self.pool_tls(&pool, protocol);
        let has_tls = pool.tls_enabled == Some(true);
        let http2_prior_knowledge = self.pool_prior_knowledge(at, pool.http2_prior_knowledge, protocol, has_tls);
        let observation = self.observation(at, pool.observe, has_monitors, protocol);
        let agent_check = self.agent_check(pool.agent_check);
        let retry = self.retry(pool.retry.take(), protocol);
        let persistence = self.persistence(pool.session_persistence, protocol);
        let reads_cookies = matches!(&persistence, Ok(Some(persistence)) if persistence.needs_http());
        let config = match (protocol, lb_algorithm, hash, monitors, persistence) {
            (Some(protocol), Some(lb_algorithm), Some(hash), Some(monitors), Ok(session_persistence))
                if members.len() == count =>
            {
                Some(config::Pool {
                    id,
                    name: name.clone(),
                    description: text(pool.description),
                    protocol,
                    lb_algorithm,
                    hash,
                    admin_state_up: pool.admin_state_up.unwrap_or(true),
                    members,
                    monitors,
                    observation,
                    slow_start_ms: pool.slow_start.map_or(0, |slow| slow.ms),
                    agent_check,
                    on_marked_down: on_marked_down(pool.on_marked_down),
                    session_persistence,
                    // -1, as Octavia writes it, is no limit.
                    max_queue: pool.max_queue.and_then(|most| u32::try_from(most).ok()),
                    timeout_queue_ms: pool.timeout_queue,
                    retry,
                    tls,
                    http2_prior_knowledge,
                    tags: lines(pool.tags),
                })
            }
            _ => None,
        };
        self.pools.push(Pool { at, id, name, shared, protocol, lb_algorithm, reads_cookies, sockets, config });
        self.pools.len() - 1
    }

    fn members(
        &mut self,
        pool: Parent,
        written: Vec<types::Member>,
        sockets: &mut Vec<(NodeId, SocketAddr)>,
    ) -> Vec<config::Member> {
        self.unique.member_names = Seen::default();
        let mut taken = Seen::default();
        let mut members = Vec::with_capacity(written.len());
        for member in written {
            let at = member.at;
            let address = self.member_address(at, member.address.as_ref());
            let monitor_address = self.address(at, "monitor_address", member.monitor_address.as_ref());
            let name = line(member.name);
            let mut doubled = pool.doubled | self.doubled_name("member", at, &name, |b| &mut b.unique.member_names);
            let (Some(address), Some(protocol_port)) = (address, member.protocol_port) else {
                continue;
            };
            let socket = address.ip().map(|address| SocketAddr::new(address, protocol_port));
            sockets.extend(socket.map(|socket| (at, socket)));
            // Several members may have one name: they get different addresses.
            let line = self.tree.spot_of(at, "address").line();
            if let Some((socket, first)) = socket.and_then(|socket| Some((socket, taken.before(socket, line)?))) {
                let help = "a member is in its pool once: give it a higher weight for more work";
                self.doubled_value(at, "address", format_args!("{socket}"), first, help);
                doubled = true;
            }
            let explicit = member.id.is_some();
            let id = member.id.unwrap_or_else(|| match name.as_str() {
                "" => MemberId::derived(pool.id.0, &address.with_port(protocol_port)),
                name => MemberId::derived(pool.id.0, name),
            });
            let identity = Identity { kind: "member", at, id: id.0, explicit, doubled };
            self.doubled_id(&identity, |b| &mut b.unique.member_ids);
            members.push(config::Member {
                id,
                name,
                address,
                protocol_port,
                weight: member.weight.unwrap_or(1),
                max_connections: member.max_connections.filter(|most| *most > 0),
                backup: member.backup.unwrap_or(false),
                admin_state_up: member.admin_state_up.unwrap_or(true),
                monitor_address,
                monitor_port: member.monitor_port,
                tags: lines(member.tags),
            });
        }
        members
    }
}

fn protocol(written: types::PoolProtocol) -> config::PoolProtocol {
    match written {
        types::PoolProtocol::Tcp => config::PoolProtocol::Tcp,
        types::PoolProtocol::Http => config::PoolProtocol::Http,
        types::PoolProtocol::Https => config::PoolProtocol::Https,
        types::PoolProtocol::Proxy => config::PoolProtocol::Proxy,
        types::PoolProtocol::ProxyV2 => config::PoolProtocol::ProxyV2,
    }
}
