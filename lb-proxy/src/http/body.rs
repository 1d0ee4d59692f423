//! Bodies on their way: read from one side, framed anew for the other, a buffer's worth at a time.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::ops::Range;

use super::answer::Told;
use super::h1::Framing;
use super::h1::chunked::{self, Decoder};
use crate::buffer::{Buffer, Sheet};
use crate::timer::Patience;
use crate::wire::{self, Stream};

/// While so much of a body was passed on, more is read only when the sink has room for it: whoever does not read what it asked for
/// stops taking within these bytes ([`lb_control::listen::UNSENT_MAX`]), and costs no memory here. Shorter bodies are not worth the look;
/// who has taken more than this reads, and looking each time would halve what is moved at once.
pub const LOOKED_AT: Range<u64> = 64 * 1024..256 * 1024;
/// After so many bytes others of the same worker get their turn.
const TURN: u64 = 256 * 1024;

/// One way of a body.
#[derive(Debug)]
pub struct Pump<'a> {
    /// How its end is found.
    pub framing: Framing,
    /// It goes out in chunks (else as it is, to a length or to the end of the connection).
    pub chunked_out: bool,
    /// Waiting for the side it comes from.
    pub source: Patience<'a>,
    /// Waiting for the side it goes to.
    pub sink: Patience<'a>,
    /// Bytes of the body passed on so far, without framing.
    pub passed: &'a Cell<u64>,
    /// What was passed on when the worker last saw to others.
    pub turn_began: Cell<u64>,
    /// What the end of chunks adds to the size of the message as HAProxy counts it.
    pub end_counted: &'a Cell<u64>,
    /// It is a member's answer, and the head before it is noted here when it goes out. `None`: it is a request.
    pub answers: Option<&'a Told>,
}

/// Why a body was not passed on to its end.
#[derive(Debug)]
pub enum Broken {
    /// It ended before its end.
    SourceClosed,
    /// It could not be read.
    Source(io::Error),
    /// It is not chunked coding.
    Malformed,
    /// It could not be written.
    Sink(io::Error),
}

/// What is written before the body in the same call: a head that waits to go out.
pub type Prefix<'a> = &'a [u8];

impl Pump<'_> {
    /// Passes the whole body on, beginning with what `buffer` holds. What follows the body stays in `buffer`.
    ///
    /// `prefix` goes out with the first bytes of the body, or alone if none are there yet; not at all if those are no chunked coding.
    pub async fn run(
        &self,
        from: &Stream,
        to: &Stream,
        buffer: &mut Buffer,
        sheet: &mut Sheet,
        prefix: Prefix<'_>,
    ) -> Result<(), Broken> {
        if self.framing != Framing::Chunked {
            self.begins(prefix);
        }
        match self.framing {
            Framing::None => self.write(to, prefix, &[], &[]).await,
            Framing::Length(n) => self.length(from, to, buffer, n, prefix).await,
            Framing::UntilClose => self.until_close(from, to, buffer, prefix).await,
            Framing::Chunked => self.chunks(from, to, buffer, sheet, prefix).await,
        }
    }

    async fn length(
        &self,
        from: &Stream,
        to: &Stream,
        buffer: &mut Buffer,
        length: u64,
        prefix: Prefix<'_>,
    ) -> Result<(), Broken> {
        let first = (buffer.len() as u64).min(length) as usize;
        self.write(to, prefix, &buffer.filled()[..first], &[]).await?;
        buffer.consume(first);
        let mut left = length - first as u64;
        while left > 0 {
            // No more than the body is read: what follows belongs to the next message.
            self.ready(to, buffer).await?;
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let read = self.read(from, buffer, most).await?;
            self.write(to, &[], buffer.filled(), &[]).await?;
            buffer.consume(read);
            left -= read as u64;
        }
        Ok(())
    }

    async fn until_close(
        &self,
        from: &Stream,
        to: &Stream,
        buffer: &mut Buffer,
        prefix: Prefix<'_>,
    ) -> Result<(), Broken> {
        self.write(to, prefix, buffer.filled(), &[]).await?;
        buffer.consume(buffer.len());
        loop {
            self.ready(to, buffer).await?;
            let read = match self.read(from, buffer, usize::MAX).await {
                Ok(read) => read,
                Err(Broken::SourceClosed) => return Ok(()),
                Err(broken) => return Err(broken),
            };
            self.write(to, &[], buffer.filled(), &[]).await?;
            buffer.consume(read);
        }
    }

    async fn chunks(
        &self,
        from: &Stream,
        to: &Stream,
        buffer: &mut Buffer,
        sheet: &mut Sheet,
        mut prefix: Prefix<'_>,
    ) -> Result<(), Broken> {
        let mut decoder = if self.answers.is_some() { Decoder::of_answer() } else { Decoder::default() };
        loop {
            let (bytes, filled) = buffer.parts();
            let decoded = decoder.decode(bytes, filled).map_err(|_| Broken::Malformed)?;
            sheet.out.clear();
            sheet.out.extend_from_slice(prefix);
            if self.chunked_out && !decoded.payload.is_empty() {
                chunked::write_size(decoded.payload.len(), &mut sheet.out);
            }
            let head_len = sheet.out.len();
            if self.chunked_out && !decoded.payload.is_empty() {
                sheet.out.extend_from_slice(b"\r\n");
            }
            if decoded.done {
                let before = sheet.out.len();
                self.end_counted.set(decoder.write_end(&mut sheet.out).map_err(|_| Broken::Malformed)?);
                if !self.chunked_out {
                    sheet.out.truncate(before);
                }
            }
            self.begins(prefix);
            let (head, tail) = sheet.out.split_at(head_len);
            if !(head.is_empty() && tail.is_empty() && decoded.payload.is_empty()) {
                self.write(to, head, buffer.at(decoded.payload), tail).await?;
            }
            prefix = &[];
            buffer.consume(decoded.consumed);
            if decoded.done {
                return Ok(());
            }
            self.ready(to, buffer).await?;
            buffer.make_room();
            self.read(from, buffer, usize::MAX).await?;
        }
    }

    /// The head of an answer goes out: from here on nothing else can be said to the client.
    fn begins(&self, prefix: Prefix<'_>) {
        if let Some(told) = self.answers
            && !prefix.is_empty()
        {
            told.client_told.set(true);
            told.head_bytes.set(told.head_bytes.get() + prefix.len() as u64);
        }
    }

    /// Before more is read: lets others have their turn, and waits until it would be taken, without holding memory meanwhile.
    async fn ready(&self, to: &Stream, buffer: &mut Buffer) -> Result<(), Broken> {
        let passed = self.passed.get();
        if passed - self.turn_began.get() >= TURN {
            self.turn_began.set(passed);
            tokio::task::yield_now().await;
        }
        if LOOKED_AT.contains(&passed) {
            wire::room(to, self.sink, || buffer.rest()).await.map_err(Broken::Sink)?;
            buffer.wake();
        }
        Ok(())
    }

    async fn read(&self, from: &Stream, buffer: &mut Buffer, most: usize) -> Result<usize, Broken> {
        match wire::fill(from, buffer, most, self.source).await {
            Ok(0) => Err(Broken::SourceClosed),
            Ok(n) => Ok(n),
            Err(error) => Err(Broken::Source(error)),
        }
    }

    async fn write(&self, to: &Stream, head: &[u8], payload: &[u8], tail: &[u8]) -> Result<(), Broken> {
        let mut parts = [IoSlice::new(head), IoSlice::new(payload), IoSlice::new(tail)];
        wire::write_all(to, &mut parts, self.sink).await.map_err(Broken::Sink)?;
        self.passed.set(self.passed.get() + payload.len() as u64);
        Ok(())
    }
}
