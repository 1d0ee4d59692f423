//! The only room where `unsafe` may live: calls that no safe crate offers, each behind a safe function.
#![allow(unsafe_code, reason = "this is the room for it")]

use std::io;

use nix::sys::signalfd::SignalFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a signal descriptor. Must be called inside one.
pub fn watch_signals(descriptor: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a `SignalFd` owns its descriptor, names the same one for its whole life and closes it on drop,
    // which `AsyncFd` puts off until it has deregistered it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(Into::into)
}

/// Gives memory that is not in use back to the kernel. Called after an apply and when traffic has ended, so
/// that an idle VIP weighs what it weighed before its busy hour.
pub fn trim_heap() {
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
