//! An answer that nobody wants: read as far as its connection is worth it, and thrown away.

use std::rc::Rc;

use super::answer::INTERIM_MAX;
use super::h1::chunked::Decoder;
use super::h1::request::Method;
use super::h1::response::{self, ResponseHead};
use super::h1::{Framing, HEAD_MAX, head_end};
use crate::buffer::{Buffer, Buffers, LentSheet};
use crate::timer::{Deadlines, Patience, Wait};
use crate::wire::{self, Stream};

/// Longest body that is read to keep its connection, in bytes.
const BODY_MAX: u64 = 1 << 20;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// It was read to its end, and the connection can take another request.
    Whole,
    /// There was one; the connection is worth no more.
    Part,
    /// There was none that could be read.
    Nothing,
}

/// Reads one answer to a request of `method`. Waits for ever: the caller has a deadline.
pub async fn answer(from: &Stream, method: Method, buffers: &Rc<Buffers>) -> Discarded {
    let (mut buffer, mut sheet) = (buffers.lend(), buffers.lend_sheet());
    let Some(head) = final_head(from, method, &mut buffer, &mut sheet).await else {
        return Discarded::Nothing;
    };
    let ended = match head.body {
        Framing::None => true,
        Framing::Length(length) if length <= BODY_MAX => skip(from, &mut buffer, length).await.is_some(),
        Framing::Chunked => skip_chunks(from, &mut buffer).await.is_some(),
        Framing::Length(_) | Framing::UntilClose => false,
    };
    if ended && head.keep_alive && buffer.is_empty() { Discarded::Whole } else { Discarded::Part }
}

async fn final_head(from: &Stream, method: Method, buffer: &mut Buffer, sheet: &mut LentSheet) -> Option<ResponseHead> {
    for _ in 0..=INTERIM_MAX {
        let len = loop {
            if let Some(len) = head_end(buffer.filled(), 0) {
                break len;
            }
            if buffer.len() >= HEAD_MAX {
                return None;
            }
            fill(from, buffer).await?;
        };
        let head = response::parse(&buffer.filled()[..len], method, &mut sheet.fields).ok()?;
        buffer.consume(len);
        match head.status {
            101 => return None,
            100..=199 => {}
            _ => return Some(head),
        }
    }
    None
}

/// Reads more; `None` at the end.
async fn fill(from: &Stream, buffer: &mut Buffer) -> Option<()> {
    let unused = Deadlines::default();
    buffer.make_room();
    let read = wire::read(from, buffer.room(), Patience::new(&unused, Wait::MemberRead, 0)).await;
    let read = read.ok().filter(|read| *read > 0)?;
    buffer.fill(read);
    Some(())
}

async fn skip(from: &Stream, buffer: &mut Buffer, length: u64) -> Option<()> {
    let mut left = length;
    loop {
        let here = (buffer.len() as u64).min(left);
        buffer.consume(here as usize);
        left -= here;
        if left == 0 {
            return Some(());
        }
        fill(from, buffer).await?;
    }
}

async fn skip_chunks(from: &Stream, buffer: &mut Buffer) -> Option<()> {
    let mut decoder = Decoder::of_answer();
    let mut seen = 0;
    loop {
        let (bytes, filled) = buffer.parts();
        let decoded = decoder.decode(bytes, filled).ok()?;
        buffer.consume(decoded.consumed);
        seen += decoded.consumed as u64;
        if decoded.done {
            return Some(());
        }
        if seen > BODY_MAX {
            return None;
        }
        fill(from, buffer).await?;
    }
}
