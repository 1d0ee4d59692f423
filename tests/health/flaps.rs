//! Promise: thousands of turns leave nothing behind: no descriptor, no memory, no longer ring.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_control::events::EVENTS_KEPT;
use lb_control::events::EventKind::{MemberDown, MemberUp};
use serde_json::json;
use weir_tests::health::{monitor, with};
use weir_tests::member::{Member, sized};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup, backend};
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

fn descriptors(weir: &Weir) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", weir.process.pid())).map_or(0, Iterator::count)
}

fn anonymous_kb(weir: &Weir) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", weir.process.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss_Anon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A hundred members that answer every other question badly, each asked ten times a second: a turn with every answer, and more in
/// a few seconds than members that fail every hour have in a day.
#[test]
fn thousands_of_turns_leave_nothing_behind() {
    let place = Place::new();
    let answers: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
    let member = Member::script("flapping", place.socket(), move |conn| {
        let head = conn.head()?;
        let n: usize = head.get("x-member").and_then(|n| n.parse().ok()).unwrap_or(0);
        let bad = answers[n % answers.len()].fetch_add(1, Ordering::Relaxed) % 2 == 1;
        // Now a wrong status, now no answer at all.
        if bad && n.is_multiple_of(2) {
            conn.reset();
        } else {
            conn.send(sized(if bad { 500 } else { 200 }, "", b"", false))?;
            conn.close();
        }
        Ok(())
    })
    .only_counting();
    // All are one server, told apart by the address they are asked at.
    let mut setup = Setup::new(Mode::Http, place.socket(), []);
    for n in 0..100 {
        let mut backend = backend(&format!("m{n}"), std::net::SocketAddr::new("127.9.9.9".parse().unwrap(), 1000 + n));
        backend.more = json!({"monitor_address": member.socket().ip(), "monitor_port": member.socket().port()});
        setup.members.push(backend);
    }
    let setup = setup
        .pool_keys(json!({"slow_start": 5}))
        .monitor(with(monitor("HTTP", 100, 100), &json!({"max_retries": 1, "max_retries_down": 1})));
    let weir = Weir::start(&place, &setup);
    let turns = || weir.control.events().last;
    let mut after_warming = None;
    until_true(Duration::from_secs(50), "2000 turns", || {
        pause_ms(50);
        if turns() > 600 {
            after_warming.get_or_insert_with(|| (descriptors(&weir), anonymous_kb(&weir)));
        }
        turns() > 2600
    });
    let (_, memory) = after_warming.unwrap();
    let events = weir.control.events();
    assert_eq!(events.events.len(), EVENTS_KEPT);
    assert!(events.events.iter().any(|event| event.kind == MemberDown));
    assert!(events.events.iter().any(|event| event.kind == MemberUp));
    assert!(events.events.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    let grown = anonymous_kb(&weir).saturating_sub(memory);
    assert!(grown < 1024, "{grown} kB more after 2000 turns");
    let threads = weir.process.status_field("Threads").unwrap();
    assert!(threads.parse::<usize>().unwrap() <= 4, "{threads} threads");
    // Nobody is asked any more: what is left is what there was before.
    let mut at_rest = setup.clone();
    at_rest.pool = json!({});
    weir.control.apply(&at_rest.document(&place.path("access.log")));
    let before = {
        let quiet = Place::new();
        let weir = Weir::start(&quiet, &Setup { vip: quiet.socket(), ..at_rest.clone() });
        descriptors(&weir)
    };
    until_true(PATIENCE, "the descriptors to come back", || descriptors(&weir) <= before + 2);
    assert_eq!(weir.control.stats().sessions_panicked, 0);
}
