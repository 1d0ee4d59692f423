//! The document as written: every key optional, nothing defaulted. The only description of what may be written:
//! the JSON Schema is generated from these types, the check is compiled from that schema, and the doc comments
//! are the schema's descriptions.
//!
//! Every mapping carries `at`, the node it was written at, which `tree::Tree::value` puts there and the schema
//! does not show; with it the border to `config` finds the place of any key.

mod hashing;
mod l7;
mod limits;
mod listener;
mod monitor;
mod persistence;
mod pool;
mod proxy_protocol;
mod retry;
mod seconds;
mod text;
mod tls;

pub(super) use hashing::{HashFunction, HashTable, Hashing, LbAlgorithm};
pub(super) use l7::{CompareType, L7Policy, L7Rule, Mirror, PolicyAction, RewritePathPrefix, RuleType};
pub(super) use limits::{ClientLimits, OnConnectionLimit};
pub(super) use listener::{ErrorPages, Flag, InsertHeaders, Listener, ListenerProtocol, LogFormat, LogSetting};
pub(super) use monitor::{
    AgentCheck, Codes, Headers, HealthMonitor, HttpMethod, HttpVersion, MonitorType, Observe, ObservedLayer,
    OnMarkedDown, ProxyVersion,
};
pub(super) use persistence::{CookieMode, InUrl, PersistenceType, SameSite, SessionPersistence};
pub(super) use pool::{Member, Pool, PoolProtocol};
pub(super) use proxy_protocol::ProxyProtocol;
pub(super) use retry::{Retry, RetryOn};
pub(super) use seconds::Seconds;
pub(super) use text::{Line, Text};
pub(super) use tls::{AlpnProtocol, ClientAuthentication, TlsVersion};

use schemars::JsonSchema;
use serde::Deserialize;

use super::tree::NodeId;
use super::{LISTENERS_MAX, POOLS_MAX, RESOLVERS_MAX};
use crate::config::WORKERS_MAX;
use crate::id::LoadBalancerId;

/// A VIP with everything behind it, in the shape and words of Octavia's fully populated load balancer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Weir document")]
pub(super) struct Document {
    /// The load balancer.
    #[schemars(with = "LoadBalancer")]
    pub(super) loadbalancer: Option<LoadBalancer>,
}

/// One VIP, its listeners and its pools.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadBalancer {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(super) at: NodeId,
    /// Its UUID. Without one it is derived from the name, or from the address when there is no name.
    pub(super) id: Option<LoadBalancerId>,
    /// What people call it.
    pub(super) name: Option<Line>,
    /// Free text.
    pub(super) description: Option<Text>,
    /// The project (tenant) it belongs to; recorded, not interpreted.
    pub(super) project_id: Option<Line>,
    /// The IPv4 or IPv6 address that its listeners bind.
    #[schemars(with = "Line")]
    pub(super) vip_address: Option<Line>,
    /// The subnet the VIP is plugged into. Wins over `vip_network_id`.
    pub(super) vip_subnet_id: Option<Line>,
    /// The network the VIP is plugged into.
    pub(super) vip_network_id: Option<Line>,
    /// The port the VIP was given; accepted and ignored.
    #[expect(dead_code, reason = "accepted so that Octavia's documents fit")]
    pub(super) vip_port_id: Option<Line>,
    /// Octavia's provider driver; accepted and ignored: this one serves it.
    #[expect(dead_code, reason = "accepted so that Octavia's documents fit")]
    pub(super) provider: Option<Line>,
    /// False: nothing is bound. Default: true.
    pub(super) admin_state_up: Option<bool>,
    /// Labels; recorded, not interpreted.
    pub(super) tags: Option<Vec<Line>>,
    /// What is served on the VIP.
    #[schemars(length(max = LISTENERS_MAX))]
    pub(super) listeners: Option<Vec<Listener>>,
    /// Pools that listeners share, by name or id.
    #[schemars(length(max = POOLS_MAX))]
    pub(super) pools: Option<Vec<Pool>>,
    /// Extension: data threads. Default: one for each processor.
    #[schemars(range(min = 1, max = WORKERS_MAX))]
    pub(super) workers: Option<u16>,
    /// Extension: DNS servers (`10.0.0.53`, or `10.0.0.53:5353`) that are asked for members' names. Default: those of
    /// `/etc/resolv.conf`, after `/etc/hosts`.
    #[schemars(length(max = RESOLVERS_MAX))]
    pub(super) resolvers: Option<Vec<Line>>,
}
