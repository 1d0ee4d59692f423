//! Policies as a whole: their order, what they change, and the compiled matcher beside a naive one.

use std::net::IpAddr;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::config::l7::{
    Action, CompareType, Comparison, Edits, L7Policy, L7Rule, Mirror, RedirectCode, Rewrite, Test,
};
use crate::id::{L7PolicyId, L7RuleId, PoolId};
use crate::request::Parts;

/// A request as a member would get it.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
}

impl Parts for Sent {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let named = |field: &&(String, String)| field.0.as_bytes().eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|(_, value)| value.as_bytes())
    }
}

fn sent(method: &str, target: &str, fields: &[(&str, &str)]) -> Sent {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sent { method: method.to_owned(), target: target.to_owned(), fields }
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn equal(value: &str) -> Comparison {
    compare(CompareType::EqualTo, value)
}

fn compare(compare: CompareType, value: &str) -> Comparison {
    Comparison { compare, value: value.to_owned() }
}

fn rule(test: Test) -> L7Rule {
    L7Rule { id: L7RuleId(Uuid::nil()), admin_state_up: true, invert: false, test, tags: vec![] }
}

fn policy(name: &str, action: Action, tests: impl IntoIterator<Item = Test>) -> L7Policy {
    L7Policy {
        id: L7PolicyId::derived(Uuid::nil(), name),
        name: name.to_owned(),
        description: String::new(),
        admin_state_up: true,
        action,
        rules: tests.into_iter().map(rule).collect(),
        changes: Default::default(),
        mirror: None,
        tags: vec![],
    }
}

/// Pools are numbered by their id; the pool 99 is administratively down.
fn pool(number: usize) -> PoolId {
    PoolId(Uuid::from_u128(number as u128))
}

fn build(policies: &[L7Policy]) -> ListenerPolicies {
    let place_of = |id: PoolId| Some(id.0.as_u128() as usize).filter(|number| *number != 99);
    ListenerPolicies::build(policies, None, 1, &place_of)
}

fn decide(policies: &ListenerPolicies, request: &Sent) -> (Decision, Vec<PolicyIndex>) {
    let draw = || 0;
    let asked = Asked::new(request, CLIENT, TlsFacts::default(), &draw);
    let mut matched = Vec::new();
    (policies.decide(&asked, |i| matched.push(i)), matched)
}

fn holds(test: Test, request: &Sent) -> bool {
    decide(&build(&[policy("a", Action::Reject, [test])]), request).0.by.is_some()
}

fn all() -> Test {
    Test::Path(compare(CompareType::StartsWith, "/"))
}

#[test]
fn refusals_go_first_then_redirects_then_pools() {
    let url = Action::ToUrl { url: "http://a/".into(), code: RedirectCode::Found };
    let path = |path| [Test::Path(compare(CompareType::StartsWith, path))];
    let policies = build(&[
        policy("pool", Action::ToPool(pool(1)), path("/")),
        policy("pass", Action::Pass, path("/")),
        policy("url", url, path("/b")),
        policy("reject", Action::Reject, path("/b/c")),
    ]);
    let by = |target: &str| decide(&policies, &sent("GET", target, &[]));
    let (decision, matched) = by("/b/c");
    assert_eq!((decision.by, matched), (Some(3), vec![3]));
    let (decision, matched) = by("/b");
    assert_eq!((decision.by, matched), (Some(2), vec![2]));
    let (decision, matched) = by("/a");
    assert_eq!((decision.by, matched), (Some(0), vec![1, 0]));
    assert_eq!(by("*"), (Decision::default(), vec![]), "`*` is no path");
    assert_eq!(policies.pools().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_policy_without_rules_that_are_up_matches_nothing() {
    let mut down = policy("down", Action::Reject, [all()]);
    down.rules[0].admin_state_up = false;
    let mut off = policy("off", Action::Reject, [all()]);
    off.admin_state_up = false;
    let gone = policy("gone", Action::ToPool(pool(99)), [all()]);
    let policies = build(&[policy("none", Action::Reject, []), down, off, gone]);
    assert_eq!(decide(&policies, &sent("GET", "/", &[])).0.by, None);
    assert_eq!(policies.policies.len(), 4);
}

#[test]
fn all_rules_must_hold_and_some_are_inverted() {
    let mut both = policy("both", Action::Reject, [all(), Test::Method(equal("GET"))]);
    both.rules[1].invert = true;
    let policies = build(&[both]);
    assert_eq!(decide(&policies, &sent("GET", "/", &[])).0.by, None);
    assert_eq!(decide(&policies, &sent("PUT", "/", &[])).0.by, Some(0));
    assert_eq!(decide(&policies, &sent("PUT", "*", &[])).0.by, None);
}

#[test]
fn each_type_looks_at_its_own_part() {
    let request = sent(
        "POST",
        "/img/a.JPG?x=1&y=a%20b&x=2",
        &[
            ("Host", "WWW.Example.org:8080"),
            ("X-Ver", "a, b"),
            ("x-ver", "c"),
            ("Cookie", "s=1; t=2"),
            ("Cookie", "s=3"),
        ],
    );
    use CompareType::*;
    for (test, expected) in [
        (Test::HostName(equal("www.example.ORG:8080")), true),
        (Test::HostName(equal("www.example.org")), false),
        (Test::HostName(compare(Contains, "EXAMPLE.org:80")), true),
        (Test::HostName(compare(Contains, "exampleXorg")), false),
        (Test::HostName(compare(Regex, "^www\\.EX")), true),
        (Test::Path(equal("/img/a.JPG")), true),
        (Test::Path(compare(EndsWith, "y=a%20b&x=2")), false),
        (Test::Path(compare(Contains, "g/A")), false),
        (Test::FileType(equal("JPG")), true),
        (Test::FileType(equal("jpg")), false),
        (Test::FileType(compare(Regex, "(?i)^jpe?g$")), true),
        (Test::Header("X-VER".into(), equal("b")), true),
        (Test::Header("X-VER".into(), equal("c")), true),
        (Test::Header("X-VER".into(), equal("a, b")), false),
        (Test::Header("missing".into(), compare(Regex, "")), false),
        (Test::Cookie("s".into(), equal("3")), true),
        (Test::Cookie("t".into(), equal("3")), false),
        (Test::Cookie("S".into(), equal("1")), false),
        (Test::Method(equal("POST")), true),
        (Test::Query(None, compare(StartsWith, "x=1")), true),
        (Test::Query(Some("x".into()), equal("2")), true),
        (Test::Query(Some("y".into()), equal("a b")), false),
        (Test::SourceIp(vec!["192.0.2.0/24".parse().unwrap()]), true),
        (Test::SourceIp(vec!["192.0.3.0/24".parse().unwrap()]), false),
        (Test::SslConnHasCert, false),
        (Test::SslVerifyResult(0), false),
    ] {
        assert_eq!(holds(test.clone(), &request), expected, "{test:?}");
    }
}

#[test]
fn rules_about_tls_ask_the_facts() {
    let dn_fields = [("O", "oslb"), ("CN", "first"), ("CN", "second")].map(|(name, value)| (name.into(), value.into()));
    let tls = TlsFacts { has_cert: true, verify_result: Some(18), dn_fields: &dn_fields };
    let holds = |test: Test| {
        let (request, draw) = (sent("GET", "/", &[]), || 0);
        let asked = Asked::new(&request, CLIENT, tls, &draw);
        build(&[policy("a", Action::Reject, [test])]).decide(&asked, |_| ()).by.is_some()
    };
    assert!(holds(Test::SslConnHasCert) && holds(Test::SslVerifyResult(18)) && !holds(Test::SslVerifyResult(0)));
    assert!(holds(Test::SslDnField("cn".into(), equal("first"))));
    assert!(!holds(Test::SslDnField("CN".into(), equal("second"))));
}

#[test]
fn what_matched_before_is_compiled_and_counted_on() {
    let reject = policy("a", Action::Reject, [Test::Path(compare(CompareType::Regex, "^/a"))]);
    let old = [policy("gone", Action::Pass, [all()]), reject.clone()];
    let compiled = build(&old);
    compiled.policies[1].cells.of(0).matched.add(7);
    let again = ListenerPolicies::build(&[reject], Some((&compiled, &old)), 2, &|_| None);
    assert_eq!(again.policies[0].cells.sum(|cell| cell.matched.get()), 7);
    assert_eq!(decide(&again, &sent("GET", "/a", &[])).0.by, Some(0));
}

/// Fields of a request with the edits of the matching policies carried out, as the data plane does.
fn edited(edits: FieldEdits<'_>, fields: &[(&str, &str)]) -> Vec<String> {
    let client = Client("[2001:db8::1]:4711".parse().unwrap());
    let kept = fields.iter().filter(|(name, _)| !edits.drops(name.as_bytes()));
    let mut out: Vec<String> = kept.map(|(name, value)| format!("{name}: {value}")).collect();
    for (name, value) in edits.added() {
        let mut text = Vec::new();
        value.write(client, &mut text);
        out.push(format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(&text)));
    }
    out
}

#[test]
fn policies_change_one_after_the_other() {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let mut first = policy("first", Action::Pass, [all()]);
    first.changes.request =
        Edits { remove: vec!["A".into()], set: pair("B", "b1"), append: pair("C", "c1 from %{client_ip}") };
    let mut second = policy("second", Action::ToPool(pool(3)), [all()]);
    second.changes.request = Edits { remove: vec!["c".into()], set: pair("b", "b2"), append: pair("B", "b3") };
    second.changes.response = Edits { set: pair("S", "%{client_ip}:%{client_port}"), ..Edits::default() };
    let policies = build(&[second, first]);
    let (decision, matched) = decide(&policies, &sent("GET", "/", &[]));
    assert_eq!(matched, [1, 0]);
    let changes = policies.changes(decision);
    let fields = [("a", "1"), ("B", "2"), ("C", "3"), ("D", "4")];
    assert_eq!(edited(changes.request(), &fields), ["D: 4", "b: b2", "B: b3"]);
    assert_eq!(edited(changes.response(), &fields[3..]), ["D: 4", "S: 2001:db8::1:4711"]);
    let none = policies.changes(Decision::default());
    assert!(none.is_empty() && edited(none.request(), &fields[..1]) == ["a: 1"]);
}

#[test]
fn whole_segments_of_a_path_are_rewritten() {
    let rewritten = |from: &str, to: &str, target: &str| {
        let mut pass = policy("a", Action::Pass, [all()]);
        pass.changes.rewrite = Some(Rewrite { from: from.into(), to: to.into() });
        let policies = build(&[pass]);
        let (decision, _) = decide(&policies, &sent("GET", target, &[]));
        let mut out = Vec::new();
        let changed = policies.changes(decision).rewrite(target.as_bytes(), &mut out);
        changed.then(|| String::from_utf8(out).unwrap())
    };
    for (from, to, target, expected) in [
        ("/api", "/v2", "/api/x?y", Some("/v2/x?y")),
        ("/api", "/v2", "/api", Some("/v2")),
        ("/api", "/v2", "/api?y", Some("/v2?y")),
        ("/api", "/v2", "/apix", None),
        ("/api", "/v2", "/", None),
        ("/api/", "/v2/", "/api/x", Some("/v2/x")),
        ("/api", "/", "/api/x", Some("/x")),
        ("/api", "/", "/api", Some("/")),
        ("/api", "/", "/api?y", Some("/?y")),
        ("/", "/v2", "/x", Some("/v2/x")),
        ("/", "/v2", "/", Some("/v2/")),
        // What begins with two slashes is a host to some.
        ("/api", "/", "/api//x", Some("/x")),
        ("/api", "/", "/api///x//y?//z", Some("/x//y?//z")),
        ("/api", "/v2", "/api//x", Some("/v2//x")),
        ("/", "/", "//x", Some("/x")),
    ] {
        assert_eq!(rewritten(from, to, target).as_deref(), expected, "{from} to {to} of {target}");
    }
}

#[test]
fn copies_go_where_the_first_says() {
    let mut first = policy("first", Action::Pass, [all()]);
    first.mirror = Some(Mirror { pool: pool(5), percent: 30 });
    let mut second = policy("second", Action::Pass, [all()]);
    second.mirror = Some(Mirror { pool: pool(6), percent: 100 });
    let policies = build(&[first, second]);
    let request = sent("GET", "/", &[]);
    let mirrors = |draw: u64| {
        let draw = || draw;
        let asked = Asked::new(&request, CLIENT, TlsFacts::default(), &draw);
        policies.changes(policies.decide(&asked, |_| ())).mirror(&asked)
    };
    assert_eq!(mirrors(u64::MAX / 4), Some((0, 5)));
    assert_eq!(mirrors(u64::MAX / 2), None);
}

/// The same rules, written as plainly as can be and without regard to cost.
mod naive {
    use super::*;

    fn text_holds(comparison: &Comparison, text: &str, any_case: bool) -> bool {
        let fold = |text: &str| if any_case { text.to_ascii_lowercase() } else { text.to_owned() };
        let (text, value) = (fold(text), comparison.value.clone());
        match comparison.compare {
            CompareType::Regex => {
                let prefix = if any_case { "(?i-u)" } else { "(?-u)" };
                regex::bytes::Regex::new(&format!("{prefix}{value}")).unwrap().is_match(text.as_bytes())
            }
            CompareType::StartsWith => text.starts_with(&fold(&value)),
            CompareType::EndsWith => text.ends_with(&fold(&value)),
            CompareType::Contains => text.contains(&fold(&value)),
            CompareType::EqualTo => text == fold(&value),
        }
    }

    pub(super) fn test(test: &Test, sent: &Sent) -> bool {
        let fields = |name: &str| -> Vec<String> {
            sent.fields.iter().filter(|f| f.0.eq_ignore_ascii_case(name)).map(|f| f.1.clone()).collect()
        };
        let split = |value: &str| value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        let mut halves = sent.target.splitn(2, '?');
        let path = halves.next().filter(|path| path.starts_with('/')).map(str::to_owned);
        let query = halves.next().map(str::to_owned);
        match test {
            Test::HostName(c) => fields("host").iter().take(1).any(|v| split(v).iter().any(|e| text_holds(c, e, true))),
            Test::Path(c) => path.is_some_and(|path| text_holds(c, &path, false)),
            Test::FileType(c) => path
                .and_then(|path| path.rsplit('/').next()?.rsplit_once('.').map(|(_, kind)| kind.to_owned()))
                .is_some_and(|kind| text_holds(c, &kind, false)),
            Test::Header(name, c) => fields(name).iter().any(|v| split(v).iter().any(|e| text_holds(c, e, false))),
            Test::Cookie(name, c) => fields("cookie").iter().any(|field| {
                field.split([';', ',']).any(|cookie| {
                    cookie.split_once('=').is_some_and(|(n, v)| n.trim() == name && text_holds(c, v.trim(), false))
                })
            }),
            Test::Method(c) => text_holds(c, &sent.method, false),
            Test::Query(None, c) => query.is_some_and(|query| text_holds(c, &query, false)),
            Test::Query(Some(name), c) => query.is_some_and(|query| {
                query.split('&').any(|parameter| {
                    let (n, v) = parameter.split_once('=').unwrap_or((parameter, ""));
                    n == name && text_holds(c, v, false)
                })
            }),
            _ => false,
        }
    }

    pub(super) fn decide(policies: &[L7Policy], sent: &Sent) -> Option<usize> {
        let matches = |policy: &L7Policy| {
            let mut up = policy.rules.iter().filter(|rule| rule.admin_state_up).peekable();
            policy.admin_state_up && up.peek().is_some() && up.all(|rule| test(&rule.test, sent) != rule.invert)
        };
        let first = |wanted: fn(&Action) -> bool| policies.iter().position(|p| wanted(&p.action) && matches(p));
        first(|a| matches!(a, Action::Reject))
            .or_else(|| first(|a| matches!(a, Action::ToUrl { .. } | Action::ToPrefix { .. })))
            .or_else(|| first(|a| matches!(a, Action::ToPool(_))))
    }
}

/// Few letters, so that things match.
fn comparisons() -> impl Strategy<Value = Comparison> {
    use CompareType::*;
    let plain = (prop::sample::select(vec![StartsWith, EndsWith, Contains, EqualTo]), "[abAB/.]{1,3}");
    let regex = prop::sample::select(vec!["a+", "^/?a", "[ab]$", "a.b", "", "^$", "(a|b){2}", "\\.", "\\w\\W"]);
    prop_oneof![plain.prop_map(|(kind, value)| compare(kind, &value)), regex.prop_map(|value| compare(Regex, value))]
}

fn tests() -> impl Strategy<Value = Test> {
    prop_oneof![
        comparisons().prop_map(Test::HostName),
        comparisons().prop_map(Test::Path),
        comparisons().prop_map(Test::FileType),
        ("[xX]", comparisons()).prop_map(|(name, c)| Test::Header(name, c)),
        ("[ab]", comparisons()).prop_map(|(name, c)| Test::Cookie(name, c)),
        comparisons().prop_map(Test::Method),
        (prop::option::of("[ab]"), comparisons()).prop_map(|(name, c)| Test::Query(name, c)),
    ]
}

fn policies() -> impl Strategy<Value = Vec<L7Policy>> {
    let url = Action::ToUrl { url: "http://a/".into(), code: RedirectCode::Found };
    let actions = prop::sample::select(vec![Action::Reject, url, Action::ToPool(pool(1)), Action::ToPool(pool(2))]);
    let rule = (tests(), prop::bool::weighted(0.3), prop::bool::weighted(0.9)).prop_map(|(test, invert, up)| L7Rule {
        invert,
        admin_state_up: up,
        ..rule(test)
    });
    let policy = (actions, prop::collection::vec(rule, 0..4), prop::bool::weighted(0.9))
        .prop_map(|(action, rules, admin_state_up)| L7Policy { admin_state_up, rules, ..policy("", action, []) });
    prop::collection::vec(policy, 0..6)
}

fn requests() -> impl Strategy<Value = Sent> {
    let value = "[ab,;=/. ]{0,6}".prop_map(|value| value.trim().to_owned());
    let field = (prop::sample::select(vec!["Host", "X", "x", "Cookie"]), value)
        .prop_map(|(name, value)| (name.to_owned(), value));
    ("[abA]{1,2}", "(/[ab./]{0,5}(\\?[ab=&]{0,6})?|\\*)", prop::collection::vec(field, 0..5))
        .prop_map(|(method, target, fields)| Sent { method, target, fields })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_matcher_decides_as_the_naive_one(policies in policies(), requests in prop::collection::vec(requests(), 1..8)) {
        let compiled = build(&policies);
        for request in requests {
            prop_assert_eq!(decide(&compiled, &request).0.by, naive::decide(&policies, &request), "{:?}", request);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        method in "\\PC{0,9}",
        target in "\\PC{0,30}",
        fields in prop::collection::vec(("[xX]|cookie|host", "\\PC{0,30}"), 0..5),
        policies in policies(),
    ) {
        decide(&build(&policies), &Sent { method, target, fields });
    }
}

/// Where TLS is passed through, a connection has a host and a client and nothing else.
#[test]
fn a_connection_is_asked_about_by_its_name_and_its_client() {
    use crate::client_hello::ServerName;
    use crate::request::Greeted;

    let parts = |name: &str| Greeted(ServerName::parse(name));
    let rule = |test: Test, invert: bool| {
        let id = L7RuleId(Uuid::nil());
        super::rule::Rule::build(&L7Rule { id, admin_state_up: true, invert, test, tags: Vec::new() }).unwrap()
    };
    let holds = |name: &str, test: Test, invert: bool| {
        let parts = parts(name);
        rule(test, invert).holds(&Asked::new(&parts, CLIENT, TlsFacts::default(), &|| 0))
    };
    let of = |way: CompareType, value: &str| Test::HostName(compare(way, value));
    for (way, value) in [
        (CompareType::EqualTo, "WWW.a.test"),
        (CompareType::StartsWith, "www."),
        (CompareType::EndsWith, ".A.test"),
        (CompareType::Contains, "w.a"),
        (CompareType::Regex, "^w+\\.a"),
    ] {
        assert!(holds("www.A.test.", of(way, value), false), "{way:?}");
        assert!(!holds("www.A.test", of(way, value), true), "{way:?}");
        assert!(!holds("ftp.b.test", of(way, value), false), "{way:?}");
        // Who names nobody.
        assert!(!holds("", of(way, value), false) && holds("", of(way, value), true), "{way:?}");
    }
    assert!(holds("", Test::SourceIp(vec!["192.0.2.0/24".parse().unwrap()]), false));
    for test in
        [Test::Path(compare(CompareType::Regex, "")), Test::SslConnHasCert, Test::Header("host".into(), equal("b"))]
    {
        assert!(!holds("a", test, false));
    }
}
