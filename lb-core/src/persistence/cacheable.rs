//! Whether a shared cache might keep an answer, as HAProxy judges it: only then a cookie on it needs a word about that.

use super::{Answer, Asked};

/// True if method, status and fields let a shared cache keep the answer.
pub(super) fn looks_cacheable(asked: Asked, answer: &impl Answer) -> bool {
    if asked != Asked::Get || !STATUSES.contains(&answer.status()) {
        return false;
    }
    let words =
        || answer.fields(b"cache-control").flat_map(|field| field.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let says = |word: &[u8]| words().any(|written| written.eq_ignore_ascii_case(word));
    if says(b"public") {
        return true;
    }
    let starts = |written: &[u8], with: &[u8]| written.get(..with.len()).is_some_and(|w| w.eq_ignore_ascii_case(with));
    if FORBIDDING.iter().any(|word| says(word)) {
        return false;
    }
    let fresh = FRESHNESS.iter().any(|word| words().any(|written| starts(written, word)));
    let has = |name: &'static [u8]| answer.fields(name).next().is_some();
    fresh || has(b"expires") || has(b"etag") || has(b"last-modified")
}

/// Statuses that may be kept without being told to (RFC 9110 section 15.1).
const STATUSES: [u16; 12] = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];
const FORBIDDING: [&[u8]; 5] = [b"private", b"no-cache", b"no-store", b"max-age=0", b"s-maxage=0"];
const FRESHNESS: [&[u8]; 2] = [b"max-age=", b"s-maxage="];
