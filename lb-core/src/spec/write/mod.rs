//! A configuration written back as a document of this floor, every default spelled out.

mod hashing;
mod l7;
mod limits;
mod monitor;
mod persistence;
mod tls;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::{Listener, ListenerProtocol, LoadBalancer, LogFormat, LogSettings, LogTarget, Member, Pool};

/// The document that [`read`](super::read) turns into `config` again: every object with its id, every pool in
/// `pools`, and listeners naming theirs by `default_pool_id`.
pub fn write(config: &LoadBalancer) -> Value {
    let mut body = object(json!({
        "id": config.id,
        "name": config.name,
        "description": config.description,
        "vip_address": config.vip_address,
        "admin_state_up": config.admin_state_up,
        "tags": config.tags,
        "listeners": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "pools": config.pools.iter().map(pool).collect::<Vec<_>>(),
    }));
    put(&mut body, "project_id", config.project_id.as_deref());
    put(&mut body, "vip_subnet_id", config.vip_network.as_deref());
    put(&mut body, "workers", config.workers);
    put(&mut body, "resolvers", (!config.resolvers.is_empty()).then_some(&config.resolvers));
    json!({ "loadbalancer": body })
}

fn listener(listener: &Listener) -> Value {
    let timeouts = listener.timeouts;
    let mut body = object(json!({
        "id": listener.id,
        "name": listener.name,
        "description": listener.description,
        "protocol": listener.protocol,
        "protocol_port": listener.protocol_port,
        "admin_state_up": listener.admin_state_up,
        "connection_limit": listener.connection_limit.map_or(-1, i64::from),
        "timeout_client_data": timeouts.client_data_ms,
        "timeout_member_connect": timeouts.member_connect_ms,
        "timeout_member_data": timeouts.member_data_ms,
        "timeout_http_request": timeouts.http_request_ms,
        "timeout_http_keep_alive": timeouts.http_keep_alive_ms,
        "timeout_tcp_inspect": timeouts.tcp_inspect_ms,
        "log": log(&listener.log),
        "tags": listener.tags,
    }));
    put(&mut body, "default_pool_id", listener.default_pool);
    put(&mut body, "timeout_tunnel", timeouts.tunnel_ms);
    put(&mut body, "proxy_protocol", listener.proxy_protocol.as_ref());
    limits::put_all(&mut body, listener);
    if listener.protocol.is_http() {
        let headers = listener.insert_headers;
        let mut fields = object(json!({
            "X-Forwarded-For": headers.x_forwarded_for.to_string(),
            "X-Forwarded-Port": headers.x_forwarded_port.to_string(),
            "X-Forwarded-Proto": headers.x_forwarded_proto.to_string(),
        }));
        if listener.protocol == ListenerProtocol::TerminatedHttps {
            tls::certificate_headers(&mut fields, &headers);
        }
        put(&mut body, "insert_headers", Some(fields));
        let pages: BTreeMap<String, &str> =
            listener.error_pages.iter().map(|(status, page)| (status.to_string(), page.as_str())).collect();
        put(&mut body, "error_pages", Some(json!(pages)));
    }
    if listener.protocol != ListenerProtocol::Tcp {
        put(&mut body, "l7policies", Some(l7::policies(&listener.l7policies)));
    }
    put(&mut body, KNOWN_BEFORE, listener.http2_prior_knowledge.then_some(true));
    if let Some(tls) = &listener.tls {
        tls::listener(&mut body, tls);
    }
    Value::Object(body)
}

fn log(log: &LogSettings) -> Value {
    let format = match log.format {
        Some(LogFormat::Tcplog) => "tcplog",
        Some(LogFormat::Httplog) => "httplog",
        Some(LogFormat::Json) => "json",
        None => "none",
    };
    let target = match &log.target {
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::File(path) => format!("file:{}", path.display()),
        LogTarget::Syslog(path) => format!("syslog:{}", path.display()),
    };
    let facility = FACILITIES.get(usize::from(log.facility.0)).copied();
    json!({ "format": format, "target": target, "facility": facility, "tag": log.tag })
}

fn pool(pool: &Pool) -> Value {
    let mut body = object(json!({
        "id": pool.id,
        "name": pool.name,
        "description": pool.description,
        "protocol": pool.protocol,
        "lb_algorithm": pool.lb_algorithm,
        "admin_state_up": pool.admin_state_up,
        "members": pool.members.iter().map(member).collect::<Vec<_>>(),
        "slow_start": seconds(pool.slow_start_ms),
        "on_marked_down": pool.on_marked_down,
        "max_queue": pool.max_queue.map_or(-1, i64::from),
        "tags": pool.tags,
    }));
    // One monitor as Octavia nests it; only several need the extension.
    match pool.monitors.as_slice() {
        [] => {}
        [only] => put(&mut body, "healthmonitor", Some(monitor::monitor(only))),
        several => {
            put(&mut body, "healthmonitors", Some(several.iter().map(monitor::monitor).collect::<Vec<_>>()));
        }
    }
    put(&mut body, "hash", pool.hash.as_ref().map(hashing::hashing));
    put(&mut body, "session_persistence", pool.session_persistence.as_ref().map(persistence::persistence));
    put(&mut body, "timeout_queue", pool.timeout_queue_ms);
    put(&mut body, "observe", pool.observation.as_ref().map(monitor::observation));
    put(&mut body, "retry", pool.retry.as_ref().map(l7::retry));
    put(&mut body, "agent_check", pool.agent_check.as_ref().map(monitor::agent_check));
    put(&mut body, KNOWN_BEFORE, pool.http2_prior_knowledge.then_some(true));
    if let Some(tls) = &pool.tls {
        tls::pool(&mut body, tls);
    }
    Value::Object(body)
}

fn member(member: &Member) -> Value {
    let mut body = object(json!({
        "id": member.id,
        "name": member.name,
        "address": member.address,
        "protocol_port": member.protocol_port,
        "weight": member.weight,
        "max_connections": member.max_connections.unwrap_or(0),
        "backup": member.backup,
        "admin_state_up": member.admin_state_up,
        "tags": member.tags,
    }));
    put(&mut body, "monitor_address", member.monitor_address);
    put(&mut body, "monitor_port", member.monitor_port);
    Value::Object(body)
}

/// The key of those who speak HTTP/2 unasked: written where it is true.
const KNOWN_BEFORE: &str = "http2_prior_knowledge";

/// A whole number where it is one, as Octavia writes them.
fn seconds(ms: u64) -> Value {
    if ms.is_multiple_of(1000) { json!(ms / 1000) } else { json!(ms as f64 / 1000.0) }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn put(body: &mut Map<String, Value>, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        body.insert(key.to_owned(), json!(value));
    }
}

/// By number. `types::Facility` reads the same words; a test writes and reads every one.
#[rustfmt::skip]
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
