//! What may be written of a listener's limits, and what the mistakes are called.

use super::{legal, mistakes};
use crate::config::limits::*;
use crate::limits::rate::Rate;

fn document(body: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  - protocol: HTTP\n    protocol_port: 80\n    {body}\n"
    )
}

fn limits(body: &str) -> ListenerLimits {
    legal(&document(body)).listeners.remove(0).limits
}

#[test]
fn nothing_is_limited_that_nobody_asked_for() {
    let silent = limits("name: a");
    assert_eq!(silent, ListenerLimits::default());
    assert_eq!((silent.heads.size, silent.heads.fields, silent.heads.target), (15_360, 128, 12_288));
    assert_eq!(limits("allowed_cidrs: []\n    client_limits: {}\n    min_body_rate: 0"), silent);
}

#[test]
fn what_is_written_is_meant() {
    let clients = limits(
        "client_limits: {connections: 10, connection_rate: 5, request_rate: 100, request_burst: 300, ipv6_prefix: 56, exempt: [10.0.0.0/8, 2001:db8::/32], table_size: 4096}",
    );
    let clients = clients.clients.unwrap();
    assert_eq!(clients.connections, Some(10));
    assert_eq!(clients.connection_rate, Some(Rate { per_second: 5, burst: 5 }), "a second's worth at once");
    assert_eq!(clients.request_rate, Some(Rate { per_second: 100, burst: 300 }));
    assert_eq!((clients.ipv6_prefix, clients.table_size, clients.exempt.len()), (56, 4096, 2));
    let allowed = limits("allowed_cidrs: [192.0.2.77/24, 198.51.100.1, \"::ffff:10.0.0.0/104\"]").allowed_cidrs;
    let words: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["192.0.2.0/24", "198.51.100.1/32", "10.0.0.0/8"]);
    let body = limits("min_body_rate: 500\n    min_body_rate_grace: 2.5").body_rate;
    assert_eq!(body, Some(BodyRate { per_second: 500, grace_ms: 2_500 }));
    assert_eq!(limits("on_connection_limit: REFUSE").on_connection_limit, OnConnectionLimit::Refuse);
}

#[test]
fn mistakes_are_found_at_their_place() {
    for (body, expected) in [
        ("allowed_cidrs: 10.0.0.0/8", "6:20 expected a list, found the text `10.0.0.0/8`"),
        (
            "allowed_cidrs: [10.0.0.0/33]",
            "6:21 `10.0.0.0/33` is not a network | the length of an IPv4 network is 0 to 32, of an IPv6 network 0 to 128",
        ),
        (
            "allowed_cidrs: [10.0.0.0/8, example.org]",
            "6:33 `example.org` is not a network | the address of a network is IPv4 or IPv6, followed by `/` and its \
             length: 192.0.2.0/24",
        ),
        (
            "allowed_cidrs: [2001:db8::/32]",
            "6:21 2001:db8::/32 is an IPv6 network, and the VIP is IPv4 | no client can come from there",
        ),
        (
            "allowed_cidrs: [\"::ffff:0:0/90\"]",
            "6:21 `::ffff:0:0/90` is not a network | an IPv4 network is written without `::ffff:`",
        ),
        ("on_connection_limit: REJECT", "6:26 unknown word `REJECT` | one of: WAIT, REFUSE"),
        (
            "client_limits: {request_burst: 5}",
            "6:21 there is no `request_rate` that this could exceed | give `request_rate`, or leave this out",
        ),
        (
            "client_limits: {ipv6_prefix: 64}",
            "6:20 these limits limit nothing | give `connections`, `connection_rate` or `request_rate`, or leave \
             `client_limits` out",
        ),
        ("client_limits: {conections: 5}", "6:21 unknown key `conections` | did you mean `connections`?"),
        ("client_limits: {connections: 0}", "6:34 0 is out of range | from 1 to 4294967295"),
        ("client_limits: {connections: 1, ipv6_prefix: 129}", "6:50 129 is out of range | from 1 to 128"),
        ("client_limits: {connections: 1, table_size: 100}", "6:49 100 is out of range | from 1024 to 1048576"),
        ("max_head_size: 16384", "6:20 16384 is out of range | from 128 to 15360"),
        ("max_header_count: 129", "6:23 129 is out of range | from 1 to 128"),
        ("max_target_length: 20000", "6:24 20000 is out of range | from 128 to 12288"),
        ("min_body_rate: -1", "6:20 -1 is out of range | from 0 to 4294967295"),
        ("min_body_rate_grace: 5", "6:5 there is no rate to average | give `min_body_rate`, or leave this out"),
    ] {
        assert_eq!(mistakes(&document(body)), [expected], "{body}");
    }
}

#[test]
fn what_reads_requests_is_only_for_http() {
    for (body, key) in [
        ("max_head_size: 1000", "max_head_size"),
        ("min_body_rate: 1000", "min_body_rate"),
        ("client_limits: {connections: 1, request_rate: 5}", "request_rate"),
    ] {
        let text = document(body).replace("HTTP", "TCP");
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&format!("`{key}` is only for HTTP listeners")), "{found:?}");
    }
    assert!(
        legal(&document("client_limits: {connections: 1}").replace("HTTP", "TCP")).listeners[0]
            .limits
            .clients
            .is_some()
    );
}
