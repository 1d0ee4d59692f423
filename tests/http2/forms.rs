//! Requests in all the forms they may have, and those they may not (RFC 9113 sections 8.2 and 8.3).

use weir_tests::frames::{END_HEADERS, END_STREAM, Outcome, Speaker, fields, frame, kind, request_fields};
use weir_tests::stage::Stage;

use super::{after, knowing, others_are_served, stage};

type Fields<'a> = Vec<(&'a str, &'a [u8])>;

fn asked(stage: &Stage, list: &[(&str, &[u8])]) -> Outcome {
    after(stage, &frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields(list)), 1)
}

/// A sound request with `more` behind its pseudo-fields.
fn with<'a>(more: &[(&'a str, &'a [u8])]) -> Fields<'a> {
    let pseudo: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"http"), (":authority", b"example.org"), (":path", b"/echo")];
    [&pseudo[..], more].concat()
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(_, body) => String::from_utf8_lossy(body).into_owned(),
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn a_sound_request_comes_to_the_member_in_text() {
    let stage = stage();
    let text = text(&asked(
        &stage,
        &with(&[("cookie", b"a=1"), ("x-a", b"1"), ("cookie", b"b=2"), ("x-e", b""), ("te", b"trailers")]),
    ));
    assert!(text.starts_with("GET /echo HTTP/1.1\r\n"), "{text}");
    for line in ["Host: example.org", "cookie: a=1; b=2", "x-a: 1", "x-e: "] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    // It is a word between two ends of a connection; only members of HTTP/2 hear it.
    assert!(!text.contains("TE: "), "{text}");
}

#[test]
fn what_some_readers_take_for_an_inserted_field_stops_here() {
    let stage = Stage::http(1, |setup| {
        knowing(setup);
        setup.listener["insert_headers"] = serde_json::json!({"X-Forwarded-For": "true"});
    });
    let seen =
        text(&asked(&stage, &with(&[("x_forwarded_for", b"6.6.6.6"), ("x-forwarded_for", b"6.6.6.6"), ("x_a", b"1")])));
    assert!(!seen.contains("6.6.6.6") && seen.contains("x_a: 1\r\n"), "{seen}");
    assert_eq!(seen.to_ascii_lowercase().matches("forwarded").count(), 1, "{seen}");
}

#[test]
fn authority_wins_over_host_and_host_is_enough() {
    let stage = stage();
    let both = text(&asked(&stage, &with(&[("host", b"other.example")])));
    assert!(both.contains("Host: example.org\r\n") && !both.contains("other.example"), "{both}");
    let list: Fields<'_> =
        vec![(":method", b"GET"), (":scheme", b"http"), (":path", b"/echo"), ("host", b"only.example")];
    assert!(text(&asked(&stage, &list)).contains("host: only.example\r\n"));
    let nobody: Fields<'_> = vec![(":method", b"GET"), (":scheme", b"http"), (":path", b"/echo")];
    assert_eq!(asked(&stage, &nobody).status(), Some(400));
}

/// None of these reaches the member; each ends its own stream, or its own connection, and nobody else's.
#[test]
fn what_is_malformed_goes_nowhere() {
    let stage = stage();
    let pseudo = |method: &'static str, scheme: &'static str, path: &'static [u8]| -> Fields<'static> {
        vec![
            (":method", method.as_bytes()),
            (":scheme", scheme.as_bytes()),
            (":authority", b"example.org"),
            (":path", path),
        ]
    };
    let mut cases: Vec<(&str, Fields<'_>)> = vec![
        ("upper case", with(&[("X-A", b"1")])),
        ("empty name", with(&[("", b"1")])),
        ("colon in a name", with(&[("a:b", b"1")])),
        ("space in a name", with(&[("a b", b"1")])),
        ("CR in a name", with(&[("a\r\nb", b"1")])),
        ("CRLF in a value", with(&[("a", b"1\r\nX-Evil: 1")])),
        ("LF in a value", with(&[("a", b"1\nX-Evil: 1")])),
        ("CR in a value", with(&[("a", b"1\rX")])),
        ("NUL in a value", with(&[("a", b"1\0X")])),
        ("connection", with(&[("connection", b"close")])),
        ("keep-alive", with(&[("keep-alive", b"1")])),
        ("proxy-connection", with(&[("proxy-connection", b"close")])),
        ("transfer-encoding", with(&[("transfer-encoding", b"chunked")])),
        ("upgrade", with(&[("upgrade", b"h2c")])),
        ("te", with(&[("te", b"gzip")])),
        ("an unknown pseudo-field", with(&[(":evil", b"1")])),
        ("a response's pseudo-field", with(&[(":status", b"200")])),
        ("a pseudo-field late", with(&[("a", b"1"), (":path", b"/late")])),
        ("a pseudo-field twice", with(&[(":path", b"/twice")])),
        ("two lengths", with(&[("content-length", b"0"), ("content-length", b"1")])),
        ("a length that is none", with(&[("content-length", b"-1")])),
        ("a length without a body", with(&[("content-length", b"5")])),
        ("an empty path", pseudo("GET", "http", b"")),
        ("a path that names a host", pseudo("GET", "http", b"http://evil.example/")),
        ("a path without a slash", pseudo("GET", "http", b"evil")),
        ("a line end in the path", pseudo("GET", "http", b"/ HTTP/1.1\r\nX-Evil: 1")),
        ("a space in the path", pseudo("GET", "http", b"/a b")),
        ("a space in the method", pseudo("GET /x HTTP/1.1\r\nA: b\r\n", "http", b"/")),
        ("an empty method", pseudo("", "http", b"/")),
        ("a line end in the scheme", pseudo("GET", "http\r\nx: y", b"/")),
        ("an asterisk for GET", pseudo("GET", "http", b"*")),
    ];
    for missing in [":method", ":path"] {
        cases.push((missing, with(&[]).into_iter().filter(|(name, _)| *name != missing).collect()));
    }
    for authority in [
        "a b",
        "example.org,example.com",
        "user@example.org",
        "example.org/evil",
        "a\r\nb: c",
        "[::1",
        "example.org:port",
    ] {
        let list = with(&[]).into_iter();
        let list = list.map(|(n, v)| if n == ":authority" { (n, authority.as_bytes()) } else { (n, v) });
        cases.push((authority, list.collect()));
    }
    for (what, list) in cases {
        let outcome = asked(&stage, &list);
        assert!(outcome.is_refused() || outcome.status() == Some(400), "{what}: {outcome:?}");
        assert_eq!(stage.counts(), [0], "{what} came to the member");
    }
    others_are_served(&stage);
}

#[test]
fn methods_of_their_own_kind() {
    let stage = stage();
    let mut speaker = Speaker::connect(stage.vip());
    // HEAD, and answers that have no body.
    for (stream, method, path, expected) in
        [(1, "HEAD", "/bytes/7", 200), (3, "GET", "/status/204", 204), (5, "GET", "/status/304", 304)]
    {
        speaker.ask(stream, method, path);
        assert_eq!(speaker.outcome(stream), Outcome::Answered(expected, Vec::new()), "{method} {path}");
    }
    let options: [(&str, &[u8]); 4] =
        [(":method", b"OPTIONS"), (":scheme", b"http"), (":authority", b"example.org"), (":path", b"*")];
    speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, 7, &fields(&options)));
    assert_eq!(speaker.outcome(7).status(), Some(200));
    let connect: [(&str, &[u8]); 2] = [(":method", b"CONNECT"), (":authority", b"example.org:443")];
    speaker.send(frame(kind::HEADERS, END_HEADERS, 9, &fields(&connect)));
    let refused = speaker.outcome(9);
    assert!(refused.status() == Some(405) || refused.is_refused(), "{refused:?}");
}

#[test]
fn bodies_have_the_length_that_was_announced() {
    let stage = stage();
    let ask = |length: &[u8], data: &[&[u8]]| {
        let mut bytes =
            frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/body", &[("content-length", length)]));
        for (at, piece) in data.iter().enumerate() {
            let flags = if at + 1 == data.len() { END_STREAM } else { 0 };
            bytes.extend(frame(kind::DATA, flags, 1, piece));
        }
        after(&stage, &bytes, 1)
    };
    assert_eq!(ask(b"6", &[b"abc", b"", b"def"]), Outcome::Answered(200, b"abcdef".to_vec()));
    for (length, data) in [(&b"5"[..], &[&b"abc"[..], b"def"][..]), (b"7", &[b"abc", b"def"]), (b"0", &[b"x"])] {
        let outcome = ask(length, data);
        assert!(outcome.is_refused() || outcome.status() == Some(400), "{length:?}: {outcome:?}");
    }
    // A padded body, and trailers after it.
    let mut bytes = frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/body", &[]));
    bytes.extend(frame(kind::DATA, 8, 1, b"\x03abcPAD"));
    bytes.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[("x-sum", b"1")])));
    assert_eq!(after(&stage, &bytes, 1), Outcome::Answered(200, b"abc".to_vec()));
    others_are_served(&stage);
}

#[test]
fn trailers_are_no_place_for_pseudo_fields_nor_for_more() {
    let stage = stage();
    let head = frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/body", &[]));
    for (flags, list) in [
        (END_HEADERS | END_STREAM, fields(&[(":path", b"/evil")])),
        (END_HEADERS | END_STREAM, fields(&[("connection", b"close")])),
        // Without an end they are no trailers.
        (END_HEADERS, fields(&[("x", b"y")])),
    ] {
        let bytes = [&head[..], &frame(kind::DATA, 0, 1, b"abc"), &frame(kind::HEADERS, flags, 1, &list)].concat();
        let outcome = after(&stage, &bytes, 1);
        assert!(outcome.is_refused(), "{outcome:?}");
    }
    others_are_served(&stage);
}

/// Nobody is upgraded to HTTP/2, and nobody who does not know begins in it.
#[test]
fn without_the_key_it_is_not_spoken() {
    use weir_tests::client::Client;
    let stage = Stage::http(1, |_| {});
    let mut client = Client::connect(stage.vip());
    client.send(weir_tests::frames::PREFACE);
    assert!(matches!(client.answer().status(), 400 | 505));
    for tune in [|_: &mut weir_tests::setup::Setup| {}, knowing] {
        let stage = Stage::http(1, tune);
        let mut client = Client::connect(stage.vip());
        client.send(
            "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        );
        let answer = client.answer();
        assert_eq!(answer.status(), 200);
        let text = answer.text().to_ascii_lowercase();
        assert!(!text.contains("upgrade") && !text.contains("h2c") && !text.contains("http2-settings"), "{text}");
    }
    let stage = super::stage();
    let mut client = Client::connect(stage.vip());
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(client.maybe_answer().is_none_or(|answer| matches!(answer.status(), 400 | 505)));
}
