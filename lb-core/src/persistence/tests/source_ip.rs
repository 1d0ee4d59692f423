//! SOURCE_IP, and what tables live through.

use super::*;
use crate::request::Unread;

fn from(snapshot: &Snapshot, ip: &str, n: u64) -> Found {
    look_up(&snapshot.pools[0], &Unread, ip.parse().unwrap(), second(n), Touch::Refresh)
}

fn to(snapshot: &Snapshot, ip: &str, member: u16, n: u64) {
    let found = from(snapshot, ip, n);
    placed(&snapshot.pools[0], &found, m(member), second(n).now);
}

#[test]
fn a_client_is_known_by_its_address() {
    let snapshot = first("type: SOURCE_IP, persistence_timeout: 60", 3);
    assert_eq!(from(&snapshot, "10.0.0.1", 0).outcome, Outcome::None);
    to(&snapshot, "10.0.0.1", 2, 0);
    assert_eq!(from(&snapshot, "::ffff:10.0.0.1", 1).member, Some(m(2)));
    assert_eq!(from(&snapshot, "10.0.0.2", 1).member, None);
    assert_eq!(from(&snapshot, "10.0.0.1", 60).member, Some(m(2)));
    assert_eq!(from(&snapshot, "10.0.0.1", 121).member, None, "a minute after its last visit");
    assert_eq!(served(&snapshot, &get(&["SRV=x"]), 1, &sets("SRV=y"), 200).2, Edit::NONE);
}

#[test]
fn the_first_of_several_at_once_is_right() {
    let snapshot = first("type: SOURCE_IP", 3);
    let pool = &snapshot.pools[0];
    let (a, b) = (from(&snapshot, "10.0.0.1", 0), from(&snapshot, "10.0.0.1", 0));
    placed(pool, &a, m(1), second(0).now);
    placed(pool, &b, m(2), second(0).now);
    assert_eq!(from(&snapshot, "10.0.0.1", 0).member, Some(m(1)));
    // Both move because it is gone: the first says where to.
    pool.members[0].state.set_up(false);
    let (a, b) = (from(&snapshot, "10.0.0.1", 1), from(&snapshot, "10.0.0.1", 1));
    assert_eq!((a.outcome, a.member), (Outcome::Down, None));
    placed(pool, &a, m(2), second(1).now);
    placed(pool, &b, m(3), second(1).now);
    pool.members[0].state.set_up(true);
    assert_eq!(from(&snapshot, "10.0.0.1", 1).member, Some(m(2)), "and there it stays");
}

#[test]
fn a_table_lives_as_long_as_what_clients_are_known_by() {
    let keys = "type: SOURCE_IP, persistence_timeout: 1000";
    let snapshot = first(keys, 3);
    for n in 1..=3 {
        to(&snapshot, &format!("10.0.0.{n}"), n, 0);
    }
    // Other order, one more, one less.
    let other = super::snapshot(keys, &["m3", "m4", "m1"], &snapshot);
    assert_eq!(from(&other, "10.0.0.1", 1).member, Some(MemberIndex(2)));
    assert_eq!(from(&other, "10.0.0.3", 1).member, Some(MemberIndex(0)));
    assert_eq!(from(&other, "10.0.0.2", 1).outcome, Outcome::Unknown);
    // It comes back, and so do its clients.
    let back = super::snapshot("type: SOURCE_IP, persistence_timeout: 9, table_size: 100", &["m1", "m2", "m3"], &other);
    assert_eq!(from(&back, "10.0.0.2", 2).member, Some(m(2)));
    assert_eq!(from(&back, "10.0.0.1", 11).member, None, "another timeout counts for all");
    // Shares are compiled anew without a document.
    back.pools[0].members[0].state.set_share_permille(500);
    let rebuilt = back.rebuilt().unwrap();
    assert_eq!(from(&rebuilt, "10.0.0.2", 3).member, Some(m(2)));
    let masked = super::snapshot("type: SOURCE_IP, persistence_granularity: 255.0.0.0", &["m1", "m2"], &back);
    assert_eq!(from(&masked, "10.0.0.2", 3).outcome, Outcome::None, "other keys, another table");
    let cookies = super::snapshot("type: APP_COOKIE, cookie_name: x", &["m1", "m2"], &back);
    assert_eq!(cookies.pools[0].persistence.as_ref().unwrap().figures(Millis(0)).unwrap().entries, 0);
}

#[test]
fn a_smaller_table_forgets_whoever_was_away_for_longest() {
    let snapshot = first("type: SOURCE_IP", 1);
    for n in 1..=100 {
        to(&snapshot, &format!("10.0.0.{n}"), 1, n);
    }
    let small = super::snapshot("type: SOURCE_IP, table_size: 10", &["m1"], &snapshot);
    for n in 1..=100 {
        assert_eq!(from(&small, &format!("10.0.0.{n}"), 200).member.is_some(), n > 90, "{n}");
    }
}

#[test]
fn members_that_come_and_go_leave_no_trace() {
    let mut snapshot = first("type: SOURCE_IP", 1);
    for round in 0..40 {
        let names: Vec<String> = (0..100).map(|n| format!("r{round}-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["stays"]).collect();
        snapshot = super::snapshot("type: SOURCE_IP", &names, &snapshot);
        to(&snapshot, &format!("10.0.1.{round}"), 5, round);
        to(&snapshot, "10.0.0.1", 101, round);
    }
    let figures = snapshot.pools[0].persistence.as_ref().unwrap().figures(Millis(0)).unwrap();
    assert!(figures.entries < 20, "entries of members long gone were forgotten: {figures:?}");
    assert_eq!(from(&snapshot, "10.0.0.1", 50).member, Some(MemberIndex(100)));
}
