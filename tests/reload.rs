//! Promise: a replaced document breaks no connection, loses no request and resets no counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::haproxy::listening;
use weir_tests::load::Plan;
use weir_tests::member::{Member, behave, sized};
use weir_tests::message::{End, pattern};
use weir_tests::setup::{Mode, backend};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

/// What says when it was made gets nothing added on its way.
const DATED: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// A well-behaved member with `/slow`: a megabyte in pieces, the second half only once `go_on` is set; and `/hold`,
/// answered once it is set.
fn patient(go_on: &Arc<AtomicBool>) -> impl Fn(&str, std::net::SocketAddr) -> Member {
    let go_on = Arc::clone(go_on);
    move |name: &str, at| {
        let (go_on, name_inside) = (Arc::clone(&go_on), name.to_owned());
        let wait = move || {
            while !go_on.load(Ordering::Relaxed) {
                pause_ms(5);
            }
        };
        Member::script(name, at, move |conn| {
            loop {
                let (head, body) = conn.request()?;
                if head.word(1) == "/slow" {
                    let answer = sized(200, DATED, &pattern(1 << 20), false);
                    conn.send(&answer[..answer.len() / 2])?;
                    wait();
                    conn.send(&answer[answer.len() / 2..])?;
                    continue;
                }
                if head.word(1) == "/hold" {
                    wait();
                }
                behave(conn, &name_inside, &head, &body)?;
            }
        })
    }
}

fn send_get(stage: &Stage, target: &str) -> Client {
    let mut client = Client::connect(stage.vip());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n"));
    client
}

/// Descriptors, threads and the process stay; 100 different documents come and go.
#[test]
fn hundred_documents_under_load() {
    let go_on = Arc::new(AtomicBool::new(false));
    let mut stage = Stage::with(Mode::Http, 3, patient(&go_on), |setup| setup.workers = 2);
    let mut idle = Client::connect(stage.vip());
    assert_eq!(idle.get("/before").status(), 200);
    let mut download = send_get(&stage, "/slow");
    download.take(1000);

    let pid = stage.weir.process.pid();
    let threads = stage.weir.process.status_field("Threads");
    let gets = Plan::gets(stage.vip(), 4).start();
    let posts = Plan::gets(stage.vip(), 4).posts().start();
    gets.wait_for(100);
    let third = stage.setup.members[2].clone();
    let mut last = stage.weir.control.listener();
    let first_generation = stage.weir.control.health().generation;
    for n in 0..100u16 {
        stage.apply(|setup| {
            setup.members[0].weight = 1 + n % 7;
            setup.timeouts.member = 50_000 + u64::from(n);
            setup.forwarded_for = n % 2 == 0;
            setup.connection_limit = (n % 3 == 0).then_some(1000);
            setup.algorithm = ["ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP"][usize::from(n % 3)];
            if n % 2 == 0 {
                setup.members.truncate(2);
            } else {
                setup.members.push(third.clone());
            }
        });
        let now = stage.weir.control.listener();
        assert_eq!(now.id, last.id, "the listener is another one");
        assert!(
            now.total_requests >= last.total_requests
                && now.total_connections >= last.total_connections
                && now.bytes_in >= last.bytes_in
                && now.bytes_out >= last.bytes_out
                && now.responses.iter().zip(last.responses).all(|(now, last)| *now >= last),
            "a counter went back:\n{last:?}\n{now:?}"
        );
        last = now;
    }
    gets.wait_for(100);
    for (what, load) in [("GETs", gets), ("POSTs", posts)] {
        let outcome = load.stop();
        assert_eq!(outcome.failures, Vec::<String>::new(), "{what}");
        assert_eq!(outcome.reopened, 0, "{what}: a connection was closed by a new document");
    }

    assert_eq!(idle.get("/after").status(), 200, "the idle connection did not survive");
    go_on.store(true, Ordering::Relaxed);
    let all = sized(200, DATED, &pattern(1 << 20), false);
    download.take(all.len() - 1000);
    assert!(download.stray == all, "the long download is not what the member sent");

    let health = stage.weir.control.health();
    assert_eq!((health.pid, health.generation), (pid, first_generation + 100));
    assert_eq!(stage.weir.process.status_field("Threads"), threads, "threads came or went");
    assert_eq!(stage.weir.control.stats().sessions_panicked, 0);
}

#[test]
fn removed_member_finishes_what_it_has_and_gets_nothing_new() {
    let go_on = Arc::new(AtomicBool::new(false));
    let mut stage = Stage::with(Mode::Http, 1, patient(&go_on), |_| ());
    let mut held = send_get(&stage, "/hold");
    stage.members[0].wait_requests(1);
    let other = Member::http("other", stage.place.socket());
    stage.apply(|setup| setup.members = vec![backend("other", other.socket())]);
    for _ in 0..5 {
        assert_eq!(get(stage.vip(), "/").header("x-member"), Some("other"));
    }
    go_on.store(true, Ordering::Relaxed);
    let answer = held.answer();
    assert_eq!((answer.status(), answer.header("x-member")), (200, Some("m1")));
    assert_eq!(stage.members[0].requests(), 1);
    // The client stays, and its next request goes where the new document says.
    assert_eq!(held.get("/").header("x-member"), Some("other"));
}

#[test]
fn listeners_come_and_go() {
    let mut stage = Stage::http(1, |_| ());
    let mut kept = Client::connect(stage.vip());
    kept.get("/");
    let second = stage.place.socket();
    let mut document = stage.setup.document(&stage.place.path("access.log"));
    let mut another = document["loadbalancer"]["listeners"][0].clone();
    another["name"] = json!("second");
    another["protocol_port"] = json!(second.port());
    another["default_pool"]["name"] = json!("second");
    document["loadbalancer"]["listeners"].as_array_mut().unwrap().push(another.clone());
    stage.weir.control.apply(&document);
    assert_eq!(get(second, "/").status(), 200, "200 on the control socket means: it serves");

    document["loadbalancer"]["listeners"] = json!([another]);
    stage.weir.control.apply(&document);
    assert!(!listening(stage.vip()), "the removed listener still listens");
    assert_eq!(get(second, "/").status(), 200);
    // Its established connection is not broken; it may be told to close after an answer.
    assert_eq!(kept.get("/").status(), 200);

    stage.apply(|_| ());
    assert!(listening(stage.vip()) && !listening(second));
    assert_eq!(get(stage.vip(), "/").status(), 200);
}

#[test]
fn the_same_document_again_changes_nothing() {
    let mut stage = Stage::http(2, |_| ());
    let first = stage.weir.control.document().loadbalancer;
    stage.apply(|_| ());
    let second = stage.weir.control.document().loadbalancer;
    assert_eq!(first, second, "ids are made anew");
    assert!(first.is_some_and(|lb| lb.listeners.len() == 1));
}

#[test]
fn what_is_served_can_be_read() {
    let stage = Stage::http(2, |_| ());
    let reply = stage.weir.control.document();
    assert_eq!(reply.generation, stage.weir.control.health().generation);
    let loadbalancer = reply.loadbalancer.unwrap();
    assert_eq!(loadbalancer.listeners[0].protocol_port, stage.vip().port());
    assert_eq!(loadbalancer.listeners[0].timeouts.member_data_ms, 50_000);
    assert_eq!(loadbalancer.pools[0].members.len(), 2);
}

#[test]
fn timeouts_of_the_new_document_hold_for_new_requests() {
    let go_on = Arc::new(AtomicBool::new(false));
    let mut stage = Stage::with(Mode::Http, 1, patient(&go_on), |_| ());
    let mut client = Client::connect(stage.vip());
    client.get("/");
    stage.apply(|setup| setup.timeouts.member = 300);
    client.send("GET /hold HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    assert_eq!(client.answer().status(), 504);
    go_on.store(true, Ordering::Relaxed);
}

#[test]
fn tcp_streams_survive() {
    let echo = |name: &str, at| {
        Member::script(name, at, |conn| {
            loop {
                let byte = conn.take(1)?;
                conn.send(byte)?;
            }
        })
    };
    let mut stage = Stage::with(Mode::Tcp, 2, echo, |setup| setup.workers = 2);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(stage.vip())).collect();
    for n in 0..20u16 {
        stage.apply(|setup| {
            setup.members[0].weight = 1 + n;
            setup.members[1].admin_state_up = n % 2 == 0;
        });
        for client in &mut clients {
            client.send("x");
            client.take(1);
        }
    }
    for client in &mut clients {
        assert_eq!(client.fate_if_open(std::time::Duration::from_millis(20)), Some(End::Idle));
    }
}

#[test]
fn stats_forget_removed_members_only() {
    let mut stage = Stage::http(2, |_| ());
    Plan::gets(stage.vip(), 1).exactly(10);
    stage.apply(|setup| {
        setup.members.pop();
    });
    let stats = stage.weir.control.stats();
    assert_eq!(stats.pools[0].members.len(), 1);
    assert_eq!(stats.pools[0].members[0].total_connections, 5);
    until_true(PATIENCE, "the counters to agree", || stage.weir.control.listener().total_requests == 10);
}
