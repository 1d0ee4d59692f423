//! HTTP/2, framed by the `h2` crate: each of its streams is dressed as an HTTP/1.1 connection that carries one request,
//! so that everything behind it (judging heads, limits, persistence, retries, log lines) is the same code for both.

pub mod connection;
pub mod disguise;
pub mod io;
