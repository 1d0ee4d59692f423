//! Reading from and writing to a connection, with patience noted only while it has to wait.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::timer::Patience;

/// Polls until it is ready, noting the patience once it has to wait.
async fn patiently<T>(patience: Patience<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut waiting = false;
    poll_fn(|cx| {
        let polled = poll(cx);
        match (polled.is_pending(), waiting) {
            (true, false) => {
                patience.start();
                waiting = true;
            }
            (false, true) => patience.clear(),
            _ => {}
        }
        polled
    })
    .await
}

/// Reads once into `room`; 0 is the end of the stream. `room` is not empty.
pub async fn read(from: &mut ReadHalf<'_>, room: &mut [u8], patience: Patience<'_>) -> io::Result<usize> {
    debug_assert!(!room.is_empty());
    patiently(patience, |cx| poll_read(from, cx, room)).await
}

/// Waits until there is something to read (or the end, or an error), without holding memory for it.
pub async fn readable(from: &mut ReadHalf<'_>, patience: Patience<'_>) -> io::Result<()> {
    let stream: &TcpStream = from.as_ref();
    patiently(patience, |cx| stream.poll_read_ready(cx)).await
}

/// Reads once if there is something to read now; otherwise has the task woken when there is.
pub fn poll_read(from: &mut ReadHalf<'_>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut into = ReadBuf::new(room);
    Pin::new(from).poll_read(cx, &mut into).map_ok(|()| into.filled().len())
}

/// What waits to be read on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing that is known of.
    Nothing,
    /// Bytes.
    Bytes,
    /// The end, or an error.
    End,
}

/// What is known to wait on `stream`. Costs no system call when nothing came since the last read; else looks,
/// without taking anything.
pub fn unread(stream: &TcpStream) -> Unread {
    let mut cx = Context::from_waker(Waker::noop());
    if stream.poll_read_ready(&mut cx).is_pending() {
        return Unread::Nothing;
    }
    // What the runtime was told may be about bytes that have been read since. A look that finds nothing
    // makes it forget that.
    seen(stream.try_io(Interest::READABLE, || SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])))
}

/// What waits on `stream`, as the kernel knows: for when the runtime cannot have been told yet.
pub fn peek(stream: &TcpStream) -> Unread {
    seen(SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]))
}

fn seen(peeked: io::Result<usize>) -> Unread {
    match peeked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
        Ok(n) if n > 0 => Unread::Bytes,
        _ => Unread::End,
    }
}

/// Writes what the kernel takes of `bytes`, which is not empty; at least one byte.
pub async fn write_some(to: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<usize> {
    match poll_fn(|cx| Pin::new(&mut *to).poll_write(cx, bytes)).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

/// Pieces of a message that are together no longer than this are put into one: copying them costs less than having
/// the kernel gather them.
const GATHERED_MAX: usize = 4 * 1024;

thread_local! {
    /// Where this thread puts them; empty between two writes.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes all of `parts`, in one call where the kernel takes it. Each bit of progress renews the patience.
pub async fn write_all(
    to: &mut WriteHalf<'_>,
    mut parts: &mut [IoSlice<'_>],
    patience: Patience<'_>,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    let mut waiting = false;
    poll_fn(|cx| {
        while !parts.is_empty() {
            match poll_write_parts(to, cx, parts) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    IoSlice::advance_slices(&mut parts, n);
                    if waiting {
                        patience.clear();
                        waiting = false;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if !waiting {
                        patience.start();
                        waiting = true;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

fn poll_write_parts(to: &mut WriteHalf<'_>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let to = Pin::new(to);
    if let [only] = parts {
        return to.poll_write(cx, only);
    }
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len > GATHERED_MAX {
        return to.poll_write_vectored(cx, parts);
    }
    GATHERED.with_borrow_mut(|gathered| {
        gathered.clear();
        parts.iter().for_each(|part| gathered.extend_from_slice(part));
        to.poll_write(cx, gathered)
    })
}
