//! TLS over a connection: the handshake, and records in and out. Certificates and who is trusted are compiled by the
//! control thread; workers only use them.

pub mod channel;
