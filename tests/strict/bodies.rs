//! F15–F17: bodies where nobody expects one, and expectations that move them.

use std::io::Write as _;
use std::net::TcpStream;

use weir_tests::canon::Message;
use weir_tests::strict_member::{Arrival, Said};
use weir_tests::wait::{PATIENCE, until_true};

use super::court::{Case, Court, SMUGGLED, Seen, arrives, broken, post, refused_with, served};

/// Any method may have a body, and each is framed.
pub(super) fn f15() -> Vec<Case> {
    let rule = "RFC 9110 9.3.1";
    let mut cases = Vec::new();
    for method in ["GET", "OPTIONS", "DELETE", "PUT", "PATCH", "TRACE", "PROPFIND", "LOCK", "QUERY"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\n");
        let follower = arrives(SMUGGLED, "");
        let bytes = format!("{head}hello{SMUGGLED}");
        cases.push(served(format!("{method} with a length"), rule, bytes, [arrives(&head, "hello"), follower.clone()]));
        let head = format!("{method} / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let bytes = format!("{head}5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        cases.push(served(format!("{method} with chunks"), rule, bytes, [arrives(&head, "hello"), follower.clone()]));
        let hidden = "GET /hidden HTTP/1.1\r\nHost: weir.test\r\n\r\n";
        let head = format!("{method} / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {}\r\n\r\n", hidden.len());
        let bytes = format!("{head}{hidden}{SMUGGLED}");
        cases.push(served(
            format!("{method} with a request for a body"),
            rule,
            bytes,
            [arrives(&head, hidden), follower],
        ));
    }
    for method in ["GET", "POST", "OPTIONS"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 0\r\n\r\n");
        let bytes = format!("{head}{SMUGGLED}");
        cases.push(served(format!("{method} with nothing"), rule, bytes, [arrives(&head, ""), arrives(SMUGGLED, "")]));
        let head = format!("{method} / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        let bytes = format!("{head}{SMUGGLED}");
        cases.push(served(
            format!("{method} without a length"),
            rule,
            bytes,
            [arrives(&head, ""), arrives(SMUGGLED, "")],
        ));
    }
    cases
}

#[test]
fn f15_bodies_nobody_expects() {
    Court::new().try_all(&f15());
}

/// HEAD with a body is a request like any other; its answer has none.
#[test]
fn f15_head_with_a_body() {
    let court = Court::new();
    let mut client = TcpStream::connect(court.vip).unwrap();
    let head = "HEAD / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\n";
    client.write_all(format!("{head}hello{SMUGGLED}").as_bytes()).unwrap();
    let seen = Seen::read_to(&mut client, 2, &|n| n == 0).unwrap();
    assert_eq!(seen.statuses(), [200, 200]);
    assert_eq!((&seen.answers[0].body[..], &seen.answers[1].body[..]), (&b""[..], &b"GET /smuggled 0"[..]));
    let arrived = court.member.arrivals();
    assert_eq!(arrived, [Arrival::Request(arrives(head, "hello")), Arrival::Request(arrives(SMUGGLED, ""))]);
}

/// A body stays a body, whatever is expected.
pub(super) fn f16() -> Vec<Case> {
    let rule = "RFC 9110 10.1.1";
    let mut cases = Vec::new();
    for value in [
        "100-continue, x",
        "x, 100-continue",
        "100-continue,100-continue",
        "y 100-continue",
        "100-continuex",
        "x100-continue",
        "100 continue",
        "200-ok",
        "",
        "100-continue;q=1",
        "\"100-continue\"",
        "100-continue;",
        ",100-continue",
        "100-continue,",
        "\u{a0}100-continue",
        "100",
        "continue",
    ] {
        let name = format!("Expect: {value}");
        let bytes = post(format!("Expect: {value}\r\nContent-Length: 5\r\n"), "hello");
        cases.push(refused_with(&[400, 417], name, rule, bytes));
    }
    for (name, fields) in [
        ("twice", "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"),
        ("a second one that is unknown", "Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n"),
        ("folded", "Expect:\r\n 100-continue\r\nContent-Length: 5\r\n"),
        ("a space before the colon", "Expect : 100-continue\r\nContent-Length: 5\r\n"),
        ("NUL", "Expect: 100-continue\0\r\nContent-Length: 5\r\n"),
        ("VT", "Expect: \x0b100-continue\r\nContent-Length: 5\r\n"),
    ] {
        cases.push(refused_with(&[400, 417], name, rule, post(fields, "hello")));
    }
    for (name, value) in [("as it should be", "100-continue"), ("in another case", "100-Continue")] {
        let head = format!("POST / HTTP/1.1\r\nHost: weir.test\r\nExpect: {value}\r\nContent-Length: 5\r\n\r\n");
        let bytes = format!("{head}hello{SMUGGLED}");
        cases.push(served(
            format!("{name}, body at once"),
            rule,
            bytes,
            [arrives(&head, "hello"), arrives(SMUGGLED, "")],
        ));
        let head =
            format!("POST / HTTP/1.1\r\nHost: weir.test\r\nExpect: {value}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let bytes = format!("{head}5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        cases.push(served(
            format!("{name}, chunks at once"),
            rule,
            bytes,
            [arrives(&head, "hello"), arrives(SMUGGLED, "")],
        ));
        // 0.CL: nobody may take the body for a request because it was expected to wait.
        let hidden = "GET /hidden HTTP/1.1\r\nHost: weir.test\r\n\r\n";
        let head = format!(
            "POST / HTTP/1.1\r\nHost: weir.test\r\nExpect: {value}\r\nContent-Length: {}\r\n\r\n",
            hidden.len()
        );
        let bytes = format!("{head}{hidden}{SMUGGLED}");
        cases.push(served(
            format!("{name}, a request for a body"),
            rule,
            bytes,
            [arrives(&head, hidden), arrives(SMUGGLED, "")],
        ));
    }
    cases.push(broken(
        "bad chunks at once",
        rule,
        post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "x\r\n\r\n"),
    ));
    cases
}

#[test]
fn f16_expectations_with_a_body_at_once() {
    Court::new().try_all(&f16());
}

/// A member that answers before it has the body: the rest belongs to nobody, on either side.
#[test]
fn f17_early_answers_leave_nothing_unread() {
    let court = Court::new();
    let early = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec();
    for (name, head, body) in [
        ("a length", "Content-Length: 400000\r\n", "x".repeat(300_000) + SMUGGLED),
        ("a length that is expected", "Expect: 100-continue\r\nContent-Length: 76\r\n", SMUGGLED.to_owned()),
        ("chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n".repeat(20_000)),
    ] {
        let target = format!("/early-{}", name.len());
        // It reads no more than the head: what comes must not stand in the way of anybody.
        court.member.says(&target, Said { to_head: true, ..Said::of([&early]) });
        let mut client = TcpStream::connect(court.vip).unwrap();
        client.write_all(format!("POST {target} HTTP/1.1\r\nHost: weir.test\r\n{head}\r\n").as_bytes()).unwrap();
        let _ = client.write_all(body.as_bytes());
        let seen = Seen::read(&mut client, usize::MAX).unwrap();
        assert_eq!(seen.statuses(), [403], "{name}");
        assert_eq!(seen.answers[0].field("connection"), Some("close"), "{name}");
        drop(client);
        // The next client gets its own answer, on a connection that is in step.
        let mut next = TcpStream::connect(court.vip).unwrap();
        next.write_all(b"GET /next HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").unwrap();
        let seen = Seen::read(&mut next, usize::MAX).unwrap();
        assert_eq!(seen.answers.iter().map(|a| &a.body[..]).collect::<Vec<_>>(), [b"GET /next 0"], "{name}");
        let is_next = |m: &Message| m.word(1) == "/next";
        let mut arrived = Vec::new();
        until_true(PATIENCE, "the early request to be cut", || {
            arrived.extend(court.member.arrivals());
            arrived.iter().any(|a| matches!(a, Arrival::Cut(_)))
        });
        let whole: Vec<&Arrival> = arrived.iter().filter(|a| !matches!(a, Arrival::Cut(_))).collect();
        assert!(matches!(whole[..], [Arrival::Request(only)] if is_next(only)), "{name}: {whole:?}");
    }
}
