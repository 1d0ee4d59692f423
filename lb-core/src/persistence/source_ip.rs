//! SOURCE_IP: a client is its address, or the network it comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::table::Key;
use crate::config::persistence::SourceIp as Config;

/// Which part of an address counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceIp {
    v4_mask: u32,
    v6_mask: u128,
}

impl SourceIp {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            v4_mask: u32::MAX.checked_shl(32 - u32::from(config.ipv4_prefix)).unwrap_or(0),
            v6_mask: u128::MAX.checked_shl(128 - u32::from(config.ipv6_prefix)).unwrap_or(0),
        }
    }

    /// An IPv4 address stands as one mapped to IPv6, and one that came so mapped is IPv4.
    pub(super) fn key(&self, source: IpAddr) -> Key {
        match source.to_canonical() {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & self.v4_mask).to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => (v6.to_bits() & self.v6_mask).to_be_bytes(),
        }
    }

    /// What tells its keys from others.
    pub(super) fn mark(&self) -> u64 {
        (u64::from(self.v4_mask.leading_ones()) << 32) | u64::from(self.v6_mask.leading_ones())
    }
}

/// The address a key of such a table stands for.
pub fn address_of(key: &Key) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(*key)).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_client_however_it_is_written() {
        let by = |ipv4_prefix, ipv6_prefix| {
            SourceIp::new(&Config { timeout_s: None, ipv4_prefix, ipv6_prefix, table_size: 1 })
        };
        let key = |by: SourceIp, ip: &str| address_of(&by.key(ip.parse().unwrap())).to_string();
        assert_eq!(key(by(32, 128), "10.1.2.3"), "10.1.2.3");
        assert_eq!(key(by(32, 128), "::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(key(by(24, 128), "::ffff:10.1.2.3"), "10.1.2.0");
        assert_eq!(key(by(0, 64), "10.1.2.3"), "0.0.0.0");
        assert_eq!(key(by(32, 64), "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key(by(32, 1), "2001:db8::1"), "::");
        assert_ne!(by(24, 128).mark(), by(32, 128).mark());
        assert_ne!(by(32, 64).mark(), by(32, 128).mark());
    }
}
