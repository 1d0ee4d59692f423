//! What a load balancer's document asks of this node.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lb_core::config::LoadBalancer;
use lb_core::id::LoadBalancerId;

use crate::config::{Network, NoNetwork};

/// One document and all that follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// What is to be served.
    pub document: Arc<LoadBalancer>,
    /// How the VIP is plugged.
    pub plug: Plug,
    /// Where the data plane listens, and with how many sockets where none are open yet.
    pub sockets: BTreeMap<SocketAddr, usize>,
}

/// How a VIP is plugged into its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// Its address.
    pub vip: IpAddr,
    /// Length of the network's prefix.
    pub prefix_len: u8,
    /// Default route.
    pub gateway: Option<IpAddr>,
    /// Link the outer end belongs to.
    pub bridge: String,
    /// Make the bridge when it is missing.
    pub create_bridge: bool,
    /// Of both ends; `None`: the kernel's.
    pub mtu: Option<u32>,
}

impl Desired {
    /// `processors`: sockets for each address when the document does not say how many workers.
    pub fn new(document: Arc<LoadBalancer>, network: &Network, processors: usize) -> Self {
        let count = document.workers.map_or(processors, usize::from).max(1);
        let plug = Plug {
            vip: document.vip_address,
            prefix_len: network.cidr.prefix_len,
            gateway: network.gateway,
            bridge: network.bridge.clone(),
            create_bridge: network.create_bridge,
            mtu: network.mtu,
        };
        Self { plug, sockets: document.sockets().map(|addr| (addr, count)).collect(), document }
    }

    /// As [`Desired::new`], on the network the document belongs to.
    pub fn on(
        networks: &crate::config::Config,
        document: Arc<LoadBalancer>,
        processors: usize,
    ) -> Result<Self, NoNetwork> {
        let network = networks.network_of(document.vip_address, document.vip_network.as_deref())?;
        Ok(Self::new(document, network, processors))
    }
}

/// Name of a load balancer's network namespace.
pub fn namespace_of(id: LoadBalancerId) -> String {
    format!("qlbaas-{id}")
}

/// Name of the end of the VIP's link that is inside, and holds the address.
pub fn inner_link_of(id: LoadBalancerId) -> String {
    format!("ns-{}", short(id))
}

/// Name of the end that is plugged into the bridge.
pub fn outer_link_of(id: LoadBalancerId) -> String {
    format!("lb-{}", short(id))
}

/// Linux takes 15 characters; OpenStack's names have 14.
fn short(id: LoadBalancerId) -> String {
    id.to_string().chars().take(11).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        let id = LoadBalancerId::for_name("web");
        assert_eq!(inner_link_of(id).len(), 14);
        assert!(namespace_of(id).starts_with("qlbaas-"));
        assert_ne!(inner_link_of(id), outer_link_of(id));
    }
}
