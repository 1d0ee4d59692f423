//! Algorithms and what they hash: defaults, every word, and each mistake at its place.

use proptest::prelude::*;

use super::{legal, mistakes};
use crate::config::*;

/// A pool with these keys, which begin on line 4 in column 8.
fn document(keys: &str) -> String {
    format!("loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - {{  {keys}, name: a}}\n")
}

fn pool(keys: &str) -> Pool {
    legal(&document(keys)).pools.remove(0)
}

fn hashing(keys: &str) -> Hashing {
    pool(keys).hash.unwrap()
}

#[test]
fn every_algorithm_is_read() {
    for algorithm in LbAlgorithm::ALL {
        let protocol = if algorithm.reads_requests() { "HTTP" } else { "TCP" };
        let hash = match algorithm {
            LbAlgorithm::UrlParam => ", hash: {parameter: id}",
            LbAlgorithm::Header => ", hash: {header: X-User}",
            _ => "",
        };
        let read = pool(&format!("protocol: {protocol}, lb_algorithm: {algorithm}{hash}"));
        assert_eq!((read.lb_algorithm, read.hash.is_some()), (algorithm, algorithm.is_hash()));
        if hash.is_empty() {
            assert_eq!(read.hash, Hashing::of(algorithm));
        }
    }
}

#[test]
fn what_is_left_out_is_as_in_haproxy_and_moves_the_fewest() {
    let plain = hashing("protocol: TCP, lb_algorithm: SOURCE_IP");
    assert_eq!(plain, Hashing::with(HashKey::Source, HashTable::Rendezvous));
    let uri = hashing("protocol: HTTP, lb_algorithm: URI, hash: {table: MAP}");
    let key = HashKey::Uri { length: None, depth: None, whole: false, path_only: false };
    let map =
        Hashing { key, table: HashTable::Map, function: HashFunction::Sdbm, avalanche: false, balance_factor: None };
    assert_eq!(uri, map);
    let ring = hashing("protocol: HTTP, lb_algorithm: HEADER, hash: {header: Host, table: CONSISTENT}");
    assert!(ring.avalanche && ring.table == HashTable::Consistent);
    let rdp = hashing("protocol: TCP, lb_algorithm: RDP_COOKIE");
    assert_eq!(rdp.key, HashKey::RdpCookie { cookie: "mstshash".to_owned() });
}

#[test]
fn every_key_is_read() {
    let uri = hashing(
        "protocol: HTTP, lb_algorithm: URI, hash: {table: MAGLEV, function: WT6, balance_factor: 125, length: 40, \
         depth: 2, whole: true, path_only: true}",
    );
    let key = HashKey::Uri { length: Some(40), depth: Some(2), whole: true, path_only: true };
    let (function, balance_factor) = (HashFunction::Wt6, Some(125));
    assert_eq!(uri, Hashing { key, table: HashTable::Maglev, function, avalanche: false, balance_factor });
    let header = hashing(
        "protocol: HTTP, lb_algorithm: HEADER, hash: {header: host, domain_only: true, table: CONSISTENT, \
         avalanche: false, function: CRC32}",
    );
    assert_eq!(header.key, HashKey::Header { header: "host".to_owned(), domain_only: true });
    assert!(!header.avalanche);
}

#[test]
fn mistakes_stand_at_their_place() {
    let source = "protocol: TCP, lb_algorithm: SOURCE_IP, hash: ";
    let uri = "protocol: HTTP, lb_algorithm: URI, hash: ";
    let of = |keys: String| -> Vec<String> {
        mistakes(&document(&keys)).iter().map(|m| m.strip_prefix("4:").unwrap_or(m).to_owned()).collect()
    };
    let at = |before: &str, inside: usize, words: &str| vec![format!("{} {words}", 8 + before.len() + inside)];
    assert_eq!(
        of(format!("{source}{{function: WT6}}")),
        at(source, 1, "`function` is only for algorithms that hash a text, and this one is SOURCE_IP | leave it out")
    );
    assert_eq!(
        of(format!("{source}{{avalanche: true}}")),
        at(source, 1, "`avalanche` is only for the table MAP or CONSISTENT, and this one is RENDEZVOUS | leave it out")
    );
    assert_eq!(
        of(format!("{source}{{table: MAP, balance_factor: 150}}")),
        at(
            source,
            13,
            "`balance_factor` is only for the table CONSISTENT or MAGLEV or RENDEZVOUS, and this one is MAP | leave it out"
        )
    );
    assert_eq!(
        of(format!("{source}{{balance_factor: 100}}")),
        at(source, 17, "100 is out of range | from 101 to 10000")
    );
    assert_eq!(of(format!("{source}{{tabel: MAP}}")), at(source, 1, "unknown key `tabel` | did you mean `table`?"));
    assert_eq!(
        of(format!("{source}{{table: RING}}")),
        at(source, 8, "unknown word `RING` | one of: MAP, CONSISTENT, MAGLEV, RENDEZVOUS")
    );
    assert_eq!(
        of(format!("{uri}{{parameter: id}}")),
        at(uri, 1, "`parameter` is only for URL_PARAM, and this pool is URI | leave it out")
    );
    assert_eq!(of(format!("{uri}{{depth: 0}}")), at(uri, 8, "0 is out of range | from 1 to 65535"));
    let round = "protocol: TCP, lb_algorithm: ROUND_ROBIN, ";
    assert_eq!(
        of(format!("{round}hash: {{table: MAP}}")),
        at(
            round,
            0,
            "`hash` is only for algorithms that hash, and this pool is ROUND_ROBIN | leave it out, or choose one of: \
             SOURCE_IP, SOURCE_IP_PORT, URI, URL_PARAM, HEADER, RDP_COOKIE"
        )
    );
}

#[test]
fn names_are_there_and_may_be_names() {
    let of = |algorithm: &str, hash: &str| -> Vec<String> {
        let found = mistakes(&document(&format!("protocol: HTTP, lb_algorithm: {algorithm}{hash}")));
        found.iter().map(|m| m.split_once(' ').unwrap().1.to_owned()).collect()
    };
    let needs = "HEADER needs the name of what is hashed | give `hash: {header: …}`";
    assert_eq!(of("HEADER", ""), [needs]);
    assert_eq!(of("HEADER", ", hash: {domain_only: true}"), [needs]);
    assert_eq!(of("HEADER", ", hash: {haeder: x}"), ["unknown key `haeder` | did you mean `header`?"]);
    assert_eq!(of("HEADER", ", hash: {header: 'a b'}"), ["`a b` is no name of a field | letters, digits and `-`"]);
    assert_eq!(of("HEADER", ", hash: {header: ''}"), ["this may not be empty | write a value or leave the key out"]);
    assert_eq!(
        of("URL_PARAM", ", hash: {parameter: 'a=b'}"),
        ["`a=b` cannot be a name there | printable ASCII without spaces and `=`"]
    );
}

#[test]
fn algorithms_see_what_they_look_at() {
    let only = |keys: &str| mistakes(&document(keys));
    assert_eq!(
        only("protocol: TCP, lb_algorithm: URI"),
        ["4:37 URI looks at requests, and a pool of protocol TCP gets none | use `protocol: HTTP`, or SOURCE_IP"]
    );
    assert_eq!(
        only("protocol: HTTP, lb_algorithm: RDP_COOKIE"),
        [
            "4:38 RDP_COOKIE is for remote desktops, which a pool of protocol HTTP does not serve | use `protocol: TCP`, \
             or another algorithm"
        ]
    );
    let behind = |listener: &str, pool: &str| -> Vec<String> {
        let text = format!(
            "loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  - {{protocol: {listener}, protocol_port: 80, \
             default_pool: {{{pool}}}}}\n"
        );
        mistakes(&text).iter().map(|mistake| mistake.split_once(' ').unwrap().1.to_owned()).collect()
    };
    for (listener, protocol) in [("TCP", "HTTP"), ("TCP", "PROXY"), ("HTTPS", "PROXYV2")] {
        let expected = format!(
            "a listener of protocol {listener} reads no requests, and its pool chooses by URI | use `protocol: HTTP` \
             for the listener, or another pool"
        );
        assert_eq!(behind(listener, &format!("protocol: {protocol}, lb_algorithm: URI")), [expected]);
    }
    for listener in ["HTTP", "HTTPS"] {
        let expected = format!(
            "a listener of protocol {listener} does not see the first bytes of remote desktops, and its pool chooses by \
             RDP_COOKIE | use `protocol: TCP` for the listener, or another pool"
        );
        assert_eq!(behind(listener, "protocol: PROXY, lb_algorithm: RDP_COOKIE"), [expected]);
    }
    // One cause is one mistake.
    let cannot = "a listener of protocol HTTPS cannot use a pool of protocol HTTP";
    let found = behind("HTTPS", "protocol: HTTP, lb_algorithm: URI");
    assert!(found.len() == 1 && found[0].starts_with(cannot), "{found:?}");
}

/// Every protocol with an algorithm it may have, and every hash that fits.
pub(super) fn choices() -> impl Strategy<Value = (PoolProtocol, LbAlgorithm, Option<Hashing>)> {
    let protocols =
        vec![PoolProtocol::Tcp, PoolProtocol::Http, PoolProtocol::Https, PoolProtocol::Proxy, PoolProtocol::ProxyV2];
    let tables = vec![HashTable::Map, HashTable::Consistent, HashTable::Maglev, HashTable::Rendezvous];
    let functions =
        vec![HashFunction::Sdbm, HashFunction::Djb2, HashFunction::Wt6, HashFunction::Crc32, HashFunction::None];
    let part = (prop::option::of(1u16..), prop::option::of(1u16..), any::<[bool; 2]>(), "[a-zA-Z-]{1,9}");
    let how = (
        prop::sample::select(tables),
        prop::sample::select(functions),
        any::<bool>(),
        prop::option::of(BALANCE_FACTOR_MIN..=BALANCE_FACTOR_MAX),
    );
    let both = (prop::sample::select(protocols), prop::sample::select(LbAlgorithm::ALL.to_vec()));
    (both, part, how).prop_map(|((protocol, algorithm), (length, depth, [one, other], name), how)| {
        let (table, function, avalanche, balance_factor) = how;
        let protocol = match algorithm {
            LbAlgorithm::RdpCookie if matches!(protocol, PoolProtocol::Http | PoolProtocol::Https) => PoolProtocol::Tcp,
            algorithm if algorithm.reads_requests() && matches!(protocol, PoolProtocol::Tcp | PoolProtocol::Https) => {
                PoolProtocol::Http
            }
            _ => protocol,
        };
        let key = match algorithm {
            LbAlgorithm::SourceIp => HashKey::Source,
            LbAlgorithm::SourceIpPort => HashKey::SourcePort,
            LbAlgorithm::Uri => HashKey::Uri { length, depth, whole: one, path_only: other },
            LbAlgorithm::UrlParam => HashKey::UrlParam { parameter: name },
            LbAlgorithm::Header => HashKey::Header { header: name, domain_only: one },
            LbAlgorithm::RdpCookie => HashKey::RdpCookie { cookie: name },
            _ => return (protocol, algorithm, None),
        };
        let mut hashing = Hashing::with(key, table);
        if matches!(table, HashTable::Map | HashTable::Consistent) {
            hashing.avalanche = avalanche;
        }
        if table != HashTable::Map {
            hashing.balance_factor = balance_factor;
        }
        if !matches!(hashing.key, HashKey::Source | HashKey::SourcePort) {
            hashing.function = function;
        }
        (protocol, algorithm, Some(hashing))
    })
}
