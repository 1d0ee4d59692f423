//! A connection as the framing library wants it, with an eye on peers that send much and mean nothing.
//!
//! Frames that ask for no work (pings, settings, priorities, empty data, small windows) are counted by their bytes
//! ([`super::toll`]): what a peer may send of them depends on what it asks for and takes, and on time.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gate::{Gate, Walked};
use super::law::{CONTINUATION, HEAD, Side};
use crate::clock;
use crate::wire::Stream;

/// Bytes a peer may send without meaning anything, at the beginning and at once.
const IDLE_BYTES_MAX: i64 = 64 * 1024;
/// And so many more each second.
const IDLE_BYTES_A_SECOND: i64 = 8 * 1024;
/// A request brings so many bytes of frames with it, beside its head.
pub const REQUEST_CREDIT: i64 = 1024;
/// What is sent through a tunnel may be answered by so many bytes of frames at least: two window updates. Messages are often
/// shorter than what tells that they were taken.
pub const MESSAGE_CREDIT: i64 = 26;
/// Bytes of data sent that justify one byte of frames coming back (window updates: 13 bytes for some thousand).
const SENT_FOR_ONE: i64 = 64;
/// Room the library offers is filled this far at most in one read.
const READ_MAX: usize = 32 * 1024;

/// Streams a peer may give up, or have given up for its mistakes, at once ...
const RESETS_MAX: i64 = 200;
/// ... and so many more each second. One that was answered justifies another.
const RESETS_A_SECOND: i64 = 20;

/// What a peer has left to send that means nothing. Shared by the connection and its streams, on one thread.
#[derive(Debug)]
pub struct Budget {
    left: Cell<i64>,
    renewed: Cell<tokio::time::Instant>,
    /// Streams it may give up.
    resets: Cell<i64>,
    /// Reads that brought something.
    heard: Cell<u64>,
    /// It broke the law.
    fault: Cell<Option<Reason>>,
    /// Since when fields that were begun are to be continued.
    waits_since: Cell<Option<tokio::time::Instant>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: Cell::new(IDLE_BYTES_MAX),
            renewed: Cell::new(clock::now()),
            resets: Cell::new(RESETS_MAX),
            heard: Cell::new(0),
            fault: Cell::new(None),
            waits_since: Cell::new(None),
        }
    }
}

impl Budget {
    /// So many bytes were meant: a head, data, or what answers data of ours.
    pub fn earn(&self, bytes: i64) {
        self.left.set((self.left.get() + bytes).min(IDLE_BYTES_MAX));
    }

    /// True once the peer has sent more than it may.
    pub fn is_spent(&self) -> bool {
        self.left.get() < 0 || self.resets.get() < 0
    }

    /// Why the peer is to be told to go, if it is.
    pub fn verdict(&self) -> Option<Reason> {
        self.fault.get().or_else(|| self.is_spent().then_some(Reason::ENHANCE_YOUR_CALM))
    }

    /// A stream has ended; `answered`: with a whole answer, else it was given up or broken off.
    pub fn close_stream(&self, answered: bool) {
        let change = if answered { 1 } else { -1 };
        self.resets.set((self.resets.get() + change).min(RESETS_MAX));
    }

    /// Since when fields that were begun have not ended, if there are any.
    pub fn waits_since(&self) -> Option<tokio::time::Instant> {
        self.waits_since.get()
    }

    /// It is to be told to go.
    pub fn condemn(&self, reason: Reason) {
        self.fault.set(Some(reason));
    }

    /// How often something came: another number than before shows that the peer lives.
    pub fn heard(&self) -> u64 {
        self.heard.get()
    }

    fn spend(&self, bytes: i64) {
        let now = clock::now();
        let seconds = (now - self.renewed.get()).as_secs() as i64;
        if seconds > 0 {
            self.renewed.set(now);
            self.earn(seconds.saturating_mul(IDLE_BYTES_A_SECOND));
            let resets = self.resets.get().saturating_add(seconds.saturating_mul(RESETS_A_SECOND));
            self.resets.set(resets.min(RESETS_MAX));
        }
        self.left.set(self.left.get() - bytes);
        self.heard.set(self.heard.get().wrapping_add(1));
    }
}

/// A frame that is refused wherever it comes: CONTINUATION of nothing.
const REFUSED: [u8; HEAD] = [0, 0, 0, CONTINUATION, 0, 0, 0, 0, 0];
/// Room of so many bytes is kept for the next that are not shown where they lie.
const KEPT: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Io {
    stream: Rc<Stream>,
    /// Read before the library began.
    first: Vec<u8>,
    budget: Rc<Budget>,
    side: Side,
    gate: Gate,
    /// What the library is to see before more is read, and how much of it it has seen.
    behind: Vec<u8>,
    behind_at: usize,
}

impl Io {
    /// Of a client, which begins with `preface` bytes that are no frame; `first` was read from `stream` already.
    pub fn of_client(stream: Rc<Stream>, first: Vec<u8>, budget: Rc<Budget>, preface: usize) -> Self {
        Self::of(Side::Client, stream, first, budget, preface)
    }

    /// Of a member.
    pub fn of_member(stream: Rc<Stream>, budget: Rc<Budget>) -> Self {
        Self::of(Side::Member, stream, Vec::new(), budget, 0)
    }

    fn of(side: Side, stream: Rc<Stream>, first: Vec<u8>, budget: Rc<Budget>, preface: usize) -> Self {
        let gate = Gate::after(preface, side);
        Self { stream, first, budget, side, gate, behind: Vec::new(), behind_at: 0 }
    }

    /// How many of `bytes`, which were just read, the library may see where they lie.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let Walked { cost, shown, fault } = self.gate.walk(bytes, &mut self.behind);
        self.budget.spend(cost);
        self.budget.fault.set(fault);
        if !self.gate.is_waiting() {
            self.budget.waits_since.set(None);
        } else if self.budget.waits_since.get().is_none() {
            self.budget.waits_since.set(Some(clock::now()));
        }
        // Whoever serves a client says why it is to go. A member is told by the library, which can be asked for nothing.
        if fault.is_some() && self.side == Side::Member {
            let within = self.behind.len() + self.gate.unshown();
            self.behind.resize(within, 0);
            self.behind.extend_from_slice(&REFUSED);
        }
        shown
    }

    /// Shows what is not shown where it lay.
    fn show_behind(&mut self, into: &mut ReadBuf<'_>) {
        let rest = &self.behind[self.behind_at..];
        let n = rest.len().min(into.remaining());
        into.put_slice(&rest[..n]);
        self.behind_at += n;
        if self.behind_at == self.behind.len() {
            self.behind.clear();
            self.behind.shrink_to(KEPT);
            self.behind_at = 0;
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let is_client = self.side == Side::Client;
            if self.budget.fault.get().is_some() && (is_client || self.behind.is_empty()) {
                // Nothing more is heard of it. Whoever serves the connection looks after each reading.
                return Poll::Pending;
            }
            if !self.behind.is_empty() {
                self.show_behind(into);
                return Poll::Ready(Ok(()));
            }
            let room = into.remaining().min(READ_MAX);
            let shown = if self.first.is_empty() {
                let Some(room) = into.initialize_unfilled().get_mut(..room) else { return Poll::Ready(Ok(())) };
                match std::task::ready!(self.stream.poll_read(cx, room)) {
                    Ok(0) => return Poll::Ready(Ok(())),
                    Ok(n) => {
                        let shown = self.pass(&room[..n]);
                        into.advance(shown);
                        shown
                    }
                    // A peer that goes without a goodbye has gone: what was cut short is seen by each stream.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            } else {
                let mut first = std::mem::take(&mut self.first);
                let rest = first.split_off(first.len().min(room));
                let shown = self.pass(&first);
                self.first = rest;
                into.put_slice(&first[..shown]);
                shown
            };
            if shown > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = std::task::ready!(self.stream.poll_write(cx, bytes));
        if let Ok(n) = written {
            self.budget.earn(n as i64 / SENT_FOR_ONE);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown())
    }
}
