//! Which texts name a host: the value of `Host`, and the authority of a target.

use std::net::Ipv6Addr;

/// A host with an optional port: reg-name, IPv4 or bracketed IPv6 (RFC 3986 section 3.2.2). User information is no part of it.
///
/// By characters, and where readers differ, narrower than that: a `%` stands before two hexadecimal digits, brackets hold an
/// address, a port is one that a socket can have, and there is no comma, with which some make one field of two.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (sound, port) = match value.iter().position(|b| *b == b']') {
        Some(end) if value.first() == Some(&b'[') => {
            let address = std::str::from_utf8(&value[1..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
            match value.get(end + 1) {
                None => return address.is_some(),
                Some(b':') => (address.is_some(), &value[end + 2..]),
                Some(_) => return false,
            }
        }
        _ => match value.iter().position(|b| *b == b':') {
            Some(colon) => (is_name(&value[..colon]), &value[colon + 1..]),
            None => (is_name(value), &b""[..]),
        },
    };
    sound && is_port(port)
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && (name.iter().all(|b| REG_NAME[usize::from(*b)]) || is_escaped_name(name))
}

/// Hardly anybody escapes in a name: looked at apart.
#[cold]
fn is_escaped_name(name: &[u8]) -> bool {
    let hex = |at: usize| name.get(at).is_some_and(u8::is_ascii_hexdigit);
    let sound = |(at, b): (usize, &u8)| if *b == b'%' { hex(at + 1) && hex(at + 2) } else { REG_NAME[usize::from(*b)] };
    name.iter().enumerate().all(sound)
}

/// Nothing, or digits that are a port.
fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')) <= u32::from(u16::MAX)
}

/// Bytes that stand for themselves in a registered name (RFC 3986 section 3.2.2), but for the comma.
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"-._~!$&'()*+;=";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = true;
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_ports_there_are() {
        for good in [
            "a",
            "a.b",
            "A-b_c.d.",
            "1.2.3.4:80",
            "a:",
            "a:0",
            "a:65535",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]:",
            "b%C3%BCcher",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:65536",
            "a:99999",
            "a:000080",
            "a:x",
            "a:8 0",
            "a, b",
            "a,b",
            "a,",
            ",a:80",
            "a%41,b",
            "a b",
            "a/b",
            "a@b",
            "a?b",
            "a#b",
            "%",
            "%1",
            "%zz",
            "a%2",
            "[]",
            "[a]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[::g]",
            "[1.2.3.4]",
            "::1",
            "a[",
            "\u{e9}",
            "a\\b",
            "\"a\"",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
