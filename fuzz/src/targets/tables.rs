//! Whatever comes as a stream of persistence tables, all of it is taken up or nothing, and what was taken up goes out again.
//!
//! Three kinds of inputs: those that begin as a stream does are one. Of others, each piece between two line feeds is the inside of a part,
//! which gets the length and checksum that belong to it: nothing that is mutated would ever have them. A piece that begins with `E` is what
//! stands behind the label of a table that there is and the members in it: how many entries, and those.

use std::sync::{Arc, LazyLock};

use lb_core::balance::MemberIndex;
use lb_core::persistence::table::stream::{Export, decode, import, join, split};
use lb_core::persistence::{Moment, Touch, look_up, placed};
use lb_core::request::Unread;
use lb_core::snapshot::Snapshot;
use lb_core::time::Millis;

const DOCUMENT: &str = "loadbalancer: {vip_address: 10.0.0.1, pools: [
  {name: a, protocol: HTTP, lb_algorithm: ROUND_ROBIN, session_persistence: {type: SOURCE_IP, table_size: 1000}, members: [
    {name: m1, address: 10.0.0.2, protocol_port: 80}, {name: m2, address: 10.0.0.3, protocol_port: 80}]}]}";

const NOW: Millis = Millis(1_000_000);

static CONFIG: LazyLock<Arc<lb_core::config::LoadBalancer>> =
    LazyLock::new(|| lb_core::spec::read("fuzz", DOCUMENT).expect("a legal document").into());

/// Magic, length and checksum of a part.
const HEAD: usize = 16;
/// One entry, and how many there are.
const ENTRIES: usize = 4 + 22;

/// The inside of a part of the document's table, up to its entries.
static LABEL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let snapshot = Snapshot::build(Arc::clone(&CONFIG), &Snapshot::empty(), 1);
    let (pool, moment) = (&snapshot.pools[0], Moment { now: NOW, wall_s: 0 });
    let found = look_up(pool, &Unread, [192, 0, 2, 7].into(), moment, Touch::Refresh);
    placed(pool, &found, MemberIndex(0), NOW);
    let part = Export::new(&snapshot).next(NOW).expect("a table with a client");
    part[HEAD..part.len() - ENTRIES].to_vec()
});

pub(super) fn run(bytes: &[u8]) {
    let stream = if bytes.starts_with(b"WEIRPT") { bytes.to_vec() } else { wrapped(bytes) };
    let snapshot = Snapshot::build(Arc::clone(&CONFIG), &Snapshot::empty(), 1);
    let Ok(done) = import(&snapshot, &stream, NOW) else {
        let mut export = Export::new(&snapshot);
        let nothing = std::iter::from_fn(|| export.next(NOW)).collect::<Vec<_>>().concat();
        return assert_eq!(split(&nothing), Ok(Vec::new()), "what is refused leaves nothing behind");
    };
    let parts = split(&stream).expect("it was taken");
    assert_eq!(join(&parts), stream);
    let entries: usize = parts.iter().map(|part| decode(part).expect("it was taken").entries.len()).sum();
    assert_eq!(done.entries + done.skipped, entries as u64);
    let mut export = Export::new(&snapshot);
    let again = std::iter::from_fn(|| export.next(NOW)).collect::<Vec<_>>().concat();
    let out: usize = split(&again).expect("sound").iter().map(|part| decode(part).expect("sound").entries.len()).sum();
    assert!(out as u64 <= done.entries && (out > 0) == (done.entries > 0));
}

fn wrapped(bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for inside in bytes.split(|byte| *byte == b'\n') {
        let labelled = inside.strip_prefix(b"E").map(|entries| [&LABEL[..], entries].concat());
        let inside = labelled.as_deref().unwrap_or(inside);
        stream.extend(b"WEIRPT01");
        stream.extend((inside.len() as u32).to_le_bytes());
        stream.extend(crc32fast::hash(inside).to_le_bytes());
        stream.extend(inside);
    }
    join(&[&stream])
}
