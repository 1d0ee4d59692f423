//! What is a header, what is none, and what is one that cannot be taken.

use proptest::prelude::*;

use super::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn header(bytes: &[u8]) -> Option<Ends> {
    match parse(bytes) {
        Parsed::Header(header) => {
            assert_eq!(header.len, bytes.len());
            header.ends
        }
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

fn refused(bytes: &[u8]) -> Refusal {
    match parse(bytes) {
        Parsed::Refused(refusal) => refusal,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[version_and_command, family], &len, rest].concat()
}

const V4_ENDS: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0, 80];

#[test]
fn lines_of_version_1() {
    assert_eq!(
        header(b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 80\r\n"),
        Some(ends("192.0.2.1:12345", "198.51.100.2:80"))
    );
    assert_eq!(
        header(b"PROXY TCP6 2001:DB8::1 2001:db8::2 65535 0\r\n"),
        Some(ends("[2001:db8::1]:65535", "[2001:db8::2]:0"))
    );
    assert_eq!(header(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), Some(ends("[::ffff:192.0.2.1]:1", "[::1]:2")));
    assert_eq!(header(b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(header(b"PROXY UNKNOWN whatever 1 2\r\n"), None);
    let longest = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 91], b"\r\n"].concat();
    assert_eq!(longest.len(), V1_LEN_MAX);
    assert_eq!(header(&longest), None);
}

#[test]
fn lines_that_are_none() {
    for (rest, why) in [
        ("TCP4 192.0.2.1 198.51.100.2 12345 80\n", Refusal::LineEnd),
        ("TCP4 192.0.2.1 198.51.100.2 12345 80\r\r\n", Refusal::LineEnd),
        ("TCP4 192.0.2.1\r198.51.100.2 12345 80\r\n", Refusal::LineEnd),
        ("TCP4 192.0.2.1 198.51.100.2 12345 80\rx", Refusal::LineEnd),
        ("TCP4 192.0.2.1 198.51.100.2 12345 80 \r\n", Refusal::Addresses),
        ("TCP4  192.0.2.1 198.51.100.2 12345 80\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2 12345\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2\r\n", Refusal::Addresses),
        ("TCP4\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2 012345 80\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2 +1 80\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2 -1 80\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2 65536 80\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n", Refusal::Addresses),
        ("TCP4 192.0.02.1 198.51.100.2 1 2\r\n", Refusal::Addresses),
        ("TCP4 2001:db8::1 2001:db8::2 1 2\r\n", Refusal::Addresses),
        ("TCP6 192.0.2.1 198.51.100.2 1 2\r\n", Refusal::Addresses),
        ("TCP6 fe80::1%1 2001:db8::2 1 2\r\n", Refusal::Addresses),
        ("TCP4 localhost 198.51.100.2 1 2\r\n", Refusal::Addresses),
        ("TCP4 192.0.2.1 198.51.100.\u{0661} 1 2\r\n", Refusal::Addresses),
        ("TCP5 192.0.2.1 198.51.100.2 1 2\r\n", Refusal::Family),
        ("tcp4 192.0.2.1 198.51.100.2 1 2\r\n", Refusal::Family),
        ("UNKNOWNS\r\n", Refusal::Family),
        (" TCP4 192.0.2.1 198.51.100.2 1 2\r\n", Refusal::Family),
        ("\r\n", Refusal::Family),
    ] {
        assert_eq!(refused(format!("PROXY {rest}").as_bytes()), why, "{rest:?}");
    }
    let too_long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
    assert_eq!(refused(&too_long), Refusal::TooLong);
    assert_eq!(refused(&too_long[..V1_LEN_MAX]), Refusal::TooLong);
}

#[test]
fn headers_of_version_2() {
    assert_eq!(header(&v2(0x21, 0x11, V4_ENDS)), Some(ends("192.0.2.1:12345", "198.51.100.2:80")));
    let v6: Vec<u8> = [[1; 16], [2; 16]].concat().into_iter().chain([0, 1, 0, 2]).collect();
    assert_eq!(
        header(&v2(0x21, 0x21, &v6)),
        Some(ends("[101:101:101:101:101:101:101:101]:1", "[202:202:202:202:202:202:202:202]:2"))
    );
    let with_extensions = [V4_ENDS, &[0x04, 0, 2, 9, 9, 0xe0, 0, 0]].concat();
    assert_eq!(header(&v2(0x21, 0x11, &with_extensions)), Some(ends("192.0.2.1:12345", "198.51.100.2:80")));
}

#[test]
fn headers_that_tell_nothing() {
    for (command, family, rest) in [
        (0x20, 0x00, &b""[..]),
        (0x20, 0x11, V4_ENDS),
        // What a LOCAL says besides is thrown away unread.
        (0x20, 0xff, b"junk"),
        (0x21, 0x00, b""),
        (0x21, 0x00, b"junk"),
        (0x21, 0x12, V4_ENDS),
        (0x21, 0x22, &[7; 36]),
        (0x21, 0x31, &[b'/'; 216]),
        (0x21, 0x32, &[b'/'; 216]),
    ] {
        assert_eq!(header(&v2(command, family, rest)), None, "{command:x} {family:x}");
    }
}

#[test]
fn headers_that_are_none() {
    for (command, family, rest, why) in [
        (0x11, 0x11, V4_ENDS, Refusal::Version),
        (0x31, 0x11, V4_ENDS, Refusal::Version),
        (0x22, 0x11, V4_ENDS, Refusal::Command),
        (0x2f, 0x11, V4_ENDS, Refusal::Command),
        (0x21, 0x10, V4_ENDS, Refusal::Family),
        (0x21, 0x13, V4_ENDS, Refusal::Family),
        (0x21, 0x41, V4_ENDS, Refusal::Family),
        (0x21, 0x11, &V4_ENDS[..11], Refusal::TooShort),
        (0x21, 0x21, &[0; 35], Refusal::TooShort),
        (0x21, 0x31, &[0; 215], Refusal::TooShort),
        (0x21, 0x12, &[], Refusal::TooShort),
        (0x21, 0x11, &[V4_ENDS, &[4]].concat(), Refusal::Extension),
        (0x21, 0x11, &[V4_ENDS, &[4, 0]].concat(), Refusal::Extension),
        (0x21, 0x11, &[V4_ENDS, &[4, 0, 3, 1, 2]].concat(), Refusal::Extension),
        (0x21, 0x11, &[V4_ENDS, &[4, 0xff, 0xff, 1, 2]].concat(), Refusal::Extension),
        (0x21, 0x12, &[V4_ENDS, &[4, 0, 3, 1, 2]].concat(), Refusal::Extension),
        (0x21, 0x11, &[V4_ENDS, &[3, 0, 3, 1, 2, 3]].concat(), Refusal::Extension),
        (0x21, 0x11, &[V4_ENDS, &[3, 0, 4, 1, 2, 3, 4]].concat(), Refusal::Checksum),
    ] {
        assert_eq!(refused(&v2(command, family, rest)), why, "{command:x} {family:x}");
    }
}

/// An extension may claim bytes that the connection has and the header has not: they are not the header's.
#[test]
fn an_extension_does_not_reach_into_the_stream() {
    let header = v2(0x21, 0x11, &[V4_ENDS, &[4, 0, 3, 1]].concat());
    assert_eq!(refused(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()), Refusal::Extension);
}

#[test]
fn the_longest_header_and_one_more() {
    let filled = |len: usize| {
        let value = len - v2::FIXED_LEN - V4_ENDS.len() - 3;
        let head = [4, (value >> 8) as u8, value as u8];
        v2(0x21, 0x11, &[V4_ENDS, &head, &vec![0; value]].concat())
    };
    assert!(header(&filled(V2_LEN_MAX)).is_some());
    // Known from the length alone: nobody waits for the rest.
    assert_eq!(refused(&filled(V2_LEN_MAX + 1)[..v2::FIXED_LEN]), Refusal::TooLong);
    assert_eq!(refused(&[v2::SIGNATURE, &[0x20, 0, 0xff, 0xff]].concat()), Refusal::TooLong);
}

fn summed(mut rest: Vec<u8>) -> Vec<u8> {
    rest.extend([3, 0, 4, 0, 0, 0, 0]);
    let mut header = v2(0x21, 0x11, &rest);
    let sum = crc32c::Crc32c::default().add(&header).sum().to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    header
}

/// Sent to HAProxy 2.6, which took it.
#[test]
fn a_checksum_is_checked() {
    let good = summed(V4_ENDS.to_vec());
    assert!(header(&good).is_some());
    for place in v2::FIXED_LEN..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        assert!(matches!(parse(&bad), Parsed::Refused(Refusal::Checksum | Refusal::Extension)) || place == 28);
    }
}

#[test]
fn what_is_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PROPFIND / HTTP/1.1\r\n",
        b"proxy TCP4",
        b"\r\n\r\nGET",
        b"\x16\x03\x01",
        b"PROXY\t",
    ] {
        assert_eq!(parse(bytes), Parsed::Absent, "{}", bytes.escape_ascii());
    }
    for beginning in [&b""[..], b"P", b"PROXY", b"PROXY ", b"\r", b"\r\n\r\n\0\r\nQUIT", b"PROXY TCP4 192.0.2.1 1"] {
        assert_eq!(parse(beginning), Parsed::Incomplete, "{}", beginning.escape_ascii());
    }
}

/// Captured from HAProxy 2.6 with `send-proxy`, `send-proxy-v2` and `check-send-proxy`.
#[test]
fn as_haproxy_writes_it() {
    let v4 = ends("127.0.0.1:46186", "127.0.0.1:43389");
    assert_eq!(&*Written::of(ProxyVersion::V1, v4), b"PROXY TCP4 127.0.0.1 127.0.0.1 46186 43389\r\n");
    assert_eq!(&*Written::local(ProxyVersion::V1, v4), b"PROXY TCP4 127.0.0.1 127.0.0.1 46186 43389\r\n");
    let v6 = ends("[::1]:38762", "[::1]:35533");
    assert_eq!(&*Written::of(ProxyVersion::V1, v6), b"PROXY TCP6 ::1 ::1 38762 35533\r\n");
    assert_eq!(&*Written::local(ProxyVersion::V2, v4), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert_eq!(
        &*Written::of(ProxyVersion::V2, v4),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xb4\x6a\xa9\x7d"
    );
    let mixed = ends("[2001:db8::1]:1", "192.0.2.1:2");
    assert_eq!(&*Written::of(ProxyVersion::V1, mixed), b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 2\r\n");
    assert_eq!(header(&Written::of(ProxyVersion::V2, mixed)), Some(ends("[2001:db8::1]:1", "[::ffff:192.0.2.1]:2")));
}

#[test]
fn the_longest_line_fits() {
    let longest =
        ends("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    let written = Written::of(ProxyVersion::V1, longest);
    assert_eq!(written.len(), 104);
    assert_eq!(header(&written), Some(longest));
}

fn addresses() -> impl Strategy<Value = Ends> {
    let v4 = any::<([u8; 4], u16, [u8; 4], u16)>()
        .prop_map(|(a, p, b, q)| Ends { source: (a, p).into(), destination: (b, q).into() });
    let v6 = any::<([u16; 8], u16, [u16; 8], u16)>()
        .prop_map(|(a, p, b, q)| Ends { source: (a, p).into(), destination: (b, q).into() });
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_written_is_read(ends in addresses(), v2 in any::<bool>(), more in prop::collection::vec(any::<u8>(), 0..40)) {
        let version = if v2 { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let written = Written::of(version, ends);
        let expected = Parsed::Header(Header { ends: Some(ends), len: written.len() });
        prop_assert_eq!(parse(&written), expected);
        prop_assert_eq!(parse(&[&written, &more[..]].concat()), expected);
        for len in 0..written.len() {
            prop_assert_eq!(parse(&written[..len]), Parsed::Incomplete);
        }
    }

    #[test]
    fn any_bytes_are_judged(
        signature in prop::sample::select(vec![&b""[..], v1::SIGNATURE, b"PROXY TCP4 ", v2::SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let all = [signature, &bytes[..]].concat();
        if let Parsed::Header(header) = parse(&all) {
            prop_assert!(header.len <= all.len().min(V2_LEN_MAX));
            prop_assert_eq!(parse(&all[..header.len]), Parsed::Header(header));
        }
    }

    /// Extensions of any number and size, within the bound, end where the header ends.
    #[test]
    fn extensions_are_skipped(values in prop::collection::vec((4u8.., prop::collection::vec(any::<u8>(), 0..60)), 0..20)) {
        let mut rest = V4_ENDS.to_vec();
        for (kind, value) in &values {
            rest.extend([*kind, 0, value.len() as u8]);
            rest.extend(value);
        }
        prop_assert!(header(&v2(0x21, 0x11, &rest)).is_some());
        prop_assert!(header(&summed(rest)).is_some());
    }
}
