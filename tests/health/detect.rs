//! Promise: a member that stops working is found out within fall x delay + timeout, and one that works again within
//! rise x delay + timeout; the reason is right wherever it is shown, and no client notices.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::{MemberDown, MemberUp};
use lb_core::health::{OperatingStatus, Operational};
use rustix::process::Signal;
use serde_json::{Value, json};
use weir_tests::client::get;
use weir_tests::health::{Moody, fast_http, monitor, soon, with};
use weir_tests::load::Plan;
use weir_tests::member::Member;
use weir_tests::netns::{Netns, allowed};
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::until_true;
use weir_tests::weir::Weir;

const DELAY: u64 = 200;
const TIMEOUT: u64 = 150;

/// Breaks `m1`, sees it go down for `reason` in time, mends it, sees it come up in time. `m2` stays up all along.
fn down_and_up(weir: &Weir, reason: &str, break_it: impl FnOnce(), mend_it: impl FnOnce()) {
    weir.control.wait_asked();
    break_it();
    let began = Instant::now();
    let down = weir.control.wait_event(MemberDown, "back/m1", 0, Duration::from_secs(20));
    let took = began.elapsed();
    assert!(took < soon(3, DELAY, TIMEOUT), "{reason}: down after {took:?}");
    assert!(down.reason.starts_with(reason) && down.reason.contains("3 of 3"), "{reason}: {down:?}");
    assert!(down.by.starts_with("monitor ") && down.effect.contains("1 of 2 members"), "{down:?}");
    let health = weir.control.health_of("m1");
    assert_eq!((health.operational, health.operating_status), (Operational::Down, OperatingStatus::Error));
    assert_eq!((health.reason.as_str(), health.share_permille), (down.reason.as_str(), 0));
    assert!(health.monitors[0].last.starts_with(reason), "{health:?}");
    let stats = weir.control.stats();
    assert_eq!(stats.operating_status, Some(OperatingStatus::Degraded), "never well while a member is down");
    assert_eq!(stats.pools[0].operating_status, Some(OperatingStatus::Degraded));
    assert_eq!(weir.control.health_of("m2").share_permille, 1000, "all of the work moves");
    assert!(weir.process.stderr().contains(&down.reason), "{}", weir.process.stderr());

    mend_it();
    let began = Instant::now();
    let up = weir.control.wait_event(MemberUp, "back/m1", down.seq, Duration::from_secs(20));
    let took = began.elapsed();
    assert!(took < soon(2, DELAY, TIMEOUT), "{reason}: up after {took:?}");
    assert!(up.reason.contains("2 of 2"), "{up:?}");
    assert_eq!(weir.control.health_of("m1").operational, Operational::Up);
    assert_eq!(weir.control.stats().operating_status, Some(OperatingStatus::Online));
    assert_eq!(weir.control.count(MemberDown), 1, "nothing else happened: {:?}", weir.control.events());
}

fn http_monitor(keys: &Value) -> Value {
    with(monitor("HTTP", DELAY, TIMEOUT), keys)
}

#[test]
fn killed_under_load_and_nobody_notices() {
    let place = Place::new();
    let mut m1 = Member::http("m1", place.socket()).only_counting();
    let m2 = Member::http("m2", place.socket()).only_counting();
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.socket()), ("m2", m2.socket())])
        .workers(2)
        .monitor(monitor("TCP", DELAY, TIMEOUT));
    let weir = Weir::start(&place, &setup);
    let load = Plan::gets(setup.vip, 4).gap(Duration::from_millis(2)).start();
    load.wait_for(100);
    let shared = std::cell::RefCell::new(&mut m1);
    down_and_up(&weir, "connection refused", || shared.borrow_mut().kill(), || shared.borrow_mut().start());
    let before = weir.control.member("m1").total_connections;
    load.wait_for(50);
    until_true(Duration::from_secs(5), "m1 to get work again", || {
        weir.control.member("m1").total_connections > before + 5
    });
    let outcome = load.stop();
    assert_eq!(outcome.failures, Vec::<String>::new());
}

/// The kernel goes on to take connections for a process that is frozen: only a question that wants an answer tells.
#[test]
fn frozen() {
    let place = Place::new();
    let m1 = Nginx::start(&place, "m1", place.socket());
    let m2 = Nginx::start(&place, "m2", place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.socket), ("m2", m2.socket)])
        .monitor(http_monitor(&json!({"expected_body_regex": "^m[12]$|m[12]"})));
    let weir = Weir::start(&place, &setup);
    down_and_up(
        &weir,
        "no answer within 150 ms (waiting for the answer)",
        || m1.process.signal(Signal::STOP),
        || m1.process.signal(Signal::CONT),
    );
}

/// One that is up and answers wrongly.
fn answering(status: usize, body: &'static str, keys: &Value, reason: &str) {
    let place = Place::new();
    let answer = |status: usize, body: &'static str| -> weir_tests::health::Mood {
        Box::new(move |conn| {
            conn.head()?;
            conn.send(weir_tests::member::sized(status, "Location: /elsewhere\r\n", body.as_bytes(), false))?;
            conn.close();
            Ok(())
        })
    };
    let moods = vec![answer(200, "all is well"), answer(status, body)];
    let m1 = Moody::new("m1", place.socket(), moods);
    let m2 = Moody::new("m2", place.socket(), vec![answer(200, "all is well")]);
    let members = [("m1", m1.member.socket()), ("m2", m2.member.socket())];
    let setup = Setup::new(Mode::Http, place.socket(), members).monitor(http_monitor(keys));
    let weir = Weir::start(&place, &setup);
    down_and_up(&weir, reason, || m1.mood(1), || m1.mood(0));
    let seen = m1.member.seen();
    assert!(seen.iter().all(|request| request.head.word(1) == "/"), "a redirect is not followed");
}

#[test]
fn answering_500() {
    answering(500, "all is well", &json!({}), "HTTP 500, expected 200");
}

#[test]
fn answering_with_a_redirect() {
    answering(302, "all is well", &json!({"expected_codes": "200-204"}), "HTTP 302, expected 200-204");
}

#[test]
fn answering_with_another_body() {
    let keys = json!({"expected_body": "is well"});
    answering(200, "all is lost", &keys, "the body does not contain `is well`");
}

/// Weir and two members, each in a network of its own, around a bridge.
struct Cables {
    hub: Netns,
    weir: Netns,
    members: [Netns; 2],
    port: String,
}

impl Cables {
    fn new() -> Self {
        let (hub, weir, members) = (Netns::new(), Netns::new(), [Netns::new(), Netns::new()]);
        hub.bridge("br0");
        hub.plug("br0", &weir, "10.66.0.9/24");
        let port = hub.plug("br0", &members[0], "10.66.0.1/24");
        hub.plug("br0", &members[1], "10.66.0.2/24");
        Self { hub, weir, members, port }
    }

    fn play(&self, reason: &str, break_it: &[&str], mend_it: &[&str], inside: &Netns) {
        let place = Place::new();
        let at = |n: usize| format!("10.66.0.{n}:80").parse().unwrap();
        let _members: Vec<Member> = (0..2)
            .map(|n| self.members[n].inside(|| Member::http(&format!("m{}", n + 1), at(n + 1)).only_counting()))
            .collect();
        let vip = "10.66.0.9:80".parse().unwrap();
        let mut setup = Setup::new(Mode::Http, vip, [("m1", at(1)), ("m2", at(2))]).monitor(http_monitor(&json!({})));
        setup.timeouts.connect = 1000;
        let weir = Weir::start_in(&self.weir, &place, &setup);
        down_and_up(&weir, reason, || drop(inside.run(break_it)), || drop(inside.run(mend_it)));
        assert_eq!(self.weir.inside(|| get(vip, "/").status()), 200);
    }
}

#[test]
fn unplugged() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let cables = Cables::new();
    let port = cables.port.clone();
    let link = |state| ["ip", "link", "set", port.as_str(), state];
    cables.play("no answer within 150 ms (connecting)", &link("down"), &link("up"), &cables.hub);
}

#[test]
fn filtered() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let cables = Cables::new();
    let rules = "table inet t { chain in { type filter hook input priority 0; tcp dport 80 drop; \n } \n }";
    let mend = ["nft", "delete", "table", "inet", "t"];
    cables.play("no answer within 150 ms (connecting)", &["nft", rules], &mend, &cables.members[0]);
}

/// Fall and rise count answers in a row: two bad ones and a good one begin anew.
#[test]
fn a_hiccup_is_not_a_fall() {
    let place = Place::new();
    let m1 = Moody::http("m1", place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket())]).monitor(fast_http());
    let weir = Weir::start(&place, &setup);
    weir.control.wait_asked();
    for _ in 0..4 {
        m1.mood(1);
        let asked = m1.asked();
        until_true(Duration::from_secs(5), "one bad answer", || m1.asked() > asked);
        m1.mood(0);
        until_true(Duration::from_secs(5), "a good answer again", || {
            weir.control.health_of("m1").monitors[0].last.starts_with("HTTP 200")
        });
    }
    assert_eq!(weir.control.count(MemberDown), 0, "{:?}", weir.control.events());
}
