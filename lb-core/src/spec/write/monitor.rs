//! Health monitors written back.

use serde_json::{Map, Value, json};

use super::tls::reference;
use super::{object, put, seconds};
use crate::config::monitor::{
    AgentCheck, ExpectedBody, HealthMonitor, HttpProbe, HttpVersion, Observation, Probe, ProxyVersion, TlsProbe,
};

pub(super) fn monitor(monitor: &HealthMonitor) -> Value {
    let mut body = object(json!({
        "id": monitor.id,
        "name": monitor.name,
        "delay": seconds(monitor.delay_ms),
        "timeout": seconds(monitor.timeout_ms),
        "max_retries": monitor.max_retries,
        "max_retries_down": monitor.max_retries_down,
        "admin_state_up": monitor.admin_state_up,
        "tags": monitor.tags,
        "delay_fast": seconds(monitor.delay_fast_ms),
        "delay_down": seconds(monitor.delay_down_ms),
    }));
    let kind = match &monitor.probe {
        Probe::Ping => "PING",
        Probe::Tcp => "TCP",
        Probe::Http(probe) => {
            http(&mut body, probe);
            "HTTP"
        }
        Probe::Https(probe, layer) => {
            http(&mut body, probe);
            tls(&mut body, layer);
            "HTTPS"
        }
        Probe::TlsHello(layer) => {
            tls(&mut body, layer);
            "TLS-HELLO"
        }
        Probe::Mysql(probe) => {
            put(&mut body, "mysql_user", probe.user.as_deref());
            "MYSQL"
        }
    };
    put(&mut body, "type", Some(kind));
    let header = monitor.send_proxy.map(|version| match version {
        ProxyVersion::V1 => "PROXY",
        ProxyVersion::V2 => "PROXYV2",
    });
    put(&mut body, "send_proxy", header);
    Value::Object(body)
}

fn http(body: &mut Map<String, Value>, probe: &HttpProbe) {
    let version = match probe.version {
        HttpVersion::V1_0 => 1.0,
        HttpVersion::V1_1 => 1.1,
    };
    put(body, "http_method", Some(&probe.method));
    put(body, "url_path", Some(&probe.url_path));
    put(body, "http_version", Some(version));
    put(body, "domain_name", probe.domain_name.as_deref());
    put(body, "expected_codes", Some(probe.expected_codes.to_string()));
    let fields: Map<String, Value> = probe.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    put(body, "headers", (!fields.is_empty()).then_some(fields));
    match &probe.expected_body {
        Some(ExpectedBody::Text(text)) => put(body, "expected_body", Some(text)),
        Some(ExpectedBody::Regex(pattern)) => put(body, "expected_body_regex", Some(pattern)),
        None => {}
    }
}

fn tls(body: &mut Map<String, Value>, probe: &TlsProbe) {
    put(body, "tls_verify", Some(probe.verify));
    put(body, "ca_tls_container_ref", probe.ca_file.as_deref().map(reference));
    put(body, "sni", probe.sni.as_deref());
}

pub(super) fn observation(observation: &Observation) -> Value {
    json!({ "layer": observation.layer, "failures": observation.failures })
}

pub(super) fn agent_check(check: &AgentCheck) -> Value {
    json!({
        "port": check.port,
        "delay": seconds(check.delay_ms),
        "timeout": seconds(check.timeout_ms),
        "send": check.send,
    })
}
