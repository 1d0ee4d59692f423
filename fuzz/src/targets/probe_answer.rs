//! Whatever a member answers a probe, in whatever pieces: no panic, no memory without bound, the same verdict.

use std::sync::LazyLock;

use lb_core::config::monitor::{BODY_LOOKED_AT_MAX, ExpectedBody};
use lb_health::probe::http::body::BodyReader;
use lb_health::probe::http::head::HeadReader;
use lb_health::probe::http::search::Search;
use lb_health::probe::{agent, mysql, ping};

static SEARCHES: LazyLock<[Search; 2]> = LazyLock::new(|| {
    [ExpectedBody::Regex("o+k".to_owned()), ExpectedBody::Text("ok".to_owned())]
        .map(|expected| Search::new(&expected).expect("a legal expectation"))
});

/// Status and whether the body has what is expected; `None`: refused, or not complete.
fn http(said: &[u8], piece: usize, search: &Search) -> Option<(u16, bool)> {
    let mut reader = HeadReader::default();
    let mut ends = (1..=said.len().div_ceil(piece)).map(|n| (n * piece).min(said.len()));
    let head = ends.find_map(|end| reader.look(&said[..end]).transpose())?.ok()?;
    let mut body = BodyReader::new(head.length);
    let mut hunt = search.begin();
    let mut found = false;
    for part in said[head.end..].chunks(piece) {
        body.take(part).ok()?;
        found = found || hunt.found(body.text(), body.is_whole());
        assert!(body.text().len() <= BODY_LOOKED_AT_MAX);
    }
    body.end();
    Some((head.status, found || hunt.found(body.text(), true)))
}

pub(super) fn run(said: &[u8]) {
    for search in &*SEARCHES {
        let whole = http(said, said.len().max(1), search);
        for piece in [1, 2, 5, 1 + said.len() / 2] {
            let cut = http(said, piece, search);
            // Cut into pieces, a head may be refused a little later, and a match found before a chunk goes wrong.
            if let (Some(whole), Some(cut)) = (whole, cut) {
                assert_eq!(whole, cut);
            }
        }
    }
    if let Ok(Some((packet, len))) = mysql::packet::first(said) {
        assert!(len <= said.len());
        let _ = mysql::packet::greeting(&packet.payload);
        let _ = mysql::packet::login_reply(&packet.payload);
    }
    for ended in [false, true] {
        if let Ok(Some(line)) = agent::line(said, ended) {
            assert!(line.len() <= agent::LINE_MAX);
        }
    }
    for (is_v6, is_raw) in [(false, false), (false, true), (true, false), (true, true)] {
        let _ = ping::echo::hear(is_v6, is_raw, said);
    }
}
