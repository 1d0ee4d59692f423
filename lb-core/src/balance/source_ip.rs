//! SOURCE_IP: the same client address goes to the same member while the set of members stays.
//!
//! Weighted rendezvous hashing: each member scores the address, the highest score wins. When a member leaves,
//! only its own clients move; when one comes, it takes its share from each and nobody moves otherwise. There
//! is no table to keep or to rebuild. Scores depend on ids, not on the order or number of members.

use std::net::IpAddr;

use super::{FlowKey, MemberIndex};
use crate::snapshot::MemberSlot;

/// See the module.
#[derive(Clone, Debug)]
pub struct SourceIp {
    indices: Box<[MemberIndex]>,
}

impl SourceIp {
    pub(super) fn build(indices: Vec<MemberIndex>) -> Self {
        Self { indices: indices.into() }
    }

    pub(super) fn pick(
        &self,
        members: &[MemberSlot],
        key: FlowKey,
        usable: impl Fn(MemberIndex) -> bool,
    ) -> Option<MemberIndex> {
        let client = address_hash(key.source);
        let candidates = self.indices.iter().filter(|index| usable(**index));
        candidates
            .map(|index| (*index, score(client, &members[usize::from(index.0)])))
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .map(|(index, _)| index)
    }
}

/// Highest for one member in `weight` of the sum of weights: -w / ln(u) with u uniform in (0, 1).
fn score(client: u64, slot: &MemberSlot) -> f64 {
    let hash = mix(client ^ slot.hash_seed);
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from(slot.effective_weight) / -uniform.ln()
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
