//! Probes against members that follow a script: broken, slow, hostile. Real sockets on loopback, real time, short.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod connecting;
mod http;
mod leaks;
mod mysql_and_agent;
mod script;
mod tls;
