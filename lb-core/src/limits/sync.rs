//! What the protocol of slots and queue is built on: the standard library's, or loom's when it is model checked.

#[cfg(feature = "loom")]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(feature = "loom")]
pub(super) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "loom"))]
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(feature = "loom"))]
pub(super) use std::sync::{Mutex, MutexGuard};
