//! Figures gathered from all workers' cells, for the control socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lb_control::explain::Named;
use lb_control::stats::{
    LimitStats, ListenerStats, MemberStats, PersistenceStats, PolicyStats, PoolStats, QueueStats, Stats, WorkerStats,
};
use lb_core::config::Pool;
use lb_core::health::operating_status::{Admission, of_listener, of_load_balancer, of_pool};
use lb_core::l7::Policy;
use lb_core::member::{Counter, LimitCell, ListenerCell, MemberCell, PoolCell};
use lb_core::snapshot::{ListenerSnapshot, MemberSlot, PoolSnapshot, Snapshot};
use lb_core::time::Millis;

use crate::health::view::Shares;
use crate::instance::Instance;

/// Reads everything now.
pub fn gather(instance: &Instance) -> Stats {
    let process = &*instance.process;
    let snapshot = process.snapshot.load();
    let pools = pools(instance, &snapshot);
    let listeners = listeners(&snapshot, &pools);
    let up = snapshot.config.as_ref().is_some_and(|config| config.admin_state_up);
    let statuses = listeners.iter().filter_map(|listener| listener.operating_status);
    Stats {
        uptime_ms: process.now().0,
        generation: snapshot.generation,
        active_connections: u64::from(process.connections()),
        log_lines_dropped: process.log.dropped(),
        sessions_panicked: process.panics(),
        shortage: process.room.stats(),
        operating_status: snapshot.config.as_ref().map(|_| of_load_balancer(up, statuses)),
        listeners,
        pools,
        workers: process.worker_totals(),
        certificates: instance.certificates(),
    }
}

/// An object's id, and its name if it has one.
pub fn named(id: impl std::fmt::Display, label: &str) -> Named {
    let name = name_of(&id, label);
    Named { id: id.to_string(), name }
}

fn name_of(id: impl std::fmt::Display, label: &str) -> String {
    if label == id.to_string() { String::new() } else { label.to_owned() }
}

fn pools(instance: &Instance, snapshot: &Snapshot) -> Vec<PoolStats> {
    let Some(config) = &snapshot.config else { return Vec::new() };
    let look = instance.minder.look(instance.process.now());
    let stats = |(slots, pool): (&PoolSnapshot, &Pool)| {
        let now = instance.process.now();
        let mut stats = self::pool(slots, name_of(slots.id, &slots.label), now);
        stats.persistence = persistence(slots, now);
        let shares = Shares::of(slots);
        for ((slot, member), stats) in slots.members.iter().zip(&pool.members).zip(&mut stats.members) {
            stats.resolution = instance.names.resolution(member, slot.socket());
            stats.health = Some(look.member(pool, member, &shares, slot));
        }
        let members = stats.members.iter().filter_map(|member| Some(member.health.as_ref()?.operating_status));
        stats.operating_status = Some(of_pool(config.admin_state_up && pool.admin_state_up, members));
        stats
    };
    snapshot.pools.iter().zip(&config.pools).map(stats).collect()
}

fn persistence(pool: &PoolSnapshot, now: Millis) -> Option<PersistenceStats> {
    let persistence = pool.persistence.as_ref()?;
    let table = persistence.figures(now).unwrap_or_default();
    let sum = |figure: fn(&PoolCell) -> &Counter| pool.cells.sum(|cell| figure(cell).get());
    Some(PersistenceStats {
        kind: persistence.word().to_owned(),
        entries: table.entries.into(),
        size: table.size.into(),
        evicted: table.evicted,
        expired: table.expired,
        bytes: table.bytes,
        hits: sum(|cell| &cell.persistence_hits),
        misses: sum(|cell| &cell.persistence_misses),
        moved: sum(|cell| &cell.persistence_moved),
    })
}

fn listeners(snapshot: &Snapshot, pools: &[PoolStats]) -> Vec<ListenerStats> {
    let stats = |listener: &Arc<ListenerSnapshot>| {
        let mut stats = self::listener(listener, name_of(listener.id, &listener.label));
        let of_policies = listener.policies.iter().flat_map(|policies| policies.pools());
        let reachable = listener.pool.into_iter().chain(of_policies);
        let reachable = reachable.filter_map(|place| pools.get(place)?.operating_status);
        let open = u64::from(listener.admitted.load(Ordering::Relaxed));
        let full = listener.connection_limit.is_some_and(|limit| open >= u64::from(limit));
        let admission = if full { Admission::Full } else { Admission::Open };
        stats.operating_status = Some(of_listener(listener.up, admission, reachable));
        stats
    };
    snapshot.listeners.iter().map(stats).collect()
}

fn listener(listener: &ListenerSnapshot, name: String) -> ListenerStats {
    let sum = |figure: fn(&ListenerCell) -> &Counter| listener.cells.sum(|cell| figure(cell).get());
    ListenerStats {
        id: listener.id.to_string(),
        name,
        operating_status: None,
        active_connections: sum(|c| &c.open),
        total_connections: sum(|c| &c.connections),
        total_requests: sum(|c| &c.requests),
        bytes_in: sum(|c| &c.bytes_in),
        bytes_out: sum(|c| &c.bytes_out),
        request_errors: sum(|c| &c.request_errors),
        responses: std::array::from_fn(|class| listener.cells.sum(|c| c.responses[class].get())),
        refusals: sum(|c| &c.refusals),
        tunnels_open: sum(|c| &c.tunnels_open),
        tunnels: sum(|c| &c.tunnels),
        l7policies: listener.policies.iter().flat_map(|policies| &policies.policies).map(policy).collect(),
        proxy_header_errors: sum(|c| &c.proxy_header_errors),
        tls_handshakes: sum(|c| &c.tls_handshakes),
        tls_resumed: sum(|c| &c.tls_resumed),
        tls_failures: sum(|c| &c.tls_failures),
        limits: limits(listener),
    }
}

fn limits(listener: &ListenerSnapshot) -> LimitStats {
    let sum = |figure: fn(&LimitCell) -> &Counter| {
        listener.cells.sum(|cell| cell.limits_read().map_or(0, |limits| figure(limits).get()))
    };
    LimitStats {
        not_allowed: sum(|c| &c.not_allowed),
        over_connection_limit: sum(|c| &c.over_connection_limit),
        client_connections: sum(|c| &c.client_connections),
        client_connection_rate: sum(|c| &c.client_connection_rate),
        client_request_rate: sum(|c| &c.client_request_rate),
        clients_uncounted: sum(|c| &c.clients_uncounted),
        heads_too_large: sum(|c| &c.heads_too_large),
        bodies_too_slow: sum(|c| &c.bodies_too_slow),
        shed: sum(|c| &c.shed),
        lines_withheld: sum(|c| &c.lines_withheld),
        clients: listener.clients.len() as u64,
        clients_bytes: listener.clients.bytes() as u64,
    }
}

fn policy(policy: &Policy) -> PolicyStats {
    PolicyStats {
        id: policy.id.to_string(),
        name: name_of(policy.id, &policy.label),
        matched: policy.cells.sum(|c| c.matched.get()),
        mirrored: policy.cells.sum(|c| c.mirrored.get()),
        mirrors_lost: policy.cells.sum(|c| c.mirrors_lost.get()),
    }
}

fn pool(pool: &PoolSnapshot, name: String, now: Millis) -> PoolStats {
    let members: Vec<MemberStats> = pool.members.iter().map(|slot| member(pool, slot)).collect();
    let total = |figure: fn(&MemberStats) -> u64| members.iter().map(figure).sum();
    PoolStats {
        id: pool.id.to_string(),
        name,
        operating_status: None,
        active_connections: total(|m| m.active_connections),
        total_connections: total(|m| m.total_connections),
        bytes_in: total(|m| m.bytes_in),
        bytes_out: total(|m| m.bytes_out),
        retries_denied: pool.cells.sum(|c| c.retries_denied.get()),
        persistence: None,
        queue: queue(pool, now),
        members,
    }
}

fn queue(pool: &PoolSnapshot, now: Millis) -> QueueStats {
    QueueStats {
        waiting: u64::from(pool.limits.queue.waiting()),
        oldest_ms: pool.limits.queue.longest_ms(now),
        longest_wait_ms: pool.cells.greatest(|cell| cell.longest_wait_ms.get()),
        queued: pool.cells.sum(|cell| cell.queued.get()),
        timeouts: pool.cells.sum(|cell| cell.queue_timeouts.get()),
        refused: pool.cells.sum(|cell| cell.queue_refused.get()),
    }
}

fn member(pool: &PoolSnapshot, slot: &MemberSlot) -> MemberStats {
    let sum = |figure: fn(&MemberCell) -> &Counter| slot.cells.sum(|cell| figure(cell).get());
    let id = slot.id.to_string();
    MemberStats {
        name: if *slot.label == *id { String::new() } else { slot.label.to_string() },
        id,
        address: slot.socket().map_or_else(String::new, |socket| socket.to_string()),
        resolution: None,
        weight: slot.weight,
        backup: slot.backup,
        admin_state_up: slot.admin_state_up,
        health: None,
        avoided: slot.state.fault.avoided(),
        active_connections: sum(|c| &c.active),
        max_connections: slot.state.slots.limit(),
        waiting: u64::from(pool.limits.queue.pinned_to(&slot.state)),
        total_connections: sum(|c| &c.total),
        connects: sum(|c| &c.connects),
        reuses: sum(|c| &c.reuses),
        idle_connections: sum(|c| &c.idle),
        bytes_in: sum(|c| &c.bytes_in),
        bytes_out: sum(|c| &c.bytes_out),
        connect_errors: sum(|c| &c.connect_errors),
        response_errors: sum(|c| &c.response_errors),
        retries: sum(|c| &c.retries),
        redispatches: sum(|c| &c.redispatches),
        responses: std::array::from_fn(|class| slot.cells.sum(|c| c.responses[class].get())),
    }
}

/// Worker figures that outlive listeners.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerCell {
    /// Connections accepted.
    pub connections: Counter,
    /// Requests begun.
    pub requests: Counter,
    /// Gauge: connections parked.
    pub parked: Counter,
    /// Gauge: sessions that have yet to send a whole request. Not reported.
    pub headless: Counter,
}

impl WorkerCell {
    /// As reported.
    pub fn read(&self) -> WorkerStats {
        WorkerStats {
            total_connections: self.connections.get(),
            total_requests: self.requests.get(),
            parked_connections: self.parked.get(),
        }
    }
}
