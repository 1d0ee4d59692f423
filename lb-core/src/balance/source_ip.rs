//! SOURCE_IP: the same client address goes to the same member while the set of members stays.
//!
//! Weighted rendezvous hashing: each member scores the address, the highest score wins. When a member leaves,
//! only its own clients move; when one comes, it takes its share from each and nobody moves otherwise. There
//! is no table to keep or to rebuild. Scores depend on ids, not on the order or number of members.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{FlowKey, MemberIndex};
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Clone, Debug)]
pub struct SourceIp {
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

impl SourceIp {
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

    // Kept out of `pick`, whose other algorithms would pay for what this one prepares.
    #[inline(never)]
    pub(super) fn pick(&self, key: FlowKey, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        let client = address_hash(key.source);
        // Nearly always the best of all is usable: asking it alone costs a thousand questions less.
        let best = self.best(client, |_| true)?;
        if usable(best) { Some(best) } else { self.best(client, usable) }
    }

    fn best(&self, client: u64, usable: impl Fn(MemberIndex) -> bool) -> Option<MemberIndex> {
        let winners = self.classes.iter().filter_map(|class| Some((class.weight, class.best(client, &usable)?)));
        winners
            .map(|(weight, (hash, member))| (score(hash, weight), member))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, member)| member)
    }
}

impl Class {
    fn best(&self, client: u64, usable: &impl Fn(MemberIndex) -> bool) -> Option<(u64, MemberIndex)> {
        let hashes = self.seeds.iter().map(|seed| mix(client ^ seed));
        hashes
            .zip(&self.members)
            .filter(|(_, member)| usable(**member))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(hash, member)| (hash, *member))
    }
}

/// Highest for one member in `weight` of the sum of weights: -w / ln(u) with u uniform in (0, 1).
fn score(hash: u64, weight: u32) -> f64 {
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(weight) / -uniform.ln()
}

/// IPv4-mapped IPv6 addresses count as the IPv4 address they stand for.
fn address_hash(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => mix(u64::from(u32::from(v4))),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// The finaliser of SplitMix64: every input bit flips each output bit about half the time.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
