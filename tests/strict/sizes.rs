//! L7 and L8: requests of any size and in any pieces.

use std::io::Write as _;
use std::net::TcpStream;

use super::court::{Case, Court, SMUGGLED, Seen, Want, arrives, get, post, refused_with, served};

const TOO_LARGE: &[u16] = &[400, 414, 431];
const MIB: usize = 1 << 20;

/// Heads without end.
pub(super) fn l7() -> Vec<Case> {
    let rule = "RFC 9112 3, RFC 6585 5";
    let large = |name: &str, bytes: Vec<u8>| refused_with(TOO_LARGE, name, rule, bytes);
    let line = |target: String| format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n").into_bytes();
    let mut cases = vec![
        large("a target of 16 MiB", line(format!("/{}", "a".repeat(16 * MIB)))),
        large("a target of 20 kB", line(format!("/{}", "a".repeat(20_000)))),
        large(
            "a method of 16 MiB",
            format!("{} / HTTP/1.1\r\nHost: weir.test\r\n\r\n", "A".repeat(16 * MIB)).into_bytes(),
        ),
        large("16 MiB without a space", vec![b'a'; 16 * MIB]),
        large("16 MiB of NUL", vec![0; 16 * MIB]),
        large("16 MiB of spaces", vec![b' '; 16 * MIB]),
        large("a megabyte of CR LF", b"\r\n".repeat(MIB / 2)),
        large("a megabyte of LF", b"\n".repeat(MIB)),
        large("a megabyte of CR", b"\r".repeat(MIB)),
        large("a value of 16 MiB", get(format!("X-A: {}\r\n", "b".repeat(16 * MIB)))),
        large("a name of 16 MiB", get(format!("{}: b\r\n", "a".repeat(16 * MIB)))),
        large("16 MiB of fields", get("X-A: bbbbbbbbbbbb\r\n".repeat(MIB))),
        large("20 000 fields", get("X-A: b\r\n".repeat(20_000))),
        large("20 000 fields of nothing", get("a:\r\n".repeat(20_000))),
        large("a cookie of a megabyte", get(format!("Cookie: a={}\r\n", "b".repeat(MIB)))),
        large(
            "a version of a megabyte",
            format!("GET / HTTP/1.{}\r\nHost: weir.test\r\n\r\n", "1".repeat(MIB)).into_bytes(),
        ),
    ];
    let host = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(MIB));
    cases.push(large("a Host of a megabyte", host.into_bytes()));
    let space = get(format!("X-A: {}b\r\n", " ".repeat(MIB)));
    cases.push(large("a megabyte of space before a value", space));
    for len in [8000, 8192, 12_000] {
        let head = format!("GET /{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", "a".repeat(len - 1));
        cases.push(served(format!("a target of {len} bytes"), rule, &head, [arrives(&head, "")]));
    }
    let head = format!("GET / HTTP/1.1\r\nHost: weir.test\r\n{}\r\n", "X-A: b\r\n".repeat(100));
    cases.push(served("100 fields", rule, &head, [arrives(&head, "")]));
    let head = format!("GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: {}\r\n\r\n", "b".repeat(12_000));
    cases.push(served("a value of 12 kB", rule, &head, [arrives(&head, "")]));
    cases
}

#[test]
fn l7_heads_without_end() {
    let court = Court::new();
    let before = court.weir.process.pss_kb();
    court.try_all(&l7());
    let grown = court.weir.process.pss_kb().saturating_sub(before);
    assert!(grown <= 4096, "{grown} kB were taken for heads nobody serves");
}

/// Requests in one piece, and one request in many.
pub(super) fn l8() -> Vec<Case> {
    let rule = "RFC 9112 9.3.2";
    let plain = "GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    let mut cases = Vec::new();
    for n in [2, 10, 40] {
        let requests = (0..n).map(|_| arrives(plain, ""));
        cases.push(served(format!("{n} in one piece"), rule, plain.repeat(n), requests));
    }
    let many = (0..1000).map(|_| arrives(plain, ""));
    cases.push(served("1000 in one piece", rule, plain.repeat(1000), many));
    let mixed = [
        ("POST /b HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\n", "hello", "hello"),
        ("GET /c HTTP/1.1\r\nHost: weir.test\r\n\r\n", "", ""),
        (
            "POST /d HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "hello",
        ),
        ("PUT /e HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 0\r\n\r\n", "", ""),
        ("OPTIONS * HTTP/1.1\r\nHost: weir.test\r\n\r\n", "", ""),
        ("GET /f HTTP/1.1\r\nHost: weir.test\r\n\r\n", "", ""),
    ];
    let bytes: String = mixed.iter().map(|(head, body, _)| format!("{head}{body}")).collect();
    cases.push(served("all kinds", rule, &bytes, mixed.iter().map(|(head, _, body)| arrives(head, body))));
    let bytes: String = mixed.iter().map(|(head, body, _)| format!("{head}{body}\r\n")).collect();
    cases.push(served(
        "an empty line behind each",
        rule,
        &bytes,
        mixed.iter().map(|(head, _, body)| arrives(head, body)),
    ));
    let body = "x".repeat(100_000);
    let head = "POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 100000\r\n\r\n";
    let bytes = format!("{head}{body}{plain}");
    cases.push(served("one behind a long body", rule, bytes, [arrives(head, &body), arrives(plain, "")]));
    cases
}

#[test]
fn l8_requests_in_any_pieces() {
    Court::new().try_all(&l8());
}

/// Each is judged on its own: the good ones before a bad one are served, none behind it is.
#[test]
fn l8_a_bad_request_ends_what_was_sent_ahead() {
    let court = Court::new();
    let plain = "GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    for bad in [
        "GET /b HTTP/1.1\r\n\r\n".to_owned(),
        String::from_utf8(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "")).unwrap(),
        "GET /b HTTP/1.1\nHost: weir.test\n\n".to_owned(),
    ] {
        for ahead in [1, 3] {
            let mut client = TcpStream::connect(court.vip).unwrap();
            client.write_all(format!("{}{bad}{SMUGGLED}", plain.repeat(ahead)).as_bytes()).unwrap();
            let seen = Seen::read(&mut client, usize::MAX).unwrap();
            let mut wanted = vec![200; ahead];
            wanted.push(400);
            assert_eq!(seen.statuses(), wanted, "{bad:?}");
            assert_eq!(court.member.arrivals().len(), ahead, "{bad:?}");
        }
    }
}

/// What asks for the end is the last: nothing behind it is served.
#[test]
fn l8_nothing_behind_the_last_request_is_served() {
    let court = Court::new();
    for last in [
        "GET /a HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: weir.test\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(court.vip).unwrap();
        client.write_all(format!("{last}{SMUGGLED}").as_bytes()).unwrap();
        let seen = Seen::read(&mut client, usize::MAX).unwrap();
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(court.member.arrivals().len(), 1);
    }
}

/// A case is never both: what [`Want`] says of the others is said of these.
#[test]
fn l8_a_request_in_two_pieces_at_every_place() {
    let court = Court::new();
    let head = "POST /a HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bytes = format!("{head}2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX-Sum: 7\r\n\r\n");
    let case = served("pieces", "", &bytes, [arrives(head, "hello")]);
    let Want::Served(mut wanted) = case.want else { unreachable!() };
    wanted[0].trailers.push(("X-Sum".to_owned(), "7".to_owned()));
    let mut client = TcpStream::connect(court.vip).unwrap();
    client.set_nodelay(true).unwrap();
    for at in 1..bytes.len() {
        client.write_all(&bytes.as_bytes()[..at]).unwrap();
        // The first piece is seen alone most of the time; where it is not, nothing is lost but one cut.
        std::thread::yield_now();
        client.write_all(&bytes.as_bytes()[at..]).unwrap();
        let seen = Seen::read(&mut client, 1).unwrap();
        assert_eq!(seen.statuses(), [200], "cut at {at}");
        let arrived = court.member.arrivals();
        assert_eq!(arrived, [weir_tests::strict_member::Arrival::Request(wanted[0].clone())], "cut at {at}");
    }
}
