//! Connections to members: made, kept, lent again.

pub mod connect;
pub mod h2;
pub mod idle;
pub mod private;
pub mod proxy_header;
