//! What would become of a request, asked of a data plane or of the agent, who passes it on: `POST /v1/explain` with a [`Question`],
//! answered with an [`Explanation`]. Nothing changes by asking.
//!
//! A question that makes no sense: 400 [`crate::instance::Failed`]. A listener nobody has: 404 [`crate::node::NotFound`]; one that
//! several load balancers have: 409 [`crate::instance::Failed`].

use std::net::IpAddr;

use lb_core::health::OperatingStatus;
use serde::{Deserialize, Serialize};

/// Where it is asked.
pub const PATH: &str = "/v1/explain";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Name or id of the load balancer; only the agent looks at it, and only where several have such a listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loadbalancer: Option<String>,
    /// Name or id of the listener.
    pub listener: String,
    /// Where the client connects from.
    pub from: IpAddr,
    /// Its port; matters where a pool chooses by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What it asks for; not where bytes are relayed unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Sketch>,
    /// The server its ClientHello asks for, where TLS is passed through; else the host of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Fields of its request, `Cookie` among them. Where bytes are relayed, a `Cookie` is what a remote desktop client says first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// The method.
    pub method: String,
    /// The target, as a client sends it: `/path?query`.
    pub target: String,
}

/// What would become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The listener that was asked about.
    pub listener: Named,
    /// What it speaks: Octavia's word.
    pub protocol: String,
    /// What its limits say, in the order they are asked. The last one may be what it is refused by.
    pub checks: Vec<Check>,
    /// What the listener's policies say, as far as they are asked, in that order.
    #[serde(default)]
    pub policies: Vec<PolicyView>,
    /// Whose members would serve it; `None`: it does not come so far, or there is no pool.
    pub pool: Option<PoolChoice>,
    /// Whether the pool remembers the client; `None`: it remembers nobody.
    pub persistence: Option<Remembered>,
    /// All members of the pool: first those who would get it, one after the other if none could be reached; then those that could
    /// be chosen, too; then those that could not.
    pub members: Vec<Candidate>,
    /// Where it would go.
    pub verdict: Verdict,
}

/// An object of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its key in a document, or what else is looked at.
    pub check: String,
    /// What it says.
    pub says: Says,
    /// Why, in words.
    pub words: String,
}

/// What a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Says {
    /// Come in.
    Pass,
    /// Wait until there is a place.
    Wait,
    /// No.
    Refuse,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Its id.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Octavia's word for what it does.
    pub action: String,
    /// All its rules hold.
    pub matches: bool,
    /// Its rules; or the first of them that does not hold.
    pub words: String,
}

/// A pool, and why this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolChoice {
    /// Its id.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Octavia's word for its algorithm.
    pub lb_algorithm: String,
    /// Why this one.
    pub why: String,
    /// What the algorithm goes by.
    pub by: String,
}

/// What persistence says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Octavia's word for it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The client belongs to a member that may have it.
    pub hit: bool,
    /// The member it belongs to, if it is one of the pool's: also where that one may not have it.
    pub member: Option<Named>,
    /// Why.
    pub words: String,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Stands {
    /// It would get the request.
    Picked,
    /// It could.
    Candidate,
    /// It could not.
    LeftOut,
}

/// A member as whoever chooses sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
    /// `IP:PORT`; empty while its name leads nowhere.
    pub address: String,
    /// Its weight, as the document says.
    pub weight: u16,
    /// What of it it gets, in thousandths: slow start and its agent have a say.
    pub share_permille: u32,
    /// Only when no ordinary member can.
    pub backup: bool,
    /// Octavia's word for it.
    pub operating_status: OperatingStatus,
    /// Requests (HTTP) or connections (TCP) it works on.
    pub active_connections: u32,
    /// Most of them; `None`: no limit.
    pub max_connections: Option<u32>,
    /// How it stands.
    pub stands: Stands,
    /// Whose turn it is, counted from 1, if those before it cannot be reached; `None`: nobody can know, or it has none.
    pub turn: Option<u32>,
    /// Why it is left out, or what is peculiar about it; may be empty.
    pub words: String,
}

/// Where it would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In one word.
    pub outcome: Outcome,
    /// The member it goes to, or waits for.
    pub member: Option<Named>,
    /// What the client is answered by the data plane itself; `None`: nothing, or its connection is reset.
    pub status: Option<u16>,
    /// In words.
    pub words: String,
}

/// Where it would go, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// To a member.
    Member,
    /// To one of the candidates; which one nobody can know.
    OneOf,
    /// It waits for a member.
    Waits,
    /// A policy answers it.
    Answered,
    /// It is refused by a limit, or by a policy that closes, before any member.
    Refused,
    /// There is no member for it.
    NoMember,
}
