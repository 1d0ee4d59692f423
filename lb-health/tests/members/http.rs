//! Answers to HTTP probes: wrong, slow, cut, huge, endless.

use lb_core::config::monitor::{ExpectedBody, ExpectedCodes, HttpProbe, HttpVersion, Probe};
use lb_core::health::{Bad, Good, Outcome, Step};
use nix::errno::Errno;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::script::{ask_with, http, http_with, member, read_head, says, to_end};

async fn outcome(probe: HttpProbe, answer: &[u8], close: bool) -> Outcome {
    ask_with(Probe::Http(probe), says(vec![(0, answer.to_vec())], close).await).await
}

const OK: Outcome = Outcome::Passed(Good::Status(200));
const LATE: Outcome = Outcome::Failed(Bad::Timeout(Step::Answer));
const CUT: Outcome = Outcome::Failed(Bad::Closed(Step::Answer, None));

fn malformed(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(Bad::Malformed(why)) => why,
        other => panic!("{other:?} is not Malformed"),
    }
}

#[tokio::test]
async fn a_status_is_judged_when_the_head_is_complete() {
    assert_eq!(outcome(http(), b"HTTP/1.0 200 OK\r\n\r\n", false).await, OK);
    assert_eq!(outcome(http(), b"HTTP/1.0 200 OK\r\nA: b\r\n", false).await, LATE);
    assert_eq!(outcome(http(), b"HTTP/1.0 200 OK\r\nA: b\r\n", true).await, CUT);
    assert_eq!(outcome(http(), b"", true).await, CUT);
    assert_eq!(outcome(http(), b"", false).await, LATE);
}

#[tokio::test]
async fn statuses_are_held_against_the_expected_ones() {
    let expecting = |first, last| HttpProbe { expected_codes: ExpectedCodes(vec![(first, last)]), ..http() };
    let status = |code| Outcome::Failed(Bad::Status(code));
    assert_eq!(outcome(http(), b"HTTP/1.0 500 No\r\n\r\n", true).await, status(500));
    assert_eq!(outcome(http(), b"HTTP/1.0 302 Found\r\nLocation: /live\r\n\r\n", true).await, status(302));
    assert_eq!(outcome(http(), b"HTTP/1.1 101 Switching\r\n\r\n", false).await, status(101));
    assert_eq!(
        outcome(expecting(300, 399), b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", true).await,
        Outcome::Passed(Good::Status(302))
    );
    assert_eq!(outcome(http(), b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false).await, OK);
}

#[tokio::test]
async fn a_head_that_drips_has_the_timeout_and_no_more() {
    let drip = |pause: u64, text: &str| text.bytes().map(|b| (pause, vec![b])).collect::<Vec<_>>();
    let quick = says(drip(1, "HTTP/1.0 200 OK\r\n\r\n"), false).await;
    assert_eq!(ask_with(Probe::Http(http()), quick).await, OK);
    let slow = says(drip(50, "HTTP/1.0 200 OK\r\nA: bbbbbbbbbbb\r\n\r\n"), false).await;
    assert_eq!(ask_with(Probe::Http(http()), slow).await, LATE);
}

#[tokio::test]
async fn a_reset_is_told_with_its_errno() {
    let address = member(|mut stream| async move {
        read_head(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let reset = Outcome::Failed(Bad::Closed(Step::Answer, Some(Errno::ECONNRESET as i32)));
    assert_eq!(ask_with(Probe::Http(http()), address).await, reset);
}

#[tokio::test]
async fn heads_without_end_are_left() {
    let huge = [b"HTTP/1.0 200 OK\r\nA: ".as_slice(), &[b'x'; 20_000], b"\r\n\r\n"].concat();
    assert_eq!(malformed(&outcome(http(), &huge, false).await), "a head of more than 16 KiB");
    let endless = member(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n").await;
        while stream.write_all(b"A: b\r\n").await.is_ok() {}
    })
    .await;
    assert!(malformed(&ask_with(Probe::Http(http()), endless).await).starts_with("a head of more than"));
    let endless =
        member(|mut stream| async move { while stream.write_all(b"HTTP/1.1 100 C\r\n\r\n").await.is_ok() {} }).await;
    assert!(malformed(&ask_with(Probe::Http(http()), endless).await).starts_with("a head of more than"));
}

#[tokio::test]
async fn other_protocols_are_named() {
    let greets = |greeting: &'static [u8]| {
        member(move |mut stream| async move {
            let _ = stream.write_all(greeting).await;
            let _ = to_end(&mut stream).await;
        })
    };
    let ssh = greets(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    assert_eq!(malformed(&ask_with(Probe::Http(http()), ssh).await), "not HTTP/1: \"SSH-2.0-OpenSSH_9.2\\r\\n\"");
    let tls = greets(b"\x15\x03\x01\0\x02\x02\x46").await;
    assert_eq!(malformed(&ask_with(Probe::Http(http()), tls).await), "not HTTP but TLS");
}

#[tokio::test]
async fn a_body_is_not_read_unless_something_is_expected() {
    let endless = b"HTTP/1.0 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    assert_eq!(outcome(http(), endless, false).await, OK);
    assert_eq!(outcome(http(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz", false).await, OK);
}

/// The cases are those HAProxy 2.6 was asked with, and so are the verdicts.
#[tokio::test]
async fn a_body_is_searched_as_haproxy_does() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\n";
    let cases: [(&str, bool, Outcome); 12] = [
        ("Content-Length: 5\r\n\r\nhello", false, OK),
        ("Content-Length: 500\r\n\r\nhello", false, OK),
        ("Content-Length: 500\r\n\r\nhello", true, OK),
        ("Content-Length: 5\r\n\r\nxxxxx", false, Outcome::Failed(Bad::Body)),
        ("Content-Length: 500\r\n\r\nxxxxx", false, LATE),
        ("Content-Length: 2\r\n\r\nxxhello", false, Outcome::Failed(Bad::Body)),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", false, OK),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true, OK),
        ("\r\nxxhello", true, OK),
        ("\r\nxxhello", false, OK),
        ("Content-Length: 0\r\n\r\n", true, Outcome::Failed(Bad::Body)),
        // A body that is cut: failed there too, with other words.
        ("Content-Length: 500\r\n\r\nxxxxx", true, CUT),
    ];
    for (answer, close, expected) in cases {
        let said = format!("{HEAD}{answer}");
        assert_eq!(outcome(http_with("hello"), said.as_bytes(), close).await, expected, "{said:?}, close: {close}");
    }
    let said = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(malformed(&outcome(http_with("hello"), said.as_bytes(), true).await), "a chunk of size \"zz\\r\\n\"");
}

#[tokio::test]
async fn text_is_found_across_pieces() {
    let pieces = [(0, "HTTP/1.0 200 OK\r\n\r\nI am he"), (20, "al"), (20, "thy")];
    let pieces: Vec<_> = pieces.iter().map(|(pause, text)| (*pause, text.as_bytes().to_vec())).collect();
    assert_eq!(ask_with(Probe::Http(http_with("healthy")), says(pieces.clone(), false).await).await, OK);
    let regex = HttpProbe { expected_body: Some(ExpectedBody::Regex("am h.*y$".to_owned())), ..http() };
    assert_eq!(ask_with(Probe::Http(regex), says(pieces, true).await).await, OK);
}

#[tokio::test]
async fn bodies_without_end_are_left() {
    let endless = |piece: &'static [u8], pause_ms: u64| {
        member(move |mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
            while stream.write_all(piece).await.is_ok() {
                if pause_ms > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
                }
            }
        })
    };
    let flood = endless(&[b'x'; 4096], 0).await;
    assert_eq!(ask_with(Probe::Http(http_with("hello")), flood).await, Outcome::Failed(Bad::Body));
    let drip = endless(b"x", 5).await;
    assert_eq!(ask_with(Probe::Http(http_with("hello")), drip).await, LATE);
    // Many bytes of the connection for each of the body.
    let tiny = member(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let chunk = format!("1;{}\r\nx\r\n", "y".repeat(200));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    assert_eq!(malformed(&ask_with(Probe::Http(http_with("hello")), tiny).await), "more than 512 KiB");
}

#[tokio::test]
async fn the_request_is_one_write_as_the_monitor_says() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = member(move |mut stream| {
        let tell = tell.clone();
        async move {
            stream.readable().await.unwrap();
            let mut said = [0; 4096];
            let n = stream.try_read(&mut said).unwrap();
            tell.send(String::from_utf8(said[..n].to_vec()).unwrap()).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 204 None\r\n\r\n").await;
        }
    })
    .await;
    let probe = HttpProbe {
        method: "HEAD".to_owned(),
        url_path: "/live".to_owned(),
        version: HttpVersion::V1_1,
        expected_codes: ExpectedCodes(vec![(200, 204)]),
        headers: vec![("X-Probe".to_owned(), "1".to_owned())],
        ..http()
    };
    assert_eq!(ask_with(Probe::Http(probe), address).await, Outcome::Passed(Good::Status(204)));
    assert_eq!(
        told.recv().await.unwrap(),
        format!("HEAD /live HTTP/1.1\r\nHost: {address}\r\nX-Probe: 1\r\nConnection: close\r\n\r\n")
    );
}
