//! Networks written as an address and a length, and quick answers to whether a list of them holds an address.
//!
//! An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address everywhere here: a socket that takes both families shows
//! its IPv4 clients that way.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One network: an address without host bits, and how many bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    len: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCidr {
    /// The part before `/` is no address.
    #[error("the address of a network is IPv4 or IPv6, followed by `/` and its length: 192.0.2.0/24")]
    Address,
    /// The part behind `/` is no number of bits that such an address has.
    #[error("the length of an IPv4 network is 0 to 32, of an IPv6 network 0 to 128")]
    Len,
    /// An IPv4 network in IPv6 clothes that is larger than IPv4.
    #[error("an IPv4 network is written without `::ffff:`")]
    Clothes,
}

impl Cidr {
    /// The network of `address` with `len` bits; host bits are dropped. `None`: the address has fewer bits.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if len <= 32 => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(len))),
            IpAddr::V6(v6) if len <= 128 => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(len))),
            _ => return None,
        };
        Some(Self { address, len })
    }

    /// True for an IPv6 network.
    pub fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }

    /// First and last address of an IPv4 network, or of an IPv6 one.
    fn bounds(self) -> Bounds {
        match self.address {
            IpAddr::V4(v4) => Bounds::V4(v4.to_bits(), v4.to_bits() | !mask_v4(self.len)),
            IpAddr::V6(v6) => Bounds::V6(v6.to_bits(), v6.to_bits() | !mask_v6(self.len)),
        }
    }
}

enum Bounds {
    V4(u32, u32),
    V6(u128, u128),
}

fn mask_v4(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

/// The first `len` bits of an IPv6 address.
pub(super) fn mask_v6(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = NoCidr;

    /// `192.0.2.0/24`; an address alone is a network of one. Host bits are dropped, as Octavia does.
    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NoCidr::Address)?;
        let bits = if written.is_ipv4() { 32 } else { 128 };
        let plain = |len: &str| {
            !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit()) && (len.len() == 1 || !len.starts_with('0'))
        };
        let len: u8 = match len {
            None => bits,
            Some(len) if plain(len) => len.parse().map_err(|_| NoCidr::Len)?,
            Some(_) => return Err(NoCidr::Len),
        };
        match written.to_canonical() {
            IpAddr::V4(v4) if written.is_ipv6() => {
                let len = len.checked_sub(96).ok_or(NoCidr::Clothes)?;
                Self::new(IpAddr::V4(v4), len).ok_or(NoCidr::Len)
            }
            address => Self::new(address, len).ok_or(NoCidr::Len),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl TryFrom<String> for Cidr {
    type Error = NoCidr;
    fn try_from(text: String) -> Result<Self, NoCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// Many networks as ranges that do not touch, in order: an address is found by halving, whether there are one or thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidrSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl CidrSet {
    /// The addresses of all of `networks`.
    pub fn new(networks: &[Cidr]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.bounds() {
                Bounds::V4(first, last) => v4.push((first, last)),
                Bounds::V6(first, last) => v6.push((first, last)),
            }
        }
        Self { v4: merged(v4, |last| last.checked_add(1)), v6: merged(v6, |last| last.checked_add(1)) }
    }

    /// True if it holds no address.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// True if one of the networks holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => holds(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => holds(&self.v6, v6.to_bits()),
        }
    }
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after > 0 && address <= ranges[after - 1].1
}

/// Ranges in order, those that overlap or touch made one.
fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(before) if next(before.1).is_none_or(|next| first <= next) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out.into()
}
