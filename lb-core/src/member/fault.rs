//! Passive avoidance: live traffic that just failed on a member keeps the next requests away from it.
//!
//! No probe is needed for that. After a failed connection the member is left alone for a while, which doubles
//! with each further failure; when the while is over exactly one request may try it again. A success clears
//! everything. Written by any worker, so all is atomic; the words are independent and a lost race costs one
//! needless try, never a wrong answer.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::time::Millis;

/// How long a member is left alone after its first failure, in milliseconds.
pub const AVOID_FIRST_MS: u64 = 50;
/// Longest time a member is left alone, in milliseconds.
pub const AVOID_MAX_MS: u64 = 2_000;
/// Connections that may hang unanswered on one member before it counts as a black hole.
pub const STUCK_CONNECTS_MAX: u32 = 3;
/// A connection that takes longer than this is slow, unless the member is known to be far away.
pub const CONNECT_SLOW_MS: u64 = 15;
/// How long the first connections to a member nobody has reached yet are waited for when others could serve.
pub const CONNECT_UNKNOWN_MS: u64 = 250;

/// See the module.
#[derive(Debug, Default)]
pub struct Fault {
    failures: AtomicU32,
    avoid_until_ms: AtomicU64,
    stuck: AtomicU32,
    /// Somebody was let through to try it again and has not come back.
    tried_again: AtomicBool,
    /// Microseconds the last good connection took; 0: none yet.
    connect_us: AtomicU32,
    /// When it last did what it was asked; 0: never.
    worked_at_ms: AtomicU64,
}

impl Fault {
    /// True if a request may be sent to the member at `now`.
    pub fn usable(&self, now: Millis) -> bool {
        if self.hangs() {
            return false;
        }
        self.failures.load(Ordering::Relaxed) == 0 || now.0 >= self.avoid_until_ms.load(Ordering::Relaxed)
    }

    /// True if traffic goes elsewhere because of what the member last did.
    pub fn avoided(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0 || self.hangs()
    }

    fn failing(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0
    }

    /// True if so many connections hang there now that one more would, too.
    pub fn hangs(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) >= STUCK_CONNECTS_MAX
    }

    /// Takes the right to try the member at `now`. Of many that ask after the time of avoidance, one gets it
    /// and the others are kept away for one more [`AVOID_FIRST_MS`].
    pub fn claim(&self, now: Millis) -> bool {
        if !self.usable(now) {
            return false;
        }
        if !self.failing() {
            return true;
        }
        let until = self.avoid_until_ms.load(Ordering::Relaxed);
        let next = now.after(AVOID_FIRST_MS).0;
        let mine = now.0 >= until
            && self.avoid_until_ms.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            self.tried_again.store(true, Ordering::Relaxed);
        }
        mine
    }

    /// A connection to the member failed: refused, unreachable, timed out, or given up. Of many that fail at
    /// once one counts: together they say no more than that the member was gone then.
    pub fn failed(&self, now: Millis) {
        let avoided = self.failing() && now.0 < self.avoid_until_ms.load(Ordering::Relaxed);
        if !self.tried_again.swap(false, Ordering::Relaxed) && avoided {
            return;
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = (AVOID_FIRST_MS << before).min(AVOID_MAX_MS);
        self.avoid_until_ms.fetch_max(now.after(pause).0, Ordering::Relaxed);
    }

    /// It did what it was asked at `now`: connected, or answered. Clears what it did before.
    pub fn works(&self, now: Millis) {
        self.worked_at_ms.store(now.0.max(1), Ordering::Relaxed);
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.avoid_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// True if it did what it was asked within `ms` before `now`.
    pub fn worked_within(&self, ms: u64, now: Millis) -> bool {
        let at = self.worked_at_ms.load(Ordering::Relaxed);
        at != 0 && now.since(Millis(at)) <= ms
    }

    /// A connection to the member was made at `now` and took `took_us` microseconds.
    pub fn connected(&self, took_us: u32, now: Millis) {
        self.works(now);
        self.connect_us.store(took_us.max(1), Ordering::Relaxed);
    }

    /// How long a connection may take before it is slow for this member, in milliseconds.
    pub fn slow_after_ms(&self) -> u64 {
        let usual = u64::from(self.connect_us.load(Ordering::Relaxed)) * 4 / 1000;
        usual.max(CONNECT_SLOW_MS)
    }

    /// Notes one more slow connection; pair with [`Self::unstuck`]. Says how much longer it should be waited
    /// for, in milliseconds, if somebody else could serve: nothing when the member was reached before, has
    /// just failed or lets others hang too; a while when nobody knows yet how far away it is.
    pub fn stuck(&self) -> u64 {
        let hanging = self.stuck.fetch_add(1, Ordering::Relaxed) + 1;
        let known = self.connect_us.load(Ordering::Relaxed) != 0;
        let failing = self.failures.load(Ordering::Relaxed) != 0;
        if known || failing || hanging >= STUCK_CONNECTS_MAX { 0 } else { CONNECT_UNKNOWN_MS - CONNECT_SLOW_MS }
    }

    /// A connection that was slow has ended, well or not.
    pub fn unstuck(&self) {
        self.stuck.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_keeps_traffic_away_for_a_while_then_one_may_try() {
        let fault = Fault::default();
        assert!(fault.claim(Millis(10)));
        fault.failed(Millis(10));
        assert!(!fault.usable(Millis(10 + AVOID_FIRST_MS - 1)));
        let later = Millis(10 + AVOID_FIRST_MS);
        assert!(fault.usable(later));
        assert!(fault.claim(later));
        assert!(!fault.claim(later), "a second try in the same while");
        fault.connected(100, later);
        assert!(fault.usable(later) && fault.claim(later) && fault.claim(later));
    }

    #[test]
    fn hanging_connections_make_a_black_hole_until_they_end() {
        let fault = Fault::default();
        assert!(fault.stuck() > 0 && fault.stuck() > 0, "the first ones learn how far away the member is");
        assert!(fault.usable(Millis(0)));
        assert_eq!(fault.stuck(), 0, "one too many");
        assert!(!fault.usable(Millis(0)) && !fault.claim(Millis(0)));
        fault.unstuck();
        assert!(fault.usable(Millis(0)));
        fault.unstuck();
        fault.unstuck();
        fault.failed(Millis(0));
        assert_eq!(fault.stuck(), 0, "whoever tries it again does not pay for it");
    }

    #[test]
    fn a_far_member_is_given_its_time() {
        let fault = Fault::default();
        fault.connected(80_000, Millis(5));
        assert!(fault.worked_within(10, Millis(15)) && !fault.worked_within(10, Millis(16)));
        assert_eq!(fault.slow_after_ms(), 320);
        assert_eq!(fault.stuck(), 0, "known: no need to wait longer than usual");
    }

    #[test]
    fn avoidance_doubles_up_to_its_bound() {
        let fault = Fault::default();
        let mut now = Millis(0);
        for _ in 0..64 {
            fault.failed(now);
        }
        assert!(fault.usable(now.after(AVOID_FIRST_MS)), "a burst of failures is one");
        for _ in 0..40 {
            fault.failed(now);
            now = now.after(AVOID_MAX_MS);
            assert!(fault.claim(now));
        }
        fault.failed(now);
        assert!(!fault.usable(now.after(AVOID_MAX_MS - 1)));
    }
}
