//! Values of a persistence cookie: opaque, unforgeable, and understood without a table of clients.
//!
//! A member's token is the keyed hash of its id, 22 characters. Where a cookie may age, dates stand behind it as in HAProxy
//! (`token|last|first`, each date 30 bits of Unix time in steps of four seconds, in five characters), and behind them a keyed hash of all
//! that: `token|last|tag` or `token|last|first|tag`.

use super::secret::Secret;

/// Length of a token, and of a tag.
pub(super) const TOKEN_LEN: usize = 22;
const DATE_LEN: usize = 5;
const WITH_LAST: usize = TOKEN_LEN + 1 + DATE_LEN + 1 + TOKEN_LEN;
const WITH_BOTH: usize = WITH_LAST + DATE_LEN + 1;
/// A date is a multiple of this many seconds.
const DATE_STEP_S: u64 = 4;

/// Names a member.
pub(super) type Token = [u8; TOKEN_LEN];

/// When a cookie was last used and when it was given out, in seconds since 1970; 0: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dates {
    pub(super) last_s: u64,
    pub(super) first_s: u64,
}

/// The token of a keyed hash.
pub(super) fn token(mac: [u8; 16]) -> Token {
    let bits = u128::from_be_bytes(mac);
    // The last character carries two bits only.
    std::array::from_fn(|n| {
        ALPHABET[match n {
            21 => (bits & 3) as usize,
            n => (bits >> (122 - 6 * n) & 63) as usize,
        }]
    })
}

/// True if `text` could be a token.
pub(super) fn is_shaped(text: &[u8]) -> bool {
    text.len() == TOKEN_LEN && text.iter().all(|b| digit(*b).is_some())
}

/// Why a value is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It does not look like one.
    Shape,
    /// Its dates are not ours.
    Seal,
}

/// Splits a value into token and dates.
pub(super) fn read(value: &[u8], dates_key: &Secret) -> Result<(Token, Dates), Flaw> {
    let (token, rest) = value.split_first_chunk::<TOKEN_LEN>().ok_or(Flaw::Shape)?;
    let (last, first) = match value.len() {
        TOKEN_LEN => return Ok((*token, Dates::default())),
        WITH_LAST => (&rest[..=DATE_LEN], None),
        WITH_BOTH => (&rest[..=DATE_LEN], Some(&rest[DATE_LEN + 1..2 * (DATE_LEN + 1)])),
        _ => return Err(Flaw::Shape),
    };
    let (signed, tag) = value.split_at(value.len() - TOKEN_LEN);
    if !same(&self::token(dates_key.mac(&[signed])), tag) {
        return Err(Flaw::Seal);
    }
    let date = |text: &[u8]| match text.split_first() {
        Some((b'|', digits)) => digits.iter().try_fold(0u64, |date, b| Some(date << 6 | u64::from(digit(*b)?))),
        _ => None,
    };
    let last_s = date(last).ok_or(Flaw::Shape)? * DATE_STEP_S;
    let first_s = first.map_or(Some(0), date).ok_or(Flaw::Shape)? * DATE_STEP_S;
    Ok((*token, Dates { last_s, first_s }))
}

/// Appends a value. A date of 0 is left out; without a last date there is no first.
pub(super) fn write(token: &Token, dates: Dates, dates_key: &Secret, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(token);
    if dates.last_s == 0 {
        return;
    }
    for seconds in [dates.last_s, dates.first_s].into_iter().filter(|seconds| *seconds != 0) {
        let date = seconds / DATE_STEP_S;
        out.push(b'|');
        out.extend((0..DATE_LEN).rev().map(|place| ALPHABET[(date >> (6 * place) & 63) as usize]));
    }
    out.push(b'|');
    let tag = self::token(dates_key.mac(&[&out[start..]]));
    out.extend_from_slice(&tag);
}

/// The date to write at that time: rounded up, so that one just written is not in the past.
pub(super) fn rounded_up(now_s: u64) -> u64 {
    now_s.next_multiple_of(DATE_STEP_S)
}

/// Takes as long whatever differs.
fn same(a: &Token, b: &[u8]) -> bool {
    b.len() == TOKEN_LEN && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

/// RFC 4648 section 5.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Secret {
        Secret::from_bytes(&[3; 16]).unwrap()
    }

    #[test]
    fn digits_and_alphabet_agree() {
        for (value, character) in ALPHABET.iter().enumerate() {
            assert_eq!(digit(*character), Some(value as u8));
        }
        assert_eq!((0..=255u8).filter(|b| digit(*b).is_some()).count(), 64);
        assert_eq!(&token([0; 16]), &[b'A'; 22]);
        assert_eq!(&token([255; 16])[..], b"_____________________D");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(mac in any::<[u8; 16]>(), last in 0u64..1 << 30, first in 0u64..1 << 30) {
            let first = if last == 0 { 0 } else { first };
            let (token, dates) = (token(mac), Dates { last_s: last * 4, first_s: first * 4 });
            let mut value = Vec::new();
            write(&token, dates, &key(), &mut value);
            prop_assert!(is_shaped(&value[..TOKEN_LEN]));
            prop_assert_eq!(read(&value, &key()), Ok((token, dates)));
        }

        #[test]
        fn no_byte_of_a_dated_value_may_be_another(at in 0usize..57, byte in any::<u8>()) {
            let mut value = Vec::new();
            write(&token([9; 16]), Dates { last_s: 1_790_000_000, first_s: 1_780_000_000 }, &key(), &mut value);
            prop_assert_eq!(value.len(), 57);
            prop_assume!(value[at] != byte);
            value[at] = byte;
            prop_assert_eq!(read(&value, &key()), Err(Flaw::Seal));
        }

        #[test]
        fn anything_else_is_nothing(value in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assume!(value.len() != TOKEN_LEN);
            prop_assert!(read(&value, &key()).is_err());
        }
    }
}
