//! ClientHellos of every shape: cut anywhere they name the same server, and nothing that is no name becomes one.

use proptest::prelude::*;

use super::*;

/// `bytes` after their length, a number of `len` bytes.
fn sized(len: usize, bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[size_of::<usize>() - len..], bytes].concat()
}

fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, bytes)].concat()
}

fn entry(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind][..], &sized(2, name)].concat()
}

/// The extension that asks for `name`.
fn asking(name: &[u8]) -> Vec<u8> {
    extension(0, &sized(2, &entry(0, name)))
}

/// What stands before the extensions.
fn fixed(session_id: &[u8], suites: &[u8], compressions: &[u8]) -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &sized(1, session_id), &sized(2, suites), &sized(1, compressions)].concat()
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[1][..], &sized(3, body)].concat()
}

fn with(extensions: &[Vec<u8>]) -> Vec<u8> {
    message(&[fixed(&[9; 32], &[0x13, 1, 0x13, 2], &[0]), sized(2, &extensions.concat())].concat())
}

/// A message in records that end at these places.
fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % message.len()).filter(|cut| *cut > 0).collect();
    cuts.extend([0, message.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    let record = |ends: &[usize]| [&[22, 3, 1][..], &sized(2, &message[ends[0]..ends[1]])].concat();
    cuts.windows(2).flat_map(record).collect()
}

fn of(message: &[u8]) -> Hello {
    read(&records(message, &[]))
}

fn named(name: &str) -> Hello {
    Hello::Named(ServerName::parse(name).unwrap())
}

const NOT_TLS: Hello = Hello::Nameless(Nameless::NotTls);
const BROKEN: Hello = Hello::Nameless(Nameless::Broken);
const SILENT: Hello = Hello::Nameless(Nameless::Silent);
const NO_HOST: Hello = Hello::Nameless(Nameless::NoHost);
const TOO_LONG: Hello = Hello::Nameless(Nameless::TooLong);

#[test]
fn the_name_is_found_wherever_it_stands() {
    let (grease, key_share) = (extension(0x8a8a, &[]), extension(51, &[5; 1263]));
    assert_eq!(of(&with(&[asking(b"www.example.org")])), named("www.example.org"));
    let modern = with(&[grease.clone(), key_share, asking(b"WWW.Example.ORG."), grease, extension(21, &[0; 300])]);
    assert_eq!(of(&modern), named("www.example.org"));
    let other_behind = extension(0, &sized(2, &[entry(0, b"a.test"), vec![7, 1]].concat()));
    assert_eq!(of(&with(&[other_behind])), named("a.test"));
}

#[test]
fn what_names_nobody_has_no_name() {
    assert_eq!(of(&with(&[extension(16, b"\0\x03\x02h2")])), SILENT);
    assert_eq!(of(&message(&fixed(&[], &[0, 47], &[0]))), SILENT, "without extensions");
    assert_eq!(of(&with(&[])), SILENT);
    let other_first = extension(0, &sized(2, &[entry(7, b"x"), entry(0, b"a.test")].concat()));
    assert_eq!(of(&with(&[other_first])), SILENT, "a name of another kind");
}

#[test]
fn names_are_hosts() {
    let long = format!("{}.test", "a".repeat(63));
    let longest = format!("{}abc", "abcdefghi.".repeat(25));
    assert_eq!(longest.len(), NAME_MAX);
    for good in ["a", "a.test", "xn--bcher-kva.example", "3com.test", "1.2.3.x4", &long, &longest] {
        assert_eq!(of(&with(&[asking(good.as_bytes())])), named(good), "{good}");
        assert_eq!(of(&with(&[asking(format!("{good}.").as_bytes())])), named(good), "{good} and a dot");
    }
    for bad in [
        "192.0.2.7",
        "2001:db8::1",
        "a.7",
        ".",
        "..",
        ".a",
        "a..b",
        "a.test..",
        "-a.test",
        "a-.test",
        "a_b.test",
        "a b",
        "*.test",
        "b\u{fc}cher.test",
        "a\0.test",
        "a.test:443",
        &format!("a{long}"),
        &format!("a{longest}"),
        &"a.".repeat(500),
    ] {
        assert_eq!(of(&with(&[asking(bad.as_bytes())])), NO_HOST, "{bad:?}");
        assert_eq!(ServerName::parse(bad), None, "{bad:?}");
    }
    assert_eq!(ServerName::parse(""), None);
}

#[test]
fn what_breaks_its_own_lengths_is_malformed() {
    let good = asking(b"a.test");
    let two = [entry(0, b"a.test"), entry(0, b"b.test")].concat();
    for (what, message) in [
        ("named twice", with(&[good.clone(), good.clone()])),
        ("two hosts", with(&[extension(0, &sized(2, &two))])),
        ("an empty extension", with(&[extension(0, &[])])),
        ("an empty list", with(&[extension(0, &[0, 0])])),
        ("an empty name", with(&[asking(b"")])),
        ("a list longer than its extension", with(&[extension(0, &[0, 9, 0, 0, 1, b'a'])])),
        ("a list shorter than its extension", with(&[extension(0, &[0, 4, 0, 0, 1, b'a', 0])])),
        ("a name longer than its list", with(&[extension(0, &[0, 4, 0, 0, 2, b'a']), good.clone()])),
        ("half an entry", with(&[extension(0, &[0, 5, 0, 0, 1, b'a', 0])])),
        ("an extension beyond the end", with(&[vec![0, 0, 0, 99, 0]])),
        ("half an extension", with(&[good.clone(), vec![0, 1]])),
        ("a session's id of 33", message(&[fixed(&[1; 33], &[0, 47], &[0]), sized(2, &good)].concat())),
        ("no suites", message(&[fixed(&[], &[], &[0]), sized(2, &good)].concat())),
        ("half a suite", message(&[fixed(&[], &[0, 47, 0], &[0]), sized(2, &good)].concat())),
        ("no compression", message(&[fixed(&[], &[0, 47], &[]), sized(2, &good)].concat())),
        ("bytes behind the extensions", message(&[fixed(&[], &[0, 47], &[0]), sized(2, &good), vec![0]].concat())),
        ("an extension behind them", message(&[fixed(&[], &[0, 47], &[0]), vec![0, 0], good.clone()].concat())),
        ("nothing", message(&[])),
    ] {
        assert_eq!(of(&message), BROKEN, "{what}");
    }
}

#[test]
fn other_protocols_are_known_by_their_first_bytes() {
    let good = records(&with(&[asking(b"a.test")]), &[]);
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"S",
        b"\x80\x2e\x01\x03\x01",
        b"\x16\x02",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\0\0",
    ] {
        assert_eq!(read(bytes), NOT_TLS, "{bytes:?}");
    }
    assert_eq!(read(b"\x16\x03\x01\0\x04\x02"), NOT_TLS, "a ServerHello");
    let mut behind = records(&with(&[asking(b"a.test")]), &[20]);
    behind[25] = 21;
    assert_eq!(read(&behind), BROKEN, "an alert in the middle");
    assert_eq!(read(&[&good[..], b"whatever follows"].concat()), named("a.test"));
    assert_eq!(read(b""), Hello::Incomplete);
}

#[test]
fn nothing_is_waited_for_beyond_the_bound() {
    assert_eq!(read(b"\x16\x03\x01\x40\0\x01\0\x40\x01"), TOO_LONG, "it says so");
    let name = asking(b"a.test");
    let padded = |len: usize| with(&[name.clone(), extension(21, &vec![0; len])]);
    let around = padded(0).len() + 5;
    let most = records(&padded(HELLO_MAX - around), &[]);
    assert_eq!(most.len(), HELLO_MAX);
    assert_eq!(read(&most), named("a.test"));
    // One byte more, which its own length allows, and the heads of its records do not.
    let more = records(&padded(HELLO_MAX - around + 1), &[]);
    assert_eq!(read(&more), TOO_LONG);
    assert_eq!(read(&more[..HELLO_MAX - 1]), Hello::Incomplete);
}

fn a_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => "[a-zA-Z0-9-]{1,12}(\\.[a-zA-Z0-9-]{1,12}){0,4}\\.?".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

fn an_extension() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => a_name().prop_map(|name| asking(&name)),
        3 => (1u16.., prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, bytes)| extension(kind, &bytes)),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| extension(0, &bytes)),
    ]
}

fn a_hello() -> impl Strategy<Value = Vec<u8>> {
    let start = (0..40usize, 0..40usize, 0..3usize, prop::collection::vec(an_extension(), 0..6));
    start.prop_map(|(session_id, suites, compressions, extensions)| {
        let fixed = fixed(&vec![1; session_id], &vec![2; suites], &vec![0; compressions]);
        message(&[fixed, sized(2, &extensions.concat())].concat())
    })
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        message in a_hello(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let whole = of(&message);
        prop_assert_ne!(whole, Hello::Incomplete);
        let bytes = records(&message, &cuts);
        for end in 0..bytes.len() {
            let said = read(&bytes[..end]);
            prop_assert!(said == Hello::Incomplete || said == whole, "{} of {}: {:?}", end, bytes.len(), said);
        }
        prop_assert_eq!(read(&bytes), whole);
        prop_assert_eq!(read(&[bytes, tail].concat()), whole);
    }

    #[test]
    fn one_byte_that_differs_makes_no_beginning_lie(message in a_hello(), place in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = records(&message, &[]);
        let place = place % bytes.len();
        bytes[place] = byte;
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            let said = read(&bytes[..end]);
            prop_assert!(said == Hello::Incomplete || said == whole, "{} of {}: {:?}", end, bytes.len(), said);
        }
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..600), much in any::<bool>()) {
        let hello = [&b"\x16\x03\x01\x40\x00\x01\x00\x3f\x00"[..], &bytes].concat();
        for mut bytes in [bytes, hello] {
            if much {
                bytes.resize(HELLO_MAX, 7);
                prop_assert_ne!(read(&bytes), Hello::Incomplete);
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_name_has_one_way_of_writing(name in a_name()) {
        let name = String::from_utf8_lossy(&name).into_owned();
        if let Some(parsed) = ServerName::parse(&name) {
            let lower = name.to_ascii_lowercase();
            prop_assert_eq!(parsed.as_str(), lower.strip_suffix('.').unwrap_or(&lower));
            prop_assert_eq!(ServerName::parse(parsed.as_str()), Some(parsed));
        }
    }
}
