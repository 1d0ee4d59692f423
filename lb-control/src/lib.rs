//! What Weir's processes say to each other over Unix sockets on one machine.
//!
//! [`instance`]: to one data plane (`lb-proxy --control`). [`node`]: to the agent. [`stats`]: the figures both
//! report. [`client`] and [`server`]: HTTP/1.1 with JSON, so that `curl --unix-socket` works too.
//! [`handoff`]: listening sockets passed from process to process.

pub mod client;
pub mod handoff;
pub mod instance;
pub mod node;
pub mod server;
pub mod stats;
