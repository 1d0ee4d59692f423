//! How a pool remembers its clients: what is left out, every word, and each mistake at its place.

use super::{legal, mistakes};
use crate::config::persistence::*;

/// A pool of that protocol with this persistence, which begins at column 26 of line 7.
fn document(protocol: &str, keys: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: {protocol}\n    \
         lb_algorithm: ROUND_ROBIN\n    session_persistence: {{{keys}}}\n"
    )
}

fn read(keys: &str) -> SessionPersistence {
    legal(&document("HTTP", keys)).pools.remove(0).session_persistence.expect("persistence")
}

#[test]
fn what_is_left_out_has_its_default() {
    let by = SourceIp { timeout_s: None, ipv4_prefix: 32, ipv6_prefix: 128, table_size: 10_240 };
    assert_eq!(read("type: SOURCE_IP"), SessionPersistence::SourceIp(by));
    let octavia = "cookie_name: null, persistence_timeout: null, persistence_granularity: null";
    let SessionPersistence::HttpCookie(by) = read(&format!("type: HTTP_COOKIE, {octavia}")) else { panic!() };
    assert_eq!(by.cookie_name, "SRV");
    let CookieMode::Insert(insert) = by.mode else { panic!() };
    assert!(insert.indirect && insert.nocache);
    assert!(!insert.post_only && !insert.preserve && !insert.http_only && !insert.secure);
    assert_eq!((insert.same_site, insert.domains.len(), insert.max_age_s), (None, 0, None));
    assert_eq!((insert.max_idle_s, insert.max_life_s), (None, None));
    let by = AppCookie {
        cookie_name: "JSESSIONID".into(),
        timeout_s: 10_800,
        length: 64,
        in_url: None,
        request_learn: false,
        prefix: false,
        table_size: 10_240,
    };
    assert_eq!(read("type: APP_COOKIE, cookie_name: JSESSIONID"), SessionPersistence::AppCookie(by));
    let nothing = legal(
        "loadbalancer: {vip_address: 10.0.0.1, pools: [{name: a, protocol: TCP, lb_algorithm: SOURCE_IP, session_persistence: null}]}",
    );
    assert_eq!(nothing.pools[0].session_persistence, None);
}

#[test]
fn masks_are_read_as_prefixes() {
    for (mask, prefix) in [("255.255.255.255", 32), ("255.255.254.0", 23), ("128.0.0.0", 1), ("0.0.0.0", 0)] {
        let by = read(&format!("type: SOURCE_IP, persistence_granularity: {mask}, ipv6_prefix: 64"));
        assert!(matches!(by, SessionPersistence::SourceIp(by) if by.ipv4_prefix == prefix && by.ipv6_prefix == 64));
    }
}

#[test]
fn every_word_of_a_cookie_is_read() {
    let SessionPersistence::HttpCookie(by) = read(
        "type: HTTP_COOKIE, cookie_name: id~1, mode: INSERT, indirect: false, nocache: false, post_only: true, \
         preserve: true, http_only: true, secure: true, same_site: NONE, domains: [example.org, .example.net], \
         max_age: 1, max_idle: 2, max_life: 3",
    ) else {
        panic!()
    };
    let CookieMode::Insert(insert) = by.mode else { panic!() };
    assert!(insert.post_only && insert.preserve && insert.http_only && insert.secure);
    assert!(!insert.indirect && !insert.nocache);
    assert_eq!(insert.same_site, Some(SameSite::None));
    assert_eq!(insert.domains, ["example.org", ".example.net"]);
    assert_eq!((insert.max_age_s, insert.max_idle_s, insert.max_life_s), (Some(1), Some(2), Some(3)));
    for (word, mode) in [("REWRITE", CookieMode::Rewrite), ("PREFIX", CookieMode::Prefix)] {
        let by = read(&format!("type: HTTP_COOKIE, mode: {word}"));
        assert!(matches!(by, SessionPersistence::HttpCookie(by) if by.mode == mode));
    }
    for (word, place) in [("PATH_PARAMETER", InUrl::PathParameter), ("QUERY", InUrl::Query)] {
        let by = read(&format!("type: APP_COOKIE, cookie_name: s, in_url: {word}"));
        assert!(matches!(by, SessionPersistence::AppCookie(by) if by.in_url == Some(place)));
    }
}

#[test]
fn each_mistake_is_told_where_it_stands() {
    for (protocol, keys, expected) in [
        ("HTTP", "cookie_name: x", "7:26 `type` is missing | `session_persistence` needs it"),
        (
            "HTTP",
            "type: SOURCE_IP, mode: INSERT",
            "7:44 `mode` is only for persistence by HTTP_COOKIE, and this is by SOURCE_IP | leave it out",
        ),
        (
            "HTTP",
            "type: SOURCE_IP, cookie_name: x",
            "7:44 `cookie_name` is only for persistence by HTTP_COOKIE and APP_COOKIE, and this is by SOURCE_IP | leave it out",
        ),
        (
            "HTTP",
            "type: HTTP_COOKIE, table_size: 5",
            "7:46 `table_size` is only for persistence by SOURCE_IP and APP_COOKIE, and this is by HTTP_COOKIE | leave it out",
        ),
        (
            "HTTP",
            "type: HTTP_COOKIE, mode: REWRITE, secure: true",
            "7:61 `secure` is only for `mode: INSERT`, and this is `REWRITE` | leave it out",
        ),
        (
            "HTTP",
            "type: APP_COOKIE",
            "7:26 APP_COOKIE needs a `cookie_name` | name the cookie in which the application keeps its session, like `JSESSIONID`",
        ),
        (
            "HTTP",
            "type: APP_COOKIE, cookie_name: 'a b'",
            "7:58 `a b` is no name of a cookie | letters, digits and !#$%&'*+-.^_`|~",
        ),
        (
            "HTTP",
            "type: APP_COOKIE, cookie_name: ''",
            "7:58 this may not be empty | write a value or leave the key out",
        ),
        (
            "TCP",
            "type: HTTP_COOKIE",
            "7:33 HTTP_COOKIE needs a pool of protocol HTTP, and this one is TCP | use `SOURCE_IP`",
        ),
        (
            "HTTPS",
            "type: APP_COOKIE, cookie_name: x",
            "7:33 APP_COOKIE needs a pool of protocol HTTP, and this one is HTTPS | use `SOURCE_IP`",
        ),
        (
            "TCP",
            "type: SOURCE_IP, persistence_granularity: '24'",
            "7:69 `24` is no IPv4 netmask | did you mean `255.255.255.0`?",
        ),
        (
            "TCP",
            "type: SOURCE_IP, persistence_granularity: 0.255.0.0",
            "7:69 `0.255.0.0` is no IPv4 netmask | like `255.255.255.0`: ones, then zeros",
        ),
        ("TCP", "type: SOURCE_IP, persistence_timeout: 0", "7:65 0 is out of range | from 1 to 31536000"),
        ("TCP", "type: SOURCE_IP, table_size: 1048577", "7:56 1048577 is out of range | from 1 to 1048576"),
        ("TCP", "type: SOURCE_IP, ipv6_prefix: 0", "7:57 0 is out of range | from 1 to 128"),
        (
            "HTTP",
            "type: HTTP_COOKIE, same_site: NONE",
            "7:57 browsers drop a cookie with `same_site: NONE` that is not `secure` | add `secure: true`",
        ),
        ("HTTP", "type: HTTP_COOKIE, same_site: strict", "7:57 unknown word `strict` | did you mean `STRICT`?"),
        (
            "HTTP",
            "type: HTTP_COOKIE, domains: [a_b, 'x y']",
            "7:61 `x y` is no domain | letters, digits, hyphens and dots, like `example.org` or `.example.org`",
        ),
        ("HTTP", "type: HTTP_COOKIES", "7:33 unknown word `HTTP_COOKIES` | did you mean `HTTP_COOKIE`?"),
    ] {
        assert_eq!(mistakes(&document(protocol, keys)), [expected], "{keys}");
    }
}

#[test]
fn a_listener_that_reads_no_requests_cannot_use_cookies() {
    for (kind, refused) in [("type: HTTP_COOKIE", true), ("type: SOURCE_IP", false)] {
        let text = document("HTTP", kind)
            + "  listeners: [{protocol: TCP, protocol_port: 80, default_pool: {name: a}},\n    \
               {protocol: HTTP, protocol_port: 81, default_pool: {name: a}}]\n";
        if !refused {
            legal(&text);
            continue;
        }
        assert_eq!(
            mistakes(&text),
            ["8:71 the `session_persistence` of this pool needs cookies, which a TCP listener does not read | \
              use `SOURCE_IP`, or a listener of protocol HTTP"]
        );
    }
}
