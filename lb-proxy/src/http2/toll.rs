//! What of a peer's bytes means nothing.
//!
//! Data is held back by windows and heads by their limit; everything else is free of charge in HTTP/2, and counts here.

use super::law::{DATA, HEAD, parts};

const PADDED: u8 = 8;
/// Most bytes of padding in a frame, with the one that says how many.
const PADDING_MAX: usize = 256;

/// How many bytes of a frame count: all of it, but of data only what surrounds it.
pub(super) fn of(head: [u8; HEAD]) -> i64 {
    let (len, kind, flags, _) = parts(head);
    let counted = match (kind, flags & PADDED) {
        (DATA, 0) => 0,
        (DATA, _) => len.min(PADDING_MAX),
        _ => len,
    };
    (HEAD + counted) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_free_and_what_surrounds_it_is_not() {
        for (len, kind, flags, expected) in
            [(100_u16, 0, 0, 9), (0, 0, 0, 9), (100, 0, 8, 109), (9000, 0, 9, 265), (8, 6, 0, 17), (500, 1, 4, 509)]
        {
            let [a, b] = len.to_be_bytes();
            assert_eq!(of([0, a, b, kind, flags, 0, 0, 0, 1]), expected, "{len} {kind} {flags}");
        }
    }
}
