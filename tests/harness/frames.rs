//! HTTP/2 by hand: frames written and read as bytes, so that a test may say what no library would (RFC 9113).
//!
//! Fields are written without compression and without a table; of an answer's fields only the status is read.

use std::net::{SocketAddr, TcpStream};

use crate::message::{End, Wire};
use crate::wait::PATIENCE;

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, by their numbers.
pub mod kind {
    #![allow(missing_docs, reason = "the names are RFC 9113's")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Error codes, by their numbers.
pub mod code {
    #![allow(missing_docs, reason = "the names are RFC 9113's")]
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Of DATA and HEADERS: the message ends here. Of SETTINGS and PING: an acknowledgement.
pub const END_STREAM: u8 = 1;
/// See [`END_STREAM`].
pub const ACK: u8 = 1;
/// Of HEADERS and CONTINUATION: the fields end here.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// As on the wire.
    pub flags: u8,
    /// 0: the connection itself.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The big-endian number at the start of its payload: an error code, or the last stream of GOAWAY.
    pub fn number(&self, at: usize) -> u32 {
        self.payload.get(at..at + 4).map_or(0, |four| u32::from_be_bytes(four.try_into().unwrap()))
    }

    /// It ends its stream's message.
    pub fn ends(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM > 0
    }
}

/// A frame in bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Fields as HPACK writes them at its plainest: new names, literal, not to be remembered.
pub fn fields(list: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        for text in [name.as_bytes(), value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer of seven bits and more (RFC 7541 section 5.1).
fn integer(mut n: usize, block: &mut Vec<u8>) {
    if n < 127 {
        block.push(n as u8);
        return;
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push((n % 128 + 128) as u8);
        n /= 128;
    }
    block.push(n as u8);
}

/// Pseudo-fields of a request, and more fields.
pub fn request_fields(method: &str, path: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let pseudo: [(&str, &[u8]); 4] = [
        (":method", method.as_bytes()),
        (":scheme", b"http"),
        (":authority", b"example.org"),
        (":path", path.as_bytes()),
    ];
    fields(&[&pseudo[..], more].concat())
}

/// The status at the start of an answer's fields.
pub fn status(block: &[u8]) -> Option<u16> {
    // The size of the table may be told before.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block[start] {
        indexed @ 0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
        _ => {
            let len = block.get(start + 1)?;
            let value = block.get(start + 2..start + 2 + usize::from(len & 0x7f))?;
            let text = if len & 0x80 > 0 { digits(value) } else { String::from_utf8(value.to_vec()).ok()? };
            text.parse().ok()
        }
    }
}

/// Three digits in Huffman's code (RFC 7541 appendix B).
fn digits(bytes: &[u8]) -> String {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut rest, mut text) = (&bits[..], String::new());
    while text.len() < 3 && rest.len() >= 5 {
        let (digit, len) = match (u8::from_str_radix(&rest[..5], 2).unwrap(), rest.get(..6)) {
            (low @ 0..=2, _) => (low, 5),
            (_, Some(six)) => (u8::from_str_radix(six, 2).unwrap().wrapping_sub(0b011001) + 3, 6),
            _ => break,
        };
        text.push(char::from(b'0' + digit));
        rest = &rest[len..];
    }
    text
}

/// How a stream went for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, whole.
    Answered(u16, Vec<u8>),
    /// The stream was reset.
    Reset(u32),
    /// The whole connection was given up, with this code.
    GoAway(u32),
    /// It ended without a word.
    Closed,
    /// Nothing happened in time.
    Silent,
}

impl Outcome {
    /// The status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(status, _) => Some(*status),
            _ => None,
        }
    }

    /// True if the other side gave the stream or the connection up for the client's fault.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Reset(_) | Self::Closed) || matches!(self, Self::GoAway(code) if *code != 0)
    }
}

/// One side of a connection in the hands of a test.
#[derive(Debug)]
pub struct Speaker {
    wire: Wire,
    /// Frames read and not asked for yet.
    pub heard: Vec<Frame>,
    /// Gives room for what it takes, as a good client does.
    pub gives_room: bool,
}

impl Speaker {
    /// Connects, begins, and waits until the other side has begun too.
    pub fn connect(to: SocketAddr) -> Self {
        let mut speaker = Self::silent(to);
        // No table for compression: fields are then readable on their own.
        speaker.send(PREFACE);
        speaker.send(frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]));
        speaker
    }

    /// Connects, and says nothing yet.
    pub fn silent(to: SocketAddr) -> Self {
        Self { wire: Wire::new(TcpStream::connect(to).unwrap(), PATIENCE), heard: Vec::new(), gives_room: true }
    }

    /// Sends bytes; a connection that is gone is noticed when reading.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.send(bytes);
    }

    /// Sends bytes, or tells that the other side is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), End> {
        self.wire.send(bytes)
    }

    /// Asks without a body.
    pub fn ask(&mut self, stream: u32, method: &str, path: &str) {
        self.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &request_fields(method, path, &[])));
    }

    /// How long it waits for a frame.
    pub fn patience(&mut self, patience: std::time::Duration) {
        self.wire.patience = patience;
    }

    /// The next frame. SETTINGS and PING are acknowledged on the way.
    pub fn hear(&mut self) -> Result<Frame, End> {
        let head = self.wire.exact(9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff;
        let frame_read = Frame { kind: head[3], flags: head[4], stream, payload: self.wire.exact(len)? };
        match frame_read.kind {
            kind::SETTINGS if frame_read.flags & ACK == 0 => self.send(frame(kind::SETTINGS, ACK, 0, &[])),
            kind::PING if frame_read.flags & ACK == 0 => self.send(frame(kind::PING, ACK, 0, &frame_read.payload)),
            kind::DATA if self.gives_room && len > 0 => {
                let room = u32::try_from(len).unwrap().to_be_bytes();
                self.send(frame(kind::WINDOW_UPDATE, 0, 0, &room));
                if !frame_read.ends() {
                    self.send(frame(kind::WINDOW_UPDATE, 0, stream, &room));
                }
            }
            _ => {}
        }
        Ok(frame_read)
    }

    /// Reads until that frame comes.
    pub fn until(&mut self, mut is_it: impl FnMut(&Frame) -> bool) -> Result<Frame, End> {
        loop {
            let next = self.hear()?;
            if is_it(&next) {
                return Ok(next);
            }
            self.heard.push(next);
        }
    }

    /// Reads until it is clear what became of a stream. Interim answers are skipped.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut status_read, mut body) = (None, Vec::new());
        let mut goaway = None;
        loop {
            let at = self.heard.iter().position(|f| f.stream == stream || f.kind == kind::GOAWAY);
            let next = match at {
                Some(at) => self.heard.remove(at),
                None => match self.hear() {
                    Ok(next) => next,
                    Err(End::Idle) => return Outcome::Silent,
                    Err(_) => return goaway.map_or(Outcome::Closed, Outcome::GoAway),
                },
            };
            let ends = next.stream == stream && next.ends();
            match next.kind {
                kind::GOAWAY if next.number(4) != code::NO_ERROR => return Outcome::GoAway(next.number(4)),
                kind::GOAWAY => goaway = Some(next.number(4)),
                _ if next.stream != stream => self.heard.push(next),
                kind::RST_STREAM => return Outcome::Reset(next.number(0)),
                kind::HEADERS if status_read.is_none() => {
                    status_read = status(&next.payload).filter(|status| *status >= 200);
                }
                kind::DATA => body.extend_from_slice(&next.payload),
                _ => {}
            }
            if ends {
                return Outcome::Answered(status_read.unwrap_or(0), body);
            }
        }
    }
}
