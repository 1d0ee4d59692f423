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

/// Where `tcpi_bytes_acked` lies in the kernel's `struct tcp_info` (Linux 4.1, `include/uapi/linux/tcp.h`), which only grows at its end.
const BYTES_ACKED: usize = 120;

/// Bytes that the other side of a TCP connection has acknowledged since it began.
pub fn acknowledged(socket: &TcpStream) -> io::Result<u64> {
    let mut info = [0u8; BYTES_ACKED + 8];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which is as long, and then how many it wrote to `len`; both
    // outlive the call.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let (_, acked) = info.split_at(BYTES_ACKED);
    let acked: [u8; 8] = acked.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    match len as usize >= info.len() {
        true => Ok(u64::from_ne_bytes(acked)),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}
