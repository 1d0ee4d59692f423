//! What people are shown of a load balancer: its document, and how what runs for it fares.

use lb_control::instance::{Health, InstanceState};
use lb_control::node::{
    InstanceStatus, ListenerStatus, LoadBalancerStatus, MemberStatus, PolicyStatus, PoolStatus, ProvisioningStatus,
    Status, Summary,
};
use lb_control::stats::{ListenerStats, PoolStats, Stats};
use lb_core::config::l7::L7Policy;
use lb_core::config::{Listener, LoadBalancer, Member, Pool};
use lb_core::health::OperatingStatus;

use crate::desired::namespace_of;
use crate::keeper::View;
use crate::timeline::Known;

/// One line of a list. `known`: what the data plane last said of itself. It is not asked for a list: a node may have a
/// thousand, and every turn of a member comes as an event, after which it was asked.
pub fn summary(document: &LoadBalancer, view: &View, known: Known) -> Summary {
    let serves = view.pid.is_some() && view.generation > 0 && known != Known::Silent;
    let operating_status = match known {
        Known::Says(status) if serves && document.admin_state_up => status,
        _ => operating(serves, document.admin_state_up),
    };
    Summary {
        id: document.id.to_string(),
        name: document.name.clone(),
        vip_address: document.vip_address.to_string(),
        provisioning_status: view.provisioning,
        operating_status,
        listeners: document.listeners.len(),
        pid: view.pid,
    }
}

/// The whole tree. `health` and `stats`: what the data plane says, if it says anything. Statuses are the data plane's;
/// where it has none, they follow from the document and whether it serves.
pub fn tree(document: &LoadBalancer, view: &View, health: Option<&Health>, stats: Option<&Stats>) -> Status {
    let serves = health.is_some_and(|health| health.state == InstanceState::Serving);
    let tree = Tree { document, provisioning: view.provisioning, serves, stats: stats.filter(|_| serves) };
    Status {
        loadbalancer: tree.root(),
        instance: InstanceStatus {
            namespace: namespace_of(document.id),
            pid: view.pid,
            uptime_ms: health.map_or(0, |health| health.uptime_ms),
            generation: health.map_or(0, |health| health.generation),
            restarts: view.restarts,
            last_exit: view.last_exit.clone(),
            fault: view.fault.clone(),
            shortage: stats.map(|stats| stats.shortage).unwrap_or_default(),
        },
    }
}

struct Tree<'a> {
    document: &'a LoadBalancer,
    provisioning: ProvisioningStatus,
    /// The data plane runs and serves.
    serves: bool,
    stats: Option<&'a Stats>,
}

impl Tree<'_> {
    fn root(&self) -> LoadBalancerStatus {
        let document = self.document;
        let used = |pool: &Pool| document.listeners.iter().any(|l| l.pools().contains(&pool.id));
        LoadBalancerStatus {
            id: document.id.to_string(),
            name: document.name.clone(),
            vip_address: document.vip_address.to_string(),
            admin_state_up: document.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: self
                .stats
                .and_then(|stats| stats.operating_status)
                .unwrap_or_else(|| operating(self.serves, document.admin_state_up)),
            listeners: document.listeners.iter().map(|l| self.listener(l)).collect(),
            unused_pools: document.pools.iter().filter(|p| !used(p)).map(|p| self.pool(p)).collect(),
            certificates: self.stats.map_or_else(Vec::new, |stats| stats.certificates.clone()),
        }
    }

    fn listener(&self, listener: &Listener) -> ListenerStatus {
        let up = self.document.admin_state_up && listener.admin_state_up;
        let pools = listener.pools();
        let id = listener.id.to_string();
        let figures = self.stats.and_then(|stats| stats.listeners.iter().find(|l| l.id == id));
        ListenerStatus {
            id,
            name: listener.name.clone(),
            protocol: listener.protocol.to_string(),
            protocol_port: listener.protocol_port,
            admin_state_up: listener.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: figures
                .and_then(|figures| figures.operating_status)
                .unwrap_or_else(|| operating(self.serves, up)),
            limits: figures.map(|figures| figures.limits).unwrap_or_default(),
            l7policies: policies(listener, figures),
            pools: pools.iter().filter_map(|id| self.document.pool(*id)).map(|pool| self.pool(pool)).collect(),
        }
    }

    fn pool(&self, pool: &Pool) -> PoolStatus {
        let up = self.document.admin_state_up && pool.admin_state_up;
        let usable = pool.members.iter().any(|m| m.admin_state_up && m.weight > 0);
        let id = pool.id.to_string();
        let figures = self.stats.and_then(|stats| stats.pools.iter().find(|p| p.id == id));
        PoolStatus {
            id,
            name: pool.name.clone(),
            lb_algorithm: pool.lb_algorithm.to_string(),
            admin_state_up: pool.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: figures
                .and_then(|figures| figures.operating_status)
                .unwrap_or_else(|| operating(self.serves && usable, up)),
            persistence: figures.and_then(|figures| figures.persistence.clone()),
            queue: figures.map_or_else(Default::default, |figures| figures.queue),
            members: pool.members.iter().map(|member| self.member(pool, member, figures)).collect(),
        }
    }

    fn member(&self, pool: &Pool, member: &Member, figures: Option<&PoolStats>) -> MemberStatus {
        let up = self.document.admin_state_up && pool.admin_state_up && member.admin_state_up;
        let operating_status = match (up, member.weight) {
            (false, _) => OperatingStatus::Offline,
            (true, 0) => OperatingStatus::Draining,
            (true, _) => OperatingStatus::NoMonitor,
        };
        let id = member.id.to_string();
        let figures = figures.and_then(|pool| pool.members.iter().find(|m| m.id == id));
        let health = figures.and_then(|figures| figures.health.clone());
        MemberStatus {
            id,
            name: member.name.clone(),
            address: member.address.to_string(),
            protocol_port: member.protocol_port,
            weight: member.weight,
            backup: member.backup,
            admin_state_up: member.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: health.as_ref().map_or(operating_status, |health| health.operating_status),
            avoided: figures.is_some_and(|figures| figures.avoided),
            active_connections: figures.map_or(0, |figures| figures.active_connections),
            max_connections: figures.map_or(member.max_connections, |figures| figures.max_connections),
            resolution: figures.and_then(|figures| figures.resolution.clone()),
            health,
        }
    }
}

fn operating(works: bool, up: bool) -> OperatingStatus {
    match (up, works) {
        (false, _) => OperatingStatus::Offline,
        (true, true) => OperatingStatus::Online,
        (true, false) => OperatingStatus::Error,
    }
}

fn policies(listener: &Listener, figures: Option<&ListenerStats>) -> Vec<PolicyStatus> {
    let policy = |(place, policy): (usize, &L7Policy)| {
        let id = policy.id.to_string();
        let figures = figures.and_then(|figures| figures.l7policies.iter().find(|p| p.id == id));
        PolicyStatus {
            id,
            name: policy.name.clone(),
            action: policy.action.word().to_owned(),
            position: place as u32 + 1,
            admin_state_up: policy.admin_state_up,
            matched: figures.map(|figures| figures.matched),
        }
    };
    listener.l7policies.iter().enumerate().map(policy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;
    use lb_control::stats::{MemberHealth, MemberStats};
    use lb_core::health::{Administrative, Operational};
    use std::sync::Arc;

    fn view(document: &LoadBalancer, pid: Option<u32>) -> View {
        View {
            document: Some(Arc::new(document.clone())),
            provisioning: ProvisioningStatus::Active,
            pid,
            generation: 1,
            restarts: 0,
            last_exit: None,
            fault: None,
        }
    }

    fn health(state: InstanceState) -> Health {
        Health { pid: 7, version: String::new(), uptime_ms: 5, generation: 1, workers: 1, state }
    }

    #[test]
    fn served_down_and_dead() {
        let mut lb = document("web", "20.20.20.6", &[80, 81]);
        lb.listeners[1].admin_state_up = false;
        let serving = health(InstanceState::Serving);
        let tree_of = |health| tree(&lb, &view(&lb, Some(7)), health, None).loadbalancer;
        let status = tree_of(Some(&serving));
        assert_eq!(status.operating_status, OperatingStatus::Online);
        assert_eq!(status.listeners[0].operating_status, OperatingStatus::Online);
        assert_eq!(status.listeners[1].operating_status, OperatingStatus::Offline);
        assert_eq!(status.listeners[0].pools[0].members[0].operating_status, OperatingStatus::NoMonitor);
        assert_eq!(tree_of(None).listeners[0].operating_status, OperatingStatus::Error);
    }

    #[test]
    fn members_by_weight_and_will() {
        let mut lb = document("web", "20.20.20.6", &[80]);
        lb.pools[0].members[0].weight = 0;
        let serving = health(InstanceState::Serving);
        let pool_of = |lb: &LoadBalancer| {
            tree(lb, &view(lb, Some(7)), Some(&serving), None).loadbalancer.listeners.remove(0).pools.remove(0)
        };
        let pool = pool_of(&lb);
        assert_eq!(pool.members[0].operating_status, OperatingStatus::Draining);
        assert_eq!(pool.operating_status, OperatingStatus::Error);
        lb.pools[0].members[0].admin_state_up = false;
        assert_eq!(pool_of(&lb).members[0].operating_status, OperatingStatus::Offline);
    }

    /// As a data plane tells it: one member of two is down.
    fn degraded(lb: &LoadBalancer) -> Stats {
        let health = MemberHealth {
            operating_status: OperatingStatus::Error,
            administrative: Administrative::Ready,
            operational: Operational::Down,
            since_ms: 1,
            reason: "HTTP 500".into(),
            share_permille: 0,
            monitors: Vec::new(),
            agent: String::new(),
        };
        let (pool, listener) = (&lb.pools[0], &lb.listeners[0]);
        let member = MemberStats { id: pool.members[0].id.to_string(), health: Some(health), ..MemberStats::default() };
        let operating_status = Some(OperatingStatus::Degraded);
        Stats {
            operating_status,
            listeners: vec![ListenerStats { id: listener.id.to_string(), operating_status, ..Default::default() }],
            pools: vec![PoolStats {
                id: pool.id.to_string(),
                operating_status,
                members: vec![member],
                ..Default::default()
            }],
            ..Stats::default()
        }
    }

    #[test]
    fn the_data_planes_word_counts_while_it_serves() {
        let lb = document("web", "20.20.20.6", &[80]);
        let (stats, view) = (degraded(&lb), view(&lb, Some(7)));
        let status = tree(&lb, &view, Some(&health(InstanceState::Serving)), Some(&stats)).loadbalancer;
        let (listener, pool) = (&status.listeners[0], &status.listeners[0].pools[0]);
        let words = [status.operating_status, listener.operating_status, pool.operating_status];
        assert_eq!(words, [OperatingStatus::Degraded; 3]);
        assert_eq!(pool.members[0].operating_status, OperatingStatus::Error);
        assert_eq!(pool.members[0].health.as_ref().unwrap().reason, "HTTP 500");
        for gone in [None, Some(&health(InstanceState::Draining))] {
            let status = tree(&lb, &view, gone, Some(&stats)).loadbalancer;
            assert_eq!(status.operating_status, OperatingStatus::Error);
            assert_eq!(status.listeners[0].pools[0].members[0].health, None);
        }
    }

    #[test]
    fn a_list_shows_what_is_known() {
        let mut lb = document("web", "20.20.20.6", &[80]);
        let of = |lb: &LoadBalancer, pid, known| summary(lb, &view(lb, pid), known).operating_status;
        let degraded = Known::Says(OperatingStatus::Degraded);
        assert_eq!(of(&lb, Some(7), degraded), OperatingStatus::Degraded);
        assert_eq!(of(&lb, Some(7), Known::Nothing), OperatingStatus::Online);
        assert_eq!(of(&lb, Some(7), Known::Silent), OperatingStatus::Error);
        assert_eq!(of(&lb, None, degraded), OperatingStatus::Error);
        lb.admin_state_up = false;
        assert_eq!(of(&lb, Some(7), degraded), OperatingStatus::Offline);
    }
}
