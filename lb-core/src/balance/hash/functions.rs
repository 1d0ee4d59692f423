//! HAProxy's ways to make a number of a text, and to stir one. All wrap at 32 bits.

use crate::config::HashFunction;

/// The number of `text`.
pub(super) fn number(function: HashFunction, text: &[u8]) -> u32 {
    match function {
        HashFunction::Sdbm => text.iter().fold(0, |hash: u32, byte| {
            u32::from(*byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
        }),
        HashFunction::Djb2 => {
            text.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
        }
        HashFunction::Wt6 => wt6(text),
        HashFunction::Crc32 => {
            let step = |crc: u32, byte: &u8| CRC_OF_BYTE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
            !text.iter().fold(u32::MAX, step)
        }
        HashFunction::None => decimal(text),
    }
}

/// Stirs a number so that near ones part (Bob Jenkins' integer hash, then a multiplication by a large prime).
pub(super) fn avalanche(mut a: u32) -> u32 {
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = a ^ 0xc761_c23c ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = a ^ 0xb55a_4f09 ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

/// Two halves that are turned by each other's bits.
fn wt6(text: &[u8]) -> u32 {
    let (mut one, mut other) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut turn, mut other_turn) = (6, 18);
    for byte in text {
        one = !(one ^ u32::from(*byte));
        other = !other.wrapping_add(u32::from(*byte));
        (one, other) = (other.rotate_left(turn), one.rotate_left(other_turn));
        let bits = ((one >> 16) ^ other) & 0xffff;
        (turn, other_turn) = (bits & 31, bits >> 11);
    }
    one ^ other
}

/// A number with a sign at its beginning, as far as there are digits. One that does not fit is the nearest that does,
/// and of that the lower half.
fn decimal(text: &[u8]) -> u32 {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let signed = digits.fold(0i64, |number, byte| {
        let digit = i64::from(byte - b'0');
        number.saturating_mul(10).saturating_add(if negative { -digit } else { digit })
    });
    signed as u32
}

/// What one byte does to a CRC-32 (the reflected polynomial 0xEDB88320).
const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        assert_eq!(number(HashFunction::Crc32, b"123456789"), 0xcbf4_3926);
        assert_eq!(number(HashFunction::Djb2, b"a"), 5381 * 33 + 97);
        assert_eq!(number(HashFunction::Sdbm, b""), 0);
        assert_eq!(number(HashFunction::Sdbm, b"ab"), 97u32.wrapping_mul(65_599) + 98);
        assert_eq!(number(HashFunction::Wt6, b""), 0xa53c_965a ^ 0x5ca6_953a);
    }

    #[test]
    fn a_text_that_is_a_number_is_taken_as_such() {
        for (text, expected) in [
            ("0", 0),
            ("42", 42),
            ("+42", 42),
            ("42x7", 42),
            ("x", 0),
            ("", 0),
            ("-1", u32::MAX),
            ("4294967297", 1),
            ("99999999999999999999", u32::MAX),
            ("-99999999999999999999", 0),
        ] {
            assert_eq!(number(HashFunction::None, text.as_bytes()), expected, "{text}");
        }
    }
}
