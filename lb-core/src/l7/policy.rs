//! The policies of one listener: which of them match a request, and what is done.
//!
//! The order is that of the program we replace, whatever the positions say: first those that REJECT, then redirects to a URL
//! or a prefix, then those that choose a pool; among each of these by position. The first that matches decides. Between
//! redirects and pools come all that PASS: they decide nothing, and whatever they change is changed together with what the
//! one changes that chose the pool.

use std::sync::Arc;

use super::change::{Change, Changes};
use super::rule::{Asked, Rule};
use crate::config::l7::{Action as Written, L7Policy};
use crate::id::{L7PolicyId, PoolId};
use crate::member::{PerWorker, PolicyCell};
use crate::request::Parts;
use crate::snapshot::PoolIndex;

/// Place of a policy in [`ListenerPolicies::policies`].
pub type PolicyIndex = usize;

/// All policies of a listener, compiled.
#[derive(Debug)]
pub struct ListenerPolicies {
    /// In the order of their positions, also those that are administratively down.
    pub policies: Box<[Policy]>,
    /// Those that can match, in the order they are asked.
    order: Box<[PolicyIndex]>,
    /// What some of them change, in that order. At most 64.
    changes: Box<[Change]>,
    /// Some of those that can match look at the host.
    asks_host: bool,
}

/// A policy, compiled.
#[derive(Debug)]
pub struct Policy {
    /// Identity.
    pub id: L7PolicyId,
    /// Name, or the id if it has none: what logs show.
    pub label: Arc<str>,
    /// What is done.
    pub action: Action,
    /// Figures, one writer each.
    pub cells: PerWorker<PolicyCell>,
    /// None: it matches nothing.
    rules: Arc<[Rule]>,
    /// Its place in the changes of all, as a bit; 0: it changes nothing.
    changes: u64,
}

/// What is done with a request that a policy matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is refused.
    Reject,
    /// The client is sent to this URL.
    ToUrl(Box<[u8]>, u16),
    /// The client is sent to this, followed by path and query.
    ToPrefix(Box<[u8]>, u16),
    /// Members of this pool serve it.
    ToPool(PoolIndex),
    /// Nothing but what is changed.
    Pass,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The policy that decided; `None`: the listener's default pool serves it.
    pub by: Option<PolicyIndex>,
    changes: u64,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To members of that pool; `None`: there is none.
    Pool(Option<PoolIndex>),
    /// Nowhere: the policy that decided says what is answered.
    AnsweredHere,
}

impl Decision {
    /// True if nothing of the request or its answer is changed.
    pub fn changes_nothing(&self) -> bool {
        self.changes == 0
    }
}

impl ListenerPolicies {
    /// Compiles `policies`. `previous` are those of the listener before, with what they were compiled from: expressions of
    /// rules that stay are not compiled again, and figures go on. `place_of` finds a pool that may serve.
    pub fn build(
        policies: &[L7Policy],
        previous: Option<(&Self, &[L7Policy])>,
        workers: usize,
        place_of: &dyn Fn(PoolId) -> Option<PoolIndex>,
    ) -> Self {
        let compiled: Box<[Policy]> =
            policies.iter().map(|policy| Policy::build(policy, previous, workers, place_of)).collect();
        let mut order: Vec<PolicyIndex> = (0..compiled.len()).filter(|i| !compiled[*i].rules.is_empty()).collect();
        order.sort_by_key(|i| compiled[*i].action.turn());
        let asks_host = order.iter().any(|i| compiled[*i].rules.iter().any(Rule::asks_host));
        let mut these = Self { policies: compiled, order: order.into(), changes: Box::default(), asks_host };
        let changing = these.order.iter().copied().filter(|i| policies[*i].is_changing());
        let changing: Vec<PolicyIndex> = changing.take(u64::BITS as usize).collect();
        for (bit, i) in changing.iter().enumerate() {
            these.policies[*i].changes = 1 << bit;
        }
        these.changes = changing.into_iter().map(|i| Change::build(i, &policies[i], place_of)).collect();
        these
    }

    /// What becomes of a request. `matched` is told of every policy that matches, as far as they are asked.
    pub fn decide<P: Parts>(&self, asked: &Asked<'_, P>, matched: impl FnMut(PolicyIndex)) -> Decision {
        self.decide_telling(asked, matched, |_, _| ())
    }

    /// The same, and `failed` is told of every other policy that is asked, and of its first rule that does not hold: the
    /// place of that among those that are administratively up.
    #[inline]
    pub fn decide_telling<P: Parts>(
        &self,
        asked: &Asked<'_, P>,
        mut matched: impl FnMut(PolicyIndex),
        mut failed: impl FnMut(PolicyIndex, usize),
    ) -> Decision {
        let mut changes = 0;
        for i in self.order.iter().copied() {
            let policy = &self.policies[i];
            if let Some(rule) = policy.rules.iter().position(|rule| !rule.holds(asked)) {
                failed(i, rule);
                continue;
            }
            matched(i);
            changes |= policy.changes;
            if policy.action != Action::Pass {
                return Decision { by: Some(i), changes };
            }
        }
        Decision { by: None, changes }
    }

    /// Where a request so decided goes, of a listener with this default pool.
    pub fn way(&self, decision: Decision, default: Option<PoolIndex>) -> Way {
        match self.of(decision).map(|policy| &policy.action) {
            None | Some(Action::Pass) => Way::Pool(default),
            Some(Action::ToPool(pool)) => Way::Pool(Some(*pool)),
            Some(Action::Reject | Action::ToUrl(..) | Action::ToPrefix(..)) => Way::AnsweredHere,
        }
    }

    /// The policy that decided, if one did.
    pub fn of(&self, decision: Decision) -> Option<&Policy> {
        self.policies.get(decision.by?)
    }

    /// What those that matched change.
    pub fn changes(&self, decision: Decision) -> Changes<'_> {
        Changes::of(&self.changes, decision.changes)
    }

    /// True if the host can matter. Where bytes are relayed, it is waited for then.
    pub fn asks_host(&self) -> bool {
        self.asks_host
    }

    /// Every pool that some policy can choose.
    pub fn pools(&self) -> impl Iterator<Item = PoolIndex> + '_ {
        self.order.iter().filter_map(|i| match self.policies[*i].action {
            Action::ToPool(pool) => Some(pool),
            _ => None,
        })
    }
}

impl Policy {
    fn build(
        policy: &L7Policy,
        previous: Option<(&ListenerPolicies, &[L7Policy])>,
        workers: usize,
        place_of: &dyn Fn(PoolId) -> Option<PoolIndex>,
    ) -> Self {
        let old = previous.and_then(|(compiled, written)| {
            let place = compiled.policies.iter().position(|known| known.id == policy.id)?;
            Some((&compiled.policies[place], written.get(place)?))
        });
        let (action, can_match) = match &policy.action {
            Written::Reject => (Action::Reject, true),
            Written::ToUrl { url, code } => (Action::ToUrl(url.as_bytes().into(), code.status()), true),
            Written::ToPrefix { prefix, code } => (Action::ToPrefix(prefix.as_bytes().into(), code.status()), true),
            Written::ToPool(pool) => place_of(*pool).map_or((Action::Pass, false), |i| (Action::ToPool(i), true)),
            Written::Pass => (Action::Pass, true),
        };
        let as_before = old.filter(|(_, written)| written.rules == policy.rules && written.admin_state_up);
        let rules = match as_before {
            _ if !policy.admin_state_up || !can_match => Arc::default(),
            Some((known, _)) if !known.rules.is_empty() => Arc::clone(&known.rules),
            _ => compiled(policy),
        };
        Self {
            id: policy.id,
            label: policy.label().into(),
            action,
            cells: old.map_or_else(|| PerWorker::new(workers), |(known, _)| known.cells.grown(workers)),
            rules,
            changes: 0,
        }
    }
}

/// Its rules; none if one of them does not compile, so that it matches nothing rather than too much.
fn compiled(policy: &L7Policy) -> Arc<[Rule]> {
    let up = policy.rules.iter().filter(|rule| rule.admin_state_up);
    up.map(Rule::build).collect::<Option<_>>().unwrap_or_default()
}

impl Action {
    /// In which turn it is asked.
    fn turn(&self) -> u8 {
        match self {
            Self::Reject => 0,
            Self::ToUrl(..) | Self::ToPrefix(..) => 1,
            Self::Pass => 2,
            Self::ToPool(_) => 3,
        }
    }
}
