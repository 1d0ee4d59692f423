//! What matching policies change: fields of the request and of its answer, the beginning of the path, copies elsewhere.
//!
//! Policies change one after the other, each what the one before left: what one appended another may remove. Rules have been
//! asked about the request as it came.

use std::net::SocketAddr;

use super::policy::PolicyIndex;
use super::rule::Asked;
use crate::config::l7::{Edits as WrittenEdits, L7Policy};
use crate::id::PoolId;
use crate::request::Parts;
use crate::snapshot::PoolIndex;

/// What one policy changes, compiled.
#[derive(Debug)]
pub struct Change {
    policy: PolicyIndex,
    request: Edits,
    response: Edits,
    rewrite: Option<Rewrite>,
    mirror: Option<(PoolIndex, u8)>,
}

#[derive(Debug, Default)]
struct Edits {
    /// Names of fields that do not stay as they came: removed, or set anew.
    dropped: Box<[Box<[u8]>]>,
    /// Fields that are added.
    written: Box<[(Box<[u8]>, Value)]>,
}

/// Slashes at the end are left out.
#[derive(Debug)]
struct Rewrite {
    from: Box<[u8]>,
    to: Box<[u8]>,
}

/// The value of a field: text, and what is known only when it is written.
#[derive(Debug, Default)]
pub struct Value(Box<[Piece]>);

#[derive(Debug)]
enum Piece {
    Text(Box<[u8]>),
    ClientIp,
    ClientPort,
}

/// Who a value may tell of.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub SocketAddr);

/// What may stand between `%{` and `}` in a value.
pub const VARIABLES: [&str; 2] = ["client_ip", "client_port"];

impl Change {
    pub(super) fn build(index: PolicyIndex, policy: &L7Policy, place_of: &dyn Fn(PoolId) -> Option<PoolIndex>) -> Self {
        let trimmed = |path: &str| path.trim_end_matches('/').as_bytes().into();
        let changes = &policy.changes;
        Self {
            policy: index,
            request: Edits::build(&changes.request),
            response: Edits::build(&changes.response),
            rewrite: changes.rewrite.as_ref().map(|r| Rewrite { from: trimmed(&r.from), to: trimmed(&r.to) }),
            mirror: policy.mirror.and_then(|mirror| Some((place_of(mirror.pool)?, mirror.percent))),
        }
    }
}

impl Edits {
    fn build(edits: &WrittenEdits) -> Self {
        let name = |name: &String| name.as_bytes().into();
        let dropped = edits.remove.iter().chain(edits.set.iter().map(|(name, _)| name)).map(name).collect();
        let field = |(field, value): &(String, String)| (name(field), Value::parse(value).unwrap_or_default());
        Self { dropped, written: edits.set.iter().chain(&edits.append).map(field).collect() }
    }

    fn drops(&self, name: &[u8]) -> bool {
        self.dropped.iter().any(|dropped| dropped.eq_ignore_ascii_case(name))
    }
}

impl Value {
    /// Reads a value with its variables; else the name that is not one of [`VARIABLES`].
    pub fn parse(text: &str) -> Result<Self, &str> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("%{") {
            let (before, inside) = (&rest[..at], &rest[at + 2..]);
            let end = inside.find('}').ok_or(inside)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.as_bytes().into()));
            }
            pieces.push(match &inside[..end] {
                "client_ip" => Piece::ClientIp,
                "client_port" => Piece::ClientPort,
                other => return Err(other),
            });
            rest = &inside[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.as_bytes().into()));
        }
        Ok(Self(pieces.into()))
    }

    /// Writes it.
    pub fn write(&self, client: Client, out: &mut Vec<u8>) {
        use std::io::Write as _;
        for piece in &self.0 {
            // Writing to a Vec cannot fail.
            let _ = match piece {
                Piece::Text(text) => out.write_all(text),
                Piece::ClientIp => write!(out, "{}", client.0.ip().to_canonical()),
                Piece::ClientPort => write!(out, "{}", client.0.port()),
            };
        }
    }
}

/// What all policies that matched one request change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'p> {
    all: &'p [Change],
    /// Those that matched, a bit for each of `all`.
    matched: u64,
}

/// Which message fields belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

impl<'p> Changes<'p> {
    pub(super) fn of(all: &'p [Change], matched: u64) -> Self {
        Self { all, matched }
    }

    /// Of fields that a member gets.
    pub fn request(self) -> FieldEdits<'p> {
        FieldEdits { changes: self, side: Side::Request }
    }

    /// Of fields that the client gets.
    pub fn response(self) -> FieldEdits<'p> {
        FieldEdits { changes: self, side: Side::Response }
    }

    /// Writes the target that a member gets instead of `target`; false: it stays as it is, and nothing is written. The first
    /// policy whose prefix fits decides.
    pub fn rewrite(self, target: &[u8], out: &mut Vec<u8>) -> bool {
        let fitting = |rewrite: &'p Rewrite| Some((rewrite, rewrite.rest_of(target)?));
        let Some((rewrite, rest)) = self.iter().filter_map(|change| change.rewrite.as_ref()).find_map(fitting) else {
            return false;
        };
        out.extend_from_slice(&rewrite.to);
        if rewrite.to.is_empty() && !rest.starts_with(b"/") {
            out.push(b'/');
        }
        out.extend_from_slice(rest);
        true
    }

    /// The pool that gets a copy, and the policy that says so. The first policy that wants one decides.
    pub fn mirror<P: Parts>(self, asked: &Asked<'_, P>) -> Option<(PolicyIndex, PoolIndex)> {
        let mut wanting = self.iter().filter_map(|change| Some((change.policy, change.mirror?)));
        let (policy, (pool, percent)) = wanting.next()?;
        asked.drawn(percent).then_some((policy, pool))
    }

    /// True if nothing is changed.
    pub fn is_empty(self) -> bool {
        self.matched == 0
    }

    fn iter(self) -> impl Iterator<Item = &'p Change> {
        self.all.iter().enumerate().filter(move |(i, _)| self.matched & (1 << i) != 0).map(|(_, change)| change)
    }
}

impl Rewrite {
    /// What follows `from` if `target` begins with its segments: empty, or begins with `/` or `?`.
    fn rest_of<'t>(&self, target: &'t [u8]) -> Option<&'t [u8]> {
        let rest = target.strip_prefix(&*self.from)?;
        matches!(rest.first(), None | Some(b'/' | b'?')).then_some(rest)
    }
}

/// What becomes of the fields of one message.
#[derive(Clone, Copy, Debug)]
pub struct FieldEdits<'p> {
    changes: Changes<'p>,
    side: Side,
}

impl<'p> FieldEdits<'p> {
    /// Nothing.
    pub const NONE: FieldEdits<'static> = FieldEdits { changes: Changes { all: &[], matched: 0 }, side: Side::Request };

    /// True if nothing becomes of them.
    pub fn is_empty(self) -> bool {
        self.changes.is_empty()
    }

    /// True if a field of that name does not stay as it came.
    pub fn drops(self, name: &[u8]) -> bool {
        self.iter().any(|edits| edits.drops(name))
    }

    /// The fields to add.
    pub fn added(self) -> impl Iterator<Item = (&'p [u8], &'p Value)> {
        self.iter().enumerate().flat_map(move |(place, edits)| {
            let stays = move |name: &[u8]| !self.iter().skip(place + 1).any(|later| later.drops(name));
            edits.written.iter().filter(move |(name, _)| stays(name)).map(|(name, value)| (&**name, value))
        })
    }

    fn iter(self) -> impl Iterator<Item = &'p Edits> {
        self.changes.iter().map(move |change| match self.side {
            Side::Request => &change.request,
            Side::Response => &change.response,
        })
    }
}
