//! HTTP/1 as seen on a wire by someone who must not be clever: heads as they came, bodies by their framing.
//!
//! Shared by the scripted members and the raw client, so that both sides of a proxy are judged alike. Written on its
//! own, not with the product's parser: a test that shares its mistakes would not see them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// How a stream stopped giving bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN: the other side said all it had to say.
    Closed,
    /// RST.
    Reset,
    /// Nothing came in time; the connection stands.
    Idle,
}

/// How a body was delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By Content-Length.
    Length,
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// Start line and fields, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The bytes, blank line included.
    pub raw: Vec<u8>,
    /// First line.
    pub start: String,
    /// Names as written, values trimmed.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads what ends in a blank line.
    pub fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter(|line| !line.is_empty()).map(field).collect();
        Self { raw, start, fields }
    }

    /// Value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Values of all fields of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The `n`th word of the start line.
    pub fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }

    /// True if the body is chunked.
    pub fn chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"))
    }

    /// Content-Length, if there is a sound one.
    pub fn length(&self) -> Option<usize> {
        self.get("content-length")?.parse().ok()
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

/// A body with what came after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Its bytes, chunks taken apart.
    pub data: Vec<u8>,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// How it was cut short, if it was.
    pub cut: Option<End>,
}

/// A TCP stream with a reading buffer and deadlines.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How long a read waits before it says [`End::Idle`].
    pub patience: Duration,
    /// Everything received, for those who look at bytes.
    pub received: Vec<u8>,
}

impl Wire {
    /// Takes a connected stream.
    pub fn new(stream: TcpStream, patience: Duration) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), patience, received: Vec::new() }
    }

    /// The stream below.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of it, or tells that the other side is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), End> {
        self.stream.write_all(bytes.as_ref()).map_err(|_| End::Reset)
    }

    /// FIN; what comes back is still read.
    pub fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// RST.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Takes what was received and not yet taken.
    pub fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Waits for more bytes, at most `patience`.
    pub fn fill_within(&mut self, patience: Duration) -> Result<usize, End> {
        let deadline = Instant::now() + patience;
        let mut chunk = [0; 65536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Closed),
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    self.received.extend_from_slice(&chunk[..n]);
                    return Ok(n);
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(End::Idle);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Reset),
            }
        }
    }

    fn fill(&mut self) -> Result<usize, End> {
        self.fill_within(self.patience)
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(n);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Everything up to and with the blank line.
    pub fn head(&mut self) -> Result<Head, End> {
        loop {
            if let Some(end) = head_end(&self.buffer) {
                return Ok(Head::parse(self.take(end)));
            }
            self.fill()?;
        }
    }

    /// Exactly `n` bytes.
    pub fn exact(&mut self, n: usize) -> Result<Vec<u8>, End> {
        while self.buffer.len() < n {
            self.fill()?;
        }
        Ok(self.take(n))
    }

    /// What is there; waits for at least one byte.
    pub fn some(&mut self) -> Result<Vec<u8>, End> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(self.take_pending())
    }

    /// A line without its end.
    pub fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(n) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.take(n + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            self.fill()?;
        }
    }

    /// Everything until the other side ends.
    pub fn to_end(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// `n` bytes of body, or what came of them.
    pub fn body_of_length(&mut self, n: usize) -> Body {
        while self.buffer.len() < n {
            if let Err(end) = self.fill() {
                let data = std::mem::take(&mut self.buffer);
                return Body { data, trailers: Vec::new(), cut: Some(end) };
            }
        }
        Body { data: self.take(n), ..Body::default() }
    }

    /// A chunked body, or what came of it.
    pub fn body_in_chunks(&mut self) -> Body {
        let mut body = Body::default();
        body.cut = self.chunks_into(&mut body).err();
        body
    }

    fn chunks_into(&mut self, body: &mut Body) -> Result<(), End> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let Ok(mut left) = usize::from_str_radix(digits, 16) else {
                panic!("the proxy sent a chunk size that is none: {line:?}")
            };
            if left == 0 {
                break;
            }
            while left > 0 {
                if self.buffer.is_empty() {
                    self.fill()?;
                }
                let n = left.min(self.buffer.len());
                body.data.extend(self.take(n));
                left -= n;
            }
            assert_eq!(self.exact(2)?, b"\r\n", "the proxy sent a chunk longer than its size");
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            body.trailers.push(field(&line));
        }
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|n| n + 4);
    let lf = bytes.windows(2).position(|w| w == b"\n\n").map(|n| n + 2);
    match (crlf, lf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// `n` bytes that differ from their neighbours, so that a lost or doubled piece shows.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| b'a' + u8::try_from((i / 3 + i / 1021) % 26).unwrap()).collect()
}

/// `data` in chunks of `size`, without the last chunk.
pub fn chunks(data: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() * 2);
    for chunk in data.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out
}
