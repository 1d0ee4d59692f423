//! Copies of requests: they come, and they cost the request nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::wait::{PATIENCE, until_true};

use super::{Play, starts_with};

fn mirroring(percent: u8) -> Value {
    json!([{
        "name": "copy", "action": "PASS", "rules": [starts_with("/")],
        "set_request_headers": {"X-Changed": "yes"}, "mirror": {"pool": {"name": "a"}, "percent": percent},
    }])
}

#[test]
fn copies_carry_head_and_body_and_their_answers_are_thrown_away() {
    let play = Play::new(&mirroring(100));
    let mut client = Client::connect(play.vip);
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let answer = client.answer();
    assert_eq!((answer.text().as_str(), answer.header("x-member")), ("hello", Some("on-main")));
    for target in ["/chunked/9000/100", "/bytes/70000", "/status/500", "/close"] {
        client.get(target);
        assert_eq!(client.responses.last().and_then(|answer| answer.header("x-member")), Some("on-main"));
    }
    play.on("a").wait_requests(5);
    // Copies go their own ways, and may overtake each other.
    let seen = play.on("a").seen();
    let copy = seen.iter().find(|copy| copy.head.start == "POST /body HTTP/1.1").expect("the copy of what had a body");
    assert_eq!(copy.body.data, b"hello");
    assert_eq!(copy.header("x-changed"), Some("yes"));
    until_true(PATIENCE, "copies to end", || play.weir.control.member("on-a").active_connections == 0);
    let figures = play.weir.control.listener().l7policies.remove(0);
    assert_eq!((figures.matched, figures.mirrored, figures.mirrors_lost), (5, 5, 0));
    // Their connections are kept: the next copy finds one.
    client.get("/bytes/1");
    play.on("a").wait_requests(6);
    until_true(PATIENCE, "the copy to end", || play.weir.control.member("on-a").active_connections == 0);
    let before = play.on("a").connections();
    client.get("/bytes/1");
    play.on("a").wait_requests(7);
    assert_eq!(play.on("a").connections(), before);
}

#[test]
fn what_streams_is_not_copied_and_shares_are_drawn() {
    let play = Play::new(&mirroring(30));
    let mut client = Client::connect(play.vip);
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.answer().text(), "hello");
    for _ in 0..300 {
        assert_eq!(client.get("/").status(), 200);
    }
    let mirrored = play.weir.control.listener().l7policies[0].mirrored;
    assert!((40..=150).contains(&mirrored), "{mirrored} of 300 at 30 percent");
    assert!(play.on("a").seen().iter().all(|copy| copy.head.start.starts_with("GET")));
}

#[test]
fn a_mirror_that_is_silent_or_gone_delays_nothing() {
    let place = Place::new();
    let silent = Member::script("silent", place.socket(), |conn| {
        loop {
            conn.head()?;
        }
    });
    let play = Play::tuned(&mirroring(100), |lb| {
        lb["pools"][1]["members"][0]["protocol_port"] = json!(silent.socket().port());
        lb["pools"][1]["members"][0]["address"] = json!(silent.socket().ip());
    });
    let mut client = Client::connect(play.vip);
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.get("/").header("x-member"), Some("on-main"));
    }
    // A copy is given five seconds; waiting for one would show.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let figures = play.weir.control.listener().l7policies.remove(0);
    assert!(figures.mirrored >= 64 && figures.mirrors_lost > 0, "{figures:?}");
    assert!(figures.mirrored + figures.mirrors_lost >= 200, "each was sent or counted: {figures:?}");
    assert!(silent.connections() <= 64, "copies are bounded");
    // Those under way are given up after a while, and their places are free again.
    until_true(PATIENCE, "copies to be given up", || play.weir.control.member("on-a").active_connections == 0);
    drop(silent);
    for _ in 0..20 {
        assert_eq!(client.get("/").header("x-member"), Some("on-main"));
    }
}
