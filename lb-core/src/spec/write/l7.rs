//! L7 policies and retries written back.

use serde_json::{Map, Value, json};

use super::{object, put};
use crate::config::l7::{Action, Comparison, Edits, L7Policy, L7Rule, PercentKey, Test};
use crate::config::retry::Retry;

pub(super) fn policies(policies: &[L7Policy]) -> Value {
    policies.iter().enumerate().map(|(place, known)| policy(place + 1, known)).collect()
}

fn policy(position: usize, policy: &L7Policy) -> Value {
    let mut body = object(json!({
        "id": policy.id,
        "name": policy.name,
        "description": policy.description,
        "action": policy.action.word(),
        "position": position,
        "admin_state_up": policy.admin_state_up,
        "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
        "tags": policy.tags,
    }));
    match &policy.action {
        Action::Reject | Action::Pass => {}
        Action::ToPool(pool) => put(&mut body, "redirect_pool_id", Some(pool)),
        Action::ToUrl { url, code } => {
            put(&mut body, "redirect_url", Some(url));
            put(&mut body, "redirect_http_code", Some(code.status()));
        }
        Action::ToPrefix { prefix, code } => {
            put(&mut body, "redirect_prefix", Some(prefix));
            put(&mut body, "redirect_http_code", Some(code.status()));
        }
    }
    edits(&mut body, "request", &policy.changes.request);
    edits(&mut body, "response", &policy.changes.response);
    let rewrite = policy.changes.rewrite.as_ref().map(|rewrite| json!({ "from": rewrite.from, "to": rewrite.to }));
    put(&mut body, "rewrite_path_prefix", rewrite);
    let mirror = policy.mirror.map(|mirror| json!({ "pool": { "id": mirror.pool }, "percent": mirror.percent }));
    put(&mut body, "mirror", mirror);
    Value::Object(body)
}

fn edits(body: &mut Map<String, Value>, side: &str, edits: &Edits) {
    let Edits { remove, set, append } = edits;
    put(body, &format!("remove_{side}_headers"), (!remove.is_empty()).then_some(remove));
    for (deed, fields) in [("set", set), ("append", append)] {
        let fields: Map<String, Value> = fields.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        put(body, &format!("{deed}_{side}_headers"), (!fields.is_empty()).then_some(fields));
    }
}

fn rule(rule: &L7Rule) -> Value {
    let mut body = object(json!({
        "id": rule.id,
        "invert": rule.invert,
        "admin_state_up": rule.admin_state_up,
        "tags": rule.tags,
    }));
    let equal = |value: String| (json!("EQUAL_TO"), value);
    let compared = |comparison: &Comparison| (json!(comparison.compare), comparison.value.clone());
    let (kind, key, (compare, value)) = match &rule.test {
        Test::HostName(comparison) => ("HOST_NAME", None, compared(comparison)),
        Test::Path(comparison) => ("PATH", None, compared(comparison)),
        Test::FileType(comparison) => ("FILE_TYPE", None, compared(comparison)),
        Test::Header(name, comparison) => ("HEADER", Some(name.clone()), compared(comparison)),
        Test::Cookie(name, comparison) => ("COOKIE", Some(name.clone()), compared(comparison)),
        Test::SslConnHasCert => ("SSL_CONN_HAS_CERT", None, equal("True".to_owned())),
        Test::SslVerifyResult(number) => ("SSL_VERIFY_RESULT", None, equal(number.to_string())),
        Test::SslDnField(name, comparison) => ("SSL_DN_FIELD", Some(name.clone()), compared(comparison)),
        Test::Method(comparison) => ("METHOD", None, compared(comparison)),
        Test::Query(name, comparison) => ("QUERY", name.clone(), compared(comparison)),
        Test::SourceIp(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            ("SOURCE_IP", None, equal(networks.join(",")))
        }
        Test::Percent(percent, key) => ("PERCENT", percent_key(key), equal(percent.to_string())),
    };
    put(&mut body, "type", Some(kind));
    put(&mut body, "key", key);
    put(&mut body, "compare_type", Some(compare));
    put(&mut body, "value", Some(value));
    Value::Object(body)
}

fn percent_key(key: &PercentKey) -> Option<String> {
    match key {
        PercentKey::Draw => None,
        PercentKey::SourceIp => Some("SOURCE_IP".to_owned()),
        PercentKey::Cookie(name) => Some(format!("COOKIE:{name}")),
        PercentKey::Header(name) => Some(format!("HEADER:{name}")),
    }
}

pub(super) fn retry(retry: &Retry) -> Value {
    json!({ "on": retry.on, "attempts": retry.attempts, "budget_percent": retry.budget_percent })
}
