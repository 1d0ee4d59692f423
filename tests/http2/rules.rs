//! The rules of frames and streams (RFC 9113 sections 4 to 6): what breaks them ends the stream or the connection.

use weir_tests::frames::{ACK, END_HEADERS, END_STREAM, Outcome, PREFACE, Speaker, code, frame, kind, request_fields};
use weir_tests::wait::PATIENCE;

use super::{after, others_are_served, stage};

fn head(stream: u32, flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &request_fields("POST", "/body", &[]))
}

#[test]
fn what_breaks_a_rule_of_connections_ends_it() {
    let stage = stage();
    let open = head(1, END_HEADERS);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("DATA on the connection", frame(kind::DATA, 0, 0, b"x")),
        ("DATA on an idle stream", frame(kind::DATA, 0, 1, b"x")),
        ("HEADERS on the connection", frame(kind::HEADERS, 5, 0, &request_fields("GET", "/", &[]))),
        ("an even stream", frame(kind::HEADERS, 5, 2, &request_fields("GET", "/", &[]))),
        ("a stream below the last", [head(5, 5), head(3, 5)].concat()),
        ("RST_STREAM of an idle stream", frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        ("RST_STREAM too short", [&open[..], &frame(kind::RST_STREAM, 0, 1, &[0, 0, 8])].concat()),
        ("WINDOW_UPDATE of an idle stream", frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("WINDOW_UPDATE of nothing", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("WINDOW_UPDATE too long", frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0])),
        ("a window beyond the largest", frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("SETTINGS of a stream", frame(kind::SETTINGS, 0, 1, &[])),
        ("SETTINGS of odd length", frame(kind::SETTINGS, 0, 0, &[0, 1, 0])),
        ("SETTINGS with an acknowledgement that says something", frame(kind::SETTINGS, ACK, 0, &[0, 1, 0, 0, 0, 0])),
        ("a window in SETTINGS beyond the largest", frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        ("a frame size in SETTINGS too small", frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])),
        ("ENABLE_PUSH that is neither", frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        ("PING of a stream", frame(kind::PING, 0, 1, &[0; 8])),
        ("PING of another length", frame(kind::PING, 0, 0, &[0; 7])),
        ("GOAWAY of a stream", frame(kind::GOAWAY, 0, 1, &[0; 8])),
        ("PUSH_PROMISE from a client", [&open[..], &frame(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82])].concat()),
        ("CONTINUATION of nothing", frame(kind::CONTINUATION, 4, 1, &[0x82])),
        ("another frame among fields", [head(1, 0), frame(kind::PING, 0, 0, &[0; 8])].concat()),
        ("fields of another stream among fields", [head(1, 0), frame(kind::CONTINUATION, 4, 3, &[])].concat()),
        ("a frame that is too long", frame(kind::DATA, 0, 1, &vec![0; 16_385])),
        ("fields that are no HPACK", frame(kind::HEADERS, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ("an index nobody has", frame(kind::HEADERS, 5, 1, &[0xc0 | 62])),
        ("padding longer than the frame", [&open[..], &frame(kind::DATA, 8, 1, &[9, 1])].concat()),
    ];
    for (what, bytes) in cases {
        let mut speaker = Speaker::connect(stage.vip());
        speaker.send(bytes);
        let goaway = speaker.until(|f| f.kind == kind::GOAWAY);
        let told = goaway.map(|f| f.number(4));
        assert!(told.is_ok_and(|told| told != code::NO_ERROR), "{what}: {told:?}");
        assert!(speaker.until(|_| false).is_err(), "{what}: the connection stays");
    }
    assert_eq!(stage.counts(), [0]);
    others_are_served(&stage);
}

#[test]
fn what_breaks_a_rule_of_streams_ends_the_stream() {
    let stage = stage();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("DATA after the end", [head(1, END_HEADERS | END_STREAM), frame(kind::DATA, 0, 1, b"x")].concat()),
        ("a window of a stream beyond the largest", {
            [head(1, END_HEADERS), frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat()
        }),
        ("a window of a stream by nothing", [head(1, END_HEADERS), frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4])].concat()),
    ];
    for (what, bytes) in cases {
        let outcome = after(&stage, &bytes, 1);
        // An answer that was under way may have come first.
        assert!(outcome.is_refused() || what.contains("after") && outcome.status() == Some(200), "{what}: {outcome:?}");
    }
    others_are_served(&stage);
}

#[test]
fn what_nobody_needs_is_ignored() {
    let stage = stage();
    let mut speaker = Speaker::connect(stage.vip());
    // A frame, a setting and flags of times to come; priorities, also of streams that never were and of itself.
    speaker.send(frame(0xee, 0xff, 0, b"what?"));
    speaker.send(frame(0xee, 0xff, 77, b"what?"));
    speaker.send(frame(kind::SETTINGS, 0, 0, &[0xaa, 0xaa, 1, 2, 3, 4]));
    speaker.send(frame(kind::PRIORITY, 0, 9, &[0, 0, 0, 3, 200]));
    speaker.send(frame(kind::HEADERS, 0x25, 1, &[&[0, 0, 0, 3, 16][..], &request_fields("GET", "/x", &[])].concat()));
    assert_eq!(speaker.outcome(1).status(), Some(200));
    speaker.send(frame(kind::PING, 0, 0, b"12345678"));
    let pong = speaker.until(|f| f.kind == kind::PING && f.flags == ACK).unwrap();
    assert_eq!(pong.payload, b"12345678");
}

#[test]
fn a_head_may_come_in_pieces() {
    let stage = stage();
    let block = request_fields("GET", "/echo", &[("x-a", b"1")]);
    let mut bytes = frame(kind::HEADERS, END_STREAM, 1, &block[..1]);
    for piece in block[1..block.len() - 1].chunks(20) {
        bytes.extend(frame(kind::CONTINUATION, 0, 1, piece));
    }
    bytes.extend(frame(kind::CONTINUATION, END_HEADERS, 1, &block[block.len() - 1..]));
    assert_eq!(after(&stage, &bytes, 1).status(), Some(200));
}

#[test]
fn a_hundred_streams_at_once_and_no_more() {
    let stage = stage();
    let mut speaker = Speaker::connect(stage.vip());
    for n in 0..100 {
        speaker.send(head(2 * n + 1, END_HEADERS));
    }
    speaker.send(head(201, END_HEADERS));
    assert_eq!(speaker.outcome(201), Outcome::Reset(code::REFUSED_STREAM));
    for n in 0..100 {
        speaker.send(frame(kind::DATA, END_STREAM, 2 * n + 1, format!("{n}").as_bytes()));
    }
    for n in 0..100 {
        assert_eq!(speaker.outcome(2 * n + 1), Outcome::Answered(200, format!("{n}").into_bytes()), "{n}");
    }
    speaker.ask(203, "GET", "/x");
    assert_eq!(speaker.outcome(203).status(), Some(200));
}

#[test]
fn bodies_go_as_far_as_windows_let_them() {
    let stage = stage();
    let mut speaker = Speaker::silent(stage.vip());
    speaker.gives_room = false;
    // Streams begin with room for ten bytes.
    speaker.send(PREFACE);
    speaker.send(frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 10]));
    speaker.ask(1, "GET", "/bytes/3000");
    let mut body = Vec::new();
    while body.len() < 3000 {
        let data = speaker.until(|f| f.kind == kind::DATA).unwrap();
        body.extend_from_slice(&data.payload);
        assert!(data.payload.len() <= 10 && !data.payload.is_empty(), "{}", data.payload.len());
        assert_eq!(data.ends(), body.len() == 3000);
        speaker.send(frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 10]));
    }
    assert_eq!(body, weir_tests::message::pattern(3000));
    // What is sent beyond the window we gave ends the stream or the connection.
    let mut greedy = Speaker::connect(stage.vip());
    greedy.send(frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/nobody-reads", &[])));
    for _ in 0..1000 {
        if greedy.try_send(frame(kind::DATA, 0, 1, &[0; 16_384])).is_err() {
            break;
        }
    }
    greedy.patience(PATIENCE);
    let outcome = greedy.outcome(1);
    assert!(outcome.is_refused() || outcome.status().is_some(), "{outcome:?}");
    others_are_served(&stage);
}
