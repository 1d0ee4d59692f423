//! One file or folder for each kind of question. What reads a member's bytes is pure and public, for the fuzz target.

pub mod agent;
pub mod http;
pub mod mysql;
pub mod ping;
pub(crate) mod tcp;
pub(crate) mod tls;
