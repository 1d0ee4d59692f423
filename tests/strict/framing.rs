//! F1–F7 and F11: how long a body is, and the names that say so.

use super::court::{Case, Court, Want, arrives, broken, get, post, refused, refused_with, served};

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";
const HIDDEN: &str = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// Length and chunks together, in every order and disguise.
pub(super) fn f1() -> Vec<Case> {
    let rule = "RFC 9112 6.1, 6.3";
    [
        ("CL.TE", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", HIDDEN),
        ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", HIDDEN),
        ("CL.TE, chunks as long as the length says", "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ("CL 0 and TE", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ("CL.TE.CL", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKS),
        ("TE.CL.TE", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ("lower case", "content-length: 6\r\ntransfer-encoding: chunked\r\n", HIDDEN),
        ("upper case", "CONTENT-LENGTH: 6\r\nTRANSFER-ENCODING: CHUNKED\r\n", HIDDEN),
        ("far apart", "Content-Length: 6\r\nX-A: b\r\nX-C: d\r\nTransfer-Encoding: chunked\r\n", HIDDEN),
        (
            "the length nominated",
            "Connection: Content-Length\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n",
            HIDDEN,
        ),
        (
            "the coding nominated",
            "Connection: Transfer-Encoding\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n",
            HIDDEN,
        ),
        ("a bad length and TE", "Content-Length: x\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ("an empty length and TE", "Content-Length:\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ("a length and no coding", "Content-Length: 5\r\nTransfer-Encoding:\r\n", "hello"),
        ("a length and identity", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
    ]
    .into_iter()
    .map(|(name, fields, body)| refused(name, rule, post(fields, body)))
    .collect()
}

#[test]
fn f1_length_and_chunks_together() {
    Court::new().try_all(&f1());
}

/// Codings that are not exactly `chunked`, or not the only one.
pub(super) fn f2() -> Vec<Case> {
    let rule = "RFC 9112 6.1, 6.3, 7";
    let values: &[&[u8]] = &[
        b"xchunked",
        b"chunkedx",
        b"chunke",
        b"chun ked",
        b"chunked chunked",
        b"\x0bchunked",
        b"chunked\x0b",
        b"\x0cchunked",
        b"chunked\x0c",
        b"\0chunked",
        b"chunked\0",
        b"chun\0ked",
        b"\xffchunked",
        b"chunked\xff",
        b"\xa0chunked",
        b"\xc2\x85chunked",
        b"\x08chunked",
        b"chunked\x7f",
        b"\"chunked\"",
        b"'chunked'",
        b"`chunked`",
        b"chunked;q=1",
        b"chunked;",
        b";chunked",
        b"chunked; foo",
        b"chunked,",
        b",chunked",
        b", chunked",
        b"chunked,,",
        b"chunked, identity",
        b"identity, chunked",
        b"identity",
        b"chunked, chunked",
        b"chunked, x",
        b"x, chunked",
        b"cow",
        b"",
        b"c\xc4\xb7unked",
        b"chun\xe2\x84\xaaed",
        b"=chunked",
        b"<chunked>",
        b"chunked=",
        b"chunked:",
        b": chunked",
        b"[chunked]",
        b"chunked\\",
        b"0",
        b"none",
        b"null",
    ];
    let line = |value: &[u8]| [b"Transfer-Encoding: ", value, b"\r\n"].concat();
    let mut cases: Vec<Case> = values
        .iter()
        .map(|value| {
            let name = format!("Transfer-Encoding: {}", String::from_utf8_lossy(value));
            refused_with(&[400, 501], name, rule, post(line(value), HIDDEN))
        })
        .collect();
    for known in ["gzip", "deflate", "compress", "x-gzip", "gzip, chunked", "chunked, gzip", "gzip;q=1, chunked"] {
        cases.push(refused_with(
            &[400, 501],
            format!("a coding that is known: {known}"),
            rule,
            post(line(known.as_bytes()), HIDDEN),
        ));
    }
    let lines: &[(&str, &[u8])] = &[
        ("twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("a second line that is unknown", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
        ("a first line that is unknown", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"),
        ("a second line, identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("a second line, empty", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
        ("a second line in another case", b"Transfer-Encoding: chunked\r\ntransfer-encoding: cow\r\n"),
        ("a space before the colon", b"Transfer-Encoding : chunked\r\n"),
        ("a tab before the colon", b"Transfer-Encoding\t: chunked\r\n"),
        ("a folded value", b"Transfer-Encoding:\r\n chunked\r\n"),
        ("a folded value after a tab", b"Transfer-Encoding:\r\n\tchunked\r\n"),
        ("a folded second word", b"Transfer-Encoding: chunked\r\n , identity\r\n"),
        ("a field hidden behind a fold", b"X-A: b\r\n Transfer-Encoding: chunked\r\n"),
        ("a field behind a bare LF", b"X-A: b\nTransfer-Encoding: chunked\r\n"),
        ("a field behind a bare CR", b"X-A: b\rTransfer-Encoding: chunked\r\n"),
        ("a value ended by a bare LF", b"Transfer-Encoding: chunked\n"),
        ("a value with a bare CR", b"Transfer-Encoding: chunked\r\r\n"),
        ("a value begun by a bare LF", b"Transfer-Encoding: \nchunked\r\n"),
        ("a name with a space in front", b" Transfer-Encoding: chunked\r\n"),
        ("a name with NUL", b"Transfer-Encoding\0: chunked\r\n"),
        ("a name with 0xFF in front", b"\xffTransfer-Encoding: chunked\r\n"),
        ("a name with a colon in front", b":Transfer-Encoding: chunked\r\n"),
        ("a name with a quote", b"\"Transfer-Encoding\": chunked\r\n"),
        ("a name with a comma", b"Transfer-Encoding,: chunked\r\n"),
        ("a name in two words", b"Transfer Encoding: chunked\r\n"),
        ("a name with a Kelvin sign", "Transfer-Encod\u{131}ng: chunked\r\n".as_bytes()),
        ("a name some readers take for it", b"Transfer_Encoding: chunked\r\n"),
        ("without a colon", b"Transfer-Encoding chunked\r\n"),
        ("with an equals sign", b"Transfer-Encoding= chunked\r\n"),
    ];
    for (name, fields) in lines {
        cases.push(refused_with(&[400, 501], *name, rule, post(fields, HIDDEN)));
    }
    // What may be written is written anew.
    let head = "POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, fields) in [
        ("in another case", "transfer-ENCODING: cHuNkEd\r\n"),
        ("without a space", "Transfer-Encoding:chunked\r\n"),
        ("with many spaces", "Transfer-Encoding:  \t chunked \t\r\n"),
        ("nominated", "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n"),
    ] {
        cases.push(served(name, rule, post(fields, CHUNKS), [arrives(head, "hello")]));
    }
    cases
}

#[test]
fn f2_codings_that_are_not_exactly_chunked() {
    Court::new().try_all(&f2());
}

/// HTTP/1.0 knows no codings.
pub(super) fn f3() -> Vec<Case> {
    let old = |fields: &str, body: &str| format!("POST / HTTP/1.0\r\nHost: weir.test\r\n{fields}\r\n{body}");
    [
        ("chunks", "Transfer-Encoding: chunked\r\n", CHUNKS),
        ("chunks and keep-alive", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", HIDDEN),
        ("chunks and a length", "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
        ("identity", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\nConnection: keep-alive\r\n", CHUNKS),
    ]
    .into_iter()
    .map(|(name, fields, body)| refused_with(&[400, 501], name, "RFC 9112 6.1", old(fields, body)))
    .collect()
}

#[test]
fn f3_codings_in_http_1_0() {
    Court::new().try_all(&f3());
}

/// More than one length.
pub(super) fn f4() -> Vec<Case> {
    let rule = "RFC 9112 6.3, RFC 9110 8.6";
    let mut cases: Vec<Case> = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\ncontent-length: 50\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length: 5\r\nContent-Length: x\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: ,5\r\n",
        "Content-Length: 5 , 5\r\n",
        "Content-Length: 5;6\r\n",
        "Content-Length: 5\r\n Content-Length: 6\r\n",
        "Content-Length: 5\r\n\t6\r\n",
        "Content_Length: 50\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent_Length: 50\r\n",
        "Content_Length: 5\r\n",
    ]
    .into_iter()
    .map(|fields| refused(fields, rule, post(fields, "hello")))
    .collect();
    let one = arrives("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\n", "hello");
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 05\r\n",
        "Content-Length: 0005\r\n",
        "content-length:5\r\n",
        "Content-Length: \t5 \r\n",
    ] {
        let mut collapsed = one.clone();
        let name = fields.split(':').next().unwrap_or_default();
        collapsed.head = collapsed.head.replace("Content-Length", name);
        cases.push(served(fields, rule, post(fields, "hello"), [collapsed]));
    }
    cases
}

#[test]
fn f4_more_than_one_length() {
    Court::new().try_all(&f4());
}

/// Lengths that are no number.
pub(super) fn f5() -> Vec<Case> {
    let values: &[&[u8]] = &[
        b"+5",
        b"-5",
        b"-0",
        b"+0",
        b"0x5",
        b"0X5",
        b"5.0",
        b"5,0",
        b"1_0",
        b"1e1",
        b"\"5\"",
        b"'5'",
        b"",
        b" ",
        b"5abc",
        b"abc5",
        b"5 6",
        b"5\t6",
        b"x",
        b"five",
        b"0b101",
        b"0o5",
        b"#5",
        b"5#",
        b"5;",
        b"5h",
        b"5\0",
        b"\x005",
        b"5\x0b",
        b"\x0b5",
        b"5\x0c",
        b"\x0c5",
        b"5\xa0",
        b"\xa05",
        b"\xff5",
        b"\xef\xbc\x95",
        b"\xd9\xa5",
        b"\xe2\x81\xb5",
        b"(5)",
        b"5%",
        b"%35",
        b"&#53;",
        b"NaN",
        b"inf",
        b"true",
        b"--5",
        b"+-5",
        b"5-",
        b"5+",
        b"5\\",
        b"=5",
        b":5",
        b"<5>",
        b"5/1",
        b"5*1",
        b"0 5",
    ];
    values
        .iter()
        .map(|value| {
            let name = format!("Content-Length: {}", String::from_utf8_lossy(value));
            let line = [b"Content-Length: ", *value, b"\r\n"].concat();
            refused(name, "RFC 9112 6.3", post(line, "hello"))
        })
        .collect()
}

#[test]
fn f5_lengths_that_are_no_number() {
    Court::new().try_all(&f5());
}

/// Numbers that do not fit.
pub(super) fn f6() -> Vec<Case> {
    let mut cases = Vec::new();
    for digits in [
        "9223372036854775808",
        "9999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551621",
        "36893488147419103237",
        "340282366920938463463374607431768211461",
        "99999999999999999999999999999999999999999999999999",
    ] {
        let line = format!("Content-Length: {digits}\r\n");
        cases.push(refused(format!("a length of {digits}"), "RFC 9110 8.6", post(line, "hello")));
    }
    let zeros = format!("Content-Length: {}5\r\n", "0".repeat(300));
    cases.push(refused("a length with many zeros", "RFC 9110 8.6", post(zeros, "hello")));
    for size in [
        "ffffffffffffffff",
        "10000000000000005",
        "fffffffffffffffff5",
        "100000000000000000000000000000005",
        "8000000000000005",
        "00000000000000000000000000000000000005",
    ] {
        let body = format!("{size}\r\nhello\r\n0\r\n\r\n");
        let bytes = post("Transfer-Encoding: chunked\r\n", body);
        cases.push(broken(format!("a chunk of {size}"), "RFC 9112 7.1", bytes));
    }
    cases
}

#[test]
fn f6_numbers_that_do_not_fit() {
    Court::new().try_all(&f6());
}

/// White space before the colon, whatever the field.
pub(super) fn f7() -> Vec<Case> {
    let lines: [&str; 9] = [
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Content-Length  : 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-A : b\r\n",
        "X-A\t: b\r\n",
        "Cookie : a=b\r\n",
        "Connection : close\r\n",
        "Expect : 100-continue\r\n",
    ];
    let mut cases: Vec<Case> = lines.iter().map(|line| refused(*line, "RFC 9112 5.1", post(line, "hello"))).collect();
    cases.push(refused("Host :", "RFC 9112 5.1", "GET / HTTP/1.1\r\nHost : weir.test\r\n\r\n"));
    cases
}

#[test]
fn f7_white_space_before_the_colon() {
    Court::new().try_all(&f7());
}

/// Names that are none, and names so long that some readers lose what stands behind them.
pub(super) fn f11() -> Vec<Case> {
    let rule = "RFC 9110 5.1; CVE-2021-40346, CVE-2023-25725";
    let mut cases: Vec<Case> = [
        ": b",
        ":",
        ": Content-Length: 5",
        "nonsense",
        "X-A",
        "=",
        "X-A b",
        "\"X-A\": b",
        "X[A]: b",
        "X/A: b",
        "X{A}: b",
        "X@A: b",
    ]
    .into_iter()
    .map(|line| refused(line, rule, post(format!("Content-Length: 5\r\n{line}\r\n"), "hello")))
    .collect();
    for len in [255, 256, 257, 270, 4095, 8192] {
        let name = "a".repeat(len);
        let head = format!("POST / HTTP/1.1\r\nHost: weir.test\r\n{name}: b\r\nContent-Length: 5\r\n\r\n");
        cases.push(served(format!("a name of {len} bytes"), rule, format!("{head}hello"), [arrives(&head, "hello")]));
        // As in CVE-2021-40346: its length spills into the next one's.
        let spilling = format!("Content-Length0{name}:\r\nContent-Length: 5\r\n");
        let head =
            format!("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length0{name}: \r\nContent-Length: 5\r\n\r\n");
        cases.push(served(
            format!("a name of {len} bytes and more"),
            rule,
            post(spilling, "hello"),
            [arrives(&head, "hello")],
        ));
    }
    let long = get(format!("{}: b\r\n", "a".repeat(20_000)));
    cases.push(Case { want: Want::Refused(&[400, 431]), ..refused("a name of 20 kB", rule, long) });
    cases
}

#[test]
fn f11_names_that_are_none_or_very_long() {
    Court::new().try_all(&f11());
}
