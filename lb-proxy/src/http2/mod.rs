//! HTTP/2, framed by the `h2` crate: each of its streams is dressed as an HTTP/1.1 connection that carries one request,
//! so that everything between two streams (judging heads, limits, persistence, retries, log lines) is the same code for
//! both. A client's stream is a [`disguise`], a member's a [`mirror`]; both are made of what comes in ([`incoming`]) and
//! what goes out ([`outgoing`]).

mod blocks;
pub mod connection;
pub mod disguise;
mod fields;
pub mod gate;
mod huffman;
pub mod incoming;
pub mod io;
pub mod law;
pub mod linger;
pub mod mirror;
pub mod outgoing;
pub mod preface;
mod table;
mod toll;
