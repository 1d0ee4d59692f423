//! Legal L7 policies and retries, generated.

use proptest::prelude::*;
use uuid::Uuid;

use super::round_trip::{paragraphs, words};
use crate::client_hello::ServerName;
use crate::config::ListenerProtocol;
use crate::config::l7::*;
use crate::config::retry::{ATTEMPTS_MAX, Retry, RetryOn};
use crate::id::{L7PolicyId, L7RuleId, PoolId};
use crate::limits::cidr::Cidr;

/// A listener's policies. Their pools are still to be given.
pub(super) fn policies() -> impl Strategy<Value = Vec<L7Policy>> {
    prop::collection::vec(policy(), 0..5)
}

/// What a listener of that protocol may have of them.
pub(super) fn of_protocol(policies: Vec<L7Policy>, protocol: ListenerProtocol) -> Vec<L7Policy> {
    let seen = |rule: &L7Rule| match &rule.test {
        Test::HostName(Comparison { compare, value }) => {
            *compare == CompareType::Regex || (!value.ends_with('.') && ServerName::parse(value).is_some())
        }
        Test::SourceIp(_) | Test::Percent(_, PercentKey::Draw | PercentKey::SourceIp) => true,
        _ => false,
    };
    let relayed = |mut policy: L7Policy| {
        policy.rules.retain(seen);
        let action = if matches!(policy.action, Action::ToPool(_)) { policy.action } else { Action::Reject };
        L7Policy { action, changes: Changes::default(), mirror: None, ..policy }
    };
    match protocol {
        ListenerProtocol::Tcp => Vec::new(),
        ListenerProtocol::Https => policies.into_iter().map(relayed).collect(),
        ListenerProtocol::Http | ListenerProtocol::TerminatedHttps => policies,
    }
}

/// Gives them pools among those the listener may use; those that get none do something else.
pub(super) fn give_pools(policies: &mut [L7Policy], candidates: &[PoolId]) {
    for (place, policy) in policies.iter_mut().enumerate() {
        let pool = candidates.get(place % candidates.len().max(1)).copied();
        if let Action::ToPool(of) = &mut policy.action {
            match pool {
                Some(pool) => *of = pool,
                None => policy.action = Action::Pass,
            }
        }
        policy.mirror = policy.mirror.zip(pool).map(|(mirror, pool)| Mirror { pool, ..mirror });
    }
}

fn policy() -> impl Strategy<Value = L7Policy> {
    let identity = (any::<u128>(), words(), paragraphs(), prop::collection::vec(words(), 0..3));
    let rest = (any::<bool>(), action(), prop::collection::vec(rule(), 0..4));
    let changes = (edits(), edits(), prop::option::of(("/[!-\"$->@-~]{0,9}", "/([!-\"$-.0->@-~][!-\"$->@-~]{0,8})?")));
    let mirror = prop::option::of(1u8..=100);
    (identity, rest, changes, mirror).prop_map(|(identity, (admin_state_up, action, rules), changes, mirror)| {
        let (id, name, description, tags) = identity;
        let (request, response, rewrite) = changes;
        let changing = matches!(action, Action::Pass | Action::ToPool(_));
        let rewrite = rewrite.map(|(from, to)| Rewrite { from, to });
        let changes = if changing { Changes { request, response, rewrite } } else { Changes::default() };
        let pool = PoolId(Uuid::nil());
        let mirror = mirror.filter(|_| changing).map(|percent| Mirror { pool, percent });
        let id = L7PolicyId(Uuid::from_u128(id));
        L7Policy { id, name, description, admin_state_up, action, rules, changes, mirror, tags }
    })
}

fn action() -> impl Strategy<Value = Action> {
    use RedirectCode::*;
    let codes = || prop::sample::select(vec![MovedPermanently, Found, SeeOther, TemporaryRedirect, PermanentRedirect]);
    prop_oneof![
        Just(Action::Reject),
        Just(Action::Pass),
        Just(Action::ToPool(PoolId(Uuid::nil()))),
        ("https?://[a-z]{1,9}[!-~]{0,20}", codes()).prop_map(|(url, code)| Action::ToUrl { url, code }),
        ("https?://[a-z]{1,9}(/[a-z%]{0,9})?", codes()).prop_map(|(prefix, code)| Action::ToPrefix { prefix, code }),
    ]
}

fn rule() -> impl Strategy<Value = L7Rule> {
    let identity = (any::<u128>(), any::<bool>(), any::<bool>(), prop::collection::vec(words(), 0..3));
    (identity, test()).prop_map(|((id, admin_state_up, invert, tags), test)| {
        let id = L7RuleId(Uuid::from_u128(id));
        L7Rule { id, admin_state_up, invert, test, tags }
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use CompareType::*;
    let plain = (prop::sample::select(vec![StartsWith, EndsWith, Contains, EqualTo]), "[^\\p{Cc}]{1,20}");
    prop_oneof![
        plain.prop_map(|(compare, value)| Comparison { compare, value }),
        "[a-z]{1,5}(\\.\\*|\\[0-9\\]\\+|\\(a\\|b\\))?".prop_map(|value| Comparison { compare: Regex, value }),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let name = || "[a-zA-Z][a-zA-Z0-9-]{0,9}";
    let kind = comparison().prop_filter("how file types are compared", |c| {
        matches!(c.compare, CompareType::Regex | CompareType::EqualTo) && !c.value.starts_with('.')
    });
    let networks = prop::collection::btree_set((any::<[u8; 4]>(), 0u8..=32), 1..4).prop_map(|networks| {
        let mut networks: Vec<Cidr> = networks.into_iter().filter_map(|(a, len)| Cidr::new(a.into(), len)).collect();
        networks.sort();
        networks.dedup();
        Test::SourceIp(networks)
    });
    let keys = prop_oneof![
        Just(PercentKey::Draw),
        Just(PercentKey::SourceIp),
        name().prop_map(PercentKey::Cookie),
        name().prop_map(PercentKey::Header),
    ];
    prop_oneof![
        comparison().prop_map(Test::HostName),
        comparison().prop_map(Test::Path),
        kind.prop_map(Test::FileType),
        (name(), comparison()).prop_map(|(name, comparison)| Test::Header(name, comparison)),
        (name(), comparison()).prop_map(|(name, comparison)| Test::Cookie(name, comparison)),
        Just(Test::SslConnHasCert),
        any::<u32>().prop_map(Test::SslVerifyResult),
        ("[A-Z]{1,3}", comparison()).prop_map(|(name, comparison)| Test::SslDnField(name, comparison)),
        comparison().prop_map(Test::Method),
        (prop::option::of("[a-z_%]{1,9}"), comparison()).prop_map(|(name, comparison)| Test::Query(name, comparison)),
        networks,
        (0u8..=100, keys).prop_map(|(percent, key)| Test::Percent(percent, key)),
    ]
}

fn edits() -> impl Strategy<Value = Edits> {
    let value = || "([!-$&-~]([ -$&-~]{0,9}[!-$&-~])?)?(%\\{client_ip\\})?";
    let fields = || prop::collection::btree_map("x-[a-z]{1,9}", value(), 0..3);
    let remove = prop::collection::btree_set("y-[a-z]{1,9}", 0..3);
    (remove, fields(), fields()).prop_map(|(remove, set, append)| Edits {
        remove: remove.into_iter().collect(),
        set: set.into_iter().collect(),
        append: append.into_iter().collect(),
    })
}

pub(super) fn retries() -> impl Strategy<Value = Option<Retry>> {
    use RetryOn::*;
    let all = vec![ConnectFailure, EmptyResponse, Status502, Status503, Status504, ResponseTimeout];
    let on = prop::sample::subsequence(all, 0..=6);
    let retry = (on, 1..=ATTEMPTS_MAX, 0u8..=100);
    prop::option::of(retry.prop_map(|(on, attempts, budget_percent)| Retry { on, attempts, budget_percent }))
}
