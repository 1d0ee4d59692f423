//! Which member a client belongs to, and how it is remembered: Octavia's SOURCE_IP, HTTP_COOKIE and APP_COOKIE.
//!
//! Two questions frame a request. [`look_up`] asks before a member is chosen; whom it names is tried first, if it is up and its
//! operator lets it take traffic (a weight of 0 and a backup are no hindrance). Only when that fails, or nobody is named,
//! algorithms have their say. [`answer`] asks once there is an answer, and says what its head gets; [`placed`] notes what is
//! remembered as soon as a member took the work. Everything is decided here; time and bytes come in as arguments.

mod app_cookie;
mod cacheable;
pub mod cookie;
mod http_cookie;
mod met;
pub mod secret;
mod source_ip;
pub mod table;
#[cfg(test)]
mod tests;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

pub use met::Met;
pub use secret::Secret;
pub use source_ip::address_of;
pub use table::Touch;
pub use table::stream;

use crate::balance::{self, MemberIndex};
use crate::config;
use crate::config::persistence::SessionPersistence;
use crate::id::MemberId;
use crate::request::Parts;
use crate::snapshot::PoolSnapshot;
use crate::time::Millis;
use app_cookie::AppCookie;
use http_cookie::HttpCookie;
use source_ip::SourceIp;
use table::{Expect, Figures, Handle, Held, Key, Table};
use token::Dates;

/// How a pool remembers its clients, compiled. Tables stay with it when a document is replaced, as long as the pool and what its
/// clients are known by do.
#[derive(Debug)]
pub struct Persistence {
    kind: Kind,
    word: &'static str,
}

#[derive(Debug)]
enum Kind {
    SourceIp(SourceIp, Kept),
    HttpCookie(HttpCookie),
    AppCookie(AppCookie, Kept),
}

/// A table, and how it names the members of this snapshot.
#[derive(Debug)]
struct Kept {
    table: Arc<Table>,
    handles: Handles,
}

/// The members of a snapshot as its table names them.
#[derive(Debug)]
struct Handles {
    /// By place in the pool.
    of_member: Box<[Handle]>,
    /// Sorted.
    to_member: Box<[(Handle, MemberIndex)]>,
}

impl Handles {
    fn member(&self, handle: Handle) -> Option<MemberIndex> {
        let at = self.to_member.binary_search_by_key(&handle, |(handle, _)| *handle).ok()?;
        Some(self.to_member[at].1)
    }

    fn of(&self, member: MemberIndex) -> Handle {
        self.of_member[usize::from(member.0)]
    }
}

/// When something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the process began.
    pub now: Millis,
    /// Since 1970, in seconds; only looked at if [`Persistence::needs_wall_clock`].
    pub wall_s: u64,
}

/// What a request says of where it belongs: HAProxy's third termination flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pool remembers nobody.
    Off,
    /// Nothing.
    None,
    /// Something that nobody knows: forged, cut, of a member or a session that is gone.
    Unknown,
    /// A member that is down, or may not take traffic.
    Down,
    /// A member that may have it.
    Hit,
    /// A cookie that was not used for too long.
    TooIdle,
    /// A cookie that was given out too long ago.
    TooOld,
}

impl Outcome {
    /// HAProxy's letter.
    pub fn flag(self) -> u8 {
        match self {
            Self::Off => b'-',
            Self::None => b'N',
            Self::Unknown => b'I',
            Self::Down => b'D',
            Self::Hit => b'V',
            Self::TooIdle => b'E',
            Self::TooOld => b'O',
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::None => "nothing to go by",
            Self::Unknown => "unknown value",
            Self::Down => "its member is down",
            Self::Hit => "known",
            Self::TooIdle => "idle for too long",
            Self::TooOld => "too old",
        }
    }
}

/// What was done to the client's cookie in the answer: HAProxy's fourth termination flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answered {
    /// The pool remembers nobody, or nobody by a cookie.
    #[default]
    Off,
    /// Nothing.
    Nothing,
    /// The member's own went through.
    Passed,
    /// The member's own was taken away.
    Deleted,
    /// It got one.
    Inserted,
    /// The member's own got another value.
    Rewritten,
    /// It got the same with another date.
    Updated,
}

impl Answered {
    /// HAProxy's letter.
    pub fn flag(self) -> u8 {
        match self {
            Self::Off => b'-',
            Self::Nothing => b'N',
            Self::Passed => b'P',
            Self::Deleted => b'D',
            Self::Inserted => b'I',
            Self::Rewritten => b'R',
            Self::Updated => b'U',
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Off | Self::Nothing => "nothing",
            Self::Passed => "passed",
            Self::Deleted => "deleted",
            Self::Inserted => "inserted",
            Self::Rewritten => "rewritten",
            Self::Updated => "updated",
        }
    }
}

/// What [`look_up`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whom to try first.
    pub member: Option<MemberIndex>,
    /// The same by its name, which holds in other snapshots, too.
    pub id: Option<MemberId>,
    /// Why, or why nobody.
    pub outcome: Outcome,
    memo: Memo,
}

impl Found {
    /// Of a pool that remembers nobody.
    pub const OFF: Self = Self { member: None, id: None, outcome: Outcome::Off, memo: Memo::Nothing };

    fn hit(pool: &PoolSnapshot, member: MemberIndex, memo: Memo) -> Self {
        Self { member: Some(member), id: Some(pool.member(member).id), outcome: Outcome::Hit, memo }
    }

    fn nobody(outcome: Outcome, memo: Memo) -> Self {
        Self { member: None, id: None, outcome, memo }
    }

    /// True if `member` of `pool`, which may be of a later snapshot, is whom it belongs to.
    fn is_of(&self, pool: &PoolSnapshot, member: MemberIndex) -> bool {
        self.id == Some(pool.member(member).id)
    }
}

/// What the answer will have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memo {
    Nothing,
    /// The dates of the cookie that was found.
    Cookie {
        asked: Asked,
        dates: Dates,
    },
    /// The client's key in tables with that mark, and whom the table named.
    Entry {
        key: Key,
        mark: u64,
        held: Option<Handle>,
    },
}

/// The method, as far as it matters for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// GET, HEAD, OPTIONS or TRACE: it changes nothing.
    Safe,
    Post,
    Other,
}

impl Asked {
    fn of(method: &[u8]) -> Self {
        match method {
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" => Self::Safe,
            b"POST" => Self::Post,
            _ => Self::Other,
        }
    }
}

/// The head of an answer, as far as persistence looks at it.
pub trait Answer {
    /// Its status.
    fn status(&self) -> u16;

    /// The values of all fields of that name, in lower case, in the order sent.
    fn fields<'a>(&'a self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]>;
}

/// What becomes of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// For the log.
    pub answered: Answered,
    /// The member's own `Set-Cookie` fields of the cookie ([`Persistence::is_set_by`]) are left out.
    pub drops: bool,
    /// Lines that were appended. If the cookie was rewritten they stand in the place of those left out, in their order;
    /// else at the end of the head.
    pub lines: usize,
}

impl Edit {
    /// It stays as it is.
    pub const NONE: Self = Self { answered: Answered::Off, drops: false, lines: 0 };
}

impl Persistence {
    /// Compiles what `pool` asks for. `old` is the same pool's before; `secret` is the load balancer's.
    pub(crate) fn build(pool: &config::Pool, old: Option<&Arc<Self>>, secret: &Secret) -> Option<Arc<Self>> {
        let config = pool.session_persistence.as_ref()?;
        let secret = secret.child("pool", pool.id.0);
        let ids = pool.members.iter().map(|member| member.id);
        let kept = |mark: u64, by_address: bool, size: u32, timeout_s: Option<u32>| {
            let old = old.and_then(|old| old.exported());
            let same = old.filter(|(its, by, _)| (*its, *by) == (mark, by_address));
            let table = match same {
                Some((_, _, table)) => {
                    table.bound(size, timeout_s);
                    Arc::clone(table)
                }
                None => Arc::new(Table::new(secret.child("table", pool.id.0), size, timeout_s)),
            };
            let of_member = table.handles(ids.clone());
            let places = of_member.iter().enumerate();
            let mut to_member: Box<[_]> = places.map(|(n, handle)| (*handle, MemberIndex(n as u16))).collect();
            to_member.sort_unstable();
            Kept { table, handles: Handles { of_member, to_member } }
        };
        let (kind, word) = match config {
            SessionPersistence::SourceIp(config) => {
                let by = SourceIp::new(config);
                (Kind::SourceIp(by, kept(by.mark(), true, config.table_size, config.timeout_s)), "SOURCE_IP")
            }
            SessionPersistence::HttpCookie(config) => {
                (Kind::HttpCookie(HttpCookie::new(config, ids.clone(), &secret)), "HTTP_COOKIE")
            }
            SessionPersistence::AppCookie(config) => {
                let by = AppCookie::new(config, &secret);
                let kept = kept(by.mark(), false, config.table_size, Some(config.timeout_s));
                (Kind::AppCookie(by, kept), "APP_COOKIE")
            }
        };
        Some(Arc::new(Self { kind, word }))
    }

    /// Octavia's word for it.
    pub fn word(&self) -> &'static str {
        self.word
    }

    /// True if [`Moment::wall_s`] matters.
    pub fn needs_wall_clock(&self) -> bool {
        matches!(&self.kind, Kind::HttpCookie(cookie) if cookie.needs_wall_clock())
    }

    /// True if clients are known by a cookie.
    pub fn by_cookie(&self) -> bool {
        !matches!(self.kind, Kind::SourceIp(..))
    }

    /// True if `Cookie` fields are to be written by [`Self::write_cookie`].
    pub fn edits_requests(&self) -> bool {
        matches!(&self.kind, Kind::HttpCookie(cookie) if cookie.edits_requests())
    }

    /// Appends a `Cookie` field as members get it; false, and nothing appended, if nothing is left of it.
    pub fn write_cookie(&self, field: &[u8], out: &mut Vec<u8>) -> bool {
        match &self.kind {
            Kind::HttpCookie(cookie) => cookie.write_cookie(field, out),
            Kind::SourceIp(..) | Kind::AppCookie(..) => {
                out.extend_from_slice(field);
                true
            }
        }
    }

    /// True if that `Set-Cookie` field is one that [`Edit::drops`] speaks of.
    pub fn is_set_by(&self, field: &[u8]) -> bool {
        matches!(&self.kind, Kind::HttpCookie(cookie) if cookie.is_set_by(field))
    }

    /// Figures of its table at `now`; none if it has no table.
    pub fn figures(&self, now: Millis) -> Option<Figures> {
        let (_, _, table) = self.exported()?;
        table.sweep(now);
        Some(table.figures())
    }

    /// The mark of its keys, whether they are addresses, and its table.
    fn exported(&self) -> Option<(u64, bool, &Arc<Table>)> {
        match &self.kind {
            Kind::SourceIp(by, kept) => Some((by.mark(), true, &kept.table)),
            Kind::AppCookie(by, kept) => Some((by.mark(), false, &kept.table)),
            Kind::HttpCookie(_) => None,
        }
    }
}

/// Whom a request of `source` belongs to. `touch`: whether it counts as a visit.
pub fn look_up(pool: &PoolSnapshot, parts: &impl Parts, source: IpAddr, moment: Moment, touch: Touch) -> Found {
    look_up_telling(pool, parts, source, moment, touch, |_| ())
}

/// The same, and `met` is told what was met on the way.
#[inline]
pub fn look_up_telling(
    pool: &PoolSnapshot,
    parts: &impl Parts,
    source: IpAddr,
    moment: Moment,
    touch: Touch,
    mut met: impl FnMut(Met),
) -> Found {
    let Some(persistence) = &pool.persistence else { return Found::OFF };
    match &persistence.kind {
        Kind::HttpCookie(cookie) => cookie.look_up(pool, parts, moment, met),
        Kind::AppCookie(cookie, kept) => cookie.look_up(pool, parts, moment, touch, (&kept.table, &kept.handles), met),
        Kind::SourceIp(by, kept) => {
            let key = by.key(source);
            let known = kept.table.look(&key, moment.now, touch);
            let memo = Memo::Entry { key, mark: by.mark(), held: known.by() };
            let (why, found) = match known {
                Held::Never => (Met::Unheard, Found::nobody(Outcome::None, memo)),
                Held::Away => (Met::Away, Found::nobody(Outcome::None, memo)),
                Held::By(handle) => match kept.handles.member(handle) {
                    None => (Met::Gone, Found::nobody(Outcome::Unknown, memo)),
                    Some(member) if balance::admits(pool, member) => {
                        (Met::Home(member), Found::hit(pool, member, memo))
                    }
                    Some(member) => (Met::Barred(member), Found::nobody(Outcome::Down, memo)),
                },
            };
            met(why);
            found
        }
    }
}

/// `member` took the work. Of several requests of one client that were balanced at once, the first to be noted says where
/// the next ones go.
pub fn placed(pool: &PoolSnapshot, found: &Found, member: MemberIndex, now: Millis) {
    if let (Some(persistence), Memo::Entry { key, mark, held }) = (&pool.persistence, found.memo)
        && let Kind::SourceIp(by, kept) = &persistence.kind
        && mark == by.mark()
        && !found.is_of(pool, member)
    {
        let expect = held.map_or(Expect::Absent, Expect::Held);
        kept.table.store(&key, kept.handles.of(member), expect, now);
    }
}

/// `served` answered: what is learned from its head is learned, and what the client's head gets is said. Lines that are to be
/// added to it are appended to `out`, each with its end.
pub fn answer(
    pool: &PoolSnapshot,
    found: &Found,
    served: MemberIndex,
    answer: &impl Answer,
    moment: Moment,
    out: &mut Vec<u8>,
) -> Edit {
    let Some(persistence) = &pool.persistence else { return Edit::NONE };
    match &persistence.kind {
        Kind::HttpCookie(cookie) => cookie.answer(found, (served, found.is_of(pool, served)), answer, moment, out),
        Kind::AppCookie(cookie, kept) => {
            let (handle, stays) = (kept.handles.of(served), found.is_of(pool, served));
            cookie.answer(found, (handle, stays), answer, moment, &kept.table)
        }
        Kind::SourceIp(..) => Edit::NONE,
    }
}
