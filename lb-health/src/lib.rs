//! Asks members whether they live; what the answer means is decided in `lb_core`.
//!
//! The room is empty so far: a document that asks for a health monitor is refused until the probes
//! (PING, TCP, HTTP, HTTPS, TLS-HELLO) live here, one file each under `probe/`.
