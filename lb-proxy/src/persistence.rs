//! Persistence on the walk: what [`lb_core::persistence`] decides, asked at the right moments and carried out.
//!
//! A request's pool is asked before a member is chosen, when a member has taken the work, and when the head of an answer is
//! there. Nothing of this costs anything where the pool remembers nobody.

use std::net::IpAddr;

use lb_core::id::MemberId;
use lb_core::member::PoolCell;
use lb_core::persistence::{self, Answered, Found, Moment, Outcome, Persistence, Secret, Touch};
use lb_core::request::Parts;
use lb_core::snapshot::PoolSnapshot;
use lb_core::time::Millis;

use crate::buffer::Sheet;
use crate::clock;
use crate::dispatch::Lease;
use crate::http::h1::fields::{Field, Kind};
use crate::http::h1::response::{self, ResponseHead};

/// Whom a request of `source` belongs to.
pub fn look_up(pool: &PoolSnapshot, parts: &impl Parts, source: IpAddr, now: Millis) -> Found {
    if pool.persistence.is_none() {
        return Found::OFF;
    }
    persistence::look_up(pool, parts, source, moment(pool, now), Touch::Refresh)
}

/// Writes a `Cookie` field as members get it. One of which nothing is left is not written at all.
pub fn write_cookies(cookies: &Persistence, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    match cookies.write_cookie(value, out) {
        true => out.extend_from_slice(b"\r\n"),
        false => out.truncate(start),
    }
}

/// A member took the work: from now on the client is its own.
pub fn placed(lease: &Lease, found: &Found, now: Millis) {
    if found.outcome != Outcome::Off {
        persistence::placed(lease.pool(), found, lease.member(), now);
    }
}

/// What an answer has to know.
#[derive(Clone, Copy, Debug)]
pub struct Remembered<'a> {
    /// What the request said.
    pub found: &'a Found,
    /// Who answers.
    pub lease: &'a Lease,
    /// Since the process began.
    pub now: Millis,
}

impl Remembered<'_> {
    /// Takes out of the head in `sheet` what the client is not to get, and writes to `sheet.line` what it gets in its place.
    /// Returns what was done to the cookie, and how many bytes of names and values were taken out.
    pub fn edit(&self, head: &ResponseHead, bytes: &[u8], sheet: &mut Sheet) -> (Answered, usize) {
        let pool = self.lease.pool();
        let Some(remembers) = &pool.persistence else { return (Answered::Off, 0) };
        let Sheet { fields, line, .. } = sheet;
        let answer = response::Parts { response: head, head: bytes, table: fields };
        let member = self.lease.member();
        let edit = persistence::answer(pool, self.found, member, &answer, moment(pool, self.now), line);
        let mut gone = 0;
        if edit.drops {
            let set_cookie = |field: &&mut Field| field.name.in_(bytes).eq_ignore_ascii_case(b"set-cookie");
            for field in fields.iter_mut().filter(|field| field.forward).filter(set_cookie) {
                let value = field.value.in_(bytes);
                if remembers.is_set_by(value) {
                    field.forward = false;
                    if edit.answered == Answered::Rewritten {
                        field.kind = Kind::Replaced;
                    }
                    gone += b"set-cookie".len() + value.len();
                }
            }
        }
        (edit.answered, gone)
    }
}

/// The time of day is read only where cookies age.
pub fn moment(pool: &PoolSnapshot, now: Millis) -> Moment {
    let dated = pool.persistence.as_ref().is_some_and(|persistence| persistence.needs_wall_clock());
    Moment { now, wall_s: if dated { clock::unix_seconds() } else { 0 } }
}

/// Counts what became of a request. `served`: the member it was last on.
pub fn count(cell: &PoolCell, found: &Found, served: Option<MemberId>) {
    match found.outcome {
        Outcome::Off => {}
        Outcome::Hit if served == found.id => cell.persistence_hits.inc(),
        Outcome::Hit | Outcome::Down => cell.persistence_moved.inc(),
        Outcome::None | Outcome::Unknown | Outcome::TooIdle | Outcome::TooOld => cell.persistence_misses.inc(),
    }
}

/// What a log line tells.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// HAProxy's last two termination flags.
    pub flags: [u8; 2],
    /// What was found, and what was done to the cookie; `None`: the pool remembers nobody.
    pub words: Option<(&'static str, Option<&'static str>)>,
}

impl Noted {
    /// Of a request without a pool, or whose pool remembers nobody.
    pub const NOTHING: Self = Self { flags: *b"--", words: None };

    /// Of a request that went to `pool`.
    pub fn new(pool: Option<&PoolSnapshot>, found: &Found, answered: Answered) -> Self {
        let Some(persistence) = pool.and_then(|pool| pool.persistence.as_ref()) else { return Self::NOTHING };
        let words = found.outcome.words();
        // As in HAProxy, a table of addresses says nothing of cookies.
        if !persistence.by_cookie() {
            return Self { flags: *b"--", words: Some((words, None)) };
        }
        // An answer that never came had nothing done to it.
        let answered = if answered == Answered::Off { Answered::Nothing } else { answered };
        Self { flags: [found.outcome.flag(), answered.flag()], words: Some((words, Some(answered.words()))) }
    }
}

/// A secret of this process alone: clients are forgotten when it ends.
pub fn random_secret() -> std::io::Result<Secret> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Secret::from_bytes(&bytes).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
