//! What values are made unforgeable with: a secret of the node, and those derived from it.
//!
//! SipHash-2-4 with 128 bits is a keyed pseudo-random function made for short messages: a value takes some 30 ns, nobody
//! without the key can make one or tell two members apart by theirs, and it needs no cryptographic library.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};
use uuid::Uuid;

/// Fewest bytes a secret is made of.
pub const SECRET_LEN_MIN: usize = 16;

/// A secret of 128 bits. Says nothing of itself when printed. The default is no secret at all: for tests.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// Condenses `bytes`; `None` if they are fewer than [`SECRET_LEN_MIN`]. All of them count.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, _) = bytes.split_first_chunk::<16>()?;
        let mut chunks = bytes.chunks(16);
        chunks.next();
        Some(chunks.fold(Self(*first), |secret, chunk| Self(secret.mac(&[chunk]))).child("weir", Uuid::nil()))
    }

    /// A secret of its own for `purpose` of the object `id`. From it nobody learns this one.
    #[must_use]
    pub fn child(&self, purpose: &str, id: Uuid) -> Self {
        Self(self.mac(&[purpose.as_bytes(), b"\0", id.as_bytes()]))
    }

    /// The keyed hash of `parts`, one behind the other.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        parts.iter().for_each(|part| hasher.write(part));
        hasher.finish128().as_bytes()
    }

    /// The key itself, for whoever hashes with another function.
    pub(super) fn key(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_and_few_are_refused() {
        assert_eq!(Secret::from_bytes(&[7; 15]), None);
        let long: Vec<u8> = (0..64).collect();
        let whole = Secret::from_bytes(&long).unwrap();
        for changed in 0..64 {
            let mut other = long.clone();
            other[changed] ^= 1;
            assert_ne!(Secret::from_bytes(&other), Some(whole), "{changed}");
        }
        assert_ne!(Secret::from_bytes(&long[..63]), Some(whole));
        assert_eq!(format!("{whole:?}"), "Secret");
    }

    #[test]
    fn children_differ_by_purpose_and_by_object() {
        let secret = Secret::from_bytes(&[1; 32]).unwrap();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(secret.child("x", a), secret.child("x", a));
        assert_ne!(secret.child("x", a), secret.child("y", a));
        assert_ne!(secret.child("x", a), secret.child("x", b));
    }
}
