//! Which texts name a host: the value of `Host`, and the authority of a target.

/// A host with an optional port, by its characters: reg-name, IPv4 or bracketed IPv6 (RFC 3986 section 3.2.2).
/// User information is no part of it.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().position(|b| *b == b']') {
        Some(end) if value.first() == Some(&b'[') => {
            let inside = &value[1..end];
            if inside.is_empty() || !inside.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
                return false;
            }
            match value.get(end + 1) {
                None => return true,
                Some(b':') => (&b"x"[..], &value[end + 2..]),
                Some(_) => return false,
            }
        }
        _ => match value.iter().position(|b| *b == b':') {
            Some(colon) => (&value[..colon], &value[colon + 1..]),
            None => (value, &b""[..]),
        },
    };
    !host.is_empty()
        && host.iter().all(|b| REG_NAME[usize::from(*b)])
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}

/// Bytes of a registered name (RFC 3986 section 3.2.2).
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"-._~%!$&'()*+,;=";
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
