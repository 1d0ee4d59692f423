//! A body, taken out of its chunks or cut to its length, as far as it is looked at. Pure.

use lb_core::config::monitor::BODY_LOOKED_AT_MAX;

use super::head::Length;
use crate::words::{quoted, words};

/// Longest line that tells a chunk's size, extensions included.
const SIZE_LINE_MAX: usize = 256;

/// Collects the beginning of a body.
#[derive(Debug)]
pub struct BodyReader {
    text: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Exactly(u64),
    UntilClose,
    /// In the line that tells a chunk's size: what there is of it.
    ChunkSize(Vec<u8>),
    /// In a chunk: bytes of it that are missing, the line end after it included.
    Chunk(u64),
    Whole,
}

impl BodyReader {
    /// For a body of this length.
    pub fn new(length: Length) -> Self {
        let state = match length {
            Length::Exactly(0) => State::Whole,
            Length::Exactly(n) => State::Exactly(n),
            Length::Chunked => State::ChunkSize(Vec::new()),
            Length::UntilClose => State::UntilClose,
        };
        Self { text: Vec::new(), state }
    }

    /// What the body says, at most [`BODY_LOOKED_AT_MAX`] bytes.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// True if no more of it will be looked at.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole) || self.text.len() >= BODY_LOOKED_AT_MAX
    }

    /// The connection has ended: so has the body, if that is how it ends.
    pub fn end(&mut self) {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Whole;
        }
    }

    /// Takes the next bytes of the connection.
    pub fn take(&mut self, mut said: &[u8]) -> Result<(), Box<str>> {
        while !said.is_empty() && !self.is_whole() {
            said = match &mut self.state {
                State::Whole => return Ok(()),
                State::UntilClose => {
                    keep(&mut self.text, said);
                    &[]
                }
                State::Exactly(missing) => {
                    let (taken, rest) = split(said, *missing);
                    keep(&mut self.text, taken);
                    *missing -= taken.len() as u64;
                    if *missing == 0 {
                        self.state = State::Whole;
                    }
                    rest
                }
                State::ChunkSize(line) => {
                    let rest = take_line(line, said)?;
                    if line.last() == Some(&b'\n') {
                        self.state = match chunk_size(line)? {
                            0 => State::Whole,
                            size => State::Chunk(size + 2),
                        };
                    }
                    rest
                }
                State::Chunk(missing) => {
                    let (taken, rest) = split(said, *missing);
                    let payload = missing.saturating_sub(2).min(taken.len() as u64) as usize;
                    keep(&mut self.text, &taken[..payload]);
                    check_end(*missing - payload as u64, &taken[payload..])?;
                    *missing -= taken.len() as u64;
                    if *missing == 0 {
                        self.state = State::ChunkSize(Vec::new());
                    }
                    rest
                }
            };
        }
        Ok(())
    }
}

fn keep(text: &mut Vec<u8>, more: &[u8]) {
    let room = BODY_LOOKED_AT_MAX - text.len();
    text.extend_from_slice(&more[..more.len().min(room)]);
}

fn split(said: &[u8], missing: u64) -> (&[u8], &[u8]) {
    said.split_at(missing.min(said.len() as u64) as usize)
}

/// Adds to `line` up to its end; what is left of `said`.
fn take_line<'a>(line: &mut Vec<u8>, said: &'a [u8]) -> Result<&'a [u8], Box<str>> {
    let end = memchr::memchr(b'\n', said).map_or(said.len(), |at| at + 1);
    if line.len() + end > SIZE_LINE_MAX {
        return Err("a chunk whose size is no line".into());
    }
    line.extend_from_slice(&said[..end]);
    Ok(&said[end..])
}

fn chunk_size(line: &[u8]) -> Result<u64, Box<str>> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'));
    match size.and_then(|digits| u64::from_str_radix(digits, 16).ok()).filter(|size| *size <= u64::MAX / 2) {
        Some(size) => Ok(size),
        None => Err(words(&format!("a chunk of size {}", quoted(line)))),
    }
}

/// A chunk ends with CR LF, of which the last `missing` bytes are due and `said` is there.
fn check_end(missing: u64, said: &[u8]) -> Result<(), Box<str>> {
    let due = &b"\r\n"[2_usize.saturating_sub(missing as usize)..];
    if due.starts_with(said) { Ok(()) } else { Err("a chunk longer than its size".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and whether it is whole, the same however the bytes are cut.
    fn read(length: Length, said: &[u8]) -> Result<(String, bool), Box<str>> {
        let results: Vec<_> = [1, 2, 3, 7, said.len().max(1)]
            .map(|piece| {
                let mut body = BodyReader::new(length);
                said.chunks(piece).try_for_each(|part| body.take(part))?;
                Ok((String::from_utf8(body.text().to_vec()).unwrap(), body.is_whole()))
            })
            .into();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
        results[0].clone()
    }

    #[test]
    fn lengths_cut() {
        assert_eq!(read(Length::Exactly(5), b"hello, world"), Ok(("hello".to_owned(), true)));
        assert_eq!(read(Length::Exactly(50), b"hello"), Ok(("hello".to_owned(), false)));
        assert_eq!(read(Length::Exactly(0), b"hello"), Ok((String::new(), true)));
        assert_eq!(read(Length::UntilClose, b"hello"), Ok(("hello".to_owned(), false)));
    }

    #[test]
    fn chunks_are_joined() {
        let chunked = |said: &str| read(Length::Chunked, said.as_bytes());
        assert_eq!(chunked("3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"), Ok(("hello".to_owned(), true)));
        assert_eq!(chunked("a\r\nhel"), Ok(("hel".to_owned(), false)));
        assert!(chunked("zz\r\nhello").is_err());
        assert!(chunked("+5\r\nhello").is_err());
        assert!(chunked("\r\nhello").is_err());
        assert!(chunked("3\r\nhello\r\n").is_err(), "longer than its size");
        assert!(chunked("ffffffffffffffff\r\nx").is_err());
        assert!(chunked("10000000000000000\r\nx").is_err());
        assert!(chunked(&"1".repeat(300)).is_err());
    }

    #[test]
    fn only_so_much_is_kept() {
        let mut body = BodyReader::new(Length::UntilClose);
        for _ in 0..100 {
            body.take(&[b'x'; 1000]).unwrap();
        }
        assert!(body.is_whole());
        assert_eq!(body.text().len(), BODY_LOOKED_AT_MAX);
    }
}
