//! Every way of hiding one framing field behind another that the public collections know, made rather than listed: each odd
//! byte at each odd place.
//!
//! In each there are two lengths, one of them obfuscated. Whoever believes the obfuscated one finds a request for
//! `/hidden` outside of the body; it must never arrive.

use super::court::{Case, Court, post, safe};

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: weir.test\r\nX-A: b\r\n\r\n";

/// Control characters, white space, separators, and bytes with eight bits that some libraries take for white space.
fn odd_bytes() -> impl Iterator<Item = u8> {
    (0..=32).chain(*b"\"#%'(),:;=\\_`{|}").chain([0x7f, 0x80, 0x84, 0x85, 0x9f, 0xa0, 0xad, 0xc2, 0xe2, 0xef, 0xff])
}

/// A line for `name: value` with `byte` at every place where one can stand.
fn lines(name: &str, value: &str, byte: u8) -> Vec<(&'static str, Vec<u8>)> {
    let join = |parts: &[&[u8]]| parts.concat();
    let (name, value, byte) = (name.as_bytes(), value.as_bytes(), &[byte][..]);
    let (half, rest) = name.split_at(name.len() / 2);
    let (first, last) = value.split_at(1);
    vec![
        ("before the name", join(&[byte, name, b": ", value, b"\r\n"])),
        ("in the name", join(&[half, byte, rest, b": ", value, b"\r\n"])),
        (
            "for the hyphen",
            join(&[
                &name.iter().map(|b| if *b == b'-' { byte[0] } else { *b }).collect::<Vec<_>>(),
                b": ",
                value,
                b"\r\n",
            ]),
        ),
        ("behind the name", join(&[name, byte, b": ", value, b"\r\n"])),
        ("for the colon", join(&[name, byte, value, b"\r\n"])),
        ("behind the colon", join(&[name, b":", byte, value, b"\r\n"])),
        ("behind the space", join(&[name, b": ", byte, value, b"\r\n"])),
        ("in the value", join(&[name, b": ", first, byte, last, b"\r\n"])),
        ("behind the value", join(&[name, b": ", value, byte, b"\r\n"])),
        ("before another word", join(&[name, b": ", value, byte, b"x\r\n"])),
        ("behind another word", join(&[name, b": x", byte, value, b"\r\n"])),
        ("for the line end before", join(&[b"X-A: b", byte, name, b": ", value, b"\r\n"])),
        ("behind CR", join(&[b"X-A: b\r", byte, name, b": ", value, b"\r\n"])),
        ("before LF", join(&[b"X-A: b", byte, b"\n", name, b": ", value, b"\r\n"])),
        ("for the line end behind", join(&[name, b": ", value, byte, b"X-A: b\r\n"])),
        ("before LF behind", join(&[name, b": ", value, byte, b"\nX-A: b\r\n"])),
        ("behind CR LF", join(&[b"X-A: b\r\n", byte, name, b": ", value, b"\r\n"])),
        ("alone in a line", join(&[byte, b"\r\n", name, b": ", value, b"\r\n"])),
        ("in quotes", join(&[name, b": \"", byte, value, b"\"\r\n"])),
        ("twice", join(&[byte, byte, name, byte, b":", byte, value, byte, b"\r\n"])),
    ]
}

fn all(name: &str, value: &str, honest: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in odd_bytes() {
        for (place, line) in lines(name, value, byte) {
            cases.push(safe(format!("{name}: {byte:#04x} {place}"), "RFC 9112 6.3, 11.2", honest(&line)));
        }
    }
    cases
}

/// The length is honest and covers all of the body; who believes the coding finds the request behind the last chunk.
#[test]
fn hidden_codings_are_not_believed() {
    let body = format!("0\r\n\r\n{HIDDEN}");
    let length = format!("Content-Length: {}\r\n", body.len());
    let court = Court::new();
    court.try_all(&all("Transfer-Encoding", "chunked", |line| post([length.as_bytes(), line].concat(), &body)));
    court.try_all(&all("Transfer-Encoding", "chunked", |line| post([line, length.as_bytes()].concat(), &body)));
}

/// The chunks are honest; who believes the length finds the request behind the size of the first one.
#[test]
fn hidden_lengths_are_not_believed() {
    let body = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let chunked = b"Transfer-Encoding: chunked\r\n";
    let court = Court::new();
    court.try_all(&all("Content-Length", "4", |line| post([&chunked[..], line].concat(), &body)));
    court.try_all(&all("Content-Length", "4", |line| post([line, &chunked[..]].concat(), &body)));
}

/// One length is honest; another one, obfuscated, is shorter.
#[test]
fn hidden_second_lengths_are_not_believed() {
    let length = format!("Content-Length: {}\r\n", HIDDEN.len());
    let court = Court::new();
    court.try_all(&all("Content-Length", "0", |line| post([length.as_bytes(), line].concat(), HIDDEN)));
}

/// Good and bad requests with bytes changed, lost and doubled: whatever becomes of them, what arrives is canonical.
#[test]
fn whatever_is_changed_what_arrives_is_canonical() {
    let seeds = [
        post("Content-Length: 5\r\nX-A: b\r\n", "hello"),
        post("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"),
        post("Connection: X-A, close\r\nX-A: b\r\nContent-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        b"GET http://other.test:81/p?q HTTP/1.1\r\nHost: weir.test\r\nTE: trailers\r\nCookie: a=b\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.1\r\nHost: weir.test\r\n\r\n".to_vec(),
        post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let odd: Vec<u8> = odd_bytes().chain(*b"0159afxAX-:/.*").collect();
    let mut cases = Vec::new();
    for round in 0..1500 {
        let mut bytes = seeds[draw(seeds.len())].clone();
        for _ in 0..=draw(3) {
            let at = draw(bytes.len());
            match draw(5) {
                0 => bytes[at] = odd[draw(odd.len())],
                1 => bytes.insert(at, odd[draw(odd.len())]),
                2 => drop(bytes.remove(at)),
                3 => {
                    let end = (at + draw(20)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = draw(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let end = (at + draw(10)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'G');
            }
        }
        cases.push(safe(format!("round {round}"), "RFC 9112", bytes));
    }
    Court::new().try_all(&cases);
}
