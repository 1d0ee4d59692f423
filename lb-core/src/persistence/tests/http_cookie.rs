//! HTTP_COOKIE: values, dates, what is cut and what is written.

use proptest::prelude::*;

use super::*;

/// The value a client of member `n` gets at that second.
fn value(snapshot: &Snapshot, n: u16, at: u64) -> String {
    let (flags, lines, _) = served(snapshot, &get(&[]), n, &plain(), at);
    assert_eq!(flags, "NI");
    let value = lines[0].strip_prefix("Set-Cookie: SRV=").unwrap();
    value.split(';').next().unwrap().to_owned()
}

fn cookie(value: &str) -> Request {
    get(&[&format!("SRV={value}")])
}

#[test]
fn a_client_gets_a_cookie_once_and_stays() {
    let snapshot = first("type: HTTP_COOKIE", 3);
    let values: Vec<String> = (1..=3).map(|n| value(&snapshot, n, 1)).collect();
    assert!(values.iter().all(|value| value.len() == 22));
    assert!(values[0] != values[1] && values[1] != values[2]);
    for (n, value) in (1..=3).zip(&values) {
        assert_eq!(asked(&snapshot, &cookie(value), 9), (Outcome::Hit, Some(m(n))));
        assert_eq!(asked(&snapshot, &cookie(&format!("\"{value}\"")), 9), (Outcome::Hit, Some(m(n))));
        let (flags, lines, edit) = served(&snapshot, &cookie(value), n, &plain(), 9);
        assert_eq!((flags.as_str(), lines.len(), edit.drops), ("VN", 0, false));
    }
    // It answered from elsewhere: the client belongs there now.
    let (flags, lines, _) = served(&snapshot, &cookie(&values[0]), 2, &plain(), 9);
    assert_eq!((flags.as_str(), lines), ("VI", vec![format!("Set-Cookie: SRV={}; path=/", values[1])]));
}

#[test]
fn values_hang_on_secret_pool_and_member_and_on_nothing_else() {
    let snapshot = first("type: HTTP_COOKIE", 2);
    let again = super::snapshot("type: HTTP_COOKIE, http_only: true", &["m2", "m1", "m3"], &snapshot);
    assert_eq!(value(&snapshot, 1, 1), value(&again, 2, 7), "reordered, and long after");
    let other = Snapshot::keyed(Secret::from_bytes(&[6; 32]).unwrap());
    let other = super::snapshot("type: HTTP_COOKIE", &["", ""], &other);
    assert_ne!(value(&snapshot, 1, 1), value(&other, 1, 1));
    assert_eq!(asked(&other, &cookie(&value(&snapshot, 1, 1)), 1), (Outcome::Unknown, None));
}

#[test]
fn whoever_may_not_take_traffic_gets_none() {
    let snapshot = first("type: HTTP_COOKIE", 3);
    let values: Vec<String> = (1..=3).map(|n| value(&snapshot, n, 1)).collect();
    let members = ["m1, weight: 0", "m2, admin_state_up: false", "m3, backup: true"];
    let drained = super::snapshot("type: HTTP_COOKIE", &members, &snapshot);
    assert_eq!(asked(&drained, &cookie(&values[0]), 1), (Outcome::Hit, Some(m(1))));
    assert_eq!(asked(&drained, &cookie(&values[1]), 1), (Outcome::Down, None));
    assert_eq!(asked(&drained, &cookie(&values[2]), 1), (Outcome::Hit, Some(m(3))));
    drained.pools[0].members[0].state.set_up(false);
    assert_eq!(asked(&drained, &cookie(&values[0]), 1), (Outcome::Down, None));
    let gone = super::snapshot("type: HTTP_COOKIE", &["m1"], &drained);
    assert_eq!(asked(&gone, &cookie(&values[2]), 1), (Outcome::Unknown, None));
}

#[test]
fn of_several_cookies_the_first_that_counts_wins() {
    let snapshot = first("type: HTTP_COOKIE", 3);
    let [a, b, c] = [1, 2, 3].map(|n| value(&snapshot, n, 1));
    let two = format!("SRV=forged; x=1; SRV={b}; SRV={c}");
    assert_eq!(asked(&snapshot, &get(&[&two]), 1), (Outcome::Hit, Some(m(2))));
    snapshot.pools[0].members[0].state.set_up(false);
    let three = format!("SRV={a}");
    assert_eq!(asked(&snapshot, &get(&[&three, &two]), 1), (Outcome::Hit, Some(m(2))));
    assert_eq!(asked(&snapshot, &get(&[&three, "SRV=forged"]), 1), (Outcome::Down, None));
    assert_eq!(asked(&snapshot, &get(&["srv=x; xSRV=y; SRVx=z; SRV"]), 1), (Outcome::None, None), "other names");
    assert_eq!(asked(&snapshot, &get(&["SRV="]), 1), (Outcome::Unknown, None));
}

#[test]
fn members_see_cookies_as_the_mode_says() {
    let cut = |keys: &str, field: &str| {
        let snapshot = first(&format!("type: HTTP_COOKIE, {keys}"), 1);
        let persistence = snapshot.pools[0].persistence.as_ref().unwrap();
        let mut out = Vec::new();
        let left = persistence.write_cookie(field.as_bytes(), &mut out);
        left.then(|| String::from_utf8(out).unwrap())
    };
    let token = "AAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(cut("mode: INSERT", "a=1; SRV=x; SRV=y; b=\"2\"").as_deref(), Some("a=1; b=\"2\""));
    assert_eq!(cut("mode: INSERT", "SRV=x"), None);
    assert_eq!(cut("indirect: false", "SRV=x").as_deref(), Some("SRV=x"));
    assert_eq!(cut("mode: REWRITE", "SRV=x").as_deref(), Some("SRV=x"));
    let field = format!("SRV={token}~x~y; a={token}~b; SRV=~x; SRV={token}");
    assert_eq!(cut("mode: PREFIX", &field), Some(format!("SRV=x~y; a={token}~b; SRV=~x; SRV={token}")));
}

#[test]
fn what_a_member_sets_itself() {
    let own = sets("SRV=own; Path=/x; HttpOnly");
    let snapshot = first("type: HTTP_COOKIE", 2);
    let (flags, lines, edit) = served(&snapshot, &get(&[]), 1, &own, 1);
    assert_eq!((flags.as_str(), lines.len(), edit.drops), ("NI", 1, true));
    let (flags, lines, edit) = served(&snapshot, &cookie(&value(&snapshot, 1, 1)), 1, &own, 1);
    assert_eq!((flags.as_str(), lines.len(), edit.drops), ("VD", 0, true));
    let persistence = snapshot.pools[0].persistence.as_ref().unwrap();
    assert!(
        persistence.is_set_by(b" SRV = x") && !persistence.is_set_by(b"SRV2=x") && !persistence.is_set_by(b"a=SRV")
    );

    let kept = first("type: HTTP_COOKIE, preserve: true", 2);
    let (flags, lines, edit) = served(&kept, &get(&[]), 1, &own, 1);
    assert_eq!((flags.as_str(), lines.len(), edit.drops), ("NP", 0, false));

    let rewritten = first("type: HTTP_COOKIE, mode: REWRITE", 2);
    let token = &value(&snapshot, 2, 1);
    let (flags, lines, edit) = served(&rewritten, &get(&[]), 2, &own, 1);
    assert_eq!((flags.as_str(), edit.drops), ("NR", true));
    assert_eq!(lines, [format!("Set-Cookie: SRV={token}; Path=/x; HttpOnly")]);
    assert_eq!(served(&rewritten, &get(&[]), 2, &plain(), 1).0, "NN");
    assert_eq!(asked(&rewritten, &cookie(token), 1), (Outcome::Hit, Some(m(2))));

    let prefixed = first("type: HTTP_COOKIE, mode: PREFIX", 2);
    let (flags, lines, _) = served(&prefixed, &get(&[]), 2, &own, 1);
    assert_eq!((flags.as_str(), lines), ("NR", vec![format!("Set-Cookie: SRV={token}~own; Path=/x; HttpOnly")]));
    assert_eq!(asked(&prefixed, &cookie(&format!("{token}~own")), 1), (Outcome::Hit, Some(m(2))));
    assert_eq!(asked(&prefixed, &cookie(token), 1), (Outcome::Unknown, None));
}

#[test]
fn attributes_stand_in_haproxys_order() {
    let keys = "http_only: true, secure: true, same_site: LAX, max_age: 60, domains: [a.org, .b.org]";
    let snapshot = first(&format!("type: HTTP_COOKIE, cookie_name: id, {keys}"), 1);
    let (_, lines, _) = served(&snapshot, &get(&[]), 1, &plain(), 1);
    let (_, attributes) = lines[0].split_once("; ").unwrap();
    assert_eq!(attributes, "path=/; domain=a.org; domain=.b.org; HttpOnly; Secure; SameSite=Lax; Max-Age=60");
    assert!(lines[0].starts_with("Set-Cookie: id="));
}

#[test]
fn only_an_answer_to_a_post_where_asked() {
    let snapshot = first("type: HTTP_COOKIE, post_only: true", 1);
    assert_eq!(served(&snapshot, &get(&[]), 1, &plain(), 1).0, "NN");
    assert_eq!(served(&snapshot, &get(&[]), 1, &sets("SRV=x"), 1).0, "ND");
    let post = Request { method: "POST", ..get(&[]) };
    assert_eq!(served(&snapshot, &post, 1, &plain(), 1).0, "NI");
}

#[test]
fn cookies_age_and_are_renewed() {
    let snapshot = first("type: HTTP_COOKIE, max_idle: 60, max_life: 200", 2);
    let young = value(&snapshot, 1, 0);
    assert_eq!(young.len(), 57);
    assert_eq!(asked(&snapshot, &cookie(&young), 60), (Outcome::Hit, Some(m(1))));
    assert_eq!(asked(&snapshot, &cookie(&young), 65), (Outcome::TooIdle, None));
    let renew = |value: &str, n| {
        let (flags, lines, _) = served(&snapshot, &cookie(value), 1, &plain(), n);
        assert_eq!(flags, "VU");
        lines[0]["Set-Cookie: SRV=".len()..].split(';').next().unwrap().to_owned()
    };
    let mut value = young.clone();
    for n in [50, 100, 150, 200] {
        value = renew(&value, n);
    }
    assert_eq!(asked(&snapshot, &cookie(&value), 205), (Outcome::TooOld, None), "however often it was used");
    // Too old wins over too idle, as in HAProxy; and a good one after it is not kept out.
    assert_eq!(asked(&snapshot, &cookie(&young), 500), (Outcome::TooOld, None));
    let fresh = super::http_cookie::value(&snapshot, 2, 500);
    assert_eq!(asked(&snapshot, &get(&[&format!("SRV={young}; SRV={fresh}")]), 500), (Outcome::Hit, Some(m(2))));
    assert_eq!(asked(&snapshot, &get(&[&format!("SRV={young}; SRV=forged")]), 500), (Outcome::TooOld, None));
    // A date just written is not in the past: nothing to renew within its four seconds.
    let now = super::http_cookie::value(&snapshot, 1, 1);
    assert_eq!(served(&snapshot, &cookie(&now), 1, &plain(), 1).0, "VN");
}

#[test]
fn dates_come_and_go_with_the_document() {
    let dated = first("type: HTTP_COOKIE, max_idle: 60", 1);
    let undated = first("type: HTTP_COOKIE", 1);
    let (with, without) = (value(&dated, 1, 0), value(&undated, 1, 0));
    assert_eq!((with.len(), without.len()), (51, 22));
    assert_eq!(served(&dated, &cookie(&without), 1, &plain(), 9).0, "VU");
    let (flags, lines, _) = served(&undated, &cookie(&with), 1, &plain(), 900);
    assert_eq!((flags.as_str(), lines), ("VU", vec![format!("Set-Cookie: SRV={without}; path=/")]));
    let both = first("type: HTTP_COOKIE, max_life: 60", 1);
    assert_eq!(served(&both, &cookie(&with), 1, &plain(), 0).0, "VU", "it gets its first date");
    assert_eq!(served(&dated, &cookie(&value(&both, 1, 0)), 1, &plain(), 0).0, "VU", "and loses it");
}

#[test]
fn dates_of_tomorrow_are_believed_and_later_ones_are_not() {
    let snapshot = first("type: HTTP_COOKIE, max_idle: 60, max_life: 60", 1);
    let later = value(&snapshot, 1, 200_000);
    assert_eq!(asked(&snapshot, &cookie(&later), 200_000 - 86_396), (Outcome::Hit, Some(m(1))));
    assert_eq!(asked(&snapshot, &cookie(&later), 200_000 - 86_410), (Outcome::TooOld, None));
}

#[test]
fn private_where_a_shared_cache_could_keep_it() {
    let snapshot = first("type: HTTP_COOKIE", 1);
    let lines = |status, fields: &[(&'static str, &str)], request: &Request| {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        served(&snapshot, request, 1, &Head(status, fields), 1).1.len()
    };
    for (status, fields, expected) in [
        (200, &[][..], 1),
        (200, &[("etag", "\"x\"")][..], 2),
        (200, &[("last-modified", "x")], 2),
        (200, &[("expires", "x")], 2),
        (200, &[("cache-control", "max-age=60")], 2),
        (200, &[("cache-control", "s-maxage=60")], 2),
        (200, &[("cache-control", "private"), ("etag", "x")], 1),
        (200, &[("cache-control", "x, no-store"), ("etag", "x")], 1),
        (200, &[("cache-control", "max-age=0"), ("etag", "x")], 1),
        (302, &[("etag", "x")], 1),
        (404, &[("etag", "x")], 2),
        (308, &[("etag", "x")], 1),
        (200, &[("cache-control", "public")], 1),
        (200, &[("cache-control", "no-store, public"), ("etag", "x")], 2),
        (200, &[("pragma", "no-cache"), ("etag", "x")], 1),
    ] {
        assert_eq!(lines(status, fields, &get(&[])), expected, "{status} {fields:?}");
    }
    let post = Request { method: "POST", ..get(&[]) };
    assert_eq!(lines(200, &[("etag", "x")], &post), 1);
    let shared = first("type: HTTP_COOKIE, nocache: false", 1);
    assert_eq!(served(&shared, &get(&[]), 1, &Head(200, vec![("etag", "x".into())]), 1).1.len(), 1);
}

proptest! {
    #[test]
    fn no_other_value_is_ever_believed(other in prop_oneof!["[!-~]{0,60}", "[A-Za-z0-9_-]{22}"], dated in any::<bool>()) {
        let keys = if dated { "type: HTTP_COOKIE, max_idle: 60, max_life: 60" } else { "type: HTTP_COOKIE" };
        let snapshot = first(keys, 3);
        let real: Vec<String> = (1..=3).map(|n| value(&snapshot, n, 1)).collect();
        prop_assume!(!other.contains(';') && !real.contains(&other));
        prop_assert_eq!(asked(&snapshot, &cookie(&other), 1), (Outcome::Unknown, None));
        // Nor one with a byte changed, or cut anywhere.
        let at = other.len() % real[0].len();
        let mut forged = real[0].clone().into_bytes();
        forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
        prop_assert_eq!(asked(&snapshot, &cookie(std::str::from_utf8(&forged).unwrap()), 1).1, None);
        let cut = &real[0][..at];
        // A dated value that ends before its dates is the one without dates, which counts.
        prop_assert_eq!(asked(&snapshot, &cookie(cut), 1).1.is_some(), dated && at == 22);
    }
}
