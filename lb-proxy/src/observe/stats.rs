//! Figures gathered from all workers' cells, for the control socket.

use lb_control::stats::{ListenerStats, MemberStats, PoolStats, Stats, WorkerStats};
use lb_core::member::{Counter, ListenerCell, MemberCell};
use lb_core::snapshot::{ListenerSnapshot, MemberSlot, PoolSnapshot};

use crate::process::Process;

/// Reads everything now.
pub fn gather(process: &Process) -> Stats {
    let snapshot = process.snapshot.load();
    let name_of = |id: String, label: &str| if label == id { String::new() } else { label.to_owned() };
    Stats {
        uptime_ms: process.now().0,
        generation: snapshot.generation,
        active_connections: u64::from(process.connections()),
        log_lines_dropped: process.log.dropped(),
        sessions_panicked: process.panics(),
        listeners: snapshot.listeners.iter().map(|l| listener(l, name_of(l.id.to_string(), &l.label))).collect(),
        pools: snapshot.pools.iter().map(|p| pool(p, name_of(p.id.to_string(), &p.label))).collect(),
        workers: process.worker_totals(),
    }
}

fn listener(listener: &ListenerSnapshot, name: String) -> ListenerStats {
    let sum = |figure: fn(&ListenerCell) -> &Counter| listener.cells.sum(|cell| figure(cell).get());
    ListenerStats {
        id: listener.id.to_string(),
        name,
        active_connections: sum(|c| &c.open),
        total_connections: sum(|c| &c.connections),
        total_requests: sum(|c| &c.requests),
        bytes_in: sum(|c| &c.bytes_in),
        bytes_out: sum(|c| &c.bytes_out),
        request_errors: sum(|c| &c.request_errors),
        responses: std::array::from_fn(|class| listener.cells.sum(|c| c.responses[class].get())),
        refusals: sum(|c| &c.refusals),
    }
}

fn pool(pool: &PoolSnapshot, name: String) -> PoolStats {
    let members: Vec<MemberStats> = pool.members.iter().map(member).collect();
    let total = |figure: fn(&MemberStats) -> u64| members.iter().map(figure).sum();
    PoolStats {
        id: pool.id.to_string(),
        name,
        active_connections: total(|m| m.active_connections),
        total_connections: total(|m| m.total_connections),
        bytes_in: total(|m| m.bytes_in),
        bytes_out: total(|m| m.bytes_out),
        members,
    }
}

fn member(slot: &MemberSlot) -> MemberStats {
    let sum = |figure: fn(&MemberCell) -> &Counter| slot.cells.sum(|cell| figure(cell).get());
    let id = slot.id.to_string();
    MemberStats {
        name: if *slot.label == *id { String::new() } else { slot.label.to_string() },
        id,
        address: slot.address.to_string(),
        weight: slot.weight,
        backup: slot.backup,
        admin_state_up: slot.admin_state_up,
        avoided: slot.state.fault.avoided(),
        active_connections: sum(|c| &c.active),
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
