//! Questions are even over time, whatever happened before.

use proptest::prelude::*;

use crate::health::schedule::{Begin, Schedule, Spread};
use crate::time::Millis;

/// Many members of one data plane, asked by a clock that goes a millisecond at a time.
struct Crowd {
    schedules: Vec<Schedule>,
    /// Milliseconds a question takes.
    takes_ms: u64,
    /// When the question that is being asked will have ended.
    ends: Vec<Option<Millis>>,
    /// What was asked when.
    asked: Vec<(u64, usize)>,
}

impl Crowd {
    fn new(count: u32, interval_ms: u64, seed: u64, now: u64) -> Self {
        let spread = |position| Spread { position, count, seed };
        let schedules: Vec<Schedule> =
            (0..count).map(|position| Schedule::new(spread(position), interval_ms, Millis(now))).collect();
        let ends = vec![None; schedules.len()];
        Self { schedules, takes_ms: 1, ends, asked: Vec::new() }
    }

    fn run(&mut self, from: u64, to: u64, interval_ms: impl Fn(u64) -> u64) {
        for now in from..to {
            for member in 0..self.schedules.len() {
                self.step(member, Millis(now), &interval_ms);
            }
        }
    }

    fn step(&mut self, member: usize, now: Millis, interval_ms: impl Fn(u64) -> u64) {
        let schedule = &mut self.schedules[member];
        if self.ends[member].is_some_and(|end| end <= now) {
            self.ends[member] = None;
            schedule.ended(interval_ms(now.0), now);
        }
        if self.ends[member].is_none() && schedule.due() <= now && schedule.begin(now) == Begin::Ask {
            self.asked.push((now.0, member));
            self.ends[member] = Some(now.after(self.takes_ms));
        }
    }

    /// Most questions in any window of `window_ms`.
    fn crowdest(&self, window_ms: u64, from: u64, to: u64) -> usize {
        let times: Vec<u64> = self.asked.iter().map(|(at, _)| *at).filter(|at| (from..to).contains(at)).collect();
        let mut first = 0;
        let mut most = 0;
        for (last, at) in times.iter().enumerate() {
            while at - times[first] >= window_ms {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// Times between two questions to the same member.
    fn gaps(&self) -> Vec<u64> {
        let mut before = vec![None; self.schedules.len()];
        let mut gaps = Vec::new();
        for (at, member) in &self.asked {
            gaps.extend(before[*member].replace(*at).map(|before: u64| at - before));
        }
        gaps
    }
}

#[test]
fn a_thousand_members_are_never_asked_in_one_burst() {
    let mut crowd = Crowd::new(1000, 2000, 7, 12_345);
    crowd.run(12_345, 32_345, |_| 2000);
    // The mean is 50 in 100 ms.
    assert!(crowd.crowdest(100, 0, u64::MAX) <= 100, "{}", crowd.crowdest(100, 0, u64::MAX));
    assert!((9_950..=10_050).contains(&crowd.asked.len()), "each once in 2 s: {}", crowd.asked.len());
    let first: Vec<u64> = crowd.asked.iter().take(1000).map(|(at, _)| at - 12_345).collect();
    assert!(first.iter().all(|at| *at <= 2050), "the first questions are asked within an interval");
    let gaps = crowd.gaps();
    assert!(gaps.iter().all(|gap| (1900..=2100).contains(gap)), "{gaps:?}");
}

#[test]
fn they_stay_even_after_all_went_down_and_came_up_together() {
    // Undecided from 20 s on, down from 23 s to 60 s, undecided until 61 s.
    let pace = |now: u64| match now {
        20_000..23_000 | 60_000..61_000 => 500,
        23_000..60_000 => 10_000,
        _ => 2000,
    };
    let mut crowd = Crowd::new(1000, 2000, 7, 0);
    crowd.run(0, 90_000, pace);
    // A twentieth of an interval at a time, in which 50 is the mean.
    for (from, to, window) in [(0, 20_000, 100), (23_500, 60_000, 500), (64_000, 90_000, 100)] {
        let most = crowd.crowdest(window, from, to);
        assert!(most <= 100, "{most} questions in {window} ms between {from} and {to}");
    }
    // While they change their pace nobody is asked in a burst either: 200 is the mean at 500 ms.
    assert!(crowd.crowdest(100, 20_000, 23_500) <= 400);
    assert!(crowd.crowdest(100, 60_000, 64_000) <= 400);
    let at_once = crowd.gaps().into_iter().min();
    assert!(at_once >= Some(100), "{at_once:?} ms between two questions to one member");
}

#[test]
fn questions_that_take_their_whole_interval_are_not_halved() {
    let mut crowd = Crowd::new(100, 1000, 3, 0);
    crowd.takes_ms = 1000;
    crowd.run(0, 60_000, |_| 1000);
    let gaps = crowd.gaps();
    assert!(gaps.iter().all(|gap| *gap <= 1060), "fall x delay must hold when every question times out: {gaps:?}");
    assert!(gaps.len() > 100 * 55);
}

#[test]
fn a_clock_that_jumps_brings_no_burst() {
    for jump in [300, 1500, 2500, 3_600_000] {
        let mut crowd = Crowd::new(1000, 2000, 9, 0);
        crowd.run(0, 10_000, |_| 2000);
        let awake = 10_000 + jump;
        crowd.run(awake, awake + 10_000, |_| 2000);
        // What was missed comes beside what is due: twice the mean of 50, and what was hardly late.
        let most = crowd.crowdest(100, awake, awake + 10_000);
        assert!(most <= 175, "{most} questions in 100 ms after a jump of {jump} ms");
        let after: Vec<usize> =
            crowd.asked.iter().filter(|(at, _)| (awake..awake + 4200).contains(at)).map(|(_, m)| *m).collect();
        assert!((0..1000).all(|member| after.contains(&member)), "somebody was forgotten after {jump}");
    }
}

#[test]
fn a_clock_that_always_jumps_still_asks() {
    let mut schedule = Schedule::new(Spread { position: 0, count: 1, seed: 1 }, 1000, Millis(0));
    let mut asked = 0;
    for now in (0..100_000u64).step_by(1700).map(Millis) {
        if schedule.begin(now) == Begin::Ask {
            asked += 1;
            schedule.ended(1000, now);
        }
    }
    assert!(asked >= 25, "{asked} of 58 wakings");
}

#[test]
fn a_suspect_is_asked_at_once_and_then_in_its_slot_again() {
    let spread = Spread { position: 3, count: 10, seed: 1 };
    let mut schedule = Schedule::new(spread, 5000, Millis(0));
    let slot = schedule.due();
    schedule.hasten(Millis(100));
    assert_eq!((schedule.due(), schedule.begin(Millis(101))), (Millis(100), Begin::Ask));
    schedule.hasten(Millis(102));
    assert_eq!(schedule.begin(Millis(103)), Begin::Wait, "one question at a time");
    schedule.ended(5000, Millis(110));
    let back = schedule.due();
    assert!(back.since(slot) % 5000 <= 250 || back.since(slot) % 5000 >= 4750, "{slot:?} {back:?}");
    schedule.hasten(back.after(10));
    assert_eq!(schedule.due(), back, "it is due already");
}

#[test]
fn a_reload_moves_nobody_who_is_due_soon() {
    let of = |position, count| Spread { position, count, seed: 5 };
    let mut schedule = Schedule::new(of(0, 2), 10_000, Millis(0));
    let due = schedule.due();
    schedule.moved(of(0, 2), 10_000, Millis(1));
    schedule.moved(of(1, 3), 10_000, Millis(1));
    assert_eq!(schedule.due(), due);
    schedule.moved(of(1, 3), 500, Millis(1));
    assert!(schedule.due() <= Millis(600), "a shorter delay holds at once: {:?}", schedule.due());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_number_at_any_interval_is_even(
        count in 20u32..400,
        interval_ms in 400u64..6000,
        seed in any::<u64>(),
        start in 0u64..1_000_000,
    ) {
        let mut crowd = Crowd::new(count, interval_ms, seed, start);
        crowd.run(start, start + 3 * interval_ms, |_| interval_ms);
        // In a tenth of an interval: a tenth of the members, and jitter over both edges.
        let most = crowd.crowdest(interval_ms / 10, 0, u64::MAX) as f64;
        prop_assert!(most <= f64::from(count) / 10.0 * 1.6 + 2.0, "{} of {} in a tenth", most, count);
        prop_assert!(crowd.asked.len() as f64 >= f64::from(count) * 2.9);
    }

    #[test]
    fn the_next_question_is_never_further_than_it_may_be(
        first in 100u64..100_000,
        then in 100u64..100_000,
        seed in any::<u64>(),
        position in 0u32..50,
        took in 0u64..1000,
    ) {
        let mut schedule = Schedule::new(Spread { position, count: 50, seed }, first, Millis(77));
        let asked = schedule.due();
        prop_assert!(asked.since(Millis(77)) <= first + first / 40);
        prop_assert_eq!(schedule.begin(asked), Begin::Ask);
        let now = asked.after(took.min(first));
        schedule.ended(then, now);
        let gap = schedule.due().since(asked);
        prop_assert!(schedule.due() >= now);
        // The first slot of the new pace that is not too soon after this question, nor half an interval before the answer.
        let from = (then / 4).max(first / 40).max(took.min(first).saturating_sub(then / 2));
        prop_assert!(gap <= (from + then + then / 40 + 2).max(took), "{} after {}", gap, then);
    }
}
