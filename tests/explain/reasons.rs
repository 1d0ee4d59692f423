//! Who is left out and why, and what is refused before any member.

use lb_control::events::EventKind::MemberDown;
use lb_control::explain::{Check, Says};
use weir_tests::health::{Moody, fast_http};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::Setup;

use super::*;

const GET: [&str; 4] = ["GET", "/", "--from", "127.99.8.1"];

fn check<'e>(explanation: &'e Explanation, name: &str) -> &'e Check {
    let found = explanation.checks.iter().find(|check| check.check == name);
    found.unwrap_or_else(|| panic!("{name} was not asked: {explanation:?}"))
}

#[test]
fn who_is_left_out_is_left_out_for_a_reason() {
    let place = Place::new();
    let sick = Moody::http("sick", place.socket());
    let others: Vec<Member> = ["off", "idle", "spare", "well"].map(|name| Member::http(name, place.socket())).into();
    let all = std::iter::once(&sick.member).chain(&others).map(|member| (member.name(), member.socket()));
    let mut setup = Setup::new(Mode::Http, place.socket(), all).monitor(fast_http());
    let keep = |setup: &mut Setup, name: &str, change: &dyn Fn(&mut weir_tests::setup::Backend)| {
        setup.members.iter_mut().filter(|member| member.name == name).for_each(change);
    };
    keep(&mut setup, "off", &|member| member.admin_state_up = false);
    keep(&mut setup, "idle", &|member| member.weight = 0);
    keep(&mut setup, "spare", &|member| member.backup = true);
    let weir = Weir::start(&place, &setup);
    sick.mood(1);
    weir.control.wait_event(MemberDown, "sick", 0, PATIENCE);
    let said = explained(&weir, &GET);
    assert_eq!(picked(&said), "well");
    for (name, why) in [
        ("off", "disabled: admin_state_up is false"),
        ("idle", "draining: its weight is 0"),
        ("sick", "HTTP 500, expected 200"),
    ] {
        let member = candidate(&said, name);
        assert!(member.stands == Stands::LeftOut && member.words.contains(why), "{member:?}");
    }
    assert!(candidate(&said, "sick").words.starts_with("down: "), "{said:?}");
    let spare = candidate(&said, "spare");
    assert_eq!((spare.turn, &*spare.words), (Some(2), "a backup: ordinary members come first"));
    let text = told(&weir, &GET);
    assert!(text.starts_with("→ well: ROUND_ROBIN: ") && text.contains("HTTP 500, expected 200"), "{text}");
    // Nobody is left.
    setup.members.retain(|member| ["sick", "off", "idle"].contains(&&*member.name));
    weir.control.apply(&setup.document(&place.path("access.log")));
    let said = explained(&weir, &GET);
    assert_eq!((said.verdict.outcome, said.verdict.status), (Outcome::NoMember, Some(503)));
    assert_eq!(weir_tests::client::get(setup.vip, "/").status(), 503);
}

/// A member that holds whoever comes until they leave.
fn holding(name: &str, socket: SocketAddr) -> Member {
    Member::script(name, socket, |conn| {
        conn.request()?;
        conn.take(1).map(drop)
    })
}

#[test]
fn a_full_member_is_passed_over_and_a_full_pool_waited_for() {
    let place = Place::new();
    let (full, free) = (holding("full", place.socket()), holding("free", place.socket()));
    let members = [("full", full.socket()), ("free", free.socket())];
    let mut setup = Setup::new(Mode::Http, place.socket(), members).pool_keys(json!({"max_queue": 1}));
    setup.members.iter_mut().for_each(|member| member.more = json!({"max_connections": 1}));
    let weir = Weir::start(&place, &setup);
    let send = || {
        let mut client = Client::connect(setup.vip);
        client.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        client
    };
    let active = |n| until_true(PATIENCE, "members to work", || weir.control.stats().pools[0].active_connections == n);
    let _first = send();
    active(1);
    let said = explained(&weir, &GET);
    assert_eq!(picked(&said), "free");
    assert_eq!(candidate(&said, "full").words, "full: it works on 1 of 1");
    let _second = send();
    active(2);
    let said = explained(&weir, &GET);
    assert_eq!(said.verdict.outcome, Outcome::Waits);
    assert!(said.verdict.words.contains("all that could serve are full, for 5000 ms at most; 0 wait"), "{said:?}");
    let _third = send();
    until_true(PATIENCE, "one to wait", || weir.control.stats().pools[0].queue.waiting == 1);
    let said = explained(&weir, &GET);
    assert_eq!((said.verdict.outcome, said.verdict.status), (Outcome::Refused, Some(503)), "{said:?}");
    assert_eq!(weir_tests::client::get(setup.vip, "/").status(), 503);
}

#[test]
fn what_a_limit_refuses_is_refused_before_any_member() {
    let mut stage = stage(Mode::Http, "ROUND_ROBIN", &json!({}));
    stage.apply(|setup| {
        setup.listener = json!({
            "allowed_cidrs": ["127.99.8.0/28"], "on_connection_limit": "REFUSE", "connection_limit": 3,
            "client_limits": {"connections": 2, "request_rate": 1, "request_burst": 2, "exempt": ["127.99.8.5"]},
            "max_target_length": 128,
        });
    });
    let refused = |words: &[&str], name: &str, status: Option<u16>| {
        let said = explained(&stage.weir, words);
        assert_eq!((said.verdict.outcome, said.verdict.status), (Outcome::Refused, status), "{said:?}");
        assert_eq!(check(&said, name).says, Says::Refuse, "{said:?}");
        assert!(said.members.is_empty() && said.pool.is_none());
        said
    };
    let out = refused(&["GET", "/", "--from", "127.99.9.1"], "allowed_cidrs", None);
    assert!(check(&out, "allowed_cidrs").words.contains("in none of its networks"));
    let long = format!("/{}", "x".repeat(128));
    refused(&["GET", &long, "--from", "127.99.8.1"], "request", Some(414));
    refused(&["CONNECT", "/", "--from", "127.99.8.1"], "request", Some(405));

    // A client with two connections has as many as it may.
    let mut first = Client::connect_from(address(1), stage.vip());
    assert_eq!(ask(&mut first, "/", "").status(), 200);
    let said = explained(&stage.weir, &GET);
    assert_eq!(check(&said, "client_limits.connections").words, "1 of 2 connections of this client are open");
    assert_eq!(ask(&mut first, "/", "").status(), 200);
    let again = refused(&GET, "client_limits.request_rate", Some(429));
    assert!(check(&again, "client_limits.request_rate").words.contains("it may ask again in"), "{again:?}");
    let second = Client::connect_from(address(1), stage.vip());
    until_true(PATIENCE, "it to be counted", || stage.weir.control.stats().active_connections == 2);
    refused(&GET, "client_limits.connections", None);
    assert_eq!(check(&explained(&stage.weir, &["GET", "/", "--from", "127.99.8.5"]), "client_limits").says, Says::Pass);
    // And the listener is full with a third.
    let third = Client::connect_from(address(2), stage.vip());
    until_true(PATIENCE, "it to be counted", || stage.weir.control.stats().active_connections == 3);
    let full = refused(&["GET", "/", "--from", "127.99.8.5"], "connection_limit", Some(503));
    assert_eq!(check(&full, "connection_limit").words, "3 of 3 connections are open");
    drop((first, second, third));

    // A relay that refuses has no status to say it with.
    let mut relay = super::stage(Mode::Tcp, "ROUND_ROBIN", &json!({}));
    relay.apply(|setup| setup.members.clear());
    let said = explained(&relay.weir, &["--from", "127.99.8.1"]);
    assert_eq!((said.verdict.outcome, said.verdict.status), (Outcome::NoMember, None));
    assert_eq!(Client::connect(relay.vip()).take_to_end(), End::Reset);
}

#[test]
fn a_wrong_question_is_told_what_would_be_right() {
    let stage = stage(Mode::Http, "ROUND_ROBIN", &json!({}));
    for (words, code, right) in [
        (
            &["--listener", "frnot", "--from", "127.0.0.1", "GET", "/"][..],
            1,
            "no listener called frnot; did you mean front?",
        ),
        (&["--listener", "other", "--from", "127.0.0.1", "GET", "/"], 1, "there are: front"),
        (&["--listener", "front", "--from", "127.0.0.1"], 1, "give METHOD and URL, as in GET /"),
        (&["--listener", "front", "--from", "::1", "GET", "/"], 1, "its clients have IPv4 addresses"),
        (&["--listener", "front", "--from", "localhost", "GET", "/"], 2, "192.0.2.7:4711"),
        (&["--listener", "front", "--from", "127.0.0.1", "GET"], 2, "<URL>"),
        (&["--listener", "front", "--from", "127.0.0.1", "GET", "index.html"], 2, "http://example.org/index.html"),
        (&["--listener", "front", "--from", "127.0.0.1", "/", "GET"], 2, "a word such as GET"),
        (&["--listener", "front", "--from", "127.0.0.1", "--cookie", "x", "GET", "/"], 2, "one cookie, as in SRV=abc"),
        (&["--listener", "front", "--from", "127.0.0.1", "--header", "x", "GET", "/"], 2, "'X-Tenant: blue'"),
        (&["--listener", "front", "--from", "127.0.0.1", "--header", "a/b: x", "GET", "/"], 1, "no name of a field"),
    ] {
        let said = lbctl(&stage.weir, words);
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!((said.status.code(), said.stdout.is_empty()), (Some(code), true), "{words:?}: {error}");
        assert!(error.contains(right), "{words:?}: {error}");
    }
    for body in ["", "{}", "[1]", "{\"listener\": 3}"] {
        let reply = stage.weir.control.must("POST", "/v1/explain", body.as_bytes());
        assert!(reply.status == 400 && reply.body.contains("this is no question"), "{body}: {}", reply.body);
    }
    assert_eq!(stage.weir.control.must("GET", "/v1/explain", b"").status, 405);
}
