//! What one client may take, and that others get theirs.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until, until_true};

use super::door::from;

fn limited(mode: Mode, limits: &Value, workers: u16) -> Stage {
    Stage::with(mode, 1, Member::http, |setup| {
        setup.listener = json!({"client_limits": limits});
        setup.workers = workers;
    })
}

/// True if a new connection from `c.d` is let in and served.
fn gets_in(stage: &Stage, c: u8, d: u8) -> Option<Client> {
    let mut client = Client::try_from(from(c, d), stage.vip())?;
    client.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    client.maybe_answer().is_some_and(|answer| answer.status() == 200).then_some(client)
}

#[test]
fn a_client_has_as_many_connections_as_it_may() {
    for (mode, workers) in [(Mode::Http, 1), (Mode::Http, 2), (Mode::Tcp, 2)] {
        let mut stage = limited(mode, &json!({"connections": 3, "exempt": ["127.77.250.0/24"]}), workers);
        let mut inside: Vec<Client> = (0..3).map(|_| gets_in(&stage, 1, 1).expect("below the limit")).collect();
        for _ in 0..5 {
            assert!(gets_in(&stage, 1, 1).is_none(), "a fourth was let in");
        }
        let _other = gets_in(&stage, 1, 2).expect("somebody else");
        let _exempt: Vec<Client> = (0..10).map(|_| gets_in(&stage, 250, 1).expect("exempt")).collect();
        assert_eq!(inside[0].get("/").status(), 200, "those inside are not touched");
        inside.pop();
        let mut again = until(PATIENCE, "the place to be free", || gets_in(&stage, 1, 1));
        assert!(gets_in(&stage, 1, 1).is_none());
        let refused = stage.weir.control.listener().limits.client_connections;
        assert!(refused >= 6, "{refused}");
        // What is known of clients outlives a document; the limit may change meanwhile.
        stage.apply(|setup| setup.listener["client_limits"]["connections"] = json!(4));
        let _fourth = gets_in(&stage, 1, 1).expect("one more is allowed now");
        assert!(gets_in(&stage, 1, 1).is_none(), "the three from before were forgotten");
        stage.apply(|setup| setup.listener["client_limits"]["connections"] = json!(1));
        assert_eq!(again.get("/").status(), 200, "nobody is thrown out");
        assert!(gets_in(&stage, 1, 1).is_none());
        stage.apply(|setup| setup.listener = json!({}));
        assert!(gets_in(&stage, 1, 1).is_some(), "there is no limit any more");
        assert!(stage.weir.log().iter().any(|line| line.starts_with("127.77.1.1:") && line.contains(" PR")));
    }
}

/// A silent client is parked; it counts all the same.
#[test]
fn a_parked_connection_still_counts() {
    let stage = limited(Mode::Http, &json!({"connections": 1}), 1);
    let mut only = gets_in(&stage, 1, 1).expect("the first");
    until_true(PATIENCE, "it to be parked", || {
        stage.weir.control.stats().workers.iter().any(|worker| worker.parked_connections == 1)
    });
    assert!(gets_in(&stage, 1, 1).is_none());
    assert_eq!(only.get("/").status(), 200);
    drop(only);
    until(PATIENCE, "the place to be free", || gets_in(&stage, 1, 1));
}

#[test]
fn connections_come_no_faster_than_allowed() {
    let stage = limited(Mode::Http, &json!({"connection_rate": 1, "connection_burst": 5}), 2);
    let began = std::time::Instant::now();
    let let_in = (0..40).filter(|_| gets_in(&stage, 1, 1).is_some()).count();
    let most = 5 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!((5..=most).contains(&let_in), "{let_in} in {:?}", began.elapsed());
    let limits = stage.weir.control.listener().limits;
    assert_eq!(limits.client_connection_rate as usize, 40 - let_in);
    assert!(gets_in(&stage, 1, 2).is_some(), "somebody else");
    until(PATIENCE, "the bucket to fill", || gets_in(&stage, 1, 1));
    assert_eq!(limits.clients, 1);
}

#[test]
fn requests_come_no_faster_than_allowed() {
    let stage = limited(Mode::Http, &json!({"request_rate": 1, "request_burst": 4}), 2);
    // Over two connections: it is the client that is counted.
    let (mut a, mut b) = (Client::connect_from(from(1, 1), stage.vip()), Client::connect_from(from(1, 1), stage.vip()));
    let began = std::time::Instant::now();
    let (mut served, mut refused) = (0, 0);
    for n in 0..20 {
        let client = if n % 2 == 0 { &mut a } else { &mut b };
        let answer = client.get("/x");
        match answer.status() {
            200 => served += 1,
            429 => {
                refused += 1;
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=2).contains(&seconds), "{seconds}");
                assert_eq!(answer.header("connection"), None, "the connection is still good");
            }
            other => panic!("{other}"),
        }
    }
    let most = 4 + began.elapsed().as_secs() + 1;
    assert!((4..=most).contains(&served), "{served}");
    assert_eq!(stage.weir.control.listener().limits.client_request_rate, refused);
    assert_eq!(stage.members[0].requests() as u64, served, "a member saw what was refused");
    assert_eq!(Client::connect_from(from(1, 2), stage.vip()).get("/").status(), 200, "somebody else");
    let lines = stage.weir.wait_log(21);
    let line = lines.iter().find(|line| line.contains(" 429 ")).expect("a line");
    assert!(line.contains(" PR-- ") && line.ends_with("\"GET /x HTTP/1.1\""), "{line}");
    until(PATIENCE, "the bucket to fill", || (a.get("/").status() == 200).then_some(()));
}

/// What nobody is going to read must not be taken for a request.
#[test]
fn a_refused_request_with_a_body_ends_its_connection() {
    let stage = limited(Mode::Http, &json!({"request_rate": 1, "request_burst": 1}), 1);
    let mut client = Client::connect_from(from(1, 1), stage.vip());
    assert_eq!(client.get("/").status(), 200);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET /inner HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("connection")), (429, Some("close")));
    assert_ne!(client.fate_if_open(Duration::from_secs(8)), Some(End::Idle));
    assert!(client.stray.is_empty(), "the body was answered");
    assert_eq!(stage.members[0].requests(), 1);
    // HEAD has no body in its answer, and HTTP/1.0 no kept connection.
    let mut head = Client::connect_from(from(1, 1), stage.vip());
    head.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(head.answer_to("HEAD").unwrap().status(), 429);
    assert_eq!(head.answer().header("connection"), Some("close"));
}

/// Limits that begin while a client is connected hold for it, too.
#[test]
fn a_new_limit_holds_for_those_who_are_there() {
    let mut stage = Stage::http(1, |_| ());
    let mut client = Client::connect_from(from(1, 1), stage.vip());
    assert_eq!(client.get("/").status(), 200);
    stage.apply(|setup| setup.listener = json!({"client_limits": {"request_rate": 1, "request_burst": 2}}));
    let statuses: Vec<u16> = (0..4).map(|_| client.get("/").status()).collect();
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    stage.apply(|setup| setup.listener = json!({}));
    assert_eq!(client.get("/").status(), 200);
}

/// The table holds so many; those that are here stay, a newcomer is served uncounted, and all of it is given back.
#[test]
fn the_table_is_bounded_and_nobody_is_refused_for_that() {
    let stage = limited(Mode::Http, &json!({"connections": 1, "table_size": 1024}), 2);
    let before = stage.weir.control.listener().limits;
    assert_eq!((before.clients, before.clients_bytes), (0, 0), "made when somebody comes");
    let clients: Vec<Client> = (0..1300u16)
        .map(|n| gets_in(&stage, (n >> 8) as u8, n as u8).unwrap_or_else(|| panic!("client {n} was refused")))
        .collect();
    let limits = stage.weir.control.listener().limits;
    assert!(limits.clients <= 1024 && limits.clients_uncounted >= 276, "{limits:?}");
    assert_eq!(limits.clients + limits.clients_uncounted, 1300);
    assert!(limits.clients_bytes <= 1024 * 64 + 16 * 128, "{limits:?}");
    drop(clients);
    until_true(PATIENCE, "them to be forgotten", || {
        let limits = stage.weir.control.listener().limits;
        limits.clients == 0 && limits.clients_bytes < 4096
    });
}

/// Behind another balancer the client is whom its PROXY header names.
#[test]
fn the_client_a_proxy_header_names_is_held_to_its_limits() {
    let stage = Stage::http(1, |setup| {
        setup.listener = json!({
            "proxy_protocol": {"trusted": ["127.0.0.1"]},
            "allowed_cidrs": ["127.77.0.0/16"],
            "client_limits": {"connections": 1},
        });
    });
    let come = |client: &str| {
        let mut balancer = Client::connect(stage.vip());
        balancer.send(format!("PROXY TCP4 {client} 192.0.2.1 4000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        balancer.maybe_answer().is_some_and(|answer| answer.status() == 200).then_some(balancer)
    };
    let _first = come("127.77.1.1").expect("the first of its client");
    assert!(come("127.77.1.1").is_none(), "a second of the same client");
    let _other = come("127.77.1.2").expect("another client through the same balancer");
    assert!(come("10.0.0.1").is_none(), "from elsewhere");
    let limits = stage.weir.control.listener().limits;
    assert_eq!((limits.client_connections, limits.not_allowed), (1, 1));
    // Who is not trusted speaks for itself.
    let mut direct = Client::connect_from(from(1, 3), stage.vip());
    assert_eq!(direct.get("/").status(), 200);
}
