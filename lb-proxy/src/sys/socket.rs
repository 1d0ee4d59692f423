//! A socket that the runtime is told of only when somebody has to wait for it.

use std::cell::OnceCell;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The runtime's watch over a socket.
pub type Watch = AsyncFd<RawFd>;

/// See the module. Used by one thread only.
#[derive(Debug)]
pub struct Socket {
    /// Before `socket`, so that it is dropped first.
    watch: OnceCell<Watch>,
    socket: TcpStream,
}

impl Socket {
    /// A connected or connecting socket that does not block.
    pub fn new(socket: TcpStream) -> Self {
        Self { watch: OnceCell::new(), socket }
    }

    /// The socket, no longer watched.
    pub fn into_inner(self) -> TcpStream {
        drop(self.watch);
        self.socket
    }

    /// The runtime watches it no longer.
    pub fn unwatch(&mut self) {
        drop(self.watch.take());
    }

    /// The socket itself.
    pub fn get(&self) -> &TcpStream {
        &self.socket
    }

    /// The runtime's watch over it, if it was asked for.
    pub fn watched(&self) -> Option<&Watch> {
        self.watch.get()
    }

    /// Has the runtime watch it, if it does not yet. Must be called inside one.
    pub fn watch(&self) -> io::Result<&Watch> {
        if self.watch.get().is_none() {
            let both = Interest::READABLE | Interest::WRITABLE;
            // SAFETY: the descriptor belongs to `socket`, which nobody can take out or replace, and which is closed
            // only after `watch` was dropped and has deregistered it: fields are dropped in the order they are
            // declared.
            let watch = unsafe { AsyncFd::register_with_interest(self.socket.as_raw_fd(), both) }?;
            let _ = self.watch.set(watch);
        }
        self.watch.get().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}
