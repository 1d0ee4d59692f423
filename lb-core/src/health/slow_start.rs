//! Slow start: a member that came up again gets its share of work grown over a while, so that cold caches are not
//! buried. Not at the start of a process: then all are cold, and somebody must serve.

use crate::time::Millis;

/// The whole share, in thousandths.
pub const WHOLE_PERMILLE: u32 = 1000;
/// What a member gets at first: 1 %.
const FIRST_PERMILLE: u32 = 10;
/// The share grows in so many steps: each costs a compiled snapshot.
const STEPS: u64 = 20;

/// The share of its weight a member gets at `now`, in thousandths, from 10 to 1000. `came_up` is when it came up
/// from down or left maintenance; `None` if it never was away.
pub fn share_permille(slow_start_ms: u64, came_up: Option<Millis>, now: Millis) -> u32 {
    let Some(since) = came_up.map(|came_up| now.since(came_up)).filter(|since| *since < slow_start_ms) else {
        return WHOLE_PERMILLE;
    };
    let grown = u128::from(since) * u128::from(WHOLE_PERMILLE) / u128::from(slow_start_ms);
    (grown as u32).max(FIRST_PERMILLE)
}

/// When the share has grown by the next step; `None` once it is whole.
pub fn next_step(slow_start_ms: u64, came_up: Option<Millis>, now: Millis) -> Option<Millis> {
    let came_up = came_up?;
    let since = now.since(came_up);
    if since >= slow_start_ms {
        return None;
    }
    let step = (slow_start_ms / STEPS).max(1);
    Some(came_up.after(((since / step + 1) * step).min(slow_start_ms)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grows_from_one_percent_to_all() {
        let at = |ms: u64| share_permille(10_000, Some(Millis(5000)), Millis(5000 + ms));
        assert_eq!([at(0), at(50), at(100), at(500), at(5000), at(9999), at(10_000)], [10, 10, 10, 50, 500, 999, 1000]);
        assert_eq!(share_permille(10_000, None, Millis(1)), 1000, "at the start of a process");
        assert_eq!(share_permille(0, Some(Millis(1)), Millis(1)), 1000, "no slow start");
        assert_eq!(next_step(10_000, Some(Millis(0)), Millis(0)), Some(Millis(500)));
        assert_eq!(next_step(10_000, Some(Millis(0)), Millis(9_700)), Some(Millis(10_000)));
        assert_eq!(next_step(10_000, Some(Millis(0)), Millis(10_000)), None);
        assert_eq!(next_step(10_000, None, Millis(0)), None);
    }

    proptest! {
        #[test]
        fn never_shrinks_and_always_ends(slow_start_ms in 0u64..=86_400_000, came_up in 0u64..1_000_000) {
            let came_up = Some(Millis(came_up));
            let mut now = Millis(came_up.map_or(0, |c| c.0));
            let mut before = share_permille(slow_start_ms, came_up, now);
            let mut steps = 0;
            while let Some(next) = next_step(slow_start_ms, came_up, now) {
                prop_assert!(next > now);
                now = next;
                let share = share_permille(slow_start_ms, came_up, now);
                prop_assert!(share >= before);
                before = share;
                steps += 1;
            }
            prop_assert_eq!(before, WHOLE_PERMILLE);
            prop_assert!(steps <= 40, "{steps} snapshots");
        }
    }
}
