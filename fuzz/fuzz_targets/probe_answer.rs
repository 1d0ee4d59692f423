//! Whatever a member answers a probe, in whatever pieces: no panic, no memory without bound, the same verdict.
#![no_main]

use lb_core::config::monitor::{BODY_LOOKED_AT_MAX, ExpectedBody};
use lb_health::probe::http::body::BodyReader;
use lb_health::probe::http::head::HeadReader;
use lb_health::probe::http::search::Search;
use lb_health::probe::{agent, mysql, ping};
use libfuzzer_sys::fuzz_target;

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

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, is_regex, said) = input;
    let expected = if is_regex { ExpectedBody::Regex("o+k".to_owned()) } else { ExpectedBody::Text("ok".to_owned()) };
    let Ok(search) = Search::new(&expected) else { return };
    let whole = http(said, said.len().max(1), &search);
    let cut = http(said, usize::from(piece).max(1), &search);
    // Cut into pieces, a head may be refused a little later, and a match found before a chunk goes wrong.
    if let (Some(whole), Some(cut)) = (whole, cut) {
        assert_eq!(whole, cut);
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
});
