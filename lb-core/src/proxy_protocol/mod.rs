//! The PROXY protocol, versions 1 and 2: the few bytes before a connection's own by which a balancer tells the next
//! who its client is. Read strictly, since whoever is believed here speaks for everybody behind it; written as
//! HAProxy writes it.
//!
//! A reader takes the whole header or nothing: what follows it is never looked at, and what is no header is not
//! guessed at. Source: "The PROXY protocol, versions 1 & 2" of HAProxy's documentation, sections 2.1 and 2.2.

mod crc32c;
mod senders;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;

use crate::config::monitor::ProxyVersion;

pub use senders::Senders;

/// Longest header of version 1, its line end included, in bytes (section 2.1).
pub const V1_LEN_MAX: usize = 107;
/// Longest header of version 2 that is taken, in bytes: its fixed part, and 4 KiB of addresses and extensions. The
/// protocol could say 64 KiB; nobody needs them for a name, a certificate and a few ids.
pub const V2_LEN_MAX: usize = v2::FIXED_LEN + 4096;
/// Longest header that is written, in bytes.
pub const WRITTEN_LEN_MAX: usize = V1_LEN_MAX;

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

impl Ends {
    /// The same, both in IPv6 clothes if only one of them is IPv6.
    fn of_one_family(self) -> Self {
        let as_v6 = |end: SocketAddr| match end.ip() {
            IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        match self.source.is_ipv4() == self.destination.is_ipv4() {
            true => self,
            false => Self { source: as_v6(self.source), destination: as_v6(self.destination) },
        }
    }
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it tells; `None`: nothing, and the connection's own ends count (LOCAL, UNKNOWN, UNSPEC, or a family that
    /// is not TCP over IP).
    pub ends: Option<Ends>,
    /// Its bytes: those of the connection itself follow.
    pub len: usize,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header as far as they go.
    Incomplete,
    /// A header, and perhaps more.
    Header(Header),
    /// Not the beginning of a header.
    Absent,
    /// The beginning of one that cannot be taken.
    Refused(Refusal),
}

/// Why a header is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A line of version 1 without its end in [`V1_LEN_MAX`] bytes, or a version 2 longer than [`V2_LEN_MAX`].
    TooLong,
    /// Version 1: the line ends otherwise than in CRLF.
    LineEnd,
    /// A family or transport that the protocol does not have.
    Family,
    /// Version 1: not two addresses of the family and two ports, one space before each.
    Addresses,
    /// Version 2: another version behind its signature.
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    Command,
    /// Version 2: too short for the addresses of its family.
    TooShort,
    /// Version 2: an extension that goes beyond the header, or is not of the length it must have.
    Extension,
    /// Version 2: the checksum is wrong.
    Checksum,
}

impl Refusal {
    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "the PROXY header is too long",
            Self::LineEnd => "the PROXY header does not end in CRLF",
            Self::Family => "the PROXY header names an unknown address family or transport",
            Self::Addresses => "the PROXY header has no two addresses and ports of its family",
            Self::Version => "the PROXY header is of an unknown version",
            Self::Command => "the PROXY header has an unknown command",
            Self::TooShort => "the PROXY header is too short for its addresses",
            Self::Extension => "the PROXY header has an extension that goes beyond its end",
            Self::Checksum => "the PROXY header's checksum is wrong",
        }
    }
}

/// What `bytes`, the first of a connection, are. Once there are [`V2_LEN_MAX`] of them the answer is never
/// [`Parsed::Incomplete`], and bytes behind a header do not change it.
pub fn parse(bytes: &[u8]) -> Parsed {
    for (signature, parse) in
        [(v1::SIGNATURE, v1::parse as fn(&[u8]) -> Parsed), (v2::SIGNATURE, v2::parse as fn(&[u8]) -> Parsed)]
    {
        if bytes.starts_with(signature) {
            return parse(bytes);
        }
        if signature.starts_with(bytes) {
            return Parsed::Incomplete;
        }
    }
    Parsed::Absent
}

/// A header to send.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    bytes: [u8; WRITTEN_LEN_MAX],
    len: usize,
}

impl Written {
    /// One that tells of a client's connection. Ends of different families (which one socket cannot have) are both
    /// written as IPv6.
    pub fn of(version: ProxyVersion, ends: Ends) -> Self {
        let mut written = Self { bytes: [0; WRITTEN_LEN_MAX], len: 0 };
        match version {
            ProxyVersion::V1 => v1::write(ends, &mut written),
            ProxyVersion::V2 => v2::write(Some(ends), &mut written),
        }
        written
    }

    /// One for a connection of our own, as HAProxy's health checks send it: version 1 tells the connection's two
    /// ends, version 2 is LOCAL.
    pub fn local(version: ProxyVersion, ends: Ends) -> Self {
        let mut written = Self { bytes: [0; WRITTEN_LEN_MAX], len: 0 };
        match version {
            ProxyVersion::V1 => v1::write(ends, &mut written),
            ProxyVersion::V2 => v2::write(None, &mut written),
        }
        written
    }

    /// Adds what there is room for.
    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }
}

impl Deref for Written {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::fmt::Write for Written {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
