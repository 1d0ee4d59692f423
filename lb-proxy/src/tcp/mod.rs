//! Relaying: bytes both ways between one client and one member, nothing read into them.

pub mod greeting;
pub mod inspect;
pub mod relay;
pub mod session;
