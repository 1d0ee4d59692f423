//! Whatever a request says, it has a key or none, and the same one each time.

use std::sync::LazyLock;

use lb_core::balance::Asks;
use lb_core::request::Parts;
use lb_core::snapshot::Snapshot;

const DOCUMENT: &str = "loadbalancer: {vip_address: 10.0.0.1, pools: [
  {name: a, protocol: HTTP, lb_algorithm: URI, hash: {length: 40, depth: 2, path_only: true}, members: &},
  {name: b, protocol: HTTP, lb_algorithm: URI, hash: {whole: true, function: WT6}, members: &},
  {name: c, protocol: HTTP, lb_algorithm: URL_PARAM, hash: {parameter: a, function: NONE}, members: &},
  {name: d, protocol: HTTP, lb_algorithm: HEADER, hash: {header: x, function: CRC32}, members: &},
  {name: e, protocol: HTTP, lb_algorithm: HEADER, hash: {header: x, domain_only: true, function: DJB2}, members: &}]}";

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let members = "[{address: 10.0.0.2, protocol_port: 80}, {address: 10.0.0.3, protocol_port: 80}]";
    let config = lb_core::spec::read("fuzz", &DOCUMENT.replace('&', members)).expect("a legal document");
    Snapshot::build(config.into(), &Snapshot::empty(), 1)
});

/// A target and two fields, parted by line feeds.
struct Asked<'a>([&'a [u8]; 3]);

impl Parts for Asked<'_> {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn target(&self) -> &[u8] {
        self.0[0]
    }

    fn fields<'a>(&'a self, _name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0[1..].iter().copied()
    }
}

pub(super) fn run(said: &[u8]) {
    let mut lines = said.splitn(3, |byte| *byte == b'\n');
    let asked = Asked(std::array::from_fn(|_| lines.next().unwrap_or_default()));
    for pool in &SNAPSHOT.pools {
        let Asks::Request(rule) = &pool.asks else { panic!("a pool that hashes requests") };
        assert_eq!(rule.of_request(&asked), rule.of_request(&asked));
    }
}
