//! What there is of a load balancer on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lb_core::config::LoadBalancer;

use crate::desired::Plug;

/// Everything of one load balancer, as observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actual {
    /// Our mark is there: what has this load balancer's names was made by an agent with our run folder.
    pub marked: bool,
    /// Is there a namespace of its name?
    pub namespace: bool,
    /// How its VIP is plugged; `None`: not, or only half.
    pub plug: Option<Plugged>,
    /// Listening sockets the agent holds, by address.
    pub sockets: BTreeMap<SocketAddr, usize>,
    /// Its data plane.
    pub instance: Instance,
}

/// A VIP's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// Addresses on the inner end, without link-local ones.
    pub addresses: BTreeSet<(IpAddr, u8)>,
    /// Link the outer end belongs to.
    pub bridge: Option<String>,
    /// Both ends are up, and routes were set by this agent.
    pub ready: bool,
}

impl Plugged {
    /// Is everything there that `plug` asks for? There may be more.
    pub fn satisfies(&self, plug: &Plug) -> bool {
        self.ready
            && self.bridge.as_deref() == Some(plug.bridge.as_str())
            && self.addresses.contains(&(plug.vip, plug.prefix_len))
    }
}

/// A data plane.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Instance {
    /// None runs.
    #[default]
    Absent,
    /// One runs that an earlier agent started; nothing is known of it.
    Found,
    /// One runs and is watched.
    Running {
        /// What it serves, as far as is known.
        served: Option<Arc<LoadBalancer>>,
        /// How many sockets of each address it was given.
        offered: BTreeMap<SocketAddr, usize>,
    },
}
