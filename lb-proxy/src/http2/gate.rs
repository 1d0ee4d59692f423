//! The way of a peer's bytes to the framing library: frames are walked as they come. What they cost is counted
//! ([`toll`]), what breaks the [`Law`] ends the connection, and fields are judged ([`Blocks`]) before they are shown.
//!
//! Bytes are shown where they lie. Only a frame of fields that is not whole yet, and the beginning of a frame's head, are
//! held back; what is shown instead of them, or behind them, is put behind what was shown where it lay.

use h2::Reason;

use super::blocks::Blocks;
use super::law::{HEAD, Law, Side, parts};
use super::toll;

/// Room of so many bytes is kept for the next frames that are held back.
const KEPT: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Gate {
    /// Bytes that are passed over: a preface, or the rest of a frame.
    skip: usize,
    head: [u8; HEAD],
    /// How much of the head has come.
    known: usize,
    law: Law,
    blocks: Blocks,
    /// Frames that wait to be whole; the last of them is under way while this is set.
    held: Vec<u8>,
    holds: bool,
}

/// What a walk over bytes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// How many bytes count, of frames whose heads end there.
    pub cost: i64,
    /// How many of them are shown where they lie.
    pub shown: usize,
    /// Why the peer is to be told to go.
    pub fault: Option<Reason>,
}

/// What is shown of some bytes.
struct Shown<'w> {
    bytes: &'w [u8],
    /// So many of them, where they lie; and then what is behind them.
    there: usize,
    behind: &'w mut Vec<u8>,
    was_behind: usize,
}

impl Shown<'_> {
    fn as_they_are(&mut self, from: usize, until: usize) {
        if self.there == from && self.behind.len() == self.was_behind {
            self.there = until;
        } else {
            self.behind.extend_from_slice(&self.bytes[from..until]);
        }
    }
}

impl Gate {
    /// For a peer that begins with `preface` bytes that are no frame.
    pub fn after(preface: usize, side: Side) -> Self {
        let (law, blocks) = (Law::of(side), Blocks::of(side));
        Self { skip: preface, head: [0; HEAD], known: 0, law, blocks, held: Vec::new(), holds: false }
    }

    /// True while fields are to be continued.
    pub fn is_waiting(&self) -> bool {
        self.blocks.is_open()
    }

    /// How much of a frame whose beginning was shown was not.
    pub fn unshown(&self) -> usize {
        if self.holds { 0 } else { self.skip }
    }

    /// Walks over the next bytes. After a fault there is nothing to walk over. What is shown behind those that are shown
    /// where they lie is put into `behind`.
    pub fn walk(&mut self, bytes: &[u8], behind: &mut Vec<u8>) -> Walked {
        let was_behind = behind.len();
        let mut shown = Shown { bytes, there: 0, behind, was_behind };
        let mut cost = 0;
        let fault = self.pass(&mut shown, &mut cost).err();
        Walked { cost, shown: shown.there, fault }
    }

    fn pass(&mut self, shown: &mut Shown<'_>, cost: &mut i64) -> Result<(), Reason> {
        let bytes = shown.bytes;
        let mut at = 0;
        loop {
            let until = at + self.skip.min(bytes.len() - at);
            self.law.payload(&bytes[at..until])?;
            if self.holds {
                self.held.extend_from_slice(&bytes[at..until]);
            } else {
                shown.as_they_are(at, until);
            }
            self.skip -= until - at;
            at = until;
            if self.skip > 0 {
                return Ok(());
            }
            if self.holds {
                self.holds = false;
                self.release(shown)?;
            }
            let begin = at;
            at += (HEAD - self.known).min(bytes.len() - at);
            self.head[self.known..self.known + at - begin].copy_from_slice(&bytes[begin..at]);
            self.known += at - begin;
            if self.known < HEAD {
                return Ok(());
            }
            self.known = 0;
            self.law.head(self.head)?;
            *cost += toll::of(self.head);
            let len = parts(self.head).0;
            let is_here = at - begin == HEAD;
            if !self.blocks.head(self.head)? {
                match is_here {
                    true => shown.as_they_are(begin, at),
                    false => shown.behind.extend_from_slice(&self.head),
                }
                self.skip = len;
            } else if is_here && self.held.is_empty() && bytes.len() - at >= len && !self.blocks.goes_on() {
                at += len;
                match self.blocks.judge(&bytes[begin..at])? {
                    None => shown.as_they_are(begin, at),
                    Some(instead) => shown.behind.extend_from_slice(&instead),
                }
            } else {
                self.held.extend_from_slice(&self.head);
                (self.skip, self.holds) = (len, true);
            }
        }
    }

    /// A frame that was held back is whole: shows it, if nothing else is needed.
    fn release(&mut self, shown: &mut Shown<'_>) -> Result<(), Reason> {
        if self.blocks.goes_on() {
            return Ok(());
        }
        match self.blocks.judge(&self.held)? {
            None => shown.behind.extend_from_slice(&self.held),
            Some(instead) => shown.behind.extend_from_slice(&instead),
        }
        self.held.clear();
        self.held.shrink_to(KEPT);
        Ok(())
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
