//! The only room where `unsafe` may live: calls that no safe crate offers, each behind a safe function.
#![allow(unsafe_code, reason = "this is the room for it")]

#[cfg(test)]
pub mod counted;
pub mod recycle;
pub mod socket;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::signalfd::SignalFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a signal descriptor. Must be called inside one.
pub fn watch_signals(descriptor: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a `SignalFd` owns its descriptor, names the same one for its whole life and closes it on drop,
    // which `AsyncFd` puts off until it has deregistered it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(Into::into)
}

/// Has the runtime watch a descriptor that can be read without blocking. Must be called inside one.
pub fn watch_descriptor(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same descriptor for its whole life and closes it on drop, which `AsyncFd` puts
    // off until it has deregistered it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(Into::into)
}

/// Has the runtime watch a listening socket that does not block. Must be called inside one.
pub fn watch_listener(socket: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a `TcpListener` owns its descriptor, names the same one for its whole life and closes it on drop,
    // which `AsyncFd` puts off until it has deregistered it.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(Into::into)
}

/// Gives memory that is not in use back to the kernel. Called after an apply and when traffic has ended, so
/// that an idle VIP weighs what it weighed before its busy hour.
pub fn trim_heap() {
    recycle::give_back();
    // SAFETY: malloc_trim has no preconditions; it locks the allocator's arenas itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Tells the allocator to keep little in reserve: threads that allocate seldom need no arena of their own,
/// and a VIP's memory is the product. Call it before the first thread is started.
pub fn economize_heap(arenas: i32) {
    // SAFETY: mallopt only sets parameters; unknown ones are refused.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
        // Buffers are mapped each on its own: what a storm of connections borrowed goes back to the kernel when
        // it is over, and does not tear holes into the heap.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 15 * 1024);
        libc::mallopt(libc::M_TOP_PAD, 16 * 1024);
    }
}

/// Datagrams handed to the kernel by one call.
const DATAGRAMS_MAX: usize = 64;

/// Sends pieces of `bytes` as datagrams, each ending where `ends` says, beginning with the one numbered `first`
/// (which is there). Returns how many were sent, at least one, at most [`DATAGRAMS_MAX`].
pub fn send_datagrams(socket: BorrowedFd<'_>, bytes: &[u8], first: usize, ends: &[usize]) -> io::Result<usize> {
    let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; DATAGRAMS_MAX];
    // SAFETY: all zeroes is an empty message header.
    let mut messages: [libc::mmsghdr; DATAGRAMS_MAX] = unsafe { std::mem::zeroed() };
    let mut start = if first == 0 { 0 } else { ends[first - 1] };
    let count = (ends.len() - first).min(DATAGRAMS_MAX);
    for (place, end) in ends[first..first + count].iter().enumerate() {
        let piece = &bytes[start..*end];
        parts[place] = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
        messages[place].msg_hdr.msg_iov = &raw mut parts[place];
        messages[place].msg_hdr.msg_iovlen = 1;
        start = *end;
    }
    // SAFETY: `count` headers are filled in, each with one part that points into `bytes`; the kernel only reads
    // what the parts point to, and all of it outlives the call.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as u32, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
