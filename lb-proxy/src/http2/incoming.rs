//! What one stream receives, as a message in the text of HTTP/1.1: a head that is given, then the body as it comes.
//!
//! The peer may send as much as has been read: that is the back-pressure.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use http::HeaderMap;

use super::io::Budget;
use crate::http::h1::fields;

/// Bytes of frames that a frame of data justifies coming with it: one for so many of its own, and so many at least.
const DATA_FOR_ONE: i64 = 16;
const FRAME_MIN: i64 = 64;

/// See the module.
#[derive(Debug)]
pub struct Incoming {
    /// Text to be read before anything else.
    text: Vec<u8>,
    text_at: usize,
    /// Data to be read after the text.
    data: Bytes,
    /// The rest of the message; `None`: it is whole.
    rest: Option<RecvStream>,
    body: Body,
    budget: Rc<Budget>,
}

/// How the body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In chunks, having no length.
    Chunks,
    /// To its length: so many bytes are still to be read.
    Length(u64),
}

impl Incoming {
    /// A message whose head is `text`. `rest`: what follows it, if anything does.
    pub fn new(text: Vec<u8>, rest: Option<RecvStream>, body: Body, budget: Rc<Budget>) -> Self {
        Self { text, text_at: 0, data: Bytes::new(), rest, body, budget }
    }

    /// Reads as much as is there; `None` once all of it has been read.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Result<Option<usize>, h2::Error>> {
        let mut read = 0;
        while read < room.len() {
            let n = self.take(&mut room[read..]);
            read += n;
            if n > 0 {
                continue;
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(true)) => {}
                // What was read before it broke is worth having; that it broke is told the next time.
                _ if read > 0 => break,
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(Some(read)))
    }

    /// Throws away as much as is there; `None`: nothing more will come.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        while self.data.is_empty() {
            match std::task::ready!(self.poll_more(cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(None),
            }
        }
        let discarded = std::mem::take(&mut self.data).len();
        if let Some(rest) = &mut self.rest {
            let _ = rest.flow_control().release_capacity(discarded);
        }
        Poll::Ready(Some(discarded))
    }

    /// Ready when there is something to read, or nothing more will come.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.text_at == self.text.len() && self.data.is_empty() {
            match std::task::ready!(self.poll_more(cx)) {
                Ok(true) if self.rest.is_some() => {}
                Ok(_) => return Poll::Ready(Ok(())),
                Err(_) => return Poll::Ready(Err(super::outgoing::broken())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Its stream, if all of it was read and only the stream's end has not come.
    pub fn into_rest(self) -> Option<RecvStream> {
        let is_read = self.body == Body::Length(0) && self.data.is_empty() && self.text_at == self.text.len();
        self.rest.filter(|_| is_read)
    }

    /// True if all of it was read, even if its end has not come.
    pub fn is_read(&self) -> bool {
        self.text_at == self.text.len() && (self.rest.is_none() || self.body == Body::Length(0))
    }

    /// Takes from what is there.
    fn take(&mut self, room: &mut [u8]) -> usize {
        if self.text_at < self.text.len() {
            let n = (self.text.len() - self.text_at).min(room.len());
            room[..n].copy_from_slice(&self.text[self.text_at..self.text_at + n]);
            self.text_at += n;
            return n;
        }
        if self.data.is_empty() {
            return 0;
        }
        let n = self.data.len().min(room.len());
        self.data.copy_to_slice(&mut room[..n]);
        if let Some(rest) = &mut self.rest {
            // The peer may send as much again. A stream that is gone has no window.
            let _ = rest.flow_control().release_capacity(n);
        }
        match &mut self.body {
            Body::Length(left) => *left = left.saturating_sub(n as u64),
            Body::Chunks if self.data.is_empty() => self.say(|text| text.extend_from_slice(b"\r\n")),
            Body::Chunks => {}
        }
        n
    }

    /// Waits for more; false: there will be none.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, h2::Error>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(Ok(false)) };
        match std::task::ready!(rest.poll_data(cx)) {
            Some(data) => {
                let data = data?;
                if !data.is_empty() {
                    self.budget.earn((data.len() as i64 / DATA_FOR_ONE).max(FRAME_MIN));
                }
                if self.body == Body::Chunks && !data.is_empty() {
                    self.say(|text| crate::http::h1::chunked::write_size(data.len(), text));
                }
                self.data = data;
            }
            None => {
                let trailers = std::task::ready!(rest.poll_trailers(cx))?;
                self.rest = None;
                if self.body == Body::Chunks {
                    self.say(|text| write_end(trailers.as_ref(), text));
                }
            }
        }
        Poll::Ready(Ok(true))
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        self.text_at = 0;
        write(&mut self.text);
    }
}

/// The end of a body in chunks.
fn write_end(trailers: Option<&HeaderMap>, text: &mut Vec<u8>) {
    text.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        fields::write_field(text, name.as_str().as_bytes(), value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
}
