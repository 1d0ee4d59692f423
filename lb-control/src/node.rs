//! What the agent answers on its socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/loadbalancers` | list of [`Summary`] |
//! | `PUT /v1/loadbalancers` (YAML or JSON) | 201 or 200 [`ApplyReply`] once it is stored and served; 422 [`Refused`]; 409 or 500 [`Failed`], and what was served before is served still |
//! | `GET /v1/loadbalancers/{id or name}` | the document, ids and defaults filled in, as it may be applied again |
//! | `DELETE /v1/loadbalancers/{id or name}` | 200 [`DeleteReply`] once nothing of it is left |
//! | `GET /v1/loadbalancers/{id or name}/status` | [`Status`] |
//! | `GET /v1/loadbalancers/{id or name}/stats` | [`crate::stats::Stats`] |
//! | `GET`, `PUT /v1/loadbalancers/{id or name}/persistence` | as the data plane's: its persistence tables as a stream; [`Imported`] |
//! | `GET /v1/loadbalancers/{id or name}/events?row=R&after=N&wait_ms=MS` | [`Events`]: those after number N (of row R, if it is given), waiting for one for MS at most (60000) when there is none yet |
//! | `GET /v1/loadbalancers/{id or name}/events?follow=true&after=N` | `application/x-ndjson`: an [`Event`] a line, first what is kept, then as they happen, until the load balancer is removed |
//! | `GET /v1/events?follow=true` | `application/x-ndjson`: a [`NodeEvent`] a line, of all load balancers, from now on |
//! | `GET /v1/health` | [`AgentHealth`] |
//!
//! A name nobody has: 404 [`NotFound`]; one that several have: 409 [`Failed`], naming their ids. Too many who follow or
//! wait: 503 [`Failed`]. A stream whose reader is too slow is cut, never buffered without bound.

use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use lb_core::health::OperatingStatus;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{Client, ClientError};
use crate::events::{Event, Events};
use crate::instance::{Failed, Imported, Refused};
use crate::lines::Lines;
use crate::stats::{
    CertificateStats, LimitStats, MemberHealth, PersistenceStats, QueueStats, Resolution, ShortageStats, Stats,
};

/// Where the agent listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/weir/agent.sock";

/// Octavia's `provisioning_status`: is what is served what was asked for?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProvisioningStatus {
    /// Yes.
    Active,
    /// Being worked on.
    PendingUpdate,
    /// Being removed.
    PendingDelete,
    /// No; the agent keeps trying.
    Error,
}

/// One load balancer in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its address.
    pub vip_address: String,
    /// Is what is served what was asked for?
    pub provisioning_status: ProvisioningStatus,
    /// Does it work?
    pub operating_status: OperatingStatus,
    /// How many listeners its document has.
    pub listeners: usize,
    /// Process id of its data plane, while one runs.
    pub pid: Option<u32>,
}

/// A document is stored and served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApplyReply {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// False: it replaced an earlier document.
    pub created: bool,
    /// Which document of its data plane's life this is.
    pub generation: u64,
    /// From the request to the last worker's word, in microseconds.
    pub took_us: u64,
}

/// A load balancer is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// Its identity.
    pub id: String,
    /// What people called it.
    pub name: String,
}

/// Nobody has that name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotFound {
    /// In words.
    pub message: String,
    /// Who there is: names, or ids of those without one.
    pub known: Vec<String>,
}

/// The tree of one load balancer, and how its data plane fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The tree.
    pub loadbalancer: LoadBalancerStatus,
    /// What runs for it on this node.
    pub instance: InstanceStatus,
}

/// Root of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadBalancerStatus {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its address.
    pub vip_address: String,
    /// What the operator wants.
    pub admin_state_up: bool,
    /// Is what is served what was asked for?
    pub provisioning_status: ProvisioningStatus,
    /// Does it work?
    pub operating_status: OperatingStatus,
    /// In document order.
    pub listeners: Vec<ListenerStatus>,
    /// Pools no listener names.
    pub unused_pools: Vec<PoolStatus>,
    /// Certificates that are shown, the first to end first.
    #[serde(default)]
    pub certificates: Vec<CertificateStats>,
}

/// One listener with its pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// TCP, HTTP, ...
    pub protocol: String,
    /// Port on the VIP.
    pub protocol_port: u16,
    /// What the operator wants.
    pub admin_state_up: bool,
    /// Is what is served what was asked for?
    pub provisioning_status: ProvisioningStatus,
    /// Does it work?
    pub operating_status: OperatingStatus,
    /// What its limits did since its data plane began.
    #[serde(default)]
    pub limits: LimitStats,
    /// Its L7 policies, in the order of their positions.
    #[serde(default)]
    pub l7policies: Vec<PolicyStatus>,
    /// Where its traffic goes: the default pool, and those of policies.
    pub pools: Vec<PoolStatus>,
}

/// One L7 policy of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// REJECT, ...
    pub action: String,
    /// Counted from 1.
    pub position: u32,
    /// What the operator wants.
    pub admin_state_up: bool,
    /// Requests it matched; none while no data plane tells.
    pub matched: Option<u64>,
}

/// One pool with its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// ROUND_ROBIN, ...
    pub lb_algorithm: String,
    /// What the operator wants.
    pub admin_state_up: bool,
    /// Is what is served what was asked for?
    pub provisioning_status: ProvisioningStatus,
    /// Does it work?
    pub operating_status: OperatingStatus,
    /// How it remembers its clients, as far as its data plane tells.
    #[serde(default)]
    pub persistence: Option<PersistenceStats>,
    /// Who waits for members at their limit.
    #[serde(default)]
    pub queue: QueueStats,
    /// In document order.
    pub members: Vec<MemberStatus>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it listens: an address, or a name.
    pub address: String,
    /// Where it listens.
    pub protocol_port: u16,
    /// Share of new work.
    pub weight: u16,
    /// Used only when no other can be.
    pub backup: bool,
    /// What the operator wants.
    pub admin_state_up: bool,
    /// Is what is served what was asked for?
    pub provisioning_status: ProvisioningStatus,
    /// Does it work?
    pub operating_status: OperatingStatus,
    /// True while live traffic avoids it because it just failed.
    pub avoided: bool,
    /// Requests or connections it works on.
    #[serde(default)]
    pub active_connections: u64,
    /// Most of them at once, as of now; `None`: no limit.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// What its data plane knows of its health; `None`: it did not say.
    #[serde(default)]
    pub health: Option<MemberHealth>,
    /// What its data plane knows of its name; `None`: it has an address, or the data plane did not say.
    #[serde(default)]
    pub resolution: Option<Resolution>,
}

/// Who a load balancer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Named {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
}

/// What happened to one of a node's load balancers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// To which one.
    pub loadbalancer: Named,
    /// What.
    pub event: Event,
}

/// What runs for a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its network namespace.
    pub namespace: String,
    /// Its data plane, while one runs.
    pub pid: Option<u32>,
    /// Milliseconds since that data plane began.
    pub uptime_ms: u64,
    /// Which document it serves.
    pub generation: u64,
    /// How often it was started again after it had died, as far as this agent saw.
    pub restarts: u64,
    /// How the one before ended, in words.
    pub last_exit: Option<String>,
    /// Why it is not as it should be, when it is not.
    pub fault: Option<String>,
    /// What it ran short of, and whom it turned away for it.
    #[serde(default)]
    pub shortage: ShortageStats,
}

/// Is the agent well?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentHealth {
    /// Process id.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// Milliseconds since it began.
    pub uptime_ms: u64,
    /// Documents it keeps.
    pub loadbalancers: usize,
    /// Of those, how many are not served as asked for.
    pub faulty: usize,
}

/// Why the agent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The document is wrong. Nothing changed.
    #[error("{}", .0.rendered)]
    Refused(Refused),
    /// It is sound, but could not be done. Nothing changed.
    #[error("{}", .0.message)]
    Failed(Failed),
    /// Nobody has that name.
    #[error("{}", .0.message)]
    NotFound(NotFound),
    /// The agent did not answer properly.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Asks the agent.
#[derive(Clone, Debug)]
pub struct NodeClient {
    client: Client,
}

impl NodeClient {
    /// `socket`: the agent's, see [`DEFAULT_SOCKET`].
    pub fn new(socket: impl AsRef<Path>) -> Self {
        Self { client: Client::new(socket).with_timeout(Duration::from_secs(60)) }
    }

    /// All load balancers of the node.
    pub async fn list(&self) -> Result<Vec<Summary>, NodeError> {
        self.ask(Method::GET, "/v1/loadbalancers", Bytes::new()).await
    }

    /// Stores and serves a document, YAML or JSON.
    pub async fn apply(&self, text: impl Into<Bytes>) -> Result<ApplyReply, NodeError> {
        self.ask(Method::PUT, "/v1/loadbalancers", text.into()).await
    }

    /// The document of one, as it may be applied again.
    pub async fn document(&self, id_or_name: &str) -> Result<serde_json::Value, NodeError> {
        self.ask(Method::GET, &uri_of(id_or_name, ""), Bytes::new()).await
    }

    /// Removes one.
    pub async fn delete(&self, id_or_name: &str) -> Result<DeleteReply, NodeError> {
        self.ask(Method::DELETE, &uri_of(id_or_name, ""), Bytes::new()).await
    }

    /// The tree of one.
    pub async fn status(&self, id_or_name: &str) -> Result<Status, NodeError> {
        self.ask(Method::GET, &uri_of(id_or_name, "/status"), Bytes::new()).await
    }

    /// The figures of one.
    pub async fn stats(&self, id_or_name: &str) -> Result<Stats, NodeError> {
        self.ask(Method::GET, &uri_of(id_or_name, "/stats"), Bytes::new()).await
    }

    /// The persistence tables of one, to be read piece by piece.
    pub async fn persistence(&self, id_or_name: &str) -> Result<Lines, NodeError> {
        self.open(&uri_of(id_or_name, "/persistence")).await
    }

    /// Has one take up a stream of persistence tables: a whole one, of at most [`crate::server::BODY_BYTES_MAX`].
    pub async fn take_up(&self, id_or_name: &str, stream: Bytes) -> Result<Imported, NodeError> {
        self.ask(Method::PUT, &uri_of(id_or_name, "/persistence"), stream).await
    }

    /// What happened to one after number `after` of row `row` (0: whatever the row).
    pub async fn events(&self, id_or_name: &str, row: u64, after: u64) -> Result<Events, NodeError> {
        let query = if row == 0 { String::new() } else { format!("&row={row}") };
        self.ask(Method::GET, &uri_of(id_or_name, &format!("/events?after={after}{query}")), Bytes::new()).await
    }

    /// What happened to one after number `after`, and what happens from now on: an [`Event`] a line.
    pub async fn follow(&self, id_or_name: &str, after: u64) -> Result<Lines, NodeError> {
        self.open(&uri_of(id_or_name, &format!("/events?follow=true&after={after}"))).await
    }

    /// What happens to all from now on: a [`NodeEvent`] a line.
    pub async fn follow_all(&self) -> Result<Lines, NodeError> {
        self.open("/v1/events?follow=true").await
    }

    /// Is the agent well?
    pub async fn health(&self) -> Result<AgentHealth, NodeError> {
        self.ask(Method::GET, "/v1/health", Bytes::new()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, uri: &str, body: Bytes) -> Result<T, NodeError> {
        let what = format!("{method} {uri}");
        let (status, body) = self.client.send(method, uri, body).await?;
        let path = self.client.path().to_owned();
        if status.is_success() {
            let read = serde_json::from_slice(&body);
            return read.map_err(|source| ClientError::Unexpected { path, what, source }.into());
        }
        Err(refusal(ClientError::Status { path, what, status, body }))
    }

    async fn open(&self, uri: &str) -> Result<Lines, NodeError> {
        self.client.lines(uri).await.map_err(refusal)
    }
}

/// Whatever is not one of ours is shown as it came.
fn refusal(error: ClientError) -> NodeError {
    let read = match &error {
        ClientError::Status { status: StatusCode::UNPROCESSABLE_ENTITY, body, .. } => {
            serde_json::from_slice(body).ok().map(NodeError::Refused)
        }
        ClientError::Status { status: StatusCode::NOT_FOUND, body, .. } => {
            serde_json::from_slice(body).ok().map(NodeError::NotFound)
        }
        ClientError::Status { body, .. } => serde_json::from_slice(body).ok().map(NodeError::Failed),
        _ => None,
    };
    read.unwrap_or(NodeError::Client(error))
}

fn uri_of(id_or_name: &str, rest: &str) -> String {
    format!("/v1/loadbalancers/{}{rest}", percent_encode(id_or_name))
}

/// Keeps RFC 3986's unreserved characters; a name may hold anything.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
        }
    }
    out
}

/// `None`: a `%` without two hexadecimal digits, or bytes that are not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push((digit(bytes.next()?)? * 16 + digit(bytes.next()?)?) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_trip_through_a_uri() {
        for name in ["web", "a b/c", "ünï%41", "", "?#&"] {
            assert_eq!(percent_decode(&percent_encode(name)).as_deref(), Some(name));
        }
        assert_eq!(percent_decode("%4"), None);
        assert_eq!(percent_decode("%zz"), None);
        assert_eq!(percent_decode("%ff"), None);
    }

    #[test]
    fn statuses_are_octavias_words() {
        assert_eq!(serde_json::to_string(&OperatingStatus::NoMonitor).unwrap(), "\"NO_MONITOR\"");
        assert_eq!(serde_json::to_string(&ProvisioningStatus::PendingUpdate).unwrap(), "\"PENDING_UPDATE\"");
    }
}
