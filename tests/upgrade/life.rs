//! What a tunnel counts for while it lasts, and what ends it.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::MemberDown;
use rustix::process::Signal;
use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::health::{Moody, fast_http};
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause, pause_ms, until_true};
use weir_tests::websocket::{ask, echo};
use weir_tests::weir::Weir;

use super::{line, says, stage, tunnel};

fn in_use(stage: &Stage) -> (u64, u64) {
    let listener = stage.weir.control.listener();
    (listener.tunnels_open, listener.tunnels)
}

/// While it is idle the timeouts of requests are not its own; with `timeout_tunnel` those of data are not, either.
#[test]
fn a_tunnel_has_a_timeout_of_its_own() {
    let stage = stage(|setup| {
        setup.timeouts.client = 300;
        setup.timeouts.member = 300;
        setup.timeouts.request = 300;
        setup.timeouts.keep_alive = 300;
        setup.listener["timeout_tunnel"] = json!(1500);
    });
    let mut client = tunnel(&stage);
    let began = Instant::now();
    pause_ms(900);
    // What comes from either side renews it.
    says(&mut client, b"x");
    pause_ms(900);
    says(&mut client, b"y");
    let renewed = Instant::now();
    assert_eq!(client.take_to_end(), End::Closed);
    assert!(renewed.elapsed() >= Duration::from_millis(1400), "it was closed after {:?}", renewed.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(3200));
    let line = line(&stage, 0);
    assert_eq!(line["flags"], json!("cD"), "{line}");
    assert_eq!(line["reason"], json!("nothing came through the tunnel for too long"), "{line}");
    assert!(line["total_ms"].as_u64().unwrap() >= 3200, "{line}");
}

#[test]
fn without_it_the_timeouts_of_data_hold() {
    for (client_ms, member_ms, flags) in [(400, 20_000, "cD"), (20_000, 400, "sD")] {
        let stage = stage(|setup| (setup.timeouts.client, setup.timeouts.member) = (client_ms, member_ms));
        let mut client = tunnel(&stage);
        assert_eq!(client.take_to_end(), End::Closed);
        assert_eq!(line(&stage, 0)["flags"], json!(flags));
    }
}

#[test]
fn it_holds_its_members_slot_and_counts_as_work() {
    let stage = Stage::with(
        Mode::Http,
        2,
        |name, at| Member::script(name, at, echo),
        |setup| {
            setup.algorithm = "LEAST_CONNECTIONS";
            setup.members[0].more = json!({"max_connections": 2});
        },
    );
    let mut tunnels: Vec<Client> = (0..2).map(|_| tunnel(&stage)).collect();
    let busy = || ["m1", "m2"].map(|name| stage.weir.control.member(name).active_connections);
    assert_eq!(busy(), [1, 1], "the second went to whoever had none");
    tunnels.push(tunnel(&stage));
    tunnels.push(tunnel(&stage));
    assert_eq!(busy(), [2, 2]);
    tunnels.push(tunnel(&stage));
    tunnels.push(tunnel(&stage));
    assert_eq!(busy(), [2, 4], "one member has as many as it may");
    assert_eq!(in_use(&stage), (6, 6));
    drop(tunnels);
    until_true(PATIENCE, "all to be gone", || busy() == [0, 0] && in_use(&stage) == (0, 6));
}

#[test]
fn a_hundred_applies_do_not_touch_it() {
    let mut stage = stage(|_| ());
    let mut client = tunnel(&stage);
    for n in 0..100u32 {
        stage.apply(|setup| setup.timeouts.client = 40_000 + u64::from(n));
        if n % 10 == 0 {
            says(&mut client, format!("after {n}").as_bytes());
        }
    }
    // Nor does it when its member is taken out, or its listener has another pool of members.
    let other = Member::http("m2", stage.place.socket());
    stage.apply(|setup| {
        setup.members = vec![weir_tests::setup::backend("m2", other.socket())];
    });
    assert_eq!(get(stage.vip(), "/").header("x-member"), Some("m2"));
    says(&mut client, b"still here");
    assert_eq!(in_use(&stage), (1, 1));
    client.half_close();
    assert_eq!(client.take_to_end(), End::Closed);
    until_true(PATIENCE, "it to be counted as gone", || in_use(&stage) == (0, 1));
}

#[test]
fn a_drain_waits_for_it_as_long_as_it_may() {
    let drained = |seconds: &str| {
        let place = Place::new();
        let member = Member::script("m1", place.socket(), echo);
        let setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
        let document = setup.document(&place.path("access.log"));
        let weir = Weir::start_with(&place, &document, &["--drain-timeout", seconds]);
        (Stage { weir, setup, members: vec![member], place }, Instant::now())
    };
    let (mut stage, _) = drained("60");
    let mut client = tunnel(&stage);
    stage.weir.process.signal(Signal::TERM);
    pause_ms(300);
    says(&mut client, b"while it drains");
    client.half_close();
    assert_eq!(client.take_to_end(), End::Closed);
    assert!(stage.weir.process.wait(PATIENCE).success());

    let (mut stage, began) = drained("1");
    let mut client = tunnel(&stage);
    stage.weir.process.signal(Signal::TERM);
    assert_ne!(client.take_to_end(), End::Idle);
    assert!(began.elapsed() >= Duration::from_millis(900));
    stage.weir.process.wait(PATIENCE);
}

/// Two hundred tunnels with nothing in them: buffers are lent only while there is something to carry.
#[test]
fn who_idles_holds_little() {
    const TUNNELS: usize = 200;
    let stage = stage(|_| ());
    let settled = || {
        // Buffers nobody borrowed are given back by and by.
        let mut least = u64::MAX;
        for _ in 0..12 {
            pause(Duration::from_millis(250));
            least = least.min(stage.weir.process.pss_kb());
        }
        least
    };
    let mut first: Vec<Client> = (0..20).map(|_| tunnel(&stage)).collect();
    let before = settled();
    let mut more: Vec<Client> = (0..TUNNELS).map(|_| tunnel(&stage)).collect();
    let after = settled();
    let each = (after.saturating_sub(before)) as f64 / TUNNELS as f64;
    eprintln!("{each:.1} KiB for each idle tunnel ({before} KiB, then {after})");
    assert!(each < 16.0, "an idle tunnel holds {each:.1} KiB");
    says(&mut first[0], b"x");
    says(&mut more[TUNNELS - 1], b"x");
}

/// As with relays: what is under way when a member is marked down goes on, or is cut where the document says so.
#[test]
fn a_member_that_is_marked_down_keeps_it_or_loses_it() {
    for (words, cut) in [("KEEP_SESSIONS", false), ("SHUTDOWN_SESSIONS", true)] {
        let place = Place::new();
        let member = Member::script("m1", place.socket(), echo);
        let health = Moody::http("health", place.socket());
        let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())])
            .monitor(fast_http())
            .pool_keys(json!({"on_marked_down": words}));
        setup.members[0].more = json!({"monitor_port": health.member.socket().port()});
        let weir = Weir::start(&place, &setup);
        weir.control.wait_asked();
        let stage = Stage { weir, setup, members: vec![member], place };
        let mut client = tunnel(&stage);
        health.mood(1);
        stage.weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
        if cut {
            assert_eq!(client.take_to_end(), End::Reset);
            let line = stage.weir.wait_log(1).remove(0);
            assert!(line.contains(" 101 ") && line.contains(" DD-- "), "{line}");
        } else {
            says(&mut client, b"goes on");
        }
    }
}

/// A policy may keep WebSockets out, and lets all else through.
#[test]
fn a_policy_may_refuse_it() {
    let stage = stage(|setup| {
        setup.listener["l7policies"] = json!([{
            "name": "none", "action": "REJECT",
            "rules": [{"type": "HEADER", "key": "Upgrade", "compare_type": "EQUAL_TO", "value": "websocket"}],
        }]);
    });
    let mut client = Client::connect(stage.vip());
    client.send(ask("/"));
    assert_eq!(client.answer().status(), 403);
    assert_eq!(get(stage.vip(), "/").status(), 200);
    assert_eq!(in_use(&stage), (0, 0));
}

/// The member's head never comes: that is a request that waits, with a request's timeout.
#[test]
fn a_switch_that_does_not_come_is_a_timeout() {
    let stage = Stage::with(
        Mode::Http,
        1,
        |name, at| Member::script(name, at, |conn| conn.head().map(|_| ())),
        |setup| {
            setup.log_format = Some("json");
            setup.timeouts.member = 400;
            setup.listener["timeout_tunnel"] = json!(60_000);
        },
    );
    let mut client = Client::connect(stage.vip());
    client.send(ask("/"));
    assert_eq!(client.answer().status(), 504);
    assert_eq!(in_use(&stage), (0, 0));
}
