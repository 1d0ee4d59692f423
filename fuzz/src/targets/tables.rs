//! Whatever comes as a stream of persistence tables, all of it is taken up or nothing, and what was taken up goes out again.
//!
//! Two kinds of inputs: those that begin as a stream does are one. Of others, each piece between two line feeds is the inside of a part,
//! which gets the length and checksum that belong to it: nothing that is mutated would ever have them.

use std::sync::LazyLock;

use lb_core::persistence::table::stream::{Export, decode, import, join, split};
use lb_core::snapshot::Snapshot;
use lb_core::time::Millis;

const DOCUMENT: &str = "loadbalancer: {vip_address: 10.0.0.1, pools: [
  {name: a, protocol: HTTP, lb_algorithm: ROUND_ROBIN, session_persistence: {type: SOURCE_IP, table_size: 1000}, members: [
    {name: m1, address: 10.0.0.2, protocol_port: 80}, {name: m2, address: 10.0.0.3, protocol_port: 80}]}]}";

static CONFIG: LazyLock<std::sync::Arc<lb_core::config::LoadBalancer>> =
    LazyLock::new(|| lb_core::spec::read("fuzz", DOCUMENT).expect("a legal document").into());

pub(super) fn run(bytes: &[u8]) {
    let stream = if bytes.starts_with(b"WEIRPT") { bytes.to_vec() } else { wrapped(bytes) };
    let snapshot = Snapshot::build(std::sync::Arc::clone(&CONFIG), &Snapshot::empty(), 1);
    let now = Millis(1_000_000);
    let Ok(done) = import(&snapshot, &stream, now) else {
        let mut export = Export::new(&snapshot);
        let nothing = std::iter::from_fn(|| export.next(now)).collect::<Vec<_>>().concat();
        return assert_eq!(split(&nothing), Ok(Vec::new()), "what is refused leaves nothing behind");
    };
    let parts = split(&stream).expect("it was taken");
    assert_eq!(join(&parts), stream);
    let entries: usize = parts.iter().map(|part| decode(part).expect("it was taken").entries.len()).sum();
    assert_eq!(done.entries + done.skipped, entries as u64);
    let mut export = Export::new(&snapshot);
    let again = std::iter::from_fn(|| export.next(now)).collect::<Vec<_>>().concat();
    let out: usize = split(&again).expect("sound").iter().map(|part| decode(part).expect("sound").entries.len()).sum();
    assert!(out as u64 <= done.entries && (out > 0) == (done.entries > 0));
}

fn wrapped(bytes: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for inside in bytes.split(|byte| *byte == b'\n') {
        stream.extend(b"WEIRPT01");
        stream.extend((inside.len() as u32).to_le_bytes());
        stream.extend(crc32fast::hash(inside).to_le_bytes());
        stream.extend(inside);
    }
    join(&[&stream])
}
