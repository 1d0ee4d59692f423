//! Promise: what once went wrong when a document was replaced does not come back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, geteuid, getrlimit, prlimit};
use serde_json::Value;
use weir_tests::client::{Client, Response};
use weir_tests::load::Plan;
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup, backend};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n";

fn document(stage: &Stage) -> Value {
    stage.setup.document(&stage.place.path("access.log"))
}

/// `document` with one listener more, elsewhere.
fn with_another(stage: &Stage, at: SocketAddr) -> Value {
    let mut document = document(stage);
    let listeners = document["loadbalancer"]["listeners"].as_array_mut().unwrap();
    let mut other = listeners[0].clone();
    other["name"] = "other".into();
    other["protocol_port"] = at.port().into();
    other["default_pool"]["name"] = "other".into();
    listeners.push(other);
    document
}

fn wait_active(stage: &Stage, wanted: u64) {
    until_true(PATIENCE, &format!("{wanted} clients to be counted"), || {
        let stats = stage.weir.control.stats();
        stats.active_connections == wanted && stats.listeners[0].active_connections == wanted
    });
}

fn get_and_close(to: SocketAddr) -> Client {
    let mut client = Client::connect(to);
    client.send(GET_AND_CLOSE);
    client
}

/// A session let in by the listener that was gave its place back to the one that is: the count went below nothing.
#[test]
fn listener_removed_and_added_again_under_an_idle_client_lets_others_in() {
    let stage = Stage::http(1, |setup| setup.connection_limit = Some(10));
    let mut idle = Client::connect(stage.vip());
    assert_eq!(idle.get("/").status(), 200);
    let mut elsewhere = document(&stage);
    let listener = &mut elsewhere["loadbalancer"]["listeners"][0];
    listener["name"] = "other".into();
    listener["protocol_port"] = stage.place.socket().port().into();
    stage.weir.control.apply(&elsewhere);
    stage.weir.control.apply(&document(&stage));
    assert_eq!(idle.get("/").status(), 200);
    idle.leave();
    wait_active(&stage, 0);
    for _ in 0..3 {
        assert_eq!(get_and_close(stage.vip()).answer().status(), 200);
    }
    wait_active(&stage, 0);
}

/// Places were counted by name: one given back under the old name let nobody in under the new one.
#[test]
fn listener_renamed_while_full_serves_who_waits() {
    let stage = Stage::http(1, |setup| setup.connection_limit = Some(1));
    let mut inside = Client::connect(stage.vip());
    assert_eq!(inside.get("/").status(), 200);
    let mut waiting = get_and_close(stage.vip());
    assert_eq!(waiting.fate_if_open(Duration::from_millis(200)), Some(End::Idle));
    waiting.end = None;
    let mut renamed = document(&stage);
    renamed["loadbalancer"]["listeners"][0]["name"] = "renamed".into();
    stage.weir.control.apply(&renamed);
    pause_ms(100);
    inside.leave();
    assert_eq!(waiting.answer().status(), 200);
    waiting.leave();
    for _ in 0..3 {
        assert_eq!(get_and_close(stage.vip()).answer().status(), 200);
    }
    wait_active(&stage, 0);
}

/// A client taken from the queue and not yet let in was dropped with the worker that had taken it.
#[test]
fn client_waiting_for_a_place_survives_a_change_of_workers() {
    let mut stage = Stage::http(1, |setup| {
        setup.connection_limit = Some(1);
        setup.workers = 2;
    });
    let mut inside = Client::connect(stage.vip());
    assert_eq!(inside.get("/").status(), 200);
    let mut waiting: Vec<Client> = (0..6).map(|_| get_and_close(stage.vip())).collect();
    // Time for the workers to take whom they take.
    pause_ms(200);
    stage.apply(|setup| setup.workers = 1);
    pause_ms(200);
    inside.leave();
    for (n, client) in waiting.iter_mut().enumerate() {
        let answer = client.maybe_answer().unwrap_or_else(|| panic!("the waiting client {n} was dropped"));
        assert_eq!(answer.status(), 200);
    }
}

/// Sockets were opened while the document was being put into effect; when they ran out, half of it was.
#[test]
fn document_that_runs_out_of_descriptors_changes_nothing() {
    // The limits of a process belong to its user.
    let arguments: &[&str] = if geteuid().is_root() { &["--user", "root"] } else { &[] };
    let place = Place::new();
    let members = vec![Member::http("m1", place.socket())];
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", members[0].socket())]).workers(2);
    let weir = Weir::start_with(&place, &setup.document(&place.path("access.log")), arguments);
    let stage = Stage { weir, setup, members, place };
    assert_eq!(get_and_close(stage.vip()).answer().status(), 200);
    let second = SocketAddr::new(stage.vip().ip(), stage.place.socket().port());
    let (one, two) = (document(&stage), with_another(&stage, second));
    let pid = stage.weir.process.pid();
    let limit_to = |current| {
        let limit = Rlimit { current, ..getrlimit(Resource::Nofile) };
        prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Nofile, limit).unwrap();
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    for (refusals, limit) in (open..open + 60).enumerate() {
        let generation = stage.weir.control.document().generation;
        limit_to(Some(limit));
        let reply = stage.weir.control.request("PUT", "/v1/document", &serde_json::to_vec(&two).unwrap());
        limit_to(getrlimit(Resource::Nofile).maximum);
        if reply.is_ok_and(|reply| reply.status == 200) {
            assert!(refusals > 0, "descriptors never ran out");
            return;
        }
        until_true(PATIENCE, "the control socket", || stage.weir.control.try_health().is_some());
        assert_eq!(stage.weir.control.document().generation, generation, "it was refused and changed something");
        stage.weir.control.apply(&two);
        for at in [stage.vip(), second] {
            for n in 0..12 {
                let mut client = get_and_close(at);
                client.wire().patience = Duration::from_secs(2);
                let status = client.maybe_answer().map(Response::status);
                assert_eq!(status, Some(200), "client {n} of {at}, with {} descriptors to spare", limit - open);
            }
        }
        stage.weir.control.apply(&one);
    }
    panic!("the document was never taken");
}

/// The sockets of a removed listener were closed some time later: its port was in use when it came back at once.
#[test]
fn port_removed_and_added_again_under_load_is_never_in_use() {
    let stage = Stage::http(2, |setup| setup.workers = 2);
    let (without, with) = (document(&stage), with_another(&stage, stage.place.socket()));
    let load = Plan::gets(stage.vip(), 64).start();
    load.wait_for(500);
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(3) {
        for document in [&with, &without] {
            let reply = stage.weir.control.put(document);
            assert_eq!(reply.status, 200, "after {rounds} rounds: {}", reply.body);
        }
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds} rounds only");
    assert_eq!(load.stop().failures, Vec::<String>::new());
}

/// An idle client held the view of the document it was let in by, and with it connections to members long gone.
#[test]
fn connections_to_a_removed_member_are_closed_although_a_client_idles() {
    let mut stage = Stage::http(1, |_| ());
    let other = Member::http("other", stage.place.socket());
    let mut idle = Client::connect(stage.vip());
    assert_eq!(idle.get("/").status(), 200);
    let mut many: Vec<Client> = (0..20).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut many {
        client.send("GET /delay/200 HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    }
    for client in &mut many {
        assert_eq!(client.answer().status(), 200);
    }
    drop(many);
    let open = |member: &Member| member.visits().iter().filter(|visit| visit.end.is_none()).count();
    assert!(open(&stage.members[0]) > 1, "no connection was kept: nothing to see");
    stage.apply(|setup| setup.members = vec![backend("other", other.socket())]);
    until_true(PATIENCE, "the removed member's connections to be closed", || open(&stage.members[0]) == 0);
    assert_eq!(idle.get("/").status(), 200);
    assert_eq!(other.requests(), 1);
}
