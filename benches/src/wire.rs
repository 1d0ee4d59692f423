//! Reading an answer as a client: just enough HTTP/1.1 to know where it ends.

use anyhow::bail;
use memchr::memmem;

/// Where an answer is.
#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    /// In the line of a chunk's size.
    Size,
    /// In a chunk and the line end behind it.
    Chunk(u64),
    /// In the lines behind the last chunk.
    Trailer,
    UntilEnd,
}

/// One answer, fed as it comes.
#[derive(Debug)]
pub struct Answer {
    state: State,
    /// The unfinished head or line.
    line: Vec<u8>,
    /// It has told that the connection ends with it.
    pub close: bool,
    /// Body bytes so far.
    pub body: u64,
}

impl Default for Answer {
    fn default() -> Self {
        Self { state: State::Head, line: Vec::new(), close: false, body: 0 }
    }
}

impl Answer {
    /// Ready for the next one, keeping what is allocated.
    pub fn reset(&mut self) {
        self.line.clear();
        (self.state, self.close, self.body) = (State::Head, false, 0);
    }

    /// Takes bytes; true once the answer is complete. Anything but 200, and bytes behind the end, are errors.
    pub fn feed(&mut self, mut bytes: &[u8]) -> anyhow::Result<bool> {
        loop {
            match self.state {
                State::Head => {
                    // The head almost always comes in one piece.
                    let seen = self.line.len();
                    self.line.extend_from_slice(bytes);
                    let Some(end) = memmem::find(&self.line[seen.saturating_sub(3)..], b"\r\n\r\n") else {
                        return Ok(false);
                    };
                    let end = seen.saturating_sub(3) + end + 4;
                    bytes = &bytes[end - seen..];
                    self.line.truncate(end);
                    self.state = self.understand()?;
                    self.line.clear();
                }
                State::Length(0) if bytes.is_empty() => return Ok(true),
                State::Length(0) => bail!("{} bytes behind the answer", bytes.len()),
                State::Length(ref mut left) => {
                    let taken = (*left).min(bytes.len() as u64);
                    *left -= taken;
                    self.body += taken;
                    bytes = &bytes[taken as usize..];
                    if *left > 0 {
                        return Ok(false);
                    }
                }
                State::Size => {
                    let Some(rest) = self.line_end(bytes) else { return Ok(false) };
                    bytes = rest;
                    let digits = String::from_utf8_lossy(&self.line);
                    let Ok(size) = u64::from_str_radix(digits.trim(), 16) else { bail!("a chunk of size {digits:?}") };
                    self.line.clear();
                    self.body += size;
                    self.state = if size == 0 { State::Trailer } else { State::Chunk(size + 2) };
                }
                State::Chunk(ref mut left) => {
                    let taken = (*left).min(bytes.len() as u64);
                    *left -= taken;
                    bytes = &bytes[taken as usize..];
                    if *left > 0 {
                        return Ok(false);
                    }
                    self.state = State::Size;
                }
                State::Trailer => {
                    let Some(rest) = self.line_end(bytes) else { return Ok(false) };
                    bytes = rest;
                    if self.line == b"\r\n" {
                        self.state = State::Length(0);
                    }
                    self.line.clear();
                }
                State::UntilEnd => {
                    self.body += bytes.len() as u64;
                    return Ok(false);
                }
            }
        }
    }

    /// The connection has ended; an error unless that was the answer's end.
    pub fn end(&self) -> anyhow::Result<()> {
        match self.state {
            State::UntilEnd | State::Length(0) => Ok(()),
            _ => bail!("the connection ended within an answer"),
        }
    }

    /// Gathers a line; what is behind it.
    fn line_end<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
        let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.line.extend_from_slice(line);
        end.map(|_| rest)
    }

    fn understand(&mut self) -> anyhow::Result<State> {
        if !self.line.starts_with(b"HTTP/1.1 200") {
            let first = self.line.split(|b| *b == b'\r').next().unwrap_or_default();
            bail!("answered {:?}", String::from_utf8_lossy(first));
        }
        let mut state = State::UntilEnd;
        for line in self.line.split(|b| *b == b'\n').skip(1) {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                state = State::Length(String::from_utf8_lossy(value).parse()?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                state = State::Size;
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.close = value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

    #[test]
    fn an_answer_ends_where_it_ends_however_it_is_cut() {
        for (bytes, body) in [(CHUNKED, 19), (LENGTH, 5)] {
            for piece in 1..bytes.len() {
                let mut answer = Answer::default();
                let mut done = false;
                for part in bytes.chunks(piece) {
                    assert!(!done);
                    done = answer.feed(part).unwrap();
                }
                assert!(done, "in pieces of {piece}");
                assert_eq!(answer.body, body);
            }
        }
    }

    #[test]
    fn what_is_not_an_answer_in_full_is_an_error() {
        assert!(Answer::default().feed(b"HTTP/1.1 503 No\r\n\r\n").is_err());
        let mut answer = Answer::default();
        assert!(!answer.feed(&LENGTH[..LENGTH.len() - 1]).unwrap());
        assert!(answer.end().is_err());
        assert!(Answer::default().feed(&[LENGTH, b"x"].concat()).is_err());
    }
}
