//! Who is turned away as soon as they have connected: by address, and because the listener is full.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";

pub(super) fn from(c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 77, c, d))
}

fn refused_at_the_door(from: IpAddr, to: SocketAddr) {
    let Some(mut client) = Client::try_from(from, to) else { return };
    client.send(GET);
    let end = client.fate_if_open(PATIENCE);
    // A send that failed has used the reset up.
    assert!(end == Some(End::Reset) || (client.send_failed && end == Some(End::Closed)), "{from}: {end:?}");
    assert!(client.stray.is_empty(), "{from} was told something");
}

#[test]
fn only_allowed_addresses_are_served() {
    for mode in [Mode::Http, Mode::Tcp] {
        let mut stage = Stage::with(mode, 1, Member::http, |setup| {
            setup.listener = json!({"allowed_cidrs": ["127.77.8.0/24", "127.77.9.129/25", "10.0.0.0/8"]});
        });
        let vip = stage.vip();
        for inside in [from(8, 1), from(8, 255), from(9, 128), from(9, 255)] {
            assert_eq!(Client::connect_from(inside, vip).get("/").status(), 200, "{inside}");
        }
        let outside = [from(7, 255), from(9, 1), from(9, 127), from(10, 0), "127.0.0.1".parse().unwrap()];
        for outside in outside {
            refused_at_the_door(outside, vip);
        }
        until_true(PATIENCE, "five to be counted", || stage.weir.control.listener().limits.not_allowed == 5);
        let listener = stage.weir.control.listener();
        assert_eq!((listener.total_connections, stage.members[0].requests()), (4, 4), "counted, but never let in");
        let lines = stage.weir.wait_log(9);
        let refused: Vec<_> = lines.iter().filter(|line| line.contains(" PR")).collect();
        assert_eq!(refused.len(), 5, "{lines:#?}");
        assert!(refused[0].starts_with("127.77.7.255:") && refused[0].contains("<NOSRV>"), "{}", refused[0]);
        // Everybody is allowed where nobody says who.
        stage.apply(|setup| setup.listener = json!({"allowed_cidrs": []}));
        assert_eq!(Client::connect_from(from(7, 255), vip).get("/").status(), 200);
    }
}

/// A flood of those who are turned away does not become a flood of lines.
#[test]
fn lines_about_the_refused_are_bounded() {
    let stage = Stage::http(1, |setup| setup.listener = json!({"allowed_cidrs": ["127.77.8.0/24"]}));
    for _ in 0..600 {
        drop(Client::try_from(from(9, 9), stage.vip()));
    }
    until_true(PATIENCE, "all to be counted", || stage.weir.control.listener().limits.not_allowed == 600);
    let withheld = stage.weir.control.listener().limits.lines_withheld;
    assert!(withheld > 0, "a busy machine may have taken seconds, but not six");
    let written = usize::try_from(600 - withheld).unwrap();
    assert_eq!(stage.weir.wait_log(written).len(), written);
}

#[test]
fn those_over_the_limit_are_told_so_at_once() {
    let stage = Stage::http(1, |setup| {
        setup.connection_limit = Some(2);
        setup.listener = json!({"on_connection_limit": "REFUSE"});
    });
    let (mut first, mut second) = (Client::connect(stage.vip()), Client::connect(stage.vip()));
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));
    for _ in 0..10 {
        let mut third = Client::connect(stage.vip());
        third.send(GET);
        let answer = third.answer();
        assert_eq!((answer.status(), answer.header("connection")), (503, Some("close")));
        assert_ne!(third.fate_if_open(Duration::from_secs(5)), Some(End::Idle));
    }
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200), "those inside notice nothing");
    let listener = stage.weir.control.listener();
    assert_eq!((listener.limits.over_connection_limit, listener.active_connections), (10, 2));
    let lines = stage.weir.wait_log(14);
    assert_eq!(lines.iter().filter(|line| line.contains(" 503 ") && line.contains(" PR")).count(), 10, "{lines:#?}");
    drop(first);
    until_true(PATIENCE, "a place", || stage.weir.control.listener().active_connections == 1);
    assert_eq!(Client::connect(stage.vip()).get("/").status(), 200);
}

#[test]
fn a_relay_over_the_limit_is_reset() {
    let stage = Stage::with(Mode::Tcp, 1, Member::http, |setup| {
        setup.connection_limit = Some(1);
        setup.listener = json!({"on_connection_limit": "REFUSE"});
    });
    let mut first = Client::connect(stage.vip());
    assert_eq!(first.get("/").status(), 200);
    refused_at_the_door("127.0.0.1".parse().unwrap(), stage.vip());
    assert_eq!(first.get("/").status(), 200);
    assert_eq!(stage.weir.control.listener().limits.over_connection_limit, 1);
}
