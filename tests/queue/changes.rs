//! What changes while somebody waits: limits, members, and who is up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::health::monitor;
use weir_tests::setup::backend;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

use super::gate::Gate;
use super::{ask, limits, line_up, queue, stage, wait_waiting};

#[test]
fn a_limit_of_a_new_document_holds_for_those_who_wait() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let mut stage = stage(&gate, 1, 1, |setup| setup.workers = workers);
        let _first = ask(&stage, "/");
        gate.wait_inside(1);
        let _waiting = line_up(&stage, &["/"; 6]);
        stage.apply(|setup| limits(setup, 3));
        gate.wait_inside(3);
        wait_waiting(&stage.weir.control, 4);
        // Lower: nobody is thrown out, and nobody comes until there is room again.
        stage.apply(|setup| limits(setup, 1));
        gate.release(2);
        gate.wait_inside(1);
        pause_ms(50);
        assert_eq!((gate.inside(), queue(&stage.weir.control).waiting), (1, 4));
        gate.release(1);
        wait_waiting(&stage.weir.control, 3);
        // None at all.
        stage.apply(|setup| setup.members[0].more = json!({}));
        gate.wait_inside(4);
        assert_eq!((gate.most(), queue(&stage.weir.control).waiting), (4, 0));
        gate.open();
    }
}

#[test]
fn a_limit_that_is_new_holds_from_then_on() {
    let gate = Gate::default();
    let mut stage = stage(&gate, 1, 0, |setup| setup.workers = 2);
    let _inside: Vec<Client> = (0..3).map(|_| ask(&stage, "/")).collect();
    gate.wait_inside(3);
    stage.apply(|setup| limits(setup, 2));
    let mut waiting = line_up(&stage, &["/waiting"]);
    gate.release(1);
    gate.wait_inside(2);
    pause_ms(50);
    assert_eq!(queue(&stage.weir.control).waiting, 1, "two are there still");
    // Those that came before there was a limit hand on their slots like any other.
    gate.release(1);
    wait_waiting(&stage.weir.control, 0);
    gate.open();
    assert_eq!(waiting[0].answer().status(), 200);
}

#[test]
fn a_member_that_is_added_serves_those_who_wait() {
    let gate = Gate::default();
    let mut stage = stage(&gate, 1, 1, |setup| {
        setup.workers = 2;
        setup.log_format = Some("json");
    });
    let _first = ask(&stage, "/first");
    gate.wait_inside(1);
    let mut waiting = line_up(&stage, &["/a", "/b"]);
    let at = stage.place.socket();
    let second = gate.http("m2", at);
    stage.apply(|setup| {
        setup.members.insert(0, backend("m2", at));
        limits(setup, 1);
    });
    gate.wait_inside(2);
    assert_eq!((gate.order()[1].as_str(), second.requests()), ("/a", 1));
    gate.open();
    assert_eq!((waiting[0].answer().status(), waiting[1].answer().status()), (200, 200));
    let lines = stage.weir.wait_log(3);
    let line = lines.iter().find(|line| line.contains("\"/a\"")).unwrap();
    assert!(line.contains("\"member\":\"m2\""), "{line}");
}

#[test]
fn a_member_that_is_removed_or_closed_leaves_its_waiters_to_the_others() {
    for removed in [true, false] {
        let gate = Gate::default();
        let mut stage = stage(&gate, 2, 1, |setup| setup.algorithm = "SOURCE_IP");
        let mut first = ask(&stage, "/first");
        gate.wait_inside(1);
        let mut waiting = line_up(&stage, &["/a", "/b"]);
        let bound = stage.weir.control.stats().pools[0].members.iter().position(|m| m.waiting == 2).unwrap();
        stage.apply(|setup| match removed {
            true => drop(setup.members.remove(bound)),
            false => setup.members[bound].admin_state_up = false,
        });
        gate.wait_inside(2);
        assert_eq!((stage.counts()[1 - bound], queue(&stage.weir.control).waiting), (1, 1));
        gate.open();
        assert_eq!(first.answer().status(), 200, "what it was working on is finished");
        assert!(waiting.iter_mut().all(|client| client.answer().status() == 200));
        assert_eq!(stage.counts()[1 - bound], 2);
    }
}

#[test]
fn a_member_that_is_killed_leaves_its_work_to_the_others() {
    let gate = Gate::default();
    let mut stage = stage(&gate, 2, 1, |setup| {
        setup.workers = 2;
        setup.pool = json!({"timeout_queue": 20_000});
    });
    let mut clients: Vec<Client> = (0..8).map(|_| ask(&stage, "/")).collect();
    gate.wait_inside(2);
    wait_waiting(&stage.weir.control, 6);
    stage.members[0].kill();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
    assert_eq!(queue(&stage.weir.control).waiting, 0);
    until_true(PATIENCE, "all slots to be free", || {
        stage.weir.control.stats().pools[0].members.iter().all(|m| m.active_connections == 0)
    });
}

#[test]
fn when_nobody_is_up_any_more_all_are_told_at_once() {
    let gate = Gate::default();
    let mut stage = stage(&gate, 1, 1, |setup| {
        setup.log_format = Some("json");
        setup.pool = json!({
            "timeout_queue": 60_000, "healthmonitor": monitor("TCP", 200, 100), "on_marked_down": "SHUTDOWN_SESSIONS",
        });
    });
    // One that may not be repeated, so that it ends with its member.
    let mut first = Client::connect(stage.vip());
    first.send("POST /first HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\nhi");
    gate.wait_inside(1);
    let mut waiting = line_up(&stage, &["/a", "/b", "/c"]);
    let began = Instant::now();
    // It listens no more, but holds on to what it works on.
    let at = stage.members[0].socket();
    stage.members[0].stop_listening();
    for client in &mut waiting {
        assert_eq!(client.answer().status(), 503);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    // The one that had a member is told as well, before or after them.
    let log = stage.weir.wait_log(4).iter().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let line = log.iter().find(|line| line["flags"] == "SQ").unwrap_or_else(|| panic!("{at}: {log:?}"));
    assert_eq!(line["member"], json!(null));
    assert_eq!(line["reason"], "no member of the pool is up any more, and it waited for one");
    gate.open();
}
