//! L1–L6: request lines, targets, and who is meant.

use super::court::{Case, Court, SMUGGLED, arrives, get, refused, refused_with, served};

/// Versions nobody serves.
pub(super) fn l1() -> Vec<Case> {
    let rule = "RFC 9112 2.3";
    let mut cases: Vec<Case> = [
        "HTTP/0.9",
        "HTTP/0.0",
        "HTTP/1.10",
        "HTTP/1.01",
        "HTTP/01.1",
        "HTTP/2.0",
        "HTTP/3.0",
        "HTTP/9.9",
        "HTTP/1.2",
        "HTTP/1.9",
        "HTTP/11",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/",
        "HTTP",
        "HTTP/1.1x",
        "HTTP/1.1 x",
        "xHTTP/1.1",
        "http/1.1",
        "Http/1.1",
        "HTTP/1,1",
        "HTTP/1.1.1",
        "HTTP/1.x",
        "HTTP/x.1",
        "HTTP/+1.1",
        "HTTP/1.-1",
        "HTTP /1.1",
        "HTTP/ 1.1",
        "HTTP/1 .1",
        "HTTP/1. 1",
        "HTTP\\1.1",
        "HTTPS/1.1",
        "ICY/1.1",
        "RTSP/1.0",
        "SIP/2.0",
        "HTTP/1.1;",
        "HTTP/1.1\0",
        "HTTP/1.1\x0b",
        "HTTP/1.1\u{a0}",
        "HTTP-1.1",
        "HTTP/1.1,",
        "\"HTTP/1.1\"",
        "HTTP/\u{ff11}.1",
        "HTTP/1.1 ",
        " HTTP/1.1",
        "\tHTTP/1.1",
        "HTTP/1.1\t",
        "/HTTP/1.1",
        "HTTP//1.1",
    ]
    .into_iter()
    .map(|version| {
        let bytes = format!("GET / {version}\r\nHost: weir.test\r\n\r\n");
        refused_with(&[400, 505], format!("version {version:?}"), rule, bytes)
    })
    .collect();
    for (name, bytes) in [
        ("HTTP/0.9", "GET /\r\n\r\n"),
        ("HTTP/0.9 with a space", "GET / \r\n\r\n"),
        ("HTTP/0.9 with fields", "GET /\r\nHost: weir.test\r\n\r\n"),
        ("a method alone", "GET\r\n\r\n"),
        ("a method and a space", "GET \r\n\r\n"),
        ("no words", " \r\n\r\n"),
        ("a version alone", "HTTP/1.1\r\nHost: weir.test\r\n\r\n"),
        ("an answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("words in another order", "/ GET HTTP/1.1\r\nHost: weir.test\r\n\r\n"),
        ("a field first", "Host: weir.test\r\nGET / HTTP/1.1\r\n\r\n"),
    ] {
        cases.push(refused_with(&[400, 501, 505], name, rule, bytes));
    }
    cases
}

#[test]
fn l1_versions_nobody_serves() {
    Court::new().try_all(&l1());
}

/// Anything but one space between three words.
pub(super) fn l2() -> Vec<Case> {
    let rule = "RFC 9112 3";
    let mut cases: Vec<Case> = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET \t/ HTTP/1.1",
        "GET / \tHTTP/1.1",
        "\tGET / HTTP/1.1",
        "  GET / HTTP/1.1",
        "GET / HTTP/1.1 \t",
        "GET\x0b/ HTTP/1.1",
        "GET\x0c/ HTTP/1.1",
        "GET\0/ HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /a\0b HTTP/1.1",
        "GET\u{a0}/ HTTP/1.1",
        "GET /\u{a0}HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET\r/ HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET /a\rb HTTP/1.1",
        "GET\n/ HTTP/1.1",
        "GET /\nHTTP/1.1",
        "GET /a\nb HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a b c HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET /a HTTP/1.1 HTTP/1.1",
        "GET /a HTTP/1.1/b HTTP/1.1x",
        "G\0ET / HTTP/1.1",
        "G ET / HTTP/1.1",
        "G\tET / HTTP/1.1",
        "GE\u{e9}T / HTTP/1.1",
        "\"GET\" / HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET, / HTTP/1.1",
        "(GET) / HTTP/1.1",
        "[GET] / HTTP/1.1",
        "{GET} / HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET= / HTTP/1.1",
        "\u{feff}GET / HTTP/1.1",
        "\x7fGET / HTTP/1.1",
        "\x01GET / HTTP/1.1",
        "\x1bGET / HTTP/1.1",
        "GET?/ HTTP/1.1",
        "GET/ HTTP/1.1",
        "GET /HTTP/1.1",
        "GET / HTTP/1.1\0",
    ]
    .into_iter()
    .map(|line| refused_with(&[400, 505], format!("{line:?}"), rule, format!("{line}\r\nHost: weir.test\r\n\r\n")))
    .collect();
    for method in ["get", "Get", "FOO", "A", "M-SEARCH", "X_Y", "!#$%&'*+-.^`|~", "GETGET", "0"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        cases.push(served(format!("another method, {method}"), "RFC 9110 9.1", &head, [arrives(&head, "")]));
    }
    cases
}

#[test]
fn l2_anything_but_one_space_between_three_words() {
    Court::new().try_all(&l2());
}

/// A target that two readers end at different places.
pub(super) fn l3() -> Vec<Case> {
    let rule = "RFC 9112 3.2; CVE-2023-45539";
    let mut cases: Vec<Case> =
        ["/a#b", "/#", "/a#", "/a?b#c", "/a%23b#c", "#", "http://weir.test/a#b", "http://weir.test#/a", "/admin#.png"]
            .into_iter()
            .map(|target| refused(target, rule, format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n")))
            .collect();
    for byte in (0..=255u8).filter(|b| !b.is_ascii_graphic()) {
        let bytes = [b"GET /a", &[byte][..], b"b HTTP/1.1\r\nHost: weir.test\r\n\r\n"].concat();
        cases.push(refused_with(&[400, 505], format!("{byte:#04x} in a target"), rule, bytes));
    }
    for target in [
        "/a%23b",
        "/a%00b",
        "/a%0d%0ab",
        "/..%2f",
        "/a/../b",
        "//a",
        "//evil.test/",
        "/a?b?c",
        "/a;b=c",
        "/%",
        "/a%zz",
        "/?",
        "/a:b@c",
        "/a//b/./c",
        "/\\a",
        "/a|b",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        cases.push(served(format!("passes as it is: {target}"), rule, &head, [arrives(&head, "")]));
    }
    cases
}

#[test]
fn l3_targets_that_two_readers_end_at_different_places() {
    Court::new().try_all(&l3());
}

/// Whole URIs.
pub(super) fn l4() -> Vec<Case> {
    let rule = "RFC 9112 3.2.2";
    let mut cases = Vec::new();
    for (target, host, path, meant) in [
        ("http://other.test/p", "weir.test", "/p", "other.test"),
        ("http://weir.test/p?q", "weir.test", "/p?q", "weir.test"),
        ("http://other.test", "weir.test", "/", "other.test"),
        ("http://other.test:81/p", "weir.test:80", "/p", "other.test:81"),
        ("HTTP://other.test/p", "weir.test", "/p", "other.test"),
        ("https://other.test/p", "weir.test", "/p", "other.test"),
        ("http://[::1]:81/p", "weir.test", "/p", "[::1]:81"),
        ("http://other.test/http://third.test/", "weir.test", "/http://third.test/", "other.test"),
        ("http://other.test//p", "weir.test", "//p", "other.test"),
        ("http://OTHER.test/p", "", "/p", "OTHER.test"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n\r\n");
        let head = format!("GET {path} HTTP/1.1\r\nHost: {meant}\r\nX-A: b\r\n\r\n");
        cases.push(served(format!("{target}, Host {host}"), rule, bytes, [arrives(&head, "")]));
    }
    let old = "GET http://other.test/p HTTP/1.0\r\n\r\n";
    cases.push(served(
        "in HTTP/1.0 without Host",
        rule,
        old,
        [arrives("GET /p HTTP/1.1\r\nHost: other.test\r\n\r\n", "")],
    ));
    let whole = "OPTIONS http://other.test HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    cases.push(served(
        "OPTIONS without a path",
        rule,
        whole,
        [arrives("OPTIONS * HTTP/1.1\r\nHost: other.test\r\n\r\n", "")],
    ));
    for target in [
        "http://",
        "http:///p",
        "http:/p",
        "http:p",
        "http://user@other.test/",
        "http://user:pass@other.test/",
        "http://other.test:x/",
        "http://other.test:80:80/",
        "http://other.test,weir.test/",
        "http://other.test:999999/",
        "http://[::1/",
        "http://[]/",
        "http://[::1]x/",
        "http://other test/",
        "http://other.test\\@weir.test/",
        "http://other\".test/",
        "ftp://other.test/",
        "file:///etc/passwd",
        "javascript:x",
        "ws://other.test/",
        "httpx://other.test/",
        "://other.test/",
        "http//other.test/",
        "http://@/",
        "http://:80/",
        "http://other.test<>/",
        "http://\u{e9}.test/",
        "mailto:a@b",
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        cases.push(refused(target, rule, bytes));
    }
    for host in ["Host: a\r\nHost: b\r\n", "", "Host: a/b\r\n", "Host: a b\r\n"] {
        let bytes = format!("GET http://other.test/ HTTP/1.1\r\n{host}\r\n");
        cases.push(refused(format!("a whole URI with {host:?}"), rule, bytes));
    }
    cases
}

#[test]
fn l4_the_authority_of_a_whole_uri_wins() {
    Court::new().try_all(&l4());
}

/// Hosts that are none, or more than one.
pub(super) fn l5() -> Vec<Case> {
    let rule = "RFC 9112 3.2, RFC 9110 7.2";
    let mut cases = Vec::new();
    let with = |lines: &[u8]| [b"GET / HTTP/1.1\r\n", lines, b"X-A: b\r\n\r\n"].concat();
    for lines in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: weir.test\r\nHost: weir.test\r\n",
        "Host: weir.test\r\nhost: evil.test\r\n",
        "Host: weir.test\r\nHost:\r\n",
        "Host:\r\nHost: weir.test\r\n",
        "Host: weir.test\r\nX-C: d\r\nHOST: evil.test\r\n",
        "Host: weir.test\r\n Host: evil.test\r\n",
        " Host: weir.test\r\n",
        "Host : weir.test\r\n",
        "Host\r\n",
        "Hosts: weir.test\r\n",
        "Ho\0st: weir.test\r\n",
        "H\u{f6}st: weir.test\r\n",
        "Host: weir.test\nHost: evil.test\r\n",
    ] {
        cases.push(refused(format!("{lines:?}"), rule, with(lines.as_bytes())));
    }
    let values: &[&[u8]] = &[
        b"weir.test/",
        b"weir.test/path",
        b"/weir.test",
        b"weir test",
        b"weir.test evil.test",
        b"weir.test\tevil.test",
        b"weir.test, evil.test",
        b"weir.test,evil.test",
        b"weir.test,",
        b",weir.test",
        b"weir.test:80,evil.test",
        b"weir%41,evil",
        b"weir\0test",
        b"weir.test\0",
        b"weir.test\x0b",
        b"weir.test\x7f",
        b"user@weir.test",
        b"user:pass@weir.test",
        b"@weir.test",
        b"http://weir.test",
        b"//weir.test",
        b"weir.test?q",
        b"weir.test#f",
        b"weir.test:x",
        b"weir.test:80x",
        b"weir.test:80:80",
        b"weir.test:-1",
        b"weir.test:+80",
        b"weir.test: 80",
        b"weir.test :80",
        b":80",
        b":",
        b"weir.test:999999",
        b"weir.test:99999",
        b"weir.test:65536",
        b"[::1",
        b"::1]",
        b"[::1]x",
        b"[::1]:x",
        b"[]",
        b"[g::1]",
        b"[weir.test]",
        b"weir.test\\",
        b"\\weir.test",
        b"weir\"test",
        b"\"weir.test\"",
        b"<weir.test>",
        b"{weir.test}",
        b"weir|test",
        b"weir^test",
        b"weir`test",
        b"w\xe9ir.test",
        b"\xffweir.test",
        b"weir.test\xa0",
        b"weir.test\rx",
        b"weir.test[",
        b"we[ir].test",
        b"1.2.3.4/24",
        b"%",
        b"%zz",
        b"weir%2",
    ];
    for value in values {
        let name = format!("Host: {}", String::from_utf8_lossy(value));
        cases.push(refused(name, rule, with(&[b"Host: ", *value, b"\r\n"].concat())));
    }
    for value in [
        "weir.test",
        "WEIR.test",
        "weir.test:80",
        "weir.test:",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "[::ffff:1.2.3.4]",
        "weir_1.test",
        "localhost",
        "a",
        "weir.test.",
        "xn--bcher-kva.test",
        "we%69r.test",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {value}\r\nX-A: b\r\n\r\n");
        cases.push(served(format!("a good one, {value}"), rule, &head, [arrives(&head, "")]));
    }
    cases
}

#[test]
fn l5_hosts_that_are_none_or_more_than_one() {
    Court::new().try_all(&l5());
}

/// What is for forward proxies, and paths that are none.
pub(super) fn l6() -> Vec<Case> {
    let rule = "RFC 9110 9.3.6, RFC 9112 3.2";
    let mut cases = Vec::new();
    for target in [
        "weir.test:443",
        "weir.test:80",
        "127.0.0.1:22",
        "[::1]:443",
        "/",
        "*",
        "http://weir.test/",
        "weir.test",
        ":443",
    ] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        cases.push(refused_with(&[400, 405, 501], format!("CONNECT {target}"), rule, bytes));
    }
    let bytes = "CONNECT weir.test:443 HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\nhello";
    cases.push(refused_with(&[400, 405, 501], "CONNECT with a body", rule, bytes));
    let bytes = "CONNECT weir.test:443 HTTP/1.0\r\n\r\n";
    cases.push(refused_with(&[400, 405, 501], "CONNECT in HTTP/1.0", rule, bytes));
    for target in [
        "*",
        "**",
        "*/",
        "/*#",
        "a",
        "index.html",
        "a/b",
        "./a",
        "../a",
        "?q",
        "?",
        "..",
        ".",
        "@",
        "weir.test",
        "weir.test:80",
        "weir.test/a",
        "\\a",
        "%2fa",
        ";a",
        "&",
        "1",
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n");
        cases.push(refused(format!("GET {target}"), rule, bytes));
    }
    for method in ["POST", "HEAD", "DELETE", "TRACE", "options"] {
        let bytes = format!("{method} * HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 0\r\n\r\n");
        cases.push(refused(format!("{method} *"), rule, bytes));
    }
    let head = "OPTIONS * HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    cases.push(served("OPTIONS *", rule, format!("{head}{SMUGGLED}"), [arrives(head, ""), arrives(SMUGGLED, "")]));
    let plain = arrives("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n", "");
    cases.push(served("GET /", rule, get(""), [plain]));
    cases
}

#[test]
fn l6_no_tunnel_and_no_path_that_is_none() {
    Court::new().try_all(&l6());
}
