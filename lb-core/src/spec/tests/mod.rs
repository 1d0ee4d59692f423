//! The first floor as a whole: a text in, a configuration or located mistakes out.

mod door;
mod hashings;
mod http2;
mod l7;
mod l7_relayed;
mod limits;
mod mistakes;
mod monitors;
mod persistence;
mod proxy_protocol;
mod reference;
mod robust;
mod round_trip;
mod round_trip_l7;
mod round_trip_limits;
mod round_trip_monitors;
mod round_trip_persistence;
mod round_trip_tls;
mod syntax;
mod tls;

use super::*;
use crate::config::{LbAlgorithm, ListenerProtocol, LogFormat, LogTarget, PoolProtocol};
use crate::id::{ListenerId, LoadBalancerId, MemberId, PoolId};

/// A document that must be legal.
fn legal(text: &str) -> LoadBalancer {
    read("test.yaml", text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

/// Every mistake of a document as `line:column message | help`.
fn mistakes(text: &str) -> Vec<String> {
    let refused = read("test.yaml", text).expect_err(text);
    assert!(!refused.mistakes.is_empty());
    let lines = refused.mistakes.iter().map(|mistake| {
        let help = mistake.help.as_ref().map_or_else(String::new, |help| format!(" | {help}"));
        format!("{}:{} {}{help}", mistake.line, mistake.column, mistake.message)
    });
    lines.collect()
}

#[test]
fn the_founding_document_means_what_it_says() {
    let config = legal(example());
    assert_eq!(config.name, "web");
    assert_eq!(config.id, LoadBalancerId::for_name("web"));
    assert_eq!(config.vip_address.to_string(), "20.20.20.6");
    assert!(config.admin_state_up);
    assert_eq!((config.workers, config.vip_network.as_deref()), (None, None));

    let [listener] = config.listeners.as_slice() else { panic!("one listener") };
    assert_eq!(listener.id, ListenerId::derived(config.id.0, "http"));
    assert_eq!((listener.protocol, listener.protocol_port), (ListenerProtocol::Http, 80));
    assert_eq!(listener.connection_limit, Some(2000));
    assert!(listener.insert_headers.x_forwarded_for && !listener.insert_headers.x_forwarded_port);
    assert_eq!(listener.log.format, Some(LogFormat::Httplog));
    assert_eq!(listener.log.target, LogTarget::Stderr);

    let [pool] = config.pools.as_slice() else { panic!("one pool") };
    assert_eq!(listener.default_pool, Some(pool.id));
    assert_eq!(pool.id, PoolId::derived(config.id.0, "web"));
    assert_eq!((pool.protocol, pool.lb_algorithm), (PoolProtocol::Http, LbAlgorithm::RoundRobin));
    let addresses: Vec<String> = pool.members.iter().map(|member| member.socket().unwrap().to_string()).collect();
    assert_eq!(addresses, ["20.20.20.2:80", "20.20.20.4:80"]);
    assert_eq!(pool.members[0].id, MemberId::derived(pool.id.0, "lb-1"));
}

#[test]
fn what_is_left_out_has_octavias_defaults() {
    let config = legal("loadbalancer: {vip_address: 10.0.0.1, listeners: [{protocol: TCP, protocol_port: 5432}]}");
    assert_eq!(config.id, LoadBalancerId::for_name("10.0.0.1"));
    let listener = &config.listeners[0];
    assert_eq!(listener.id, ListenerId::derived(config.id.0, "5432"));
    assert!(listener.admin_state_up);
    assert_eq!((listener.connection_limit, listener.default_pool), (None, None));
    let timeouts = listener.timeouts;
    assert_eq!((timeouts.client_data_ms, timeouts.member_connect_ms, timeouts.member_data_ms), (50_000, 5_000, 50_000));
    assert_eq!((timeouts.http_request_ms, timeouts.http_keep_alive_ms, timeouts.tunnel_ms), (10_000, 50_000, None));
    assert_eq!(listener.log.format, Some(LogFormat::Tcplog));
    assert_eq!((listener.log.tag.as_str(), listener.log.facility.0), ("weir", 16));
}

#[test]
fn listeners_share_pools_by_name_and_by_id() {
    let config = legal(
        "loadbalancer:
  vip_address: 2001:db8::6
  vip_network_id: net
  vip_subnet_id: subnet
  pools:
  - {name: web, protocol: HTTP, lb_algorithm: LEAST_CONNECTIONS}
  - {id: 5d3f7c52-93c4-4d0e-9a55-776569720001, protocol: TCP, lb_algorithm: SOURCE_IP}
  listeners:
  - {protocol: HTTP, protocol_port: 80, default_pool: {name: web, protocol: null}}
  - {protocol: HTTP, protocol_port: 81, default_pool: {name: web}}
  - {protocol: HTTPS, protocol_port: 443, default_pool_id: 5d3f7c52-93c4-4d0e-9a55-776569720001}
  - {protocol: TCP, protocol_port: 444, default_pool: {id: 5D3F7C52-93C4-4D0E-9A55-776569720001}}
",
    );
    let pools: Vec<usize> = config
        .listeners
        .iter()
        .map(|listener| config.pools.iter().position(|pool| Some(pool.id) == listener.default_pool).unwrap())
        .collect();
    assert_eq!(pools, [0, 0, 1, 1]);
    assert_eq!(config.vip_network.as_deref(), Some("subnet"));
}

#[test]
fn what_octavia_writes_without_meaning_it_is_accepted() {
    legal(
        "loadbalancer:
  vip_address: 10.0.0.1
  provider: amphora
  vip_port_id: 5d3f7c52-93c4-4d0e-9a55-776569720001
  flavor_id: null
  additional_vips: []
  name:
  pools: null
  listeners:
  - protocol: TCP
    protocol_port: 80
    timeout_tcp_inspect: 0
    client_authentication: NONE
    sni_container_refs: []
    tls_versions: []
    hsts_preload: false
    l7policies: []
    allowed_cidrs: null
    insert_headers: {}
    default_pool:
      {protocol: TCP, lb_algorithm: ROUND_ROBIN, tls_enabled: false, healthmonitor: null, members: [{address: 10.0.0.2, protocol_port: 80, subnet_id: x, monitor_port: null}]}
",
    );
}

#[test]
fn every_fork_of_a_log_is_read() {
    let log = |written: &str| {
        let text = "loadbalancer: {vip_address: 10.0.0.1, listeners: [{protocol: HTTP, protocol_port: 80, log: LOG}]}";
        legal(&text.replace("LOG", written)).listeners.remove(0).log
    };
    assert_eq!(log("false").format, None);
    assert_eq!(log("{format: none}").format, None);
    assert_eq!(log("{format: json}").format, Some(LogFormat::Json));
    assert_eq!(log("{target: 'file:/var/log/weir.log'}").target, LogTarget::File("/var/log/weir.log".into()));
    assert_eq!(log("{target: 'syslog:/dev/log', facility: kern}").target, LogTarget::Syslog("/dev/log".into()));
    assert_eq!(log("{facility: cron}").facility.0, 9);
    assert_eq!(log("{facility: local7}").facility.0, 23);
    assert_eq!(log("{tag: haproxy}").tag, "haproxy");
}

#[test]
fn pages_are_kept_by_status() {
    let config = legal(
        "loadbalancer:
  vip_address: 10.0.0.1
  listeners:
  - protocol: HTTP
    protocol_port: 80
    error_pages:
      503: |
        <h1>Back soon</h1>
      '404': gone
",
    );
    let pages: Vec<(u16, &str)> =
        config.listeners[0].error_pages.iter().map(|(status, body)| (*status, body.as_str())).collect();
    assert_eq!(pages, [(404, "gone"), (503, "<h1>Back soon</h1>\n")]);
}

#[test]
fn json_is_read_as_other_programs_write_it() {
    let config = legal(concat!(
        "{\n\t\"loadbalancer\":\t{\n\t\t\"vip_address\" :\n\"10.0.0.1\", \"name\": \"\\ud83d\\ude00 \\u00e9\\/\\\"\", ",
        "\"tags\": [], \"workers\": 2, \"listeners\": []\n\t}\n}\n"
    ));
    assert_eq!((config.name.as_str(), config.workers), ("😀 é/\"", Some(2)));
}
