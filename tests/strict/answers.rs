//! B1–B6: members that cut, add, garble, storm, and leave.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::frames::Speaker;
use weir_tests::message::End;
use weir_tests::strict_member::{After, Arrival, Said};

use super::court::{Court, Seen};

/// One request, and what became of it.
fn ask(court: &Court, method: &str, target: &str) -> Result<Seen, String> {
    let mut client = TcpStream::connect(court.vip).unwrap();
    client
        .write_all(format!("{method} {target} HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    Seen::read_to(&mut client, usize::MAX, &|_| method == "HEAD")
}

/// The next client is served by the member as if nothing had been.
fn next_is_served(court: &Court) -> Result<(), String> {
    for _ in 0..2 {
        let seen = ask(court, "GET", "/next")?;
        seen.is_over()?;
        if seen.answers.len() != 1 || seen.answers[0].body != b"GET /next 0" {
            return Err(format!("the next client got {:?} {:?}", seen.answers, seen.rest));
        }
    }
    if let Some(fault) = court.member.arrivals().into_iter().find(|a| matches!(a, Arrival::Fault(_))) {
        return Err(format!("the member was sent {fault:?}"));
    }
    Ok(())
}

/// Plays each saying; `judge` looks at what the client saw.
#[track_caller]
fn try_each<T: AsRef<str>>(
    court: &Court,
    method: &str,
    rows: impl IntoIterator<Item = (T, Said)>,
    judge: impl Fn(&Seen) -> Result<(), String>,
) {
    let (mut wrong, mut n) = (Vec::new(), 0);
    for (name, said) in rows {
        n += 1;
        let target = format!("/{n}");
        court.member.says(&target, said.clone());
        let verdict = ask(court, method, &target).and_then(|seen| judge(&seen)).and_then(|()| next_is_served(court));
        if let Err(why) = verdict {
            wrong.push(format!("{}: {why}", name.as_ref()));
        }
    }
    assert!(wrong.is_empty(), "{} of {n}:\n{}", wrong.len(), wrong.join("\n"));
}

fn cut(seen: &Seen) -> Result<(), String> {
    // By a reset, or an answer that is not whole. Never by an end that looks like the answer's.
    if seen.answers.iter().any(|a| a.status() == 200) || seen.answers.len() > 1 {
        return Err(format!("it looks whole: {:?}", seen.answers));
    }
    if seen.end == Some(End::Closed) && seen.rest.is_empty() && seen.answers.is_empty() {
        return Err("nothing came".to_owned());
    }
    Ok(())
}

fn refused(seen: &Seen) -> Result<(), String> {
    seen.is_over()?;
    if seen.statuses() == [502] { Ok(()) } else { Err(format!("answered {:?}", seen.statuses())) }
}

#[test]
fn b1_what_a_member_cuts_short_stays_visibly_cut() {
    let long = "x".repeat(100_000);
    let ok = "HTTP/1.1 200 OK\r\n";
    let pieces: Vec<(&str, Vec<String>)> = vec![
        ("before any of its length", vec![format!("{ok}Content-Length: 10\r\n\r\n")]),
        ("before its length", vec![format!("{ok}Content-Length: 10\r\n\r\nhello")]),
        ("before its length, later", vec![format!("{ok}Content-Length: 10\r\n\r\n"), "hello".into()]),
        ("one byte before its length", vec![format!("{ok}Content-Length: 10\r\n\r\n123456789")]),
        ("in a long body", vec![format!("{ok}Content-Length: 1000000\r\n\r\n{long}")]),
        ("before the first chunk", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n")]),
        ("in a chunk's size", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5")]),
        ("in a chunk", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhel")]),
        ("behind a chunk's data", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello")]),
        ("between chunks", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")]),
        ("between chunks, later", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n"), "5\r\nhello\r\n".into()]),
        ("in the last chunk", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0")]),
        ("behind the last chunk", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")]),
        ("in the trailers", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n")]),
        ("in the very end", vec![format!("{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r")]),
    ];
    let court = Court::new();
    for after in [After::Closes, After::Resets] {
        try_each(
            &court,
            "GET",
            pieces.iter().map(|(name, said)| (format!("{name} ({after:?})"), Said::of(said).then(after))),
            cut,
        );
    }
    // Without a length only a reset tells.
    let said = Said::of([format!("{ok}\r\nhello")]).then(After::Resets);
    try_each(&court, "GET", [("reset before the end of the connection", said)], |seen| match seen.end {
        Some(End::Reset) => Ok(()),
        end => Err(format!("{end:?}")),
    });
}

#[test]
fn b2_what_a_member_adds_reaches_nobody() {
    let court = Court::new();
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for pieces in [1, 2] {
        let said = |answer: &str, surplus: &str| match pieces {
            1 => Said::of([format!("{answer}{surplus}")]),
            _ => Said::of([answer, surplus]),
        };
        let rows = [
            ("behind a length", said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", evil)),
            ("junk behind a length", said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "junk")),
            ("one byte behind a length", said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\n")),
            ("an empty line behind a length", said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n")),
            (
                "behind the last chunk",
                said("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", evil),
            ),
            ("behind a length of 0", said("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", evil)),
            ("a body with 204", said("HTTP/1.1 204 No Content\r\n\r\n", evil)),
            ("a length with 204", said("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", "evil")),
            (
                "chunks with 204",
                said("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nevil\r\n0\r\n\r\n"),
            ),
            ("a body with 304", said("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "evil")),
            (
                "chunks with 304",
                said("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nevil\r\n0\r\n\r\n"),
            ),
            (
                "an interim answer behind the final one",
                said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 100 Continue\r\n\r\n"),
            ),
            (
                "an error behind the answer",
                said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 408 Request Timeout\r\n\r\n"),
            ),
        ];
        try_each(&court, "GET", rows, |seen| {
            seen.is_over()?;
            let [only] = &seen.answers[..] else { return Err(format!("{:?}", seen.statuses())) };
            if only.body.windows(4).any(|w| w == b"evil") { Err("it got what was added".to_owned()) } else { Ok(()) }
        });
        let rows = [
            ("a body with HEAD", said("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "evil")),
            (
                "chunks with HEAD",
                said("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nevil\r\n0\r\n\r\n"),
            ),
            ("an answer with HEAD", said("HTTP/1.1 200 OK\r\n\r\n", evil)),
        ];
        try_each(&court, "HEAD", rows, |seen| {
            seen.is_over()?;
            if seen.statuses() == [200] { Ok(()) } else { Err(format!("{:?}", seen.statuses())) }
        });
    }
}

#[test]
fn b3_answers_that_are_none_are_told_as_502() {
    let court = Court::new();
    let mut rows: Vec<(String, Said)> = Vec::new();
    let mut bad = |name: String, answer: Vec<u8>| rows.push((name, Said::of([answer]).then(After::Closes)));
    for line in [
        "HTTP/1.1 99 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 1000 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 2.0 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/3.7 200 OK",
        "HTTP/1.10 200 OK",
        "HTTP/1 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.x 200 OK",
        "HTTP/ 1.1 200 OK",
        "HTTPS/1.1 200 OK",
        "ICY 200 OK",
        "200 OK",
        " HTTP/1.1 200 OK",
        "xHTTP/1.1 200 OK",
        "garbage",
        "\0",
        "<html>",
        "GET / HTTP/1.1",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200\0OK",
        "\u{feff}HTTP/1.1 200 OK",
        "HTTP/1.1 200 \x7f",
        "HTTP/1.1 \u{b2}00 OK",
    ] {
        bad(format!("{line:?}"), format!("{line}\r\nContent-Length: 2\r\n\r\nok").into_bytes());
    }
    let fields: &[&[u8]] = &[
        b"Content-Length: +2",
        b"Content-Length: -2",
        b"Content-Length: 0x2",
        b"Content-Length: 2.0",
        b"Content-Length: 2 2",
        b"Content-Length: 2x",
        b"Content-Length:",
        b"Content-Length: \"2\"",
        b"Content-Length: 2, 2",
        b"Content-Length: 2, 3",
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: 18446744073709551618",
        b"Content-Length: 9223372036854775808",
        b"Content-Length : 2",
        b"Content-Length\t: 2",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer_Encoding: chunked",
        b"X-A: b\0c",
        b"X-A: b\rc",
        b"X-A: b\nc",
        b"X\0A: b",
        b"X A: b",
        b"X-A : b",
        b": b",
        b"nonsense",
        b" X-A: b",
        b"X-A: b\r\n c",
        b"X-A: b\r\n\tc",
        b"X-A: b\x7f",
        b"X-A: b\x01",
        b"X\xe9A: b",
        b"X(A): b",
        b"Content-Length: 2\nX-A: b",
        b"Transfer-Encoding: \xffchunked",
        b"Content_Length: 9\r\nContent-Length: 2",
    ];
    for line in fields {
        let answer = [b"HTTP/1.1 200 OK\r\n", *line, b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"].concat();
        bad(String::from_utf8_lossy(line).into_owned(), answer);
    }
    for (name, answer) in [
        ("HTTP/0.9", "hello, world"),
        ("HTTP/0.9 in HTML", "<html><body>hello</body></html>"),
        ("LF throughout", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        ("one LF", "HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 2\r\n\r\nok"),
        ("LF at the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
        ("CR throughout", "HTTP/1.1 200 OK\rContent-Length: 2\r\rok"),
        ("an empty line first, bare", "\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("half a status line", "HTTP/1."),
        ("a head without an end", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
        (
            "a bad interim answer",
            "HTTP/1.1 100 Continue\r\nX A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        (
            "a bad final answer behind an interim one",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX A: b\r\n\r\nok",
        ),
        ("an interim answer alone", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("TLS", "\x15\x03\x01\0\x02\x02\x28"),
    ] {
        bad(name.to_owned(), answer.as_bytes().to_vec());
    }
    let bad_ones: Vec<_> = rows;
    try_each(&court, "GET", bad_ones, |seen| {
        seen.is_over()?;
        match seen.statuses()[..] {
            [502] | [100 | 103, 502] => Ok(()),
            ref others => Err(format!("answered {others:?}")),
        }
    });
}

/// A body of bad chunks under a good head: it is told as 502 if nothing went out yet, and else the client sees that it is not whole.
#[test]
fn b3_chunks_that_are_none_are_told_or_visibly_cut() {
    let court = Court::with(|setup| setup.log_format = Some("json"));
    let bodies: &[&[u8]] = &[
        b"g\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"3\r\nhello\r\n0\r\n\r\n",
        b"7\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n-0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-A: b\nX-B: c\r\n\r\n",
        b"5\r\nhello\r\n0\r\n X-A: b\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n",
        b"5\r\nhello\r\n0\n\n",
        b"hello",
    ];
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rows = |pieces: usize| {
        bodies.iter().map(move |body| {
            let name = format!("{:?} in {pieces}", String::from_utf8_lossy(body));
            let whole = [&head[..], body].concat();
            (name, if pieces == 1 { Said::of([whole]) } else { Said::of([&head[..], body]) })
        })
    };
    try_each(&court, "GET", rows(1), refused);
    let lines = court.weir.wait_log(3 * bodies.len());
    let told: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bad: Vec<_> = told.iter().filter(|line| line["target"] != "/next").collect();
    assert_eq!(bad.len(), bodies.len());
    for line in bad {
        assert_eq!((&line["status"], &line["flags"]), (&json!(502), &json!("PH")), "{line}");
        assert_eq!(line["reason"], "the member's body is not valid chunked coding", "{line}");
        assert!(
            line["response_ms"].is_null() && line["bytes_out"].as_u64() > Some(200),
            "not those of the page: {line}"
        );
    }
    for pieces in [1, 2] {
        // A member that closes behind it must not make it look whole.
        try_each(&court, "GET", rows(pieces).map(|(name, said)| (name, said.then(After::Closes))), cut);
    }
}

/// The same told to clients of other versions.
#[test]
fn b3_chunks_that_are_none_are_told_to_old_clients_and_to_those_of_http2() {
    let court = Court::with(|setup| setup.listener = json!({"http2_prior_knowledge": true}));
    court.member.says("/bad", Said::of(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\ng\r\n"]));
    let mut old = TcpStream::connect(court.vip).unwrap();
    old.write_all(b"GET /bad HTTP/1.0\r\n\r\n").unwrap();
    refused(&Seen::read(&mut old, usize::MAX).unwrap()).unwrap();
    let mut new = Speaker::connect(court.vip);
    new.ask(1, "GET", "/bad");
    assert_eq!(new.outcome(1).status(), Some(502));
    new.ask(3, "GET", "/next");
    assert_eq!(new.outcome(3).status(), Some(200));
}

#[test]
fn b3_repeated_and_odd_framing_is_written_anew() {
    let court = Court::new();
    let rows = [
        ("equal lengths", "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        ("zeros in front", "Content-Length: 0002\r\n\r\nok"),
        ("chunks in another case", "transfer-encoding: CHUNKED\r\n\r\n02;a=b\r\nok\r\n000\r\n\r\n"),
        (
            "fields of the connection",
            "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
        ),
        ("a nominated length", "Connection: Content-Length\r\nContent-Length: 2\r\n\r\nok"),
        ("padded sizes", "Transfer-Encoding: chunked\r\n\r\n2  \r\nok\r\n0000   \r\n\r\n"),
        (
            "white space around extensions",
            "Transfer-Encoding: chunked\r\n\r\n1 ; a = b\r\no\r\n1\t;a\r\nk\r\n0 ;\r\n\r\n",
        ),
        (
            "trailers that frame",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
        ),
        ("spaces around values", "X-A: \t b \t\r\nContent-Length:2\r\n\r\nok"),
    ];
    let rows = rows.map(|(name, rest)| (name, Said::of([format!("HTTP/1.1 200 OK\r\n{rest}")])));
    // That each is canonical is judged while it is read.
    try_each(&court, "GET", rows, |seen| {
        seen.is_over()?;
        let [only] = &seen.answers[..] else { return Err(format!("{:?}", seen.statuses())) };
        if only.body == b"ok" && only.field("x-hop").is_none() { Ok(()) } else { Err(format!("{only:?}")) }
    });
}

#[test]
fn b4_heads_and_interim_answers_without_end_are_bounded() {
    let court = Court::new();
    let before = court.weir.process.pss_kb();
    let mib = 1 << 20;
    let rows = [
        ("a value of 16 MiB", format!("HTTP/1.1 200 OK\r\nX-A: {}", "b".repeat(16 * mib))),
        ("a reason of 16 MiB", format!("HTTP/1.1 200 {}", "b".repeat(16 * mib))),
        ("16 MiB of fields", format!("HTTP/1.1 200 OK\r\n{}", "X-A: bbbbbbbbbbbb\r\n".repeat(mib))),
        ("16 MiB without a line", "a".repeat(16 * mib)),
        ("20 000 fields", format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", "X-A: b\r\n".repeat(20_000))),
        ("a megabyte of CR LF", "\r\n".repeat(mib / 2)),
        ("an interim answer of 16 MiB", format!("HTTP/1.1 103 Early Hints\r\nLink: {}", "b".repeat(16 * mib))),
    ];
    try_each(&court, "GET", rows.map(|(name, said)| (name, Said::of([said]))), refused);
    let storm = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100_000) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    try_each(&court, "GET", [("a storm of interim answers", Said::of([storm]))], |seen| {
        seen.is_over()?;
        let statuses = seen.statuses();
        if statuses.len() < 1000 && statuses.last() == Some(&502) {
            Ok(())
        } else {
            Err(format!("{} answers", statuses.len()))
        }
    });
    let few = "HTTP/1.1 102 Processing\r\n\r\n".repeat(20) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    try_each(&court, "GET", [("a few interim answers", Said::of([few]))], |seen| {
        let statuses = seen.statuses();
        if statuses.len() == 21 && statuses[20] == 200 { Ok(()) } else { Err(format!("{statuses:?}")) }
    });
    let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(33) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    try_each(&court, "GET", [("too many interim answers", Said::of([many]))], |seen| {
        let statuses = seen.statuses();
        if statuses.len() == 34 && statuses[33] == 502 { Ok(()) } else { Err(format!("{statuses:?}")) }
    });
    let grown = court.weir.process.pss_kb().saturating_sub(before);
    assert!(grown <= 4096, "{grown} kB were taken for answers nobody gets");
}

/// Silence is told in time: a head that does not come or does not end, and a body that stops.
#[test]
fn b5_silence_of_a_member_is_told_in_time() {
    let court = Court::with(|setup| setup.timeouts.member = 300);
    let rows = [
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-"),
        ("an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ];
    try_each(&court, "GET", rows.map(|(name, said)| (name, Said::of([said]))), |seen| {
        seen.is_over()?;
        if seen.statuses().last() == Some(&504) { Ok(()) } else { Err(format!("{:?}", seen.statuses())) }
    });
    let stops = Said::of(["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"]);
    try_each(&court, "GET", [("half a body", stops)], cut);
}

/// A head that comes a byte at a time has to be whole in time all the same, and so has whatever follows interim answers.
#[test]
fn b5_a_member_that_drips_is_not_waited_for() {
    let court = Court::with(|setup| {
        setup.timeouts.member = 400;
        setup.log_format = Some("json");
    });
    // Some seconds of it, and no piece is waited for as long as the member may be silent.
    let drip = |text: &str| Said::of(text.bytes().map(|byte| [byte]));
    let field = format!("X-A: {}\r\n", "b".repeat(2000));
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    // Each is followed by a fifth of a second of nothing.
    let storm = (0..30 * 40).map(|n| if n % 40 == 0 { interim } else { "" });
    let rows = [
        ("a status line", drip(&format!("HTTP/1.1 200 {}", "a".repeat(2000)))),
        ("a field", drip(&format!("HTTP/1.1 200 OK\r\n{field}"))),
        ("an interim answer", drip(&format!("HTTP/1.1 103 Early Hints\r\n{field}"))),
        ("what follows an interim answer", drip(&format!("{interim}HTTP/1.1 200 OK\r\n{field}"))),
        ("one interim answer after the other", Said::of(storm)),
    ];
    for (n, (name, said)) in rows.into_iter().enumerate() {
        let target = format!("/{n}");
        court.member.says(&target, said);
        let began = Instant::now();
        let seen = ask(&court, "GET", &target).unwrap();
        let took = began.elapsed();
        seen.is_over().unwrap();
        assert_eq!(seen.statuses().last(), Some(&504), "{name}");
        assert!(seen.statuses().len() < 25, "{name}: {:?}", seen.statuses());
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(9), "{name}: after {took:?}");
        let line: serde_json::Value = serde_json::from_str(&court.weir.wait_log(n + 1)[n]).unwrap();
        assert!(line["flags"].as_str().unwrap().starts_with("sH"), "{line}");
        assert_eq!(line["reason"], "the head of the member's answer was not whole in time", "{name}");
    }
    next_is_served(&court).unwrap();
}

/// Interim answers show that a member works: each is a reason to wait on.
#[test]
fn b5_interim_answers_extend_the_wait() {
    let court = Court::with(|setup| setup.timeouts.member = 2000);
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    // Each is followed by half a second of nothing.
    let slow = (0..6 * 100).map(|n| if n % 100 == 0 { interim } else { "" });
    court.member.says("/slow", Said::of(slow.chain(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])));
    let began = Instant::now();
    let seen = ask(&court, "GET", "/slow").unwrap();
    assert_eq!(seen.statuses(), [102, 102, 102, 102, 102, 102, 200]);
    assert!(began.elapsed() > Duration::from_millis(2000), "it was too quick to show anything");
}

/// Only what may be repeated is, and only once more, on a connection of its own.
#[test]
fn b6_a_member_that_leaves_without_an_answer() {
    let court = Court::new();
    for (method, body, may) in [
        ("GET", "", true),
        ("PUT", "hello", true),
        ("DELETE", "", true),
        ("POST", "hello", false),
        ("PATCH", "hello", false),
        ("FOO", "", false),
    ] {
        for after in [After::Closes, After::Resets] {
            let mut client = TcpStream::connect(court.vip).unwrap();
            // Connections are kept from here on.
            client.write_all(b"GET /warm HTTP/1.1\r\nHost: weir.test\r\n\r\n").unwrap();
            assert_eq!(Seen::read(&mut client, 1).unwrap().statuses(), [200]);
            court.member.arrivals();
            let target = format!("/left-{method}");
            court.member.says(&target, Said { once: true, ..Said::default().then(after) });
            let head = format!(
                "{method} {target} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(head.as_bytes()).unwrap();
            let seen = Seen::read(&mut client, 1).unwrap();
            let asked = court.member.arrivals().len();
            match may {
                true => assert_eq!((seen.statuses(), asked), (vec![200], 2), "{method} {after:?}"),
                false => assert_eq!((seen.statuses(), asked), (vec![502], 1), "{method} {after:?}"),
            }
        }
        // For ever it is not repeated.
        court.member.says("/gone", Said::default().then(After::Closes));
        let seen = ask(&court, method, "/gone").unwrap();
        let asked =
            court.member.arrivals().iter().filter(|a| matches!(a, Arrival::Request(r) if r.word(1) == "/gone")).count();
        assert_eq!(seen.statuses(), [502], "{method}");
        assert!(asked <= if may { 2 } else { 1 }, "{method} was sent {asked} times");
    }
}

/// A request that is refused before it is understood has one word that counts: HEAD takes no body (RFC 9110 section 9.3.2).
#[test]
fn b2_refusals_of_head_have_no_body() {
    let court = Court::with(|setup| {
        setup.listener = json!({"max_target_length": 256, "max_head_size": 2048, "timeout_http_request": 500});
    });
    let long = |name: &str, n: usize| format!("{name}: {}\r\n", "b".repeat(n));
    for (rest, status) in [
        (" / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (" / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), 400),
        (format!(" /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(300)), 414),
        (format!(" / HTTP/1.1\r\nHost: a\r\n{}\r\n", long("X", 3000)), 431),
        (" / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        (" / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n".to_owned(), 417),
        (" / HTTP/1.1\r\nHost: a\r\n".to_owned(), 408),
    ] {
        for bodiless in [true, false] {
            let mut client = TcpStream::connect(court.vip).unwrap();
            let method = if bodiless { "HEAD" } else { "GET" };
            client.write_all(format!("{method}{rest}").as_bytes()).unwrap();
            let seen = Seen::read_to(&mut client, usize::MAX, &|_| bodiless).unwrap();
            assert_eq!(seen.statuses(), [status], "{method}{rest:?}");
            seen.is_over().unwrap_or_else(|wrong| panic!("{method}{rest:?}: {wrong}"));
        }
    }
}
