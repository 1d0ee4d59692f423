//! Limits over HTTP/2: a connection is one connection however many streams it has, and each stream is a request.

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::frames::{Outcome, Speaker};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until, until_true};

fn limited(listener: Value, workers: u16) -> Stage {
    Stage::http(1, |setup| {
        setup.listener = listener;
        setup.listener["http2_prior_knowledge"] = json!(true);
        setup.workers = workers;
    })
}

/// Asks `count` times at once. Statuses in the order of streams.
fn ask_all(speaker: &mut Speaker, first: u32, count: u32) -> Vec<Option<u16>> {
    let streams = || (0..count).map(|n| first + 2 * n);
    streams().for_each(|stream| speaker.ask(stream, "GET", "/x"));
    streams().map(|stream| speaker.outcome(stream).status()).collect()
}

#[test]
fn streams_come_no_faster_than_requests_may() {
    let stage = limited(json!({"client_limits": {"request_rate": 1, "request_burst": 4}}), 2);
    let began = std::time::Instant::now();
    let (mut one, mut two) = (Speaker::connect(stage.vip()), Speaker::connect(stage.vip()));
    let mut all = ask_all(&mut one, 1, 10);
    all.extend(ask_all(&mut two, 1, 10));
    let served = all.iter().filter(|status| **status == Some(200)).count();
    let most = 4 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!((4..=most).contains(&served), "{all:?}");
    let refused = all.iter().filter(|status| **status == Some(429)).count();
    assert_eq!(served + refused, 20, "{all:?}");
    assert_eq!(stage.members[0].requests(), served, "a member saw what was refused");
    let listener = stage.weir.control.listener();
    assert_eq!((listener.limits.client_request_rate, listener.total_requests), (refused as u64, 20));
    let mut next = 101;
    until(PATIENCE, "the bucket to fill", || {
        next += 2;
        one.ask(next, "GET", "/");
        (one.outcome(next).status() == Some(200)).then_some(())
    });
}

#[test]
fn a_connection_counts_once_however_many_streams_it_has() {
    for (listener, key) in [
        (json!({"client_limits": {"connections": 2}}), "client_connections"),
        (json!({"connection_limit": 2, "on_connection_limit": "REFUSE"}), "over_connection_limit"),
    ] {
        let stage = limited(listener, 2);
        let (mut one, mut two) = (Speaker::connect(stage.vip()), Speaker::connect(stage.vip()));
        for first in [1, 101] {
            assert!(ask_all(&mut one, first, 30).iter().all(|status| *status == Some(200)));
            assert!(ask_all(&mut two, first, 30).iter().all(|status| *status == Some(200)));
        }
        let mut third = Speaker::connect(stage.vip());
        third.ask(1, "GET", "/");
        let outcome = third.outcome(1);
        assert!(matches!(outcome, Outcome::Closed), "{key}: {outcome:?}");
        let mut plain = Client::connect(stage.vip());
        plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(plain.maybe_answer().is_none_or(|answer| answer.status() != 200), "{key}: a third was let in");
        let figures = || serde_json::to_value(stage.weir.control.stats()).unwrap();
        let stats = figures();
        let listener = &stats["listeners"][0];
        assert_eq!(
            (&listener["active_connections"], &listener["total_requests"]),
            (&json!(2), &json!(120)),
            "{listener}"
        );
        assert_eq!(listener["limits"][key], json!(2), "{listener}");
        let sum = |key: &str| -> u64 {
            figures()["workers"].as_array().unwrap().iter().map(|worker| worker[key].as_u64().unwrap()).sum()
        };
        assert_eq!(sum("total_requests"), 120);
        // Who was told why it is refused has a moment to read it.
        until_true(PATIENCE, "those who were refused to be gone", || figures()["active_connections"] == json!(2));
        drop(one);
        until_true(PATIENCE, "its place to be free", || {
            let mut fourth = Speaker::connect(stage.vip());
            fourth.ask(1, "GET", "/");
            fourth.outcome(1).status() == Some(200)
        });
        assert!(ask_all(&mut two, 201, 5).iter().all(|status| *status == Some(200)));
    }
}

/// A connection whose streams are all served has not asked for anything: it makes room, and one at work does not.
#[test]
fn idle_connections_make_room() {
    let stage = super::shortage::poor(200, |setup| setup.listener = json!({"http2_prior_knowledge": true}));
    let most = stage.weir.control.stats().shortage.connections_max.unwrap() as usize;
    let mut busy = Speaker::connect(stage.vip());
    busy.ask(1, "GET", "/delay/3000");
    stage.members[0].wait_requests(1);
    let mut idle: Vec<Speaker> = (0..most - 1).map(|_| Speaker::connect(stage.vip())).collect();
    for speaker in &mut idle {
        assert_eq!(ask_all(speaker, 1, 3), [Some(200); 3]);
    }
    for _ in 0..20 {
        let mut client = Speaker::connect(stage.vip());
        assert_eq!(ask_all(&mut client, 1, 1), [Some(200)]);
        idle.push(client);
    }
    assert!(stage.weir.control.stats().shortage.shed_for_descriptors >= 20);
    assert_eq!(busy.outcome(1).status(), Some(200), "work was cut");
}
