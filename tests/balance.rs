//! Promise: traffic is shared out as the document says, exactly, whatever the number of workers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_tests::client::{Client, get};
use weir_tests::load::Plan;
use weir_tests::member::{Member, behave};
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tools::wrk;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

fn who(answer: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(answer).unwrap();
    json["member"].as_str().unwrap().to_owned()
}

/// 10,000 requests are 1111 cycles of nine and one request more.
fn exact_with(workers: u16) {
    let stage = Stage::http(3, |setup| *setup = setup.clone().weights(&[5, 3, 1]).workers(workers));
    let outcome = Plan::gets(stage.vip(), 8).exactly(10_000);
    assert_eq!((outcome.good, outcome.failures), (10_000, vec![]));
    let counts = stage.counts();
    assert_eq!(counts.iter().sum::<usize>(), 10_000);
    for (count, weight) in counts.iter().zip([5, 3, 1]) {
        let share = 1111 * weight;
        assert!((share..=share + 1).contains(count), "{counts:?} is not 5:3:1 with {workers} workers");
    }
}

#[test]
fn round_robin_is_exact_with_one_worker() {
    exact_with(1);
}

#[test]
fn round_robin_is_exact_with_two_workers() {
    exact_with(2);
}

#[test]
fn round_robin_is_exact_with_four_workers() {
    exact_with(4);
}

/// Smooth: the heavy one is not asked five times in a row.
#[test]
fn round_robin_is_smooth() {
    let stage = Stage::http(3, |setup| *setup = setup.clone().weights(&[5, 3, 1]));
    let mut client = Client::connect(stage.vip());
    let order: Vec<String> = (0..18).map(|_| who(&client.get("/").text())).collect();
    for cycle in order.chunks(9) {
        let count = |name: &str| cycle.iter().filter(|m| *m == name).count();
        assert_eq!([count("m1"), count("m2"), count("m3")], [5, 3, 1], "{order:?}");
    }
    assert!(order.windows(3).all(|w| w[0] != w[1] || w[1] != w[2]), "three in a row: {order:?}");
}

#[test]
fn tcp_connections_are_shared_exactly_too() {
    let echo = |name: &str, at| {
        Member::script(name, at, |conn| {
            let bytes = conn.take(1)?;
            conn.send(bytes)
        })
    };
    let stage = Stage::with(Mode::Tcp, 2, echo, |setup| *setup = setup.clone().weights(&[2, 1]).workers(2));
    for _ in 0..30 {
        let mut client = Client::connect(stage.vip());
        client.send("x");
        client.take(1);
    }
    let counts: Vec<usize> = stage.members.iter().map(Member::connections).collect();
    assert_eq!(counts, [20, 10]);
}

/// A well-behaved member that keeps `/hold` waiting until told otherwise.
fn holding(release: &Arc<AtomicBool>) -> impl Fn(&str, std::net::SocketAddr) -> Member {
    let release = Arc::clone(release);
    move |name: &str, at| {
        let (release, name_inside) = (Arc::clone(&release), name.to_owned());
        Member::script(name, at, move |conn| {
            loop {
                let (head, body) = conn.request()?;
                if head.word(1) == "/hold" {
                    while !release.load(Ordering::Relaxed) {
                        pause_ms(5);
                    }
                }
                behave(conn, &name_inside, &head, &body)?;
            }
        })
    }
}

/// Opens a connection with a request that stays unanswered.
fn hold(stage: &Stage) -> Client {
    let before: usize = stage.counts().iter().sum();
    let mut client = Client::connect(stage.vip());
    client.send("GET /hold HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    until_true(PATIENCE, "the request to reach a member", || stage.counts().iter().sum::<usize>() > before);
    client
}

/// Every worker knows what the others have in flight.
#[test]
fn least_connections_counts_all_workers() {
    let release = Arc::new(AtomicBool::new(false));
    let stage = Stage::with(Mode::Http, 2, holding(&release), |setup| {
        *setup = setup.clone().algorithm("LEAST_CONNECTIONS").workers(4);
    });
    let mut held = hold(&stage);
    let busy = stage.counts().iter().position(|n| *n == 1).unwrap();
    for _ in 0..40 {
        // The last answer may be on its way to us while its worker still counts it.
        until_true(PATIENCE, "one in flight", || stage.weir.control.stats().pools[0].active_connections == 1);
        get(stage.vip(), "/");
    }
    assert_eq!(stage.counts()[busy], 1, "a member with a request in flight was given another");
    assert_eq!(stage.counts()[1 - busy], 40);
    release.store(true, Ordering::Relaxed);
    assert_eq!(held.answer().status(), 200);
}

#[test]
fn least_connections_minds_weights() {
    let release = Arc::new(AtomicBool::new(false));
    let stage = Stage::with(Mode::Http, 2, holding(&release), |setup| {
        *setup = setup.clone().algorithm("LEAST_CONNECTIONS").weights(&[2, 1]).workers(2);
    });
    let mut held: Vec<Client> = (0..9).map(|_| hold(&stage)).collect();
    assert_eq!(stage.counts(), [6, 3], "twice the weight, twice the requests in flight");
    release.store(true, Ordering::Relaxed);
    assert!(held.iter_mut().all(|c| c.answer().status() == 200));
}

fn asked_from(stage: &Stage, source: u8, n: u8) -> String {
    let source = IpAddr::V4(Ipv4Addr::new(127, 200, source, n));
    let mut client = Client::connect_from(source, stage.vip());
    who(&client.get("/").text())
}

#[test]
fn source_ip_is_stable_and_moves_few() {
    let mut stage = Stage::http(5, |setup| *setup = setup.clone().algorithm("SOURCE_IP").workers(4));
    let first: Vec<String> = (1..=200).map(|n| asked_from(&stage, 1, n)).collect();
    for name in ["m1", "m2", "m3", "m4", "m5"] {
        let count = first.iter().filter(|m| *m == name).count();
        assert!((15..=80).contains(&count), "{name} has {count} of 200 clients");
    }
    let second: Vec<String> = (1..=200).map(|n| asked_from(&stage, 1, n)).collect();
    assert_eq!(first, second, "the same clients went elsewhere");

    stage.apply(|setup| setup.members.retain(|m| m.name != "m3"));
    let without: Vec<String> = (1..=200).map(|n| asked_from(&stage, 1, n)).collect();
    let moved = first.iter().zip(&without).filter(|(was, is)| *was != "m3" && was != is).count();
    assert!(moved <= 20, "{moved} of 200 clients moved although their member stayed");
    assert!(!without.contains(&"m3".to_owned()));

    let (name, at) = (stage.members[2].name().to_owned(), stage.members[2].socket());
    stage.apply(|setup| setup.members.insert(2, weir_tests::setup::backend(&name, at)));
    let again: Vec<String> = (1..=200).map(|n| asked_from(&stage, 1, n)).collect();
    assert_eq!(first, again, "the set is as it was, and the clients are not");
}

#[test]
fn weight_zero_and_disabled_members_get_nothing() {
    let stage = Stage::http(3, |setup| {
        setup.members[0].weight = 0;
        setup.members[1].admin_state_up = false;
    });
    Plan::gets(stage.vip(), 2).exactly(50);
    assert_eq!(stage.counts(), [0, 0, 50]);
}

#[test]
fn backup_members_work_only_when_no_other_can() {
    let mut stage = Stage::http(3, |setup| setup.members[2].backup = true);
    Plan::gets(stage.vip(), 2).exactly(50);
    assert_eq!(stage.counts(), [25, 25, 0]);
    stage.members[0].kill();
    stage.members[1].kill();
    let outcome = Plan::gets(stage.vip(), 2).exactly(50);
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert_eq!(stage.counts()[2], 50);
}

#[test]
fn nobody_to_ask_is_said_at_once() {
    let stage = Stage::http(1, |setup| setup.members[0].weight = 0);
    let answer = get(stage.vip(), "/");
    assert_eq!(answer.status(), 503);
    let line = stage.weir.wait_log(1).remove(0);
    assert!(line.contains("back/<NOSRV>") && line.contains(" SC-- "), "{line}");
}

/// The judges' run, shorter: wrk, 64 connections, two nginx.
#[test]
fn wrk_sees_no_error_and_members_are_equal() {
    let place = Place::new();
    let members = [Nginx::start(&place, "n1", place.socket()), Nginx::start(&place, "n2", place.socket())];
    let names = [("n1", members[0].socket), ("n2", members[1].socket)];
    let setup = Setup::new(Mode::Http, place.socket(), names).workers(2);
    let weir = Weir::start(&place, &setup);
    let report = wrk(64, 3, &format!("http://{}/", setup.vip));
    assert_eq!((report.socket_errors, report.bad_statuses), (0, 0), "{}", report.text);
    let stats = weir.control.stats();
    let counts: Vec<u64> = stats.pools[0].members.iter().map(|m| m.total_connections).collect();
    assert!(counts[0].abs_diff(counts[1]) * 100 <= counts[0].max(counts[1]), "{counts:?} differ by more than 1 %");
    assert!(stats.workers.iter().all(|w| w.total_requests > 0), "an idle worker: {:?}", stats.workers);
    assert_eq!(stats.sessions_panicked, 0);
}
