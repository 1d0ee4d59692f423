//! H4, H8 and H13 before the member that forgives nothing: what clients of HTTP/2 break off, and what members do.

use std::time::Duration;

use serde_json::json;
use weir_tests::frames::{END_HEADERS, END_STREAM, Outcome, Speaker, frame, kind, request_fields};
use weir_tests::strict_member::{After, Arrival, Said};
use weir_tests::wait::{PATIENCE, until_true};

use super::court::Court;

fn court() -> Court {
    Court::with(|setup| setup.listener["http2_prior_knowledge"] = json!(true))
}

fn is_cut(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Cut(_))
}

/// The length is a promise to the member too: it sees that what came is not the whole, and is not left waiting.
#[test]
fn h4_a_body_that_lies_about_its_length_is_aborted_at_the_member() {
    let court = court();
    let head = |length: &[u8]| {
        frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/lies", &[("content-length", length)]))
    };
    let data = |flags, len: usize| frame(kind::DATA, flags, 1, &vec![b'x'; len]);
    // Each begins with a piece, so that the member has the head before the lie is known.
    let cases: [(&str, &[u8], Vec<u8>); 4] = [
        ("shorter", b"1000", data(END_STREAM, 10)),
        ("shorter by one", b"501", data(END_STREAM, 0)),
        ("longer", b"510", data(END_STREAM, 11)),
        ("given up", b"1000", frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])),
    ];
    for (what, length, rest) in cases {
        court.member.arrivals();
        let mut speaker = Speaker::connect(court.vip);
        speaker.send([head(length), data(0, 500)].concat());
        until_true(PATIENCE, "the member to be asked", || court.weir.control.member("m1").active_connections == 1);
        speaker.send(rest);
        if what != "given up" {
            let outcome = speaker.outcome(1);
            assert!(outcome.is_refused() || outcome.status() == Some(400), "{what}: {outcome:?}");
        }
        court.member.wait_for(&format!("the member to see it cut ({what})"), is_cut);
        let arrived = court.member.arrivals();
        assert!(arrived.iter().all(is_cut), "{what}: {arrived:?}");
        // Neither the client's connection nor the member is out of step.
        speaker.ask(3, "GET", "/next");
        let next = speaker.outcome(3);
        assert!(matches!(&next, Outcome::Answered(200, body) if body == b"GET /next 0"), "{what}: {next:?}");
    }
}

/// A stream that is reset for its client's fault counts until its work has ended, whatever the fault was.
#[test]
fn h8_every_way_to_make_a_server_reset_is_bounded() {
    let court = court();
    // It never answers.
    court.member.says("/", Said::default());
    let open = |stream, flags| frame(kind::HEADERS, END_HEADERS | flags, stream, &request_fields("POST", "/", &[]));
    type Fault<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let faults: [(&str, Fault<'_>); 4] = [
        ("a window of nothing", &|n| [open(n, 0), frame(kind::WINDOW_UPDATE, 0, n, &[0; 4])].concat()),
        ("a window too large", &|n| [open(n, 0), frame(kind::WINDOW_UPDATE, 0, n, &[0x7f, 0xff, 0xff, 0xff])].concat()),
        ("data behind the end", &|n| [open(n, END_STREAM), frame(kind::DATA, 0, n, b"x")].concat()),
        ("a head behind the end", &|n| [open(n, END_STREAM), open(n, END_STREAM)].concat()),
    ];
    for (what, fault) in faults {
        court.member.arrivals();
        let before = court.weir.process.pss_kb();
        let mut speaker = Speaker::connect(court.vip);
        speaker.patience(Duration::from_millis(1));
        let ended = (0..20_000).any(|n| {
            let gone = speaker.try_send(fault(2 * n + 1)).is_err();
            if n % 64 == 0 {
                while speaker.hear().is_ok() {}
            }
            gone
        });
        assert!(ended, "{what}: it was let go on");
        drop(speaker);
        until_true(PATIENCE, "all work for it to end", || court.weir.control.member("m1").active_connections == 0);
        let arrived = court.member.arrivals().len();
        assert!(arrived < 1000, "{what}: {arrived} requests at the member");
        let grown = court.weir.process.pss_kb().saturating_sub(before);
        assert!(grown < 8 * 1024, "{what}: {grown} kB");
        let mut other = Speaker::connect(court.vip);
        other.ask(1, "GET", "/other");
        assert_eq!(other.outcome(1).status(), Some(200), "{what}");
    }
}

/// What is cut short on one side is reset on the other: an end would say that it is whole.
#[test]
fn h13_an_answer_that_is_cut_short_is_reset_not_ended() {
    let court = court();
    let ok = "HTTP/1.1 200 OK\r\n";
    let answers = [
        format!("{ok}Content-Length: 10\r\n\r\n"),
        format!("{ok}Content-Length: 10\r\n\r\n123456789"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n"),
        format!("{ok}Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    ];
    let mut speaker = Speaker::connect(court.vip);
    let mut stream = 1;
    for after in [After::Closes, After::Resets] {
        for (n, answer) in answers.iter().enumerate() {
            let target = format!("/{n}");
            // The head goes out alone, so that the client has it before the rest is known to be missing.
            let head = answer.find("\r\n\r\n").unwrap() + 4;
            court.member.says(&target, Said::of([&answer[..head], &answer[head..]]).then(after));
            speaker.ask(stream, "GET", &target);
            let outcome = speaker.outcome(stream);
            assert!(
                matches!(outcome, Outcome::Reset(_) | Outcome::Answered(502, _)),
                "{answer:?} {after:?}: {outcome:?}"
            );
            stream += 2;
        }
    }
    // Streams beside it live.
    speaker.ask(stream, "GET", "/next");
    assert_eq!(speaker.outcome(stream), Outcome::Answered(200, b"GET /next 0".to_vec()));
}
