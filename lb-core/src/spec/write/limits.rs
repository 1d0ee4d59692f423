//! A listener's limits written back.

use serde_json::{Map, Value, json};

use super::{object, put, seconds};
use crate::config::Listener;
use crate::config::limits::ClientLimits;

/// Adds the keys of its limits to a listener's `body`.
pub(super) fn put_all(body: &mut Map<String, Value>, listener: &Listener) {
    let limits = &listener.limits;
    put(body, "allowed_cidrs", Some(&limits.allowed_cidrs));
    put(body, "on_connection_limit", Some(limits.on_connection_limit));
    put(body, "client_limits", limits.clients.as_ref().map(clients));
    if listener.protocol.is_http() {
        put(body, "max_head_size", Some(limits.heads.size));
        put(body, "max_header_count", Some(limits.heads.fields));
        put(body, "max_target_length", Some(limits.heads.target));
        put(body, "min_body_rate", Some(limits.body_rate.map_or(0, |rate| rate.per_second)));
        put(body, "min_body_rate_grace", limits.body_rate.map(|rate| seconds(rate.grace_ms)));
    }
}

fn clients(limits: &ClientLimits) -> Value {
    let mut body = object(json!({
        "ipv6_prefix": limits.ipv6_prefix,
        "exempt": limits.exempt,
        "table_size": limits.table_size,
    }));
    put(&mut body, "connections", limits.connections);
    put(&mut body, "connection_rate", limits.connection_rate.map(|rate| rate.per_second));
    put(&mut body, "connection_burst", limits.connection_rate.map(|rate| rate.burst));
    put(&mut body, "request_rate", limits.request_rate.map(|rate| rate.per_second));
    put(&mut body, "request_burst", limits.request_rate.map(|rate| rate.burst));
    Value::Object(body)
}
