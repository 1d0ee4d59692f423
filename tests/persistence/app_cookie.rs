//! APP_COOKIE over real sockets.

use serde_json::json;
use weir_tests::client::Client;

use super::{ask, ask_on, both_worked, by, stage};

/// Has a new session opened, and says whose it is.
fn open(stage: &weir_tests::stage::Stage, id: &str) -> String {
    let answer = ask(stage.vip(), &format!("X-Set: lang=en\r\nX-Set: JSESSIONID={id}; Path=/; HttpOnly\r\n"));
    let sets = answer.head.all("set-cookie");
    assert_eq!(sets, ["lang=en", &format!("JSESSIONID={id}; Path=/; HttpOnly")], "it passes as it is");
    by(&answer)
}

fn asked(stage: &weir_tests::stage::Stage, id: &str) -> String {
    by(&ask(stage.vip(), &format!("Cookie: lang=en; JSESSIONID={id}\r\n")))
}

#[test]
fn the_very_next_request_goes_where_its_session_is() {
    let mut stage = stage(3, json!({"type": "APP_COOKIE", "cookie_name": "JSESSIONID"}));
    let whose: Vec<String> = (0..30)
        .map(|n| {
            let id = format!("session-{n}");
            let whose = open(&stage, &id);
            assert_eq!(asked(&stage, &id), whose, "at once, on whichever worker");
            whose
        })
        .collect();
    both_worked(&stage);
    let all = |stage: &_| (0..30).map(|n| asked(stage, &format!("session-{n}"))).collect::<Vec<_>>();
    assert_eq!(all(&stage), whose);
    stage.members[2].kill();
    let moved = all(&stage);
    for (before, after) in whose.iter().zip(&moved) {
        assert_eq!(before == after, before != "m3");
    }
    stage.members[2].start();
    assert_eq!(all(&stage), moved, "an entry moves with its client and stays there");
    stage.apply(|setup| setup.members.rotate_left(1));
    assert_eq!(all(&stage), moved);
    // Counted before its line is written.
    let lines = stage.weir.wait_log(180);
    let stats = stage.weir.control.stats().pools[0].persistence.clone().unwrap();
    assert_eq!((stats.kind.as_str(), stats.entries, stats.moved), ("APP_COOKIE", 30, 10));
    let flagged = |flags: &str| lines.iter().filter(|line| line.contains(flags)).count();
    assert_eq!((flagged(" --NP "), flagged(" --VN ")), (30, 150));
}

#[test]
fn invented_sessions_push_nobody_out() {
    let stage = stage(2, json!({"type": "APP_COOKIE", "cookie_name": "JSESSIONID", "table_size": 4}));
    let whose = open(&stage, "real");
    let mut client = Client::connect(stage.vip());
    for n in 0..200 {
        ask_on(&mut client, "/", &format!("Cookie: JSESSIONID=invented-{n}\r\n"));
    }
    let stats = stage.weir.control.stats().pools[0].persistence.clone().unwrap();
    assert_eq!((stats.entries, stats.evicted), (1, 0));
    assert_eq!(asked(&stage, "real"), whose);
}

#[test]
fn a_session_may_stand_in_the_target() {
    for (in_url, target) in [("PATH_PARAMETER", "/x;jsessionid=a?q=1"), ("QUERY", "/x?q=1&jsessionid=a")] {
        let stage = stage(3, json!({"type": "APP_COOKIE", "cookie_name": "JSESSIONID", "in_url": in_url}));
        let whose = open(&stage, "a");
        for _ in 0..4 {
            assert_eq!(by(&ask_on(&mut Client::connect(stage.vip()), target, "")), whose);
        }
    }
}
