//! The same bytes against HAProxy and nginx: what they do is told, never asserted.
//!
//! `cargo nextest run -p weir-tests peers --no-capture` prints the table; in it, a peer that sends a member what is not
//! canonical is marked.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use weir_tests::haproxy::Haproxy;
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::strict_member::{Arrival, StrictMember};

use super::court::Case;
use super::{bodies, chunks, framing, hops, lines, sizes, targets};

/// Every row with its table.
pub(super) fn rows() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("F1", framing::f1()),
        ("F2", framing::f2()),
        ("F3", framing::f3()),
        ("F4", framing::f4()),
        ("F5", framing::f5()),
        ("F6", framing::f6()),
        ("F7", framing::f7()),
        ("F8", lines::f8()),
        ("F9", lines::f9()),
        ("F10", lines::f10()),
        ("F11", framing::f11()),
        ("F12", chunks::f12()),
        ("F13", chunks::f13()),
        ("F14", chunks::f14()),
        ("F15", bodies::f15()),
        ("F16", bodies::f16()),
        ("L1", targets::l1()),
        ("L2", targets::l2()),
        ("L3", targets::l3()),
        ("L4", targets::l4()),
        ("L5", targets::l5()),
        ("L6", targets::l6()),
        ("L7", sizes::l7()),
        ("L8", sizes::l8()),
        ("P1", hops::p1()),
        ("P2", hops::p2()),
        ("P4", hops::p4()),
        ("P5", hops::p5()),
    ]
}

/// What a peer answered and what it made of it.
fn observe(at: SocketAddr, member: &StrictMember, bytes: &[u8]) -> (String, bool) {
    member.arrivals();
    let mut client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let _ = client.write_all(bytes);
    let _ = client.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let statuses: Vec<&str> = text.split("HTTP/1.").skip(1).filter_map(|part| part.get(2..5)).collect();
    let arrivals = member.arrivals();
    let whole = arrivals.iter().filter(|a| matches!(a, Arrival::Request(_))).count();
    let fault = arrivals.iter().find_map(|a| match a {
        Arrival::Fault(fault) => Some(fault.to_string()),
        _ => None,
    });
    let arrived = if arrivals.is_empty() { String::new() } else { format!(", {whole} arrived") };
    let shown = if statuses.len() > 3 { format!("{} answers", statuses.len()) } else { statuses.join(" ") };
    let marked = fault.as_ref().map_or(String::new(), |fault| format!(", NOT CANONICAL ({:.60})", fault));
    (format!("{}{arrived}{marked}", if shown.is_empty() { "closed" } else { &shown }), fault.is_some())
}

#[test]
fn what_haproxy_and_nginx_make_of_the_same_bytes() {
    let place = Place::new();
    let (haproxy_at, nginx_at) = (place.socket(), place.socket());
    let (behind_haproxy, behind_nginx) = (StrictMember::start(place.socket()), StrictMember::start(place.socket()));
    let setup = Setup::new(Mode::Http, haproxy_at, [("m1", behind_haproxy.socket)]);
    let _haproxy = Haproxy::start(&place, &setup);
    let _nginx = Nginx::start_before(&place, "front", nginx_at, behind_nginx.socket);
    let mut table = String::new();
    let (mut cases, mut faults) = (0, [0, 0]);
    for (row, all) in rows() {
        // Bytes by the megabyte tell about time only.
        for case in all.iter().filter(|case| case.bytes.len() < 300_000) {
            cases += 1;
            let (haproxy, odd) = observe(haproxy_at, &behind_haproxy, &case.bytes);
            faults[0] += usize::from(odd);
            let (nginx, odd) = observe(nginx_at, &behind_nginx, &case.bytes);
            faults[1] += usize::from(odd);
            let name: String = case.name.chars().take(60).collect();
            writeln!(table, "| {row} | {:?} | {haproxy} | {nginx} |", name).unwrap();
        }
    }
    eprintln!("| row | case | HAProxy | nginx |\n|---|---|---|---|\n{table}");
    eprintln!("of {cases}: HAProxy sends {} that are not canonical, nginx {}", faults[0], faults[1]);
    assert!(cases > 250, "where have all the cases gone?");
}
