//! When certificates and revocation lists end, and when that is worth a word. Times are milliseconds since 1970, always
//! handed in.

use std::collections::HashMap;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// What is left, in days, when a stage begins.
const STAGES_DAYS: [i64; 4] = [30, 7, 1, 0];
/// The share of a revocation list's term that is left when a word about it begins to make sense: lists are made anew
/// every few days, some every hour.
const LIST_SHARE: i64 = 4;

/// How near its end a certificate is. Later stages are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// More than 30 days are left.
    Far,
    /// At most 30.
    Days30,
    /// At most 7.
    Days7,
    /// At most one.
    Day1,
    /// It has ended.
    Expired,
}

impl Stage {
    /// Of a certificate that ends at `not_after_ms`.
    pub fn at(not_after_ms: i64, now_ms: i64) -> Self {
        let left_ms = not_after_ms.saturating_sub(now_ms);
        match left_ms {
            ..=0 => Self::Expired,
            _ if left_ms <= DAY_MS => Self::Day1,
            _ if left_ms <= 7 * DAY_MS => Self::Days7,
            _ if left_ms <= 30 * DAY_MS => Self::Days30,
            _ => Self::Far,
        }
    }

    /// True if whoever minds the certificate should hear of it.
    pub fn is_near(self) -> bool {
        self > Self::Far
    }
}

/// How long something is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// Of a revocation list: when it was made. `None`: it is a certificate.
    pub list_issued_ms: Option<i64>,
    /// Good until then.
    pub not_after_ms: i64,
}

impl Term {
    /// How near its end it is. A list is far from it until a quarter of its term is left.
    pub fn stage(self, now_ms: i64) -> Stage {
        if now_ms < self.first_word_ms() { Stage::Far } else { Stage::at(self.not_after_ms, now_ms) }
    }

    /// When it comes to its next stage, if there is one left.
    pub fn next_stage_ms(self, now_ms: i64) -> Option<i64> {
        let first = self.first_word_ms();
        let begins = STAGES_DAYS.iter().map(|days| self.not_after_ms.saturating_sub(days * DAY_MS).max(first));
        begins.filter(|begin| *begin > now_ms).min()
    }

    /// Before that there is nothing to tell.
    fn first_word_ms(self) -> i64 {
        let Some(issued_ms) = self.list_issued_ms else { return i64::MIN };
        let term_ms = self.not_after_ms.saturating_sub(issued_ms).max(0);
        self.not_after_ms.saturating_sub(term_ms / LIST_SHARE)
    }
}

/// How long a certificate lasts, in words: `expires in 12 days`, `expired 3 days ago`. Whole days, rounded down.
pub fn words(not_after_ms: i64, now_ms: i64) -> String {
    let left_ms = not_after_ms.saturating_sub(now_ms);
    let days = left_ms.unsigned_abs() / DAY_MS.unsigned_abs();
    let plural = if days == 1 { "" } else { "s" };
    match (left_ms > 0, days) {
        (true, 0) => "expires within a day".to_owned(),
        (true, days) => format!("expires in {days} day{plural}"),
        (false, 0) => "has expired today".to_owned(),
        (false, days) => format!("expired {days} day{plural} ago"),
    }
}

/// What was told of which certificate, so that each stage is told once. As large as what is looked at.
#[derive(Clone, Debug, Default)]
pub struct Countdown {
    told: HashMap<(String, Term), Stage>,
}

impl Countdown {
    /// Looks at all certificates and lists, each by a name and its term. Returns the places of those that came to a stage that has
    /// not been told of them, with the stage. What is not among them any more is forgotten; one that was replaced is
    /// another.
    pub fn look<'c>(
        &mut self,
        certificates: impl IntoIterator<Item = (&'c str, Term)>,
        now_ms: i64,
    ) -> Vec<(usize, Stage)> {
        let before = std::mem::take(&mut self.told);
        let mut news = Vec::new();
        for (place, (name, term)) in certificates.into_iter().enumerate() {
            let stage = term.stage(now_ms);
            let key = (name.to_owned(), term);
            let told = before.get(&key).copied().unwrap_or(Stage::Far);
            // Also what was told a moment ago of the same one, used in two places.
            let is_new = stage > told && !self.told.contains_key(&key);
            // A clock that is set back takes nothing back.
            self.told.insert(key, stage.max(told));
            if is_new {
                news.push((place, stage));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn until(not_after_ms: i64) -> Term {
        Term { list_issued_ms: None, not_after_ms }
    }

    fn list(issued_days: i64, ends_days: i64) -> Term {
        Term { list_issued_ms: Some(NOW + issued_days * DAY_MS), not_after_ms: NOW + ends_days * DAY_MS }
    }

    #[test]
    fn a_list_is_told_of_in_the_last_quarter_of_its_term() {
        for (term, stage) in [
            (list(-1, 6), Stage::Far),
            (list(-6, 2), Stage::Days7),
            (list(-7, 1), Stage::Day1),
            (list(-7, 0), Stage::Expired),
            (list(-60, 20), Stage::Days30),
            (list(-365, 31), Stage::Far),
            // Made after its end: nonsense, and ended.
            (list(3, -3), Stage::Expired),
            (list(9, 3), Stage::Far),
        ] {
            assert_eq!(term.stage(NOW), stage, "{term:?}");
        }
    }

    #[test]
    fn each_stage_begins_when_its_days_are_left() {
        for (left_ms, stage, text) in [
            (30 * DAY_MS + 1, Stage::Far, "expires in 30 days"),
            (30 * DAY_MS, Stage::Days30, "expires in 30 days"),
            (7 * DAY_MS + 1, Stage::Days30, "expires in 7 days"),
            (7 * DAY_MS, Stage::Days7, "expires in 7 days"),
            (DAY_MS + 1, Stage::Days7, "expires in 1 day"),
            (DAY_MS, Stage::Day1, "expires in 1 day"),
            (1, Stage::Day1, "expires within a day"),
            (0, Stage::Expired, "has expired today"),
            (-1, Stage::Expired, "has expired today"),
            (-DAY_MS, Stage::Expired, "expired 1 day ago"),
            (-3 * DAY_MS, Stage::Expired, "expired 3 days ago"),
            (i64::MAX, Stage::Far, "expires in 106751991167 days"),
        ] {
            let end = NOW.saturating_add(left_ms);
            let now = if left_ms == i64::MAX { end.saturating_sub(left_ms) } else { NOW };
            assert_eq!((Stage::at(end, now), words(end, now).as_str()), (stage, text), "{left_ms} ms left");
        }
        assert_eq!(Stage::at(i64::MIN, i64::MAX), Stage::Expired);
    }

    #[test]
    fn each_stage_is_told_once_and_of_a_replaced_one_anew() {
        let mut countdown = Countdown::default();
        let end = NOW + 8 * DAY_MS;
        let mut at = |end: i64, days: i64| {
            let all = [("/far", until(i64::MAX)), ("/a", until(end)), ("/a", until(end))];
            countdown.look(all, NOW + days * DAY_MS)
        };
        assert_eq!(at(end, 0), [(1, Stage::Days30)], "told once, however often it is used");
        assert_eq!(at(end, 0), []);
        assert_eq!(at(end, 1), [(1, Stage::Days7)]);
        assert_eq!(at(end, 0), [], "a clock that is set back");
        assert_eq!(at(end, 8), [(1, Stage::Expired)], "a stage may be missed");
        assert_eq!(at(end + 90 * DAY_MS, 8), [], "replaced");
        assert_eq!(at(end + 90 * DAY_MS, 69), [(1, Stage::Days30)]);
    }

    proptest! {
        #[test]
        fn a_stage_changes_when_it_was_said_to(issued in prop::option::of(-90_i64..90), ends in -40_i64..90, steps in 1_i64..50) {
            let term = Term { list_issued_ms: issued.map(|days| NOW + days * DAY_MS), not_after_ms: NOW + ends * DAY_MS };
            let mut at = NOW;
            for _ in 0..steps {
                let Some(next) = term.next_stage_ms(at) else {
                    prop_assert_eq!(term.stage(at), Stage::Expired);
                    break;
                };
                prop_assert!(next > at);
                prop_assert_eq!(term.stage(next - 1), term.stage(at));
                prop_assert!(term.stage(next) > term.stage(at));
                at = next;
            }
        }

        #[test]
        fn nothing_is_told_twice_while_time_goes_on(ends in prop::collection::vec(0_i64..60, 0..8), mut steps in prop::collection::vec(0_i64..90, 0..40)) {
            steps.sort_unstable();
            let ends: Vec<_> = ends.iter().enumerate().map(|(n, days)| (format!("/{n}"), NOW + days * DAY_MS)).collect();
            let mut countdown = Countdown::default();
            let mut told = std::collections::HashSet::new();
            for step in steps {
                for (place, stage) in countdown.look(ends.iter().map(|(name, end)| (name.as_str(), until(*end))), NOW + step * DAY_MS) {
                    prop_assert!(stage.is_near());
                    prop_assert!(told.insert((place, stage)));
                }
            }
        }
    }
}
