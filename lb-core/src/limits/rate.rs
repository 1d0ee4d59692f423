//! A token bucket in one word: the generic cell rate algorithm.
//!
//! The word is the instant at which the bucket would be full again. Each taken token moves it on by one interval; a token may be
//! taken while it is no further ahead than the burst allows. So in any stretch of `t` seconds no more than `rate * t + burst` are taken.

use serde::{Deserialize, Serialize};

/// A monotonic instant in nanoseconds since an origin the caller chose. Rates are up to a million a second: milliseconds are too coarse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// How many in a second in the long run, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// 1..=[`RATE_MAX`].
    pub per_second: u32,
    /// 1..=[`RATE_MAX`].
    pub burst: u32,
}

/// Highest rate and burst.
pub const RATE_MAX: u32 = 1_000_000;

const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// Nanoseconds for one token, rounded up so that the rate is never exceeded.
    fn interval(self) -> u64 {
        SECOND.div_ceil(u64::from(self.per_second.max(1)))
    }

    /// Nanoseconds until an empty bucket is full.
    fn depth(self) -> u64 {
        self.interval() * u64::from(self.burst.max(1))
    }
}

/// One bucket; the default is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes a token, or says in how many nanoseconds there will be one. What was taken under another rate counts for no more
    /// than an empty bucket of this one.
    pub fn take(&mut self, rate: Rate, now: Nanos) -> Result<(), u64> {
        let (interval, depth) = (rate.interval(), rate.depth());
        let latest = now.0.saturating_add(depth);
        self.full_at = self.full_at.clamp(now.0, latest);
        let after = self.full_at.saturating_add(interval);
        if after > latest {
            return Err(after - latest);
        }
        self.full_at = after;
        Ok(())
    }

    /// True if nothing is known of it that a fresh one would not know.
    pub fn is_full(self, now: Nanos) -> bool {
        self.full_at <= now.0
    }
}
