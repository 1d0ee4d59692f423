//! Promise: a data plane that did not run for a while blames no member for what it missed.

use lb_control::events::EventKind::MemberDown;
use rustix::process::Signal;
use serde_json::json;
use weir_tests::health::{monitor, with};
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

/// A database that is well and takes its time: its greeting comes late, and so does its word about a login. Whoever is
/// stopped before the greeting and goes on when the time is over has a step left, and no time for it.
fn database(name: &str, place: &Place) -> Member {
    let member = Member::script(name, place.socket(), |conn| {
        pause_ms(400);
        let greeting = b"\x0a5.5.5-10.11\0\x01\0\0\0abcdefgh\0\xff\xf7";
        conn.send([&[u8::try_from(greeting.len()).unwrap(), 0, 0, 0], &greeting[..]].concat())?;
        let length = conn.take(4)?[0];
        conn.take(usize::from(length))?;
        pause_ms(100);
        conn.send([7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0])?;
        conn.take_to_end();
        Ok(())
    });
    member.only_counting()
}

#[test]
fn a_stopped_process_marks_nobody_down() {
    let place = Place::new();
    let members: Vec<Member> = (0..4).map(|n| database(&format!("m{n}"), &place)).collect();
    // One bad answer is enough: none may be counted.
    let asks = with(monitor("MYSQL", 1500, 1500), &json!({"max_retries_down": 1, "mysql_user": "weir"}));
    let setup = Setup::new(Mode::Tcp, place.socket(), members.iter().map(|m| (m.name(), m.socket()))).monitor(asks);
    let weir = Weir::start(&place, &setup);
    weir.control.wait_asked();
    let asked = || members.iter().map(Member::connections).collect::<Vec<usize>>();
    for _ in 0..3 {
        let before = asked();
        until_true(PATIENCE, "a question", || asked() != before);
        weir.process.signal(Signal::STOP);
        // Longer than what a timeout is believed for.
        pause_ms(3500);
        weir.process.signal(Signal::CONT);
        let before = asked();
        until_true(PATIENCE, "everybody to be asked again", || {
            asked().iter().zip(&before).all(|(now, before)| *now >= before + 2)
        });
    }
    assert_eq!(weir.control.count(MemberDown), 0, "{:#?}", weir.control.events().events);
}
