//! Promise: a client that is silent between two requests costs next to nothing and notices nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::message::End;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

/// Clients each of whom was served once, all parked.
fn parked(stage: &Stage, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    until_parked(stage, count);
    clients
}

fn until_parked(stage: &Stage, count: usize) {
    until_true(PATIENCE, "the clients to be parked", || now_parked(stage) == count as u64);
}

fn now_parked(stage: &Stage) -> u64 {
    stage.weir.control.stats().workers.iter().map(|worker| worker.parked_connections).sum()
}

#[test]
fn a_client_that_comes_back_is_served_on_its_connection() {
    let stage = Stage::http(1, |setup| setup.workers = 2);
    let mut clients = parked(&stage, 20);
    assert_eq!(stage.weir.control.listener().active_connections, 20, "parked clients are still connected");
    for client in &mut clients {
        assert_eq!(client.get("/again").status(), 200);
    }
    until_parked(&stage, 20);
    let listener = stage.weir.control.listener();
    assert_eq!((listener.total_connections, listener.total_requests), (20, 40));
    clients.truncate(5);
    until_true(PATIENCE, "those that left to be forgotten", || {
        stage.weir.control.listener().active_connections == 5 && now_parked(&stage) == 5
    });
    assert!(
        stage.weir.log().iter().all(|line| line.contains(" 200 ")),
        "leaving between two requests is worth no line"
    );
}

#[test]
fn bytes_that_come_while_a_client_is_put_away_are_not_lost() {
    let stage = Stage::http(1, |_| {});
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut clients {
        client.get("/");
    }
    let began = Instant::now();
    // Around the moment in which they are parked.
    for (n, client) in clients.iter_mut().enumerate() {
        let at = Duration::from_millis(980 + 2 * n as u64);
        pause_ms(at.saturating_sub(began.elapsed()).as_millis() as u64);
        client.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().status(), 200);
    }
}

#[test]
fn patience_ends_for_the_parked_too() {
    let stage = Stage::http(1, |setup| setup.timeouts.keep_alive = 1800);
    let mut client = Client::connect(stage.vip());
    client.get("/");
    let silent_since = Instant::now();
    until_parked(&stage, 1);
    assert_eq!(client.fate_if_open(Duration::from_secs(4)), Some(End::Closed));
    let after = silent_since.elapsed().as_millis();
    assert!((1700..2500).contains(&after), "closed after {after} ms");
    assert_eq!(stage.weir.log().len(), 1, "closing a silent client is worth no line");
}

#[test]
fn a_new_document_holds_for_the_parked() {
    let mut stage = Stage::http(2, |setup| setup.members[1].admin_state_up = false);
    let mut clients = parked(&stage, 4);
    stage.apply(|setup| {
        setup.members[0].admin_state_up = false;
        setup.members[1].admin_state_up = true;
    });
    for client in &mut clients {
        assert!(client.get("/").text().contains("\"m2\""));
    }
    // A listener that is gone answers once more, and says that it was the last time.
    until_parked(&stage, 4);
    let mut document = stage.setup.document(&stage.place.path("access.log"));
    document["loadbalancer"]["listeners"] = json!([]);
    stage.weir.control.apply(&document);
    let answer = clients[0].get("/");
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
}

#[test]
fn parked_clients_do_not_hold_up_the_end() {
    let mut stage = Stage::http(1, |setup| setup.workers = 2);
    let mut clients = parked(&stage, 6);
    stage.weir.process.signal(rustix::process::Signal::TERM);
    assert!(stage.weir.process.wait(PATIENCE).success());
    assert!(clients.iter_mut().all(|client| client.fate_if_open(PATIENCE) == Some(End::Closed)));
}

#[test]
fn a_parked_client_weighs_little() {
    let stage = Stage::http(1, |setup| setup.workers = 1);
    drop(parked(&stage, 50));
    until_parked(&stage, 0);
    let before = anonymous_kb(stage.weir.process.pid());
    let clients = parked(&stage, 2000);
    let mut each = 0;
    until_true(PATIENCE, "2000 parked clients to weigh less than 400 bytes each", || {
        each = anonymous_kb(stage.weir.process.pid()).saturating_sub(before) * 1024 / clients.len() as u64;
        each < 400
    });
}

fn anonymous_kb(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss_Anon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
