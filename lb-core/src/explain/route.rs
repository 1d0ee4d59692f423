//! Which pool serves, and who says so.

use std::cell::Cell;
use std::net::IpAddr;

use crate::l7::{Asked, PolicyIndex, TlsFacts, Way};
use crate::request::Parts;
use crate::snapshot::ListenerSnapshot;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it goes.
    pub way: Way,
    /// The policy that says so; `None`: it is the listener's default pool.
    pub by: Option<PolicyIndex>,
    /// What each policy says that is asked, in that order.
    pub policies: Vec<(PolicyIndex, Says)>,
    /// Some of them draw: this is told of a request that none of those matches.
    pub draws: bool,
}

/// What a policy says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// All its rules hold.
    Matches,
    /// This one does not: its place among those that are administratively up.
    Fails(usize),
}

/// Where `listener` sends a request of `client`.
pub fn route<P: Parts>(listener: &ListenerSnapshot, parts: &P, client: IpAddr, tls: TlsFacts<'_>) -> Route {
    let Some(policies) = listener.policies.as_deref() else {
        return Route { way: Way::Pool(listener.pool), by: None, policies: Vec::new(), draws: false };
    };
    let drawn = Cell::new(false);
    // No share of a hundred goes so far.
    let draw = || {
        drawn.set(true);
        u64::MAX
    };
    let said = Cell::new(Vec::new());
    let note = |policy: PolicyIndex, says: Says| {
        let mut all = said.take();
        all.push((policy, says));
        said.set(all);
    };
    let asked = Asked::new(parts, client, tls, &draw);
    let matched = |policy| note(policy, Says::Matches);
    let decision = policies.decide_telling(&asked, matched, |policy, rule| note(policy, Says::Fails(rule)));
    Route { way: policies.way(decision, listener.pool), by: decision.by, policies: said.take(), draws: drawn.get() }
}
