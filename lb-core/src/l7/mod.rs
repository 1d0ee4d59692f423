//! What becomes of a request: the L7 policies of a listener, compiled once and asked for each request without allocating.
//!
//! | file | what it decides |
//! |---|---|
//! | [`mod@policy`] | which policies match a request, in which order, and what is done |
//! | [`mod@rule`] | whether one rule holds |
//! | `text` | whether one text compares to another; lists of a field |
//! | `cookie` | which cookies a request carries |
//! | `percent` | on which side of a percentage a client is |
//! | [`mod@change`] | what matching policies change of a request and its answer |
//!
//! Everything a rule looks at is what a member would get to see: bytes as they were sent. Nothing is decoded (`%2F` is three
//! characters), as in HAProxy: a path that is compared in another form than the member reads it is a way around a rule.
//!
//! Where TLS is passed through, a connection is asked about in a request's place ([`Greeted`]): it has a client, and a host if its
//! ClientHello names one.
//!
//! [`Greeted`]: crate::request::Greeted

pub mod change;
mod cookie;
mod percent;
pub mod policy;
pub mod rule;
mod text;

#[cfg(test)]
mod tests;

pub use change::{Change, Changes, Client, FieldEdits};
pub use policy::{Decision, ListenerPolicies, Policy, PolicyIndex, Way};
pub use rule::{Asked, TlsFacts};
