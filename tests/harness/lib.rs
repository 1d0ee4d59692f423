//! What the tests are made of: real processes, scripted members and clients, and places where they cannot meet.
//!
//! Everything here may panic: a harness that cannot do its work fails the test that asked for it.
//!
//! | want | see |
//! |---|---|
//! | a loopback address and a folder of one's own | [`place`] |
//! | wait for something with a deadline | [`wait`] |
//! | a server that answers as told | [`member`] |
//! | one that forgives nothing, and by what rules | [`strict_member`], [`canon`] |
//! | a client that sends as told | [`client`] |
//! | the same in frames of HTTP/2 | [`frames`] |
//! | monitors, and what became of members | [`health`] |
//! | authorities, certificates of every wrong kind | [`certificates`] |
//! | a client that speaks TLS | [`tls`] |
//! | many requests at once, counted | [`load`], [`tools`] |
//! | Weir, HAProxy or nginx in front or behind | [`weir`], [`haproxy`], [`nginx`] |
//! | WebSocket by hand | [`websocket`] |
//! | all of it at once: members, a VIP, Weir | [`stage`] |
//! | a network of one's own, and a node with an agent in it | [`netns`], [`node`] |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot do its work must fail the test, at the spot"
)]

pub mod binaries;
pub mod canon;
pub mod certificates;
pub mod client;
pub mod dns;
pub mod frames;
pub mod haproxy;
pub mod health;
pub mod hello;
pub mod load;
pub mod log_line;
pub mod member;
pub mod message;
pub mod netns;
pub mod nginx;
pub mod node;
pub mod place;
pub mod process;
pub mod setup;
pub mod stage;
pub mod strict_member;
pub mod tls;
pub mod tools;
pub mod wait;
pub mod websocket;
pub mod weir;
