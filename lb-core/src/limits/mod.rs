//! What one client may take, and which clients may come at all: decisions at the door, with time as an argument.
//!
//! [`cidr`] says which addresses belong to a list of networks, [`rate`] is a token bucket in one word, [`clients`] a bounded
//! table of clients that all workers share, [`rules`] what a listener compiled its limits to.

pub mod cidr;
pub mod clients;
pub mod rate;
pub mod rules;
mod shard;

#[cfg(test)]
mod tests;
