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

use super::cursor::Look;
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
    pub(super) fn pick(
        &self,
        pool: &PoolSnapshot,
        key: &FlowKey,
        look: Look,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        if let Some(only) = self.only {
            return usable(only).then_some(only);
        }
        let Some(bound) = &self.bound else { return self.find(key, look, usable, None) };
        let places = bound.places(pool.cells.sum(|cell| cell.active.get()));
        self.find(key, look, usable, Some(&|member| bound.has_place(places, &pool.members, member)))
    }

    fn find(
        &self,
        key: &FlowKey,
        look: Look,
        usable: impl Fn(MemberIndex) -> bool,
        has_place: Option<&dyn Fn(MemberIndex) -> bool>,
    ) -> Option<MemberIndex> {
        // Whoever has a place comes first. When nobody has, figures are of different moments, and the key decides alone.
        match (&self.table, self.hash(key)) {
            (Table::Map(map), Some(hash)) => mapped(map, hash as u32, usable),
            (Table::Map(map), None) => map.pick(look, usable),
            (Table::Ring(ring), Some(hash)) => match has_place {
                None => ring.nearest(hash as u32, usable, |_| true),
                Some(has_place) => ring.nearest(hash as u32, usable, has_place),
            },
            (Table::Ring(ring), None) => ring.in_turn(look, usable),
            (Table::Maglev(maglev, _), Some(hash)) => match has_place {
                None => maglev.pick(hash, usable),
                Some(has_place) => {
                    let roomy = maglev.pick(hash, |member| has_place(member) && usable(member));
                    roomy.or_else(|| maglev.pick(hash, usable))
                }
            },
            (Table::Rendezvous(rendezvous, _), Some(hash)) => match has_place {
                None => rendezvous.pick(hash, usable),
                Some(has_place) => {
                    let roomy = rendezvous.pick(hash, |member| has_place(member) && usable(member));
                    roomy.or_else(|| rendezvous.pick(hash, usable))
                }
            },
            (Table::Maglev(_, turns) | Table::Rendezvous(_, turns), None) => turns.as_ref()?.pick(look, usable),
        }
    }

    /// The key: as HAProxy's tables take it a number of 32 bits, for tables of our own one spread over 64.
    fn hash(&self, key: &FlowKey) -> Option<u64> {
        let narrow = matches!(self.table, Table::Map(_) | Table::Ring(_));
        let (number, stir) = match (self.key, narrow) {
            (Key::Request, true) => return key.hash.map(u64::from),
            (Key::Request, false) => return key.hash.map(|hash| mix(u64::from(hash))),
            (Key::Source { .. }, false) => return Some(address_hash(key.source)),
            (Key::SourcePort { .. }, false) => return Some(with_port(key)),
            (Key::Source { avalanche }, true) => (folded(key.source), avalanche),
            (Key::SourcePort { avalanche }, true) => ((with_port(key) >> 32) as u32, avalanche),
        };
        Some(u64::from(if stir { avalanche(number) } else { number }))
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
