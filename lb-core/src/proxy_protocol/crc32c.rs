//! CRC-32C (RFC 3720 appendix B.4, Castagnoli's polynomial): the checksum a header of version 2 may carry.

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// A sum that is being worked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(!0)
    }
}

impl Crc32c {
    /// Takes in more bytes.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |sum, byte| (sum >> 8) ^ TABLE[(sum as u8 ^ byte) as usize]))
    }

    /// The sum of all.
    pub(super) fn sum(self) -> u32 {
        !self.0
    }
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4, and the check value of the catalogues.
    #[test]
    fn known_sums() {
        for (bytes, sum) in [
            (&b"123456789"[..], 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&std::array::from_fn::<u8, 32, _>(|n| n as u8), 0x46dd_794e),
        ] {
            assert_eq!(Crc32c::default().add(bytes).sum(), sum);
            assert_eq!(Crc32c::default().add(&bytes[..5]).add(&bytes[5..]).sum(), sum);
        }
    }
}
