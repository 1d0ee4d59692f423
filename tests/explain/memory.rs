//! Whom a pool remembers: hits, misses, and why.

use lb_control::explain::Remembered;
use weir_tests::wait::until;

use super::*;

fn remembered(explanation: &Explanation) -> &Remembered {
    explanation.persistence.as_ref().unwrap_or_else(|| panic!("nothing of persistence: {explanation:?}"))
}

/// That it is a miss, and why.
fn misses(explanation: &Explanation, why: &str) {
    let remembered = remembered(explanation);
    assert!(!remembered.hit && remembered.words.contains(why), "{why}: {remembered:?}");
}

/// That it is a hit of that member, to whom it goes.
fn hits(explanation: &Explanation, member: &str) {
    assert!(remembered(explanation).hit, "{explanation:?}");
    assert_eq!(picked(explanation), member);
}

#[test]
fn a_cookie_is_followed_or_it_is_said_why_not() {
    let keys = json!({"session_persistence": {"type": "HTTP_COOKIE"}});
    let mut stage = stage(Mode::Http, "ROUND_ROBIN", &keys);
    let from = ["GET", "/", "--from", "127.99.8.1"];
    let with = |stage: &Stage, cookie: &str| explained(&stage.weir, &[&from[..], &["--cookie", cookie]].concat());
    misses(&explained(&stage.weir, &from), "the request has no cookie SRV");
    let first = ask_from(address(1), stage.vip(), "/", "");
    let (whose, set) = (by(&first).to_owned(), first.header("set-cookie").unwrap());
    let cookie = set.split(';').next().unwrap().to_owned();
    for _ in 0..3 {
        hits(&with(&stage, &cookie), &whose);
    }
    assert_eq!(by(&ask_from(address(1), stage.vip(), "/", &format!("Cookie: {cookie}\r\n"))), whose);
    misses(&with(&stage, "SRV=AAAAAAAAAAAAAAAAAAAAAA"), "names nobody: forged, or of a member that is gone");
    misses(&with(&stage, "SRV=x"), "is none of ours: cut");
    // Drained it keeps its own, and is left out for everybody else.
    let place = whose[1..].parse::<usize>().unwrap() - 1;
    stage.apply(|setup| setup.members[place].weight = 0);
    let drained = with(&stage, &cookie);
    hits(&drained, &whose);
    assert!(candidate(&drained, &whose).words.contains("keeps its own clients"), "{drained:?}");
    let stranger = explained(&stage.weir, &from);
    assert_eq!(candidate(&stranger, &whose).words, "draining: its weight is 0");
    // Disabled it has nobody.
    stage.apply(|setup| setup.members[place].admin_state_up = false);
    let moved = with(&stage, &cookie);
    misses(&moved, "may not have it: disabled");
    assert_eq!(remembered(&moved).member.as_ref().unwrap().name, whose);
    assert_eq!(by(&ask_from(address(1), stage.vip(), "/", &format!("Cookie: {cookie}\r\n"))), picked(&moved));
    // Gone it is not told from forged.
    stage.apply(|setup| drop(setup.members.remove(place)));
    misses(&with(&stage, &cookie), "of a member that is gone");
}

#[test]
fn a_table_is_read_and_not_used() {
    let keys = json!({"session_persistence": {"type": "SOURCE_IP", "persistence_timeout": 1}});
    let stage = stage(Mode::Http, "ROUND_ROBIN", &keys);
    let words = ["GET", "/", "--from", "127.99.8.2"];
    misses(&explained(&stage.weir, &words), "127.99.8.2 is not in the table");
    let whose = by(&ask_from(address(2), stage.vip(), "/", "")).to_owned();
    hits(&explained(&stage.weir, &words), &whose);
    // However often it is asked, the client is forgotten in time.
    let away = until(PATIENCE, "the client to be forgotten", || {
        let said = explained(&stage.weir, &words);
        (!remembered(&said).hit).then_some(said)
    });
    misses(&away, "away for longer than persistence_timeout");
    assert_eq!(by(&ask_from(address(2), stage.vip(), "/", "")), picked(&away));
}

#[test]
fn a_relayed_client_is_remembered_by_its_address() {
    let stage = stage(Mode::Tcp, "ROUND_ROBIN", &json!({"session_persistence": {"type": "SOURCE_IP"}}));
    let whose = by(&ask_from(address(3), stage.vip(), "/", "")).to_owned();
    hits(&explained(&stage.weir, &["--from", "127.99.8.3"]), &whose);
    let said = explained(&stage.weir, &["--from", "127.99.8.4"]);
    assert_eq!(by(&ask_from(address(4), stage.vip(), "/", "")), picked(&said));
}

#[test]
fn a_session_of_the_application_is_known() {
    let keys = json!({"session_persistence": {"type": "APP_COOKIE", "cookie_name": "sid"}});
    let mut stage = stage(Mode::Http, "ROUND_ROBIN", &keys);
    let with = |stage: &Stage, cookie: &str| {
        explained(&stage.weir, &["GET", "http://weir.test/", "--from", "127.99.8.1", "--cookie", cookie])
    };
    misses(&with(&stage, "sid=one"), "the session in sid is not in the table");
    let whose = by(&ask_from(address(1), stage.vip(), "/", "X-Set: sid=one\r\n")).to_owned();
    hits(&with(&stage, "sid=one"), &whose);
    assert_eq!(by(&ask_from(address(9), stage.vip(), "/", "Cookie: sid=one\r\n")), whose);
    misses(&with(&stage, "sid=two"), "the session in sid is not in the table");
    stage.apply(|setup| setup.members.retain(|member| member.name != whose));
    misses(&with(&stage, "sid=one"), "its member is not in the pool any more");
}
