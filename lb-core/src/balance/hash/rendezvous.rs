//! RENDEZVOUS: each member scores the key by its weight, the highest score wins. SOURCE_IP's way unless told otherwise.
//!
//! When a member leaves, only its own keys move; when one comes, it takes its share from each and nobody moves
//! otherwise. There is no table to keep or to rebuild. Scores depend on ids, not on the order or number of members.

use std::collections::BTreeMap;

use super::super::MemberIndex;
use super::super::flow::mix;
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Rendezvous {
    classes: Box<[Class]>,
}

/// Members of one weight. Between them the higher hash has the higher score, so only one of them is scored.
#[derive(Clone, Debug)]
struct Class {
    weight: u32,
    seeds: Box<[u64]>,
    /// Whose seed stands at the same place.
    members: Box<[MemberIndex]>,
}

impl Rendezvous {
    pub(super) fn build(members: &[MemberSlot], indices: &[MemberIndex]) -> Self {
        let mut by_weight: BTreeMap<u32, (Vec<u64>, Vec<MemberIndex>)> = BTreeMap::new();
        for index in indices {
            let slot = &members[usize::from(index.0)];
            let (seeds, members) = by_weight.entry(slot.effective_weight).or_default();
            seeds.push(slot.hash_seed);
            members.push(*index);
        }
        let class = |(weight, (seeds, members)): (u32, (Vec<u64>, Vec<MemberIndex>))| Class {
            weight,
            seeds: seeds.into(),
            members: members.into(),
        };
        Self { classes: by_weight.into_iter().map(class).collect() }
    }

    /// `key` is spread evenly over its 64 bits.
    pub(super) fn pick(&self, key: u64, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        // Nearly always the best of all is usable: asking it alone costs a thousand questions less.
        let best = self.best(key, |_| true)?;
        if usable(best) { Some(best) } else { self.best(key, usable) }
    }

    fn best(&self, key: u64, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        let winners = self.classes.iter().filter_map(|class| Some((class.weight, class.best(key, &usable)?)));
        winners
            .map(|(weight, (hash, member))| (score(hash, weight), member))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, member)| member)
    }
}

impl Class {
    fn best(&self, key: u64, usable: &impl Fn(MemberIndex) -> bool) -> Option<(u64, MemberIndex)> {
        let hashes = self.seeds.iter().map(|seed| mix(key ^ seed));
        hashes
            .zip(&self.members)
            .filter(|(_, member)| usable(**member))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(hash, member)| (hash, *member))
    }
}

/// Highest for one member in `weight` of the sum of weights: -w / ln(u) with u uniform in (0, 1).
pub(super) fn score(hash: u64, weight: u32) -> f64 {
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight) / -uniform.ln()
}
