//! L7 policies crossing the border.

use super::l7_change::Own;
use super::listener::Key;
use super::pool::Standing;
use super::unique::Identity;
use super::{Border, NodeId, line, lines, text, types};
use crate::config::ListenerProtocol;
use crate::config::l7::{Action, CHANGING_MAX, L7Policy, L7Rule, Mirror, RedirectCode};
use crate::id::{L7PolicyId, L7RuleId, ListenerId, LoadBalancerId, PoolId};
use crate::spec::mistake::shown;
use crate::spec::near::nearest;

/// The listener that policies stand in.
#[derive(Clone, Copy)]
pub(super) struct Home<'h> {
    pub(super) load_balancer: LoadBalancerId,
    pub(super) listener: ListenerId,
    pub(super) key: Key<'h>,
    pub(super) protocol: Option<ListenerProtocol>,
    pub(super) own: Own,
}

/// What belongs to an action: the key that says where to, and the actions that use it.
const TARGETS: [(&str, &[types::PolicyAction]); 5] = [
    ("redirect_pool", &[types::PolicyAction::RedirectToPool]),
    ("redirect_pool_id", &[types::PolicyAction::RedirectToPool]),
    ("redirect_url", &[types::PolicyAction::RedirectToUrl]),
    ("redirect_prefix", &[types::PolicyAction::RedirectPrefix]),
    ("redirect_http_code", &[types::PolicyAction::RedirectToUrl, types::PolicyAction::RedirectPrefix]),
];

/// Keys that change requests or answers.
pub(super) const CHANGING: [&str; 8] = [
    "remove_request_headers",
    "set_request_headers",
    "append_request_headers",
    "remove_response_headers",
    "set_response_headers",
    "append_response_headers",
    "rewrite_path_prefix",
    "mirror",
];

impl Border<'_> {
    /// In the order of their positions. `None` if one of them lacks what it needs, which is reported.
    pub(super) fn l7policies(
        &mut self,
        at: NodeId,
        written: Option<Vec<types::L7Policy>>,
        home: Home<'_>,
    ) -> Option<Vec<L7Policy>> {
        let written = written.unwrap_or_default();
        self.may_have_policies(at, !written.is_empty(), home.protocol);
        let count = written.len();
        let places: Vec<NodeId> = written.iter().map(|policy| policy.at).collect();
        let mut read: Vec<(u32, L7Policy)> = Vec::with_capacity(count);
        for (place, policy) in written.into_iter().enumerate() {
            let position = policy.position.unwrap_or(u32::MAX);
            read.extend(self.l7policy(policy, place, home).map(|policy| (position, policy)));
        }
        if read.len() < count {
            return None;
        }
        if let Some(over) = (0..count).filter(|i| read[*i].1.is_changing()).nth(CHANGING_MAX) {
            let message = format!("more than {CHANGING_MAX} policies of this listener change requests or answers");
            self.mistake(self.tree.spot(places[over]), message, "let one policy change more".to_owned());
        }
        read.sort_by_key(|(position, _)| *position);
        Some(read.into_iter().map(|(_, policy)| policy).collect())
    }

    fn l7policy(&mut self, mut policy: types::L7Policy, place: usize, home: Home<'_>) -> Option<L7Policy> {
        let at = policy.at;
        let name = line(policy.name.take());
        let key = if name.is_empty() { place.to_string() } else { name.clone() };
        let explicit = policy.id.is_some();
        let id = policy.id.unwrap_or_else(|| L7PolicyId::derived(home.listener.0, &key));
        let identity = Identity { kind: "L7 policy", at, id: id.0, explicit, doubled: home.key.doubled };
        let doubled = self.doubled_id(&identity, |b| &mut b.unique.policy_ids);
        self.only_keys_of_policy(&policy);
        self.only_what_is_relayed(&policy, home.protocol);
        let written = policy.rules.take().unwrap_or_default();
        let count = written.len();
        let rules: Vec<L7Rule> = written
            .into_iter()
            .enumerate()
            .filter_map(|(place, rule)| {
                self.l7rule(rule, L7RuleId::derived(id.0, &place.to_string()), doubled, home.protocol)
            })
            .collect();
        let changes = self.changes(&mut policy, home.own);
        let mirror = match policy.mirror.take() {
            Some(mirror) => Some(self.mirror(mirror, home)?),
            None => None,
        };
        let action = self.policy_action(&mut policy, &key, home);
        if rules.len() < count {
            return None;
        }
        Some(L7Policy {
            id,
            name,
            description: text(policy.description),
            admin_state_up: policy.admin_state_up.unwrap_or(true),
            action: action?,
            rules,
            changes,
            mirror,
            tags: lines(policy.tags),
        })
    }

    /// Reports keys that do nothing for a policy of this action.
    fn only_keys_of_policy(&mut self, policy: &types::L7Policy) {
        let Some(action) = policy.action else { return };
        let at = policy.at;
        let written = |key: &str| {
            let entry = self.tree.entry(at, key);
            entry.is_some_and(|entry| !self.tree.is_null(entry.value) && !self.tree.is_rejected(entry.value))
        };
        let idle = TARGETS.iter().filter(|(key, actions)| !actions.contains(&action) && written(key));
        let mut faults: Vec<(&str, String)> = idle
            .map(|(key, actions)| {
                let words: Vec<&str> = actions.iter().map(|action| word(*action)).collect();
                let message =
                    format!("`{key}` is only for {}, and this policy is {}", words.join(" and "), word(action));
                (*key, message)
            })
            .collect();
        if !matches!(action, types::PolicyAction::Pass | types::PolicyAction::RedirectToPool) {
            let idle = CHANGING.iter().filter(|key| written(key));
            faults.extend(idle.map(|key| {
                let message = format!("`{key}` does nothing for {}: the request goes no further", word(action));
                (*key, message)
            }));
        }
        for (key, message) in faults {
            self.mistake(self.tree.spot_of_key(at, key), message, "leave it out".to_owned());
        }
    }

    fn policy_action(&mut self, policy: &mut types::L7Policy, key: &str, home: Home<'_>) -> Option<Action> {
        let at = policy.at;
        let code = self.redirect_code(at, policy.redirect_http_code);
        Some(match policy.action? {
            types::PolicyAction::Reject => Action::Reject,
            types::PolicyAction::Pass => Action::Pass,
            types::PolicyAction::RedirectToPool => Action::ToPool(self.redirect_pool(policy, key, home)?),
            types::PolicyAction::RedirectToUrl => {
                let url = self.redirect_to(at, "redirect_url", policy.redirect_url.take())?;
                Action::ToUrl { url, code }
            }
            types::PolicyAction::RedirectPrefix => {
                let prefix = self.redirect_to(at, "redirect_prefix", policy.redirect_prefix.take())?;
                Action::ToPrefix { prefix, code }
            }
        })
    }

    fn redirect_code(&mut self, at: NodeId, written: Option<u16>) -> RedirectCode {
        let written = written.unwrap_or(RedirectCode::Found.status());
        RedirectCode::try_from(written).unwrap_or_else(|why| {
            let spot = self.tree.spot_of(at, "redirect_http_code");
            self.mistake(spot, format!("{written} is no redirect that a policy makes"), why.to_owned());
            RedirectCode::Found
        })
    }

    fn redirect_to(&mut self, at: NodeId, key: &str, written: Option<types::Line>) -> Option<String> {
        let Some(types::Line(url)) = written else {
            self.lacks(at, key, "a policy that redirects says where to");
            return None;
        };
        let after = |scheme: &str| {
            let begins = url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
            begins.then(|| &url[scheme.len()..])
        };
        let host = after("http://").or_else(|| after("https://"));
        let fault = if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            Some(("a URL has no spaces and only ASCII characters", "write others like `%20`"))
        } else if host.is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            Some(("this is no absolute URL", "like `https://www.example.org/`"))
        } else if key == "redirect_prefix" && url.contains(['?', '#']) {
            Some(("path and query of the request follow a prefix", "leave out `?`, `#` and what follows"))
        } else {
            None
        };
        if let Some((message, help)) = fault {
            self.mistake(self.tree.spot_of(at, key), message, help.to_owned());
        }
        Some(url)
    }

    /// Reports a key that this object cannot do without, unless it is there, maybe mistyped, and has been reported.
    pub(super) fn lacks(&mut self, at: NodeId, key: &str, help: &str) {
        let reported = self.tree.entries(at).iter().filter(|entry| self.tree.is_rejected(entry.value));
        if !reported.into_iter().any(|entry| nearest(&entry.key, [key]).is_some()) {
            self.mistake(self.tree.spot(at), format!("`{key}` is missing"), help.to_owned());
        }
    }

    fn redirect_pool(&mut self, policy: &mut types::L7Policy, key: &str, home: Home<'_>) -> Option<PoolId> {
        let at = policy.at;
        let (index, spot) = match (policy.redirect_pool.take(), policy.redirect_pool_id) {
            (Some(pool), by_id) => {
                if by_id.is_some() {
                    let spot = self.tree.spot_of_key(at, "redirect_pool_id");
                    self.mistake(spot, "both `redirect_pool` and `redirect_pool_id` are given", "keep one".to_owned());
                }
                if self.is_reference(pool.at) {
                    self.reference(&pool)?
                } else {
                    let inner = pool.at;
                    let text = format!("policy {key} of {}", home.key.text);
                    let standing = Standing { shared: false, key: &text, doubled: home.key.doubled };
                    let index = self.pool(home.load_balancer, pool, standing);
                    (index, self.tree.spot_of(inner, "protocol"))
                }
            }
            (None, Some(id)) => {
                let spot = self.tree.spot_of(at, "redirect_pool_id");
                (self.shared(spot.clone(), Some(id), "")?, spot)
            }
            (None, None) => {
                if !self.tree.is_lost(at, "redirect_pool") {
                    self.lacks(at, "redirect_pool_id", "give `redirect_pool` or `redirect_pool_id`");
                }
                return None;
            }
        };
        self.fits(index, spot, home)
    }

    fn fits(&mut self, index: usize, spot: super::Spot, home: Home<'_>) -> Option<PoolId> {
        let pool = &self.pools[index];
        let id = pool.id;
        if let (Some(listener), Some(pool)) = (home.protocol, pool.protocol)
            && self.pair(listener, pool, spot.clone())
        {
            self.cookies_are_read(listener, index, spot.clone());
            self.sees_what_is_hashed(listener, index, spot);
        }
        Some(id)
    }

    fn mirror(&mut self, mirror: types::Mirror, home: Home<'_>) -> Option<Mirror> {
        let pool = mirror.pool?;
        let (index, spot) = self.reference(&pool)?;
        Some(Mirror { pool: self.fits(index, spot, home)?, percent: mirror.percent.unwrap_or(100) })
    }

    fn l7rule(
        &mut self,
        mut rule: types::L7Rule,
        derived: L7RuleId,
        doubled: bool,
        protocol: Option<ListenerProtocol>,
    ) -> Option<L7Rule> {
        let at = rule.at;
        let explicit = rule.id.is_some();
        let id = rule.id.unwrap_or(derived);
        let identity = Identity { kind: "L7 rule", at, id: id.0, explicit, doubled };
        self.doubled_id(&identity, |b| &mut b.unique.rule_ids);
        let written = rule.kind;
        let test = self.test(&mut rule);
        if protocol == Some(ListenerProtocol::Https) {
            self.rule_of_connection(at, written, test.as_ref());
        }
        Some(L7Rule {
            id,
            admin_state_up: rule.admin_state_up.unwrap_or(true),
            invert: rule.invert.unwrap_or(false),
            test: test?,
            tags: lines(rule.tags),
        })
    }

    /// Reports a name that no field may have.
    pub(super) fn field_name(&mut self, spot: super::Spot, name: &str) -> bool {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let good = (1..=128).contains(&name.len()) && name.bytes().all(token);
        if !good {
            let help = "letters, digits and hyphens, like `X-Version`".to_owned();
            self.mistake(spot, format!("{} is no name of a field", shown(name)), help);
        }
        good
    }
}

pub(super) fn word(action: types::PolicyAction) -> &'static str {
    match action {
        types::PolicyAction::Reject => "REJECT",
        types::PolicyAction::RedirectToPool => "REDIRECT_TO_POOL",
        types::PolicyAction::RedirectToUrl => "REDIRECT_TO_URL",
        types::PolicyAction::RedirectPrefix => "REDIRECT_PREFIX",
        types::PolicyAction::Pass => "PASS",
    }
}
