//! APP_COOKIE: what is learned, where it is looked for, and who cannot push whom out.

use super::*;

const SESSION: &str = "type: APP_COOKIE, cookie_name: sid";

fn with(keys: &str) -> Snapshot {
    first(&format!("{SESSION}{keys}"), 3)
}

fn entries(snapshot: &Snapshot, n: u64) -> u32 {
    snapshot.pools[0].persistence.as_ref().unwrap().figures(second(n).now).unwrap().entries
}

#[test]
fn a_session_is_learned_from_its_member_and_found_again() {
    let snapshot = with("");
    assert_eq!(asked(&snapshot, &get(&["sid=a"]), 0), (Outcome::Unknown, None));
    assert_eq!(asked(&snapshot, &get(&["x=a"]), 0), (Outcome::None, None));
    let (flags, lines, edit) = served(&snapshot, &get(&[]), 2, &sets("sid=a; Path=/"), 0);
    assert_eq!((flags.as_str(), lines.len(), edit.drops), ("NP", 0, false));
    assert_eq!(asked(&snapshot, &get(&["x=1; sid=a"]), 1), (Outcome::Hit, Some(m(2))));
    assert_eq!(asked(&snapshot, &get(&["sid=\"a\""]), 1), (Outcome::Hit, Some(m(2))));
    assert_eq!(asked(&snapshot, &get(&["SID=a"]), 1), (Outcome::None, None), "names are exact");
    assert_eq!(served(&snapshot, &get(&["sid=a"]), 2, &plain(), 1).0, "VN");
    assert_eq!(entries(&snapshot, 1), 1);
}

#[test]
fn what_nobody_set_makes_no_entry() {
    let snapshot = with(", table_size: 2");
    served(&snapshot, &get(&[]), 1, &sets("sid=real"), 0);
    for n in 0..1000 {
        let (flags, ..) = served(&snapshot, &get(&[&format!("sid=invented{n}")]), 2, &plain(), 1);
        assert_eq!(flags, "IN");
    }
    assert_eq!(entries(&snapshot, 1), 1);
    assert_eq!(asked(&snapshot, &get(&["sid=real"]), 1), (Outcome::Hit, Some(m(1))));
    // Unless that is asked for.
    let learns = with(", request_learn: true");
    served(&learns, &get(&["sid=brought"]), 2, &plain(), 0);
    assert_eq!(asked(&learns, &get(&["sid=brought"]), 1), (Outcome::Hit, Some(m(2))));
    served(&learns, &get(&["sid=dropped"]), 2, &sets("sid=given"), 0);
    assert_eq!(asked(&learns, &get(&["sid=dropped"]), 1), (Outcome::Unknown, None), "the member set another");
    assert_eq!(asked(&learns, &get(&["sid=given"]), 1), (Outcome::Hit, Some(m(2))));
    served(&learns, &get(&["sid="]), 2, &sets("sid=; Max-Age=0"), 0);
    assert_eq!(asked(&learns, &get(&["sid="]), 1), (Outcome::None, None), "nothing is no session");
}

#[test]
fn a_session_is_forgotten_so_long_after_its_last_use() {
    let snapshot = with(", persistence_timeout: 100");
    served(&snapshot, &get(&[]), 1, &sets("sid=a"), 0);
    for n in [90, 180, 270] {
        assert_eq!(asked(&snapshot, &get(&["sid=a"]), n), (Outcome::Hit, Some(m(1))));
    }
    let pool = &snapshot.pools[0];
    let peeked = look_up(pool, &get(&["sid=a"]), somebody(), second(369), Touch::Peek);
    assert_eq!(peeked.member, Some(m(1)));
    assert_eq!(asked(&snapshot, &get(&["sid=a"]), 371), (Outcome::Unknown, None), "a peek is no use");
    assert_eq!(entries(&snapshot, 371), 0);
}

#[test]
fn a_session_moves_with_its_client_and_stays_there() {
    let snapshot = with("");
    served(&snapshot, &get(&[]), 1, &sets("sid=a"), 0);
    snapshot.pools[0].members[0].state.set_up(false);
    assert_eq!(asked(&snapshot, &get(&["sid=a"]), 1), (Outcome::Down, None));
    let (flags, ..) = served(&snapshot, &get(&["sid=a"]), 3, &plain(), 1);
    assert_eq!(flags, "DN");
    snapshot.pools[0].members[0].state.set_up(true);
    assert_eq!(asked(&snapshot, &get(&["sid=a"]), 2), (Outcome::Hit, Some(m(3))));
    // Found, but its connection failed: the same.
    served(&snapshot, &get(&["sid=a"]), 2, &plain(), 2);
    assert_eq!(asked(&snapshot, &get(&["sid=a"]), 2), (Outcome::Hit, Some(m(2))));
    // What the application says itself goes before everything.
    served(&snapshot, &get(&[]), 1, &sets("sid=a"), 3);
    assert_eq!(asked(&snapshot, &get(&["sid=a"]), 3), (Outcome::Hit, Some(m(1))));
}

#[test]
fn long_values_count_as_far_as_is_asked() {
    let snapshot = with(", length: 4");
    served(&snapshot, &get(&[]), 1, &sets("sid=abcdEFG"), 0);
    assert_eq!(asked(&snapshot, &get(&["sid=abcdxyz"]), 1).1, Some(m(1)));
    assert_eq!(asked(&snapshot, &get(&["sid=abcd"]), 1).1, Some(m(1)));
    assert_eq!(asked(&snapshot, &get(&["sid=abc"]), 1).1, None);
    let usual = with("");
    let long = "v".repeat(64);
    served(&usual, &get(&[]), 2, &sets(&format!("sid={long}1")), 0);
    assert_eq!(asked(&usual, &get(&[&format!("sid={long}2")]), 1).1, Some(m(2)));
}

#[test]
fn sessions_stand_in_targets_too() {
    let path = with(", in_url: PATH_PARAMETER");
    served(&path, &get(&[]), 1, &sets("sid=a"), 0);
    served(&path, &get(&[]), 2, &sets("sid=b"), 0);
    for (target, member) in [
        ("/x;sid=a", Some(1)),
        ("/x;SID=a;y=1?sid=b", Some(1)),
        ("/x;y=1;sid=a;sid=b", Some(2)),
        ("/sid=a", None),
        ("/x?;sid=a", None),
        ("/x;sida=a", None),
        ("/x;sid=", None),
    ] {
        assert_eq!(asked(&path, &at(target), 1).1, member.map(m), "{target}");
    }
    let both = Request { target: "/;sid=b".into(), ..get(&["sid=a"]) };
    assert_eq!(asked(&path, &both, 1).1, Some(m(1)), "a known cookie goes first");
    let both = Request { target: "/;sid=b".into(), ..get(&["sid=invented"]) };
    assert_eq!(asked(&path, &both, 1).1, Some(m(2)));
    let put = Request { method: "PUT", ..at("/;sid=a") };
    assert_eq!(asked(&path, &put, 1).1, None);

    let query = with(", in_url: QUERY");
    served(&query, &get(&[]), 1, &sets("sid=a"), 0);
    served(&query, &get(&[]), 2, &sets("sid=b"), 0);
    for (target, member) in [
        ("/x?sid=a", Some(1)),
        ("/x?y=1&Sid=a", Some(1)),
        ("/x?sid=a&sid=b", Some(2)),
        ("/x;sid=a", None),
        ("/x?y=sid=a", None),
        ("/x?a=b?sid=a", None),
    ] {
        assert_eq!(asked(&query, &at(target), 1).1, member.map(m), "{target}");
    }
    assert_eq!(asked(&with(""), &at("/;sid=a?sid=a"), 1).1, None, "only where asked");
}

#[test]
fn names_that_only_begin_so() {
    let snapshot = with(", prefix: true, in_url: QUERY");
    served(&snapshot, &get(&[]), 1, &sets("sid4711=a"), 0);
    assert_eq!(asked(&snapshot, &get(&["sid4711=a"]), 1).1, Some(m(1)));
    assert_eq!(asked(&snapshot, &get(&["sid4712=a"]), 1).1, None);
    assert_eq!(asked(&snapshot, &get(&["sid4711=b"]), 1).1, None);
    assert_eq!(asked(&snapshot, &at("/?sid4711=a"), 1).1, Some(m(1)));
}

#[test]
fn thousands_of_values_are_not_all_asked_for() {
    let snapshot = with("");
    served(&snapshot, &get(&[]), 1, &sets("sid=real"), 0);
    let many: String = (0..2000).map(|n| format!("sid={n};")).collect();
    assert_eq!(asked(&snapshot, &get(&[&format!("sid=0; {many}")]), 1), (Outcome::Unknown, None));
    assert_eq!(asked(&snapshot, &get(&[&format!("sid=real; {many}")]), 1).1, Some(m(1)));
}
