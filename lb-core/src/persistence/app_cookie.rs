//! APP_COOKIE: a client is the session that the application gave it, learned from the application's own cookie.
//!
//! Values are never kept, only keyed hashes of them. Only what a member sets makes an entry, unless the document asks for
//! more: nobody can push real sessions out by inventing some.

use super::secret::Secret;
use super::table::{Expect, Handle, Held, Key, Table, Touch};
use super::{Answer, Answered, Edit, Found, Handles, Memo, Met, Moment, Outcome, cookie};
use crate::balance;
use crate::config::persistence::{AppCookie as Config, InUrl};
use crate::request::Parts;
use crate::snapshot::PoolSnapshot;

/// Most values of one message that are looked up, or learned.
const VALUES_MAX: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct AppCookie {
    name: Box<[u8]>,
    length: usize,
    in_url: Option<InUrl>,
    request_learn: bool,
    prefix: bool,
    key: Secret,
    /// What tells its keys from others.
    mark: u64,
}

impl AppCookie {
    /// `secret` is the pool's.
    pub(super) fn new(config: &Config, secret: &Secret) -> Self {
        let key = secret.child("session", uuid::Uuid::nil());
        let how = [u8::from(config.prefix), (config.length >> 8) as u8, config.length as u8];
        let mac = key.mac(&[b"mark", &how, config.cookie_name.as_bytes()]);
        Self {
            name: config.cookie_name.as_bytes().into(),
            length: usize::from(config.length),
            in_url: config.in_url,
            request_learn: config.request_learn,
            prefix: config.prefix,
            key,
            mark: u64::from_be_bytes(std::array::from_fn(|n| mac[n])),
        }
    }

    /// What tells its keys from others.
    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    pub(super) fn look_up(
        &self,
        pool: &PoolSnapshot,
        parts: &impl Parts,
        moment: Moment,
        touch: Touch,
        kept: (&Table, &Handles),
        mut met: impl FnMut(Met),
    ) -> Found {
        let fields = parts.fields(b"cookie").flat_map(cookie::pairs);
        let values = fields.filter_map(|pair| self.value_of(pair.name, pair.unquoted(), pair.value)).take(VALUES_MAX);
        let mut found = Found::nobody(Outcome::None, Memo::Nothing);
        for value in values {
            found = self.ask(pool, self.key_of(value), moment, touch, kept, &mut met);
            if found.outcome != Outcome::Unknown {
                return found;
            }
        }
        match self.in_target(parts) {
            Some(value) => self.ask(pool, self.key_of([value, b"", b""]), moment, touch, kept, &mut met),
            None => found,
        }
    }

    fn ask(
        &self,
        pool: &PoolSnapshot,
        key: Key,
        moment: Moment,
        touch: Touch,
        (table, handles): (&Table, &Handles),
        met: &mut impl FnMut(Met),
    ) -> Found {
        let known = table.look(&key, moment.now, touch);
        let held = known.by();
        let memo = Memo::Entry { key, mark: self.mark(), held };
        match held.and_then(|handle| handles.member(handle)) {
            Some(member) if balance::admits(pool, member) => {
                met(Met::Home(member));
                Found::hit(pool, member, memo)
            }
            Some(member) => {
                met(Met::Barred(member));
                Found::nobody(Outcome::Down, memo)
            }
            None => {
                met(match known {
                    Held::Never => Met::Unheard,
                    Held::Away => Met::Away,
                    Held::By(_) => Met::Gone,
                });
                Found::nobody(Outcome::Unknown, memo)
            }
        }
    }

    /// The session that a pair names, in up to three pieces that follow each other; `None`: it is another cookie, or empty.
    fn value_of<'a>(&self, name: &'a [u8], unquoted: &'a [u8], value: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let rest = name.strip_prefix(&*self.name)?;
        match (self.prefix, rest) {
            (false, b"") if !unquoted.is_empty() => Some([unquoted, b"", b""]),
            (true, rest) if !(rest.is_empty() && value.is_empty()) => Some([rest, b"=", value]),
            _ => None,
        }
    }

    /// The same from the target of a GET, POST or HEAD: names in any case, the last one wins.
    fn in_target<'a>(&self, parts: &'a impl Parts) -> Option<&'a [u8]> {
        let target = parts.target();
        if !matches!(parts.method(), b"GET" | b"POST" | b"HEAD") {
            return None;
        }
        let (path, query) = match target.iter().position(|b| *b == b'?') {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &b""[..]),
        };
        let (text, between) = match self.in_url? {
            InUrl::PathParameter => (&path[path.iter().position(|b| *b == b';')? + 1..], b';'),
            InUrl::Query => (query, b'&'),
        };
        let value = |parameter: &'a [u8]| {
            let (name, rest) = parameter.split_at_checked(self.name.len())?;
            let value = if self.prefix { Some(rest) } else { rest.strip_prefix(b"=") };
            value.filter(|value| name.eq_ignore_ascii_case(&self.name) && !value.is_empty())
        };
        text.split(|b| *b == between).filter_map(value).next_back()
    }

    fn key_of(&self, value: [&[u8]; 3]) -> Key {
        let mut left = self.length;
        let cut = value.map(|piece| {
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            piece
        });
        self.key.mac(&cut)
    }

    /// Learns from an answer of the member with that handle. `stays`: the client belongs to it.
    pub(super) fn answer(
        &self,
        found: &Found,
        (handle, stays): (Handle, bool),
        answer: &impl Answer,
        moment: Moment,
        table: &Table,
    ) -> Edit {
        let sets = answer.fields(b"set-cookie").map(cookie::set);
        let sets = sets.filter_map(|pair| self.value_of(pair.name, pair.unquoted(), pair.value)).take(VALUES_MAX);
        let mut learned = false;
        for value in sets {
            table.store(&self.key_of(value), handle, Expect::Anything, moment.now);
            learned = true;
        }
        if let Memo::Entry { key, mark, held } = found.memo
            && mark == self.mark()
        {
            match held {
                // It went elsewhere, and there it stays.
                Some(held) if !stays => table.store(&key, handle, Expect::Held(held), moment.now),
                None if self.request_learn && !learned => table.store(&key, handle, Expect::Absent, moment.now),
                _ => {}
            }
        }
        Edit { answered: if learned { Answered::Passed } else { Answered::Nothing }, drops: false, lines: 0 }
    }
}
