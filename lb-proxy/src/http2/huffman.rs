//! The code of HPACK's strings (RFC 7541 section 5.2 and appendix B), read symbol by symbol: whoever judges a text has no
//! need to keep it.
//!
//! It is canonical: codes of one length are numbers in a row, given to symbols in their order, and longer ones follow. So
//! all of it follows from how long the code of each symbol is.

/// Bits of each byte's code.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];
/// The longest code.
const LONGEST: usize = 30;
/// Codes up to so many bits, which are those of nearly all that is said, are looked up at once.
const SHORT: u32 = 9;

/// Symbols and what tells their codes apart.
struct Code {
    /// In the order of their codes.
    symbols: [u8; 256],
    /// For each length: which symbol is the first, its code, and the first code that is longer. Codes begin with the
    /// highest bit of 32.
    first: [u16; LONGEST + 1],
    from: [u32; LONGEST + 1],
    until: [u32; LONGEST + 1],
    /// For what the next bits are: a symbol and the length of its code. Length 0: it is longer.
    short: [(u8, u8); 1 << SHORT],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut made = Code {
        symbols: [0; 256],
        first: [0; LONGEST + 1],
        from: [0; LONGEST + 1],
        until: [0; LONGEST + 1],
        short: [(0, 0); 1 << SHORT],
    };
    let (mut len, mut next, mut n) = (1, 0_u32, 0);
    while len <= LONGEST {
        made.first[len] = n as u16;
        made.from[len] = next;
        let step = 1 << (32 - len);
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == len {
                made.symbols[n] = symbol as u8;
                n += 1;
                if len <= SHORT as usize {
                    let mut place = next >> (32 - SHORT);
                    while place < (next + step) >> (32 - SHORT) {
                        made.short[place as usize] = (symbol as u8, len as u8);
                        place += 1;
                    }
                }
                next += step;
            }
            symbol += 1;
        }
        made.until[len] = next;
        len += 1;
    }
    made
}

/// The symbol whose code `bits` begin with, and the length of its code. None has the last code there is: it says that a
/// text has ended, and is never said.
fn symbol(bits: u32) -> Option<(u8, u32)> {
    let (symbol, len) = CODE.short[(bits >> (32 - SHORT)) as usize];
    if len > 0 {
        return Some((symbol, u32::from(len)));
    }
    let len = (SHORT as usize + 1..=LONGEST).find(|len| bits < CODE.until[*len])?;
    let nth = (bits - CODE.from[len]) >> (32 - len);
    let symbol = CODE.symbols.get(usize::from(CODE.first[len]) + nth as usize)?;
    Some((*symbol, len as u32))
}

/// Gives each symbol of a text to `each`; false: it is no text in this code.
pub(super) fn read(text: &[u8], mut each: impl FnMut(u8)) -> bool {
    let (mut bits, mut known) = (0_u64, 0);
    let mut rest = text.iter();
    loop {
        while known <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - known);
            known += 8;
        }
        if known == 0 {
            return true;
        }
        match symbol((bits >> 32) as u32) {
            Some((symbol, len)) if len <= known => {
                each(symbol);
                bits <<= len;
                known -= len;
            }
            // The last byte is filled up with the beginning of the code that has no symbol, which is ones.
            _ => return known < 8 && bits >> (64 - known) == (1 << known) - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        read(code, |symbol| text.push(symbol)).then_some(text)
    }

    /// RFC 7541 appendix C.4 and C.6.
    #[test]
    fn texts_of_the_standard() {
        for (code, expected) in [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f], "custom-key"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
                    0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                &[
                    0x94, 0xe7, 0x82, 0x1d, 0xd7, 0xf2, 0xe6, 0xc7, 0xb3, 0x35, 0xdf, 0xdf, 0xcd, 0x5b, 0x39, 0x60,
                    0xd5, 0xaf, 0x27, 0x08, 0x7f, 0x36, 0x72, 0xc1, 0xab, 0x27, 0x0f, 0xb5, 0x29, 0x1f, 0x95, 0x87,
                    0x31, 0x60, 0x65, 0xc0, 0x03, 0xed, 0x4e, 0xe5, 0xb1, 0x06, 0x3d, 0x50, 0x07,
                ],
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
            (&[], ""),
        ] {
            assert_eq!(text(code).as_deref(), Some(expected.as_bytes()));
        }
    }

    /// The last code of each length, as appendix B writes it.
    #[test]
    fn codes_of_the_standard() {
        for (symbol, code, len) in [
            (116, 0x9, 5),
            (117, 0x2d, 6),
            (122, 0x7b, 7),
            (90, 0xfd, 8),
            (63, 0x3fc, 10),
            (124, 0x7fc, 11),
            (62, 0xffb, 12),
            (126, 0x1ffd, 13),
            (125, 0x3ffd, 14),
            (123, 0x7ffe, 15),
            (208, 0x7fff2, 19),
            (226, 0xfffed, 20),
            (230, 0x1fffe8, 21),
            (233, 0x3fffeb, 22),
            (239, 0x7ffff4, 23),
            (237, 0xfffff5, 24),
            (235, 0x1ffffef, 25),
            (255, 0x3ffffee, 26),
            (254, 0x7fffff0, 27),
            (249, 0xffffffe, 28),
            (22, 0x3ffffffe, 30),
        ] {
            let bits = (code << (40 - len)) | ((1_u64 << (40 - len)) - 1);
            let whole = usize::div_ceil(len, 8);
            assert_eq!(text(&bits.to_be_bytes()[3..3 + whole]), Some(vec![symbol]), "{symbol}");
        }
    }

    #[test]
    fn what_is_no_text() {
        for code in [
            // Filled up with zeros, with too much, with what is longer than a byte.
            &[0x18][..],
            &[0x00],
            &[0xff],
            &[0x1f, 0xff],
            &[0xff, 0xff],
            // The code without a symbol, alone and behind another.
            &[0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xff; 40],
        ] {
            assert_eq!(text(code), None, "{code:x?}");
        }
        assert_eq!(text(&[0x1f]).as_deref(), Some(&b"a"[..]));
        assert_eq!(text(&[0b1111_1000, 0xff]), None, "a symbol, and eight bits");
    }
}
