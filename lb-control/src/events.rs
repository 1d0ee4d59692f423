//! What happened to a load balancer: every turn of a member, every change of its document, every life of its data
//! plane, in order, with who caused it and what it did.
//!
//! A data plane keeps the last [`EVENTS_KEPT`] of its own in memory; the agent fetches them, puts its own beside them
//! and keeps them on disk. One structure for all who show them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Events kept for one load balancer; the oldest make room.
pub const EVENTS_KEPT: usize = 512;

/// Who is said to have caused what another document did. Whoever took the document knows who that was.
pub const OPERATOR: &str = "the operator";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the row of whoever tells it; grows by one, never reused within one row.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of thing.
    pub kind: EventKind,
    /// To whom it happened.
    pub subject: Subject,
    /// How it was before, in a word; may be empty.
    pub old: String,
    /// How it is now, in a word.
    pub new: String,
    /// Why, in words.
    pub reason: String,
    /// Who or what caused it: `monitor web-http`, `live traffic`, `the member's agent`, `the operator`, ...
    pub by: String,
    /// What it did to traffic, in words; empty: nothing.
    pub effect: String,
}

/// One line for people: `member web/web-1: UP → DOWN: HTTP 500, expected 200 (by monitor web-http; 3 sessions cut)`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.subject.name.is_empty() { &self.subject.id } else { &self.subject.name };
        write!(f, "{} {}: {}", self.subject.kind, visible(label), visible(&self.change()))?;
        if !self.reason.is_empty() {
            write!(f, ": {}", visible(&self.reason))?;
        }
        let effect = if self.effect.is_empty() { String::new() } else { format!("; {}", visible(&self.effect)) };
        match self.by.is_empty() {
            true => f.write_str(&effect),
            false => write!(f, " (by {}{effect})", visible(&self.by)),
        }
    }
}

impl Event {
    /// One of that kind, with nothing more said of it. Its number and its time are set by whoever keeps it.
    pub fn new(kind: EventKind, subject: Subject) -> Self {
        let [old, new, reason, by, effect] = [const { String::new() }; 5];
        Self { seq: 0, at_ms: 0, kind, subject, old, new, reason, by, effect }
    }

    /// `UP → DOWN`, or how it is now where there was no before.
    pub fn change(&self) -> String {
        if self.old.is_empty() { self.new.clone() } else { format!("{} → {}", self.old, self.new) }
    }
}

/// `text` on one line of a terminal: what members and documents say may hold anything.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { text.replace(char::is_control, "·").into() } else { text.into() }
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A member was judged down.
    MemberDown,
    /// A member was judged up again.
    MemberUp,
    /// What the operator, or a member's own agent, wants of a member changed: READY, DRAIN, MAINT.
    MemberAdministrative,
    /// A member's name leads to another address.
    MemberAddress,
    /// The last working member of a pool went down.
    PoolDown,
    /// A pool has a working member again.
    PoolUp,
    /// Every member of a pool failed within one interval because this node has no network.
    NetworkLost,
    /// The network is back.
    NetworkBack,
    /// A data plane ran short of descriptors or memory and turns the newest clients away, or has enough again.
    Shortage,
    /// Certificates or keys were read anew: what is shown changed, or could not be changed.
    Certificates,
    /// A certificate is about to expire, or has.
    CertificateExpiry,
    /// Another document is served.
    Document,
    /// A data plane began.
    DataPlaneStarted,
    /// A data plane ended, or was found dead.
    DataPlaneEnded,
    /// A load balancer was made, adopted or removed by the agent.
    LoadBalancer,
}

/// To whom something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// `loadbalancer`, `listener`, `pool`, `member`, `certificate` or `data_plane`.
    pub kind: String,
    /// Its id; of a certificate its file.
    pub id: String,
    /// Its name; for a member with its pool's: `web/web-1`.
    pub name: String,
}

/// A stretch of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Names the row `seq` counts in. A data plane that was started again begins another.
    pub row: u64,
    /// Ask for what comes after this.
    pub last: u64,
    /// In order.
    pub events: Vec<Event>,
}

/// The last events of one row. Bounded.
#[derive(Debug)]
pub struct Ring {
    row: u64,
    last: u64,
    events: VecDeque<Event>,
}

impl Ring {
    /// Empty; `row` names it.
    pub fn new(row: u64) -> Self {
        Self { row, last: 0, events: VecDeque::new() }
    }

    /// Adds one, giving it its number.
    pub fn push(&mut self, mut event: Event) -> u64 {
        self.last += 1;
        event.seq = self.last;
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.last
    }

    /// Number of the last one; 0: none yet.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Those after number `after` of row `row`, as far as they are kept. Another row: all.
    pub fn after(&self, row: u64, after: u64) -> Events {
        let after = if row == self.row { after } else { 0 };
        let events = self.events.iter().filter(|event| event.seq > after).cloned().collect();
        Events { row: self.row, last: self.last, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(new: &str) -> Event {
        Event {
            seq: 0,
            at_ms: 1,
            kind: EventKind::MemberDown,
            subject: Subject { kind: "member".into(), id: "1".into(), name: "web/web-1".into() },
            old: "UP".into(),
            new: new.into(),
            reason: String::new(),
            by: String::new(),
            effect: String::new(),
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let mut event = event("DOWN");
        event.by = "monitor web-http".into();
        assert_eq!(event.to_string(), "member web/web-1: UP → DOWN (by monitor web-http)");
        (event.reason, event.effect) = ("HTTP 500\n\u{1b}[2J".into(), "1 session cut".into());
        assert_eq!(
            event.to_string(),
            "member web/web-1: UP → DOWN: HTTP 500··[2J (by monitor web-http; 1 session cut)"
        );
    }

    #[test]
    fn old_ones_make_room_and_numbers_go_on() {
        let mut ring = Ring::new(7);
        for n in 1..=EVENTS_KEPT as u64 + 3 {
            assert_eq!(ring.push(event("DOWN")), n);
        }
        let all = ring.after(0, 0);
        assert_eq!((all.events.len(), all.events[0].seq, all.row), (EVENTS_KEPT, 4, 7));
        let last = ring.after(7, all.last - 2);
        assert_eq!(last.events.iter().map(|e| e.seq).collect::<Vec<_>>(), [all.last - 1, all.last]);
        assert_eq!(ring.after(6, all.last).events.len(), EVENTS_KEPT, "another row: the number means nothing");
        assert!(ring.after(7, all.last).events.is_empty());
    }
}
