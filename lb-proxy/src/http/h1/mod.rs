//! HTTP/1.0 and 1.1 on the wire: heads read into spans, framing decided, heads written anew.
//!
//! Strict by intent: whatever two parsers could read differently is refused here, so that nothing ambiguous
//! ever reaches a member (RFC 9112). What goes out is always written from what was understood, never copied
//! from what came in.

pub mod chunked;
pub mod fields;
mod host;
pub mod request;
pub mod response;
pub mod upgrade;

use lb_core::config::limits;

/// Longest head that is read, request or response, in bytes (HAProxy: a buffer of 16384 less its reserve).
pub const HEAD_MAX: usize = limits::HEAD_SIZE_MAX as usize;
/// Most fields in a head (HAProxy: 101).
pub const FIELDS_MAX: usize = limits::HEADER_COUNT_MAX as usize;
/// Longest request target, in bytes; RFC 9112 section 3 asks for at least 8000.
pub const TARGET_MAX: usize = limits::TARGET_LENGTH_MAX as usize;

/// How the end of a body is found, RFC 9112 section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body follows the head.
    None,
    /// That many bytes follow.
    Length(u64),
    /// Chunks follow.
    Chunked,
    /// The body ends with the connection (responses only).
    UntilClose,
}

/// Length of the head at the start of `bytes`, its empty line included, or `None` while that has not come.
/// `from` is how much was searched in vain before.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(3);
    while let Some(found) = memchr::memchr(b'\n', &bytes[at..]) {
        let newline = at + found;
        match bytes.get(newline + 1) {
            Some(b'\n') => return Some(newline + 2),
            Some(b'\r') if bytes.get(newline + 2) == Some(&b'\n') => return Some(newline + 3),
            _ => at = newline + 1,
        }
    }
    None
}

/// True if every LF of a head ends a CRLF. A bare LF is a line end to some parsers and not to others.
pub fn lines_end_in_crlf(head: &[u8]) -> bool {
    // Every pair is looked at, whatever was found before: the compiler makes this a few vector instructions.
    let bare = head.windows(2).fold(false, |bare, pair| bare | ((pair[1] == b'\n') & (pair[0] != b'\r')));
    !bare && head.first() != Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_empty_line_however_the_head_arrives() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for searched in 0..=27 {
            assert_eq!(head_end(&head[..27], searched.min(26)), Some(27), "{searched}");
        }
        for part in 0..27 {
            assert_eq!(head_end(&head[..part], 0), None, "{part}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\n\n", 0), Some(16));
    }

    #[test]
    fn a_bare_line_feed_is_seen() {
        assert!(lines_end_in_crlf(b"GET / HTTP/1.1\r\n\r\n"));
        assert!(!lines_end_in_crlf(b"GET / HTTP/1.1\n\r\n"));
        assert!(!lines_end_in_crlf(b"\n"));
    }
}
