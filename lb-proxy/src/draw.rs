//! Random numbers for choices between members: cheap, each worker's own, good enough to spread work and for nothing else.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

/// Marsaglia's xorshift with a multiplication at its end.
#[derive(Debug)]
pub struct Draws(Cell<u64>);

impl Default for Draws {
    /// Begins somewhere nobody knows, so that data planes do not go in step.
    fn default() -> Self {
        // The generator stands still at 0.
        Self(Cell::new(RandomState::new().hash_one(0) | 1))
    }
}

impl Draws {
    /// The next number.
    pub fn next(&self) -> u32 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_differ_from_one_worker_to_the_next() {
        let draws = Draws::default();
        let high = (0..10_000).filter(|_| draws.next() > u32::MAX / 2).count();
        assert!((4_500..5_500).contains(&high), "{high} of 10000 are in the upper half");
        assert_ne!((draws.next(), draws.next()), (Draws::default().next(), Draws::default().next()));
    }
}
