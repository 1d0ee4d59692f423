//! The cookie in the first message of a remote desktop client: an X.224 connection request in a TPKT
//! (MS-RDPBCGR 2.2.1.1), with a line `Cookie: NAME=value`.
//!
//! Bytes come as they come and are never taken: whoever looks at them looks again when there are more.

/// Longest first message that is waited for, in bytes. A connection request's length is one byte, so no client sends
/// more than 259.
pub const MESSAGE_MAX: usize = 512;

/// Bytes before the cookie: TPKT 4, X.224 7.
const HEADER_LEN: usize = 11;
const TPKT_VERSION: u8 = 3;
/// The upper half of the byte that says what the message is.
const CONNECTION_REQUEST: u8 = 0xe0;
const WORD: &[u8] = b"Cookie:";

/// It may be there once more bytes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete;

/// What a beginning of a connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought<'a> {
    /// The cookie's value, which is not empty.
    Found(&'a [u8]),
    /// It cannot come any more, whatever follows.
    Absent,
    /// It may still come.
    Incomplete,
}

/// Looks for the value of the cookie `name`, whose case does not matter.
pub fn find<'a>(bytes: &'a [u8], name: &[u8]) -> Sought<'a> {
    let Some(len) = announced(bytes) else { return Sought::Absent };
    let rest = &bytes[bytes.len().min(HEADER_LEN)..bytes.len().min(len)];
    let room = len - HEADER_LEN;
    // What has come of the message decides as soon as it can: a client that says something else is not waited for.
    let Some(rest) = without(rest, WORD) else { return Sought::Absent };
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let Some(rest) = without(&rest[spaces..], name) else { return Sought::Absent };
    let Some(value) = without(rest, b"=") else { return Sought::Absent };
    match value.iter().position(|byte| *byte == b'\r') {
        Some(0) => Sought::Absent,
        Some(end) if value.get(end + 1) == Some(&b'\n') => Sought::Found(&value[..end]),
        Some(end) if end + 1 < value.len() => Sought::Absent,
        // The line has not ended where the message does.
        _ if bytes.len() >= len || room <= WORD.len() => Sought::Absent,
        _ => Sought::Incomplete,
    }
}

/// Length of the message that begins with `bytes`, as far as they say it; `None`: it is none.
fn announced(bytes: &[u8]) -> Option<usize> {
    let at = |place: usize| bytes.get(place).copied();
    let version = at(0).is_none_or(|version| version == TPKT_VERSION);
    let request = at(5).is_none_or(|code| code & 0xf0 == CONNECTION_REQUEST);
    let len = match (at(2), at(3)) {
        (Some(high), Some(low)) => usize::from(u16::from_be_bytes([high, low])),
        (Some(high), None) => usize::from(high) << 8 | 0xff,
        _ => MESSAGE_MAX,
    };
    // A length whose lower half is missing may still turn out to be one that is short enough.
    let known = at(3).is_some();
    let fits = len > HEADER_LEN && (len <= MESSAGE_MAX || (!known && len & !0xff <= MESSAGE_MAX));
    (version && request && fits).then_some(len.min(MESSAGE_MAX))
}

/// What follows `word`, in any case. Nothing follows while only its beginning has come; `None`: it is another word.
fn without<'a>(bytes: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let len = bytes.len().min(word.len());
    bytes[..len].eq_ignore_ascii_case(&word[..len]).then(|| &bytes[len..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A connection request with this in its variable part.
    fn request(variable: &[u8]) -> Vec<u8> {
        let len = HEADER_LEN + variable.len();
        let mut bytes = vec![3, 0, (len >> 8) as u8, len as u8, (len - 5) as u8, 0xe0, 0, 0, 0, 0, 0];
        bytes.extend(variable);
        bytes
    }

    const NEGOTIATION: &[u8] = &[1, 0, 8, 0, 3, 0, 0, 0];

    #[test]
    fn the_cookie_of_a_client_is_found() {
        let whole = request(&[b"Cookie: mstshash=ELTONS\r\n", NEGOTIATION].concat());
        assert_eq!(find(&whole, b"mstshash"), Sought::Found(b"ELTONS"));
        assert_eq!(find(&whole, b"MSTSHASH"), Sought::Found(b"ELTONS"));
        assert_eq!(find(&request(b"COOKIE:msts=a b\r\n"), b"msts"), Sought::Found(b"a b"));
        let line_end = HEADER_LEN + b"Cookie: mstshash=ELTONS\r\n".len();
        for cut in 0..whole.len() {
            let expected = if cut < line_end { Sought::Incomplete } else { Sought::Found(&b"ELTONS"[..]) };
            assert_eq!(find(&whole[..cut], b"mstshash"), expected, "after {cut} bytes");
        }
    }

    #[test]
    fn who_sends_none_is_not_waited_for() {
        for (bytes, why) in [
            (request(NEGOTIATION), "only a negotiation"),
            (request(b"Cookie: msts=1\r\n"), "another cookie"),
            (request(b"Cookie: mstshash=\r\n"), "nothing in it"),
            (request(b"Cookie: mstshash=a\rb\n"), "no line"),
            (request(b"Cookie: mstshash=abc"), "no end of the line"),
            (request(b"Cookie"), "the message ends in the word"),
            (request(b"Cookie: mstshash"), "the message ends in the name"),
            (b"GET / HTTP/1.1\r\n".to_vec(), "another protocol"),
            (vec![22, 3, 1], "TLS"),
            (vec![3, 0, 0, 11], "no room"),
            (vec![3, 0, 3], "too long"),
            (vec![3, 0, 0, 40, 35, 0xf0], "data, no request"),
        ] {
            assert_eq!(find(&bytes, b"mstshash"), Sought::Absent, "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_was_decided_stays_so(bytes in prop::collection::vec(any::<u8>(), 0..40), variable in prop::bool::ANY) {
            let bytes = if variable { request(&[b"Cookie: a=", &bytes[..]].concat()) } else { bytes };
            let whole = find(&bytes, b"a");
            for cut in 0..bytes.len() {
                let part = find(&bytes[..cut], b"a");
                prop_assert!(part == Sought::Incomplete || part == whole, "{:?} after {} became {:?}", part, cut, whole);
            }
            let long = [&bytes[..], &[0; MESSAGE_MAX]].concat();
            prop_assert!(find(&long, b"a") != Sought::Incomplete, "waits for ever");
        }
    }
}
