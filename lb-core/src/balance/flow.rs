//! What a pick may know of a flow: who asks, and what its pool's rules made of the request.

use std::net::{IpAddr, SocketAddr};

/// What identifies a flow for algorithms that stick to something of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Address the client came from.
    pub source: IpAddr,
    /// Its port.
    pub source_port: u16,
    /// What the pool's [`super::HashRule`] made of the request. `None`: it has no value there, or the pool needs none.
    pub hash: Option<u32>,
    /// A random number, for pools that draw ([`super::Asks::Draw`]); anything for others.
    pub draw: u32,
}

impl FlowKey {
    /// Of a client of whose request nothing is known.
    pub fn of(client: SocketAddr) -> Self {
        Self { source: client.ip(), source_port: client.port(), hash: None, draw: 0 }
    }
}

/// IPv4-mapped IPv6 addresses count as the IPv4 address they stand for.
#[inline]
pub(super) fn address_hash(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => mix(u64::from(u32::from(v4))),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// The address's 32-bit words, each added without carry: what HAProxy takes for a number.
pub(super) fn folded(address: IpAddr) -> u32 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// The finaliser of SplitMix64: every input bit flips each output bit about half the time.
#[inline]
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
