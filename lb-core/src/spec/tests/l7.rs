//! L7 policies and retries: what is left out, every word, and each mistake at its place.

use super::{legal, mistakes};
use crate::config::l7::*;
use crate::config::retry::{Retry, RetryOn};
use crate::config::{Listener, LoadBalancer};
use crate::id::{L7PolicyId, L7RuleId};

/// A listener whose policies are these, on lines 9 and below.
fn document(policies: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - {{name: a, protocol: HTTP, lb_algorithm: ROUND_ROBIN}}\n  \
         - {{name: b, protocol: TCP, lb_algorithm: ROUND_ROBIN}}\n  listeners:\n  - protocol: HTTP\n    \
         protocol_port: 80\n    l7policies: [{policies}]\n"
    )
}

fn listener(policies: &str) -> Listener {
    legal(&document(policies)).listeners.remove(0)
}

fn policy(keys: &str) -> L7Policy {
    listener(&format!("{{{keys}}}")).l7policies.remove(0)
}

fn test(rule: &str) -> Test {
    policy(&format!("action: REJECT, rules: [{{{rule}}}]")).rules.remove(0).test
}

/// The mistakes of a policy; places count from where its keys begin.
fn wrong(keys: &str) -> Vec<String> {
    const BEFORE: usize = "    l7policies: [{".len();
    let found = mistakes(&document(&format!("{{{keys}}}")));
    let relative = |mistake: &String| {
        let (place, words) = mistake.split_once(' ').unwrap();
        let (line, column) = place.split_once(':').unwrap();
        assert_eq!(line, "9", "{mistake}");
        format!("{} {words}", column.parse::<usize>().unwrap() - BEFORE)
    };
    found.iter().map(relative).collect()
}

/// The only mistake of a rule; its place counts from where its keys begin.
#[track_caller]
fn wrong_rule(keys: &str, expected: &str) {
    let before = "action: REJECT, rules: [{";
    let found = wrong(&format!("{before}{keys}}}]"));
    let [only] = found.as_slice() else { panic!("{keys}: {found:#?}") };
    let (place, words) = only.split_once(' ').unwrap();
    let place = place.parse::<usize>().unwrap() as isize - before.len() as isize;
    assert!(format!("{place} {words}").starts_with(expected), "{keys}: {place} {words}");
}

#[test]
fn what_is_left_out_has_octavias_defaults() {
    let listener = listener("{action: REJECT, rules: [{type: PATH, compare_type: EQUAL_TO, value: /a}]}");
    let policy = &listener.l7policies[0];
    assert_eq!(policy.id, L7PolicyId::derived(listener.id.0, "0"));
    assert!(policy.admin_state_up && policy.name.is_empty() && !policy.is_changing());
    let rule = &policy.rules[0];
    assert_eq!(rule.id, L7RuleId::derived(policy.id.0, "0"));
    assert!(rule.admin_state_up && !rule.invert);
    let comparison = Comparison { compare: CompareType::EqualTo, value: "/a".into() };
    assert_eq!(rule.test, Test::Path(comparison));
    assert_eq!(self::policy("action: REJECT").rules, []);
    match self::policy("action: REDIRECT_TO_URL, redirect_url: 'https://a/'").action {
        Action::ToUrl { url, code } => assert_eq!((url.as_str(), code.status()), ("https://a/", 302)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn policies_stand_in_the_order_of_their_positions() {
    let listener = listener(
        "{name: c, action: REJECT}, {name: b, action: REJECT, position: 7}, {name: d, action: PASS}, \
         {name: a, action: REJECT, position: 2}",
    );
    let names: Vec<&str> = listener.l7policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn pools_are_named_or_stand_inside() {
    let text = document(
        "{action: REDIRECT_TO_POOL, redirect_pool: {name: a}}, {name: x, action: REDIRECT_TO_POOL, redirect_pool: \
         {protocol: HTTP, lb_algorithm: SOURCE_IP}}, {action: PASS, mirror: {pool: {name: a}}}",
    );
    let LoadBalancer { listeners, pools, .. } = legal(&text);
    let policies = &listeners[0].l7policies;
    assert_eq!(policies[0].action, Action::ToPool(pools[0].id));
    assert_eq!(policies[1].action, Action::ToPool(pools[2].id));
    assert_eq!(policies[2].mirror, Some(Mirror { pool: pools[0].id, percent: 100 }));
    assert_eq!(listeners[0].pools(), [pools[0].id, pools[2].id]);
}

#[test]
fn every_type_is_read() {
    let equal = |value: &str| Comparison { compare: CompareType::EqualTo, value: value.into() };
    for (rule, expected) in [
        ("type: HOST_NAME, compare_type: EQUAL_TO, value: a", Test::HostName(equal("a"))),
        ("type: FILE_TYPE, compare_type: EQUAL_TO, value: .jpg", Test::FileType(equal("jpg"))),
        ("type: HEADER, compare_type: EQUAL_TO, key: X, value: 5", Test::Header("X".into(), equal("5"))),
        ("type: COOKIE, compare_type: EQUAL_TO, key: c, value: true", Test::Cookie("c".into(), equal("true"))),
        ("type: SSL_CONN_HAS_CERT, compare_type: EQUAL_TO, value: 'True'", Test::SslConnHasCert),
        ("type: SSL_CONN_HAS_CERT, value: true", Test::SslConnHasCert),
        ("type: SSL_VERIFY_RESULT, compare_type: EQUAL_TO, value: '10'", Test::SslVerifyResult(10)),
        ("type: SSL_DN_FIELD, compare_type: EQUAL_TO, key: CN, value: a", Test::SslDnField("CN".into(), equal("a"))),
        ("type: METHOD, compare_type: EQUAL_TO, value: GET", Test::Method(equal("GET"))),
        ("type: QUERY, compare_type: EQUAL_TO, value: a=b", Test::Query(None, equal("a=b"))),
        ("type: QUERY, compare_type: EQUAL_TO, key: a, value: b", Test::Query(Some("a".into()), equal("b"))),
        (
            "type: SOURCE_IP, value: '192.0.2.7/24, 2001:db8::/32'",
            Test::SourceIp(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        ),
        ("type: PERCENT, value: 10", Test::Percent(10, PercentKey::Draw)),
        ("type: PERCENT, value: '10', key: SOURCE_IP", Test::Percent(10, PercentKey::SourceIp)),
        ("type: PERCENT, value: 0, key: 'COOKIE:sid'", Test::Percent(0, PercentKey::Cookie("sid".into()))),
        ("type: PERCENT, value: 100, key: 'HEADER:X-User'", Test::Percent(100, PercentKey::Header("X-User".into()))),
    ] {
        assert_eq!(test(rule), expected, "{rule}");
    }
}

#[test]
fn mistakes_of_rules_are_located() {
    for (rule, expected) in [
        ("type: PATH, value: a", "0 `compare_type` is missing"),
        ("type: PATH, compare_type: EQUAL_TO", "0 `value` is missing"),
        ("type: PATH, compare_type: EQUAL, value: a", "27 unknown word `EQUAL` | one of: REGEX"),
        ("type: PATH, compare_type: EQUALS_TO, value: a", "27 unknown word `EQUALS_TO` | did you mean `EQUAL_TO`?"),
        ("type: PAHT, compare_type: EQUAL_TO, value: a", "7 unknown word `PAHT` | did you mean `PATH`?"),
        ("type: HEADER, compare_type: EQUAL_TO, value: a", "0 `key` is missing | the name of a field"),
        ("type: HEADER, compare_type: EQUAL_TO, key: 'a b', value: a", "44 `a b` is no name of a field"),
        ("type: COOKIE, compare_type: EQUAL_TO, key: $a, value: a", "44 `$a` is no name of a cookie"),
        ("type: PATH, compare_type: EQUAL_TO, key: a, value: a", "37 `key` does nothing for PATH | leave it out"),
        ("type: FILE_TYPE, compare_type: ENDS_WITH, value: a", "32 FILE_TYPE cannot be compared with ENDS_WITH"),
        ("type: SSL_CONN_HAS_CERT, compare_type: EQUAL_TO, value: 'no'", "57 this can only be compared with `True`"),
        ("type: SSL_VERIFY_RESULT, compare_type: EQUAL_TO, value: ok", "57 `ok` is no result"),
        ("type: SSL_DN_FIELD, compare_type: EQUAL_TO, key: C/N, value: ok", "50 `C/N` is no field of a subject"),
        ("type: SOURCE_IP, value: 10.0.0.0/33", "25 `10.0.0.0/33` is not a network | the length"),
        ("type: PERCENT, value: 101", "23 `101` is no share of a hundred"),
        ("type: PERCENT, value: 10, key: cookie", "32 `cookie` says not what keeps a client on its side"),
        ("type: PATH, compare_type: REGEX, value: '(?=a)'", "41 this regular expression does not compile: look-around"),
        ("type: PATH, compare_type: REGEX, value: '(a)\\1'", "41 this regular expression does not compile: backref"),
        ("type: PATH, compare_type: REGEX, value: '(a{900}){900}'", "41 this regular expression explodes"),
        ("type: PATH, compare_type: EQUAL_TO, value: \"a\\nb\"", "44 line breaks and tabs are not allowed here"),
        ("type: QUERY, compare_type: EQUAL_TO, key: a=b, value: a", "43 `a=b` is no name of a parameter"),
    ] {
        wrong_rule(rule, expected);
    }
}

#[test]
fn mistakes_of_policies_are_located() {
    let long = format!("action: REDIRECT_TO_URL, redirect_url: 'http://{}'", "a".repeat(URL_MAX));
    let rules = "{type: PATH, compare_type: EQUAL_TO, value: a},".repeat(RULES_MAX + 1);
    let many = format!("action: REJECT, rules: [{rules}]");
    let mut others = Vec::new();
    for (keys, expected) in [
        ("name: a", "0 `action` is missing"),
        ("action: DENY", "9 unknown word `DENY`"),
        ("action: REDIRECT_TO_URL", "0 `redirect_url` is missing"),
        ("action: REDIRECT_PREFIX", "0 `redirect_prefix` is missing"),
        ("action: REDIRECT_TO_POOL", "0 `redirect_pool_id` is missing"),
        ("action: REDIRECT_TO_POOL, redirect_pool: {name: c}", "49 no pool of `pools` is named `c`"),
        ("action: REDIRECT_TO_POOL, redirect_pool: {name: b}", "49 a listener of protocol HTTP cannot use a pool"),
        ("action: REDIRECT_TO_URL, redirect_url: /a", "40 this is no absolute URL"),
        ("action: REDIRECT_TO_URL, redirect_url: 'ftp://a/'", "40 this is no absolute URL"),
        ("action: REDIRECT_TO_URL, redirect_url: \"http://a/\\r\\nX: y\"", "40 line breaks and tabs"),
        ("action: REDIRECT_TO_URL, redirect_url: 'http://a/é'", "40 a URL has no spaces and only ASCII"),
        ("action: REDIRECT_PREFIX, redirect_prefix: 'http://a/?b'", "43 path and query of the request follow"),
        (&long, "40 2055 characters are too many | at most 2048"),
        ("action: REDIRECT_TO_URL, redirect_url: 'http://a/', redirect_http_code: 304", "73 304 is no redirect"),
        ("action: REJECT, redirect_http_code: 301", "17 `redirect_http_code` is only for REDIRECT_TO_URL and"),
        ("action: REJECT, redirect_url: 'http://a/'", "17 `redirect_url` is only for REDIRECT_TO_URL, and this"),
        ("action: REJECT, position: 0", "27 0 is out of range"),
        (&many, "2375 51 entries are more than this list may have"),
        ("action: REJECT, remove_request_headers: [a]", "17 `remove_request_headers` does nothing for REJECT"),
        ("action: PASS, remove_request_headers: [Connection]", "40 `Connection` is not the operator's"),
        ("action: PASS, remove_request_headers: [Host]", "40 a request names one host"),
        ("action: PASS, set_request_headers: {content-length: 1}", "53 expected text"),
        ("action: PASS, set_request_headers: {content-length: '1'}", "37 `content-length` is not the operator's"),
        ("action: PASS, append_request_headers: {Host: a}", "40 a request names one host"),
        ("action: PASS, set_response_headers: {Host: a}", "38 answers have no `Host`"),
        ("action: PASS, set_request_headers: {Host: a/b}", "43 `a/b` is no host"),
        ("action: PASS, set_request_headers: {X: 'a '}", "40 this is no value of a field"),
        ("action: PASS, set_request_headers: {X: \"a\\tb\"}", "40 line breaks and tabs are not allowed here"),
        ("action: PASS, set_request_headers: {X: '%{clientip}'}", "40 `%{clientip}` is no variable | did you mean"),
        ("action: PASS, set_request_headers: {X: a, x: b}", "43 the field `x` is given twice"),
        ("action: PASS, rewrite_path_prefix: {from: a, to: /b}", "43 a path begins with `/`"),
        ("action: PASS, rewrite_path_prefix: {from: /a}", "36 `to` is missing"),
        ("action: PASS, rewrite_path_prefix: {from: /a, to: '/b?c'}", "51 a path has no query"),
        ("action: PASS, mirror: {pool: {name: b}}", "37 a listener of protocol HTTP cannot use a pool"),
        ("action: PASS, mirror: {percent: 5}", "23 `pool` is missing"),
        ("action: PASS, mirror: {pool: {name: a}, percent: 0}", "50 0 is out of range"),
    ] {
        let found = wrong(keys);
        if !(found.len() == 1 && found[0].starts_with(expected)) {
            others.push(format!("{keys}: {found:#?}, expected {expected}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn what_only_http_listeners_have_is_refused_elsewhere() {
    let text = document("{action: REJECT}").replace("- protocol: HTTP\n", "- protocol: TCP\n");
    assert_eq!(
        mistakes(&text),
        [
            "9:5 `l7policies` is only for HTTP and HTTPS listeners, and this one is TCP | leave it out; a listener of protocol \
         HTTPS chooses by the server name of its clients"
        ]
    );
    let inserted = document("{action: PASS, set_request_headers: {x-forwarded-port: '1'}}")
        .replace("    l7policies", "    insert_headers: {X-Forwarded-Port: 'true'}\n    l7policies");
    assert!(mistakes(&inserted)[0].contains("`insert_headers` of this listener writes `x-forwarded-port`"));
}

#[test]
fn ids_are_distinct_and_names_need_not_be() {
    let twice = mistakes(&document("{name: a, action: REJECT}, {name: a, action: REJECT}"));
    assert!(twice[0].contains("the id derived for this L7 policy is that of"), "{twice:?}");
    let id = "5d3f7c52-93c4-4d0e-9a55-776569720001";
    listener(&format!("{{name: a, action: REJECT}}, {{id: {id}, name: a, action: REJECT}}"));
}

#[test]
fn no_listener_has_more_that_change_than_can_be_told_apart() {
    let changing = "{action: PASS, remove_request_headers: [X]},";
    assert_eq!(listener(&changing.repeat(CHANGING_MAX)).l7policies.len(), CHANGING_MAX);
    let found = mistakes(&document(&changing.repeat(CHANGING_MAX + 1)));
    assert!(found[0].contains("more than 64 policies"), "{found:?}");
}

#[test]
fn retries_have_their_causes_and_their_budget() {
    let pool = |protocol: &str, keys: &str| {
        format!(
            "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: {protocol}\n    lb_algorithm: \
             SOURCE_IP\n    retry: {{{keys}}}\n"
        )
    };
    let retry = |protocol, keys| legal(&pool(protocol, keys)).pools.remove(0).retry;
    use RetryOn::*;
    let default = Retry { on: vec![ConnectFailure, EmptyResponse], attempts: 3, budget_percent: 20 };
    assert_eq!(retry("HTTP", ""), Some(default));
    let given = Retry { on: vec![Status502, ResponseTimeout], attempts: 1, budget_percent: 0 };
    let keys = "on: [RESPONSE_TIMEOUT, STATUS_502, STATUS_502], attempts: 1, budget_percent: 0";
    assert_eq!(retry("HTTP", keys), Some(given));
    assert_eq!(retry("TCP", "").unwrap().on, [ConnectFailure]);
    assert_eq!(
        mistakes(&pool("TCP", "on: [STATUS_503]")),
        ["7:17 answers of a pool of protocol TCP are not read | only `CONNECT_FAILURE`"]
    );
    assert!(mistakes(&pool("HTTP", "on: [STATUS_500]"))[0].contains("unknown word `STATUS_500`"));
    assert!(mistakes(&pool("HTTP", "attempts: 8"))[0].contains("from 1 to 7"));
}
