//! Asks members whether they live; what the answer means is decided in `lb_core::health`.
//!
//! A [`Prober`] is compiled once from a monitor and then asks any number of members at any number of times. Every
//! question ends within the monitor's timeout, reads a bounded number of bytes, and closes its descriptor however
//! it ends, also when the future that asks is dropped. There is no thread and no state kept for each member.
//!
//! A member is not trusted: all that it says passes through the pure readers beside each probe, which the fuzz
//! target `probe_answer` feeds.

pub mod probe;
mod prober;
mod shared;
mod wire;
mod words;

pub use probe::agent::AgentProber;
pub use probe::ping::Pinger;
pub use prober::{Prober, ProberError, Target};
pub use shared::Shared;

/// What asking and carrying traffic over TLS have in common.
pub mod tls {
    pub use crate::probe::tls::Tls;
    pub use crate::probe::tls::config::system as system_authorities;
    pub use crate::probe::tls::verifier::Unverified;
    pub use crate::probe::tls::words::of as words;
}
