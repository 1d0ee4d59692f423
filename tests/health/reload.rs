//! Promise: a document, or a pause of this process, changes nothing that is known of members it does not touch.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::{MemberAdministrative, MemberDown, MemberUp};
use lb_core::health::{Administrative, OperatingStatus, Operational};
use rustix::process::Signal;
use serde_json::{Value, json};
use weir_tests::client::get;
use weir_tests::health::{Moody, fast_http, monitor, with};
use weir_tests::load::Plan;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup, backend};
use weir_tests::wait::{PATIENCE, pause, pause_ms, until_true};
use weir_tests::weir::Weir;

struct Play {
    weir: Weir,
    m1: Moody,
    m2: Moody,
    setup: Setup,
    place: Place,
}

impl Play {
    /// `m1` is down, `m2` up.
    fn new(monitor: &Value) -> Self {
        let place = Place::new();
        let (m1, m2) = (Moody::http("m1", place.socket()), Moody::http("m2", place.socket()));
        let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket()), ("m2", m2.member.socket())])
            .monitor(monitor.clone())
            .workers(2);
        let weir = Weir::start(&place, &setup);
        weir.control.wait_asked();
        m1.mood(1);
        weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
        Self { weir, m1, m2, setup, place }
    }

    fn apply(&self) {
        self.weir.control.apply(&self.setup.document(&self.place.path("access.log")));
    }

    fn is_down(&self) -> bool {
        self.weir.control.health_of("m1").operational == Operational::Down
    }
}

#[test]
fn fifty_documents_under_traffic_change_nothing() {
    let delay = 200;
    let mut play = Play::new(&with(monitor("HTTP", delay, 150), &json!({"url_path": "/health"})));
    let load = Plan::gets(play.setup.vip, 4).gap(Duration::from_millis(2)).start();
    let before = play.weir.control.events().last;
    let (asked, began) = (play.m1.asked() + play.m2.asked(), Instant::now());
    for n in 0..50 {
        // Now the same again, now one with a member more or less behind them, which moves everybody's place.
        match n % 4 {
            1 => play.setup.members.insert(0, backend("new", play.place.socket())),
            3 => drop(play.setup.members.remove(0)),
            _ => {}
        }
        play.setup.members.iter_mut().filter(|m| m.name == "new").for_each(|m| m.admin_state_up = false);
        play.apply();
        assert!(play.is_down(), "after {n} documents");
        load.wait_for(5);
    }
    // Both, once in each delay, and a slot more for each for where it began.
    let expected = 2 * (began.elapsed().as_millis() as usize / delay as usize + 1);
    let asked = play.m1.asked() + play.m2.asked() - asked;
    assert!(asked <= expected + expected / 4 + 2, "asked {asked} times instead of {expected}");
    let events = play.weir.control.events();
    let told: Vec<_> = events.events.iter().filter(|event| event.seq > before).collect();
    assert!(told.is_empty(), "nothing happened: {told:?}");
    assert_eq!(load.stop().failures, Vec::<String>::new());
    play.m1.mood(0);
    play.weir.control.wait_event(MemberUp, "back/m1", before, PATIENCE);
}

#[test]
fn a_monitor_is_added_changed_and_taken_away() {
    let mut play = Play::new(&fast_http());
    // Another one says yes: that does not help.
    let on = |name: &str, keys: Value| with(with(fast_http(), &json!({"name": name})), &keys);
    play.setup.pool = json!({"healthmonitors": [on("http", json!({})), on("tcp", json!({"url_path": "/"}))]});
    play.apply();
    assert!(play.is_down());
    pause_ms(400);
    assert!(play.is_down());
    // It expects what it gets now: up again after two good answers, by the same monitor.
    play.setup.pool = json!({"healthmonitor": on("http", json!({"expected_codes": "500"}))});
    let before = play.weir.control.events().last;
    play.apply();
    assert!(play.is_down(), "a changed monitor has to ask first");
    let up = play.weir.control.wait_event(MemberUp, "back/m1", before, PATIENCE);
    assert!(up.reason.starts_with("HTTP 500, 2 of 2"), "{up:?}");
    let down = play.weir.control.wait_event(MemberDown, "back/m2", before, PATIENCE);
    assert!(down.reason.starts_with("HTTP 200, expected 500, 3 of 3"), "{down:?}");
    // Nobody asks any more: everybody counts as up, which is told.
    play.setup.pool = json!({});
    play.apply();
    let up = play.weir.control.wait_event(MemberUp, "back/m2", down.seq, Duration::from_secs(1));
    assert_eq!((up.by.as_str(), up.reason.as_str()), ("the operator", "nobody asks it any more"));
    let health = play.weir.control.health_of("m2");
    assert_eq!((health.operational, health.operating_status), (Operational::NoCheck, OperatingStatus::NoMonitor));
    assert_eq!(play.weir.control.health_of("m1").share_permille, 500);
    let asked = play.m1.asked() + play.m2.asked();
    pause_ms(400);
    assert!(play.m1.asked() + play.m2.asked() <= asked + 2, "nobody is asked any more");
    // And one again.
    play.setup = play.setup.clone().monitor(fast_http());
    play.apply();
    play.weir.control.wait_event(MemberDown, "back/m1", up.seq, PATIENCE);
}

#[test]
fn a_member_somewhere_else_is_a_new_one() {
    let mut play = Play::new(&fast_http());
    let elsewhere = Moody::http("m1", play.place.socket());
    play.setup.members[0].socket = elsewhere.member.socket();
    let before = play.weir.control.events().last;
    play.apply();
    assert!(!play.is_down());
    let up = play.weir.control.wait_event(MemberUp, "back/m1", before, Duration::from_secs(1));
    assert_eq!(up.by, "the operator");
    elsewhere.member.wait_requests(3);
    assert!(!play.is_down());
    assert_eq!(play.weir.control.count(MemberDown), 1);
    let asked = play.m1.asked();
    pause_ms(300);
    assert!(play.m1.asked() <= asked + 1, "its old place is not asked any more");
}

#[test]
fn maintenance_and_drain_are_another_axis() {
    let mut play = Play::new(&fast_http());
    let axis = |play: &Play| {
        let health = play.weir.control.health_of("m1");
        (health.administrative, health.operating_status)
    };
    assert_eq!(axis(&play), (Administrative::Ready, OperatingStatus::Error));
    // Drained: still asked, still down.
    play.setup.members[0].weight = 0;
    play.apply();
    assert_eq!(axis(&play), (Administrative::Drain, OperatingStatus::Error));
    let told = play.weir.control.wait_event(MemberAdministrative, "back/m1", 0, PATIENCE);
    assert_eq!((told.old.as_str(), told.new.as_str(), told.by.as_str()), ("READY", "DRAIN", "the operator"));
    play.m1.mood(0);
    play.weir.control.wait_event(MemberUp, "back/m1", told.seq, PATIENCE);
    assert_eq!(axis(&play), (Administrative::Drain, OperatingStatus::Draining));
    let served = play.m1.served();
    for _ in 0..4 {
        assert_eq!(get(play.setup.vip, "/").header("x-member"), Some("m2"));
    }
    assert_eq!(play.m1.served(), served);
    // In maintenance: not asked.
    play.setup.members[0].admin_state_up = false;
    play.apply();
    assert_eq!(axis(&play), (Administrative::Maint, OperatingStatus::Offline));
    pause_ms(100);
    let asked = play.m1.asked();
    pause_ms(400);
    assert_eq!(play.m1.asked(), asked);
    // Back: nothing is known, so it is up until its first answer, which decides.
    play.m1.mood(1);
    (play.setup.members[0].admin_state_up, play.setup.members[0].weight) = (true, 1);
    let before = play.weir.control.events().last;
    play.apply();
    let down = play.weir.control.wait_event(MemberDown, "back/m1", before, PATIENCE);
    assert!(down.reason.contains("1 of 1"), "{down:?}");
    let told: Vec<_> = play.weir.control.events().events;
    let axes: Vec<&str> = told.iter().filter(|e| e.kind == MemberAdministrative).map(|e| e.new.as_str()).collect();
    assert_eq!(axes, ["DRAIN", "MAINT", "READY"]);
}

/// A process that did not run for a while has missed questions, and perhaps answers: that is no member's fault.
#[test]
fn a_pause_of_the_whole_process_is_nobodys_fault() {
    let mut play = Play::new(&with(fast_http(), &json!({"max_retries_down": 2})));
    play.m1.mood(0);
    let up = play.weir.control.wait_event(MemberUp, "back/m1", 0, PATIENCE).seq;
    for _ in 0..3 {
        play.weir.process.signal(Signal::STOP);
        pause(Duration::from_millis(1200));
        let asked = play.m1.asked() + play.m2.asked();
        play.weir.process.signal(Signal::CONT);
        pause_ms(150);
        let burst = play.m1.asked() + play.m2.asked() - asked;
        assert!(burst <= 6, "{burst} questions at once instead of those of one interval");
        pause_ms(300);
    }
    let told: Vec<_> = play.weir.control.events().events.into_iter().filter(|event| event.seq > up).collect();
    assert!(told.is_empty(), "nothing happened: {told:?}");
    play.setup.members.truncate(2);
    play.m1.mood(1);
    play.weir.control.wait_event(MemberDown, "back/m1", up, PATIENCE);
}

/// A document whose monitor cannot ask is refused as a whole, and nothing has changed.
#[test]
fn authorities_that_cannot_be_read_refuse_the_document() {
    let play = Play::new(&fast_http());
    let before = (play.weir.control.document().generation, play.weir.control.events().last);
    let missing = format!("file:{}", play.place.path("missing.pem").display());
    let garbage = format!("file:{}", play.place.write("garbage.pem", "no certificate").display());
    let trust = |file: &str| json!({"type": "HTTPS", "tls_verify": true, "ca_tls_container_ref": file});
    for (file, words) in [(&missing, "No such file"), (&garbage, "garbage.pem")] {
        let other = play.setup.clone().monitor(with(fast_http(), &trust(file))).weights(&[7, 7]);
        let reply = play.weir.control.put(&other.document(&play.place.path("access.log")));
        assert_eq!(reply.status, 409, "{}", reply.body);
        assert!(
            reply.body.contains("health monitor http of pool back") && reply.body.contains(words),
            "{}",
            reply.body
        );
    }
    until_true(PATIENCE, "another question", || play.m2.asked() > 5);
    assert!(play.is_down(), "what was known is still known");
    assert_eq!(before, (play.weir.control.document().generation, play.weir.control.events().last));
    assert_eq!(play.weir.control.member("m1").weight, 1);
}
