//! The chunked coding, RFC 9112 section 7.1: decoded strictly as it arrives, encoded anew for the other side.
//!
//! Sizes, extensions and trailers are each bounded, however the bytes are cut. Extensions end here: they mean
//! nothing beyond one hop. Of members, not of clients, white space behind a size is taken: old servers pad sizes with it, and it
//! ends here too.

use std::ops::Range;

use super::fields::{Kind, write_field};

/// Most bytes of one chunk-size line, extensions included.
const LINE_MAX: usize = 1024;
/// Most digits of a size, leading zeros included.
const SIZE_DIGITS_MAX: usize = 20;
/// Most bytes of a trailer section.
const TRAILERS_MAX: usize = 8 * 1024;
/// Most trailer fields.
const TRAILER_FIELDS_MAX: usize = 32;

/// The stream is not chunked coding, or beyond its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// What one call of [`Decoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where in the buffer the payload now stands in one piece.
    pub payload: Range<usize>,
    /// Bytes of the buffer that are done with; less than all only when the body ended before.
    pub consumed: usize,
    /// The last chunk and the trailers have been read.
    pub done: bool,
}

/// Decodes one body. Keeps no bytes but those of trailers.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    padded: bool,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    SizeStart,
    Size {
        size: u64,
        line: usize,
    },
    /// In white space behind a size.
    Padding {
        size: u64,
        line: usize,
    },
    Extension {
        size: u64,
        line: usize,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Decoder {
    /// Of a member's answer, where sizes may be padded.
    pub fn of_answer() -> Self {
        Self { padded: true, ..Self::default() }
    }

    /// Reads `buffer[range]`, moves the payload in it together, and says where it stands.
    pub fn decode(&mut self, buffer: &mut [u8], range: Range<usize>) -> Result<Decoded, BadChunk> {
        let (mut at, end) = (range.start, range.end);
        let mut payload = at..at;
        while at < end && self.state != State::Done {
            match self.state {
                State::Data { left } => {
                    let take = left.min((end - at) as u64) as usize;
                    if payload.is_empty() {
                        payload = at..at;
                    }
                    if payload.end != at {
                        buffer.copy_within(at..at + take, payload.end);
                    }
                    payload.end += take;
                    at += take;
                    let left = left - take as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                }
                State::Trailers => {
                    self.trailer_byte(buffer[at])?;
                    at += 1;
                }
                _ => {
                    self.state = self.state.step(buffer[at], self.padded)?;
                    at += 1;
                }
            }
        }
        Ok(Decoded { payload, consumed: at - range.start, done: self.state == State::Done })
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        if self.trailers.len() >= TRAILERS_MAX {
            return Err(BadChunk);
        }
        self.trailers.push(byte);
        if byte == b'\n' {
            let line_before = self.trailers.len().checked_sub(2).map(|at| self.trailers[at]);
            if line_before != Some(b'\r') {
                return Err(BadChunk);
            }
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::Done;
            }
        }
        Ok(())
    }

    /// Writes what ends the body on the other side: the last chunk, the trailers that may pass, an empty line.
    ///
    /// Fields that frame, route, authenticate, describe or control a message are no trailers and stop here (RFC 9110 section 6.5.1,
    /// which leaves their names to RFC 7231: sections 3.1, 3.3, 5.1, 7.1).
    /// Returns its size as HAProxy counts it for a log line: names and values of the trailers, and 1.
    pub fn write_end(&self, out: &mut Vec<u8>) -> Result<u64, BadChunk> {
        let mut counted = 1;
        out.extend_from_slice(b"0\r\n");
        if self.trailers.len() > 2 {
            let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
            let parsed = httparse::parse_headers(&self.trailers, &mut fields).map_err(|_| BadChunk)?;
            let httparse::Status::Complete((_, fields)) = parsed else { return Err(BadChunk) };
            for field in fields.iter().filter(|f| may_trail(f.name.as_bytes())) {
                let (name, value) = (field.name.as_bytes(), field.value.trim_ascii());
                write_field(out, name, value);
                counted += (name.len() + value.len()) as u64;
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(counted)
    }
}

fn may_trail(name: &[u8]) -> bool {
    let forbidden = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "expires",
        "forwarded",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "warning",
        "www-authenticate",
        "x-forwarded-for",
    ];
    Kind::of(name) == Kind::Other && !forbidden.iter().any(|f| name.eq_ignore_ascii_case(f.as_bytes()))
}

impl State {
    /// One byte of the framing around the data. `padded`: sizes may be.
    fn step(self, byte: u8, padded: bool) -> Result<Self, BadChunk> {
        match self {
            Self::SizeStart => {
                let digit = hex(byte).ok_or(BadChunk)?;
                Ok(Self::Size { size: digit, line: 1 })
            }
            Self::Size { size, line } => match byte {
                b'\r' => Ok(Self::SizeLf { size }),
                b';' => Ok(Self::Extension { size, line: line + 1 }),
                // White space here is "bad" even to the grammar that allows it: refused, if it can be.
                b'\t' | b' ' if padded => Ok(Self::Padding { size, line: line + 1 }),
                _ => {
                    let digit = hex(byte).ok_or(BadChunk)?;
                    let too_big = size > u64::MAX >> 8 || line >= SIZE_DIGITS_MAX;
                    let size = Self::Size { size: (size << 4) | digit, line: line + 1 };
                    if too_big { Err(BadChunk) } else { Ok(size) }
                }
            },
            Self::Padding { size, line } => match byte {
                b'\r' => Ok(Self::SizeLf { size }),
                b';' => Ok(Self::Extension { size, line: line + 1 }),
                b'\t' | b' ' if line < LINE_MAX => Ok(Self::Padding { size, line: line + 1 }),
                _ => Err(BadChunk),
            },
            Self::Extension { size, line } => match byte {
                b'\r' => Ok(Self::SizeLf { size }),
                b'\t' | b' '..=b'~' | 0x80.. if line < LINE_MAX => Ok(Self::Extension { size, line: line + 1 }),
                _ => Err(BadChunk),
            },
            Self::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(Self::Trailers),
                (b'\n', left) => Ok(Self::Data { left }),
                _ => Err(BadChunk),
            },
            Self::DataCr if byte == b'\r' => Ok(Self::DataLf),
            Self::DataLf if byte == b'\n' => Ok(Self::SizeStart),
            _ => Err(BadChunk),
        }
    }
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// Writes the line that begins a chunk of `len` bytes, which must not be 0.
pub fn write_size(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0);
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let nibble = (len >> (place * 4)) & 15;
        out.push(b"0123456789abcdef"[nibble]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_in_pieces(input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool, Decoder), BadChunk> {
        decode_by(Decoder::default(), input, piece)
    }

    fn decode_by(
        mut decoder: Decoder,
        input: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, usize, bool, Decoder), BadChunk> {
        let (mut body, mut read) = (Vec::new(), 0);
        for part in input.chunks(piece.max(1)) {
            let mut buffer = part.to_vec();
            let decoded = decoder.decode(&mut buffer, 0..part.len())?;
            body.extend_from_slice(&buffer[decoded.payload]);
            read += decoded.consumed;
            if decoded.done {
                return Ok((body, read, true, decoder));
            }
        }
        Ok((body, read, false, decoder))
    }

    #[test]
    fn refuses_what_parsers_disagree_on() {
        for bad in [
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "\r\nhello",
            "5\nhello\r\n0\r\n\r\n",
            "5\rhello\r\n0\r\n\r\n",
            "5\r\nhelloX0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "g\r\n",
            "-1\r\n",
            "5;\0\r\nhello",
            "0\r\nA: b\n\r\n",
            "0\r\n\n",
            "000000000000000000000005\r\nhello\r\n",
        ] {
            for piece in [1, 2, 1000] {
                assert!(decode_in_pieces(bad.as_bytes(), piece).is_err(), "{bad:?}");
            }
        }
    }

    #[test]
    fn members_may_pad_their_sizes_and_clients_may_not() {
        for (padded, body) in [
            ("5  \r\nhello\r\n0 \r\n\r\n", &b"hello"[..]),
            ("5\t \t\r\nhello\r\n000000 \r\n\r\n", b"hello"),
            ("5 ; a = b \r\nhello\r\n0\t;\r\n\r\n", b"hello"),
        ] {
            for piece in [1, 2, 1000] {
                assert!(decode_in_pieces(padded.as_bytes(), piece).is_err(), "{padded:?}");
                let (taken, read, done, _) =
                    decode_by(Decoder::of_answer(), padded.as_bytes(), piece).expect("sound enough");
                assert_eq!((&taken[..], read, done), (body, padded.len(), true), "{padded:?}");
            }
        }
        let endless = format!("5{}\r\nhello\r\n0\r\n\r\n", " ".repeat(LINE_MAX));
        for bad in [
            " 5\r\nhello\r\n",
            "\t5\r\nhello\r\n",
            "5 5\r\n",
            "5 a\r\n",
            "5 \n",
            "5\x0b\r\n",
            " \r\n",
            " ;\r\n",
            &endless,
        ] {
            for piece in [1, 2, 1000] {
                assert!(decode_by(Decoder::of_answer(), bad.as_bytes(), piece).is_err(), "{bad:?}");
            }
        }
    }

    #[test]
    fn bounds_extensions_and_trailers() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(LINE_MAX));
        assert!(decode_in_pieces(long.as_bytes(), 100).is_err());
        let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILERS_MAX));
        assert!(decode_in_pieces(many.as_bytes(), 100).is_err());
    }

    #[test]
    fn passes_honest_trailers_only() {
        let input = b"3;x=\"y\"\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\nHost: evil\r\n\
            location: /evil\r\nExpires: 0\r\nAge: 1\r\nRetry-After: 9\r\nPragma: a\r\nWarning: 199 a\r\nContent-Location: /b\r\n\
            Content-Language: x\r\nETag: \"a\"\r\n\r\nrest";
        let (body, read, done, decoder) = decode_in_pieces(input, 4).expect("sound");
        assert_eq!((body.as_slice(), read, done), (&b"abc"[..], input.len() - 4, true));
        let mut out = Vec::new();
        decoder.write_end(&mut out).expect("sound");
        assert_eq!(out, b"0\r\nX-Sum: 7\r\nETag: \"a\"\r\n\r\n");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_is_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 0..6),
            piece in 1usize..700,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                write_size(chunk.len(), &mut wire);
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (body, read, done, _) = decode_in_pieces(&wire, piece).map_err(|_| TestCaseError::fail("refused"))?;
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(done && read == wire.len());
        }

        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let _ = decode_in_pieces(&input, piece);
        }
    }
}
