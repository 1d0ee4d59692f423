//! What people are shown of a load balancer: its document, and how what runs for it fares.

use lb_control::instance::{Health, InstanceState};
use lb_control::node::{
    InstanceStatus, ListenerStatus, LoadBalancerStatus, MemberStatus, OperatingStatus, PoolStatus, ProvisioningStatus,
    Status, Summary,
};
use lb_control::stats::Stats;
use lb_core::config::{Listener, LoadBalancer, Member, Pool};

use crate::desired::namespace_of;
use crate::keeper::View;

/// One line of a list.
pub fn summary(document: &LoadBalancer, view: &View) -> Summary {
    Summary {
        id: document.id.to_string(),
        name: document.name.clone(),
        vip_address: document.vip_address.to_string(),
        provisioning_status: view.provisioning,
        operating_status: operating(view.pid.is_some() && view.generation > 0, document.admin_state_up),
        listeners: document.listeners.len(),
        pid: view.pid,
    }
}

/// The whole tree. `health` and `stats`: what the data plane says, if it says anything.
pub fn tree(document: &LoadBalancer, view: &View, health: Option<&Health>, stats: Option<&Stats>) -> Status {
    let tree = Tree {
        document,
        provisioning: view.provisioning,
        serves: health.is_some_and(|health| health.state == InstanceState::Serving),
        stats,
    };
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
        let used = |pool: &Pool| document.listeners.iter().any(|l| l.default_pool == Some(pool.id));
        LoadBalancerStatus {
            id: document.id.to_string(),
            name: document.name.clone(),
            vip_address: document.vip_address.to_string(),
            admin_state_up: document.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: operating(self.serves, document.admin_state_up),
            listeners: document.listeners.iter().map(|l| self.listener(l)).collect(),
            unused_pools: document.pools.iter().filter(|p| !used(p)).map(|p| self.pool(p)).collect(),
        }
    }

    fn listener(&self, listener: &Listener) -> ListenerStatus {
        let up = self.document.admin_state_up && listener.admin_state_up;
        let pool = listener.default_pool.and_then(|id| self.document.pool(id));
        ListenerStatus {
            id: listener.id.to_string(),
            name: listener.name.clone(),
            protocol: listener.protocol.to_string(),
            protocol_port: listener.protocol_port,
            admin_state_up: listener.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: operating(self.serves, up),
            pools: pool.iter().map(|pool| self.pool(pool)).collect(),
        }
    }

    fn pool(&self, pool: &Pool) -> PoolStatus {
        let up = self.document.admin_state_up && pool.admin_state_up;
        let usable = pool.members.iter().any(|m| m.admin_state_up && m.weight > 0);
        PoolStatus {
            id: pool.id.to_string(),
            name: pool.name.clone(),
            lb_algorithm: pool.lb_algorithm.to_string(),
            admin_state_up: pool.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status: operating(self.serves && usable, up),
            members: pool.members.iter().map(|member| self.member(pool, member)).collect(),
        }
    }

    fn member(&self, pool: &Pool, member: &Member) -> MemberStatus {
        let up = self.document.admin_state_up && pool.admin_state_up && member.admin_state_up;
        let operating_status = match (up, member.weight) {
            (false, _) => OperatingStatus::Offline,
            (true, 0) => OperatingStatus::Draining,
            (true, _) => OperatingStatus::NoMonitor,
        };
        let figures = self.stats.and_then(|stats| {
            let pool = stats.pools.iter().find(|p| p.id == pool.id.to_string())?;
            pool.members.iter().find(|m| m.id == member.id.to_string())
        });
        MemberStatus {
            id: member.id.to_string(),
            name: member.name.clone(),
            address: member.address.to_string(),
            protocol_port: member.protocol_port,
            weight: member.weight,
            backup: member.backup,
            admin_state_up: member.admin_state_up,
            provisioning_status: self.provisioning,
            operating_status,
            avoided: figures.is_some_and(|figures| figures.avoided),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;
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
}
