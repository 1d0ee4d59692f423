//! Frames that are wrong where they come: on a stream that is idle, half-closed or closed, among the fields of another,
//! or on one stream too many.

use super::accepted::dependent;
use super::*;

const PROTOCOL: Must = Must::EndAll(&[code::PROTOCOL_ERROR]);
const CLOSED: Must = Must::End(&[code::STREAM_CLOSED]);
const ALL_CLOSED: Must = Must::EndAll(&[code::STREAM_CLOSED]);

pub(super) fn cases() -> Vec<Case> {
    let go_on = |stream, flags| frame(kind::CONTINUATION, flags, stream, &more("x-a", 100));
    // Fields that have not ended.
    let begun = || frame(kind::HEADERS, 0, 1, &block("POST"));
    let after_all = |bytes: Vec<u8>| vec![Play::Say(get(1)), Play::Ended, Play::Say(bytes)];
    let cancel = || reset(1, code::CANCEL);
    let mut too_many: Vec<Vec<u8>> = (0..=100).map(|n| get(2 * n + 1)).collect();
    too_many.insert(0, initial_window(0));
    vec![
        case("5.1", "DATA on an idle stream", &[data(1, END_STREAM, b"test")], PROTOCOL),
        case("5.1", "RST_STREAM on an idle stream", &[cancel()], PROTOCOL),
        case("5.1", "WINDOW_UPDATE on an idle stream", &[window(1, 100)], PROTOCOL),
        case("5.1", "CONTINUATION on an idle stream", &[frame(kind::CONTINUATION, 4, 1, &block("GET"))], PROTOCOL),
        case("5.1", "DATA on a half-closed stream", &[get(1), data(1, END_STREAM, b"test")], CLOSED),
        case("5.1", "HEADERS on a half-closed stream", &[get(1), get(1)], CLOSED),
        case("5.1", "CONTINUATION on a half-closed stream", &[get(1), go_on(1, 4)], PROTOCOL),
        case("5.1", "DATA after RST_STREAM", &[post(1), cancel(), data(1, END_STREAM, b"test")], CLOSED),
        case("5.1", "HEADERS after RST_STREAM", &[post(1), cancel(), get(1)], CLOSED),
        case("5.1", "CONTINUATION after RST_STREAM", &[post(1), cancel(), go_on(1, 4)], PROTOCOL),
        play("5.1", "DATA on a closed stream", after_all(data(1, END_STREAM, b"test")), ALL_CLOSED),
        play("5.1", "HEADERS on a closed stream", after_all(get(1)), ALL_CLOSED),
        play("5.1", "CONTINUATION on a closed stream", after_all(go_on(1, 4)), PROTOCOL),
        case("5.1.1", "an even stream", &[get(2)], PROTOCOL),
        case("5.1.1", "a stream below the last", &[get(5), get(3)], PROTOCOL),
        case("5.1.1", "HEADERS on a half-closed stream that is not the first", &[get(5), get(5)], CLOSED),
        case("5.1.2", "a stream too many", &too_many, Must::End(&[code::PROTOCOL_ERROR, code::REFUSED_STREAM])),
        case("5.3.1 of RFC 7540", "HEADERS that depend on themselves", &[dependent(1)], STREAM_PROTOCOL),
        case("5.3.1 of RFC 7540", "PRIORITY that depends on itself", &[priority(1, 1)], STREAM_PROTOCOL),
        case("5.5", "an unknown frame among fields", &[begun(), frame(0x16, 0, 0, &[0; 8])], PROTOCOL),
        case("6.2", "PRIORITY among fields", &[begun(), priority(1, 0), go_on(1, 4)], PROTOCOL),
        case("6.2", "HEADERS of another stream among fields", &[begun(), get(3), go_on(1, 4)], PROTOCOL),
        case("6.2", "HEADERS of the same stream among fields", &[begun(), get(1)], PROTOCOL),
        case("6.10", "DATA among fields", &[begun(), go_on(1, 0), data(1, END_STREAM, b"test")], PROTOCOL),
        case("6.10", "CONTINUATION of the connection", &[begun(), go_on(0, 4)], PROTOCOL),
        case("6.10", "CONTINUATION of another stream", &[begun(), go_on(3, 4)], PROTOCOL),
        case("6.10", "CONTINUATION after the fields", &[get(1), go_on(1, 4)], PROTOCOL),
        case("6.10", "CONTINUATION after the last one", &[begun(), go_on(1, 4), go_on(1, 4)], PROTOCOL),
        case("6.10", "CONTINUATION after DATA", &[begun(), data(1, 1, b"test"), go_on(1, 0), go_on(0, 4)], PROTOCOL),
        case(
            "6.10",
            "CONTINUATION after DATA of an open stream",
            &[post(1), data(1, 0, b"test"), go_on(1, 4)],
            PROTOCOL,
        ),
    ]
}

const STREAM_PROTOCOL: Must = Must::End(&[code::PROTOCOL_ERROR]);
