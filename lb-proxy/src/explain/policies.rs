//! What policies say, in their own words.

use lb_control::explain::PolicyView;
use lb_core::config::Listener;
use lb_core::config::l7::{Comparison, L7Policy, L7Rule, PercentKey, Test};
use lb_core::explain::{Route, Says};

/// What each of them says that was asked.
pub(super) fn views(written: &Listener, route: &Route) -> Vec<PolicyView> {
    let view = |(place, says): &(usize, Says)| {
        let policy = written.l7policies.get(*place)?;
        let words = match says {
            Says::Matches => rules(policy),
            Says::Fails(rule) => {
                up(policy).nth(*rule).map_or_else(String::new, |r| format!("not so: {}", self::rule(r)))
            }
        };
        Some(PolicyView {
            id: policy.id.to_string(),
            name: policy.name.clone(),
            action: policy.action.word().to_owned(),
            matches: *says == Says::Matches,
            words,
        })
    };
    route.policies.iter().filter_map(view).collect()
}

/// Why a pool is the one.
pub(super) fn why(written: &Listener, route: &Route) -> String {
    match route.by.and_then(|by| written.l7policies.get(by)) {
        Some(policy) => format!("policy {}: {}", policy.label(), rules(policy)),
        None if written.l7policies.is_empty() => "the listener's default pool".to_owned(),
        None => "the listener's default pool: no policy chooses another".to_owned(),
    }
}

/// That chance has a say.
pub(super) const DRAWS: &str = "a share of all requests is drawn: this is told of one that is not in it";

fn up(policy: &L7Policy) -> impl Iterator<Item = &L7Rule> {
    policy.rules.iter().filter(|rule| rule.admin_state_up)
}

fn rules(policy: &L7Policy) -> String {
    up(policy).map(rule).collect::<Vec<_>>().join(" and ")
}

/// A rule as a document has it, in one line.
fn rule(rule: &L7Rule) -> String {
    let of = |kind: &str, key: &str, Comparison { compare, value }: &Comparison| {
        let compare = serde_json::to_value(compare).ok();
        let compare = compare.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned();
        [kind, key, &compare, value].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
    };
    let words = match &rule.test {
        Test::HostName(comparison) => of("HOST_NAME", "", comparison),
        Test::Path(comparison) => of("PATH", "", comparison),
        Test::FileType(comparison) => of("FILE_TYPE", "", comparison),
        Test::Header(key, comparison) => of("HEADER", key, comparison),
        Test::Cookie(key, comparison) => of("COOKIE", key, comparison),
        Test::SslConnHasCert => "SSL_CONN_HAS_CERT".to_owned(),
        Test::SslVerifyResult(number) => format!("SSL_VERIFY_RESULT {number}"),
        Test::SslDnField(key, comparison) => of("SSL_DN_FIELD", key, comparison),
        Test::Method(comparison) => of("METHOD", "", comparison),
        Test::Query(key, comparison) => of("QUERY", key.as_deref().unwrap_or_default(), comparison),
        Test::SourceIp(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            format!("SOURCE_IP {}", networks.join(", "))
        }
        Test::Percent(percent, key) => match key {
            PercentKey::Draw => format!("PERCENT {percent}, drawn"),
            PercentKey::SourceIp => format!("PERCENT {percent} by SOURCE_IP"),
            PercentKey::Cookie(name) => format!("PERCENT {percent} by the cookie {name}"),
            PercentKey::Header(name) => format!("PERCENT {percent} by the field {name}"),
        },
    };
    if rule.invert { format!("not {words}") } else { words }
}
