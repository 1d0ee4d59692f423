//! `Date`: when a message was made, or came here without saying when (RFC 9110 section 6.6.1).
//!
//! Written out once a second and thread, and only where somebody needs it.

use std::cell::Cell;

use crate::clock;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub type Written = [u8; 29];

thread_local! {
    static LAST: Cell<(u64, Written)> = const { Cell::new((u64::MAX, [0; 29])) };
}

/// The date now.
pub fn now() -> Written {
    let second = clock::unix_seconds();
    let (of, written) = LAST.get();
    if of == second {
        return written;
    }
    let written = at(second);
    LAST.set((second, written));
    written
}

/// The date so many seconds after the beginning of 1970 (RFC 9110 section 5.6.7).
fn at(second: u64) -> Written {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (days, of_day) = (second / 86_400, second % 86_400);
    let (year, month, day) = civil(days);
    let mut out = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    let word = |table: &[u8], n: u64| [0, 1, 2].map(|at| table[(n * 3 + at) as usize]);
    out[..3].copy_from_slice(&word(DAYS, days % 7));
    out[8..11].copy_from_slice(&word(MONTHS, month - 1));
    for (place, n) in
        [(5, day), (12, year / 100), (14, year % 100), (17, of_day / 3600), (20, of_day / 60 % 60), (23, of_day % 60)]
    {
        out[place] = b'0' + (n / 10 % 10) as u8;
        out[place + 1] = b'0' + (n % 10) as u8;
    }
    out
}

/// Year, month and day of the month, counted from 1970 in whole days. Years begin in March here, so that the odd day
/// comes last; 400 of them are always as long.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (second, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&at(second)), date);
        }
        assert_eq!(now()[25..], *b" GMT");
    }
}
