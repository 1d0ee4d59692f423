//! When a member is asked next.
//!
//! Every question has a slot: the instants at which `time = (phase + n) * interval`, with a phase of the member's
//! own between 0 and 1. Phases are even over all members of a data plane, so questions are even over any interval,
//! at whatever pace and whatever happened before: members that went down or came up together, that were asked out
//! of turn, or that were reloaded, are back in their own slots at the next question. Nothing has to be kept for it.
//!
//! A little jitter, the same for the same seed, keeps a data plane from staying in step with others. A clock
//! that jumps (a suspended machine, a frozen process) spreads what was missed instead of asking it at once.

use crate::balance::mix;
use crate::time::Millis;

/// Which of how many this is: members times monitors, counted over a whole data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// From 0.
    pub position: u32,
    /// At least 1.
    pub count: u32,
    /// Of the data plane; the same for all its members, another for each data plane.
    pub seed: u64,
}

impl Spread {
    /// Even over all positions, in 2^-32; where the first one lies hangs on the seed.
    fn phase(self) -> u64 {
        let count = u64::from(self.count.max(1));
        let even = (u64::from(self.position) << 32) / count;
        let offset = (mix(self.seed) >> 32) / count;
        (even + offset) & u64::from(u32::MAX)
    }

    /// From -1/40 to +1/40 of the interval, another one for each slot.
    fn jitter(self, slot: u64, interval_ms: u64) -> i64 {
        let span = interval_ms / JITTER_PART;
        let draw = mix(mix(self.seed ^ u64::from(self.position).rotate_left(32)) ^ slot);
        (draw % (2 * span + 1)) as i64 - span as i64
    }
}

/// The slots of one member and one monitor. One question at a time: [`Self::begin`], then [`Self::ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    spread: Spread,
    interval_ms: u64,
    /// The even instant; the question is due a little before or after it.
    slot: Millis,
    due: Millis,
    /// When the last question began.
    asked: Millis,
    /// It has not ended.
    asking: bool,
    /// `due` has nothing to do with the slot: the question was hastened, put off, or the member moved.
    off_grid: bool,
    /// It is asked however late it is: it was put off before, or is urgent.
    however_late: bool,
}

/// What to do when a question seems to be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Ask now.
    Ask,
    /// Not yet: [`Schedule::due`] says when.
    Wait,
}

impl Schedule {
    /// The first question at or after `now`, at most one interval (and its jitter) away.
    pub fn new(spread: Spread, interval_ms: u64, now: Millis) -> Self {
        let mut schedule = Self {
            spread,
            interval_ms,
            slot: now,
            due: now,
            asked: now,
            asking: false,
            off_grid: false,
            however_late: false,
        };
        schedule.place(interval_ms, now, now);
        schedule
    }

    /// When the next question is due; means nothing while one is being asked.
    pub fn due(&self) -> Millis {
        self.due
    }

    /// The member is suspect: it is asked now, out of turn. Nothing to do while it is being asked.
    pub fn hasten(&mut self, now: Millis) {
        if !self.asking && self.due > now {
            self.due = now;
            self.off_grid = true;
            self.however_late = true;
        }
    }

    /// The timer fired at `now`. A question that is much too late because the clock jumped is put off: by as much
    /// as it is late, so that all that were missed come as evenly as they would have, or to its next slot.
    pub fn begin(&mut self, now: Millis) -> Begin {
        if self.asking || now < self.due {
            return Begin::Wait;
        }
        let late = now.since(self.due);
        if self.however_late || late <= (self.interval_ms / LATE_PART).max(LATE_FINE_MS) {
            self.asked = now;
            self.asking = true;
            return Begin::Ask;
        }
        if late < self.interval_ms {
            self.due = now.after(late);
            self.off_grid = true;
        } else {
            self.place(self.interval_ms, now, now);
        }
        self.however_late = true;
        Begin::Wait
    }

    /// The question was answered, or given up, at `now`: the next one is in a slot of `interval_ms`. While the
    /// interval stays the same it is the very next slot, at once if that has just passed.
    pub fn ended(&mut self, interval_ms: u64, now: Millis) {
        let steady = interval_ms == self.interval_ms && !self.off_grid;
        // At another pace the next slot may be very near; an answer needs a little time to be news.
        let earliest = if steady { self.slot.after(1) } else { self.asked.after(interval_ms / GAP_PART) };
        let missed = Millis(now.0.saturating_sub(interval_ms / 2));
        self.place(interval_ms, earliest.max(missed), now);
        self.asking = false;
    }

    /// The same member after a reload that may have moved it or changed its monitor's delays.
    pub fn moved(&mut self, spread: Spread, interval_ms: u64, now: Millis) {
        if (spread, interval_ms) == (self.spread, self.interval_ms) {
            return;
        }
        self.spread = spread;
        if self.due.since(now) > interval_ms {
            self.place(interval_ms, now, now);
        } else {
            self.interval_ms = interval_ms;
            self.off_grid = true;
        }
    }

    /// Takes the first slot at or after `from`; the question is never due before `now`.
    fn place(&mut self, interval_ms: u64, from: Millis, now: Millis) {
        let interval_ms = interval_ms.max(1);
        let phase_ms = ((u128::from(self.spread.phase()) * u128::from(interval_ms)) >> 32) as u64;
        let turns = from.0.saturating_sub(phase_ms).div_ceil(interval_ms);
        let slot = phase_ms.saturating_add(turns.saturating_mul(interval_ms));
        let jitter = self.spread.jitter(slot, interval_ms);
        self.slot = Millis(slot);
        self.due = Millis(slot.saturating_add_signed(jitter)).max(now);
        self.interval_ms = interval_ms;
        self.off_grid = false;
        self.however_late = false;
    }
}

/// Jitter is at most this part of an interval, either way: 2.5 %.
const JITTER_PART: u64 = 40;
/// At another pace at least this part of an interval lies between two questions.
const GAP_PART: u64 = 4;
/// Being late by this part of an interval is the rule on a busy machine, not a jump of the clock.
const LATE_PART: u64 = 20;
/// And so is this, however short the interval.
const LATE_FINE_MS: u64 = 20;
