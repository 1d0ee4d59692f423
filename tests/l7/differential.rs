//! The same policies in Octavia's words for us and in the lines Octavia writes for HAProxy, and the same requests to both.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_tests::client::{Client, Response};
use weir_tests::haproxy::Haproxy;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::wait::{PATIENCE, until};
use weir_tests::weir::Weir;

use super::{POOLS, document};

/// What Octavia's templates make of a rule.
pub(super) fn acl(name: &str, rule: &Value) -> String {
    let word = |key: &str| rule[key].as_str().unwrap_or_default();
    let kind = match word("compare_type") {
        "REGEX" => "reg",
        "STARTS_WITH" => "beg",
        "ENDS_WITH" => "end",
        "CONTAINS" => "sub",
        _ => "str",
    };
    let fetch = match word("type") {
        "HOST_NAME" => format!("req.hdr(host) -i -m {kind}"),
        "PATH" => format!("path -m {kind}"),
        "HEADER" => format!("req.hdr({}) -m {kind}", word("key")),
        "COOKIE" => format!("req.cook({}) -m {kind}", word("key")),
        "FILE_TYPE" if kind == "str" => "path_end".to_owned(),
        "FILE_TYPE" => format!("path_end -m {kind}"),
        "SSL_CONN_HAS_CERT" => return format!("  acl {name} ssl_c_used\n"),
        "SSL_VERIFY_RESULT" => "ssl_c_verify eq".to_owned(),
        "SSL_DN_FIELD" => format!("ssl_c_s_dn({}) -m {kind}", word("key")),
        other => panic!("no line for {other}"),
    };
    format!("  acl {name} {fetch} '{}'\n", word("value"))
}

/// What they make of the policies, in the order of their positions.
fn lines(policies: &[Value]) -> String {
    let mut text = String::new();
    for (p, policy) in policies.iter().enumerate() {
        let mut condition = String::new();
        for (r, rule) in policy["rules"].as_array().expect("rules").iter().enumerate() {
            let name = format!("p{p}r{r}");
            text.push_str(&acl(&name, rule));
            let not = if rule["invert"] == true { "!" } else { "" };
            write!(condition, " {not}{name}").unwrap();
        }
        let word = |key: &str| policy[key].as_str().unwrap_or_default();
        let code = policy["redirect_http_code"].as_u64().unwrap_or(302);
        let line = match word("action") {
            "REJECT" => "http-request deny".to_owned(),
            "REDIRECT_TO_URL" => format!("redirect code {code} location {}", word("redirect_url")),
            "REDIRECT_PREFIX" => format!("redirect code {code} prefix {}", word("redirect_prefix")),
            _ => format!("use_backend {}", policy["redirect_pool"]["name"].as_str().expect("a pool")),
        };
        writeln!(text, "  {line} if{condition}").unwrap();
    }
    text
}

fn haproxy(vip: SocketAddr, members: &[Member], policies: &[Value]) -> String {
    let mut text = format!(
        "global\n  log stdout format raw local0\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode http\n  log global\n  option httplog\n  \
         timeout connect 5s\n  timeout client 50s\n  timeout server 50s\nfrontend front\n  bind {vip}\n{}  \
         default_backend main\n",
        lines(policies)
    );
    for (pool, member) in POOLS.iter().zip(members) {
        writeln!(text, "backend {pool}\n  server {} {}", member.name(), member.socket()).unwrap();
    }
    text
}

/// One policy of each kind and more than enough that interlock. Positions and kinds are not in the same order.
fn policies() -> Vec<Value> {
    let rule = |kind: &str, compare: &str, value: &str| json!({"type": kind, "compare_type": compare, "value": value});
    let keyed = |kind: &str, compare: &str, key: &str, value: &str| json!({"type": kind, "compare_type": compare, "key": key, "value": value});
    let not = |mut rule: Value| {
        rule["invert"] = json!(true);
        rule
    };
    let pool = |pool: &str, rules: Value| json!({"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": pool}, "rules": rules});
    let reject = |rules: Value| json!({"action": "REJECT", "rules": rules});
    let url = |code: u16, rules: Value| {
        json!({"action": "REDIRECT_TO_URL", "redirect_url": format!("https://u.test/{code}"),
               "redirect_http_code": code, "rules": rules})
    };
    let prefix = |code: u16, rules: Value| {
        json!({"action": "REDIRECT_PREFIX", "redirect_prefix": "https://p.test", "redirect_http_code": code,
               "rules": rules})
    };
    let mut all = vec![
        pool("a", json!([rule("PATH", "STARTS_WITH", "/api"), not(keyed("HEADER", "EQUAL_TO", "X-Ver", "1"))])),
        prefix(301, json!([rule("HOST_NAME", "STARTS_WITH", "WWW.")])),
        pool("b", json!([rule("FILE_TYPE", "EQUAL_TO", "jpg")])),
        url(302, json!([keyed("COOKIE", "EQUAL_TO", "old", "yes")])),
        reject(json!([keyed("HEADER", "CONTAINS", "User-Agent", "evil")])),
        pool("b", json!([rule("HOST_NAME", "REGEX", "^img[0-9]+\\.")])),
        url(303, json!([rule("PATH", "EQUAL_TO", "/see")])),
        url(307, json!([rule("PATH", "ENDS_WITH", "/temp")])),
        prefix(308, json!([rule("PATH", "REGEX", "^/perm/[^/]+$"), keyed("COOKIE", "REGEX", "sid", "^[a-f0-9]{4}$")])),
        reject(json!([rule("PATH", "CONTAINS", ".."), not(rule("HOST_NAME", "ENDS_WITH", ":8080"))])),
        pool("a", json!([keyed("HEADER", "ENDS_WITH", "Accept", "json")])),
        pool("a", json!([keyed("HEADER", "REGEX", "X-Empty", "^$")])),
        reject(json!([rule("HOST_NAME", "EQUAL_TO", "internal"), not(keyed("COOKIE", "CONTAINS", "sid", "f"))])),
        pool("b", json!([keyed("COOKIE", "STARTS_WITH", "group", "b")])),
        reject(json!([rule("PATH", "EQUAL_TO", "/api"), rule("PATH", "REGEX", "a|b")])),
    ];
    for (place, policy) in all.iter_mut().enumerate() {
        policy["position"] = json!(place + 1);
    }
    all
}

/// Requests in which each rule is met and missed, alone and with others.
fn requests() -> Vec<String> {
    let hosts =
        ["a.test", "www.test", "Www.Test:8080", "img7.test", "IMG.test", "internal", "internal:8080", "a.www.x"];
    let paths = [
        "/",
        "/api",
        "/api/x?y=1",
        "/apix",
        "/a.jpg",
        "/a.jpg?b=c.png",
        "/a.JPG",
        "/see",
        "/see/",
        "/see?x=/temp",
        "/x/temp",
        "/perm/a?b",
        "/perm/a/b",
        "/perm/",
        "/a/../b",
        "/a/%2e%2e/b",
        "/%61pi",
        "//api",
        "/api%2Fx",
    ];
    let fields = [
        "",
        "X-Ver: 1\r\n",
        "X-Ver: 2, 1\r\n",
        "x-ver: 2\r\nX-VER: 1\r\n",
        "X-Ver: \"2, 1\"\r\n",
        "User-Agent: not-evil\r\n",
        "User-Agent: EVIL\r\n",
        "Accept: text/html, application/json, */*\r\n",
        "Accept: application/json;q=1\r\n",
        "X-Empty:\r\n",
        "X-Empty: a,,b\r\n",
        "Cookie: old=yes\r\n",
        "Cookie: a=b; old=yes; c\r\n",
        "Cookie: old=yes2; Old=yes\r\n",
        "Cookie: old = yes ;a=1\r\n",
        "Cookie: old=\"yes\"\r\n",
        "Cookie: sid=00ff\r\n",
        "Cookie: sid=00fg, sid=beef\r\n",
        "Cookie: sid=1\r\nCookie: sid=abcd\r\n",
        "Cookie: group=blue\r\n",
        "Cookie: $group=b; group\r\n",
        "Cookie: x=\"a;group=b\"\r\n",
    ];
    let mut all = Vec::new();
    for (h, host) in hosts.iter().enumerate() {
        for (p, path) in paths.iter().enumerate() {
            // Every pair of host and path with some of the fields, and each of those with many pairs.
            for skip in 0..3 {
                let more = fields[(h * 7 + p * 3 + skip * 5) % fields.len()];
                all.push(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
            }
        }
    }
    all.extend(fields.iter().map(|more| format!("GET / HTTP/1.1\r\nHost: plain\r\n{more}\r\n")));
    all.push("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned());
    all.push("OPTIONS * HTTP/1.1\r\nHost: www.test\r\n\r\n".to_owned());
    all.push("GET http://www.test/abs?x HTTP/1.1\r\nHost: www.test\r\n\r\n".to_owned());
    all.push("GET http://a.test/api HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned());
    all.push("HEAD /see HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned());
    all.push("POST /see HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi".to_owned());
    all.push("POST /api HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi".to_owned());
    all
}

/// What can be compared of an answer: the page of a refusal is each program's own.
fn fact(answer: &Response) -> String {
    let field = |name: &str| answer.header(name).unwrap_or("-").to_owned();
    let cache = if (300..400).contains(&answer.status()) { field("cache-control") } else { String::new() };
    format!("{} from {} to {} {cache}", answer.status(), field("x-member"), field("location"))
}

fn facts(vip: SocketAddr, requests: &[String]) -> Vec<String> {
    let ask = |request: &String| {
        let mut client = Client::connect(vip);
        client.send(request);
        let method = request.split(' ').next().expect("a method");
        client.answer_to(method).map_or_else(|| "no answer".to_owned(), fact)
    };
    requests.iter().map(ask).collect()
}

/// Frontend, backend and server, status and flags of a line.
fn words(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    [2, 3, 5, 9].map(|place| words.get(place).copied().unwrap_or("?")).join(" ")
}

#[test]
fn decides_as_haproxy_does() {
    let (theirs, ours) = (Place::new(), Place::new());
    let members: Vec<Member> = POOLS.iter().map(|pool| Member::http(&format!("on-{pool}"), theirs.socket())).collect();
    let (policies, requests) = (policies(), requests());
    let vip = theirs.socket();
    let haproxy = Haproxy::start_with(&theirs, &haproxy(vip, &members, &policies), vip);
    let expected = facts(vip, &requests);
    let expected_log = until(PATIENCE, "HAProxy's lines", || Some(haproxy.log()).filter(|l| l.len() >= requests.len()));

    let vip = ours.socket();
    let mut document = document(&ours, vip, &members, &json!(policies));
    document["loadbalancer"]["listeners"][0]["log"]["format"] = json!("httplog");
    let weir = Weir::start_with(&ours, &document, &[]);
    let found = facts(vip, &requests);
    let log = weir.wait_log(requests.len());
    let mut differing = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        let (theirs, ours) = (words(&expected_log[i]), words(&log[i]));
        if expected[i] != found[i] || theirs != ours {
            differing
                .push(format!("{request:?}\n  HAProxy {} | {theirs}\n  Weir    {} | {ours}", expected[i], found[i]));
        }
    }
    assert!(differing.is_empty(), "{} of {} differ\n{}", differing.len(), requests.len(), differing.join("\n"));
    // The page is no good unless every kind of answer occurs.
    for status in ["200", "301", "302", "303", "307", "308", "403"] {
        assert!(found.iter().any(|fact| fact.starts_with(status)), "{status} never occurred");
    }
    for pool in POOLS {
        assert!(found.iter().any(|fact| fact.contains(&format!("from on-{pool} "))), "{pool} was never chosen");
    }
}

#[test]
fn connections_fare_alike() {
    let (theirs, ours) = (Place::new(), Place::new());
    let members: Vec<Member> = POOLS.iter().map(|pool| Member::http(&format!("on-{pool}"), theirs.socket())).collect();
    let policies = policies();
    let (their_vip, our_vip) = (theirs.socket(), ours.socket());
    let _haproxy = Haproxy::start_with(&theirs, &haproxy(their_vip, &members, &policies), their_vip);
    let _weir = Weir::start_with(&ours, &document(&ours, our_vip, &members, &json!(policies)), &[]);
    let chain = |vip: SocketAddr| -> Vec<u16> {
        let mut client = Client::connect(vip);
        ["/see", "/a/../b", "/", "/x/temp", "/see?y"].iter().map(|target| client.get(target).status()).collect()
    };
    assert_eq!(chain(their_vip), [303, 403, 200, 307, 303]);
    assert_eq!(chain(our_vip), chain(their_vip), "refusals and redirects cost nobody the connection");
}
