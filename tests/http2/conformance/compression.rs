//! Fields that cannot be unpacked (RFC 7541): what both sides remember is no longer the same, so the connection ends.

use super::*;

const COMPRESSION: Must = Must::EndAll(&[code::COMPRESSION_ERROR]);

pub(super) fn cases() -> Vec<Case> {
    let blocks: Vec<(&'static str, &'static str, Vec<u8>)> = vec![
        ("2.3.3", "an index nobody has", behind(b"\xc6")),
        ("2.3.3", "a name by an index nobody has", behind(b"\x7f\x07\x04weir")),
        ("4.2", "a change of the table after fields", behind(b"\x20")),
        ("4.2", "two changes of the table after fields", behind(b"\x20\x3f\xe1\x1f")),
        ("5.1", "a number without end", behind(b"\xff\xff\xff\xff\xff\xff\xff")),
        (
            "5.2",
            "padding of Huffman's code of more than seven bits",
            behind(b"\x00\x85\xf2\xb2\x4a\x84\xff\x85\x9c\x48\xac\xa4\xff"),
        ),
        ("5.2", "padding of Huffman's code that is zero", behind(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x52\x50")),
        ("5.2", "Huffman's end of string", behind(b"\x00\x85\xf2\xb2\x4a\x84\xff\x86\x49\x53\xff\xff\xff\xfe")),
        ("6.1", "the index zero", behind(b"\x80")),
        ("6.2", "a literal without its name", b"\x40".to_vec()),
        ("6.2", "a literal that is cut short", behind(b"\x00\x03x-a\x04we")),
        ("6.3", "a table larger than allowed", [b"\x3f\xe2\x1f".to_vec(), block("GET")].concat()),
    ];
    blocks
        .into_iter()
        .map(|(section, what, block)| {
            case(section, what, &[frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block)], COMPRESSION)
        })
        .collect()
}

/// A sound request with `bytes` behind it.
fn behind(bytes: &[u8]) -> Vec<u8> {
    [&block("GET"), bytes].concat()
}
