//! Which member takes a request: one file per algorithm, all of the same shape.

mod least_connections;
mod rotation;
mod source_ip;

use std::net::IpAddr;

pub use least_connections::LeastConnections;
pub use rotation::RoundRobin;
pub use source_ip::SourceIp;
pub(crate) use source_ip::mix;

use crate::config::LbAlgorithm;
use crate::snapshot::{MemberSlot, PoolSnapshot};
use crate::time::Millis;

/// Place of a member in its pool's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(pub u16);

/// What identifies a flow for algorithms that stick to something of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Address the client came from.
    pub source: IpAddr,
}

/// Members one request has been tried on already. Bounded, since retries are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    members: [Option<MemberIndex>; Self::MAX],
}

impl Tried {
    /// More are forgotten: no request is tried that often.
    pub const MAX: usize = 8;

    /// Notes one.
    pub fn note(&mut self, member: MemberIndex) {
        if let Some(free) = self.members.iter_mut().find(|m| m.is_none()) {
            *free = Some(member);
        }
    }

    /// Was it noted?
    pub fn contains(&self, member: MemberIndex) -> bool {
        self.members.contains(&Some(member))
    }
}

/// Members that stand for each other: the ordinary ones of a pool, or its backups.
#[derive(Debug)]
pub struct Group {
    balancer: Balancer,
}

/// How a group chooses. Closed: matched exhaustively.
#[derive(Debug)]
enum Balancer {
    RoundRobin(RoundRobin),
    LeastConnections(LeastConnections),
    SourceIp(SourceIp),
}

impl Group {
    /// Compiles the members at `indices` of `members`. `previous` is the group this one replaces: state that
    /// still fits (the place in the rotation) is carried over.
    pub(crate) fn build(
        algorithm: LbAlgorithm,
        members: &[MemberSlot],
        indices: Vec<MemberIndex>,
        previous: Option<&Self>,
    ) -> Self {
        let balancer = match algorithm {
            LbAlgorithm::RoundRobin => {
                let rotation = RoundRobin::build(members, &indices);
                Balancer::RoundRobin(match previous.map(|p| &p.balancer) {
                    Some(Balancer::RoundRobin(old)) => rotation.continuing(old),
                    _ => rotation,
                })
            }
            LbAlgorithm::LeastConnections => Balancer::LeastConnections(LeastConnections::build(indices)),
            LbAlgorithm::SourceIp => Balancer::SourceIp(SourceIp::build(indices)),
        };
        Self { balancer }
    }

    fn pick(&self, members: &[MemberSlot], key: FlowKey, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        match &self.balancer {
            Balancer::RoundRobin(b) => b.pick(usable),
            Balancer::LeastConnections(b) => b.pick(members, usable),
            Balancer::SourceIp(b) => b.pick(members, key, usable),
        }
    }
}

/// Lost races for a member that is tried again before others are looked at regardless.
const CLAIMS_MAX: usize = 4;

/// Chooses a member for one connection or request, and claims the right to try it.
///
/// Members in `tried` come last, members that just failed before them, backups before both. `None` only if
/// the pool has no member that may take traffic at all.
pub fn pick(pool: &PoolSnapshot, key: FlowKey, now: Millis, tried: &Tried) -> Option<MemberIndex> {
    let groups = [&pool.ordinary, &pool.backups];
    for group in groups {
        let healthy = |i: MemberIndex| !tried.contains(i) && pool.member(i).state.fault.usable(now);
        // Somebody else may claim the right to try a member between the look and the claim; then it is no
        // longer usable, and the next look finds another.
        for _ in 0..CLAIMS_MAX {
            match group.pick(&pool.members, key, healthy) {
                Some(member) if pool.member(member).state.fault.claim(now) => return Some(member),
                Some(_) => {}
                None => break,
            }
        }
    }
    let untried = |i: MemberIndex| !tried.contains(i);
    groups
        .iter()
        .find_map(|group| group.pick(&pool.members, key, untried))
        .or_else(|| groups.iter().find_map(|group| group.pick(&pool.members, key, |_| true)))
}

/// True if another member than those in `tried` is ready to take a request at once.
pub fn alternative(pool: &PoolSnapshot, now: Millis, tried: &Tried) -> bool {
    pool.members.iter().enumerate().any(|(i, slot)| {
        slot.takes_new_work() && !tried.contains(MemberIndex(i as u16)) && slot.state.fault.usable(now)
    })
}
