//! Each rule on its own, beside the expression Octavia's templates write for it: every request is told by both programs
//! which of all rules hold of it, and goes to the same pool. Requests are drawn from pieces in which rules differ.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::haproxy::Haproxy;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::weir::Weir;

use super::differential::acl;
use super::{POOLS, document};

/// Requests that are drawn.
const REQUESTS: usize = 600;

/// Every type with every comparison it has, with values that some of the requests have and some nearly have.
fn rules() -> Vec<Value> {
    let rule = |kind: &str, compare: &str, value: &str| json!({"type": kind, "compare_type": compare, "value": value});
    let keyed = |kind: &str, compare: &str, key: &str, value: &str| json!({"type": kind, "compare_type": compare, "key": key, "value": value});
    vec![
        rule("HOST_NAME", "EQUAL_TO", "a.test"),
        rule("HOST_NAME", "EQUAL_TO", "A.TEST:8080"),
        rule("HOST_NAME", "STARTS_WITH", "WWW."),
        rule("HOST_NAME", "ENDS_WITH", ".Test"),
        rule("HOST_NAME", "CONTAINS", "A.T"),
        rule("HOST_NAME", "REGEX", "^[a-w.]+:8[0-9]+$"),
        rule("HOST_NAME", "EQUAL_TO", "[::1]:80"),
        rule("PATH", "EQUAL_TO", "/api"),
        rule("PATH", "EQUAL_TO", "/%61pi"),
        rule("PATH", "STARTS_WITH", "/api/"),
        rule("PATH", "ENDS_WITH", "/"),
        rule("PATH", "CONTAINS", "%2F"),
        rule("PATH", "CONTAINS", "//"),
        rule("PATH", "REGEX", "^/(api|v[0-9]+)/.*(x|%2[fF])$"),
        rule("FILE_TYPE", "EQUAL_TO", ".jpg"),
        rule("FILE_TYPE", "REGEX", "(png|jpe?g)$"),
        keyed("HEADER", "EQUAL_TO", "X-Ver", "1"),
        keyed("HEADER", "STARTS_WITH", "x-ver", "2"),
        keyed("HEADER", "ENDS_WITH", "X-VER", "b c"),
        keyed("HEADER", "CONTAINS", "X-Ver", ";q"),
        keyed("HEADER", "REGEX", "X-Ver", "^$"),
        keyed("HEADER", "EQUAL_TO", "Host", "a.test"),
        keyed("HEADER", "CONTAINS", "User-Agent", "b, c"),
        keyed("HEADER", "CONTAINS", "User-Agent", "b (c"),
        keyed("HEADER", "REGEX", "Cookie", "sid"),
        keyed("HEADER", "STARTS_WITH", "Content-Length", "0"),
        keyed("COOKIE", "EQUAL_TO", "sid", "1"),
        keyed("COOKIE", "EQUAL_TO", "SID", "1"),
        keyed("COOKIE", "STARTS_WITH", "sid", "a"),
        keyed("COOKIE", "ENDS_WITH", "sid", "="),
        keyed("COOKIE", "CONTAINS", "sid", "%3"),
        keyed("COOKIE", "REGEX", "sid", "^[0-9a-f]*$"),
        keyed("COOKIE", "REGEX", "sid", "\""),
    ]
}

const HOSTS: [&str; 12] = [
    "a.test",
    "A.Test",
    "a.test:80",
    "a.test:8080",
    "www.a.test",
    "WWW.B.TEST:80",
    "b.test.",
    "10.0.0.1:8080",
    "[::1]:80",
    "[::1]",
    "xa.test",
    "a_t.test",
];

const PATHS: [&str; 24] = [
    "/",
    "/api",
    "/api/",
    "/api/x",
    "/apix",
    "/API",
    "/%61pi",
    "/%61PI",
    "/api%2Fx",
    "/api/%2f",
    "/api/%2F",
    "//api",
    "//",
    "/v1/x",
    "/v1/../api",
    "/v12//x",
    "/a.jpg",
    "/a.jpg/",
    "/b.x/.jpg",
    "/a.JPG",
    "/a.png",
    "/a.png.txt",
    "/a.jpeg",
    "/ajpg",
];

const QUERIES: [&str; 8] = ["", "", "?", "?/api", "?x=/a.jpg", "?a=%2F", "??", "?x=//"];

const FIELDS: [&str; 44] = [
    "X-Ver: 1",
    "x-ver: 2",
    "X-VER: 1,2",
    "X-Ver: 3, 1",
    "X-Ver:",
    "X-Ver: ,",
    "X-Ver: 1,",
    "X-Ver:   1  ",
    "X-Ver:\t1\t, x",
    "X-Ver: \"1,2\"",
    "X-Ver: \"a\\\",1\"",
    "X-Ver: \"1",
    "X-Ver: 1\"",
    "X-Ver: 11",
    "X-Ver: 1;q=1",
    "X-Ver: a b c",
    "X-Ver: a, b c",
    "X-Ver: b  c",
    "X-Version: 1",
    "X-Ver: \u{e9}1",
    "User-Agent: a b, c",
    "User-Agent: a b (c, d)",
    "User-Agent: b (c",
    "Cookie: sid=1",
    "cookie: sid=2",
    "Cookie: sid=",
    "Cookie: sid",
    "Cookie: sid=abc; sid=1",
    "Cookie: a=1; sid=\"1\"",
    "Cookie: SID=1",
    "Cookie: sid =1",
    "Cookie: sid= 1",
    "Cookie: sid=1,sid=xyz",
    "Cookie: ;;sid=1;",
    "Cookie: sid=a=",
    "Cookie: xsid=1; sidx=1",
    "Cookie: $sid=1; $x=2; sid=b",
    "Cookie: sid=1 ",
    "Cookie: sid=%31",
    "Cookie: x=\"; sid=1\"",
    "Cookie: x=\"; sid=1",
    "Cookie: sid=\"a\\\";sid=1\"",
    "Cookie:",
    "Cookie: sid=1;\tSID=1",
];

/// A small generator, always with the same numbers.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }

    fn of<'p>(&mut self, pieces: &[&'p str]) -> &'p str {
        pieces[self.below(pieces.len())]
    }
}

fn requests() -> Vec<String> {
    let mut draws = Draws(0x5EED_CAFE_F00D);
    let one = |_| {
        let (path, query, host) = (draws.of(&PATHS), draws.of(&QUERIES), draws.of(&HOSTS));
        let (method, body) = [("GET", ""), ("PUT", "Content-Length: 0\r\n"), ("DELETE", "")][draws.below(3)];
        let fields: String = (0..draws.below(4)).map(|_| format!("{}\r\n", draws.of(&FIELDS))).collect();
        let start = match draws.below(12) {
            0 => format!("{method} http://{host}{path}{query} HTTP/1.1\r\nHost: {host}"),
            _ => format!("{method} {path}{query} HTTP/1.1\r\nHost: {host}"),
        };
        format!("{start}\r\n{fields}{body}\r\n")
    };
    let mut all: Vec<String> = (0..REQUESTS).map(one).collect();
    all.extend(FIELDS.iter().map(|field| format!("GET / HTTP/1.1\r\nHost: plain\r\n{field}\r\n\r\n")));
    all.extend(HOSTS.iter().map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    all.extend(PATHS.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: plain\r\n\r\n")));
    all
}

/// What differs by intent. HAProxy compares the whole path with an expression for file types, and a name without a dot has
/// none; it takes the default port from the host of an absolute target, where members get what was sent; and it does not see a
/// cookie without a value that is all of its field, which members do.
fn differs_by_intent(rule: &Value, request: &str) -> bool {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let name = target.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let host = request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    match rule["type"].as_str() {
        Some("FILE_TYPE") => !name.contains('.'),
        Some("HOST_NAME") => target.starts_with("http://") && host.ends_with(":80"),
        Some("HEADER") if rule["key"] == "Host" => target.starts_with("http://") && host.ends_with(":80"),
        Some("COOKIE") => request.lines().any(|line| line == "Cookie: sid="),
        _ => false,
    }
}

/// Sends all on few connections: for each, the rules that hold and the member that answered.
fn verdicts(vip: SocketAddr, members: &[Member], requests: &[String]) -> Vec<(Vec<String>, String)> {
    let mut client = Client::connect(vip);
    for request in requests {
        client.send(request);
        let status = client.answer().status();
        assert_eq!(status, 200, "{request:?}");
    }
    let mut answers = client.responses.iter();
    let mut seen: Vec<_> = members.iter().map(|member| member.seen().into_iter()).collect();
    let one = |_: &String| {
        let by = answers.next().and_then(|answer| answer.header("x-member")).unwrap_or("nobody").to_owned();
        let place = members.iter().position(|member| member.name() == by).expect("a member of the test");
        let received = seen[place].next().expect("what it answered");
        (received.head.all("x-match").into_iter().map(str::to_owned).collect(), by)
    };
    requests.iter().map(one).collect()
}

/// The pool a request goes to if it is the first of all rules to hold.
fn pool(place: usize) -> &'static str {
    POOLS[1 + place % 2]
}

#[test]
fn every_rule_holds_where_octavias_expression_does() {
    let (theirs, ours) = (Place::new(), Place::new());
    let started = |place: &Place| -> Vec<Member> {
        POOLS.iter().map(|pool| Member::http(&format!("on-{pool}"), place.socket())).collect()
    };
    let (rules, requests) = (rules(), requests());
    // HAProxy: what holds is written into the request, and the first that holds but one chooses the pool.
    let (their_members, vip) = (started(&theirs), theirs.socket());
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  \
         timeout server 50s\nfrontend front\n  bind {vip}\n  default_backend main\n"
    );
    for (r, rule) in rules.iter().enumerate() {
        text.push_str(&acl(&format!("r{r}"), rule));
    }
    for r in 0..rules.len() {
        writeln!(text, "  http-request add-header X-Match r{r} if r{r}").unwrap();
    }
    for r in 0..rules.len() {
        writeln!(text, "  use_backend {} if r{r} !r{}", pool(r), (r + 1) % rules.len()).unwrap();
    }
    for (pool, member) in POOLS.iter().zip(&their_members) {
        writeln!(text, "backend {pool}\n  server {} {}", member.name(), member.socket()).unwrap();
    }
    let _haproxy = Haproxy::start_with(&theirs, &text, vip);
    let expected = verdicts(vip, &their_members, &requests);

    let (our_members, vip) = (started(&ours), ours.socket());
    let marking = rules.iter().enumerate().map(
        |(r, rule)| json!({"action": "PASS", "rules": [rule], "append_request_headers": {"X-Match": format!("r{r}")}}),
    );
    let choosing = rules.iter().enumerate().map(|(r, rule)| {
        let mut next = rules[(r + 1) % rules.len()].clone();
        next["invert"] = json!(true);
        json!({"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": pool(r)}, "rules": [rule, next]})
    });
    let policies: Vec<Value> = marking.chain(choosing).collect();
    let _weir = Weir::start_with(&ours, &document(&ours, vip, &our_members, &json!(policies)), &[]);
    let found = verdicts(vip, &our_members, &requests);

    let mut differing = Vec::new();
    let (mut held, mut missed) = (vec![0; rules.len()], vec![0; rules.len()]);
    for (i, request) in requests.iter().enumerate() {
        for (r, rule) in rules.iter().enumerate() {
            let holds = |told: &(Vec<String>, String)| told.0.iter().any(|name| *name == format!("r{r}"));
            let (theirs, ours) = (holds(&expected[i]), holds(&found[i]));
            if theirs != ours && !differs_by_intent(rule, request) {
                differing.push(format!("{rule} of {request:?}: HAProxy {theirs}, Weir {ours}"));
            }
            *(if ours { &mut held[r] } else { &mut missed[r] }) += 1;
        }
        if expected[i].0 == found[i].0 && expected[i].1 != found[i].1 {
            differing.push(format!("{request:?} went to {} and {}", expected[i].1, found[i].1));
        }
    }
    assert!(differing.is_empty(), "{} differ\n{}", differing.len(), differing.join("\n"));
    // A page is no good on which a rule never holds, or always.
    for (r, rule) in rules.iter().enumerate() {
        // What stands between commas has none in it.
        let never = rule["type"] == "HEADER" && rule["value"].as_str().is_some_and(|value| value.contains(','));
        assert!(
            (held[r] == 0) == never && missed[r] > 0,
            "{rule} held {} times and missed {} times",
            held[r],
            missed[r]
        );
    }
}
