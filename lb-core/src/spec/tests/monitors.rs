//! Health monitors: what is left out, every word, and each mistake at its place.

use super::{legal, mistakes};
use crate::config::monitor::*;
use crate::config::{Member, Pool};
use crate::id::MonitorId;

const MINIMAL: &str = "type: TCP, delay: 5, timeout: 2, max_retries: 3";

/// A pool of protocol HTTP with these keys added.
fn document(keys: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: HTTP\n    \
         lb_algorithm: SOURCE_IP\n    members: [{{address: 10.0.0.2, protocol_port: 80}}]\n    {keys}\n"
    )
}

fn pool(keys: &str) -> Pool {
    legal(&document(keys)).pools.remove(0)
}

fn only(keys: &str) -> HealthMonitor {
    pool(&format!("healthmonitor: {{{keys}}}")).monitors.remove(0)
}

fn http(keys: &str) -> HttpProbe {
    match only(&format!("type: HTTP, delay: 5, timeout: 2, max_retries: 3, {keys}")).probe {
        Probe::Http(probe) => probe,
        other => panic!("{other:?}"),
    }
}

/// The mistakes of a monitor of this type, which stands on line 8; places count from where `keys` begin.
fn wrong(kind: &str, keys: &str) -> Vec<String> {
    let before = format!("healthmonitor: {{type: {kind}, delay: 5, timeout: 2, max_retries: 3, ");
    let shift = 5 + before.len();
    let found = mistakes(&document(&format!("{before}{keys}}}")));
    found.iter().map(|mistake| relative(mistake, shift)).collect()
}

fn relative(mistake: &str, shift: usize) -> String {
    let (place, words) = mistake.split_once(' ').unwrap();
    let (line, column) = place.split_once(':').unwrap();
    assert_eq!(line, "8", "{mistake}");
    format!("{} {words}", column.parse::<usize>().unwrap() as isize - shift as isize)
}

#[test]
fn what_is_left_out_has_octavias_defaults() {
    let pool = pool(&format!("healthmonitor: {{{MINIMAL}}}"));
    let monitor = &pool.monitors[0];
    assert_eq!(monitor.id, MonitorId::derived(pool.id.0, "0"));
    assert!(monitor.admin_state_up && monitor.name.is_empty());
    assert_eq!((monitor.delay_ms, monitor.delay_fast_ms, monitor.delay_down_ms), (5000, 5000, 5000));
    assert_eq!((monitor.timeout_ms, monitor.max_retries, monitor.max_retries_down), (2000, 3, 3));
    assert_eq!((monitor.send_proxy, &monitor.probe), (None, &Probe::Tcp));
    assert_eq!((pool.observation, pool.slow_start_ms, &pool.agent_check), (None, 0, &None));
    assert_eq!(pool.on_marked_down, OnMarkedDown::KeepSessions);
    let probe = http("name: x");
    assert_eq!((probe.method.as_str(), probe.url_path.as_str(), probe.version), ("GET", "/", HttpVersion::V1_0));
    assert_eq!(probe.expected_codes, ExpectedCodes(vec![(200, 200)]));
}

#[test]
fn every_type_is_read() {
    let probe = |kind: &str| only(&format!("type: {kind}, delay: 1, timeout: 1, max_retries: 1")).probe;
    assert_eq!(probe("PING"), Probe::Ping);
    assert_eq!(probe("TLS-HELLO"), Probe::TlsHello(TlsProbe::default()));
    assert_eq!(probe("MYSQL"), Probe::Mysql(MysqlProbe::default()));
    assert!(matches!(probe("HTTPS"), Probe::Https(http, tls) if http.url_path == "/" && !tls.verify));
}

#[test]
fn seconds_may_have_fractions() {
    let monitor = only("type: TCP, delay: 0.5, timeout: .25, max_retries: 1, delay_fast: 0.1, delay_down: 86400");
    assert_eq!((monitor.delay_ms, monitor.timeout_ms), (500, 250));
    assert_eq!((monitor.delay_fast_ms, monitor.delay_down_ms), (100, 86_400_000));
}

#[test]
fn codes_and_versions_are_read_as_people_write_them() {
    assert_eq!(http("expected_codes: 204").expected_codes, ExpectedCodes(vec![(204, 204)]));
    let mixed = http("expected_codes: '200, 202,300-304'").expected_codes;
    assert_eq!(mixed, ExpectedCodes(vec![(200, 200), (202, 202), (300, 304)]));
    assert_eq!(mixed.to_string(), "200,202,300-304");
    assert!(mixed.contain(302) && !mixed.contain(201));
    for written in ["1.1", "'1.1'"] {
        let probe = http(&format!("http_version: {written}, domain_name: www.example.org"));
        assert_eq!((probe.version, probe.domain_name.as_deref()), (HttpVersion::V1_1, Some("www.example.org")));
    }
    assert_eq!(http("http_version: 1.0").version, HttpVersion::V1_0);
}

#[test]
fn json_says_the_same() {
    let text = r#"{"loadbalancer": {"vip_address": "10.0.0.1", "pools": [{"name": "a", "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN", "slow_start": 1.5, "healthmonitor": {"type": "HTTP", "delay": 5, "timeout": 0.5,
        "max_retries": 2, "http_version": 1.1, "domain_name": null, "expected_codes": "200", "url_path": "/x?y=1"}}]}}"#;
    let pool = legal(text).pools.remove(0);
    assert_eq!((pool.slow_start_ms, pool.monitors[0].timeout_ms), (1500, 500));
}

#[test]
fn fields_of_a_request_are_ordered_by_name() {
    let probe = http("headers: {X-B: '1', accept: text/plain, X-A: 'a b', X-None: null}, expected_body_regex: 'o[kn]'");
    let names: Vec<&str> = probe.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-A", "X-B", "accept"]);
    assert_eq!(probe.expected_body, Some(ExpectedBody::Regex("o[kn]".to_owned())));
    let regex = compile_body_regex("o[kn]").unwrap();
    assert!(regex.is_match(b"\xff all on \xff") && !regex.is_match(b"off"));
}

#[test]
fn several_monitors_have_ids_of_their_own() {
    let keys = format!("healthmonitors: [{{{MINIMAL}}}, {{{MINIMAL}}}, {{name: x, {MINIMAL}}}]");
    let pool = pool(&keys);
    let ids: Vec<MonitorId> = pool.monitors.iter().map(|monitor| monitor.id).collect();
    assert_eq!(ids, ["0", "1", "x"].map(|key| MonitorId::derived(pool.id.0, key)));
}

#[test]
fn what_stands_beside_monitors_is_read() {
    let pool = pool(&format!(
        "healthmonitor: {{{MINIMAL}}}\n    observe: {{layer: HTTP, failures: 3}}\n    slow_start: 30\n    \
         agent_check: {{port: 9000, send: \"a\\n\"}}\n    on_marked_down: SHUTDOWN_SESSIONS"
    ));
    assert_eq!(pool.observation, Some(Observation { layer: ObservedLayer::Http, failures: 3 }));
    assert_eq!((pool.slow_start_ms, pool.on_marked_down), (30_000, OnMarkedDown::ShutdownSessions));
    let expected = AgentCheck { port: 9000, delay_ms: 2000, timeout_ms: 2000, send: "a\n".to_owned() };
    assert_eq!(pool.agent_check, Some(expected));
}

#[test]
fn members_may_be_asked_elsewhere() {
    let ask = |keys: &str| -> Member {
        let text = document("").replace("protocol_port: 80", &format!("protocol_port: 80{keys}"));
        legal(&text).pools.remove(0).members.remove(0)
    };
    assert_eq!(ask("").monitor_socket("10.0.0.2".parse().unwrap()).to_string(), "10.0.0.2:80");
    assert_eq!(ask(", monitor_port: 81").monitor_socket("10.0.0.2".parse().unwrap()).to_string(), "10.0.0.2:81");
    assert_eq!(
        ask(", monitor_address: '2001:db8::1'").monitor_socket("10.0.0.2".parse().unwrap()).to_string(),
        "[2001:db8::1]:80"
    );
}

#[test]
fn mistakes_of_times_and_counts() {
    let whole = |keys: &str| -> Vec<String> {
        let found = mistakes(&document(&format!("healthmonitor: {{{keys}}}")));
        found.iter().map(|mistake| relative(mistake, 21)).collect()
    };
    let range = "from 0.1 to 86400 seconds";
    for (keys, expected) in [
        ("delay: 5, timeout: 2, max_retries: 3", "-1 `type` is missing | a health monitor needs it".to_owned()),
        ("type: TCP, delay: 5, timeout: 2", "-1 `max_retries` is missing | a health monitor needs it".to_owned()),
        ("type: TCP, delay: -5, timeout: 2, max_retries: 3", format!("18 -5 is out of range | {range}")),
        ("type: TCP, delay: -0.5, timeout: 2, max_retries: 3", format!("18 -0.5 is out of range | {range}")),
        ("type: TCP, delay: 0, timeout: 2, max_retries: 3", format!("18 0 is out of range | {range}")),
        (
            "type: TCP, delay: 1.0005, timeout: 1, max_retries: 3",
            format!(
                "18 `1.0005` is no plain number of seconds, or finer than a millisecond | at most three decimals: {range}"
            ),
        ),
        (
            "type: TCP, delay: 1e1, timeout: 1, max_retries: 3",
            format!("18 expected a plain number of seconds, found `1e1` | write all its digits: {range}"),
        ),
        (
            "type: TCP, delay: 5s, timeout: 1, max_retries: 3",
            format!("18 expected a number of seconds, found the text `5s` | {range}"),
        ),
        (
            "type: TCP, delay: '5', timeout: 1, max_retries: 3",
            "18 expected a number of seconds, found the text `5` | write it without quotes: 5".to_owned(),
        ),
        (
            "type: TCP, delay: 5, timeout: 5.001, max_retries: 3",
            "30 a `timeout` of 5.001 s is longer than the `delay` | at most 5, or a longer `delay`".to_owned(),
        ),
        (
            "type: TCP, delay: 5, timeout: 5, delay_fast: 6, max_retries: 3",
            "45 a `delay_fast` of 6 s is longer than the `delay` | at most 5, or a longer `delay`".to_owned(),
        ),
        ("type: TCP, delay: 5, timeout: 5, max_retries: 11", "46 11 is out of range | from 1 to 10".to_owned()),
        (
            "type: UDP-CONNECT, delay: 5, timeout: 5, max_retries: 1",
            "6 `UDP-CONNECT` is not supported by this version yet | one of: PING, TCP, HTTP, HTTPS, TLS-HELLO, MYSQL"
                .to_owned(),
        ),
        (
            "type: HTPS, delay: 5, timeout: 5, max_retries: 1",
            "6 unknown word `HTPS` | did you mean `HTTPS`?".to_owned(),
        ),
    ] {
        assert_eq!(whole(keys), [expected], "{keys}");
    }
}

#[test]
fn mistakes_of_requests() {
    let codes = "`200`, `200,202`, `200-204` or a mix, each from 100 to 599";
    for (keys, expected) in [
        ("expected_codes: 2xx", format!("16 `2xx` is no status | {codes}")),
        ("expected_codes: '200,'", format!("16 `` is no status | {codes}")),
        ("expected_codes: 99-200", format!("16 `99` is no status | {codes}")),
        ("expected_codes: 200-600", format!("16 `600` is no status | {codes}")),
        ("expected_codes: 204-200", "16 the range `204-200` runs backwards | write 200-204".to_owned()),
        ("expected_codes: 600", "16 600 is out of range | from 100 to 599".to_owned()),
        ("url_path: health", "10 a path begins with `/` | write what follows the host, like `/health`".to_owned()),
        ("url_path: '/a#b'", "10 a fragment is never sent to a server | leave out `#` and what follows".to_owned()),
        ("url_path: '/a b'", "10 a path has no spaces and only ASCII characters | write others like `%20`".to_owned()),
        ("http_method: get", "13 unknown word `get` | did you mean `GET`?".to_owned()),
        ("http_version: 2.0", "14 expected a word, found the number `2.0` | one of: 1.0, 1.1".to_owned()),
        (
            "domain_name: a.b",
            "0 `domain_name` needs `http_version: 1.1`: HTTP/1.0 requests name no host | add `http_version: 1.1`"
                .to_owned(),
        ),
        (
            "http_version: 1.1, domain_name: 'a.b:80'",
            "32 `a.b:80` is no host name | letters, digits, hyphens and dots, like `www.example.org`; no port"
                .to_owned(),
        ),
        ("headers: {hOst: a}", "10 `Host` has a key of its own | use `domain_name`".to_owned()),
        (
            "headers: {Content-Length: '0'}",
            "10 `Content-Length` is not the operator's: it frames the request | leave it out".to_owned(),
        ),
        (
            "headers: {'X A': b}",
            "10 `X A` is no name of a field | letters, digits and hyphens, like `X-Probe`".to_owned(),
        ),
        (
            "headers: {X: é}",
            "13 this is no value of a field | printable ASCII characters, without spaces at either end".to_owned(),
        ),
        ("headers: {X: 1}", "13 expected text, found the number `1` | write it in quotes: \"1\"".to_owned()),
        ("headers: {X-A: a, x-a: b}", "18 the field `x-a` is given twice | names differ by more than case".to_owned()),
        ("headers: [X]", "9 expected a mapping, found a list".to_owned()),
        (
            "expected_body: a, expected_body_regex: b",
            "18 both `expected_body` and `expected_body_regex` are given | keep one".to_owned(),
        ),
        (
            "expected_body_regex: 'a(b'",
            "21 this regular expression does not compile: unclosed group | the syntax is RE2's: without look-around \
             and back-references"
                .to_owned(),
        ),
        (
            "expected_body_regex: '(a{1000}){1000}'",
            "21 this regular expression explodes: compiled it is too large | at most 1024 KiB; repeat less".to_owned(),
        ),
    ] {
        assert_eq!(wrong("HTTP", keys), [expected], "{keys}");
    }
}

#[test]
fn mistakes_of_fields_that_do_nothing() {
    for (kind, keys, expected) in [
        ("TCP", "url_path: /", "0 `url_path` is only for HTTP and HTTPS monitors, and this one is TCP | leave it out"),
        (
            "TLS-HELLO",
            "domain_name: a",
            "0 `domain_name` is only for HTTP and HTTPS monitors, and this one is TLS-HELLO | leave it out",
        ),
        ("HTTP", "sni: a", "0 `sni` is only for HTTPS and TLS-HELLO monitors, and this one is HTTP | leave it out"),
        ("PING", "mysql_user: a", "0 `mysql_user` is only for MYSQL monitors, and this one is PING | leave it out"),
        (
            "PING",
            "send_proxy: PROXYV2",
            "0 `send_proxy` is only for TCP, HTTP, HTTPS, TLS-HELLO and MYSQL monitors, and this one is PING | leave it \
             out",
        ),
        (
            "HTTPS",
            "sni: 10.0.0.1",
            "5 `10.0.0.1` is an address, and TLS asks for names only | leave it out, or give a host name",
        ),
        (
            "HTTPS",
            "ca_tls_container_ref: 'file:/x.pem'",
            "0 `ca_tls_container_ref` does nothing unless certificates are verified | add `tls_verify: true`",
        ),
        (
            "HTTPS",
            "tls_verify: true, ca_tls_container_ref: x.pem",
            "40 `x.pem` names no file | like `file:/etc/ssl/ca.pem`, with an absolute path",
        ),
    ] {
        assert_eq!(wrong(kind, keys), [expected], "{keys}");
    }
}

#[test]
fn mistakes_beside_monitors() {
    for (keys, expected) in [
        (
            format!("healthmonitor: {{{MINIMAL}}}\n    healthmonitors: [{{{MINIMAL}}}]"),
            "8:5 both `healthmonitor` and `healthmonitors` are given | keep one",
        ),
        (
            "observe: {layer: HTTP}".to_owned(),
            "8:5 `observe` needs a health monitor: nothing else brings a member back | add a `healthmonitor`",
        ),
        ("agent_check: {send: x}".to_owned(), "8:18 `port` is missing | `agent_check` needs it"),
        (
            "agent_check: {port: 1, timeout: 3}".to_owned(),
            "8:37 a `timeout` of 3 s is longer than the `delay` | at most 2, or a longer `delay`",
        ),
        ("slow_start: -1".to_owned(), "8:17 -1 is out of range | from 0 to 86400 seconds"),
        (
            format!("healthmonitors: [{{name: x, {MINIMAL}}}, {{name: x, {MINIMAL}}}]"),
            "8:89 the name `x` is taken by the health monitor on line 8 | every health monitor needs a name of its own, or none",
        ),
        (
            format!("healthmonitors: [{}]", vec![format!("{{{MINIMAL}}}"); 9].join(", ")),
            "8:430 9 entries are more than this list may have | at most 8",
        ),
    ] {
        assert_eq!(mistakes(&document(&keys)), [expected], "{keys}");
    }
    let tcp = document(&format!("healthmonitor: {{{MINIMAL}}}\n    observe: {{layer: HTTP}}"));
    let tcp = tcp.replace("protocol: HTTP", "protocol: TCP");
    assert_eq!(mistakes(&tcp), ["9:22 answers of a pool of protocol TCP are not read | use `CONNECTION`"]);
}

#[test]
fn one_cause_is_one_mistake() {
    for keys in [
        // Whatever depends on a value that is wrong by itself is silent.
        "healthmonitor: {type: TCP, delay: x, timeout: 2, max_retries: 3}",
        "healthmonitor: {type: HTP, delay: 5, timeout: 2, max_retries: 3, url_path: /}",
        "healthmonitor: {type: HTTP, delay: 5, timeout: 2, max_retries: 3, http_version: 9, domain_name: a}",
        "healthmonitor: {type: TCP, delay: 5, timeout: 2, max_retries: 3, domain_name: a}",
        "healthmonitor: 5\n    observe: {layer: CONNECTION}",
        "agent_check: {port: 1, delay: 0, timeout: 60}",
        "healthmonitors: [{type: HTTP, delay: 5, timeout: 2, max_retries: 3, expected_body_regex: '('}, \
         {type: HTTP, delay: 5, timeout: 2, max_retries: 3, expected_body_regex: '('}]",
    ] {
        let found = mistakes(&document(keys));
        assert_eq!(found.len(), 1, "{keys}\n{found:#?}");
    }
}

#[test]
fn regular_expressions_are_counted() {
    let of = |count: usize| {
        let pools = |i: usize| {
            let monitor = |j: usize| {
                format!("{{type: HTTP, delay: 1, timeout: 1, max_retries: 1, expected_body_regex: 'a{i}b{j}'}}")
            };
            let monitors: Vec<String> = (0..8).map(monitor).collect();
            format!(
                "  - {{name: p{i}, protocol: TCP, lb_algorithm: SOURCE_IP, healthmonitors: [{}]}}\n",
                monitors.join(", ")
            )
        };
        format!("loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n{}", (0..count).map(pools).collect::<String>())
    };
    legal(&of(32));
    let found = mistakes(&of(33));
    assert_eq!(found.len(), 8);
    assert!(found[0].ends_with("too many regular expressions | at most 256 different ones"), "{found:?}");
}

#[test]
fn what_was_stored_before_monitors_were_known_is_still_read() {
    let config = legal(super::example());
    let mut stored = serde_json::to_value(&config).unwrap();
    let pool = stored["pools"][0].as_object_mut().unwrap();
    for key in ["monitors", "observation", "slow_start_ms", "agent_check", "on_marked_down"] {
        assert!(pool.remove(key).is_some(), "{key}");
    }
    for member in pool["members"].as_array_mut().unwrap() {
        for key in ["monitor_address", "monitor_port"] {
            assert!(member.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
    }
    assert_eq!(serde_json::from_value::<crate::config::LoadBalancer>(stored).unwrap(), config);
}
