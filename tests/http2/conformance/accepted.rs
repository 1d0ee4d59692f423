//! What every server must take, whatever it thinks of it.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        case("3.4", "a client begins", &[], Must::Settings),
        case("4.1", "a frame of no known type", &[frame(0x16, 0, 0, &[0; 8]), ping()], Must::Pong),
        case("4.1", "flags that mean nothing", &[frame(kind::PING, 0x16, 0, b"conforms")], Must::Pong),
        case("4.1", "the reserved bit", &[frame(kind::PING, 0, 1 << 31, b"conforms")], Must::Pong),
        case("4.2", "DATA of 16384 bytes", &[post(1), data(1, END_STREAM, &[b'x'; 16_384])], Must::Answer(1)),
        case("5.1", "PRIORITY on an idle stream", &[priority(1, 0), ping()], Must::Pong),
        case("5.1", "PRIORITY on a half-closed stream", &[get(1), priority(1, 0)], Must::Answer(1)),
        case("5.1", "RST_STREAM on a half-closed stream", &[get(1), reset(1, code::CANCEL), ping()], Must::Pong),
        play(
            "5.1",
            "PRIORITY on a closed stream",
            vec![Play::Say(get(1)), Play::Ended, Play::Say([priority(1, 0), ping()].concat())],
            Must::Pong,
        ),
        play(
            "5.1",
            "WINDOW_UPDATE on a closed stream",
            vec![Play::Say(get(1)), Play::Ended, Play::Say([window(1, 1), ping()].concat())],
            Must::Pong,
        ),
        play(
            "5.1",
            "RST_STREAM on a closed stream",
            vec![Play::Say(get(1)), Play::Ended, Play::Say([reset(1, code::CANCEL), ping()].concat())],
            Must::Pong,
        ),
        case("5.1", "WINDOW_UPDATE on a half-closed stream", &[initial_window(0), get(1), window(1, 1)], Must::OneByte),
        case("5.3.2", "PRIORITY on a stream above the next one", &[priority(5, 3), get(3)], Must::Answer(3)),
        case("6.1", "one DATA frame", &[post(1), data(1, END_STREAM, b"test")], Must::Answer(1)),
        case("6.1", "two DATA frames", &[post(1), data(1, 0, b"te"), data(1, END_STREAM, b"st")], Must::Answer(1)),
        case("6.1", "padded DATA", &[post(1), data(1, 9, b"\x06test\0\0\0\0\0\0")], Must::Answer(1)),
        case("6.1", "DATA of padding only", &[post(1), data(1, 9, b"\x02\0\0")], Must::Answer(1)),
        case("6.2", "padded HEADERS", &[padded(3, 3)], Must::Answer(1)),
        case("6.2", "HEADERS with a priority", &[dependent(3)], Must::Answer(1)),
        case("6.4", "RST_STREAM", &[post(1), reset(1, code::CANCEL), ping()], Must::Pong),
        case("6.5.2", "a setting of no known kind", &[setting(0xff, 1), ping()], Must::Pong),
        case("6.5.2", "the largest frame size", &[setting(5, 16_777_215), get(1)], Must::Answer(1)),
        case("6.5.2", "the largest window", &[initial_window(0x7fff_ffff), get(1)], Must::Answer(1)),
        case("6.7", "PING", &[ping()], Must::Pong),
        case("6.7", "an acknowledgement of no PING", &[frame(kind::PING, ACK, 0, b"conforms")], Must::Nothing),
        case("6.9", "WINDOW_UPDATE of the connection", &[window(0, 1), get(1)], Must::Answer(1)),
        case("7", "RST_STREAM with no known code", &[post(1), reset(1, 0xff), ping()], Must::Pong),
        case("8.1", "GET", &[get(1)], Must::Answer(1)),
        case("8.1", "HEAD", &[frame(kind::HEADERS, 5, 1, &block("HEAD"))], Must::Answer(1)),
        case("8.1", "trailers", &[post(1), data(1, 0, b"test"), trailers(5)], Must::Answer(1)),
        // A server may end such a connection once it has answered; it may not refuse the answer.
        case("7", "GOAWAY with no known code after a request", &[get(1), goaway(0xff)], Must::Begin(1)),
        play("6.8", "GOAWAY, and then nothing", vec![Play::Say(goaway(0))], Must::Close),
        case("6.5.3", "two values of one setting", &[two_windows(), get(1)], Must::OneByte),
        play("6.9.1", "a window of one byte", vec![Play::Agree(initial_window(1)), Play::Say(get(1))], Must::OneByte),
        play(
            "6.9.2",
            "a window that grows by SETTINGS",
            vec![Play::Agree(initial_window(0)), Play::Say([get(1), initial_window(1)].concat())],
            Must::OneByte,
        ),
        play(
            "6.9.2",
            "a window that SETTINGS make negative",
            vec![
                Play::Agree(initial_window(3)),
                Play::Say(get(1)),
                Play::Data,
                Play::Say([initial_window(2), window(1, 2)].concat()),
            ],
            Must::OneByte,
        ),
        case("6.10", "fields in two frames", &in_pieces(&[more("x-a", 10)]), Must::Answer(1)),
        case("6.10", "fields in three frames", &in_pieces(&[more("x-a", 4000), more("x-b", 4000)]), Must::Answer(1)),
    ];
    // A table of fields may be filled and used in every way (RFC 7541 sections 6.1 to 6.3).
    let same = || block("GET");
    let ways: [(&'static str, Vec<u8>); 13] = [
        ("an indexed field", [same(), vec![0x80 | 58]].concat()),
        ("a literal to be kept, its name indexed", [same(), b"\x7a\x04weir".to_vec()].concat()),
        ("a literal to be kept, its value in Huffman's code", [same(), b"\x7a\x84\x9c\x48\xac\xa4".to_vec()].concat()),
        ("a literal to be kept", [same(), b"\x40\x03x-a\x04weir".to_vec()].concat()),
        ("a literal to be kept, and its index", [same(), b"\x40\x03x-a\x04weir\xbe".to_vec()].concat()),
        ("a literal, its name indexed", [same(), b"\x0f\x2b\x04weir".to_vec()].concat()),
        ("a literal", [same(), b"\x00\x03x-a\x04weir".to_vec()].concat()),
        ("a literal, its name in Huffman's code", [same(), b"\x00\x85\xf2\xb2\x4a\x84\xff\x04weir".to_vec()].concat()),
        ("a literal never to be kept, its name indexed", [same(), b"\x1f\x2b\x04weir".to_vec()].concat()),
        ("a literal never to be kept", [same(), b"\x10\x03x-a\x04weir".to_vec()].concat()),
        ("a table of no size", [vec![0x20], same()].concat()),
        ("a table of no size, and of 4096", [vec![0x20, 0x3f, 0xe1, 0x1f], same()].concat()),
        ("a table of 100 bytes", [vec![0x3f, 69], same()].concat()),
    ];
    all.extend(ways.map(|(what, block)| {
        case("7541 6", what, &[frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block)], Must::Answer(1))
    }));
    all
}

fn goaway(code: u32) -> Vec<u8> {
    frame(kind::GOAWAY, 0, 0, &[&[0; 4][..], &code.to_be_bytes()].concat())
}

fn trailers(flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags, 1, &fields(&[("x-sum", b"42")]))
}

/// HEADERS that say they have `said` bytes of padding, and have `had`.
pub(super) fn padded(said: u8, had: usize) -> Vec<u8> {
    frame(kind::HEADERS, 0x0d, 1, &[&[said][..], &block("GET"), &vec![0; had]].concat())
}

/// HEADERS of the first stream that says it depends on `on`.
pub(super) fn dependent(on: u32) -> Vec<u8> {
    frame(kind::HEADERS, 0x25, 1, &[&on.to_be_bytes()[..], &[15], &block("GET")].concat())
}

fn two_windows() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100, 0, 4, 0, 0, 0, 1])
}

/// A request whose fields go on in `pieces`.
fn in_pieces(pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = vec![frame(kind::HEADERS, END_STREAM, 1, &block("GET"))];
    let last = pieces.len() - 1;
    for (n, piece) in pieces.iter().enumerate() {
        all.push(frame(kind::CONTINUATION, if n == last { END_HEADERS } else { 0 }, 1, piece));
    }
    all
}
