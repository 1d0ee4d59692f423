//! Which policy decides, what the client gets, what the log and the figures say.

use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::member::Member;
use weir_tests::wait::{PATIENCE, until_true};

use super::{Play, starts_with, to_pool};

#[test]
fn pools_are_chosen_and_named_in_the_log() {
    let play = Play::new(&json!([to_pool("to-a", "/a", "a"), to_pool("to-b", "/b", "b")]));
    let mut client = Client::connect(play.vip);
    for (target, member) in [("/a/1", "on-a"), ("/", "on-main"), ("/b", "on-b"), ("/a", "on-a")] {
        assert_eq!(client.get(target).header("x-member"), Some(member), "{target}");
    }
    let lines = play.lines(4);
    let words = |i: usize| ["pool", "member", "policy"].map(|key| lines[i][key].as_str().map(str::to_owned));
    let some = |word: &str| Some(word.to_owned());
    assert_eq!(words(0), [some("a"), some("on-a"), some("to-a")]);
    assert_eq!(words(1), [some("main"), some("on-main"), None]);
    let listener = play.weir.control.listener();
    let matched: Vec<u64> = listener.l7policies.iter().map(|policy| policy.matched).collect();
    assert_eq!((listener.total_requests, matched), (4, vec![2, 1]));
}

#[test]
fn refusals_and_redirects_keep_the_connection() {
    let url = "https://www.example.org/new?x";
    let play = Play::new(&json!([
        {"name": "no", "action": "REJECT", "rules": [starts_with("/no")]},
        {"name": "url", "action": "REDIRECT_TO_URL", "redirect_url": url, "rules": [starts_with("/url")]},
        {"name": "prefix", "action": "REDIRECT_PREFIX", "redirect_prefix": "https://b", "redirect_http_code": 308,
         "rules": [starts_with("/prefix")]},
    ]));
    let mut client = Client::connect(play.vip);
    let answer = client.get("/no");
    assert_eq!((answer.status(), answer.header("connection")), (403, None));
    assert!(answer.text().contains("forbidden"));
    let answer = client.get("/url?a=b");
    assert_eq!((answer.status(), answer.header("location")), (302, Some(url)));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let answer = client.get("/prefix/a%20b?c=d");
    assert_eq!((answer.status(), answer.header("location")), (308, Some("https://b/prefix/a%20b?c=d")));
    // A body that came with the head is no reason to part.
    client.send("POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().status(), 403);
    client.send("HEAD /no HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer_to("HEAD").expect("an answer");
    assert_eq!((answer.status(), answer.text().len()), (403, 0));
    assert_eq!(client.get("/yes").status(), 200);
    let lines = play.lines(6);
    let words =
        |i: usize| ["reason", "flags", "policy"].map(|key| lines[i][key].as_str().unwrap_or_default().to_owned());
    assert_eq!(words(0), ["refused by the policy no", "PR", "no"]);
    assert_eq!(words(1), ["redirected by the policy url", "LR", "url"]);
    assert_eq!((&lines[2]["status"], &lines[2]["pool"]), (&json!(308), &json!(null)));
    assert_eq!(lines[5]["reason"], "served");
    let listener = play.weir.control.listener();
    assert_eq!((listener.refusals, listener.request_errors), (5, 0), "what a policy does is nobody's error");
}

#[test]
fn a_body_that_is_still_to_come_costs_the_connection() {
    let play = Play::new(&json!([{"action": "REJECT", "rules": [starts_with("/")]}]));
    let mut client = Client::connect(play.vip);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("connection")), (403, Some("close")));
    client.take_to_end();
    let mut old = Client::connect(play.vip);
    old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(old.answer().header("connection"), Some("close"), "nobody tells an old client otherwise");
    assert_eq!(play.on("main").requests(), 0);
}

#[test]
fn own_pages_are_used_and_listeners_need_no_default_pool() {
    let policies = json!([{"action": "REJECT", "rules": [starts_with("/no")]}, to_pool("a", "/a", "a")]);
    let play = Play::tuned(&policies, |lb| {
        lb["listeners"][0]["error_pages"] = json!({"403": "go away\n"});
        lb["listeners"][0]["default_pool"] = json!(null);
    });
    let mut client = Client::connect(play.vip);
    assert_eq!(client.get("/no").text(), "go away\n");
    assert_eq!(client.get("/a").header("x-member"), Some("on-a"));
    assert_eq!(client.get("/else").status(), 503);
}

#[test]
fn a_policy_that_is_down_or_whose_pool_is_down_is_not_there() {
    let mut off = to_pool("off", "/", "a");
    off["admin_state_up"] = json!(false);
    let mut bare = to_pool("bare", "/", "a");
    bare["rules"][0]["admin_state_up"] = json!(false);
    let policies = json!([off, bare, to_pool("to-b", "/", "b"), {"action": "REJECT"}]);
    let play = Play::tuned(&policies, |lb| lb["pools"][2]["admin_state_up"] = json!(false));
    assert_eq!(get(play.vip, "/").header("x-member"), Some("on-main"));
}

#[test]
fn clients_stay_on_their_side_of_a_percentage() {
    let rule = |value: u8, key: &str| json!({"type": "PERCENT", "value": value, "key": key});
    let canary = json!([{
        "name": "canary", "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "a"},
        "rules": [rule(30, "COOKIE:user")],
    }]);
    let play = Play::new(&canary);
    let mut client = Client::connect(play.vip);
    let mut side = |user: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; user={user}\r\n\r\n"));
        client.answer().header("x-member") == Some("on-a")
    };
    let before: Vec<bool> = (0..200).map(&mut side).collect();
    let again: Vec<bool> = (0..200).map(&mut side).collect();
    assert_eq!(before, again, "a client changed sides");
    let inside = before.iter().filter(|inside| **inside).count();
    assert!((30..=90).contains(&inside), "{inside} of 200 on a side of 30 percent");
    // The same rule with more: whoever was inside stays there, without a connection or a figure lost.
    let mut more = play.document.clone();
    more["loadbalancer"]["listeners"][0]["l7policies"][0]["rules"] = json!([rule(60, "COOKIE:user")]);
    play.weir.control.apply(&more);
    let after: Vec<bool> = (0..200).map(&mut side).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| *after || !before), "somebody fell out");
    let inside_now = after.iter().filter(|inside| **inside).count();
    assert!(inside_now > inside);
    let matched = play.weir.control.listener().l7policies[0].matched;
    assert_eq!(matched, (2 * inside + inside_now) as u64, "figures go on when a document is replaced");
}

#[test]
fn a_percentage_by_chance_is_drawn_for_each_request() {
    let play = Play::new(&json!([{
        "name": "half", "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "a"},
        "rules": [{"type": "PERCENT", "value": 50}],
    }]));
    let mut client = Client::connect(play.vip);
    let inside = (0..400).filter(|_| client.get("/").header("x-member") == Some("on-a")).count();
    assert!((120..=280).contains(&inside), "{inside} of 400");
}

#[test]
fn a_source_is_known_by_its_network() {
    let rule = |network: &str| json!([{"action": "REJECT", "rules": [{"type": "SOURCE_IP", "value": network}]}]);
    let inside = Play::new(&rule("10.0.0.0/8, 127.0.0.0/8"));
    assert_eq!(get(inside.vip, "/").status(), 403);
    let outside = Play::new(&rule("10.0.0.0/8, ::1"));
    assert_eq!(get(outside.vip, "/").status(), 200);
}

#[test]
fn a_listener_is_as_well_as_all_its_pools() {
    let monitor = json!({"type": "TCP", "delay": 0.1, "timeout": 0.1, "max_retries": 1, "max_retries_down": 1});
    let mut play = Play::tuned(&json!([to_pool("to-a", "/a", "a")]), |lb| {
        for pool in lb["pools"].as_array_mut().expect("pools") {
            pool["healthmonitor"] = monitor.clone();
        }
    });
    let status = |play: &Play| play.weir.control.listener().operating_status.map(|status| status.to_string());
    let becomes = |play: &Play, word: &str| {
        until_true(PATIENCE, &format!("the listener to be {word}"), || status(play).as_deref() == Some(word));
    };
    becomes(&play, "ONLINE");
    play.members[1].kill();
    becomes(&play, "DEGRADED");
    assert_eq!(get(play.vip, "/a").status(), 503);
    play.members[0].kill();
    becomes(&play, "ERROR");
    play.members.iter_mut().take(2).for_each(Member::start);
    becomes(&play, "ONLINE");
}

#[test]
fn policies_are_replaced_without_a_connection_lost() {
    let play = Play::new(&json!([to_pool("p", "/", "a")]));
    let mut client = Client::connect(play.vip);
    for round in 0..20 {
        let (pool, other) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        assert_eq!(client.get("/").header("x-member"), Some(format!("on-{pool}").as_str()));
        let mut next = play.document.clone();
        next["loadbalancer"]["listeners"][0]["l7policies"][0] = to_pool("p", "/", other);
        play.weir.control.apply(&next);
    }
}
