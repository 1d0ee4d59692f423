//! What Weir's processes say to each other over Unix sockets on one machine.
//!
//! [`instance`]: to one data plane (`lb-proxy --control`). [`node`]: to the agent. [`stats`]: the figures both
//! report. [`events`]: what happened. [`explain`]: what would. [`client`] and [`server`]: HTTP/1.1 with JSON, so that `curl --unix-socket` works too;
//! [`lines`]: an answer that grows; [`patience`]: how long a client may not read.
//! [`listen`]: how a listening socket is made. [`handoff`]: listening sockets passed from process to process.

pub mod client;
pub mod events;
pub mod explain;
pub mod handoff;
pub mod instance;
pub mod lines;
pub mod listen;
pub mod node;
pub mod patience;
mod poll;
pub mod server;
mod socket;
pub mod stats;
