//! What one stream sends, written as the body of a message in the text of HTTP/1.1.
//!
//! As much is taken as the peer has room for: that is the back-pressure. A body that breaks off resets its stream, so
//! that nobody takes it for whole (RFC 9113 section 8.1).

use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::h1::FIELDS_MAX;

/// Longest line of chunks' framing, and longest trailers, in bytes. What writes them writes less.
const LINE_MAX: usize = 16 * 1024;

/// How far a body is.
#[derive(Debug)]
pub enum Outgoing {
    /// So many bytes are to come.
    Length(SendStream<Bytes>, u64),
    /// Chunks are to come; the last: what was written of a line that is not whole yet, or of trailers.
    Chunks(SendStream<Bytes>, Chunk, Vec<u8>),
    /// Bytes are to come until the writer ends.
    UntilEnd(SendStream<Bytes>),
    /// It is whole.
    Done,
    /// It broke off.
    Broken,
}

/// What of a chunk comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The line with its size.
    Size,
    /// So many bytes of data.
    Data(u64),
    /// The line end after it.
    DataEnd,
    /// The lines after the last one.
    Trailers,
}

/// The stream is of no use any more.
pub fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Outgoing {
    /// A body in chunks.
    pub fn chunks(send: SendStream<Bytes>) -> Self {
        Self::Chunks(send, Chunk::Size, Vec::new())
    }

    /// Takes the next piece: a line of framing, or data. `bytes` is not empty.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = match self {
            Self::Length(send, left) => {
                let most = (bytes.len() as u64).min(*left) as usize;
                let taken = ready!(poll_send(send, cx, &bytes[..most], *left));
                if let Ok(n) = taken {
                    *left -= n as u64;
                    if *left == 0 {
                        *self = Self::Done;
                    }
                }
                taken
            }
            Self::UntilEnd(send) => ready!(poll_send(send, cx, bytes, u64::MAX)),
            Self::Chunks(send, chunk @ Chunk::Data(_), _) => {
                let Chunk::Data(left) = chunk else { return Poll::Ready(Err(broken())) };
                let most = (bytes.len() as u64).min(*left) as usize;
                let taken = ready!(poll_send(send, cx, &bytes[..most], u64::MAX));
                if let Ok(n) = taken {
                    *left -= n as u64;
                    if *left == 0 {
                        *chunk = Chunk::DataEnd;
                    }
                }
                taken
            }
            Self::Chunks(..) => self.take_line(bytes),
            Self::Done | Self::Broken => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        if taken.is_err() {
            *self = Self::Broken;
        }
        Poll::Ready(taken)
    }

    /// Takes one line of a chunk's framing, or of the trailers.
    fn take_line(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self::Chunks(send, chunk, line) = self else { return Err(broken()) };
        let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        let written = &bytes[..end];
        let is_whole = written.ends_with(b"\n");
        if !is_whole || *chunk == Chunk::Trailers || !line.is_empty() {
            if line.len() + end > LINE_MAX {
                return Err(broken());
            }
            line.extend_from_slice(written);
        }
        if !is_whole {
            return Ok(end);
        }
        let whole = if line.is_empty() { written } else { &line[..] };
        match chunk {
            Chunk::Size => {
                let size = std::str::from_utf8(whole.trim_ascii_end()).map_err(|_| broken())?;
                let size = u64::from_str_radix(size, 16).map_err(|_| broken())?;
                *chunk = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
            }
            Chunk::DataEnd => *chunk = Chunk::Size,
            Chunk::Trailers if whole == b"\r\n" => {
                send.send_data(Bytes::new(), true).map_err(|_| broken())?;
                *self = Self::Done;
                return Ok(end);
            }
            Chunk::Trailers if whole.ends_with(b"\r\n\r\n") => {
                send.send_trailers(trailers(whole)?).map_err(|_| broken())?;
                *self = Self::Done;
                return Ok(end);
            }
            Chunk::Trailers | Chunk::Data(_) => return Ok(end),
        }
        line.clear();
        Ok(end)
    }

    /// Ready when the peer has given the stream up.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Length(send, _) | Self::Chunks(send, ..) | Self::UntilEnd(send) => send.poll_reset(cx).map(|_| ()),
            Self::Done => Poll::Pending,
            Self::Broken => Poll::Ready(()),
        }
    }

    /// The writer has nothing more to say.
    pub fn finish(&mut self) {
        if let Self::UntilEnd(send) = self {
            let _ = send.send_data(Bytes::new(), true);
            *self = Self::Done;
        }
    }

    /// Breaks it off, so that the peer sees it.
    pub fn reset(&mut self, reason: Reason) {
        match self {
            Self::Length(send, _) | Self::Chunks(send, ..) | Self::UntilEnd(send) => send.send_reset(reason),
            Self::Done | Self::Broken => return,
        }
        *self = Self::Broken;
    }
}

/// Sends what the peer has room for; `left` says how much is to come in all.
fn poll_send(send: &mut SendStream<Bytes>, cx: &mut Context<'_>, bytes: &[u8], left: u64) -> Poll<io::Result<usize>> {
    send.reserve_capacity(bytes.len());
    let capacity = loop {
        match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                Some(Ok(capacity)) => break capacity,
                Some(Err(_)) | None => return Poll::Ready(Err(broken())),
            },
            capacity => break capacity,
        }
    };
    let n = capacity.min(bytes.len());
    let sent = send.send_data(Bytes::copy_from_slice(&bytes[..n]), left == n as u64);
    Poll::Ready(sent.map(|()| n).map_err(|_| broken()))
}

fn trailers(lines: &[u8]) -> io::Result<HeaderMap> {
    let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(lines, &mut table) else {
        return Err(broken());
    };
    let mut trailers = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        trailers.append(name(field)?, HeaderValue::from_bytes(field.value.trim_ascii()).map_err(|_| broken())?);
    }
    Ok(trailers)
}

/// Room for the fields of one head.
pub type Table<'b> = [MaybeUninit<httparse::Header<'b>>; FIELDS_MAX + 8];

/// The name of `field`, in lower case (RFC 9113 section 8.2).
pub fn name(field: &httparse::Header<'_>) -> io::Result<HeaderName> {
    HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| broken())
}

/// The value of `field`, which lies in `head`, as a part of `kept`, which is a copy of `head`.
pub fn value(field: &httparse::Header<'_>, head: &[u8], kept: &Bytes) -> io::Result<HeaderValue> {
    let written = field.value.trim_ascii();
    if written.is_empty() {
        return Ok(HeaderValue::from_static(""));
    }
    let start = (written.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
    let end = start.checked_add(written.len()).filter(|end| *end <= kept.len()).ok_or_else(broken)?;
    HeaderValue::from_maybe_shared(kept.slice(start..end)).map_err(|_| broken())
}
