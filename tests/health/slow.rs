//! Promise: a member that came up again is given work slowly, and one that was there from the start is not.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::{MemberDown, MemberUp};
use lb_core::health::Operational;
use serde_json::json;
use weir_tests::health::{Moody, fast_http, monitor, with};
use weir_tests::load::Plan;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

fn grows(algorithm: &'static str) {
    let place = Place::new();
    let (m1, m2) = (Moody::http("m1", place.socket()), Moody::http("m2", place.socket()));
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket()), ("m2", m2.member.socket())])
        .monitor(with(monitor("HTTP", 300, 300), &json!({"url_path": "/health"})))
        .pool_keys(json!({"slow_start": 4}))
        .algorithm(algorithm)
        .weights(&[100, 100])
        .workers(2);
    let weir = Weir::start(&place, &setup);
    weir.control.wait_asked();
    let health = weir.control.health_of("m1");
    assert_eq!((health.operational, health.share_permille), (Operational::Up, 500), "not at the start of a process");
    m1.mood(1);
    weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
    // Work that takes a while, so that there are connections to count.
    let mut plan = Plan::gets(setup.vip, 12).gap(Duration::from_millis(1));
    plan.request = b"GET /delay/15 HTTP/1.1\r\nHost: weir.test\r\n\r\n".to_vec();
    let load = plan.start();
    m1.mood(0);
    let counts = || ["m1", "m2"].map(|name| weir.control.member(name).total_connections);
    let part = |before: [u64; 2], after: [u64; 2]| {
        let [mine, others] = [after[0] - before[0], after[1] - before[1]];
        mine * 1000 / (mine + others).max(1)
    };
    weir.control.wait_event(MemberUp, "back/m1", 0, PATIENCE);
    let began = Instant::now();
    let first = counts();
    let health = weir.control.health_of("m1");
    assert!(health.operational == Operational::Starting && health.share_permille < 200, "{health:?}");
    let mut shares = Vec::new();
    let mut early = None;
    until_true(Duration::from_secs(20), "the whole share", || {
        shares.push(weir.control.health_of("m1").share_permille);
        if began.elapsed() >= Duration::from_secs(1) {
            early.get_or_insert_with(|| (began.elapsed(), counts()));
        }
        shares.last() == Some(&500)
    });
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(3300), "{algorithm}: {took:?}");
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "{algorithm}: it never shrinks: {shares:?}");
    shares.dedup();
    assert!(shares.len() > 8, "{algorithm}: step by step: {shares:?}");
    let (until, early) = early.unwrap();
    let grown = counts();
    let whole = counts();
    until_true(Duration::from_secs(20), "traffic at the whole share", || counts()[0] > whole[0] + 150);
    let [early, late, all] = [part(first, early), part(early, grown), part(whole, counts())];
    if until < Duration::from_millis(1500) {
        assert!(early < 260, "{algorithm}: at first {early} of 1000");
    }
    assert!(early < late && late < 480, "{algorithm}: then {late} of 1000, after {early}");
    assert!((380..=620).contains(&all), "{algorithm}: at last {all} of 1000");
    assert_eq!(load.stop().failures, Vec::<String>::new());
}

#[test]
fn in_rotation() {
    grows("ROUND_ROBIN");
}

#[test]
fn with_least_connections() {
    grows("LEAST_CONNECTIONS");
}

#[test]
fn from_maintenance_too_and_a_document_does_not_begin_it_anew() {
    let place = Place::new();
    let (m1, m2) = (Moody::http("m1", place.socket()), Moody::http("m2", place.socket()));
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket()), ("m2", m2.member.socket())])
        .monitor(fast_http())
        .pool_keys(json!({"slow_start": 2}));
    setup.members[0].admin_state_up = false;
    let weir = Weir::start(&place, &setup);
    let document = |setup: &Setup| setup.document(&place.path("access.log"));
    setup.members[0].admin_state_up = true;
    weir.control.apply(&document(&setup));
    let began = Instant::now();
    assert!(weir.control.health_of("m1").share_permille < 200);
    let mut last = 0;
    until_true(PATIENCE, "the whole share", || {
        weir.control.apply(&document(&setup));
        let share = weir.control.health_of("m1").share_permille;
        assert!(share >= last, "{share} after {last}");
        last = share;
        share == 500
    });
    assert!((1500..8000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
