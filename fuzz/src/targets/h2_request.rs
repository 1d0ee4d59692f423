//! Whatever fields a stream of HTTP/2 opens with, what a member gets of it is one request in HTTP/1.1 with the same method, target,
//! host, fields and body, or none; and one that breaks off never looks whole. One for a WebSocket (RFC 8441) is the one that asks for it
//! in HTTP/1.1 (RFC 6455).
//!
//! An input is text: a line for each field (`name: value`), those behind a body with `~` before them, `!` alone for a stream that is not
//! ended; an empty line; then data, cut at each byte 0xfe.

use crate::drive_h2::requests;
use crate::forwarded;
use crate::reference::{self, Fields, How, Message};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Default)]
struct Said {
    fields: Fields,
    trailers: Fields,
    is_open: bool,
    data: Vec<Vec<u8>>,
}

pub(super) fn run(bytes: &[u8]) {
    let said = read(bytes);
    let forwarded = requests(&frames(&said));
    assert!(forwarded.len() <= 1, "one stream, one request");
    let Some(forwarded) = forwarded.first() else { return };
    let got = reference::request(&forwarded.to_member);
    if forwarded.whole == 0 {
        return assert!(got.is_err(), "what broke off or was refused looks whole");
    }
    let got = got.unwrap_or_else(|fault| panic!("what is forwarded is no request: {fault:?}"));
    assert_eq!(got.len, forwarded.to_member.len(), "one request and no more");
    let is_tunnel = said.fields.iter().any(|field| field.0 == b":protocol");
    assert!(is_tunnel || !said.is_open, "a request without an end looks whole");
    let mut got = Message { how: How::Nothing, ..forwarded::normal(got) };
    if is_tunnel {
        let keys: Vec<_> = got.values("sec-websocket-key").map(<[u8]>::len).collect();
        assert_eq!(keys, [24], "a key of our own");
        got.fields.retain(|field| field.0 != b"sec-websocket-key");
    }
    assert_eq!(got, asked_for(&said, is_tunnel));
}

fn read(bytes: &[u8]) -> Said {
    let mut said = Said::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            said.data = rest.split(|byte| *byte == 0xfe).map(<[u8]>::to_vec).collect();
            break;
        }
        if line == b"!" {
            said.is_open = true;
        } else if let Some(line) = line.strip_prefix(b"~") {
            said.trailers.push(field(line));
        } else {
            said.fields.push(field(line));
        }
    }
    said
}

/// The colon that parts a name from its value is not the one a name begins with.
fn field(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let colon = line.windows(2).skip(1).position(|two| two == b": ").map(|place| place + 1);
    match colon {
        Some(colon) => (line[..colon].to_vec(), line[colon + 2..].to_vec()),
        None => (line.to_vec(), Vec::new()),
    }
}

fn frames(said: &Said) -> Vec<u8> {
    let mut frames = frame(SETTINGS, 0, 0, &[]);
    let has_end = |is_last: bool| if is_last && !said.is_open { END_STREAM } else { 0 };
    let is_bare = said.data.is_empty() && said.trailers.is_empty();
    frames.extend(frame(HEADERS, END_HEADERS | has_end(is_bare), 1, &block(&said.fields)));
    for (place, piece) in said.data.iter().enumerate() {
        let is_last = said.trailers.is_empty() && place + 1 == said.data.len();
        frames.extend(frame(DATA, has_end(is_last), 1, piece));
    }
    if !said.trailers.is_empty() {
        frames.extend(frame(HEADERS, END_HEADERS | has_end(true), 1, &block(&said.trailers)));
    }
    frames
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Literal fields with literal names, which no table remembers (RFC 7541 section 6.2.2).
fn block(fields: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_len(text.len(), &mut block);
            block.extend(text);
        }
    }
    block
}

/// RFC 7541 section 5.1, of seven bits.
fn write_len(len: usize, out: &mut Vec<u8>) {
    if len < 127 {
        return out.push(len as u8);
    }
    out.push(127);
    let mut rest = len - 127;
    while rest >= 128 {
        out.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// The request in HTTP/1.1 that was said (RFC 9113 section 8.3.1), as it is to be forwarded.
fn asked_for(said: &Said, is_tunnel: bool) -> Message {
    let one = |name: &str| {
        let mut values = said.fields.iter().filter(|field| field.0 == name.as_bytes()).map(|field| &field.1);
        let value = values.next().cloned();
        assert!(values.next().is_none(), "{name} twice");
        value
    };
    let mut fields = Fields::new();
    let mut cookies = Vec::new();
    let authority = one(":authority");
    for (name, value) in said.fields.iter().filter(|field| field.0[0] != b':') {
        match &name[..] {
            b"cookie" => cookies.push(value.clone()),
            b"host" if authority.is_some() => {}
            b"sec-websocket-key" if is_tunnel => {}
            _ => fields.push((name.clone(), value.trim_ascii().to_vec())),
        }
    }
    fields.extend(authority.map(|host| (b"host".to_vec(), host)));
    if !cookies.is_empty() {
        fields.push((b"cookie".to_vec(), cookies.join(&b"; "[..]).trim_ascii().to_vec()));
    }
    let has_length = fields.iter().any(|field| field.0 == b"content-length");
    let trimmed = said.trailers.iter().map(|(name, value)| (name.clone(), value.trim_ascii().to_vec()));
    let mut start = [one(":method").expect("a method"), one(":path").expect("a path"), b"HTTP/1.1".to_vec()];
    // Nothing stands behind a body of a length.
    let mut trailers = if has_length { Fields::new() } else { trimmed.collect() };
    let mut body = said.data.concat();
    if is_tunnel {
        assert_eq!((&*start[0], one(":protocol").as_deref()), (&b"CONNECT"[..], Some(&b"websocket"[..])));
        start[0] = b"GET".to_vec();
        fields.push((b"connection".to_vec(), b"upgrade".to_vec()));
        fields.push((b"upgrade".to_vec(), b"websocket".to_vec()));
        // What is said in it is no body.
        (body, trailers) = (Vec::new(), Fields::new());
    }
    forwarded::request(Message { start, fields, how: How::Nothing, body, trailers, len: 0 })
}
