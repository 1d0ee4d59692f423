//! Tables as bytes: what goes out comes in, and nothing else does.

use proptest::prelude::*;

use super::*;
use crate::persistence::table::stream::{Export, Garbage, Imported, decode, import, join, split};
use crate::request::Unread;

fn to(snapshot: &Snapshot, ip: u32, member: u16, n: u64) {
    let source = std::net::Ipv4Addr::from_bits(ip).into();
    let found = look_up(&snapshot.pools[0], &Unread, source, second(n), Touch::Refresh);
    placed(&snapshot.pools[0], &found, m(member), second(n).now);
}

fn of(snapshot: &Snapshot, ip: u32, n: u64) -> Option<MemberIndex> {
    let source = std::net::Ipv4Addr::from_bits(ip).into();
    look_up(&snapshot.pools[0], &Unread, source, second(n), Touch::Peek).member
}

fn exported(snapshot: &Snapshot, n: u64) -> Vec<u8> {
    let mut export = Export::new(snapshot);
    std::iter::from_fn(|| export.next(second(n).now)).collect::<Vec<_>>().concat()
}

#[test]
fn a_table_goes_on_in_another_process() {
    let keys = "type: SOURCE_IP, persistence_timeout: 1000, table_size: 100000";
    let before = first(keys, 3);
    for ip in 0..70_000 {
        to(&before, ip, (ip % 3) as u16 + 1, 1000 + u64::from(ip / 100));
    }
    let bytes = exported(&before, 1700);
    let parts = split(&bytes).unwrap();
    assert!(parts.len() >= 3);
    // The next process has just begun; its document has the members in another order, and one of them is gone.
    let after = super::snapshot(keys, &["m3", "m2"], &Snapshot::keyed(Secret::from_bytes(&[9; 16]).unwrap()));
    to(&after, 1, 1, 5);
    let imported = import(&after, &bytes, second(10).now).unwrap();
    assert_eq!(imported.entries + imported.skipped, 70_000);
    assert_eq!(imported.skipped, 23_334, "those of the member that is gone");
    assert_eq!(of(&after, 1, 10), Some(m(1)), "what it learned itself stays");
    assert_eq!((of(&after, 4, 10), of(&after, 2, 10), of(&after, 3, 10)), (Some(m(2)), Some(m(1)), None));
    // Ages go on: the oldest were not seen for 700 s then.
    assert_eq!(of(&after, 4, 305), Some(m(2)));
    assert_eq!(of(&after, 4, 320), None);
    assert_eq!(of(&after, 69_998, 320), Some(m(1)));
    // And so does the order: those that were away for longest go first.
    let small = super::snapshot("type: SOURCE_IP, table_size: 1000", &["m3", "m2"], &after);
    assert!(of(&small, 69_998, 20).is_some() && of(&small, 10_001, 20).is_none());
}

#[test]
fn sessions_are_taken_up_by_whoever_has_the_same_secret() {
    let keys = "type: APP_COOKIE, cookie_name: sid";
    let before = first(keys, 2);
    served(&before, &get(&[]), 2, &sets("sid=a"), 0);
    let bytes = exported(&before, 1);
    let same = first(keys, 2);
    assert_eq!(import(&same, &bytes, second(1).now), Ok(Imported { entries: 1, skipped: 0 }));
    assert_eq!(asked(&same, &get(&["sid=a"]), 1).1, Some(m(2)));
    for other in [
        super::snapshot(keys, &["", ""], &Snapshot::empty()),
        first("type: APP_COOKIE, cookie_name: other", 2),
        first("type: APP_COOKIE, cookie_name: sid, length: 5", 2),
        first("type: SOURCE_IP", 2),
        first("type: HTTP_COOKIE", 2),
    ] {
        assert_eq!(import(&other, &bytes, second(1).now), Ok(Imported { entries: 0, skipped: 1 }));
    }
}

#[test]
fn a_full_table_takes_up_the_younger_ones() {
    let before = first("type: SOURCE_IP", 1);
    for ip in 0..1000 {
        to(&before, ip, 1, u64::from(ip));
    }
    let after = first("type: SOURCE_IP, table_size: 100", 1);
    import(&after, &exported(&before, 1000), second(1000).now).unwrap();
    let kept = (0..1000).filter(|ip| of(&after, *ip, 1000).is_some()).count();
    assert_eq!(kept, 100);
    assert!((950..1000).all(|ip| of(&after, ip, 1000).is_some()));
}

#[test]
fn nothing_to_say_is_said_too() {
    for snapshot in [Snapshot::empty(), first("type: HTTP_COOKIE", 1), first("type: SOURCE_IP", 1)] {
        let bytes = exported(&snapshot, 0);
        assert_eq!(split(&bytes), Ok(Vec::new()));
        assert_eq!(import(&snapshot, &bytes, Millis(0)), Ok(Imported::default()));
    }
}

#[test]
fn garbage_is_refused_whole() {
    let snapshot = first("type: SOURCE_IP", 1);
    for ip in 0..40_000 {
        to(&snapshot, ip, 1, 1);
    }
    let snapshot = super::snapshot("type: SOURCE_IP, table_size: 50000", &["m1"], &snapshot);
    for ip in 0..40_000 {
        to(&snapshot, ip, 1, 1);
    }
    let bytes = exported(&snapshot, 1);
    let empty = || super::snapshot("type: SOURCE_IP, table_size: 50000", &["m1"], &Snapshot::empty());
    let refused = |bytes: &[u8]| {
        let into = empty();
        let why = import(&into, bytes, second(1).now).unwrap_err();
        assert_eq!(exported(&into, 1), exported(&Snapshot::empty(), 1), "something was taken up");
        why
    };
    assert_eq!(refused(b""), Garbage::Cut);
    assert_eq!(refused(b"WEIR"), Garbage::Cut);
    assert_eq!(refused(b"hello"), Garbage::Unknown);
    assert_eq!(refused(b"WEIRPT02________________"), Garbage::Unknown);
    for cut in [5, 16, 100, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(refused(&bytes[..cut]), Garbage::Cut, "{cut}");
    }
    let parts = split(&bytes).unwrap();
    assert_eq!(refused(&parts.concat()), Garbage::Cut, "its end is missing");
    assert_eq!(refused(&[&bytes[..], b"x"].concat()), Garbage::Cut);
    let mut without_one = bytes.clone();
    without_one.drain(..parts[0].len());
    assert_eq!(refused(&without_one), Garbage::Cut, "a part is missing");
    for at in [20, 60, bytes.len() / 2] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert_eq!(refused(&flipped), Garbage::Damaged, "{at}");
    }
    // Parts may travel in streams of their own.
    let into = empty();
    for part in parts {
        import(&into, &join(&[part]), second(1).now).unwrap();
    }
    assert!((0..40_000).all(|ip| of(&into, ip, 1).is_some()));
}

proptest! {
    #[test]
    fn bytes_from_anywhere_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), good in any::<bool>()) {
        let _ = decode(&bytes);
        let mut stream = if good { b"WEIRPT01".to_vec() } else { Vec::new() };
        stream.extend(&bytes);
        let _ = import(&Snapshot::empty(), &stream, Millis(0));
        // Whole and with the right checksum, but made of anything.
        let mut part = b"WEIRPT01".to_vec();
        part.extend((bytes.len() as u32 + 1).to_le_bytes());
        let payload = [&[1], &bytes[..]].concat();
        part.extend(crc32fast::hash(&payload).to_le_bytes());
        part.extend(&payload);
        let _ = import(&Snapshot::empty(), &join(&[&part]), Millis(0));
    }
}
