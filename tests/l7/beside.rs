//! Policies beside queues, limits, persistence and retries: who has which place when.

use serde_json::{Value, json};
use weir_tests::client::{Client, get};
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::wait::{PATIENCE, until_true};

use super::{Play, starts_with, to_pool};

/// A member that takes requests and never answers.
fn silent(place: &Place) -> Member {
    Member::script("silent", place.socket(), |conn| {
        loop {
            conn.head()?;
        }
    })
}

/// Puts `member` in place of the only one of the pool with this number, working on one request at once.
fn takes_one(lb: &mut Value, pool: usize, member: &Member) {
    let one = &mut lb["pools"][pool]["members"][0];
    one["address"] = json!(member.socket().ip());
    one["protocol_port"] = json!(member.socket().port());
    one["max_connections"] = json!(1);
}

#[test]
fn who_is_answered_here_or_goes_elsewhere_waits_for_nobody() {
    let place = Place::new();
    let busy = silent(&place);
    let policies = json!([
        {"action": "REJECT", "rules": [starts_with("/no")]},
        {"action": "REDIRECT_TO_URL", "redirect_url": "https://a.test/", "rules": [starts_with("/see")]},
        to_pool("a", "/a", "a"),
    ]);
    let play = Play::tuned(&policies, |lb| {
        takes_one(lb, 0, &busy);
        lb["pools"][0]["timeout_queue"] = json!(60_000);
        lb["pools"][0]["session_persistence"] = json!({"type": "SOURCE_IP"});
    });
    let ask = |target: &str| {
        let mut client = Client::connect(play.vip);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let _worked_on = ask("/first");
    busy.wait_requests(0);
    let queue = || play.weir.control.stats().pools.into_iter().find(|pool| pool.name == "main").expect("main").queue;
    until_true(PATIENCE, "the member to be taken", || play.weir.control.member("on-main").active_connections == 1);
    let _waiting = ask("/second");
    until_true(PATIENCE, "one to wait", || queue().waiting == 1);
    for _ in 0..20 {
        assert_eq!(get(play.vip, "/no").status(), 403);
        assert_eq!(get(play.vip, "/see").status(), 302);
        assert_eq!(get(play.vip, "/a").header("x-member"), Some("on-a"));
    }
    assert_eq!(queue().waiting, 1, "nobody else came to wait");
    let persistence = |name: &str| {
        let pool = play.weir.control.stats().pools.into_iter().find(|pool| pool.name == name).expect("a pool");
        pool.persistence.map(|figures| figures.hits + figures.misses)
    };
    assert!(persistence("main").is_some_and(|asked| asked <= 2) && persistence("a").is_none());
}

#[test]
fn copies_count_for_no_limit_of_the_client_and_wait_for_nobody_of_theirs() {
    let place = Place::new();
    let busy = silent(&place);
    let copy = json!([{"action": "PASS", "rules": [starts_with("/")], "mirror": {"pool": {"name": "a"}}}]);
    let play = Play::tuned(&copy, |lb| {
        takes_one(lb, 1, &busy);
        lb["listeners"][0]["connection_limit"] = json!(1);
        lb["listeners"][0]["client_limits"] = json!({"connections": 1, "request_rate": 1, "request_burst": 50});
    });
    let mut client = Client::connect(play.vip);
    // As many as the client may send at once: were copies counted, the second half would be refused.
    for _ in 0..50 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.header("x-member")), (200, Some("on-main")));
    }
    let figures = play.weir.control.listener().l7policies.remove(0);
    assert_eq!((figures.matched, figures.mirrored), (50, 50));
    assert!(busy.requests() <= 1, "its limit holds for copies");
    // All of them are given up in time, and the member's slot with them.
    until_true(PATIENCE, "copies to be given up", || play.weir.control.member("on-a").active_connections == 0);
    until_true(PATIENCE, "all to be counted", || play.weir.control.listener().l7policies[0].mirrors_lost == 50);
}

#[test]
fn a_pool_chosen_by_a_policy_remembers_its_clients() {
    let place = Place::new();
    let others: Vec<Member> = (0..3).map(|n| Member::http(&format!("other-{n}"), place.socket())).collect();
    let play = Play::tuned(&json!([to_pool("a", "/a", "a")]), |lb| {
        let member = |member: &Member| json!({"name": member.name(), "address": member.socket().ip(), "protocol_port": member.socket().port()});
        lb["pools"][1]["members"] = others.iter().map(member).collect();
        lb["pools"][1]["session_persistence"] = json!({"type": "HTTP_COOKIE"});
        lb["listeners"][0]["l7policies"][0]["remove_response_headers"] = json!(["Set-Cookie"]);
        lb["listeners"][0]["l7policies"][0]["remove_request_headers"] = json!(["Cookie"]);
    });
    let mut client = Client::connect(play.vip);
    let answer = client.get("/a").clone();
    let by = answer.header("x-member").expect("a member").to_owned();
    // What a policy takes away are the member's cookies: the pool's own are not among them.
    let cookie =
        answer.header("set-cookie").expect("a cookie of the pool").split(';').next().expect("a value").to_owned();
    for _ in 0..6 {
        client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
        assert_eq!(client.answer().header("x-member"), Some(by.as_str()));
    }
    assert_eq!(client.get("/else").header("set-cookie"), None, "the default pool remembers nobody");
    let seen = others.iter().find(|member| member.name() == by).expect("it").seen();
    assert!(seen.iter().all(|request| request.header("cookie").is_none()));
}
