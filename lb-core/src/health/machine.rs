//! Rise and fall: how answers to one monitor make a member come up and go down.
//!
//! HAProxy's one counter `h` from 0 to rise + fall - 1: the member is up while `h >= rise`. A bad answer takes one
//! off, and if that leaves less than rise, all (down); a good one adds one, and if that reaches rise, all (fully
//! up). It starts at rise: up, with one bad answer to go.

use serde::{Deserialize, Serialize};

use crate::config::monitor::HealthMonitor;

/// How many answers in a row change a member's state. Both are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Good ones that bring it up.
    pub rise: u8,
    /// Bad ones that take it down.
    pub fall: u8,
}

impl From<&HealthMonitor> for Rules {
    fn from(monitor: &HealthMonitor) -> Self {
        Self { rise: monitor.max_retries, fall: monitor.max_retries_down }
    }
}

/// A member's state turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Change {
    /// From down to up.
    CameUp,
    /// From up to down.
    WentDown,
}

/// Where a member stands with one monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Standing {
    /// Nobody has answered yet; it counts as up, and the first answer decides.
    Unasked,
    /// Up; so many bad answers in a row, of those that would take it down.
    Up {
        /// 0: surely up.
        bad_in_a_row: u8,
        /// Fall.
        of: u8,
    },
    /// Down; so many good answers in a row, of those that would bring it up.
    Down {
        /// 0: surely down.
        good_in_a_row: u8,
        /// Rise.
        of: u8,
    },
}

impl Standing {
    /// True if new work may go there, as far as this monitor is concerned.
    pub fn is_up(self) -> bool {
        !matches!(self, Self::Down { .. })
    }
}

/// The place of the last answer in its row: the "3 of 3" that people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Answers like it in a row that counted.
    pub in_a_row: u8,
    /// So many turn the state.
    pub of: u8,
}

/// Which of a monitor's delays applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Pace {
    /// Surely up: `delay`.
    Normal,
    /// Neither surely up nor surely down: `delay_fast`.
    Fast,
    /// Surely down: `delay_down`.
    Down,
}

impl Pace {
    /// The time from one question to the next at this pace, in milliseconds.
    pub fn interval_ms(self, monitor: &HealthMonitor) -> u64 {
        match self {
            Self::Normal => monitor.delay_ms,
            Self::Fast => monitor.delay_fast_ms,
            Self::Down => monitor.delay_down_ms,
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    rules: Rules,
    h: u8,
    asked: bool,
    tally: Option<Tally>,
}

impl Machine {
    /// A member nobody has asked yet.
    pub fn new(rules: Rules) -> Self {
        debug_assert!(rules.rise >= 1 && rules.fall >= 1, "no answer would ever decide");
        Self { rules, h: rules.rise, asked: false, tally: None }
    }

    /// A member that stood like this before a reload or a restart, perhaps under other rules. What it was it
    /// stays: at most one answer short of turning.
    pub fn resumed(rules: Rules, standing: Standing) -> Self {
        let fresh = Self::new(rules);
        let h = match standing {
            Standing::Unasked => return fresh,
            Standing::Up { bad_in_a_row, .. } => fresh.full() - bad_in_a_row.min(rules.fall - 1),
            Standing::Down { good_in_a_row, .. } => good_in_a_row.min(rules.rise - 1),
        };
        Self { h, asked: true, ..fresh }
    }

    /// The same member under these rules.
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { tally: self.tally.filter(|_| rules == self.rules), ..Self::resumed(rules, self.standing()) }
    }

    /// The rules it follows.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Counts one answer.
    pub fn observe(&mut self, passed: bool) -> Option<Change> {
        let was_up = self.is_up();
        let before = self.standing();
        self.h = if passed { self.after_good() } else { self.after_bad() };
        self.asked = true;
        self.tally = self.tally_after(before, passed);
        match (was_up, self.is_up()) {
            (true, false) => Some(Change::WentDown),
            (false, true) => Some(Change::CameUp),
            _ => None,
        }
    }

    /// True if new work may go there, as far as this monitor is concerned.
    pub fn is_up(&self) -> bool {
        self.h >= self.rules.rise
    }

    /// Where it stands now.
    pub fn standing(&self) -> Standing {
        let Rules { rise, fall } = self.rules;
        if !self.asked {
            Standing::Unasked
        } else if self.is_up() {
            Standing::Up { bad_in_a_row: self.full() - self.h, of: fall }
        } else {
            Standing::Down { good_in_a_row: self.h, of: rise }
        }
    }

    /// How the last answer counted; `None` if it only said again what was sure.
    pub fn tally(&self) -> Option<Tally> {
        self.tally
    }

    /// How soon it should be asked again.
    pub fn pace(&self) -> Pace {
        match self.h {
            0 => Pace::Down,
            h if h == self.full() => Pace::Normal,
            _ => Pace::Fast,
        }
    }

    fn full(&self) -> u8 {
        self.rules.rise + self.rules.fall - 1
    }

    fn after_bad(&self) -> u8 {
        if self.h > self.rules.rise { self.h - 1 } else { 0 }
    }

    fn after_good(&self) -> u8 {
        let h = (self.h + 1).min(self.full());
        if h >= self.rules.rise { self.full() } else { h }
    }

    fn tally_after(&self, before: Standing, passed: bool) -> Option<Tally> {
        let Rules { rise, fall } = self.rules;
        match (before, passed) {
            (Standing::Unasked | Standing::Up { .. }, true) => None,
            // One was enough: nothing was known.
            (Standing::Unasked, false) => Some(Tally { in_a_row: 1, of: 1 }),
            (Standing::Up { bad_in_a_row, .. }, false) => Some(Tally { in_a_row: bad_in_a_row + 1, of: fall }),
            (Standing::Down { good_in_a_row, .. }, true) => Some(Tally { in_a_row: good_in_a_row + 1, of: rise }),
            // Still down for what took it down.
            (Standing::Down { good_in_a_row: 0, .. }, false) => self.tally.or(Some(Tally { in_a_row: fall, of: fall })),
            (Standing::Down { .. }, false) => Some(Tally { in_a_row: fall, of: fall }),
        }
    }
}
