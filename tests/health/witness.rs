//! Promise: live traffic that fails on a member makes it suspect: that counts, and it is asked at once.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::MemberDown;
use lb_core::health::Operational;
use serde_json::{Value, json};
use weir_tests::client::get;
use weir_tests::health::{Mood, Moody, monitor, with};
use weir_tests::member::{Member, sized};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

/// A monitor that comes by once a minute.
fn rarely(keys: &Value) -> Value {
    with(with(monitor("HTTP", 60_000, 1000), &json!({"url_path": "/health"})), keys)
}

/// A document whose monitor asked once, soon after it was told to ask seldom.
fn start(place: &Place, setup: &Setup) -> Weir {
    // The first question of a slow monitor may be a minute away: let another document's faster one ask it.
    let fast = setup.clone().monitor(with(rarely(&json!({})), &json!({"delay": 0.1, "timeout": 0.1})));
    let weir = Weir::start(place, &fast);
    weir.control.wait_asked();
    weir.control.apply(&setup.document(&place.path("access.log")));
    until_true(PATIENCE, "the slow pace", || {
        let members = weir.control.stats().pools.into_iter().flat_map(|pool| pool.members);
        let mut views = members.filter_map(|m| m.health).flat_map(|health| health.monitors);
        views.all(|view| view.next_in_ms > 1000)
    });
    weir
}

/// Answers monitors well and traffic with 500, or all well; a connection for each, so that a mood holds at once.
fn fails_at_work() -> Vec<Mood> {
    let serve = |status: usize| -> Mood {
        Box::new(move |conn| {
            let head = conn.head()?;
            let status = if head.word(1) == "/health" { 200 } else { status };
            conn.send(sized(status, "Connection: close\r\n", b"as told", false))?;
            conn.close();
            Ok(())
        })
    };
    vec![serve(200), serve(500)]
}

fn observing(layer: &str, failures: u32) -> Value {
    json!({"observe": {"layer": layer, "failures": failures}})
}

#[test]
fn bad_answers_make_suspect_and_the_monitor_asks_at_once() {
    let place = Place::new();
    let m1 = Moody::new("m1", place.socket(), fails_at_work());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket())])
        .monitor(rarely(&json!({})))
        .pool_keys(observing("HTTP", 3));
    let weir = start(&place, &setup);
    m1.mood(1);
    let asked = m1.asked();
    for _ in 0..2 {
        assert_eq!(get(setup.vip, "/").status(), 500);
    }
    pause_ms(200);
    assert_eq!(m1.asked(), asked, "two are not three");
    // One that is good begins the row anew.
    m1.mood(0);
    assert_eq!(get(setup.vip, "/").status(), 200);
    m1.mood(1);
    for _ in 0..2 {
        assert_eq!(get(setup.vip, "/").status(), 500);
    }
    pause_ms(200);
    assert_eq!(m1.asked(), asked, "two are not three");
    let began = Instant::now();
    assert_eq!(get(setup.vip, "/").status(), 500);
    until_true(PATIENCE, "the monitor to ask", || m1.asked() > asked);
    assert!(began.elapsed() < Duration::from_secs(2), "asked after {:?}", began.elapsed());
    pause_ms(200);
    assert_eq!(m1.asked(), asked + 1);
    assert_eq!(weir.control.health_of("m1").operational, Operational::Up, "the monitor's yes counts");
    assert_eq!(weir.control.count(MemberDown), 0);
}

#[test]
fn what_fails_is_down_at_once_if_one_answer_is_enough() {
    let place = Place::new();
    let m1 = Moody::new("m1", place.socket(), fails_at_work());
    let m2 = Moody::http("m2", place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket()), ("m2", m2.member.socket())])
        .monitor(rarely(&json!({"max_retries_down": 1})))
        .pool_keys(observing("HTTP", 2));
    let weir = start(&place, &setup);
    m1.mood(1);
    for _ in 0..4 {
        get(setup.vip, "/");
    }
    let down = weir.control.wait_event(MemberDown, "back/m1", 0, Duration::from_secs(3));
    assert_eq!((down.by.as_str(), down.reason.as_str()), ("live traffic", "2 failures of live traffic in a row"));
    // Its monitor is satisfied and was asked at once: rise is 2, so it is not up again for a minute.
    pause_ms(300);
    assert_eq!(weir.control.health_of("m1").operational, Operational::Down);
    for _ in 0..4 {
        assert_eq!(get(setup.vip, "/").status(), 200);
    }
}

/// Whoever looks at connections alone sees a refusal, and not an answer it does not like.
#[test]
fn connections_that_fail_make_suspect() {
    let place = Place::new();
    let mut m1 = Member::http("m1", place.socket()).only_counting();
    let m2 = Member::http("m2", place.socket()).only_counting();
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.socket()), ("m2", m2.socket())])
        .monitor(rarely(&json!({})))
        .pool_keys(observing("CONNECTION", 2));
    let weir = start(&place, &setup);
    for _ in 0..10 {
        assert_eq!(get(setup.vip, "/status/500").status(), 500);
    }
    m1.kill();
    until_true(Duration::from_secs(20), "enough traffic to meet the refusal", || {
        assert_eq!(get(setup.vip, "/").status(), 200, "the client is served elsewhere");
        weir.control.health_of("m1").monitors[0].last.starts_with("connection refused")
    });
    until_true(Duration::from_secs(20), "the member to be down", || {
        assert_eq!(get(setup.vip, "/").status(), 200);
        weir.control.count(MemberDown) == 1
    });
    let down = weir.control.event(MemberDown, "back/m1", 0).unwrap();
    assert!(down.reason.starts_with("connection refused, 3 of 3") || down.by == "live traffic", "{down:?}");
}
