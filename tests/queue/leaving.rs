//! Clients that leave while they wait give up their place, and nobody else's.

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::log_line::LogLine;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

use super::gate::Gate;
use super::{ask, limits, line_up, queue, stage, wait_waiting};

#[test]
fn a_client_that_resets_gives_up_its_place() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let stage = stage(&gate, 1, 1, |setup| setup.workers = workers);
        let mut first = ask(&stage, "/first");
        gate.wait_inside(1);
        let mut waiting = line_up(&stage, &["/a", "/b", "/c"]);
        waiting[1].reset();
        wait_waiting(&stage.weir.control, 2);
        let log = LogLine::parse(&stage.weir.wait_log(1)[0]).unwrap();
        assert_eq!((log.termination(), log.names.as_str()), ("CQ--", "front back/<NOSRV>"));
        // Half of a connection is enough to wait for an answer.
        waiting[2].half_close();
        pause_ms(50);
        gate.open();
        assert_eq!(first.answer().status(), 200);
        assert_eq!((waiting[0].answer().status(), waiting[2].answer().status()), (200, 200));
        assert_eq!(gate.order(), ["/first", "/a", "/c"], "{workers} workers");
    }
}

/// Many leave in the very moments in which slots are handed out: none of the slots is lost.
#[test]
fn no_slot_is_lost_on_those_who_leave() {
    let gate = Gate::default();
    let stage = stage(&gate, 1, 2, |setup| setup.workers = 2);
    gate.open();
    for round in 0..20 {
        let mut clients: Vec<Client> = (0..20).map(|_| ask(&stage, "/")).collect();
        for (i, client) in clients.iter_mut().enumerate() {
            if (i + round) % 3 == 0 {
                client.reset();
            }
        }
        for (i, mut client) in clients.into_iter().enumerate() {
            if (i + round) % 3 != 0 {
                assert_eq!(client.answer().status(), 200);
            }
        }
    }
    until_true(PATIENCE, "all slots to be free", || stage.weir.control.member("m1").active_connections == 0);
    assert_eq!(queue(&stage.weir.control).waiting, 0);
    assert!(gate.most() <= 2);
}

fn tcp(gate: &Gate) -> Stage {
    let member = |name: &str, at| gate.tcp(name, at);
    Stage::with(Mode::Tcp, 1, member, |setup| {
        limits(setup, 1);
        setup.pool = json!({"timeout_queue": 20_000});
    })
}

#[test]
fn a_tcp_client_that_closes_gives_up_its_place() {
    let gate = Gate::default();
    let stage = tcp(&gate);
    let mut first = Client::connect(stage.vip());
    gate.wait_inside(1);
    for leave in [Client::leave, Client::reset] {
        let mut gone = Client::connect(stage.vip());
        wait_waiting(&stage.weir.control, 1);
        leave(&mut gone);
        wait_waiting(&stage.weir.control, 0);
    }
    for line in stage.weir.wait_log(2) {
        let log = LogLine::parse(&line).unwrap();
        assert_eq!((log.termination(), log.names.as_str()), ("CQ", "front back/<NOSRV>"));
    }
    // One that spoke and was reset is gone, too.
    let mut spoke = Client::connect(stage.vip());
    spoke.send("hello");
    wait_waiting(&stage.weir.control, 1);
    pause_ms(50);
    spoke.reset();
    wait_waiting(&stage.weir.control, 0);
    gate.open();
    first.take(1);
    assert_eq!(gate.order().len(), 1);
}

/// A client may say all it has to say and close its half: it waits for the answer.
#[test]
fn a_tcp_client_that_spoke_may_half_close() {
    let gate = Gate::default();
    let stage = tcp(&gate);
    let first = Client::connect(stage.vip());
    gate.wait_inside(1);
    let mut client = Client::connect(stage.vip());
    client.send("what it has to say");
    client.half_close();
    wait_waiting(&stage.weir.control, 1);
    pause_ms(100);
    assert_eq!(queue(&stage.weir.control).waiting, 1);
    gate.open();
    drop(first);
    client.take(1);
    assert_eq!(gate.order().len(), 2);
}

/// What is behind TLS cannot be read, but nobody half-closes there: who closes has left.
#[test]
fn a_tls_client_that_spoke_and_closes_gives_up_its_place() {
    let place = Place::new();
    let gate = Gate::default();
    let member = gate.tcp("m1", place.socket());
    let mut setup = Setup::new(Mode::Tcp, place.socket(), [("m1", member.socket())]);
    limits(&mut setup, 1);
    let mut document = setup.document(&place.path("access.log"));
    let listener = &mut document["loadbalancer"]["listeners"][0];
    (listener["protocol"], listener["default_pool"]["protocol"]) = (json!("HTTPS"), json!("HTTPS"));
    let weir = Weir::start_with(&place, &document, &[]);
    let _first = Client::connect(setup.vip);
    gate.wait_inside(1);
    let mut client = Client::connect(setup.vip);
    client.send("\x16\x03\x01");
    wait_waiting(&weir.control, 1);
    client.leave();
    wait_waiting(&weir.control, 0);
    assert_eq!(LogLine::parse(&weir.wait_log(1)[0]).unwrap().termination(), "CQ");
    assert_eq!(weir.control.stats().sessions_panicked, 0);
    gate.open();
}
