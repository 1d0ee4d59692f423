//! Which member a client was on: a bounded table that forgets whoever was away for longest, and all who were away for too long.
//!
//! Shared by all workers. A key belongs to one of [`SHARDS`] parts, each behind a lock that is held for as long as it takes to
//! find one entry and put it in front: some dozens of nanoseconds, or a few hundred where memory has to be waited for. Only when a part
//! doubles its buckets, once for every doubling of its entries, it is held for longer. Memory comes with entries and goes
//! when a part is empty. Entries name members by a handle that is given out once for each member id, so they survive
//! whatever becomes of a document's order.
//!
//! Written by every worker (entries) and the control thread (bounds, members). Time is a [`Tick`]: entries used within
//! the same tick but in different parts have no order.

mod shard;
pub mod stream;

use std::collections::{HashMap, HashSet};
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip::SipHasher13;

use self::shard::{Known, Shard};
use super::secret::Secret;
use crate::id::MemberId;
use crate::time::Millis;

/// Parts of a table.
const SHARDS: usize = 64;
/// Entries that are looked at in one go when all are read: a lock is held for no longer.
const SLICE: usize = 256;
/// Members that are remembered although no document names them any more, beyond as many as it does name.
const FORMER_MAX: usize = 1024;
/// Attempts to make room for one entry; another worker may take it each time.
const ROOM_ATTEMPTS: usize = 8;

/// What identifies a client: an address, or a keyed hash.
pub type Key = [u8; 16];

/// A member as entries name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

/// A moment in units of 64 ms. Begins at a high number, so that there is room for what is older than the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u32);

impl Tick {
    const BITS: u32 = 6;
    const ORIGIN: u32 = 1 << 30;

    pub(crate) fn at(now: Millis) -> Self {
        Self((now.0 >> Self::BITS).min(u64::from(u32::MAX - Self::ORIGIN)) as u32 + Self::ORIGIN)
    }

    /// Ticks in so many seconds.
    pub(crate) fn span(seconds: u32) -> u32 {
        ((u64::from(seconds) * 1000) >> Self::BITS).clamp(1, u64::from(u32::MAX)) as u32
    }

    fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    fn before(self, ticks: u32) -> Self {
        Self(self.0.saturating_sub(ticks))
    }

    /// So many milliseconds from `earlier` to this.
    fn ms_since(self, earlier: Self) -> u64 {
        u64::from(self.since(earlier)) << Self::BITS
    }
}

/// Whether looking something up counts as using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Its time begins anew.
    Refresh,
    /// Nobody can tell that it was looked at.
    Peek,
}

/// What a table knows of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing: it never came, or was forgotten.
    Never,
    /// It was away for longer than it is remembered.
    Away,
    /// That member has it.
    By(Handle),
}

impl Held {
    /// Who has it.
    pub fn by(self) -> Option<Handle> {
        match self {
            Self::By(member) => Some(member),
            Self::Never | Self::Away => None,
        }
    }
}

/// What an entry must say for another member to be written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it says.
    Anything,
    /// There must be none: the first of several that learn at once is right.
    Absent,
    /// This member. An entry that is gone is made again.
    Held(Handle),
}

/// Figures of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries now.
    pub entries: u32,
    /// Most entries.
    pub size: u32,
    /// Entries that were forgotten to make room.
    pub evicted: u64,
    /// Entries that were forgotten because they were not used for too long.
    pub expired: u64,
    /// Memory behind it.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Last use of each part's oldest entry, `u32::MAX` for an empty part. Written under the part's lock.
    oldest: Box<[AtomicU32]>,
    seed: Secret,
    size: AtomicU32,
    /// Ticks without use after which an entry is gone; 0: never.
    expiry: AtomicU32,
    entries: AtomicU32,
    evicted: AtomicU64,
    expired: AtomicU64,
    bytes: AtomicUsize,
    names: Mutex<Names>,
}

/// Handles given out so far.
#[derive(Debug, Default)]
struct Names {
    next: u32,
    by_id: HashMap<MemberId, Handle>,
}

impl Table {
    /// For at most `size` entries that are forgotten after `timeout_s` seconds without use. `seed` spreads them.
    pub fn new(seed: Secret, size: u32, timeout_s: Option<u32>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            oldest: (0..SHARDS).map(|_| AtomicU32::new(u32::MAX)).collect(),
            seed,
            size: AtomicU32::new(size),
            expiry: AtomicU32::new(timeout_s.map_or(0, Tick::span)),
            entries: AtomicU32::new(0),
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            names: Mutex::default(),
        }
    }

    /// Other bounds from now on; what is too much goes, oldest first.
    pub fn bound(&self, size: u32, timeout_s: Option<u32>) {
        self.size.store(size, Ordering::Relaxed);
        self.expiry.store(timeout_s.map_or(0, Tick::span), Ordering::Relaxed);
        while self.entries.load(Ordering::Relaxed) > size && self.evict_oldest() {}
    }

    /// Whom `key` was on, if it is known and was not away for too long.
    pub fn find(&self, key: &Key, now: Millis, touch: Touch) -> Option<Handle> {
        self.look(key, now, touch).by()
    }

    /// The same, and why it is nobody.
    pub fn look(&self, key: &Key, now: Millis, touch: Touch) -> Held {
        let now = Tick::at(now);
        let (part, hash) = self.place(key);
        let mut shard = lock(&self.shards[part]);
        let Some(at) = shard.find(key, hash) else { return Held::Never };
        let known = shard.known(at);
        if self.is_over(known.used, now) {
            if touch == Touch::Refresh {
                self.change(part, &mut shard, |shard| shard.remove(at, hash));
                self.expired.fetch_add(1, Ordering::Relaxed);
            }
            return Held::Away;
        }
        if touch == Touch::Refresh {
            shard.touch(at, now);
            self.note_oldest(part, &shard);
        }
        Held::By(known.member)
    }

    /// Notes that `key` is on `member` now, unless the table says otherwise than `expect`.
    pub fn store(&self, key: &Key, member: Handle, expect: Expect, now: Millis) {
        let known = Known { member, used: Tick::at(now) };
        if !self.update(key, known, expect) {
            self.add(key, known);
        }
    }

    /// True if there is an entry, changed or not.
    fn update(&self, key: &Key, new: Known, expect: Expect) -> bool {
        let (part, hash) = self.place(key);
        let mut shard = lock(&self.shards[part]);
        let Some(at) = shard.find(key, hash) else { return false };
        let known = shard.known(at);
        let writes = match expect {
            Expect::Anything => true,
            Expect::Absent => self.is_over(known.used, new.used),
            Expect::Held(member) => known.member == member,
        };
        if writes {
            shard.set_member(at, new.member);
            shard.touch(at, new.used);
            self.note_oldest(part, &shard);
        }
        true
    }

    /// Adds an entry, once there is room for it.
    fn add(&self, key: &Key, new: Known) {
        if !self.reserve(new.used) {
            return;
        }
        let (part, hash) = self.place(key);
        let mut shard = lock(&self.shards[part]);
        if shard.find(key, hash).is_some() {
            // Another worker was quicker, and what it learned is as new.
            self.entries.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // The count was raised when room was made.
        let before = shard.bytes();
        shard.insert(*key, hash, new, |key| self.place(key).1);
        self.bytes.fetch_add(shard.bytes().wrapping_sub(before), Ordering::Relaxed);
        self.note_oldest(part, &shard);
    }

    /// Counts one entry more, if need be in place of another: the bound holds at every moment.
    fn reserve(&self, now: Tick) -> bool {
        for _ in 0..ROOM_ATTEMPTS {
            let size = self.size.load(Ordering::Relaxed);
            let more = |entries: u32| (entries < size).then_some(entries + 1);
            if self.entries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                return true;
            }
            self.make_room(now);
        }
        false
    }

    /// Forgets the entry that was away for longest.
    fn make_room(&self, now: Tick) {
        let Some(part) = self.part_of_oldest() else { return };
        let mut shard = lock(&self.shards[part]);
        let mut over = false;
        let removed = self.change(part, &mut shard, |shard| {
            let look = |known: Known| {
                over = self.is_over(known.used, now);
                true
            };
            shard.remove_oldest(look, |key| self.place(key).1)
        });
        if removed {
            let counter = if over { &self.expired } else { &self.evicted };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn evict_oldest(&self) -> bool {
        let Some(part) = self.part_of_oldest() else { return false };
        let mut shard = lock(&self.shards[part]);
        if self.change(part, &mut shard, |shard| shard.remove_oldest(|_| true, |key| self.place(key).1)) {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn part_of_oldest(&self) -> Option<usize> {
        let parts = self.oldest.iter().enumerate().map(|(part, used)| (used.load(Ordering::Relaxed), part));
        parts.min().filter(|(used, _)| *used != u32::MAX).map(|(_, part)| part)
    }

    /// Forgets all that were not used for too long. For whoever reads figures; the table itself does so when it meets them.
    pub fn sweep(&self, now: Millis) {
        let now = Tick::at(now);
        if self.expiry.load(Ordering::Relaxed) == 0 {
            return;
        }
        for part in 0..SHARDS {
            loop {
                let mut shard = lock(&self.shards[part]);
                let over = |known: Known| self.is_over(known.used, now);
                let removed = self.change(part, &mut shard, |shard| shard.remove_oldest(over, |key| self.place(key).1));
                if !removed {
                    break;
                }
                self.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Figures now.
    pub fn figures(&self) -> Figures {
        Figures {
            entries: self.entries.load(Ordering::Relaxed),
            size: self.size.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed) as u64,
        }
    }

    /// The handles of `members`, in their order. A member keeps its handle for as long as entries may name it.
    pub fn handles(&self, members: impl ExactSizeIterator<Item = MemberId> + Clone) -> Box<[Handle]> {
        let mut names = lock(&self.names);
        if names.by_id.len() > 2 * members.len() + FORMER_MAX {
            let stay: HashSet<MemberId> = members.clone().collect();
            names.by_id.retain(|id, _| stay.contains(id));
            let handles: HashSet<Handle> = names.by_id.values().copied().collect();
            self.forget_all_but(&handles);
        }
        let Names { next, by_id } = &mut *names;
        let handle = |id| {
            *by_id.entry(id).or_insert_with(|| {
                *next += 1;
                Handle(*next)
            })
        };
        members.map(handle).collect()
    }

    fn forget_all_but(&self, members: &HashSet<Handle>) {
        for part in 0..SHARDS {
            let mut shard = lock(&self.shards[part]);
            let gone: Vec<Key> = shard
                .slice(0, usize::MAX)
                .into_iter()
                .flatten()
                .filter(|(_, known)| !members.contains(&known.member))
                .map(|(key, _)| key)
                .collect();
            for key in gone {
                let hash = self.place(&key).1;
                if let Some(at) = shard.find(&key, hash) {
                    self.change(part, &mut shard, |shard| shard.remove(at, hash));
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn names(&self) -> HashMap<Handle, MemberId> {
        lock(&self.names).by_id.iter().map(|(id, handle)| (*handle, *id)).collect()
    }

    /// Hands entries to `with` in slices, until it says that it has enough; with each the age of its last use in
    /// milliseconds. What is added meanwhile may be missing.
    pub fn read(&self, now: Millis, mut with: impl FnMut(Key, MemberId, u64) -> bool) {
        let (now, names) = (Tick::at(now), self.names());
        let mut cursor = Cursor::default();
        let mut slice = Vec::with_capacity(SLICE);
        while self.next_slice(&mut cursor, &mut slice) {
            for (key, known) in slice.drain(..).filter(|(_, known)| !self.is_over(known.used, now)) {
                let Some(member) = names.get(&known.member) else { continue };
                if !with(key, *member, now.ms_since(known.used)) {
                    return;
                }
            }
        }
    }

    /// False at the end.
    fn next_slice(&self, cursor: &mut Cursor, slice: &mut Vec<(Key, Known)>) -> bool {
        while let Some(shard) = self.shards.get(cursor.part) {
            let shard = lock(shard);
            if let Some(entries) = shard.slice(cursor.place, SLICE) {
                slice.extend(entries);
                cursor.place += SLICE;
                return true;
            }
            *cursor = Cursor { part: cursor.part + 1, place: 0 };
        }
        false
    }

    /// Does what changes the number of entries of a part, and keeps the counts.
    fn change<T>(&self, part: usize, shard: &mut Shard, work: impl FnOnce(&mut Shard) -> T) -> T {
        let (bytes, len) = (shard.bytes(), shard.len());
        let done = work(shard);
        self.entries.fetch_sub((len - shard.len()) as u32, Ordering::Relaxed);
        self.bytes.fetch_add(shard.bytes().wrapping_sub(bytes), Ordering::Relaxed);
        self.note_oldest(part, shard);
        done
    }

    fn note_oldest(&self, part: usize, shard: &Shard) {
        let oldest = shard.oldest().map_or(u32::MAX, |used| used.0);
        // Mostly it is another entry that was used: then nothing is written, and no other worker's cache is stirred.
        if self.oldest[part].load(Ordering::Relaxed) != oldest {
            self.oldest[part].store(oldest, Ordering::Relaxed);
        }
    }

    fn is_over(&self, used: Tick, now: Tick) -> bool {
        let expiry = self.expiry.load(Ordering::Relaxed);
        expiry != 0 && now.since(used) > expiry
    }

    /// Which part a key belongs to, and its hash there. Keyed, so that nobody can crowd a part.
    fn place(&self, key: &Key) -> (usize, u32) {
        let mut hasher = SipHasher13::new_with_key(self.seed.key());
        hasher.write(key);
        let hash = hasher.finish();
        ((hash >> 32) as usize % SHARDS, hash as u32)
    }
}

/// Where a reader of all entries stands.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    part: usize,
    place: usize,
}

/// A panic while the lock was held would have left plain values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
