//! Version 2: a fixed part of 16 bytes, addresses, extensions (type, length, value).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::Crc32c;
use super::{Ends, Header, Parsed, Refusal, V2_LEN_MAX, Written};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
pub(super) const FIXED_LEN: usize = 16;

const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Bytes of the addresses and ports.
const TCP4_LEN: usize = 12;
const TCP6_LEN: usize = 36;
const UNIX_LEN: usize = 216;

/// Type and length of an extension.
const EXTENSION_HEAD_LEN: usize = 3;
/// CRC-32C of the whole header, computed with this value as zero.
const EXTENSION_CHECKSUM: u8 = 0x03;

/// `bytes` begin with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    match try_parse(bytes) {
        Ok(Some(header)) => Parsed::Header(header),
        Ok(None) => Parsed::Incomplete,
        Err(refusal) => Parsed::Refused(refusal),
    }
}

/// `None`: there is more to come. What is wrong is said as soon as it can be known.
fn try_parse(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    let mut fixed = bytes[SIGNATURE.len()..].iter().copied();
    let Some(version_and_command) = fixed.next() else { return Ok(None) };
    if version_and_command >> 4 != VERSION {
        return Err(Refusal::Version);
    }
    let command = version_and_command & 0x0f;
    if !matches!(command, LOCAL | PROXY) {
        return Err(Refusal::Command);
    }
    let Some(family) = fixed.next() else { return Ok(None) };
    let addresses_len = match family {
        // Of a connection of the sender's own nothing else matters.
        _ if command == LOCAL => 0,
        0x00 => 0,
        // Datagrams are among what the protocol has, and no business of ours.
        TCP4 | 0x12 => TCP4_LEN,
        TCP6 | 0x22 => TCP6_LEN,
        0x31 | 0x32 => UNIX_LEN,
        _ => return Err(Refusal::Family),
    };
    let (Some(high), Some(low)) = (fixed.next(), fixed.next()) else { return Ok(None) };
    let rest_len = usize::from(u16::from_be_bytes([high, low]));
    let len = FIXED_LEN + rest_len;
    if len > V2_LEN_MAX {
        return Err(Refusal::TooLong);
    }
    if rest_len < addresses_len {
        return Err(Refusal::TooShort);
    }
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    let (addresses, _) = whole[FIXED_LEN..].split_at(addresses_len);
    let ends = match addresses_len {
        0 => None,
        _ => {
            check_extensions(whole, FIXED_LEN + addresses_len)?;
            ends(family, addresses)
        }
    };
    Ok(Some(Header { ends, len }))
}

/// `None`: not TCP over IP.
fn ends(family: u8, addresses: &[u8]) -> Option<Ends> {
    let address = |at: usize| match family {
        TCP4 => addresses.get(at..at + 4)?.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))),
        TCP6 => addresses.get(at..at + 16)?.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets))),
        _ => None,
    };
    let port = |at: usize| addresses.get(at..at + 2)?.first_chunk().map(|octets| u16::from_be_bytes(*octets));
    let size = if family == TCP4 { 4 } else { 16 };
    Some(Ends {
        source: SocketAddr::new(address(0)?, port(2 * size)?),
        destination: SocketAddr::new(address(size)?, port(2 * size + 2)?),
    })
}

/// Walks the extensions of `header`, which begin at `at`. All are skipped but the checksum.
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), Refusal> {
    while at < header.len() {
        let Some(&[kind, high, low]) = header[at..].first_chunk::<EXTENSION_HEAD_LEN>() else {
            return Err(Refusal::Extension);
        };
        let value_at = at + EXTENSION_HEAD_LEN;
        let end = value_at + usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(value_at..end).ok_or(Refusal::Extension)?;
        if kind == EXTENSION_CHECKSUM {
            let said: &[u8; 4] = value.try_into().map_err(|_| Refusal::Extension)?;
            let sum = Crc32c::default().add(&header[..value_at]).add(&[0; 4]).add(&header[end..]).sum();
            if u32::from_be_bytes(*said) != sum {
                return Err(Refusal::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

/// `None`: LOCAL.
pub(super) fn write(ends: Option<Ends>, to: &mut Written) {
    to.push(SIGNATURE);
    let Some(Ends { source, destination }) = ends.map(Ends::of_one_family) else {
        return to.push(&[VERSION << 4 | LOCAL, 0, 0, 0]);
    };
    to.push(&[VERSION << 4 | PROXY]);
    let (kind, len) = if source.is_ipv4() { (TCP4, TCP4_LEN) } else { (TCP6, TCP6_LEN) };
    to.push(&[kind, 0, len as u8]);
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(v4) => to.push(&v4.octets()),
            IpAddr::V6(v6) => to.push(&v6.octets()),
        }
    }
    to.push(&source.port().to_be_bytes());
    to.push(&destination.port().to_be_bytes());
}
