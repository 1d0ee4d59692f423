//! Version 1: one line of text.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{Ends, Header, Parsed, Refusal, V1_LEN_MAX, Written};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// `bytes` begin with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let most = &bytes[..bytes.len().min(V1_LEN_MAX)];
    let Some(end) = most.iter().position(|byte| *byte == b'\n') else {
        // A carriage return may be the last byte so far, and only that.
        return match most.iter().position(|byte| *byte == b'\r') {
            Some(place) if place + 1 < most.len() => Parsed::Refused(Refusal::LineEnd),
            _ if most.len() == V1_LEN_MAX => Parsed::Refused(Refusal::TooLong),
            _ => Parsed::Incomplete,
        };
    };
    let len = end + 1;
    let Some((b'\r', line)) = bytes[..end].split_last().filter(|(_, line)| !line.contains(&b'\r')) else {
        return Parsed::Refused(Refusal::LineEnd);
    };
    match ends(&line[SIGNATURE.len()..]) {
        Ok(ends) => Parsed::Header(Header { ends, len }),
        Err(refusal) => Parsed::Refused(refusal),
    }
}

/// What stands between signature and line end.
fn ends(words: &[u8]) -> Result<Option<Ends>, Refusal> {
    let (family, rest) = match words.iter().position(|byte| *byte == b' ') {
        Some(space) => (&words[..space], Some(&words[space + 1..])),
        None => (words, None),
    };
    let read = match family {
        // What it says of addresses is to be ignored.
        b"UNKNOWN" => return Ok(None),
        b"TCP4" => addresses::<std::net::Ipv4Addr>,
        b"TCP6" => addresses::<std::net::Ipv6Addr>,
        _ => return Err(Refusal::Family),
    };
    rest.and_then(read).map(Some).ok_or(Refusal::Addresses)
}

/// `source destination source-port destination-port`
fn addresses<A: FromStr + Into<IpAddr>>(words: &[u8]) -> Option<Ends> {
    let mut words = std::str::from_utf8(words).ok()?.split(' ');
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (source, destination) = (address()?, address()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    let ends = Ends {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    };
    words.next().is_none().then_some(ends)
}

/// Digits without leading zeros.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().ok() } else { None }
}

pub(super) fn write(ends: Ends, to: &mut Written) {
    let Ends { source, destination } = ends.of_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    // Writing there cannot fail, and the longest line fits.
    let _ =
        write!(to, "PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port());
}
