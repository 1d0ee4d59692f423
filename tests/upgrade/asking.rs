//! What members are asked for, and what becomes of answers that fit and of those that do not.

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::member::{Conn, Member, ok};
use weir_tests::message::{End, pattern};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::websocket::{ACCEPT, KEY, ask, echo_bytes, switching};

use super::{line, says, stage, tunnel};

/// One member that does what `script` says, and keeps what it saw.
fn scripted(script: impl Fn(&mut Conn) -> Result<(), End> + Clone + Send + Sync + 'static) -> Stage {
    let member = |name: &str, at| Member::script(name, at, script.clone());
    let stage = Stage::with(Mode::Http, 1, member, |setup| setup.log_format = Some("json"));
    stage.members[0].keep_all();
    stage
}

#[test]
fn a_websocket_is_asked_for_granted_and_carried() {
    let stage = scripted(weir_tests::websocket::echo);
    let mut client = Client::connect(stage.vip());
    client.send(ask("/ws?a=b"));
    let answer = client.answer();
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.header("x-member"), Some("m"));
    says(&mut client, b"hello");
    says(&mut client, &pattern(300_000)[..1000]);
    client.half_close();
    assert_eq!(client.take_to_end(), End::Closed);
    let seen = stage.members[0].seen();
    let head = &seen[0].head;
    assert_eq!(head.start, "GET /ws?a=b HTTP/1.1");
    assert_eq!((head.all("upgrade"), head.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!((head.get("sec-websocket-key"), head.get("sec-websocket-protocol")), (Some(KEY), Some("chat")));
    let line = line(&stage, 0);
    assert_eq!((line["status"].clone(), line["flags"].clone()), (json!(101), json!("--")), "{line}");
    let sent = ask("/ws?a=b").len() + 5 + 1000;
    assert_eq!(line["bytes_in"], json!(sent), "{line}");
    assert_eq!(stage.weir.control.listener().bytes_in, sent as u64);
}

/// Much, in both directions at once, with nobody losing a byte.
#[test]
fn much_goes_both_ways_at_once() {
    const LEN: usize = 20 << 20;
    let stage = Stage::with(
        Mode::Http,
        1,
        |name, at| {
            Member::script(name, at, |conn| {
                let head = conn.head()?;
                conn.send(switching(&head))?;
                std::thread::scope(|scope| {
                    let mut other = conn.other_hand();
                    scope.spawn(move || std::io::Write::write_all(&mut other, &pattern(LEN)));
                    assert!(conn.take(LEN).is_ok_and(|got| got == pattern(LEN)));
                });
                Ok(())
            })
        },
        |_| (),
    );
    let mut client = Client::connect(stage.vip());
    client.send(ask("/"));
    assert_eq!(client.answer().status(), 101);
    let mut writing = client.wire().stream().try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writing, &pattern(LEN)).unwrap());
        assert!(client.take(LEN) == pattern(LEN));
    });
}

/// Frames the member sends right behind its head, in the same segment, and those the client sent before it was told.
#[test]
fn what_was_said_early_is_carried() {
    let stage = scripted(|conn| {
        let head = conn.head()?;
        conn.send([switching(&head).as_bytes(), b"from the member"].concat())?;
        echo_bytes(conn)
    });
    let mut client = Client::connect(stage.vip());
    client.send([ask("/").as_bytes(), b"GET /early HTTP/1.1\r\n\r\n"].concat());
    assert_eq!(client.answer().status(), 101);
    assert_eq!(client.take(15), b"from the member");
    assert_eq!(client.take(23), b"GET /early HTTP/1.1\r\n\r\n");
    assert_eq!(stage.members[0].requests(), 1);
}

/// Threat P4: without a 101 there is no tunnel, so what was sent ahead is the next request and is looked at as one.
#[test]
fn without_a_101_what_follows_is_a_request() {
    let stage = scripted(|conn| {
        loop {
            conn.request()?;
            conn.send(ok("no"))?;
        }
    });
    let mut client = Client::connect(stage.vip());
    client.send(
        [ask("/").as_bytes(), b"GET /next HTTP/1.1\r\nHost: weir.test\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"].concat(),
    );
    assert_eq!((client.answer().status(), client.answer().status()), (200, 200));
    let mut client = Client::connect(stage.vip());
    client.send([ask("/").as_bytes(), b"bytes that are no request\r\n\r\n"].concat());
    assert_eq!((client.answer().status(), client.answer().status()), (200, 400));
    let seen: Vec<String> = stage.members[0].seen().iter().map(|request| request.head.word(1).to_owned()).collect();
    assert_eq!(seen, ["/", "/next", "/"]);
    // The member's connection that did not switch is kept like any other.
    let so_far = stage.members[0].connections();
    let mut client = Client::connect(stage.vip());
    for _ in 0..5 {
        client.send(ask("/"));
        assert_eq!(client.answer().status(), 200);
    }
    assert!(stage.members[0].connections() <= so_far + 1, "{} connections", stage.members[0].connections());
}

/// What a member is told of `Upgrade` by a request with these fields, and what the client gets of an answer 200.
fn told(head: &str) -> (Option<String>, Vec<u16>) {
    let stage = scripted(|conn| {
        loop {
            conn.request()?;
            conn.send(ok("plain"))?;
        }
    });
    let mut client = Client::connect(stage.vip());
    client.send(head);
    client.answer_to(head.split(' ').next().unwrap());
    let statuses = client.responses.iter().map(weir_tests::client::Response::status).collect();
    let seen = stage.members[0].seen();
    let head = &seen.first().unwrap_or_else(|| panic!("nothing came: {statuses:?}")).head;
    assert_eq!(head.get("http2-settings"), None);
    assert_eq!(head.get("connection").is_some(), head.get("upgrade").is_some());
    (head.get("upgrade").map(str::to_owned), statuses)
}

/// Threats P4 and P5.
#[test]
fn what_may_not_be_asked_for_is_served_as_a_plain_request() {
    let fields =
        "Host: weir.test\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    for head in [
        format!("GET / HTTP/1.1\r\n{fields}Upgrade: h2c\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{fields}Upgrade: H2C\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{fields}Upgrade: TLS/1.3, HTTP/2.0\r\n\r\n"),
        format!("GET / HTTP/1.0\r\n{fields}Upgrade: websocket\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{fields}Upgrade: websocket\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{fields}Upgrade: websocket\r\nContent-Length: 3\r\n\r\nabc"),
        format!("GET / HTTP/1.1\r\n{fields}Upgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: weir.test\r\nUpgrade: websocket\r\n\r\n".to_owned(),
    ] {
        assert_eq!(told(&head), (None, vec![200]), "{head}");
    }
    let several = format!("GET / HTTP/1.1\r\n{fields}Upgrade: h2c, websocket, x/2\r\n\r\n");
    assert_eq!(told(&several), (Some("websocket, x/2".to_owned()), vec![200]));
}

/// What the client gets where a member answers `request` with `answer`; the connection is gone afterwards.
fn answered(request: &str, answer: &'static str) -> (Vec<u16>, String) {
    let stage = scripted(move |conn| {
        conn.head()?;
        conn.send(answer)?;
        conn.take(1).map(|_| ())
    });
    let mut client = Client::connect(stage.vip());
    client.send(request);
    client.answer();
    client.send("GET /smuggled HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    let statuses = client.responses.iter().map(weir_tests::client::Response::status).collect();
    let visits = stage.members[0].visits();
    assert!(!visits.iter().any(|visit| String::from_utf8_lossy(&visit.bytes).contains("smuggled")));
    (statuses, line(&stage, 0)["reason"].as_str().unwrap_or_default().to_owned())
}

/// Threat P6.
#[test]
fn a_switch_nobody_asked_for_is_refused() {
    let unasked = "the member switched protocols unasked";
    let plain = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    for (request, answer) in [
        (plain.to_owned(), "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        (ask("/"), "HTTP/1.1 101 x\r\n\r\n"),
        (ask("/"), "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        (ask("/"), "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n"),
        (ask("/"), "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n"),
        (ask("/"), "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n"),
        (ask("/"), "HTTP/1.1 101 x\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nx"
                .to_owned(),
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
    ] {
        assert_eq!(answered(&request, answer), (vec![502], unasked.to_owned()), "{request}{answer}");
    }
}

/// Other protocols than WebSocket, as `kubectl exec` and Docker ask for them.
#[test]
fn other_protocols_are_passed_on() {
    let stage = stage(|_| ());
    for protocol in ["SPDY/3.1", "tcp"] {
        let mut client = Client::connect(stage.vip());
        client.send(format!(
            "POST /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("upgrade")), (101, Some(protocol)));
        says(&mut client, b"anything\0at all");
    }
}

/// Threat L6: no tunnel without a member's word, so none for CONNECT.
#[test]
fn connect_is_refused() {
    let stage = stage(|_| ());
    for target in ["weir.test:443", "127.0.0.1:22", "/"] {
        let mut client = Client::connect(stage.vip());
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: weir.test:443\r\n\r\n"));
        assert!(matches!(client.answer().status(), 400 | 405));
        assert_eq!(client.take_to_end(), End::Closed);
    }
    assert_eq!(stage.members[0].connections(), 0);
}

/// A member that dies under a tunnel, and a client that does: the other side is told in the same way.
#[test]
fn ends_and_resets_are_passed_on() {
    let stage = scripted(|conn| {
        let head = conn.head()?;
        conn.send(switching(&head))?;
        if head.word(1) == "/reset" {
            conn.take(1)?;
            conn.reset();
            return Ok(());
        }
        echo_bytes(conn)
    });
    let mut client = Client::connect(stage.vip());
    client.send(ask("/reset"));
    assert_eq!(client.answer().status(), 101);
    client.send("x");
    assert_eq!(client.take_to_end(), End::Reset);
    assert_eq!(line(&stage, 0)["flags"], json!("SD"));
    let mut client = tunnel(&stage);
    client.reset();
    until_true(PATIENCE, "the member to be told", || {
        stage.members[0].visits().get(1).is_some_and(|visit| visit.end == Some(End::Reset))
    });
    assert_eq!(line(&stage, 1)["flags"], json!("CD"));
    // A side that has said all it had to say still hears the other.
    let mut client = tunnel(&stage);
    client.half_close();
    assert_eq!(client.take_to_end(), End::Closed);
    assert_eq!(line(&stage, 2)["flags"], json!("--"));
}
