//! One part of the table of clients: entries in one row, found through chains; those without connections stand in the order of
//! their last use. Written by whoever holds its lock.

use super::rate::{Bucket, Nanos};
use super::rules::{ClientKey, ClientRules};
use crate::balance::mix;

/// Nobody.
const NONE: u32 = u32::MAX;
/// Entries a part begins with once it has any.
const FIRST: usize = 16;

/// A client.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: ClientKey,
    connecting: Bucket,
    asking: Bucket,
    /// Connections open. While there are any the entry stands in no order and cannot be evicted.
    open: u32,
    /// The next of its chain, or of the free ones.
    chain: u32,
    /// Used before it, and after it.
    older: u32,
    newer: u32,
}

impl Entry {
    /// One who is not here yet.
    fn new(key: ClientKey) -> Self {
        let (connecting, asking) = (Bucket::default(), Bucket::default());
        Self { key, connecting, asking, open: 0, chain: NONE, older: NONE, newer: NONE }
    }

    /// One more connection is asked for.
    fn connect(&mut self, rules: &ClientRules, now: Nanos) -> Result<(), Refusal> {
        if rules.connections.is_some_and(|most| self.open >= most) {
            return Err(Refusal::Connections);
        }
        let rate = rules.connection_rate;
        rate.map_or(Ok(()), |rate| self.connecting.take(rate, now)).map_err(|_| Refusal::ConnectionRate)
    }

    /// One more request is.
    fn ask(&mut self, rules: &ClientRules, now: Nanos) -> Result<(), u64> {
        rules.request_rate.map_or(Ok(()), |rate| self.asking.take(rate, now))
    }
}

// With its head of a chain (two at most), an entry takes no more than 64 bytes.
const _: () = assert!(size_of::<Entry>() + 2 * size_of::<u32>() <= 64);

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client has as many as it may.
    Connections,
    /// It opened too many too fast.
    ConnectionRate,
}

/// What would become of a client's next connection, and of a request on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Connections it has open.
    pub open: u32,
    /// It is known, or there is room for it; else it is not held to anything.
    pub counted: bool,
    /// Whether the connection is admitted.
    pub connection: Result<(), Refusal>,
    /// Whether the request is; refused: it would be in so many nanoseconds.
    pub request: Result<(), u64>,
}

/// A client's hash, which nobody can foresee who does not know the seed: chains stay short whatever addresses come.
pub(super) fn hash(seed: u64, key: ClientKey) -> u64 {
    mix(mix(seed ^ (key.0 >> 64) as u64) ^ key.0 as u64 ^ seed.rotate_left(32))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shard {
    seed: u64,
    entries: Vec<Entry>,
    /// First of each chain; as many as a power of two.
    heads: Box<[u32]>,
    free: u32,
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Shard {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, entries: Vec::new(), heads: Box::default(), free: NONE, oldest: NONE, newest: NONE, len: 0 }
    }

    /// Clients it knows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.heads.len() * size_of::<u32>()
    }

    /// Counts one connection of the client if `rules` allow it. `Ok(None)`: there is room for `capacity` only and everybody it knows
    /// has a connection open; the newcomer is not counted.
    pub(super) fn enter(
        &mut self,
        key: ClientKey,
        rules: &ClientRules,
        capacity: usize,
        now: Nanos,
    ) -> Result<Option<u32>, Refusal> {
        let Some(place) = self.find_or_add(key, capacity) else { return Ok(None) };
        let entry = &mut self.entries[place as usize];
        if let Err(refusal) = entry.connect(rules, now) {
            if refusal == Refusal::ConnectionRate && entry.open == 0 {
                // One that keeps knocking is not forgotten before those that went.
                self.unlink(place);
                self.link(place);
            }
            return Err(refusal);
        }
        self.open(place);
        Ok(Some(place))
    }

    /// What [`Self::enter`] and then [`Self::ask`] would come to. Nothing changes.
    pub(super) fn outlook(&self, key: ClientKey, rules: &ClientRules, capacity: usize, now: Nanos) -> Outlook {
        let known = self.find(key).map(|place| self.entries[place as usize]);
        let counted = known.is_some() || self.len < capacity || self.oldest != NONE;
        if !counted {
            return Outlook { open: 0, counted, connection: Ok(()), request: Ok(()) };
        }
        let mut entry = known.unwrap_or_else(|| Entry::new(key));
        let open = entry.open;
        Outlook { open, counted, connection: entry.connect(rules, now), request: entry.ask(rules, now) }
    }

    /// Counts one connection that is there already, whatever the rules say.
    pub(super) fn join(&mut self, key: ClientKey, capacity: usize) -> Option<u32> {
        let place = self.find_or_add(key, capacity)?;
        self.open(place);
        Some(place)
    }

    /// One of the connections counted at `place` is closed.
    pub(super) fn leave(&mut self, place: u32) {
        let entry = &mut self.entries[place as usize];
        entry.open -= 1;
        if entry.open == 0 {
            self.link(place);
        }
    }

    /// A request of the client at `place`, which has a connection open; refused: it would be admitted in so many nanoseconds.
    pub(super) fn ask(&mut self, place: u32, rules: &ClientRules, now: Nanos) -> Result<(), u64> {
        self.entries[place as usize].ask(rules, now)
    }

    /// Forgets clients of whom there is nothing to remember: gone, and their buckets full again. Goes from the least recently
    /// used to the first that is worth its entry. With nobody left all memory is given back.
    pub(super) fn tidy(&mut self, now: Nanos) {
        while let Some(entry) = self.entries.get(self.oldest as usize)
            && entry.connecting.is_full(now)
            && entry.asking.is_full(now)
        {
            let place = self.oldest;
            self.remove(place);
            self.entries[place as usize].chain = std::mem::replace(&mut self.free, place);
            self.len -= 1;
        }
        if self.len == 0 {
            *self = Self::new(self.seed);
        }
    }

    fn open(&mut self, place: u32) {
        if self.entries[place as usize].open == 0 {
            self.unlink(place);
        }
        self.entries[place as usize].open += 1;
    }

    fn head_of(&self, key: ClientKey) -> usize {
        // The low bits chose the part.
        (hash(self.seed, key) >> 32) as usize & self.heads.len().wrapping_sub(1)
    }

    fn find(&self, key: ClientKey) -> Option<u32> {
        let mut place = self.heads.get(self.head_of(key)).copied().unwrap_or(NONE);
        while let Some(entry) = self.entries.get(place as usize) {
            if entry.key == key {
                return Some(place);
            }
            place = entry.chain;
        }
        None
    }

    fn find_or_add(&mut self, key: ClientKey, capacity: usize) -> Option<u32> {
        self.find(key).or_else(|| self.add(key, capacity))
    }

    /// A new entry without connections: in a free place, a new one, or that of the client that has been gone for longest.
    fn add(&mut self, key: ClientKey, capacity: usize) -> Option<u32> {
        let place = if self.len >= capacity {
            let oldest = Some(self.oldest).filter(|oldest| *oldest != NONE)?;
            self.remove(oldest);
            oldest
        } else {
            self.len += 1;
            self.vacant(capacity)
        };
        let entry = Entry::new(key);
        match self.entries.get_mut(place as usize) {
            Some(vacant) => *vacant = entry,
            None => self.entries.push(entry),
        }
        self.enchain(place);
        self.link(place);
        Some(place)
    }

    fn vacant(&mut self, capacity: usize) -> u32 {
        if let Some(entry) = self.entries.get(self.free as usize) {
            return std::mem::replace(&mut self.free, entry.chain);
        }
        if self.entries.len() == self.entries.capacity() {
            self.grow(capacity);
        }
        self.entries.len() as u32
    }

    /// Doubles the row, though not beyond what is allowed, and lays out the chains anew.
    fn grow(&mut self, capacity: usize) {
        let len = self.entries.len();
        let room = (len * 2).max(FIRST).min(capacity).max(len + 1);
        self.entries.reserve_exact(room - len);
        self.heads = vec![NONE; room.next_power_of_two()].into();
        // All are in use: there was no free place.
        (0..len).for_each(|place| self.enchain(place as u32));
    }

    fn enchain(&mut self, place: u32) {
        let head = self.head_of(self.entries[place as usize].key);
        self.entries[place as usize].chain = std::mem::replace(&mut self.heads[head], place);
    }

    /// Takes an entry without connections out of its chain and out of the order.
    fn remove(&mut self, place: u32) {
        self.unlink(place);
        let Entry { key, chain, .. } = self.entries[place as usize];
        let head = self.head_of(key);
        if self.heads[head] == place {
            self.heads[head] = chain;
            return;
        }
        let mut before = self.heads[head];
        while let Some(entry) = self.entries.get_mut(before as usize) {
            if entry.chain == place {
                entry.chain = chain;
                return;
            }
            before = entry.chain;
        }
        debug_assert!(false, "an entry is in the chain of its hash");
    }

    /// The last used.
    fn link(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        let entry = &mut self.entries[place as usize];
        (entry.older, entry.newer) = (older, NONE);
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let Entry { older, newer, .. } = self.entries[place as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}
