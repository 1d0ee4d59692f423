//! MAGLEV: a table of 65537 places in which each member stands as often as its weight says, nearly exactly; a key is one
//! look (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", section 3.4).
//!
//! Every member has an order of its own in which it would like the places, and they take turns, those of more weight
//! more often. So when one leaves, little changes for others. While a member is down its keys are looked up anew, under
//! other numbers, and nobody else's move at all. Orders depend on ids, not on the order of the document.

use std::sync::Arc;

use super::super::MemberIndex;
use super::super::flow::mix;
use super::rendezvous::score;
use crate::snapshot::MemberSlot;

/// Places of a table: a prime, so that every order visits all. 128 KiB. One for all sizes of pools: another would move
/// every key.
const PLACES: usize = 65_537;
/// Looks before members are scored instead.
const LOOKS_MAX: u64 = 16;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Maglev {
    table: Arc<[MemberIndex]>,
    members: Arc<[Made]>,
}

/// What a table was made of, ordered by seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    seed: u64,
    weight: u32,
    member: MemberIndex,
}

impl Maglev {
    /// `old`: what it replaces; taken again if nothing changed.
    pub(super) fn build(members: &[MemberSlot], indices: &[MemberIndex], old: Option<&Self>) -> Self {
        let made = |index: &MemberIndex| {
            let slot = &members[usize::from(index.0)];
            Made { seed: slot.hash_seed, weight: slot.effective_weight, member: *index }
        };
        let mut made: Vec<Made> = indices.iter().map(made).collect();
        made.sort_unstable();
        if let Some(old) = old.filter(|old| *old.members == *made) {
            return old.clone();
        }
        Self { table: filled(&made), members: made.into() }
    }

    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }

    pub(super) fn pick(&self, key: u64, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        if self.table.is_empty() {
            return None;
        }
        let mut number = mix(key);
        for _ in 0..LOOKS_MAX {
            let member = self.table[(((number >> 32) * PLACES as u64) >> 32) as usize];
            if usable(member) {
                return Some(member);
            }
            number = mix(number);
        }
        let left = self.members.iter().filter(|made| usable(made.member));
        let scored = left.map(|made| (score(mix(key ^ made.seed), made.weight), made.member));
        scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, member)| member)
    }
}

fn filled(members: &[Made]) -> Arc<[MemberIndex]> {
    let Some(heaviest) = members.iter().map(|made| u64::from(made.weight)).max().filter(|weight| *weight > 0) else {
        return Arc::default();
    };
    /// A member's way through the places.
    struct Way {
        at: usize,
        step: usize,
        /// It has had so many turns, times the highest weight.
        turns: u64,
    }
    let way = |made: &Made| {
        let number = mix(made.seed);
        let step = 1 + (mix(number) % (PLACES as u64 - 1)) as usize;
        Way { at: (number % PLACES as u64) as usize, step, turns: 0 }
    };
    let mut ways: Vec<Way> = members.iter().map(way).collect();
    let mut table = vec![None; PLACES];
    let mut free = PLACES;
    for round in 1u64.. {
        for (way, made) in ways.iter_mut().zip(members) {
            if round * u64::from(made.weight) < way.turns {
                continue;
            }
            way.turns += heaviest;
            while table[way.at].is_some() {
                way.at = (way.at + way.step) % PLACES;
            }
            table[way.at] = Some(made.member);
            free -= 1;
            if free == 0 {
                return table.into_iter().flatten().collect();
            }
        }
    }
    Arc::default()
}
