//! What of a peer's bytes means nothing: frames are walked as they come, by their heads alone, before the framing
//! library sees them.
//!
//! Data is held back by windows and heads by their limit; everything else is free of charge in HTTP/2, and counts here.

/// Bytes of a frame's head.
const HEAD: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 8;
/// Most bytes of padding in a frame, with the one that says how many.
const PADDING_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Toll {
    /// Bytes that are passed over: a preface, or the rest of a frame.
    skip: usize,
    head: [u8; HEAD],
    /// How much of the head has come.
    known: usize,
}

impl Toll {
    /// Of a peer that begins with `preface` bytes that are no frame.
    pub fn after(preface: usize) -> Self {
        Self { skip: preface, head: [0; HEAD], known: 0 }
    }

    /// How many bytes count, of frames whose heads end in `bytes`: whole frames, but of data only what surrounds it.
    pub fn of(&mut self, mut bytes: &[u8]) -> i64 {
        let mut sum = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return sum;
            }
            let n = (HEAD - self.known).min(bytes.len());
            self.head[self.known..self.known + n].copy_from_slice(&bytes[..n]);
            self.known += n;
            bytes = &bytes[n..];
            if self.known == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                let counted = match (kind, flags & PADDED) {
                    (DATA, 0) => 0,
                    (DATA, _) => len.min(PADDING_MAX),
                    _ => len,
                };
                sum += (HEAD + counted) as i64;
                (self.known, self.skip) = (0, len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(len: usize, kind: u8, flags: u8) -> Vec<u8> {
        let mut frame = (len as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(HEAD + len, 7);
        frame
    }

    #[test]
    fn data_is_free_and_what_surrounds_it_is_not() {
        for (len, kind, flags, expected) in
            [(100, 0, 0, 9), (0, 0, 0, 9), (100, 0, 8, 109), (9000, 0, 9, 265), (8, 6, 0, 17), (500, 1, 4, 509)]
        {
            assert_eq!(Toll::after(0).of(&frame(len, kind, flags)), expected, "{len} {kind} {flags}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_bytes_come(
            frames in prop::collection::vec((0usize..300, 0u8..10, any::<u8>()), 0..20),
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(len, kind, flags)| frame(*len, *kind, *flags)).collect();
            let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &bytes].concat();
            let whole = Toll::after(24).of(&bytes);
            let (mut toll, mut rest, mut sum) = (Toll::after(24), &bytes[..], 0);
            for cut in cuts.iter().cycle() {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                sum += toll.of(piece);
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(sum, whole);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(Toll::after(0).of(&bytes) >= 0);
        }
    }
}
