//! The socket under a connection: reading and writing with the kernel asked first, and the runtime only when the
//! kernel has nothing. A connection that is answered and closed at once never enters the runtime's tables.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::os::fd::RawFd;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use tokio::io::unix::AsyncFdReadyGuard;

use crate::sys;
use crate::sys::socket::{Socket, Watch};

const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// One connection's socket.
#[derive(Debug)]
pub struct Raw(Socket);

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

/// What it means when a peer ends its half of a connection that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It has left.
    Leaves,
    /// It has left if it said nothing before.
    LeavesIfSilent,
    /// It said all it has to say, and waits.
    Stays,
}

impl Raw {
    /// From a socket that does not block.
    pub fn new(socket: TcpStream) -> Self {
        Self(Socket::new(socket))
    }

    /// The socket, which the runtime watches no longer.
    pub fn into_socket(self) -> TcpStream {
        self.0.into_inner()
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.0.get()
    }

    /// The runtime watches it no longer.
    pub fn unwatch(&mut self) {
        self.0.unwatch();
    }

    /// Bytes that the other side has acknowledged since the connection began.
    pub fn acknowledged(&self) -> io::Result<u64> {
        sys::socket::acknowledged(self.0.get())
    }

    /// Writes what the kernel takes now, without waiting.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.get(), bytes, SendFlags::NOSIGNAL)?)
    }

    /// Reads what is there now, without waiting.
    pub fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.get(), room, RecvFlags::empty())?.0)
    }

    /// The runtime tells when something happens on it.
    pub fn is_watched(&self) -> bool {
        self.0.watched().is_some()
    }

    /// Has the runtime watch it from now on: for when there will hardly be anything yet.
    pub fn watch(&self) -> io::Result<()> {
        self.0.watch().map(|_| ())
    }

    /// Reads once if there is something to read now; otherwise has the task woken when there is. 0 is the end of the
    /// stream. `room` is not empty.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        debug_assert!(!room.is_empty());
        let len = room.len();
        self.poll_call(
            |watch| watch.poll_read_ready(cx),
            len,
            || recv(self.0.get(), &mut *room, RecvFlags::empty()).map(|(n, _)| n),
        )
    }

    /// Ready when there is something to read (or the end, or an error), as far as the runtime knows.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.watched() {
            Some(watch) => watch.poll_read_ready(cx).map_ok(|_| ()),
            // Nobody has looked yet.
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ready when the kernel would take bytes, or the connection is broken. Asks the kernel: that a write was taken whole says
    /// nothing of the next.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watch = self.0.watch()?;
        loop {
            let mut known = ready!(watch.poll_write_ready(cx))?;
            let mut asked = [PollFd::new(self.0.get(), PollFlags::OUT)];
            match rustix::event::poll(&mut asked, Some(&NO_TIME)) {
                // Nothing to write, no error: from now on the kernel tells.
                Ok(0) => known.clear_ready(),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes what the kernel takes of `bytes`, which is not empty.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_call(
            |watch| watch.poll_write_ready(cx),
            bytes.len(),
            || send(self.0.get(), bytes, SendFlags::NOSIGNAL),
        )
    }

    /// The same for several pieces.
    pub fn poll_write_vectored(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let len = parts.iter().map(|part| part.len()).sum();
        self.poll_call(|watch| watch.poll_write_ready(cx), len, || rustix::io::writev(self.0.get(), parts))
    }

    /// Makes `call`, which moves `len` bytes at most, once the runtime does not know that it would have to wait. A
    /// connection that is not watched yet is watched from the moment it has to wait.
    fn poll_call<'s>(
        &'s self,
        mut poll_ready: impl FnMut(&'s Watch) -> Poll<io::Result<AsyncFdReadyGuard<'s, RawFd>>>,
        len: usize,
        mut call: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut known = match self.0.watched() {
                Some(watch) => Some(ready!(poll_ready(watch))?),
                None => None,
            };
            match (call(), &mut known) {
                (Ok(n), known) => {
                    // Less than was asked for: that was all, and asking again would find nothing.
                    if let Some(known) = known.as_mut().filter(|_| n > 0 && n < len) {
                        known.clear_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                (Err(Errno::WOULDBLOCK), Some(known)) => known.clear_ready(),
                (Err(Errno::WOULDBLOCK), None) => drop(self.0.watch()?),
                (Err(Errno::INTR), _) => {}
                (Err(error), _) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Waits until a connection that was begun is there or has failed.
    pub async fn connected(&self) -> io::Result<()> {
        // Within a host, or when the member is quick, it is there already: a look is cheaper than a wait.
        let there = self.0.get().peer_addr().is_ok();
        // What comes on it will have to be waited for in any case.
        let watch = self.0.watch()?;
        if there {
            return Ok(());
        }
        // What it is ready for stays noted: a connection can be written to.
        poll_fn(|cx| watch.poll_write_ready(cx).map_ok(|_| ())).await?;
        self.0.get().take_error()?.map_or(Ok(()), Err)
    }

    /// What is known to wait. Costs no system call when nothing came since the last read; else looks, without
    /// taking anything.
    pub fn unread(&self) -> Unread {
        let Some(watch) = self.0.watched() else { return self.peek() };
        let mut cx = Context::from_waker(Waker::noop());
        match watch.poll_read_ready(&mut cx) {
            Poll::Pending => Unread::Nothing,
            Poll::Ready(Err(_)) => Unread::End,
            Poll::Ready(Ok(mut known)) => {
                // What the runtime was told may be about bytes that have been read since. A look that finds
                // nothing makes it forget that.
                let seen = self.peek();
                if seen == Unread::Nothing {
                    known.clear_ready();
                }
                seen
            }
        }
    }

    /// Waits until the peer has left; see [`super::left`].
    pub async fn left(&self, closing: Closing) {
        // Without a watch nobody tells; then the peer is simply not known to have left.
        let Ok(watch) = self.0.watch() else { return std::future::pending().await };
        poll_fn(|cx| {
            loop {
                let Ok(mut known) = ready!(watch.poll_read_ready(cx)) else { return Poll::Ready(()) };
                let ended = known.ready().is_read_closed();
                let reset = ended && !matches!(self.0.get().take_error(), Ok(None));
                let closed = match closing {
                    Closing::Leaves => ended,
                    Closing::LeavesIfSilent => self.peek() == Unread::End,
                    Closing::Stays => false,
                };
                if reset || closed {
                    return Poll::Ready(());
                }
                known.clear_ready();
            }
        })
        .await;
    }

    /// What waits, as the kernel knows: for when the runtime cannot have been told yet.
    pub fn peek(&self) -> Unread {
        match recv(self.0.get(), &mut [0; 1], RecvFlags::PEEK) {
            Err(Errno::WOULDBLOCK) => Unread::Nothing,
            Ok((n, _)) if n > 0 => Unread::Bytes,
            _ => Unread::End,
        }
    }

    /// Copies what waits, from the first byte on, and takes nothing: ready once that is more than the `seen` bytes of last
    /// time, or no more will come. `room` is longer than `seen`.
    pub fn poll_peek_more(&self, cx: &mut Context<'_>, room: &mut [u8], seen: usize) -> Poll<io::Result<usize>> {
        let watch = self.0.watch()?;
        loop {
            let mut known = ready!(watch.poll_read_ready(cx))?;
            let ended = known.ready().is_read_closed();
            match recv(self.0.get(), &mut *room, RecvFlags::PEEK).map(|(n, _)| n) {
                Ok(n) if n > seen || n == 0 || ended => return Poll::Ready(Ok(n)),
                Ok(_) | Err(Errno::WOULDBLOCK) => known.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Says that nothing more will be written.
    pub fn shutdown(&self) -> io::Result<()> {
        self.0.get().shutdown(Shutdown::Write)
    }

    /// Has the connection reset instead of closed when it is dropped.
    pub fn reset(&self) {
        let _ = SockRef::from(self.0.get()).set_linger(Some(Duration::ZERO));
    }
}
