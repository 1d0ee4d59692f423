//! Hashes: the same key goes to the same member. One file for each way to look a key up.
//!
//! | word | file | a change of the set moves |
//! |---|---|---|
//! | `RENDEZVOUS` | [`rendezvous`] | the keys of who leaves, a fair share to who comes |
//! | `MAGLEV` | [`maglev`] | that, and a few more when the document changes |
//! | `CONSISTENT` | [`ring`] | that, exactly; shares are as even as points fall |
//! | `MAP` | [`StaticRr`]'s table | most keys |
//!
//! What a key is made of is [`rule`]'s, unless it is the client's address. A request that has none takes its turn.

mod bound;
mod functions;
mod maglev;
pub mod rdp_cookie;
mod rendezvous;
mod ring;
mod rule;

use bound::Bound;
use functions::avalanche;
use maglev::Maglev;
use rendezvous::Rendezvous;
use ring::Ring;
pub use rule::HashRule;

use super::flow::{FlowKey, address_hash, folded, mix};
use super::{MemberIndex, RoundRobin, StaticRr};
use crate::config::{HashKey, HashTable, Hashing};
use crate::snapshot::{MemberSlot, PoolSnapshot};

/// Looks under other numbers before a table is searched through.
const LOOKS_MAX: usize = 16;

/// A group that chooses by a hash.
#[derive(Clone, Debug)]
pub struct Hashed {
    key: Key,
    /// The only candidate: nothing is hashed for it.
    only: Option<MemberIndex>,
    table: Table,
    bound: Option<Bound>,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug)]
enum Key {
    Source { avalanche: bool },
    SourcePort { avalanche: bool },
    Request,
}

#[derive(Clone, Debug)]
enum Table {
    Map(StaticRr),
    Ring(Ring),
    /// Beside it the turns of requests without a key, where there may be such.
    Maglev(Maglev, Option<RoundRobin>),
    Rendezvous(Rendezvous, Option<RoundRobin>),
}

impl Hashed {
    /// `previous`: what it replaces, for what still fits.
    pub(super) fn build(
        hashing: &Hashing,
        members: &[MemberSlot],
        indices: &[MemberIndex],
        previous: Option<&Self>,
    ) -> Self {
        let key = match hashing.key {
            HashKey::Source => Key::Source { avalanche: hashing.avalanche },
            HashKey::SourcePort => Key::SourcePort { avalanche: hashing.avalanche },
            _ => Key::Request,
        };
        let turns = |old: Option<&Option<RoundRobin>>| {
            matches!(key, Key::Request).then(|| {
                let turns = RoundRobin::build(members, indices);
                match old {
                    Some(Some(old)) => turns.turned(old),
                    _ => turns,
                }
            })
        };
        let old = previous.map(|previous| &previous.table);
        let table = match (hashing.table, old) {
            (HashTable::Map, Some(Table::Map(old))) => Table::Map(StaticRr::build(members, indices).continuing(old)),
            (HashTable::Map, _) => Table::Map(StaticRr::build(members, indices)),
            (HashTable::Consistent, Some(Table::Ring(old))) => Table::Ring(Ring::build(members, indices, Some(old))),
            (HashTable::Consistent, _) => Table::Ring(Ring::build(members, indices, None)),
            (HashTable::Maglev, Some(Table::Maglev(old, old_turns))) => {
                Table::Maglev(Maglev::build(members, indices, Some(old)), turns(Some(old_turns)))
            }
            (HashTable::Maglev, _) => Table::Maglev(Maglev::build(members, indices, None), turns(None)),
            (HashTable::Rendezvous, old) => {
                let old_turns = if let Some(Table::Rendezvous(_, old)) = old { Some(old) } else { None };
                Table::Rendezvous(Rendezvous::build(members, indices), turns(old_turns))
            }
        };
        let only = if let [only] = *indices { Some(only) } else { None };
        let bound = hashing.balance_factor.map(|factor| Bound::build(factor, members, indices));
        Self { key, only, table, bound }
    }

    /// True if it is to be compiled anew when a member comes up or goes down.
    pub(super) fn heeds_up(&self) -> bool {
        self.bound.is_some() || matches!(self.table, Table::Map(_))
    }

    /// True if it chooses by a key of this flow; else the flow takes its turn.
    pub(super) fn has_key(&self, key: &FlowKey) -> bool {
        match self.key {
            Key::Source { .. } | Key::SourcePort { .. } => true,
            Key::Request => key.hash.is_some() || self.only.is_some(),
        }
    }

    /// True if the client's port is part of its key.
    pub(super) fn asks_port(&self) -> bool {
        matches!(self.key, Key::SourcePort { .. }) && self.only.is_none()
    }

    /// True if nothing was laid out anew.
    #[cfg(test)]
    pub(super) fn shares_table_with(&self, other: &Self) -> bool {
        match (&self.table, &other.table) {
            (Table::Ring(one), Table::Ring(other)) => one.is(other),
            (Table::Maglev(one, _), Table::Maglev(other, _)) => one.is(other),
            _ => false,
        }
    }

    // Kept out of `pick`, whose other algorithms would pay for what this one prepares.
    #[inline(never)]
    pub(super) fn pick<const TAKES: bool>(
        &self,
        pool: &PoolSnapshot,
        key: &FlowKey,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        if let Some(only) = self.only {
            return usable(only).then_some(only);
        }
        if let Some(bound) = &self.bound {
            return self.pick_bounded::<TAKES>(bound, pool, key, &usable);
        }
        match &self.table {
            Table::Rendezvous(rendezvous, turns) => match self.seed(key) {
                Some(seed) => rendezvous.pick(seed, usable),
                None => turns.as_ref()?.pick::<TAKES>(usable),
            },
            Table::Maglev(maglev, turns) => match self.seed(key) {
                Some(seed) => maglev.pick(seed, usable),
                None => turns.as_ref()?.pick::<TAKES>(usable),
            },
            Table::Ring(ring) => match self.number(key) {
                Some(number) => ring.nearest(number, usable),
                None => ring.in_turn::<TAKES>(usable),
            },
            Table::Map(map) => match self.number(key) {
                Some(number) => mapped(map, number, usable),
                None => map.pick::<TAKES>(usable),
            },
        }
    }

    /// Whoever has a place comes first. When nobody has, figures are of different moments, and the key decides alone.
    #[inline(never)]
    fn pick_bounded<const TAKES: bool>(
        &self,
        bound: &Bound,
        pool: &PoolSnapshot,
        key: &FlowKey,
        usable: &dyn Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        let places = bound.places(pool.cells.sum(|cell| cell.active.get()));
        let roomy = |member| bound.has_place(places, &pool.members, member) && usable(member);
        match &self.table {
            Table::Rendezvous(rendezvous, turns) => match self.seed(key) {
                Some(seed) => rendezvous.pick(seed, roomy).or_else(|| rendezvous.pick(seed, usable)),
                None => turns.as_ref()?.pick::<TAKES>(usable),
            },
            Table::Maglev(maglev, turns) => match self.seed(key) {
                Some(seed) => maglev.pick(seed, roomy).or_else(|| maglev.pick(seed, usable)),
                None => turns.as_ref()?.pick::<TAKES>(usable),
            },
            Table::Ring(ring) => match self.number(key) {
                Some(number) => ring.nearest_of(number, usable, roomy),
                None => ring.in_turn::<TAKES>(usable),
            },
            // A document cannot say so.
            Table::Map(map) => map.pick::<TAKES>(usable),
        }
    }

    /// The key as HAProxy's tables take it.
    fn number(&self, key: &FlowKey) -> Option<u32> {
        let (number, stir) = match self.key {
            Key::Request => return key.hash,
            Key::Source { avalanche } => (folded(key.source), avalanche),
            Key::SourcePort { avalanche } => ((with_port(key) >> 32) as u32, avalanche),
        };
        Some(if stir { avalanche(number) } else { number })
    }

    /// The key as tables of our own take it: spread over 64 bits.
    #[inline(always)]
    fn seed(&self, key: &FlowKey) -> Option<u64> {
        match self.key {
            Key::Source { .. } => Some(address_hash(key.source)),
            Key::SourcePort { .. } => Some(with_port(key)),
            Key::Request => key.hash.map(|hash| mix(u64::from(hash))),
        }
    }
}

fn with_port(key: &FlowKey) -> u64 {
    mix(address_hash(key.source) ^ u64::from(key.source_port))
}

/// The member at the key's place. Keys of one that is not usable are spread over all others, as by another table.
fn mapped(map: &StaticRr, number: u32, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
    if map.table.is_empty() {
        return None;
    }
    let mut number = number;
    for _ in 0..LOOKS_MAX {
        let member = map.table[number as usize % map.table.len()];
        if usable(member) {
            return Some(member);
        }
        number = avalanche(number);
    }
    let (before, after) = map.all.split_at(number as usize % map.all.len());
    after.iter().chain(before).copied().find(|member| usable(*member))
}
