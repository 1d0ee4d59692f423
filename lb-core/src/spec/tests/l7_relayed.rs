//! L7 policies of a listener that passes TLS through: what they may be, and each mistake at its place.

use super::{legal, mistakes};
use crate::config::l7::*;
use crate::config::{Listener, LoadBalancer};

/// A listener whose policies are these, on line 10.
fn document(policies: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - {{name: a, protocol: HTTPS, lb_algorithm: ROUND_ROBIN}}\n  \
         - {{name: b, protocol: HTTP, lb_algorithm: ROUND_ROBIN}}\n  - {{name: c, protocol: PROXYV2, lb_algorithm: \
         ROUND_ROBIN, session_persistence: {{type: HTTP_COOKIE}}}}\n  listeners:\n  - protocol: HTTPS\n    \
         protocol_port: 443\n    l7policies: [{policies}]\n"
    )
}

#[test]
fn they_choose_by_name_network_and_share() {
    let rules = "rules: [{type: HOST_NAME, compare_type: ENDS_WITH, value: .Example.org}, {type: HOST_NAME, compare_type: REGEX, \
                 value: '^w+\\.', invert: true}, {type: SOURCE_IP, value: 10.0.0.0/8}, {type: PERCENT, value: 10}, {type: PERCENT, \
                 value: 10, key: SOURCE_IP}]";
    let text = document(&format!(
        "{{name: x, action: REDIRECT_TO_POOL, redirect_pool: {{name: a}}, {rules}}}, {{name: y, action: REJECT, {rules}}}, \
         {{name: z, action: PASS, {rules}}}, {{action: REDIRECT_TO_POOL, redirect_pool: {{protocol: TCP, lb_algorithm: SOURCE_IP, \
         session_persistence: {{type: SOURCE_IP}}}}}}"
    ));
    let LoadBalancer { listeners, pools, .. } = legal(&text);
    let Listener { l7policies: policies, .. } = &listeners[0];
    let actions: Vec<&Action> = policies.iter().map(|policy| &policy.action).collect();
    assert_eq!(actions, [&Action::ToPool(pools[0].id), &Action::Reject, &Action::Pass, &Action::ToPool(pools[3].id)]);
    assert!(policies[..3].iter().all(|policy| policy.rules.len() == 5));
    assert_eq!(listeners[0].pools(), [pools[0].id, pools[3].id]);
}

#[test]
fn names_that_clients_may_ask_for_are_taken() {
    for rule in [
        "compare_type: EQUAL_TO, value: A.example.org",
        "compare_type: EQUAL_TO, value: localhost",
        "compare_type: STARTS_WITH, value: www.",
        "compare_type: STARTS_WITH, value: '10'",
        "compare_type: ENDS_WITH, value: example.org",
        "compare_type: CONTAINS, value: .-x-.",
        "compare_type: REGEX, value: '_'",
    ] {
        legal(&document(&format!("{{action: REJECT, rules: [{{type: HOST_NAME, {rule}}}]}}")));
    }
}

/// The mistakes of a policy; places count from where its keys begin.
fn wrong(keys: &str) -> Vec<String> {
    const BEFORE: usize = "    l7policies: [{".len();
    let relative = |mistake: &String| {
        let (place, words) = mistake.split_once(' ').unwrap();
        let (line, column) = place.split_once(':').unwrap();
        assert_eq!(line, "10", "{mistake}");
        format!("{} {words}", column.parse::<usize>().unwrap() - BEFORE)
    };
    mistakes(&document(&format!("{{{keys}}}"))).iter().map(relative).collect()
}

#[test]
fn mistakes_are_located() {
    const REQUESTS: &str = "| HOST_NAME, SOURCE_IP or PERCENT; a listener of protocol TERMINATED_HTTPS reads requests";
    let passes = "an HTTPS listener passes TLS through";
    let name = "action: REJECT, rules: [{type: HOST_NAME, compare_type: EQUAL_TO, value: ";
    let no_client = |at: usize, value: &str| format!("{at} no client asks for a server with `{value}` in its name");
    let mut others = Vec::new();
    for (keys, expected) in [
        (
            "action: REDIRECT_TO_URL, redirect_url: 'http://a/'".to_owned(),
            format!("9 {passes}: it cannot answer with REDIRECT_TO_URL | REDIRECT_TO_POOL or REJECT; a listener"),
        ),
        (
            "action: REDIRECT_PREFIX, redirect_prefix: 'http://a'".to_owned(),
            format!("9 {passes}: it cannot answer with REDIRECT_PREFIX"),
        ),
        (
            "action: PASS, set_request_headers: {X: a}".to_owned(),
            "15 `set_request_headers` is for requests, and an HTTPS listener passes TLS through | leave it out"
                .to_owned(),
        ),
        (
            "action: PASS, mirror: {pool: {name: a}}".to_owned(),
            "15 `mirror` is for requests, and an HTTPS listener passes TLS through".to_owned(),
        ),
        (
            "action: REDIRECT_TO_POOL, redirect_pool: {name: b}".to_owned(),
            "49 a listener of protocol HTTPS cannot use a pool of protocol HTTP".to_owned(),
        ),
        (
            "action: REDIRECT_TO_POOL, redirect_pool: {name: c}".to_owned(),
            "49 the `session_persistence` of this pool needs cookies".to_owned(),
        ),
        (
            "action: REJECT, rules: [{type: PATH, compare_type: EQUAL_TO, value: /a}]".to_owned(),
            format!("32 {passes}: it sees nothing of PATH {REQUESTS}"),
        ),
        (
            "action: REJECT, rules: [{type: SSL_CONN_HAS_CERT, value: true}]".to_owned(),
            format!("32 {passes}: it sees nothing of SSL_CONN_HAS_CERT {REQUESTS}"),
        ),
        (
            "action: REJECT, rules: [{type: PERCENT, value: 5, key: 'COOKIE:a'}]".to_owned(),
            format!("56 {passes}: it sees no cookies and no fields | `SOURCE_IP`; without"),
        ),
        (format!("{name}'*.a.test'}}]"), no_client(74, "*.a.test") + " | `compare_type: ENDS_WITH` with `.a.test`"),
        (format!("{name}'a.test:443'}}]"), no_client(74, "a.test:443") + " | letters, digits, hyphens and dots"),
        (format!("{name}a.test.}}]"), no_client(74, "a.test.")),
        (format!("{name}192.0.2.7}}]"), no_client(74, "192.0.2.7")),
        (name.replace("EQUAL_TO", "ENDS_WITH") + "a.}]", no_client(75, "a.")),
        (name.replace("EQUAL_TO", "CONTAINS") + "a_b}]", no_client(74, "a_b")),
    ] {
        let found = wrong(&keys);
        if !(found.len() == 1 && found[0].starts_with(&expected)) {
            others.push(format!("{keys}: {found:#?}, expected {expected}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
