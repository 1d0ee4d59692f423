//! How often requests of a pool may be sent again: a budget over a sliding window, shared by all workers.
//!
//! Retries help when one member fails and harm when all do: then they are more load on what is overloaded. So they are
//! at most a share of what was asked for of late, and a few more, without which a quiet pool could never retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::config::retry::{Retry, RetryOn};
use crate::time::Millis;

/// Length of the window, in seconds.
pub const WINDOW_S: u64 = 10;
/// Retries that a window has beyond its share.
pub const FLOOR: u32 = 3;

/// When requests of a pool are sent again.
#[derive(Clone, Debug)]
pub struct RetryRules {
    /// After what.
    on: u8,
    /// Most attempts after the first.
    pub attempts: u32,
    budget_percent: u8,
    /// What of the budget is used up; kept for as long as the pool keeps its id.
    pub budget: Arc<Budget>,
}

impl RetryRules {
    /// Compiles `retry`, taking over what the pool's rules before knew.
    pub fn build(retry: &Retry, previous: Option<&Self>) -> Self {
        Self {
            on: retry.on.iter().fold(0, |set, cause| set | bit(*cause)),
            attempts: u32::from(retry.attempts),
            budget_percent: retry.budget_percent,
            budget: previous.map(|rules| Arc::clone(&rules.budget)).unwrap_or_default(),
        }
    }

    /// True if a request is sent again after that.
    pub fn includes(&self, cause: RetryOn) -> bool {
        self.on & bit(cause) != 0
    }

    /// Takes one retry out of the budget; false if there is none left.
    pub fn claim(&self, now: Millis) -> bool {
        self.budget.claim(self.budget_percent, now)
    }
}

fn bit(cause: RetryOn) -> u8 {
    1 << cause as u8
}

/// Requests and retries of the last seconds. Every worker writes; a few that meet at the turn of a second may be lost.
#[derive(Debug)]
pub struct Budget {
    seconds: [Second; WINDOW_S as usize],
}

/// What happened in one second. On a cache line with its neighbours: only pools with a budget have it at all.
#[derive(Debug, Default)]
struct Second {
    /// Which one, counted from 1; 0: none yet.
    number: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { seconds: std::array::from_fn(|_| Second::default()) }
    }
}

impl Budget {
    /// One more request was asked for.
    pub fn request(&self, now: Millis) {
        self.second(now).requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry if those of the window stay within `percent` of its requests and [`FLOOR`].
    fn claim(&self, percent: u8, now: Millis) -> bool {
        let current = number(now);
        // Counted first and looked at then: of two that want the last one neither goes over.
        let second = self.second(now);
        second.retries.fetch_add(1, Ordering::Relaxed);
        let within = |second: &&Second| current - second.number.load(Ordering::Relaxed).min(current) < WINDOW_S;
        let sum = |figure: fn(&Second) -> &AtomicU32| {
            self.seconds.iter().filter(within).map(|s| u64::from(figure(s).load(Ordering::Relaxed))).sum::<u64>()
        };
        let (requests, retries) = (sum(|s| &s.requests), sum(|s| &s.retries));
        let allowed = requests * u64::from(percent) / 100 + u64::from(FLOOR);
        if retries > allowed {
            second.retries.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// The place of this second, emptied if it held an older one.
    fn second(&self, now: Millis) -> &Second {
        let number = number(now);
        let second = &self.seconds[(number % WINDOW_S) as usize];
        let known = second.number.load(Ordering::Relaxed);
        if known < number && second.number.compare_exchange(known, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            second.requests.store(0, Ordering::Relaxed);
            second.retries.store(0, Ordering::Relaxed);
        }
        second
    }
}

fn number(now: Millis) -> u64 {
    now.0 / 1000 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(percent: u8) -> RetryRules {
        let on = vec![RetryOn::ConnectFailure, RetryOn::Status503];
        RetryRules::build(&Retry { on, attempts: 2, budget_percent: percent }, None)
    }

    fn claims(rules: &RetryRules, n: u32, now: u64) -> usize {
        (0..n).filter(|_| rules.claim(Millis(now))).count()
    }

    #[test]
    fn retries_are_a_share_of_requests_and_a_few_more() {
        let rules = rules(20);
        assert_eq!(claims(&rules, 10, 5_000), FLOOR as usize, "nobody asked for anything");
        (0..100).for_each(|_| rules.budget.request(Millis(5_500)));
        assert_eq!(claims(&rules, 100, 6_000), 20);
        assert_eq!(claims(&rules, 100, 14_900), 0, "still in the window");
        assert_eq!(claims(&rules, 100, 16_100), FLOOR as usize, "requests and retries have left the window");
    }

    #[test]
    fn a_budget_of_nothing_has_its_floor_and_causes_are_told_apart() {
        let rules = rules(0);
        (0..1000).for_each(|_| rules.budget.request(Millis(0)));
        assert_eq!(claims(&rules, 100, 0), FLOOR as usize);
        assert!(rules.includes(RetryOn::ConnectFailure) && rules.includes(RetryOn::Status503));
        assert!(!rules.includes(RetryOn::EmptyResponse) && !rules.includes(RetryOn::ResponseTimeout));
    }

    #[test]
    fn what_was_used_up_stays_used_up_when_a_document_is_replaced() {
        let old = rules(20);
        assert_eq!(claims(&old, 10, 1_000), FLOOR as usize);
        let retry = Retry { on: vec![], attempts: 1, budget_percent: 50 };
        assert_eq!(claims(&RetryRules::build(&retry, Some(&old)), 10, 1_000), 0);
    }

    proptest::proptest! {
        #[test]
        fn no_retry_ever_takes_more_than_its_share(
            steps in proptest::collection::vec((0u64..1500, proptest::bool::ANY), 1..400),
        ) {
            let rules = rules(30);
            let (mut now, mut asked, mut taken) = (0, Vec::new(), Vec::new());
            for (pause, retry) in steps {
                now += pause;
                // A window begins with a second.
                let first = (now / 1000 + 1).saturating_sub(WINDOW_S) * 1000;
                let of = |all: &[u64]| all.iter().filter(|at| **at >= first).count();
                let may = of(&taken) < of(&asked) * 30 / 100 + FLOOR as usize;
                if !retry {
                    rules.budget.request(Millis(now));
                    asked.push(now);
                } else {
                    proptest::prop_assert_eq!(rules.claim(Millis(now)), may);
                    taken.extend(may.then_some(now));
                }
            }
        }
    }
}
