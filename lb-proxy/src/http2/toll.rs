//! What of a peer's bytes means nothing: frames are walked as they come, by their heads alone, before the framing
//! library sees them. On the same walk a client is held to the [`Law`].
//!
//! Data is held back by windows and heads by their limit; everything else is free of charge in HTTP/2, and counts here.

use h2::Reason;

use super::law::{HEAD, Law};

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
    /// What the peer is held to.
    law: Option<Law>,
}

/// What a walk over bytes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// How many bytes count, of frames whose heads end there: whole frames, but of data only what surrounds it.
    pub cost: i64,
    /// What is wrong with them, and how many bytes come before the one that shows it.
    pub fault: Option<(usize, Reason)>,
}

impl Toll {
    /// Of a peer that begins with `preface` bytes that are no frame. `law`: what it is held to.
    pub fn after(preface: usize, law: Option<Law>) -> Self {
        Self { skip: preface, head: [0; HEAD], known: 0, law }
    }

    /// Walks over the next bytes. After a fault there is nothing to walk over.
    pub fn walk(&mut self, bytes: &[u8]) -> Walked {
        let (mut cost, mut at) = (0, 0);
        let fault = loop {
            let rest = &bytes[at..];
            let skipped = self.skip.min(rest.len());
            if let Some(Err((sound, reason))) = self.law.as_mut().map(|law| law.payload(&rest[..skipped])) {
                break Some((at + sound, reason));
            }
            self.skip -= skipped;
            at += skipped;
            let rest = &rest[skipped..];
            if rest.is_empty() {
                break None;
            }
            let n = (HEAD - self.known).min(rest.len());
            self.head[self.known..self.known + n].copy_from_slice(&rest[..n]);
            self.known += n;
            at += n;
            if self.known == HEAD {
                if let Some(Err(reason)) = self.law.as_mut().map(|law| law.head(self.head)) {
                    break Some((at - 1, reason));
                }
                let [a, b, c, kind, flags, ..] = self.head;
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                let counted = match (kind, flags & PADDED) {
                    (DATA, 0) => 0,
                    (DATA, _) => len.min(PADDING_MAX),
                    _ => len,
                };
                cost += (HEAD + counted) as i64;
                (self.known, self.skip) = (0, len);
            }
        };
        Walked { cost, fault }
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
            assert_eq!(Toll::after(0, None).walk(&frame(len, kind, flags)).cost, expected, "{len} {kind} {flags}");
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
            let held = || Toll::after(24, Some(Law::default()));
            let whole = held().walk(&bytes);
            let (mut toll, mut at, mut cost) = (held(), 0, 0);
            let mut fault = None;
            for cut in cuts.iter().cycle() {
                let end = (at + *cut).min(bytes.len());
                let walked = toll.walk(&bytes[at..end]);
                cost += walked.cost;
                fault = walked.fault.map(|(sound, reason)| (at + sound, reason));
                at = end;
                if fault.is_some() || at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(Walked { cost, fault }, whole);
            if fault.is_none() {
                prop_assert_eq!(Toll::after(24, None).walk(&bytes).cost, cost);
            }
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let walked = Toll::after(0, Some(Law::default())).walk(&bytes);
            prop_assert!(walked.cost >= 0 && walked.fault.is_none_or(|(sound, _)| sound < bytes.len()));
        }
    }
}
