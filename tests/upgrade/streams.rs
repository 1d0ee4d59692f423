//! Tunnels on streams of HTTP/2 (RFC 8441), on either side, and over TLS.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::certificates::Authority;
use weir_tests::client::Client;
use weir_tests::frames::{END_HEADERS, END_STREAM, Outcome, Speaker, code, fields, frame, kind, status};
use weir_tests::haproxy::Haproxy;
use weir_tests::member::{Conn, Member, ok};
use weir_tests::message::{End, pattern};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tls::Trusting;
use weir_tests::wait::{PATIENCE, pause, until_true};
use weir_tests::websocket::{ACCEPT, KEY, ask, echo, switching};
use weir_tests::weir::Weir;

use super::{line, says, stage};

/// Clients may begin in HTTP/2.
fn knowing(setup: &mut Setup) {
    setup.listener["http2_prior_knowledge"] = json!(true);
}

/// An extended CONNECT.
fn connect(stream: u32, protocol: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let pseudo: [(&str, &[u8]); 5] = [
        (":method", b"CONNECT"),
        (":protocol", protocol.as_bytes()),
        (":scheme", b"http"),
        (":authority", b"weir.test"),
        (":path", b"/ws?a=b"),
    ];
    let block = fields(&[&pseudo[..], &[("sec-websocket-version", b"13")], more].concat());
    frame(kind::HEADERS, END_HEADERS, stream, &block)
}

fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, 0, stream, bytes)
}

/// A client with a tunnel on stream 1.
fn tunnel(stage: &Stage) -> Speaker {
    let mut speaker = Speaker::connect(stage.vip());
    speaker.send(connect(1, "websocket", &[]));
    assert_eq!(head(&mut speaker, 1), (Some(200), false));
    speaker
}

/// Status of the answer on a stream, and whether it ends there.
fn head(speaker: &mut Speaker, stream: u32) -> (Option<u16>, bool) {
    let found = speaker.until(|f| f.stream == stream && f.kind != kind::WINDOW_UPDATE).unwrap();
    assert_eq!(found.kind, kind::HEADERS, "{found:?}");
    (status(&found.payload), found.ends())
}

/// So many bytes of a stream.
fn heard(speaker: &mut Speaker, stream: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let found = speaker.until(|f| f.stream == stream && f.kind != kind::WINDOW_UPDATE).unwrap();
        assert_eq!(found.kind, kind::DATA, "{found:?}");
        bytes.extend_from_slice(&found.payload);
    }
    bytes
}

#[test]
fn it_is_announced_and_becomes_an_upgrade() {
    let stage = stage(knowing);
    stage.members[0].keep_all();
    let mut speaker = Speaker::connect(stage.vip());
    let settings = speaker.until(|f| f.kind == kind::SETTINGS && f.flags == 0).unwrap();
    assert!(settings.payload.chunks(6).any(|one| one == [0, 8, 0, 0, 0, 1]), "{settings:?}");
    speaker.send(connect(1, "websocket", &[("sec-websocket-protocol", b"chat"), ("sec-websocket-key", b"mine")]));
    assert_eq!(head(&mut speaker, 1), (Some(200), false));
    speaker.send(data(1, b"hello"));
    assert_eq!(heard(&mut speaker, 1, 5), b"hello");
    // Another request on the same connection is served meanwhile.
    speaker.ask(3, "GET", "/plain");
    assert_eq!(speaker.outcome(3).status(), Some(200));
    let seen = stage.members[0].seen();
    let asked = &seen[0].head;
    assert_eq!(asked.start, "GET /ws?a=b HTTP/1.1");
    assert_eq!((asked.all("upgrade"), asked.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!((asked.get("host"), asked.get("sec-websocket-protocol")), (Some("weir.test"), Some("chat")));
    assert_eq!(asked.all("sec-websocket-key").len(), 1);
    assert_eq!(asked.get("sec-websocket-key").map(str::len), Some(24), "a key of our own");
    assert_eq!(asked.get("content-length").or(asked.get("transfer-encoding")), None);
    // The stream's end is the member's, and the member's the stream's.
    speaker.send(frame(kind::DATA, END_STREAM, 1, b"bye"));
    assert_eq!(speaker.outcome(1), Outcome::Answered(0, b"bye".to_vec()));
    let lines = stage.weir.wait_log(2);
    let line: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(
        (&line["flags"], &line["status"], &line["method"]),
        (&json!("--"), &json!(101), &json!("GET")),
        "{line}"
    );
}

/// More than a window, both ways.
#[test]
fn much_goes_through_a_stream() {
    const LEN: usize = 1 << 20;
    let stage = stage(knowing);
    let mut speaker = tunnel(&stage);
    let sent = pattern(LEN);
    let (mut got, mut at) = (Vec::new(), 0);
    while got.len() < LEN {
        // No more ahead than the window of a stream.
        while at < LEN && at < got.len() + 40_000 {
            let piece = &sent[at..(at + 10_000).min(LEN)];
            speaker.send(data(1, piece));
            at += piece.len();
        }
        got.extend(heard(&mut speaker, 1, 1));
    }
    assert!(got == sent);
}

/// Each byte a message, and each message taken with two window updates, which weigh more than it does: that is no attack.
#[test]
fn small_messages_are_no_attack() {
    const MESSAGES: usize = 7000;
    let member = |name: &str, at| {
        Member::script(name, at, |conn| {
            let head = conn.head()?;
            conn.send(switching(&head))?;
            for _ in 0..MESSAGES {
                conn.send("x")?;
                pause(Duration::from_micros(500));
            }
            Ok(())
        })
    };
    let stage = Stage::with(Mode::Http, 1, member, knowing);
    let mut speaker = tunnel(&stage);
    assert_eq!(heard(&mut speaker, 1, MESSAGES), [b'x'; MESSAGES]);
}

/// What a member says that is not a 101 is never a grant, and what the client sent ahead is nobody's request.
#[test]
fn what_is_no_switch_is_no_success() {
    for (answer, expected) in [
        (ok("fine").to_vec(), 502),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_vec(), 403),
        (b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec(), 502),
        (
            format!(
                "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            )
            .into_bytes(),
            502,
        ),
        (b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n".to_vec(), 502),
    ] {
        let answer_with = answer.clone();
        let member = move |name: &str, at| {
            let answer = answer_with.clone();
            Member::script(name, at, move |conn: &mut Conn| {
                loop {
                    conn.head()?;
                    conn.send(&answer)?;
                }
            })
        };
        let stage = Stage::with(Mode::Http, 1, member, knowing);
        stage.members[0].keep_all();
        let mut speaker = Speaker::connect(stage.vip());
        let ahead = data(1, b"GET /smuggled HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        speaker.send([connect(1, "websocket", &[]), ahead].concat());
        assert_eq!(speaker.outcome(1).status(), Some(expected), "{}", String::from_utf8_lossy(&answer));
        stage.weir.wait_log(1);
        speaker.ask(3, "GET", "/");
        stage.members[0].wait_requests(2);
        let starts: Vec<String> = stage.members[0].seen().iter().map(|r| r.head.start.clone()).collect();
        assert_eq!(starts, ["GET /ws?a=b HTTP/1.1", "GET / HTTP/1.1"]);
    }
}

#[test]
fn other_protocols_and_plain_connects_are_refused() {
    let stage = stage(knowing);
    let mut speaker = Speaker::connect(stage.vip());
    for (n, protocol) in ["connect-udp", "h2c", "WebSocket"].iter().enumerate() {
        let stream = 2 * n as u32 + 1;
        speaker.send(connect(stream, protocol, &[]));
        assert_eq!(speaker.outcome(stream).status(), Some(501), "{protocol}");
    }
    let plain = fields(&[(":method", b"CONNECT"), (":authority", b"weir.test:443")]);
    speaker.send(frame(kind::HEADERS, END_HEADERS, 11, &plain));
    assert_eq!(speaker.outcome(11).status(), Some(405));
    // A tunnel has no length.
    speaker.send(connect(13, "websocket", &[("content-length", b"5")]));
    assert_eq!(speaker.outcome(13), Outcome::Reset(code::PROTOCOL_ERROR));
    // A protocol of anything but CONNECT is malformed.
    let odd: [(&str, &[u8]); 5] = [
        (":method", b"GET"),
        (":protocol", b"websocket"),
        (":scheme", b"http"),
        (":authority", b"weir.test"),
        (":path", b"/"),
    ];
    speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, 15, &fields(&odd)));
    assert!(speaker.outcome(15).is_refused());
    assert_eq!(stage.members[0].requests(), 0);
}

#[test]
fn resets_are_passed_on() {
    let member = |name: &str, at| {
        Member::script(name, at, |conn| {
            let head = conn.head()?;
            conn.send(switching(&head))?;
            if conn.take(1)? == b"r" {
                conn.reset();
                return Ok(());
            }
            conn.take(1).map(|_| ())
        })
    };
    let stage = Stage::with(Mode::Http, 1, member, |setup| {
        knowing(setup);
        setup.log_format = Some("json");
    });
    let mut speaker = tunnel(&stage);
    speaker.send(data(1, b"r"));
    assert_eq!(speaker.outcome(1), Outcome::Reset(code::CANCEL));
    assert_eq!(line(&stage, 0)["flags"], json!("SD"));
    let mut speaker = tunnel(&stage);
    speaker.send(data(1, b"x"));
    speaker.send(frame(kind::RST_STREAM, 0, 1, &code::CANCEL.to_be_bytes()));
    until_true(PATIENCE, "the member to be told", || {
        stage.members[0].visits().get(1).is_some_and(|visit| visit.end == Some(End::Reset))
    });
    assert_eq!(line(&stage, 1)["flags"], json!("CD"));
}

/// Clients of HTTP/1.1 and of HTTP/2, before a member of HTTP/2: another Weir, before one of HTTP/1.1.
#[test]
fn members_of_http2_are_asked_by_an_extended_connect() {
    let inner = stage(knowing);
    inner.members[0].keep_all();
    let outer = || {
        let place = Place::new();
        let mut setup = Setup::new(Mode::Http, place.socket(), [("inner", inner.vip())]);
        knowing(&mut setup);
        setup.pool["http2_prior_knowledge"] = json!(true);
        setup.log_format = Some("json");
        let weir = Weir::start(&place, &setup);
        Stage { weir, setup, members: Vec::new(), place }
    };
    // The first connection to the member has yet to hear whether it takes WebSockets.
    for _ in 0..3 {
        let fresh = outer();
        let mut client = Client::connect(fresh.vip());
        client.send([ask("/ws").as_bytes(), b"early"].concat());
        let answer = client.answer();
        assert_eq!((answer.status(), answer.header("upgrade")), (101, Some("websocket")));
        assert_eq!((answer.header("sec-websocket-accept"), answer.header("x-member")), (Some(ACCEPT), Some("m")));
        assert_eq!(client.take(5), b"early");
        says(&mut client, &pattern(2000));
        client.half_close();
        assert_eq!(client.take_to_end(), End::Closed);
        assert_eq!(line(&fresh, 0)["flags"], json!("--"));
    }
    let outer = outer();
    let mut speaker = tunnel(&outer);
    speaker.send(data(1, b"hello"));
    assert_eq!(heard(&mut speaker, 1, 5), b"hello");
    speaker.send(frame(kind::RST_STREAM, 0, 1, &code::CANCEL.to_be_bytes()));
    until_true(PATIENCE, "the member to be told", || {
        inner.members[0].visits().last().is_some_and(|visit| visit.end == Some(End::Reset))
    });
    // The client's own key goes no further than to whoever speaks HTTP/1.1.
    assert!(inner.members[0].seen().iter().all(|r| r.header("sec-websocket-key").is_some_and(|key| key != KEY)));
}

/// A member of HTTP/2 that says nothing of RFC 8441.
#[test]
fn members_that_take_none_are_told_from_the_others() {
    let member = |name: &str, at| {
        Member::script(name, at, |conn| {
            conn.take(weir_tests::frames::PREFACE.len())?;
            conn.send(frame(kind::SETTINGS, 0, 0, &[]))?;
            conn.take_to_end();
            Ok(())
        })
    };
    let stage = Stage::with(Mode::Http, 1, member, |setup| {
        setup.pool["http2_prior_knowledge"] = json!(true);
        setup.log_format = Some("json");
    });
    let mut client = Client::connect(stage.vip());
    client.send(ask("/"));
    assert_eq!(client.answer().status(), 501);
    assert_eq!(line(&stage, 0)["reason"], json!("the member takes no WebSocket over HTTP/2"));
}

/// HAProxy as the member, in HTTP/2, and as the client.
#[test]
fn haproxy_understands_us_and_we_it() {
    let stage = stage(knowing);
    let place = Place::new();
    // We before HAProxy, by HTTP/2.
    let mut behind = Setup::new(Mode::Http, place.socket(), [("m1", stage.members[0].socket())]);
    behind.haproxy_bind = "proto h2".to_owned();
    let _behind = Haproxy::start(&place, &behind);
    let before = Place::new();
    let mut setup = Setup::new(Mode::Http, before.socket(), [("haproxy", behind.vip)]);
    setup.pool["http2_prior_knowledge"] = json!(true);
    let _weir = Weir::start(&before, &setup);
    let mut client = Client::connect(setup.vip);
    client.send(ask("/ws"));
    assert_eq!(client.answer().status(), 101);
    says(&mut client, b"through HAProxy");
    // HAProxy before us.
    let front = Place::new();
    let mut setup = Setup::new(Mode::Http, front.socket(), [("weir", stage.vip())]);
    setup.haproxy_server = "proto h2".to_owned();
    let _front = Haproxy::start(&front, &setup);
    let mut client = Client::connect(setup.vip);
    client.send(ask("/ws"));
    assert_eq!(client.answer().status(), 101);
    says(&mut client, b"through us");
}

/// TLS on both sides; a member that would speak HTTP/2 has a connection of its own for the tunnel, in HTTP/1.1.
#[test]
fn over_tls_a_tunnel_has_a_connection_of_its_own() {
    let (place, authority) = (Place::new(), Authority::new("authority"));
    let own = authority.sign(&["weir.test"]).write(&place, "own.pem");
    let file = |path: &std::path::Path| format!("file:{}", path.display());
    let member = Member::script("m1", place.socket(), echo);
    let terminate = |setup: &mut Setup| {
        setup.listener["protocol"] = json!("TERMINATED_HTTPS");
        setup.listener["default_tls_container_ref"] = json!(file(&own));
        setup.listener["alpn_protocols"] = json!(["h2", "http/1.1"]);
        setup.pool["protocol"] = json!("HTTP");
    };
    let mut behind = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    terminate(&mut behind);
    let inner_place = Place::new();
    let inner = Weir::start(&inner_place, &behind);
    let mut setup = Setup::new(Mode::Http, place.socket(), [("inner", behind.vip)]);
    terminate(&mut setup);
    setup.pool["tls_enabled"] = json!(true);
    setup.pool["tls_server_name"] = json!("weir.test");
    setup.pool["ca_tls_container_ref"] = json!(file(&authority.write(&place, "ca.pem")));
    setup.pool["alpn_protocols"] = json!(["h2", "http/1.1"]);
    setup.log_format = Some("json");
    let weir = Weir::start(&place, &setup);
    let clients = Trusting::new(&authority, None);
    // The connection that requests share is there already.
    assert_eq!(clients.get(setup.vip, "weir.test", "/").unwrap().status(), 200);
    let mut client = clients.clone().alpn(&["http/1.1"]).connect(setup.vip, "weir.test").unwrap();
    client.send(ask("/ws")).unwrap();
    let answer = client.answer().unwrap().head;
    assert_eq!((answer.word(1), answer.get("sec-websocket-accept")), ("101", Some(ACCEPT)));
    client.send(b"hello").unwrap();
    assert_eq!(client.exact(5).unwrap(), b"hello");
    assert_eq!(weir.control.member("inner").connects, 2);
    assert_eq!(inner.control.listener().tunnels_open, 1);
    drop(client);
    until_true(PATIENCE, "the end to be passed on", || inner.control.listener().tunnels_open == 0);
}
