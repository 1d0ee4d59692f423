//! Whether a shared cache might keep an answer, as HAProxy judges it: only then a cookie on it needs a word about that.

use super::{Answer, Asked};

/// True if method, status and fields let a shared cache keep the answer.
pub(super) fn looks_cacheable(asked: Asked, answer: &impl Answer) -> bool {
    if asked != Asked::Safe || !STATUSES.contains(&answer.status()) {
        return false;
    }
    let has = |name: &'static [u8]| answer.fields(name).next().is_some();
    let mut allowed = !words(answer, b"pragma").any(|word| is(word, b"no-cache"));
    let mut fresh = has(b"expires") || has(b"etag") || has(b"last-modified");
    for word in words(answer, b"cache-control") {
        // The last word counts: `public` allows again what was forbidden before it.
        if is(word, b"public") {
            allowed = true;
        } else if FORBIDDING.iter().any(|forbids| is(word, forbids)) {
            allowed = false;
        } else {
            fresh |= AGES.iter().any(|age| word.get(..age.len()).is_some_and(|begin| is(begin, age)));
        }
    }
    allowed && fresh
}

fn is(word: &[u8], other: &[u8]) -> bool {
    word.eq_ignore_ascii_case(other)
}

fn words<'a>(answer: &'a impl Answer, field: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    answer.fields(field).flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// Statuses that HAProxy 2.6 takes for ones that may be kept without being told to: all of RFC 9110 section 15.1 but 308.
const STATUSES: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];
const FORBIDDING: [&[u8]; 5] = [b"private", b"no-cache", b"no-store", b"max-age=0", b"s-maxage=0"];
const AGES: [&[u8]; 2] = [b"max-age", b"s-maxage"];
