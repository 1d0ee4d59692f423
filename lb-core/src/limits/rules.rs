//! A listener's limits, compiled: what workers look at for each connection and each request.

use std::net::IpAddr;

use super::cidr::{CidrSet, mask_v6};
use super::rate::Rate;
use crate::config::limits::{BodyRate, HeadLimits, ListenerLimits, OnConnectionLimit};

/// See the module.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may come; `None`: everybody.
    pub allowed: Option<CidrSet>,
    /// Whoever comes while the listener is full.
    pub on_connection_limit: OnConnectionLimit,
    /// What each client may take; `None`: whatever it wants.
    pub clients: Option<Box<ClientRules>>,
    /// How large a request's head may be.
    pub heads: HeadLimits,
    /// How fast bodies have to move; `None`: at any pace.
    pub body_rate: Option<BodyRate>,
}

impl Rules {
    /// Compiles `limits`.
    pub fn new(limits: &ListenerLimits) -> Self {
        let clients = limits.clients.as_ref().map(|written| {
            Box::new(ClientRules {
                connections: written.connections,
                connection_rate: written.connection_rate,
                request_rate: written.request_rate,
                ipv6_prefix: written.ipv6_prefix,
                exempt: CidrSet::new(&written.exempt),
                table_size: written.table_size,
            })
        });
        Self {
            allowed: (!limits.allowed_cidrs.is_empty()).then(|| CidrSet::new(&limits.allowed_cidrs)),
            on_connection_limit: limits.on_connection_limit,
            clients,
            heads: limits.heads,
            body_rate: limits.body_rate,
        }
    }

    /// True if a client of that address may come at all.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(client))
    }
}

/// What one client may take.
#[derive(Clone, Debug)]
pub struct ClientRules {
    /// Connections at once.
    pub connections: Option<u32>,
    /// New connections.
    pub connection_rate: Option<Rate>,
    /// Requests.
    pub request_rate: Option<Rate>,
    /// So many bits of an IPv6 address are one client.
    pub ipv6_prefix: u8,
    /// Who is not held to any of it.
    pub exempt: CidrSet,
    /// Most clients that are known at once.
    pub table_size: u32,
}

/// Whom limits are held against: an IPv4 address, or the network an IPv6 address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey(pub(super) u128);

impl ClientRules {
    /// Whom `address` counts for; `None`: nobody, it is exempt.
    pub fn key(&self, address: IpAddr) -> Option<ClientKey> {
        if self.exempt.contains(address) {
            return None;
        }
        Some(ClientKey(match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits() & mask_v6(self.ipv6_prefix),
        }))
    }
}
