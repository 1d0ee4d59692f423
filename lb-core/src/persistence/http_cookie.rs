//! HTTP_COOKIE: the client carries the name of its member, in a cookie that nobody but us can make. No table is kept.
//!
//! The rules are HAProxy's `cookie insert`, `rewrite` and `prefix`. A value without dates is taken even where cookies may
//! age, and gets them with the next answer: so documents can begin to ask for it without losing anybody.

use std::collections::HashMap;
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

use super::secret::Secret;
use super::token::{self, Dates, Flaw, TOKEN_LEN, Token};
use super::{Answer, Answered, Asked, Edit, Found, Memo, Met, Moment, Outcome, cacheable, cookie};
use crate::balance::{self, MemberIndex};
use crate::config::persistence::{CookieMode, HttpCookie as Config, Insert};
use crate::id::MemberId;
use crate::request::Parts;
use crate::snapshot::PoolSnapshot;

/// A date so far in the future is a mistake of somebody's clock, in seconds.
const FUTURE_MAX_S: u64 = 86_400;
/// Stands between a token and the member's own value.
const PREFIX_END: u8 = b'~';

/// See the module.
#[derive(Debug)]
pub(super) struct HttpCookie {
    name: Box<[u8]>,
    mode: CookieMode,
    /// All that follows the value in a cookie of ours.
    attributes: Box<[u8]>,
    /// By place in the pool.
    tokens: Box<[Token]>,
    by_token: HashMap<Token, MemberIndex, Keyed>,
    dates_key: Secret,
}

impl HttpCookie {
    /// `secret` is the pool's.
    pub(super) fn new(config: &Config, members: impl Iterator<Item = MemberId>, secret: &Secret) -> Self {
        let key = |purpose| secret.child(purpose, uuid::Uuid::nil());
        let token_key = key("token");
        let tokens: Box<[Token]> = members.map(|id| token::token(token_key.mac(&[id.0.as_bytes()]))).collect();
        let mut by_token = HashMap::with_capacity_and_hasher(tokens.len(), Keyed(key("look-up")));
        by_token.extend(tokens.iter().enumerate().map(|(place, token)| (*token, MemberIndex(place as u16))));
        let attributes = match &config.mode {
            CookieMode::Insert(insert) => attributes(insert).into_bytes().into(),
            CookieMode::Rewrite | CookieMode::Prefix => Box::default(),
        };
        Self {
            name: config.cookie_name.as_bytes().into(),
            mode: config.mode.clone(),
            attributes,
            tokens,
            by_token,
            dates_key: key("dates"),
        }
    }

    /// True if cookies age, so that the time of day matters.
    pub(super) fn needs_wall_clock(&self) -> bool {
        self.limits().is_some()
    }

    /// `max_idle` and `max_life`, if there is one of them.
    fn limits(&self) -> Option<(Option<u32>, Option<u32>)> {
        match &self.mode {
            CookieMode::Insert(insert) => Some((insert.max_idle_s, insert.max_life_s)),
            CookieMode::Rewrite | CookieMode::Prefix => None,
        }
        .filter(|limits| *limits != (None, None))
    }

    pub(super) fn look_up(
        &self,
        pool: &PoolSnapshot,
        parts: &impl Parts,
        moment: Moment,
        mut met: impl FnMut(Met),
    ) -> Found {
        let asked = Asked::of(parts.method());
        let mut found = Found::nobody(Outcome::None, Memo::Cookie { asked, dates: Dates::default() });
        let fields = parts.fields(b"cookie").flat_map(cookie::pairs);
        for pair in fields.filter(|pair| pair.name == &*self.name) {
            match self.read(pair.unquoted(), moment.wall_s) {
                Ok((member, dates)) if balance::admits(pool, member) => {
                    met(Met::Home(member));
                    let memo = Memo::Cookie { asked, dates };
                    return Found::hit(pool, member, memo);
                }
                Ok((member, _)) => {
                    met(Met::Barred(member));
                    found.outcome = Outcome::Down;
                }
                Err(why) => {
                    met(why);
                    match why {
                        Met::TooIdle(_) => found.outcome = Outcome::TooIdle,
                        Met::TooOld(_) => found.outcome = Outcome::TooOld,
                        _ if found.outcome == Outcome::None => found.outcome = Outcome::Unknown,
                        _ => {}
                    }
                }
            }
        }
        found
    }

    /// Whom a value names, unless it is nobody, or it is too old.
    fn read(&self, value: &[u8], now_s: u64) -> Result<(MemberIndex, Dates), Met> {
        let token = match self.mode {
            CookieMode::Prefix => value.get(..TOKEN_LEN).filter(|_| value.get(TOKEN_LEN) == Some(&PREFIX_END)),
            CookieMode::Insert(_) | CookieMode::Rewrite => Some(value),
        };
        let token = token.ok_or(Met::NoToken)?;
        let (token, dates) = token::read(token, &self.dates_key).map_err(|flaw| match flaw {
            Flaw::Shape => Met::NoToken,
            Flaw::Seal => Met::BrokenSeal,
        })?;
        let member = *self.by_token.get(&token).ok_or(Met::Stranger)?;
        if let Some((max_idle_s, max_life_s)) = self.limits() {
            let over = |date_s: u64, max_s: Option<u32>| {
                let (age_s, ahead_s) = (now_s.saturating_sub(date_s), date_s.saturating_sub(now_s));
                date_s != 0 && max_s.is_some_and(|max_s| age_s > u64::from(max_s) || ahead_s > FUTURE_MAX_S)
            };
            if over(dates.first_s, max_life_s) {
                return Err(Met::TooOld(member));
            }
            if over(dates.last_s, max_idle_s) {
                return Err(Met::TooIdle(member));
            }
        }
        Ok((member, dates))
    }

    /// True if `Cookie` fields go to members otherwise than they came.
    pub(super) fn edits_requests(&self) -> bool {
        match &self.mode {
            CookieMode::Insert(insert) => insert.indirect,
            CookieMode::Rewrite => false,
            CookieMode::Prefix => true,
        }
    }

    /// Appends a `Cookie` field as members get it; false, and nothing appended, if nothing is left of it.
    pub(super) fn write_cookie(&self, field: &[u8], out: &mut Vec<u8>) -> bool {
        match &self.mode {
            CookieMode::Insert(insert) if insert.indirect => cookie::write_without(field, &self.name, out),
            CookieMode::Prefix => {
                cookie::write_shortened(field, &self.name, prefix_len, out);
                true
            }
            CookieMode::Insert(_) | CookieMode::Rewrite => {
                out.extend_from_slice(field);
                true
            }
        }
    }

    /// True if a `Set-Cookie` field of a member's sets the cookie.
    pub(super) fn is_set_by(&self, field: &[u8]) -> bool {
        cookie::set(field).name == &*self.name
    }

    /// What becomes of an answer of `served`, to whom the client belonged already if it `stays`. Whole lines that are to be added are appended to `out`.
    pub(super) fn answer(
        &self,
        found: &Found,
        (served, stays): (MemberIndex, bool),
        answer: &impl Answer,
        moment: Moment,
        out: &mut Vec<u8>,
    ) -> Edit {
        let Memo::Cookie { asked, dates } = found.memo else { return Edit::NONE };
        let token = &self.tokens[usize::from(served.0)];
        let mut sets = answer.fields(b"set-cookie").filter(|field| self.is_set_by(field)).peekable();
        let its_own = sets.peek().is_some();
        let insert = match &self.mode {
            CookieMode::Insert(insert) => insert,
            CookieMode::Rewrite | CookieMode::Prefix => {
                let lines = sets.map(|field| self.write_replaced(field, token, out)).count();
                let answered = if its_own { Answered::Rewritten } else { Answered::Nothing };
                return Edit { answered, drops: its_own, lines };
            }
        };
        if its_own && insert.preserve {
            return Edit { answered: Answered::Passed, drops: false, lines: 0 };
        }
        let due = !stays || self.is_due(insert, dates, moment.wall_s);
        if !due || (insert.post_only && asked != Asked::Post) {
            let answered = if its_own { Answered::Deleted } else { Answered::Nothing };
            return Edit { answered, drops: its_own, lines: 0 };
        }
        out.extend_from_slice(b"Set-Cookie: ");
        out.extend_from_slice(&self.name);
        out.push(b'=');
        token::write(token, self.new_dates(insert, dates, stays, moment.wall_s), &self.dates_key, out);
        out.extend_from_slice(&self.attributes);
        out.extend_from_slice(b"\r\n");
        let private = insert.nocache && cacheable::looks_cacheable(asked, answer);
        if private {
            out.extend_from_slice(b"Cache-Control: private\r\n");
        }
        let answered = if stays { Answered::Updated } else { Answered::Inserted };
        Edit { answered, drops: its_own, lines: 1 + usize::from(private) }
    }

    fn write_replaced(&self, field: &[u8], token: &Token, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Set-Cookie: ");
        let prefix = self.mode == CookieMode::Prefix;
        let value = |old: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(token);
            if prefix {
                out.push(PREFIX_END);
                out.extend_from_slice(old);
            }
        };
        cookie::write_revalued(field, value, out);
        out.extend_from_slice(b"\r\n");
    }

    /// A cookie with these dates should be given out anew although its client is where it belongs.
    fn is_due(&self, insert: &Insert, dates: Dates, now_s: u64) -> bool {
        let dated = insert.max_idle_s.is_some() || dates.last_s != 0;
        (dated && dates.last_s < now_s) || insert.max_life_s.is_some() != (dates.first_s != 0)
    }

    fn new_dates(&self, insert: &Insert, dates: Dates, stays: bool, now_s: u64) -> Dates {
        if self.limits().is_none() {
            return Dates::default();
        }
        let now_s = token::rounded_up(now_s);
        let first_s = if stays && dates.first_s != 0 { dates.first_s } else { now_s };
        Dates { last_s: now_s, first_s: insert.max_life_s.map_or(0, |_| first_s) }
    }
}

/// Bytes of a member's own value that are ours. What a member or somebody before us put there stays.
fn prefix_len(value: &[u8]) -> usize {
    match value.get(..TOKEN_LEN) {
        Some(token) if token::is_shaped(token) && value.get(TOKEN_LEN) == Some(&PREFIX_END) => TOKEN_LEN + 1,
        _ => 0,
    }
}

/// In HAProxy's order.
fn attributes(insert: &Insert) -> String {
    let mut text = String::from("; path=/");
    insert.domains.iter().for_each(|domain| text.extend(["; domain=", domain]));
    if insert.http_only {
        text.push_str("; HttpOnly");
    }
    if insert.secure {
        text.push_str("; Secure");
    }
    if let Some(same_site) = insert.same_site {
        text.extend(["; SameSite=", same_site.word()]);
    }
    if let Some(seconds) = insert.max_age_s {
        text.extend(["; Max-Age=", &seconds.to_string()]);
    }
    text
}

/// Hashes tokens with a key, so that the time a look-up takes says nothing of those that are known.
#[derive(Clone, Copy, Debug)]
struct Keyed(Secret);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(self.0.key())
    }
}
