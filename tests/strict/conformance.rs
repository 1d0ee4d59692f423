//! What RFC 9110 and 9112 ask of whoever stands between, told from both sides.

use std::io::Write as _;
use std::net::TcpStream;

use weir_tests::canon::Message;
use weir_tests::strict_member::{After, Arrival, Said};

use super::court::{Court, SMUGGLED, Seen};

/// One play: what the client sends, what a member says to it, how many answers there are.
struct Play {
    court: Court,
    seen: Seen,
    arrived: Vec<Message>,
}

/// Sends `request`, whose target is `/`, and reads `finals` answers; `said` is the member's word.
#[track_caller]
fn play(request: &str, said: Option<&str>, finals: usize) -> Play {
    play_said(request, said.map(|said| Said::of([said])), finals)
}

#[track_caller]
fn play_said(request: &str, said: Option<Said>, finals: usize) -> Play {
    let court = Court::new();
    if let Some(said) = said {
        court.member.says("/", said);
    }
    let mut client = TcpStream::connect(court.vip).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let head = request.starts_with("HEAD");
    let seen = Seen::read_to(&mut client, finals, &|n| head && n == 0).unwrap();
    let arrived = court.member.arrivals().into_iter().map(|arrival| match arrival {
        Arrival::Request(message) => message,
        odd => panic!("{odd:?}"),
    });
    let arrived = arrived.collect();
    Play { court, seen, arrived }
}

impl Play {
    /// The only answer.
    #[track_caller]
    fn only(&self) -> &Message {
        assert_eq!(self.seen.answers.len(), 1, "{:?}", self.seen);
        &self.seen.answers[0]
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\nHost: weir.test\r\n\r\n";

fn head_then_get() -> String {
    format!("HEAD / HTTP/1.1\r\nHost: weir.test\r\n\r\n{SMUGGLED}")
}

/// RFC 9110 9.3.2
#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    let play = play(&head_then_get(), Some("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 2);
    assert_eq!(play.seen.statuses(), [200, 200]);
    assert_eq!(play.seen.answers[0].field("content-length"), Some("1000"));
    assert_eq!(play.seen.answers[1].body, b"GET /smuggled 0");
}

/// RFC 9112 6.1
#[test]
fn an_answer_to_head_may_announce_chunks() {
    let play = play(&head_then_get(), Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 2);
    assert_eq!(play.seen.answers[0].field("transfer-encoding"), Some("chunked"));
    assert_eq!(play.seen.answers[1].body, b"GET /smuggled 0");
}

/// RFC 9112 6.3
#[test]
fn an_answer_to_head_without_a_length_does_not_end_the_connection() {
    let play = play(&head_then_get(), Some("HTTP/1.1 200 OK\r\n\r\n"), 2);
    assert_eq!(play.seen.statuses(), [200, 200]);
    assert_eq!(play.seen.answers[0].field("connection"), None);
}

/// RFC 9110 15.3.5, 8.6
#[test]
fn no_content_has_neither_body_nor_length() {
    let request = format!("{GET}{SMUGGLED}");
    for framing in ["", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
        let play = play(&request, Some(&format!("HTTP/1.1 204 No Content\r\n{framing}\r\n")), 2);
        assert_eq!(play.seen.statuses(), [204, 200], "{framing}");
    }
}

/// RFC 9110 15.4.5
#[test]
fn not_modified_has_no_body_and_may_tell_a_length() {
    let play = play(
        &format!("{GET}{SMUGGLED}"),
        Some("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n"),
        2,
    );
    assert_eq!(play.seen.statuses(), [304, 200]);
    assert_eq!(play.seen.answers[0].field("etag"), Some("\"a\""));
    assert_eq!(play.seen.answers[1].body, b"GET /smuggled 0");
}

/// RFC 9110 15.2
#[test]
fn interim_answers_pass_to_http_1_1_and_not_to_1_0() {
    let said = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let new = play(GET, Some(said), 1);
    assert_eq!(new.seen.statuses(), [103, 199, 200]);
    assert_eq!(new.seen.answers[0].field("link"), Some("</a>"));
    assert_eq!(play(OLD, Some(said), 1).seen.statuses(), [200]);
}

/// RFC 9110 10.1.1: a proxy that knows no better passes the expectation on, and the member's word back.
#[test]
fn continue_is_asked_for_and_said() {
    let court = Court::new();
    let mut client = TcpStream::connect(court.vip).unwrap();
    client
        .write_all(b"POST /ask HTTP/1.1\r\nHost: weir.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    court.member.says(
        "/ask",
        Said {
            to_head: true,
            ..Said::of(["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
        },
    );
    client.write_all(b"hello").unwrap();
    let seen = Seen::read(&mut client, 1).unwrap();
    assert!(matches!(seen.statuses()[..], [100, 200] | [200]), "{:?}", seen.statuses());
}

/// RFC 9110 15: a status is known by its class.
#[test]
fn any_status_and_any_reason_pass() {
    for line in [
        "200",
        "201 Created",
        "203 ",
        "206 Partial Content",
        "299 Odd",
        "302 Found",
        "418 I'm a teapot",
        "451 \u{e9}",
        "500 No",
        "599 Odd",
    ] {
        let play = play(GET, Some(&format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")), 1);
        assert_eq!(play.only().status().to_string(), line[..3], "{line}");
    }
}

/// RFC 9112 9.3
#[test]
fn http_1_0_is_closed_unless_it_asks_otherwise() {
    let closed = play(&format!("{OLD}{SMUGGLED}"), None, usize::MAX);
    assert_eq!(closed.seen.statuses(), [200]);
    assert_eq!(closed.only().field("connection"), Some("close"));
    let kept = format!("{}{SMUGGLED}", OLD.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n"));
    let kept = play(&kept, None, 2);
    assert_eq!(kept.seen.statuses(), [200, 200]);
    assert_eq!(kept.seen.answers[0].field("connection"), Some("keep-alive"));
    // Ours is 1.1 in both directions, whoever asks (RFC 9110 2.5).
    assert!(kept.arrived[0].head.starts_with("GET / HTTP/1.1\r\n"));
    assert!(kept.seen.answers[0].head.starts_with("HTTP/1.1 200"));
}

/// RFC 9112 7.1: who speaks 1.0 knows no chunks.
#[test]
fn http_1_0_gets_no_chunks_and_no_trailers() {
    let said =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";
    for request in [OLD.to_owned(), OLD.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n")] {
        let play = play(&request, Some(said), usize::MAX);
        assert_eq!(play.only().body, b"hello");
        assert_eq!((play.only().field("transfer-encoding"), play.only().field("connection")), (None, Some("close")));
    }
}

/// RFC 9110 6.5
#[test]
fn honest_trailers_pass_and_others_do_not() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\
        Location: /evil\r\nExpires: 0\r\nAge: 1\r\nRetry-After: 1\r\nPragma: no-cache\r\nWarning: 199 - a\r\nContent-Location: /a\r\n\
        Content-Language: a\r\n\r\n";
    let play = play(GET, Some(said), 1);
    assert_eq!(play.only().body, b"hello");
    assert_eq!(play.only().trailers, [("X-Sum".to_owned(), "7".to_owned())]);
}

/// RFC 9112 6.3
#[test]
fn a_body_that_ends_with_its_connection_passes_and_ends_ours() {
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let said = Said::of([format!("{version} 200 OK\r\n\r\nhello"), "world".to_owned()]).then(After::Closes);
        let play = play_said(&format!("{GET}{SMUGGLED}"), Some(said), usize::MAX);
        assert_eq!((play.only().field("connection"), &play.only().body[..]), (Some("close"), &b"helloworld"[..]));
        assert_eq!(play.arrived.len(), 1, "nothing may be sent behind it");
    }
}

/// RFC 9112 9.3: a member of 1.0 closes; its client need not know.
#[test]
fn a_member_of_http_1_0_costs_its_client_nothing() {
    let play = play(
        &format!("{GET}{SMUGGLED}"),
        Some("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"),
        2,
    );
    assert_eq!(play.seen.statuses(), [200, 200]);
    assert!(play.seen.answers[0].head.starts_with("HTTP/1.1 200"));
    assert_eq!(play.seen.answers[0].field("connection"), None);
}

/// RFC 9110 5.3: fields of one name keep their order, and are not joined.
#[test]
fn fields_of_one_name_keep_their_order() {
    let said = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-A: b\r\nSet-Cookie: b=2, c\r\nVary: x\r\nset-cookie: c=3\r\nContent-Length: 0\r\n\r\n";
    let play = play(&GET.replace("\r\n\r\n", "\r\nX-A: 1\r\nx-a: 2\r\nX-B: 3\r\nX-A: \r\n\r\n"), Some(said), 1);
    let cookies: Vec<&str> =
        play.only().head.lines().filter(|line| line.to_ascii_lowercase().starts_with("set-cookie")).collect();
    assert_eq!(cookies, ["Set-Cookie: a=1", "Set-Cookie: b=2, c", "set-cookie: c=3"]);
    assert!(play.arrived[0].head.contains("X-A: 1\r\nx-a: 2\r\nX-B: 3\r\nX-A: \r\n"), "{}", play.arrived[0].head);
}

/// RFC 9110 9.1: methods are anybody's words.
#[test]
fn methods_nobody_knows_pass() {
    for method in ["PROPFIND", "MKCOL", "X", "get", "QUERY"] {
        let play = play(&format!("{method} / HTTP/1.1\r\nHost: weir.test\r\n\r\n"), None, 1);
        assert_eq!(play.only().body, format!("{method} / 0").as_bytes());
    }
}

/// RFC 9112 3.2.1, 3.2.4
#[test]
fn options_of_a_host_and_of_a_path_are_told_apart() {
    for (target, arrives) in
        [("*", "*"), ("http://weir.test", "*"), ("http://weir.test/", "/"), ("/", "/"), ("/*", "/*")]
    {
        let play = play(&format!("OPTIONS {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n"), None, 1);
        assert_eq!(play.arrived[0].word(1), arrives, "{target}");
    }
}

/// RFC 9112 9.6: the end is announced, and comes behind the answer.
#[test]
fn who_asks_for_the_end_gets_it_behind_the_answer() {
    for close in ["close", "Close", "keep-alive, close", "x, CLOSE"] {
        let request = GET.replace("\r\n\r\n", &format!("\r\nConnection: {close}\r\n\r\n"));
        let play = play(&format!("{request}{SMUGGLED}"), None, usize::MAX);
        play.seen.is_over().unwrap();
        assert_eq!(play.only().field("connection"), Some("close"), "{close}");
        assert_eq!(play.arrived.len(), 1, "{close}");
    }
}

/// A page of ours is a whole message, says that the end comes, and when it was made (RFC 9110 6.6.1).
#[test]
fn our_own_answers_are_whole() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: weir.test\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: weir.test\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: weir.test\r\nExpect: x\r\n\r\n", 417),
        ("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ] {
        let play = play(request, None, usize::MAX);
        play.seen.is_over().unwrap();
        let answer = play.only();
        assert_eq!((answer.status(), answer.field("connection")), (status, Some("close")));
        assert_eq!(answer.field("content-length"), Some(answer.body.len().to_string().as_str()));
        assert!(is_a_date(answer.field("date")), "{}", answer.head);
        assert_eq!(answer.field("allow").is_some(), status == 405, "RFC 9110 15.5.6");
    }
}

/// RFC 9110 6.6.1: who passes on an answer without a date says when it came; a date that is there stays.
#[test]
fn every_answer_has_one_date() {
    let without = play(GET, Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 1);
    assert!(is_a_date(without.only().field("date")), "{}", without.only().head);
    let said = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n";
    let with = play(GET, Some(said), 1);
    let dates: Vec<&str> =
        with.only().head.lines().filter(|line| line.to_ascii_lowercase().starts_with("date:")).collect();
    assert_eq!(dates, ["date: Sun, 06 Nov 1994 08:49:37 GMT"]);
    let interim = play(GET, Some("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 1);
    assert_eq!(interim.seen.answers[0].field("date"), None);
    drop(interim.court);
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn is_a_date(value: Option<&str>) -> bool {
    let shape: String = value
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    shape == "aaa, 00 aaa 0000 00:00:00 aaa"
}

/// RFC 9110 7.6.2: OPTIONS and TRACE go so many hops, then they are answered.
#[test]
fn options_and_trace_go_no_further_than_they_may() {
    for method in ["OPTIONS", "TRACE"] {
        let with = |hops: &str| format!("{method} / HTTP/1.1\r\nHost: weir.test\r\nMax-Forwards: {hops}\r\n\r\n");
        let passed = play(&with("7"), None, 1);
        assert_eq!(passed.arrived[0].field("max-forwards"), Some("6"), "{method}");
        let ended = play(&with("0"), None, 1);
        assert!(ended.arrived.is_empty(), "{method} went one hop too far");
        assert!(matches!(ended.only().status(), 200 | 204 | 405), "{method}: {}", ended.only().head);
    }
    // To others it means nothing.
    let get = GET.replace("\r\n\r\n", "\r\nMax-Forwards: 0\r\n\r\n");
    assert_eq!(play(&get, None, 1).arrived[0].field("max-forwards"), Some("0"));
}
