//! All tables of a data plane as bytes, for the process that comes after it, or for a file.
//!
//! A stream is a row of parts and an end. Each part is whole in itself: what it is, its length, its checksum, and up to
//! [`PART_ENTRIES`] entries of one pool's table with the members they name. The end says how many parts there were, so a
//! stream that was cut is told from a short one. Whoever makes a stream holds one part in memory; whoever takes one up looks at all of
//! it before a single entry is believed. Little-endian throughout.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Cursor, Handle, Key, Known, SHARDS, Table, Tick};
use crate::id::{MemberId, PoolId};
use crate::snapshot::Snapshot;
use crate::time::Millis;

/// What every part begins with; the last two digits are the version.
const MAGIC: [u8; 8] = *b"WEIRPT01";
/// Magic, length and checksum.
const HEAD_LEN: usize = 16;
/// Most entries of a part.
pub const PART_ENTRIES: usize = 32 * 1024;
/// Longest part in bytes, its head not counted.
pub const PART_LEN_MAX: usize = 4 << 20;
/// Bytes of an entry: key, member, age.
const ENTRY_LEN: usize = 22;

const END: u8 = 0;
const TABLE: u8 = 1;

/// Why a stream is not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    /// It does not begin as a stream does, or has another version.
    #[error("this is no stream of persistence tables of a version that is known here")]
    Unknown,
    /// Its end is missing, or something is missing before it.
    #[error("the stream of persistence tables is not whole")]
    Cut,
    /// A checksum does not fit, or a length.
    #[error("the stream of persistence tables is damaged")]
    Damaged,
}

/// What a table belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The pool.
    pub pool: PoolId,
    /// True if keys are addresses; otherwise they are keyed hashes.
    pub by_address: bool,
    /// Tables with another mark have other keys.
    pub mark: u64,
}

/// One part, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose entries.
    pub label: Label,
    /// In no order.
    pub entries: Vec<Entry>,
}

/// One entry of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The client.
    pub key: Key,
    /// Where it was.
    pub member: MemberId,
    /// Since when it was not seen, in units of 64 ms.
    pub age: u32,
}

impl Entry {
    /// Since when it was not seen, in milliseconds.
    pub fn age_ms(&self) -> u64 {
        u64::from(self.age) << Tick::BITS
    }
}

/// All tables of a snapshot, part by part.
#[derive(Debug)]
pub struct Export {
    tables: std::vec::IntoIter<(Label, Arc<Table>)>,
    current: Option<(Label, Arc<Table>, HashMap<Handle, MemberId>)>,
    cursor: Cursor,
    parts: u32,
    ended: bool,
}

impl Export {
    /// Of all pools that have a table.
    pub fn new(snapshot: &Snapshot) -> Self {
        let tables = snapshot.pools.iter().filter_map(|pool| {
            let (mark, by_address, table) = pool.persistence.as_ref()?.exported()?;
            Some((Label { pool: pool.id, by_address, mark }, Arc::clone(table)))
        });
        let tables: Vec<_> = tables.collect();
        Self { tables: tables.into_iter(), current: None, cursor: Cursor::default(), parts: 0, ended: false }
    }

    /// The next part as bytes; `None` after the end.
    pub fn next(&mut self, now: Millis) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        loop {
            let Some((label, table, names)) = &self.current else {
                match self.tables.next() {
                    Some((label, table)) => {
                        let names = table.names();
                        (self.current, self.cursor) = (Some((label, table, names)), Cursor::default());
                        continue;
                    }
                    None => {
                        self.ended = true;
                        return Some(end(self.parts));
                    }
                }
            };
            let entries = table.some(&mut self.cursor, PART_ENTRIES, now, names);
            let label = *label;
            if self.cursor.part >= SHARDS {
                self.current = None;
            }
            if !entries.is_empty() {
                self.parts += 1;
                return Some(encode(&Part { label, entries }));
            }
        }
    }
}

/// What became of a stream that was taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that are in a table now, or were there already.
    pub entries: u64,
    /// Entries of pools or members that are not here, or of tables with other keys.
    pub skipped: u64,
}

/// Takes up a stream: all of it, or nothing if a byte of it is wrong. What a table has learned itself is newer and stays.
pub fn import(snapshot: &Snapshot, bytes: &[u8], now: Millis) -> Result<Imported, Garbage> {
    let parts = split(bytes)?;
    let parts: Vec<Part> = parts.into_iter().map(decode).collect::<Result<_, _>>()?;
    let mut done = Imported::default();
    for part in &parts {
        let taken = import_part(snapshot, part, now);
        done.entries += taken;
        done.skipped += part.entries.len() as u64 - taken;
    }
    for pool in &snapshot.pools {
        if let Some((_, _, table)) = pool.persistence.as_ref().and_then(|persistence| persistence.exported()) {
            table.sort();
        }
    }
    Ok(done)
}

fn import_part(snapshot: &Snapshot, part: &Part, now: Millis) -> u64 {
    let pool = snapshot.pools.iter().find(|pool| pool.id == part.label.pool);
    let Some(persistence) = pool.and_then(|pool| Some((pool, pool.persistence.as_ref()?))) else { return 0 };
    let (pool, persistence) = persistence;
    let Some((mark, by_address, table)) = persistence.exported() else { return 0 };
    if (mark, by_address) != (part.label.mark, part.label.by_address) {
        return 0;
    }
    let handles = table.handles(pool.members.iter().map(|slot| slot.id));
    let of_member: HashMap<MemberId, Handle> = pool.members.iter().map(|slot| slot.id).zip(handles).collect();
    let here = part.entries.iter().filter_map(|entry| Some((entry, *of_member.get(&entry.member)?)));
    here.filter(|(entry, handle)| table.take_up(&entry.key, *handle, entry.age, now)).count() as u64
}

/// The parts of a stream as they stand in it, without the end.
pub fn split(bytes: &[u8]) -> Result<Vec<&[u8]>, Garbage> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    loop {
        let (head, after) = rest.split_at_checked(HEAD_LEN).ok_or(
            if parts.is_empty() && !MAGIC.starts_with(&rest[..rest.len().min(MAGIC.len())]) {
                Garbage::Unknown
            } else {
                Garbage::Cut
            },
        )?;
        if head[..8] != MAGIC {
            return Err(if parts.is_empty() { Garbage::Unknown } else { Garbage::Damaged });
        }
        let (len, checksum) = (u32_at(head, 8)? as usize, u32_at(head, 12)?);
        if len > PART_LEN_MAX {
            return Err(Garbage::Damaged);
        }
        let (payload, after) = after.split_at_checked(len).ok_or(Garbage::Cut)?;
        if crc32fast::hash(payload) != checksum {
            return Err(Garbage::Damaged);
        }
        match payload.first() {
            Some(&TABLE) => parts.push(&rest[..HEAD_LEN + len]),
            Some(&END) => {
                let whole = u32_at(payload, 1)? as usize == parts.len();
                return if whole && after.is_empty() { Ok(parts) } else { Err(Garbage::Cut) };
            }
            _ => return Err(Garbage::Damaged),
        }
        rest = after;
    }
}

/// A stream of these parts, as [`split`] returned them.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.extend(end(parts.len() as u32));
    bytes
}

/// Takes a part apart that [`split`] returned.
pub fn decode(part: &[u8]) -> Result<Part, Garbage> {
    let mut rest = part.get(HEAD_LEN + 1..).ok_or(Garbage::Damaged)?;
    let mut take = |n: usize| -> Result<&[u8], Garbage> {
        let (taken, left) = rest.split_at_checked(n).ok_or(Garbage::Damaged)?;
        rest = left;
        Ok(taken)
    };
    let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).map_err(|_| Garbage::Damaged);
    let pool = PoolId(uuid(take(16)?)?);
    let by_address = take(1)? == [1];
    let mark = u64::from_le_bytes(take(8)?.try_into().map_err(|_| Garbage::Damaged)?);
    let members = u32_at(take(4)?, 0)? as usize;
    let members = take(members.checked_mul(16).ok_or(Garbage::Damaged)?)?;
    let members: Vec<MemberId> = members.chunks_exact(16).map(|id| uuid(id).map(MemberId)).collect::<Result<_, _>>()?;
    let count = u32_at(take(4)?, 0)? as usize;
    let entries = take(count.checked_mul(ENTRY_LEN).ok_or(Garbage::Damaged)?)?;
    let entry = |bytes: &[u8]| {
        let (key, rest) = bytes.split_first_chunk::<16>().ok_or(Garbage::Damaged)?;
        let member = members.get(usize::from(u16::from_le_bytes([rest[0], rest[1]]))).ok_or(Garbage::Damaged)?;
        Ok(Entry { key: *key, member: *member, age: u32_at(rest, 2)? })
    };
    let entries = entries.chunks_exact(ENTRY_LEN).map(entry).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(Part { label: Label { pool, by_address, mark }, entries }) } else { Err(Garbage::Damaged) }
}

fn encode(part: &Part) -> Vec<u8> {
    let mut members: Vec<MemberId> = Vec::new();
    let mut place_of: HashMap<MemberId, u16> = HashMap::new();
    for entry in &part.entries {
        place_of.entry(entry.member).or_insert_with(|| {
            members.push(entry.member);
            (members.len() - 1) as u16
        });
    }
    let mut payload = Vec::with_capacity(64 + members.len() * 16 + part.entries.len() * ENTRY_LEN);
    payload.push(TABLE);
    payload.extend_from_slice(part.label.pool.0.as_bytes());
    payload.push(u8::from(part.label.by_address));
    payload.extend_from_slice(&part.label.mark.to_le_bytes());
    payload.extend_from_slice(&(members.len() as u32).to_le_bytes());
    members.iter().for_each(|id| payload.extend_from_slice(id.0.as_bytes()));
    payload.extend_from_slice(&(part.entries.len() as u32).to_le_bytes());
    for entry in &part.entries {
        payload.extend_from_slice(&entry.key);
        payload.extend_from_slice(&place_of.get(&entry.member).copied().unwrap_or_default().to_le_bytes());
        payload.extend_from_slice(&entry.age.to_le_bytes());
    }
    framed(&payload)
}

fn end(parts: u32) -> Vec<u8> {
    let [a, b, c, d] = parts.to_le_bytes();
    framed(&[END, a, b, c, d])
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut part = Vec::with_capacity(HEAD_LEN + payload.len());
    part.extend_from_slice(&MAGIC);
    part.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    part.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    part.extend_from_slice(payload);
    part
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Garbage> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    four.map(|four| u32::from_le_bytes(*four)).ok_or(Garbage::Damaged)
}

impl Table {
    /// Entries from `cursor` on, about `most` of them.
    fn some(&self, cursor: &mut Cursor, most: usize, now: Millis, names: &HashMap<Handle, MemberId>) -> Vec<Entry> {
        let now = Tick::at(now);
        let (mut entries, mut slice) = (Vec::new(), Vec::new());
        while entries.len() + super::SLICE <= most && self.next_slice(cursor, &mut slice) {
            let live = slice.drain(..).filter(|(_, known)| !self.is_over(known.used, now));
            entries.extend(live.filter_map(|(key, known)| {
                Some(Entry { key, member: *names.get(&known.member)?, age: now.since(known.used) })
            }));
        }
        entries
    }

    /// Adds an entry with its age, if it is not over and there is room, or somebody older to make room. What is there
    /// already stays. [`Self::sort`] is to follow.
    fn take_up(&self, key: &Key, member: Handle, age: u32, now: Millis) -> bool {
        let now = Tick::at(now);
        let known = Known { member, used: now.before(age) };
        if self.is_over(known.used, now) {
            return false;
        }
        let (part, hash) = self.place(key);
        if super::lock(&self.shards[part]).find(key, hash).is_some() {
            return true;
        }
        let full = self.figures().entries >= self.figures().size;
        let oldest = self.part_of_oldest().map(|part| self.oldest[part].load(std::sync::atomic::Ordering::Relaxed));
        if full && oldest.is_none_or(|oldest| oldest >= known.used.0) {
            return false;
        }
        self.add(key, known);
        true
    }

    /// Orders all entries by their last use.
    fn sort(&self) {
        for (part, shard) in self.shards.iter().enumerate() {
            let mut shard = super::lock(shard);
            shard.sort();
            self.note_oldest(part, &shard);
        }
    }
}
