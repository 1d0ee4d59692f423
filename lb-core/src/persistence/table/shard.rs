//! One part of a table, behind one lock: entries in a slab, found by a chained hash, ordered by their last use.
//!
//! 36 bytes an entry. The slab grows by a quarter and the buckets by doubling, so that all in all an entry of a table that
//! has grown takes less than 54. Indices take the place of pointers; what is free is chained through `next`.

use super::{Handle, Key, Tick};

/// No entry.
const NONE: u32 = u32::MAX;
/// Fewest entries there is room for.
const ROOM_MIN: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    member: Handle,
    /// Its last use.
    used: Tick,
    newer: u32,
    older: u32,
    /// In its bucket, or among what is free.
    next: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shard {
    entries: Vec<Entry>,
    /// First entry of each chain; a power of two of them, or none yet.
    buckets: Box<[u32]>,
    free: u32,
    newest: u32,
    oldest: u32,
    len: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Self { entries: Vec::new(), buckets: Box::default(), free: NONE, newest: NONE, oldest: NONE, len: 0 }
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) member: Handle,
    pub(super) used: Tick,
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory behind it.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.buckets.len() * size_of::<u32>()
    }

    /// The last use of the entry that was away for longest.
    pub(super) fn oldest(&self) -> Option<Tick> {
        self.entries.get(self.oldest as usize).map(|entry| entry.used)
    }

    /// Which entry has that key. `hash`: of the key.
    pub(super) fn find(&self, key: &Key, hash: u32) -> Option<u32> {
        let mut at = *self.buckets.get(self.bucket(hash))?;
        while at != NONE {
            let entry = &self.entries[at as usize];
            if entry.key == *key {
                return Some(at);
            }
            at = entry.next;
        }
        None
    }

    pub(super) fn known(&self, at: u32) -> Known {
        let Entry { member, used, .. } = self.entries[at as usize];
        Known { member, used }
    }

    pub(super) fn set_member(&mut self, at: u32, member: Handle) {
        self.entries[at as usize].member = member;
    }

    /// Used at `now`: nobody is newer. Within one tick there is no order, so only the first use of many writes anything.
    pub(super) fn touch(&mut self, at: u32, now: Tick) {
        if self.entries[at as usize].used == now {
            return;
        }
        self.entries[at as usize].used = now;
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    /// Adds a key that is not there. `hash_of` is asked of all entries when there have to be more buckets.
    pub(super) fn insert(&mut self, key: Key, hash: u32, known: Known, hash_of: impl Fn(&Key) -> u32) {
        if self.len >= self.buckets.len() {
            self.rehash((self.buckets.len() * 2).max(ROOM_MIN), hash_of);
        }
        let bucket = self.bucket(hash);
        let Known { member, used } = known;
        let entry = Entry { key, member, used, newer: NONE, older: NONE, next: self.buckets[bucket] };
        let at = if self.free == NONE {
            if self.entries.len() == self.entries.capacity() {
                self.entries.reserve_exact((self.entries.len() / 4).max(ROOM_MIN));
            }
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let at = self.free;
            self.free = self.entries[at as usize].next;
            self.entries[at as usize] = entry;
            at
        };
        self.buckets[bucket] = at;
        self.link_newest(at);
        self.len += 1;
    }

    /// Removes the entry at `at`. A shard that is empty then holds no memory.
    pub(super) fn remove(&mut self, at: u32, hash: u32) {
        self.unlink(at);
        let (bucket, next) = (self.bucket(hash), self.entries[at as usize].next);
        if self.buckets[bucket] == at {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket];
            while before != NONE {
                let entry = &mut self.entries[before as usize];
                if entry.next == at {
                    entry.next = next;
                    break;
                }
                before = entry.next;
            }
        }
        // Marked as free by a link that no entry in use can have.
        self.entries[at as usize].newer = at;
        self.entries[at as usize].next = self.free;
        self.free = at;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        }
    }

    /// Removes the entry that was away for longest, if `may` says so of it.
    pub(super) fn remove_oldest(&mut self, may: impl FnOnce(Known) -> bool, hash_of: impl Fn(&Key) -> u32) -> bool {
        let at = self.oldest;
        if at == NONE || !may(self.known(at)) {
            return false;
        }
        self.remove(at, hash_of(&self.entries[at as usize].key));
        true
    }

    /// Entries in use among the places from `from` on, at most `most` places; `None`: there are none so far.
    pub(super) fn slice(&self, from: usize, most: usize) -> Option<impl Iterator<Item = (Key, Known)>> {
        let places = self.entries.get(from..)?;
        if places.is_empty() {
            return None;
        }
        let in_use = move |(place, entry): &(usize, &Entry)| entry.newer != (from + place) as u32;
        let places = places.iter().take(most).enumerate().filter(in_use);
        Some(places.map(|(_, entry)| (entry.key, Known { member: entry.member, used: entry.used })))
    }

    /// Orders all entries by their last use: for entries that came with an age.
    pub(super) fn sort(&mut self) {
        let mut order: Vec<u32> = Vec::with_capacity(self.len);
        let mut at = self.oldest;
        while at != NONE {
            order.push(at);
            at = self.entries[at as usize].newer;
        }
        order.sort_by_key(|at| self.entries[*at as usize].used);
        (self.newest, self.oldest) = (NONE, NONE);
        for at in order {
            self.link_newest(at);
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & self.buckets.len().wrapping_sub(1)
    }

    fn rehash(&mut self, buckets: usize, hash_of: impl Fn(&Key) -> u32) {
        self.buckets = vec![NONE; buckets].into();
        let mut at = self.oldest;
        while at != NONE {
            let bucket = self.bucket(hash_of(&self.entries[at as usize].key));
            self.entries[at as usize].next = self.buckets[bucket];
            self.buckets[bucket] = at;
            at = self.entries[at as usize].newer;
        }
    }

    fn link_newest(&mut self, at: u32) {
        let before = self.newest;
        let entry = &mut self.entries[at as usize];
        (entry.newer, entry.older) = (NONE, before);
        match self.entries.get_mut(before as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Entry { newer, older, .. } = self.entries[at as usize];
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}
