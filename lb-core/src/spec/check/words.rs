//! The words the check speaks in: what was expected, where a key belongs, how to write what was meant.

use crate::spec::scalar::{self, Scalar};
use crate::spec::shape::Shape;

/// How to write what was probably meant.
pub(super) fn advice(text: &str, quoted: bool, shape: &Shape) -> Option<String> {
    let inside = if quoted { scalar::resolve(text) } else { Scalar::Text };
    match (shape, inside) {
        (Shape::Integer { .. } | Shape::Seconds { .. }, Scalar::Integer(_)) => {
            Some(format!("write it without quotes: {text}"))
        }
        (Shape::Bool | Shape::False, Scalar::Bool(_)) => Some(format!("write it without quotes: {text}")),
        (Shape::Bool, _) => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "t" | "1" | "true" => Some("did you mean `true`?".to_owned()),
            "no" | "off" | "n" | "f" | "0" | "false" => Some("did you mean `false`?".to_owned()),
            _ => None,
        },
        (Shape::Text(_), _) if !quoted && !scalar::is_null(text) => Some(format!("write it in quotes: \"{text}\"")),
        (Shape::OneOf(shapes), _) => shapes.iter().find_map(|shape| advice(text, quoted, shape)),
        (Shape::Word { words, .. }, _) => Some(format!("one of: {}", words.join(", "))),
        (Shape::Integer { min, max }, _) => Some(format!("from {min} to {max}")),
        (Shape::Seconds { min_ms, max_ms }, _) => Some(seconds_range(*min_ms, *max_ms)),
        _ => None,
    }
}

pub(super) fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Record(_) | Shape::Map { .. } => "a mapping".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Integer { .. } => "a number".to_owned(),
        Shape::Seconds { .. } => "a number of seconds".to_owned(),
        Shape::Text(_) => "text".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::False => "`false`".to_owned(),
        Shape::Word { .. } => "a word".to_owned(),
        Shape::OneOf(shapes) => {
            let mut kinds: Vec<String> = shapes.iter().map(expected).collect();
            kinds.dedup();
            kinds.join(" or ")
        }
        Shape::Unknown(_) => "something else".to_owned(),
    }
}

/// The record below `shape` that has this key, to say where it belongs.
pub(super) fn owner<'s>(shape: &'s Shape, key: &str) -> Option<&'s str> {
    match shape {
        Shape::Record(record) if record.field(key).is_some() => Some(&record.def),
        Shape::Record(record) => record.fields.iter().find_map(|(_, shape)| owner(shape, key)),
        Shape::List { items, .. } => owner(items, key),
        Shape::OneOf(shapes) => shapes.iter().find_map(|shape| owner(shape, key)),
        _ => None,
    }
}

pub(super) fn title(def: &str) -> &str {
    match def {
        "Document" => "a document",
        "LoadBalancer" => "`loadbalancer`",
        "Listener" => "a listener",
        "Pool" => "a pool",
        "PoolReference" => "a reference to a pool",
        "Member" => "a member",
        "L7Policy" => "an L7 policy",
        "L7Rule" => "a rule",
        "Mirror" => "`mirror`",
        "RewritePathPrefix" => "`rewrite_path_prefix`",
        "Retry" => "`retry`",
        "Hashing" => "`hash`",
        "HealthMonitor" => "a health monitor",
        "SessionPersistence" => "`session_persistence`",
        "Observe" => "`observe`",
        "AgentCheck" => "`agent_check`",
        "Log" => "`log`",
        "InsertHeaders" => "`insert_headers`",
        "ErrorPages" => "`error_pages`",
        "ProxyProtocol" => "`proxy_protocol`",
        other => other,
    }
}

/// Bounds of a length of time, in the seconds it is written in.
pub(super) fn seconds_range(min_ms: i64, max_ms: i64) -> String {
    format!("from {} to {} seconds", min_ms as f64 / 1000.0, max_ms as f64 / 1000.0)
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
