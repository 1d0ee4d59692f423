//! Frames that are wrong by themselves: too long, too short, on the wrong stream, with values that may not be.

use super::accepted::padded;
use super::*;

const PROTOCOL: Must = Must::EndAll(&[code::PROTOCOL_ERROR]);
const SIZE: Must = Must::EndAll(&[code::FRAME_SIZE_ERROR]);
const FLOW: Must = Must::EndAll(&[code::FLOW_CONTROL_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    let open = || post(1);
    vec![
        case("4.2", "DATA too long", &[open(), data(1, END_STREAM, &[0; 16_385])], SIZE),
        case("4.2", "HEADERS too long", &[frame(kind::HEADERS, 5, 1, &vec![0; 20_000])], SIZE),
        case("4.2", "SETTINGS too long", &[frame(kind::SETTINGS, 0, 0, &vec![0; 18_000])], SIZE),
        case("5.4.1", "after an error the connection ends", &[frame(kind::PING, 0, 3, &[0; 8])], PROTOCOL),
        case("6.1", "DATA of the connection", &[data(0, END_STREAM, b"test")], PROTOCOL),
        case("6.1", "DATA with more padding than bytes", &[open(), data(1, 9, b"\x06test")], PROTOCOL),
        case("6.1", "DATA with as much padding as bytes", &[open(), data(1, 9, b"\x05test")], PROTOCOL),
        case("6.2", "HEADERS of the connection", &[frame(kind::HEADERS, 5, 0, &block("GET"))], PROTOCOL),
        case("6.2", "HEADERS with more padding than bytes", &[padded(255, 0)], PROTOCOL),
        case("6.2", "HEADERS without its priority", &[frame(kind::HEADERS, 0x25, 1, &[0, 0, 0])], SIZE),
        case("6.3", "PRIORITY of the connection", &[priority(0, 1)], PROTOCOL),
        case("6.3", "PRIORITY too short", &[frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0])], STREAM_SIZE),
        case("6.4", "RST_STREAM of the connection", &[reset(0, code::CANCEL)], PROTOCOL),
        case("6.4", "RST_STREAM too short", &[open(), frame(kind::RST_STREAM, 0, 1, &[0, 0, 8])], SIZE),
        case("6.4", "RST_STREAM too long", &[open(), frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8, 0])], SIZE),
        case("6.5", "SETTINGS acknowledged with values", &[frame(kind::SETTINGS, ACK, 0, &[0])], SIZE),
        case("6.5", "SETTINGS acknowledged with a value", &[frame(kind::SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 9])], SIZE),
        case("6.5", "SETTINGS of a stream", &[frame(kind::SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])], PROTOCOL),
        case("6.5", "SETTINGS of three bytes", &[frame(kind::SETTINGS, 0, 0, &[0, 3, 0])], SIZE),
        // That it is wrong is clear from its head.
        case("6.5", "SETTINGS of nine bytes that never come", &[b"\0\0\x09\x04\0\0\0\0\0\0\x03".to_vec()], SIZE),
        case("6.5.2", "ENABLE_PUSH of 2", &[setting(2, 2)], PROTOCOL),
        case("6.5.2", "a window above the largest", &[initial_window(1 << 31)], FLOW),
        case("6.5.2", "a frame size below the smallest", &[setting(5, 16_383)], PROTOCOL),
        case("6.5.2", "a frame size above the largest", &[setting(5, 16_777_216)], PROTOCOL),
        case("6.6", "PUSH_PROMISE", &[get(1), frame(kind::PUSH_PROMISE, 4, 1, &promise())], PROTOCOL),
        case("6.7", "PING of a stream", &[frame(kind::PING, 0, 1, &[0; 8])], PROTOCOL),
        case("6.7", "PING too short", &[frame(kind::PING, 0, 0, &[0; 6])], SIZE),
        case("6.7", "PING too long", &[frame(kind::PING, 0, 0, &[0; 9])], SIZE),
        case("6.8", "GOAWAY of a stream", &[frame(kind::GOAWAY, 0, 1, &[0; 8])], PROTOCOL),
        case("6.8", "GOAWAY too short", &[frame(kind::GOAWAY, 0, 0, &[0; 7])], SIZE),
        case("6.9", "WINDOW_UPDATE by nothing", &[window(0, 0)], PROTOCOL),
        case(
            "6.9",
            "WINDOW_UPDATE by nothing, of a stream",
            &[open(), window(1, 0)],
            Must::Reset(code::PROTOCOL_ERROR),
        ),
        case("6.9", "WINDOW_UPDATE too short", &[frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 1])], SIZE),
        case("6.9", "WINDOW_UPDATE too long", &[frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0])], SIZE),
        case("6.9.1", "a window beyond the largest", &[window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)], FLOW),
        case(
            "6.9.1",
            "a window of a stream beyond the largest",
            &[open(), window(1, 0x7fff_ffff), window(1, 0x7fff_ffff)],
            Must::End(&[code::FLOW_CONTROL_ERROR]),
        ),
        case(
            "6.9.2",
            "a window of a stream beyond the largest by SETTINGS",
            &[open(), window(1, 0x7000_0000), initial_window(0x7fff_ffff)],
            FLOW,
        ),
    ]
}

const STREAM_SIZE: Must = Must::End(&[code::FRAME_SIZE_ERROR]);

fn promise() -> Vec<u8> {
    [&[0, 0, 0, 2][..], &block("GET")].concat()
}
