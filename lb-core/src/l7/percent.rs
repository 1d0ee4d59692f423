//! On which side of a percentage something is: the same key is always on the same side, and stays there when the
//! percentage grows.

use std::net::IpAddr;

/// True for `percent` of a hundred keys. `seed` makes one rule's sides independent of another's.
pub(super) fn within(percent: u8, seed: u64, key: &[u8]) -> bool {
    let mut hash = seed ^ key.len() as u64;
    for chunk in key.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mixed(hash ^ u64::from_le_bytes(word));
    }
    drawn(percent, mixed(hash))
}

/// True for `percent` of a hundred draws.
pub(super) fn drawn(percent: u8, draw: u64) -> bool {
    // The upper half, spread over a hundred steps.
    ((draw >> 32) * 100) >> 32 < u64::from(percent)
}

/// True for `percent` of a hundred addresses. An IPv4 address in IPv6 clothes is the IPv4 address.
pub(super) fn address_within(percent: u8, seed: u64, address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => within(percent, seed, &v4.octets()),
        IpAddr::V6(v6) => within(percent, seed, &v6.octets()),
    }
}

/// A finaliser in the manner of MurmurHash3: every bit of the word moves about half of the bits of the result.
pub(super) fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: u8, seed: u64) -> f64 {
        let inside = (0..20_000u32).filter(|n| within(percent, seed, format!("client-{n}").as_bytes())).count();
        inside as f64 / 200.0
    }

    #[test]
    fn shares_are_what_they_say() {
        for percent in [1, 10, 50, 99] {
            for seed in [0, 7, u64::MAX] {
                assert!((share(percent, seed) - f64::from(percent)).abs() < 1.5, "{percent} of a hundred");
            }
        }
        assert!(share(0, 3) == 0.0 && share(100, 3) == 100.0);
        let addresses = (0..20_000u32).filter(|n| address_within(30, 5, IpAddr::from(n.to_be_bytes()))).count();
        assert!((5_700..6_300).contains(&addresses), "{addresses}");
    }

    #[test]
    fn whoever_is_inside_stays_inside_when_it_grows() {
        let inside = |percent, n: u32| within(percent, 42, &n.to_le_bytes());
        assert!((0..5_000).all(|n| !inside(10, n) || inside(20, n)));
        let both =
            (0..20_000u32).filter(|n| within(50, 1, &n.to_le_bytes()) && within(50, 2, &n.to_le_bytes())).count();
        assert!((4_700..5_300).contains(&both), "two rules are independent: {both}");
    }
}
