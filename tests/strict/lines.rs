//! F8–F10: where lines end, and what may stand in them.

use super::court::{Case, Court, arrives, get, refused, served};

/// Line ends that are none, at every line.
pub(super) fn f8() -> Vec<Case> {
    let rule = "RFC 9112 2.2";
    let whole = "GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: b\r\nX-C: d\r\n\r\n";
    let ends: Vec<usize> = whole.match_indices("\r\n").map(|(at, _)| at).collect();
    let mut cases = vec![
        refused("LF throughout", rule, whole.replace("\r\n", "\n")),
        refused("CR throughout", rule, whole.replace("\r\n", "\r")),
        refused("LF CR throughout", rule, whole.replace("\r\n", "\n\r")),
        refused("CR CR LF throughout", rule, whole.replace("\r\n", "\r\r\n")),
        refused("LF at the empty line alone", rule, whole.replace("\r\n\r\n", "\r\n\n")),
        refused("LF LF at the end", rule, whole.replace("\r\n\r\n", "\n\n")),
        refused("LF before the empty line", rule, whole.replace("\r\n\r\n", "\n\r\n")),
        refused("CR before the empty line", rule, whole.replace("\r\n\r\n", "\r\r\n\r\n")),
        refused("a bare LF first", rule, format!("\n{whole}")),
        refused("two bare LF first", rule, format!("\n\n{whole}")),
        refused("a bare CR first", rule, format!("\r{whole}")),
        refused("CR CR LF first", rule, format!("\r\r\n{whole}")),
        refused("CR LF and a bare LF first", rule, format!("\r\n\n{whole}")),
    ];
    for (nth, at) in ends.iter().enumerate() {
        for (name, end) in [
            ("LF", "\n"),
            ("CR", "\r"),
            ("CR CR LF", "\r\r\n"),
            ("LF CR", "\n\r"),
            ("NUL CR LF", "\0\r\n"),
            ("VT", "\x0b"),
            ("FF", "\x0c"),
            ("NEL", "\u{85}"),
        ] {
            let mut bytes = whole.to_owned();
            bytes.replace_range(*at..*at + 2, end);
            // Inside a value NEL may stand.
            if end == "\u{85}" && nth > 0 {
                continue;
            }
            cases.push(refused(format!("{name} at line {nth}"), rule, bytes));
        }
    }
    for (name, value) in
        [("in a value", "b\rd"), ("at a value's end", "b\r"), ("at a value's beginning", "\rb"), ("twice", "\r\r")]
    {
        cases.push(refused(format!("CR {name}"), rule, get(format!("X-A: {value}\r\n"))));
    }
    for (name, value) in [
        ("in a value", "b\nd"),
        ("at a value's end", "b\n"),
        ("before a field", "b\nX-B: d"),
        ("before a length", "b\nContent-Length: 5"),
    ] {
        cases.push(refused(format!("LF {name}"), rule, get(format!("X-A: {value}\r\n"))));
    }
    // Empty lines before a request are to be skipped.
    let plain = arrives("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n", "");
    for n in [1, 2] {
        let bytes = ["\r\n".repeat(n).into_bytes(), get("")].concat();
        cases.push(served(format!("{n} empty lines first"), rule, bytes, [plain.clone()]));
    }
    cases
}

#[test]
fn f8_line_ends_that_are_none() {
    Court::new().try_all(&f8());
}

/// Lines that go on in the next one.
pub(super) fn f9() -> Vec<Case> {
    let rule = "RFC 9112 5.2, 2.2";
    let folded = [
        "X-A: b\r\n c\r\n",
        "X-A: b\r\n\tc\r\n",
        "X-A:\r\n b\r\n",
        "X-A: b\r\n \r\n",
        "X-A: b\r\n \r\n c\r\n",
        "X-A: b\r\n\t\r\n",
        "Connection: keep-alive,\r\n close\r\n",
        "Content-Length:\r\n 5\r\n",
        "Content-Length: 5\r\n 0\r\n",
        "Host: other\r\n .test\r\n",
        "X-A: b\r\n Content-Length: 5\r\n",
    ];
    let mut cases: Vec<Case> =
        folded.iter().map(|fields| refused(format!("folded {fields:?}"), rule, get(fields))).collect();
    for (name, first) in [("a space", " "), ("a tab", "\t"), ("many", "  \t "), ("an empty folded line", " \r\n")] {
        let bytes = format!("GET / HTTP/1.1\r\n{first}X-A: b\r\nHost: weir.test\r\n\r\n");
        cases.push(refused(format!("{name} before the first field"), rule, bytes));
        let bytes = format!("GET / HTTP/1.1\r\n{first}Host: weir.test\r\n\r\n");
        cases.push(refused(format!("{name} before Host"), rule, bytes));
        let bytes = format!("{first}GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        cases.push(refused(format!("{name} before the request line"), rule, bytes));
    }
    cases
}

#[test]
fn f9_lines_that_go_on_in_the_next() {
    Court::new().try_all(&f9());
}

/// Every byte that must not stand in a value or a name.
pub(super) fn f10() -> Vec<Case> {
    let rule = "RFC 9110 5.1, 5.5, 5.6.2";
    let mut cases = Vec::new();
    for byte in (0..32u8).chain([127]).filter(|b| !matches!(b, b'\t' | b'\n')) {
        for (place, value) in
            [("in", [&b"b"[..], &[byte], b"d"].concat()), ("at the end of", [&b"b"[..], &[byte]].concat())]
        {
            let line = [b"X-A: ", value.as_slice(), b"\r\n"].concat();
            cases.push(refused(format!("{byte:#04x} {place} a value"), rule, get(line)));
        }
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    for byte in (0..=255u8).filter(|b| !token(*b) && *b != b':') {
        for (place, name) in [("in", [&b"X"[..], &[byte], b"A"].concat()), ("before", [&[byte], &b"A"[..]].concat())] {
            let line = [name.as_slice(), b": b\r\n"].concat();
            cases.push(refused(format!("{byte:#04x} {place} a name"), rule, get(line)));
        }
    }
    // Eight bits in a value are nobody's framing: they pass as they are (RFC 9110 5.5).
    let head = "GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: caf\u{e9} \u{2028}\r\n\r\n";
    cases.push(served("eight bits in a value", rule, head, [arrives(head, "")]));
    cases
}

#[test]
fn f10_bytes_that_must_not_be_in_names_and_values() {
    Court::new().try_all(&f10());
}
