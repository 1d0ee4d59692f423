//! PROXY headers in a document: who is believed, and which pools get them.

use super::{legal, mistakes};
use crate::config::PoolProtocol;
use crate::config::monitor::ProxyVersion;

fn listener(words: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  - {{protocol: HTTP, protocol_port: 80, proxy_protocol: {words}}}\n"
    )
}

#[test]
fn who_is_believed() {
    let read = |words: &str| legal(&listener(words)).listeners.remove(0).proxy_protocol;
    assert_eq!(read("null"), None);
    let all = read("{trusted: [192.0.2.9/24, 10.0.0.7, '2001:db8::/32', '::ffff:192.0.2.1/120']}").unwrap();
    let written: Vec<String> = all.trusted.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["192.0.2.0/24", "10.0.0.7/32", "2001:db8::/32", "192.0.2.0/24"]);
    assert!(all.required);
    assert!(!read("{trusted: [0.0.0.0/0], required: false}").unwrap().required);
}

#[test]
fn what_can_be_wrong_with_it() {
    for (words, expected) in [
        ("{}", "4:57 `trusted` is missing | `proxy_protocol` needs it"),
        (
            "{trusted: []}",
            "4:67 an empty list trusts nobody | name at least one network, or leave out `proxy_protocol`",
        ),
        ("{trusted: 10.0.0.0/8}", "4:67 expected a list, found the text `10.0.0.0/8`"),
        (
            "{trusted: [10.0.0.0/8, 10.0.0.0/33]}",
            "4:80 `10.0.0.0/33` is not a network | the length of an IPv4 network is 0 to 32, of an IPv6 network 0 to 128",
        ),
        (
            "{trusted: [lb.example.org]}",
            "4:68 `lb.example.org` is not a network | the address of a network is IPv4 or IPv6, followed by `/` and its length: 192.0.2.0/24",
        ),
        ("{trusted: [80, 10.0.0.0/8]}", "4:68 expected text, found the number `80` | write it in quotes: \"80\""),
        ("{trusted: [10.0.0.0/8], require: true}", "4:81 unknown key `require` | did you mean `required`?"),
        (
            "{trusted: [10.0.0.0/8], required: yes}",
            "4:91 expected `true` or `false`, found the text `yes` | did you mean `true`?",
        ),
    ] {
        assert_eq!(mistakes(&listener(words)), [expected], "{words}");
    }
}

#[test]
fn pools_with_headers_follow_any_listener() {
    let config = legal(
        "loadbalancer:
  vip_address: 10.0.0.1
  pools:
  - name: one
    protocol: PROXY
    lb_algorithm: ROUND_ROBIN
    observe: {layer: HTTP}
    healthmonitor: {type: TCP, delay: 1, timeout: 1, max_retries: 2}
    members:
    - {address: 10.0.0.2, protocol_port: 80}
    - {address: 10.0.0.3, protocol_port: 80, monitor_port: 81}
    - {address: 10.0.0.4, protocol_port: 80, monitor_address: 10.0.0.5}
  - {name: two, protocol: PROXYV2, lb_algorithm: ROUND_ROBIN, members: [{address: 10.0.0.2, protocol_port: 80}]}
  - {name: plain, protocol: TCP, lb_algorithm: ROUND_ROBIN, members: [{address: 10.0.0.2, protocol_port: 80}]}
  listeners:
  - {protocol: HTTP, protocol_port: 80, default_pool: {name: one}}
  - {protocol: TCP, protocol_port: 81, default_pool: {name: one}}
  - {protocol: HTTPS, protocol_port: 443, default_pool: {name: two}}
",
    );
    let pools: Vec<PoolProtocol> = config.pools.iter().map(|pool| pool.protocol).collect();
    assert_eq!(pools, [PoolProtocol::Proxy, PoolProtocol::ProxyV2, PoolProtocol::Tcp]);
    let headers: Vec<Option<ProxyVersion>> =
        config.pools.iter().flat_map(|pool| pool.members.iter().map(|member| pool.probe_header(member))).collect();
    assert_eq!(headers, [Some(ProxyVersion::V1), None, None, Some(ProxyVersion::V2), None]);
}
