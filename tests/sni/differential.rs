//! The same ClientHellos to HAProxy, which chooses by `req.ssl_sni`, and to us.

use std::fmt::Write as _;
use std::time::Duration;

use weir_tests::haproxy::Haproxy;
use weir_tests::hello::{message, place_of, record, split};

use super::*;

const INSPECT_MS: u64 = 400;

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pool(&'static str),
    TurnedAway,
}
use Fate::{Pool, TurnedAway};

/// A client's pieces, and what becomes of it at HAProxy and at us, with the reason if that is not the same.
struct Page {
    what: &'static str,
    pieces: Vec<Vec<u8>>,
    theirs: Fate,
    ours: Fate,
    why: &'static str,
}

fn pages() -> Vec<Page> {
    let same = |what, pieces, fate| Page { what, pieces, theirs: fate, ours: fate, why: "" };
    let differs = |what, pieces, theirs, ours, why| Page { what, pieces, theirs, ours, why };
    let one = |name: &str| vec![hello(Some(name))];
    let whole = hello(Some("a.test"));
    let cut = |places: &[usize]| {
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places.iter().chain([&whole.len()]) {
            pieces.push(whole[from..*place].to_vec());
            from = *place;
        }
        pieces
    };
    let at = place_of(&whole, "a.test");
    let records_cut_at = |place: usize| {
        let message = message(Some("a.test"));
        vec![[record(&message[..place]), record(&message[place..])].concat()]
    };
    let in_message = place_of(&message(Some("a.test")), "a.test");
    let legacy = {
        // A ClientHello of TLS 1.0, without extensions.
        let fixed = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
        record(&[&[1, 0, 0, fixed.len() as u8][..], &fixed].concat())
    };
    vec![
        same("exact", one("a.test"), Pool("a")),
        same("upper case", one("A.TEST"), Pool("a")),
        same("below a domain", one("www.b.test"), Pool("b")),
        same("deep below it", one("x.y.b.test"), Pool("b")),
        same("the domain itself", one("b.test"), Pool("main")),
        same("what only ends alike", one("xb.test"), Pool("main")),
        same("what begins alike", one("a.test.example"), Pool("main")),
        same("by a beginning", one("img.example"), Pool("b")),
        same("by an expression", one("v12.example"), Pool("a")),
        same("rejected", one("x.blocked.b.test"), TurnedAway),
        same("no name", vec![hello(None)], Pool("main")),
        same("no extensions", vec![legacy], Pool("main")),
        same("another protocol", vec![b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()], Pool("main")),
        same("another kind of record", vec![b"\x17\x03\x03\x00\x02hi".to_vec()], Pool("main")),
        same("two segments", cut(&[at + 2]), Pool("a")),
        same("a head on its own", cut(&[1, 5, 9]), Pool("a")),
        same("the last byte late", cut(&[whole.len() - 1]), Pool("a")),
        same("slowly", cut(&[3, 50, 60, at, at + 1, at + 6]), Pool("a")),
        same("half of it", vec![whole[..at + 3].to_vec()], Pool("main")),
        same("the beginning of one", vec![b"\x16\x03".to_vec()], Pool("main")),
        differs(
            "a dot at the end",
            one("a.test."),
            Pool("main"),
            Pool("a"),
            "the dot is no part of a name (RFC 6066 section 3), and whoever sends it means the same server",
        ),
        differs(
            "two records, cut in the name",
            records_cut_at(in_message + 2),
            Pool("main"),
            Pool("a"),
            "HAProxy reads the head of the second record as a part of the name",
        ),
        differs(
            "records of a few bytes",
            vec![split(Some("a.test"), 20)],
            Pool("main"),
            Pool("a"),
            "HAProxy looks for a ClientHello in one record",
        ),
        differs(
            "an address",
            one("198.51.100.7"),
            Pool("b"),
            Pool("main"),
            "an address is no server's name (RFC 6066 section 3)",
        ),
    ]
}

fn rules() -> Value {
    json!([
        to_pool("exact", "a", &[named("EQUAL_TO", "a.test")]),
        to_pool("below", "b", &[named("ENDS_WITH", ".b.test")]),
        to_pool("beginning", "b", &[named("STARTS_WITH", "IMG.")]),
        to_pool("expression", "a", &[named("REGEX", "^v[0-9]+\\.")]),
        to_pool("number", "b", &[named("STARTS_WITH", "198.51")]),
        {"name": "no", "action": "REJECT", "rules": [named("CONTAINS", "Blocked")]},
    ])
}

fn haproxy(vip: SocketAddr, members: &[Member]) -> String {
    let mut text = format!(
        "global\n  log stdout format raw local0\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode tcp\n  log global\n  option tcplog\n  \
         timeout connect 5s\n  timeout client 50s\n  timeout server 50s\nfrontend front\n  bind {vip}\n  \
         tcp-request inspect-delay {INSPECT_MS}ms\n  \
         tcp-request content reject if {{ req.ssl_sni -i -m sub blocked }}\n  \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
         use_backend a if {{ req.ssl_sni -i -m str a.test }}\n  use_backend b if {{ req.ssl_sni -i -m end .b.test }}\n  \
         use_backend b if {{ req.ssl_sni -i -m beg img. }}\n  use_backend a if {{ req.ssl_sni -i -m reg '^v[0-9]+\\.' }}\n  \
         use_backend b if {{ req.ssl_sni -i -m beg 198.51 }}\n  default_backend main\n"
    );
    for (pool, member) in POOLS.iter().zip(members) {
        writeln!(text, "backend {pool}\n  server {} {}", member.name(), member.socket()).unwrap();
    }
    text
}

fn fate(vip: SocketAddr, page: &Page) -> Fate {
    let mut client = Client::connect(vip);
    let pieces: Vec<&[u8]> = page.pieces.iter().map(Vec::as_slice).collect();
    client.send_pieces(&pieces, Duration::from_millis(15));
    answered(&mut client).map_or(TurnedAway, Pool)
}

/// Frontend, backend and server, and flags of a line.
fn words(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    [2, 3, 6].map(|place| words.get(place).copied().unwrap_or("?")).join(" ")
}

#[test]
fn clients_come_where_haproxy_sends_them() {
    let (theirs, ours) = (Place::new(), Place::new());
    let members = members(&theirs);
    let their_vip = theirs.socket();
    let haproxy = Haproxy::start_with(&theirs, &haproxy(their_vip, &members), their_vip);
    let our_vip = ours.socket();
    let mut document = document(&ours, our_vip, &members, &rules());
    document["loadbalancer"]["listeners"][0]["log"]["format"] = json!("tcplog");
    document["loadbalancer"]["listeners"][0]["timeout_tcp_inspect"] = json!(INSPECT_MS);
    let weir = Weir::start_with(&ours, &document, &[]);
    let mut differing = Vec::new();
    for (n, page) in pages().iter().enumerate() {
        let found = (fate(their_vip, page), fate(our_vip, page));
        let their_log = until(PATIENCE, "HAProxy's line", || haproxy.log().get(n).cloned());
        let our_log = weir.wait_log(n + 1)[n].clone();
        let (their_words, our_words) = (words(&their_log), words(&our_log));
        let alike = page.theirs != page.ours || their_words == our_words;
        if found != (page.theirs, page.ours) || !alike {
            differing.push(format!(
                "{}: {found:?} instead of {:?} {}\n  HAProxy {their_words}\n  Weir    {our_words}",
                page.what,
                (page.theirs, page.ours),
                page.why
            ));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
