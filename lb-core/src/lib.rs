//! What a balancer decides: which documents are legal, what they mean, and which member takes a request.
//!
//! Nothing here opens a socket, starts a thread, reads a clock or an environment: addresses, time and
//! randomness come in as arguments, so every rule can be tested with plain values.
//!
//! Configuration has three floors, each built only from the one below:
//! [`spec`] (as written) → [`config`] (validated, defaults filled) → [`snapshot`] (compiled for workers).

pub mod balance;
pub mod client_hello;
pub mod config;
pub mod expiry;
pub mod explain;
pub mod health;
pub mod id;
pub mod l7;
pub mod limits;
pub mod member;
pub mod names;
pub mod persistence;
pub mod proxy_protocol;
pub mod request;
pub mod retry;
pub mod snapshot;
pub mod spec;
pub mod time;
