//! F12–F14: chunks, their extensions, and what follows the last one.

use weir_tests::canon::Message;

use super::court::{Case, Court, SMUGGLED, arrives, broken, post, served};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const HEAD: &str = "POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";

fn bad(name: &str, rule: &'static str, body: impl AsRef<[u8]>) -> Case {
    broken(name, rule, post(CHUNKED, body))
}

/// Chunks that are none.
pub(super) fn f12() -> Vec<Case> {
    let rule = "RFC 9112 7.1, erratum 7633";
    let first: &[&[u8]] = &[
        b"+5",
        b"-5",
        b"0x5",
        b"0X5",
        b" 5",
        b"\t5",
        b"5 ",
        b"5\t",
        b"5 \t;a",
        b"",
        b"g",
        b"5g",
        b"5 5",
        b"5,",
        b"5.0",
        b"\"5\"",
        b"_5",
        b"5_",
        b"5h",
        b"\x005",
        b"5\0",
        b"\x0b5",
        b"5\x0b",
        b"\x0c5",
        b"5\x0c",
        b"\xff5",
        b"5\xff",
        b"5\xa0",
        b"\xef\xbc\x95",
        b"#5",
        b"5#",
        b"5:",
        b"5=",
        b"5\\",
        b"0x",
        b"-0",
        b"5\x7f",
        b"5\r",
        b"\r5",
        b"5\n",
        b"\n5",
        b"5;a\rb",
        b"5;a\nb",
        b"5;a\0b",
        b"5;a=\"\n\"",
        b"5;a=\"\r\"",
        b"5;a\x7f",
        b"5;\x01",
    ];
    let mut cases: Vec<Case> = first
        .iter()
        .map(|size| {
            let name = format!("a size of {:?}", String::from_utf8_lossy(size));
            bad(&name, rule, [*size, b"\r\nhello\r\n0\r\n\r\n"].concat())
        })
        .collect();
    for (name, body) in [
        ("longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
        ("longer by one", "4\r\nhello\r\n0\r\n\r\n"),
        ("shorter than its size", "7\r\nhello\r\n0\r\n\r\n"),
        ("without an end", "5\r\nhello0\r\n\r\n"),
        ("ended by LF", "5\r\nhello\n0\r\n\r\n"),
        ("ended by CR", "5\r\nhello\r0\r\n\r\n"),
        ("ended by CR CR LF", "5\r\nhello\r\r\n0\r\n\r\n"),
        ("ended by LF CR", "5\r\nhello\n\r0\r\n\r\n"),
        ("ended twice", "5\r\nhello\r\n\r\n0\r\n\r\n"),
        ("ended by two other bytes", "5\r\nhelloXX0\r\n\r\n"),
        ("ended by spaces", "5\r\nhello  \r\n0\r\n\r\n"),
        ("a size line ended by LF", "5\nhello\r\n0\r\n\r\n"),
        ("a size line ended by CR", "5\rhello\r\n0\r\n\r\n"),
        ("a size line ended by LF CR", "5\n\rhello\r\n0\r\n\r\n"),
        ("an extension ended by LF", "5;a\nhello\r\n0\r\n\r\n"),
        ("an extension ended by CR", "5;a\rhello\r\n0\r\n\r\n"),
        ("the last size ended by LF", "5\r\nhello\r\n0\n\r\n"),
        ("the last line ended by LF", "5\r\nhello\r\n0\r\n\n"),
        ("all ended by LF", "5\nhello\n0\n\n"),
        ("two bytes for a line end", "5\r\nhello\r\n0\r\nXX"),
        ("an empty line first", "\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("a negative last", "5\r\nhello\r\n-0\r\n\r\n"),
        ("a last of 0x0", "5\r\nhello\r\n0x0\r\n\r\n"),
        ("a last with a space", "5\r\nhello\r\n0 \r\n\r\n"),
        ("a bad second size", "5\r\nhello\r\nzz\r\n\r\n"),
        ("hidden behind a quoted LF", "2;\"\n\r\nxx\r\n10\r\n\r\n"),
        (
            "hidden behind an LF in an extension",
            "2;\nxx\r\n4c\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: weir.test\r\n\r\n",
        ),
        ("a line of text", "hello\r\n0\r\n\r\n"),
        ("a request instead of a chunk", "GET /hidden HTTP/1.1\r\nHost: weir.test\r\n\r\n"),
    ] {
        cases.push(bad(name, rule, body));
    }
    let one = |name: &str, body: &str, data: &str| served(name, rule, post(CHUNKED, body), [arrives(HEAD, data)]);
    cases.extend([
        one("plain", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        one("several", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
        one("in upper case", "A\r\nhellohello\r\n0\r\n\r\n", "hellohello"),
        one("with zeros in front", "0005\r\nhello\r\n0000\r\n\r\n", "hello"),
        one("none", "0\r\n\r\n", ""),
        one("with extensions", "5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
        one("with extensions in quotes", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "hello"),
        one("with an empty extension", "5;\r\nhello\r\n0\r\n\r\n", "hello"),
        one("holding chunks", "d\r\n0\r\n\r\nGET / H\r\r\n0\r\n\r\n", "0\r\n\r\nGET / H\r"),
    ]);
    cases
}

#[test]
fn f12_chunks_that_are_none() {
    Court::new().try_all(&f12());
}

/// Lines without end around little data.
pub(super) fn f13() -> Vec<Case> {
    let rule = "RFC 9112 7.1.1";
    let mut cases = vec![
        bad("an extension of 1 MiB", rule, format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20))),
        bad("an extension of 64 kB at the last", rule, format!("5\r\nhello\r\n0;{}\r\n\r\n", "x".repeat(1 << 16))),
        bad("many extensions", rule, format!("5{}\r\nhello\r\n0\r\n\r\n", ";a=b".repeat(1000))),
        bad("a megabyte of zeros", rule, format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(1 << 20))),
        bad("100 zeros", rule, format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(100))),
        bad("a megabyte of spaces", rule, format!("5{}\r\nhello\r\n0\r\n\r\n", " ".repeat(1 << 20))),
    ];
    let bytes = "1\r\nx\r\n".repeat(50_000);
    let bytes = post(CHUNKED, bytes + "0\r\n\r\n");
    cases.push(served("50 000 chunks of a byte", rule, bytes, [arrives(HEAD, &"x".repeat(50_000))]));
    let bytes = "1;a=b\r\nx\r\n".repeat(10_000);
    let bytes = post(CHUNKED, bytes + "0\r\n\r\n");
    cases.push(served("10 000 chunks of a byte with extensions", rule, bytes, [arrives(HEAD, &"x".repeat(10_000))]));
    cases
}

#[test]
fn f13_lines_without_end_around_little_data() {
    Court::new().try_all(&f13());
}

/// What stands behind the last chunk.
pub(super) fn f14() -> Vec<Case> {
    let rule = "RFC 9110 6.5.1";
    let with = |trailers: &str| post(CHUNKED, format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    let mut cases: Vec<Case> = [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Host: evil.test",
        "Connection: X-A",
        "Trailer: X-A",
        "TE: gzip",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Authorization: Basic YTpi",
        "Cookie: a=b",
        "Content-Type: text/html",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-1/2",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "Content_Length: 50",
        "Transfer_Encoding: chunked",
        "Cache-Control: no-cache",
        "Max-Forwards: 1",
        "Pragma: no-cache",
        "Range: bytes=0-1",
        "If-Match: x",
        "Proxy-Authorization: x",
        "Keep-Alive: 5",
    ]
    .into_iter()
    .map(|line| served(line, rule, with(&format!("{line}\r\n")), [arrives(HEAD, "hello")]))
    .collect();
    let trailing = |fields: &[(&str, &str)]| Message {
        trailers: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..arrives(HEAD, "hello")
    };
    cases.push(served("an honest one", rule, with("X-Sum: 7\r\n"), [trailing(&[("X-Sum", "7")])]));
    cases.push(served("spaces around its value", rule, with("X-Sum: \t 7 \r\n"), [trailing(&[("X-Sum", "7")])]));
    let mixed = with("X-A: 1\r\nContent-Length: 9\r\nX-B: 2\r\n");
    cases.push(served("among others", rule, mixed, [trailing(&[("X-A", "1"), ("X-B", "2")])]));
    let bytes = [with("X-Sum: 7\r\nHost: evil.test\r\n"), SMUGGLED.as_bytes().to_vec()].concat();
    let follower = arrives(SMUGGLED, "");
    cases.push(served("and another request", rule, bytes, [trailing(&[("X-Sum", "7")]), follower]));
    for (name, trailers) in [
        ("a space before the colon", "X-A : b\r\n".to_owned()),
        ("no colon", "nonsense\r\n".to_owned()),
        ("no name", ": b\r\n".to_owned()),
        ("folded", "X-A: b\r\n c\r\n".to_owned()),
        ("folded first", " X-A: b\r\n".to_owned()),
        ("a bare LF", "X-A: b\nX-B: c\r\n".to_owned()),
        ("ended by LF", "X-A: b\n".to_owned()),
        ("a bare CR", "X-A: b\rc\r\n".to_owned()),
        ("NUL in a value", "X-A: b\0\r\n".to_owned()),
        ("NUL in a name", "X\0A: b\r\n".to_owned()),
        ("eight bits in a name", "X\u{e9}A: b\r\n".to_owned()),
        ("a request line", "GET /hidden HTTP/1.1\r\n".to_owned()),
        ("a value of 1 MiB", format!("X-A: {}\r\n", "b".repeat(1 << 20))),
        ("a name of 64 kB", format!("{}: b\r\n", "a".repeat(1 << 16))),
        ("20 000 of them", "X-A: b\r\n".repeat(20_000)),
        ("a hundred of them", "X-A: b\r\n".repeat(100)),
    ] {
        cases.push(broken(name, rule, with(&trailers)));
    }
    cases
}

#[test]
fn f14_trailers_that_must_not_be_merged() {
    Court::new().try_all(&f14());
}
