//! Persistence: HAProxy's `cookie` in its three ways, and stick tables. Values differ, and are masked.

use std::time::SystemTime;

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::member::sized;
use weir_tests::setup::Setup;
use weir_tests::wait::{PATIENCE, until_true};

use super::scenario::{Scenario, Seen};

/// As long as a value of ours, so that sizes in log lines can be compared.
const VALUE: &str = "HAProxys-value-of-m1--";

/// A member that answers with the fields it is sent as `X-Field`, in the order sent.
fn page(haproxy: &str, persistence: Value) -> Scenario {
    let haproxy = haproxy.to_owned();
    let tune = move |setup: &mut Setup| {
        setup.pool = json!({ "session_persistence": persistence });
        setup.haproxy_backend = format!("  {haproxy}\n");
        setup.haproxy_server = format!("cookie {VALUE}");
    };
    Scenario::http()
        .member(|conn| {
            loop {
                let (head, _) = conn.request()?;
                let fields: String = head.all("x-field").iter().map(|field| format!("{field}\r\n")).collect();
                let status = head.get("x-status").and_then(|s| s.parse().ok()).unwrap_or(200);
                conn.send(sized(status, &format!("X-Member: m1\r\n{fields}"), b"hello", false))?;
            }
        })
        .tune(tune)
        .masks(masked)
}

/// Values of both programs as one word, with their dates as another.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("SRV=") {
        let (before, after) = rest.split_at(at + 4);
        out.push_str(before);
        rest = after;
        let value = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let len = rest.find(|c| !value(c)).unwrap_or(rest.len());
        if len == VALUE.len() {
            out.push('V');
            rest = &rest[len..];
            // HAProxy: `|last|first`. Weir: the same, and a keyed hash of it.
            let dates = rest.find(|c: char| c != '|' && c != '+' && c != '/' && !value(c)).unwrap_or(rest.len());
            let parts: Vec<&str> = rest[..dates].split('|').skip(1).collect();
            out.extend(parts.iter().filter(|part| part.len() == 5).map(|_| "|D"));
            rest = &rest[dates..];
        }
    }
    out + rest
}

fn request(client: &mut Client, method: &str, fields: &str) {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{length}{fields}\r\n"));
    client.answer_to(method);
}

/// What the client was last given, to be sent back.
fn given(client: &Client) -> String {
    let mut sets = client.responses.iter().flat_map(|r| r.head.all("set-cookie")).filter(|set| set.starts_with("SRV="));
    sets.next_back().and_then(|set| set.split(';').next()).expect("a cookie").to_owned()
}

fn sets(seen: &Seen) -> Vec<Vec<String>> {
    seen.responses.iter().map(|r| r.head.all("set-cookie").into_iter().map(masked).collect()).collect()
}

fn terminations(seen: &Seen) -> Vec<String> {
    let parse = |line: &String| weir_tests::log_line::LogLine::parse(line).unwrap().termination().to_owned();
    seen.log.iter().map(parse).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn inserted_once_and_cut_out() {
    page("cookie SRV insert indirect nocache", json!({"type": "HTTP_COOKIE"}))
        .client(|c| {
            request(c, "GET", "");
            let cookie = given(c);
            request(c, "GET", &format!("Cookie: a=1; {cookie}; b=\"x y\"\r\n"));
            request(c, "GET", &format!("Cookie: {cookie}\r\n"));
            request(c, "GET", "Cookie: SRV=unknown; a=1\r\n");
            request(c, "GET", &format!("Cookie: SRV=unknown; {cookie}; {cookie}\r\n"));
        })
        .same(|seen| {
            let set = ["SRV=V; path=/".to_owned()];
            assert_eq!(sets(seen), [&set[..], &[], &[], &set, &[]]);
            assert_eq!(terminations(seen), ["--NI", "--VN", "--VN", "--II", "--VN"]);
            let cookies: Vec<_> = seen.requests.iter().map(|r| r.header("cookie")).collect();
            assert_eq!(cookies, [None, Some("a=1; b=\"x y\""), None, Some("a=1"), None]);
        });
}

#[test]
fn members_may_see_it() {
    page("cookie SRV insert", json!({"type": "HTTP_COOKIE", "indirect": false, "nocache": false}))
        .client(|c| {
            request(c, "GET", "");
            let cookie = given(c);
            request(c, "GET", &format!("Cookie: a=1; {cookie}\r\n"));
        })
        .same(|seen| {
            let cookie = seen.requests[1].header("cookie").map(masked);
            assert_eq!(cookie.as_deref(), Some("a=1; SRV=V"));
        });
}

#[test]
fn attributes_in_their_order() {
    let keys = json!({
        "type": "HTTP_COOKIE", "nocache": false, "http_only": true, "secure": true, "same_site": "LAX",
        "max_age": 60, "domains": ["a.example.org", ".example.net"],
    });
    let line = "cookie SRV insert indirect httponly secure domain a.example.org domain .example.net \
                attr \"SameSite=Lax\" attr \"Max-Age=60\"";
    page(line, keys).client(|c| request(c, "GET", "")).same(|seen| {
        let attributes =
            "path=/; domain=a.example.org; domain=.example.net; HttpOnly; Secure; SameSite=Lax; Max-Age=60";
        assert_eq!(sets(seen), [[format!("SRV=V; {attributes}")]]);
    });
}

#[test]
fn a_cookie_of_the_same_name_is_deleted_or_preserved() {
    let own = "X-Field: Set-Cookie: SRV=mine; Path=/x\r\nX-Field: Set-Cookie: other=1\r\n";
    let client = move |c: &mut Client| {
        request(c, "GET", own);
        let cookie = given(c);
        request(c, "GET", &format!("{own}Cookie: {cookie}\r\n"));
    };
    page("cookie SRV insert indirect nocache", json!({"type": "HTTP_COOKIE"})).client(client).same(|seen| {
        assert_eq!(terminations(seen), ["--NI", "--VD"]);
        assert_eq!(sets(seen)[1], ["other=1"]);
    });
    page("cookie SRV insert indirect preserve", json!({"type": "HTTP_COOKIE", "preserve": true, "nocache": false}))
        .client(client)
        .same(|seen| {
            assert_eq!(terminations(seen), ["--NP", "--IP"]);
            assert_eq!(sets(seen)[0], ["SRV=mine; Path=/x", "other=1"]);
        });
}

#[test]
fn only_answers_to_a_post() {
    page("cookie SRV insert indirect postonly", json!({"type": "HTTP_COOKIE", "post_only": true, "nocache": false}))
        .client(|c| {
            request(c, "GET", "");
            request(c, "POST", "");
            let cookie = given(c);
            request(c, "POST", &format!("Cookie: {cookie}\r\n"));
        })
        .same(|seen| assert_eq!(terminations(seen), ["--NN", "--NI", "--VN"]));
}

#[test]
fn values_are_rewritten() {
    page("cookie SRV rewrite", json!({"type": "HTTP_COOKIE", "mode": "REWRITE"}))
        .client(|c| {
            request(c, "GET", "");
            request(c, "GET", "X-Field: Set-Cookie: SRV=mine; Path=/x\r\nX-Field: Set-Cookie: other=1\r\n");
            let cookie = given(c);
            request(c, "GET", &format!("Cookie: {cookie}; a=1\r\n"));
            request(c, "GET", "Cookie: SRV=mine\r\n");
        })
        .same(|seen| {
            assert_eq!(terminations(seen), ["--NN", "--NR", "--VN", "--IN"]);
            assert_eq!(sets(seen)[1], ["SRV=V; Path=/x", "other=1"]);
            assert_eq!(seen.requests[3].header("cookie"), Some("SRV=mine"));
        });
}

#[test]
fn values_get_a_prefix() {
    page("cookie SRV prefix", json!({"type": "HTTP_COOKIE", "mode": "PREFIX"}))
        .client(|c| {
            request(c, "GET", "X-Field: Set-Cookie: SRV=mine~1; Path=/x\r\n");
            let cookie = given(c);
            request(c, "GET", &format!("Cookie: b=2; {cookie}; a=1\r\n"));
            request(c, "GET", "Cookie: SRV=mine\r\n");
        })
        .same(|seen| {
            assert_eq!(sets(seen), [&["SRV=V~mine~1; Path=/x".to_owned()][..], &[], &[]]);
            assert_eq!(terminations(seen), ["--NR", "--VN", "--IN"]);
            let cookies: Vec<_> = seen.requests.iter().map(|r| r.header("cookie")).collect();
            assert_eq!(cookies, [None, Some("b=2; SRV=mine~1; a=1"), Some("SRV=mine")]);
        });
}

#[test]
fn shared_caches_are_told() {
    for fields in [
        "",
        "X-Field: ETag: \"x\"\r\n",
        "X-Field: Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n",
        "X-Field: Expires: Mon, 01 Jan 2035 00:00:00 GMT\r\n",
        "X-Field: Cache-Control: max-age=60\r\n",
        "X-Field: Cache-Control: s-maxage=60\r\n",
        "X-Field: Cache-Control: max-age=0\r\n",
        "X-Field: Cache-Control: max-age=0\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: public\r\n",
        "X-Field: Cache-Control: public, no-store\r\n",
        "X-Field: Cache-Control: no-store, public\r\n",
        "X-Field: Cache-Control: public\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: no-store, public\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: public, no-store\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: max-age=0, public\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: max-age=0, max-age=60\r\n",
        "X-Field: Cache-Control: private\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: no-cache\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: No-Store\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: must-revalidate\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: no-cache=\"set-cookie\"\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Cache-Control: max-age=60, private\r\n",
        "X-Field: Pragma: no-cache\r\nX-Field: ETag: \"x\"\r\n",
        "X-Field: Vary: *\r\nX-Field: ETag: \"x\"\r\n",
    ] {
        page("cookie SRV insert indirect nocache", json!({"type": "HTTP_COOKIE"}))
            .client(move |c| request(c, "GET", fields))
            .same(|seen| assert_eq!(sets(seen), [["SRV=V; path=/"]]));
    }
}

#[test]
fn what_shared_caches_keep_hangs_on_method_and_status() {
    page("cookie SRV insert indirect nocache", json!({"type": "HTTP_COOKIE"}))
        .client(|c| {
            let etag = "X-Field: ETag: \"x\"\r\n";
            for method in ["GET", "POST", "PUT", "OPTIONS", "DELETE"] {
                request(c, method, etag);
            }
            for status in
                [200, 201, 202, 203, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 500, 501]
            {
                request(c, "GET", &format!("X-Status: {status}\r\n{etag}"));
            }
        })
        .same(|seen| assert_eq!(seen.responses.len(), 25));
}

/// Waits until the date of a cookie, which counts in units of four seconds, stays the same for two more.
#[expect(clippy::disallowed_methods, reason = "dates are of the wall clock")]
fn begin_a_unit_of_dates() {
    until_true(PATIENCE, "the beginning of a unit of dates", || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        (now.as_secs() + 3) % 4 < 2
    });
}

#[test]
fn dates_are_given_and_kept() {
    for (line, keys, dates) in [
        ("maxidle 60s", json!({"type": "HTTP_COOKIE", "max_idle": 60}), "|D"),
        ("maxlife 60s", json!({"type": "HTTP_COOKIE", "max_life": 60}), "|D|D"),
        ("maxidle 60s maxlife 2m", json!({"type": "HTTP_COOKIE", "max_idle": 60, "max_life": 120}), "|D|D"),
    ] {
        page(&format!("cookie SRV insert indirect nocache {line}"), keys)
            .log_differs("a value of ours is longer by the keyed hash behind its dates")
            .client(|c| {
                begin_a_unit_of_dates();
                request(c, "GET", "");
                let cookie = given(c);
                request(c, "GET", &format!("Cookie: {cookie}\r\n"));
                // Without its dates.
                let undated = cookie.split('|').next().unwrap_or_default().to_owned();
                request(c, "GET", &format!("Cookie: {undated}\r\n"));
            })
            .same(|seen| {
                let set = format!("SRV=V{dates}; path=/");
                assert_eq!(sets(seen), [&[set.clone()][..], &[], &[set]]);
                assert_eq!(terminations(seen), ["--NI", "--VN", "--VU"]);
            });
    }
}

#[test]
fn a_stick_table_says_nothing_in_heads_and_lines() {
    page("stick-table type ip size 10k\n  stick on src", json!({"type": "SOURCE_IP"}))
        .client(|c| {
            request(c, "GET", "");
            request(c, "GET", "Cookie: SRV=x\r\nX-Field: Set-Cookie: SRV=y\r\n");
        })
        .same(|seen| {
            assert_eq!(terminations(seen), ["----", "----"]);
            assert_eq!(seen.requests[1].header("cookie"), Some("SRV=x"));
            assert_eq!(sets(seen), [&NONE[..], &["SRV=y"]]);
        });
    let line =
        "stick-table type string len 64 size 10k\n  stick store-response res.cook(SRV)\n  stick match req.cook(SRV)";
    page(line, json!({"type": "APP_COOKIE", "cookie_name": "SRV"}))
        .log_differs("HAProxy's tables say nothing of cookies; its flags say it of ours")
        .client(|c| {
            request(c, "GET", "X-Field: Set-Cookie: SRV=y; Path=/\r\n");
            request(c, "GET", "Cookie: a=1; SRV=y\r\n");
        })
        .same(|seen| {
            assert_eq!(seen.requests[1].header("cookie"), Some("a=1; SRV=y"));
            assert_eq!(sets(seen), [&["SRV=y; Path=/"][..], &NONE]);
        });
}

#[test]
fn quotes_hide_no_semicolon() {
    page("cookie SRV insert indirect", json!({"type": "HTTP_COOKIE", "nocache": false}))
        .client(|c| {
            request(c, "GET", "");
            let cookie = given(c);
            request(c, "GET", &format!("Cookie: a=\"x; {cookie}; b=\"y\"\r\n"));
        })
        .differs(
            "RFC 6265 section 4.2.1 knows no semicolon inside quotes, and browsers and servers split at each: a quote \
             that is not closed must not hide a cookie",
            |seen| assert_eq!(terminations(seen)[1], "--NI"),
            |seen| {
                assert_eq!(terminations(seen)[1], "--VN");
                assert_eq!(seen.requests[1].header("cookie"), Some("a=\"x; b=\"y\""));
            },
        );
}
