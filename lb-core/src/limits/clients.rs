//! The clients of a listener: how many connections each has, and how fast it has been asking. Shared by all workers, bounded, and
//! made when the first client is counted.
//!
//! Each part of it has a lock of its own, held for a look-up. An entry with connections open stays; the others make room for
//! newcomers, those first that have been gone for longest.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::rate::Nanos;
use super::rules::{ClientKey, ClientRules};
pub use super::shard::{Outlook, Refusal};
use super::shard::{Shard, hash};

/// Parts, each with a lock of its own.
const SHARDS: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub struct Clients {
    parts: OnceLock<Box<[Mutex<Shard>]>>,
}

/// Where a client stands in the table: good for as long as its connection is counted there.
#[derive(Clone, Copy, Debug)]
struct Place {
    part: u32,
    place: u32,
}

/// One counted connection of a client; given back when dropped.
#[derive(Debug)]
pub struct Guest {
    clients: Arc<Clients>,
    at: Place,
}

impl Clients {
    /// Counts one connection of a client if `rules` allow it. `Ok(None)`: the table is full of clients that are all here, and this one
    /// is not counted. `seed` makes places in the table unforeseeable; it is the same in every call.
    pub fn enter(
        self: &Arc<Self>,
        seed: u64,
        key: ClientKey,
        rules: &ClientRules,
        now: Nanos,
    ) -> Result<Option<Guest>, Refusal> {
        let (part, mut shard) = self.part_of(seed, key);
        let place = shard.enter(key, rules, capacity(rules), now)?;
        Ok(place.map(|place| Guest { clients: Arc::clone(self), at: Place { part, place } }))
    }

    /// Counts a connection that was there before there were rules. `None`: as above.
    pub fn join(self: &Arc<Self>, seed: u64, key: ClientKey, rules: &ClientRules) -> Option<Guest> {
        let (part, mut shard) = self.part_of(seed, key);
        let place = shard.join(key, capacity(rules))?;
        Some(Guest { clients: Arc::clone(self), at: Place { part, place } })
    }

    /// What would become of that client's next connection, and of a request on it. Nothing changes, and nobody is counted.
    pub fn outlook(&self, seed: u64, key: ClientKey, rules: &ClientRules, now: Nanos) -> Outlook {
        match self.parts().get(hash(seed, key) as usize % SHARDS) {
            Some(part) => lock(part).outlook(key, rules, capacity(rules), now),
            None => Shard::new(seed).outlook(key, rules, capacity(rules), now),
        }
    }

    /// Clients that are known.
    pub fn len(&self) -> usize {
        self.parts().iter().map(|part| lock(part).len()).sum()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory the table takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.parts().iter().map(|part| size_of::<Mutex<Shard>>() + lock(part).bytes()).sum()
    }

    /// Forgets clients of whom there is nothing to remember, and gives memory back when that is all of a part. Called now and then.
    pub fn tidy(&self, now: Nanos) {
        self.parts().iter().for_each(|part| lock(part).tidy(now));
    }

    fn parts(&self) -> &[Mutex<Shard>] {
        self.parts.get().map_or(&[], |parts| parts)
    }

    fn part_of(&self, seed: u64, key: ClientKey) -> (u32, MutexGuard<'_, Shard>) {
        let parts = self.parts.get_or_init(|| (0..SHARDS).map(|_| Mutex::new(Shard::new(seed))).collect());
        // The seed is the process's: the same in every call.
        let part = hash(seed, key) as usize % SHARDS;
        (part as u32, lock(&parts[part]))
    }
}

impl Guest {
    /// A request of this client. Refused: it would be admitted in so many nanoseconds.
    pub fn ask(&self, rules: &ClientRules, now: Nanos) -> Result<(), u64> {
        self.shard().map_or(Ok(()), |mut shard| shard.ask(self.at.place, rules, now))
    }

    fn shard(&self) -> Option<MutexGuard<'_, Shard>> {
        self.clients.parts().get(self.at.part as usize).map(lock)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(mut shard) = self.shard() {
            shard.leave(self.at.place);
        }
    }
}

/// Room of one part: together no more than the table may have.
fn capacity(rules: &ClientRules) -> usize {
    (rules.table_size as usize / SHARDS).max(1)
}

/// A panic while a lock was held would have left a count behind, never a broken chain.
fn lock(part: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
