//! TLS over a connection: the handshake, and records in and out. Certificates and who is trusted are compiled by the
//! control thread; workers only use them.

pub mod certificate;
pub mod channel;
pub mod countdown;
pub mod facts;
pub mod files;
pub mod handshake;
pub mod member;
pub mod names;
pub mod revocation;
pub mod server;
pub mod table;
#[cfg(test)]
mod tests;
