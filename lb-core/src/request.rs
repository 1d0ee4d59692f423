//! What decisions may look at of a request: the same for one that came over a wire and one an operator asks about.

use crate::client_hello::ServerName;

/// The parts of a request, as a member would get them.
pub trait Parts {
    /// The method, as sent.
    fn method(&self) -> &[u8];

    /// Path and query, in origin form: begins with `/`, or is `*`.
    fn target(&self) -> &[u8];

    /// The target as the client sent it: it may name scheme and host before the path.
    fn target_as_sent(&self) -> &[u8] {
        self.target()
    }

    /// The values of all fields of that name, in the order sent. Names are compared without case. Fields that are
    /// meant for this hop alone are not among them; `host` is the authority the request is for.
    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]>;

    /// The first of them.
    fn field<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.fields(name).next()
    }
}

/// A connection that is relayed, of which nothing is known but the server its client asked for: it has a host at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeted(pub Option<ServerName>);

impl Parts for Greeted {
    fn method(&self) -> &[u8] {
        b""
    }

    fn target(&self) -> &[u8] {
        b""
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let host = self.0.as_ref().filter(|_| name.eq_ignore_ascii_case(b"host"));
        host.map(ServerName::as_bytes).into_iter()
    }
}

/// A connection of which nothing was read: it has no parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread;

impl Parts for Unread {
    fn method(&self) -> &[u8] {
        b""
    }

    fn target(&self) -> &[u8] {
        b""
    }

    fn fields<'a>(&'a self, _name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}
