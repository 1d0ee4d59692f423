//! Pages about header fields: which are passed on, which are not, which are added, and how large they may be.

use super::scenario::Scenario;

#[test]
fn fields_pass_in_order_and_as_written() {
    Scenario::http()
        .client_sends(
            "GET / HTTP/1.1\r\nHost: weir.test\r\nX-B: 1\r\nX-a:  two  words \r\nX-B: 3\r\nX-Empty:\r\nAccept: */*\r\n\r\n",
        )
        .same(|seen| {
            let request = seen.request();
            let names: Vec<String> = request.head.fields.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
            assert_eq!(names, ["host", "x-b", "x-a", "x-b", "x-empty", "accept"]);
            assert_eq!(request.header("x-a"), Some("two  words"));
            assert_eq!(request.head.all("x-b"), ["1", "3"]);
        });
}

#[test]
fn case_of_names() {
    Scenario::http()
        .member_answers("HTTP/1.1 200 OK\r\nX-OddCase: 1\r\nContent-Length: 2\r\n\r\nok")
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\nX-OddCase: 1\r\n\r\n")
        .differs(
            "HAProxy writes names in lower case; some clients and members look for the case they know, so it is kept",
            |haproxy| {
                assert!(String::from_utf8_lossy(&haproxy.request().head.raw).contains("x-oddcase: 1"));
                assert!(String::from_utf8_lossy(&haproxy.last().head.raw).contains("x-oddcase: 1"));
            },
            |weir| {
                assert!(String::from_utf8_lossy(&weir.request().head.raw).contains("X-OddCase: 1"));
                assert!(String::from_utf8_lossy(&weir.last().head.raw).contains("X-OddCase: 1"));
            },
        );
}

#[test]
fn eight_bit_values_pass() {
    Scenario::http()
        .client_sends(b"GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: caf\xc3\xa9\r\n\r\n".as_slice())
        .same(|seen| assert_eq!(seen.request().header("x-a"), Some("café")));
}

#[test]
fn fields_of_one_connection_are_not_passed_on() {
    Scenario::http()
        .client_sends(
            "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        )
        .differs(
            "HAProxy passes on what Connection nominates; RFC 9110 7.6.1 says it MUST be removed",
            |haproxy| assert_eq!(haproxy.request().header("x-hop"), Some("1")),
            |weir| {
                let request = weir.request();
                for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
                    assert_eq!(request.header(name), None, "{name} belongs to one connection");
                }
                assert_ne!(request.header("connection").map(str::to_ascii_lowercase), Some("x-hop".to_owned()));
            },
        );
}

#[test]
fn fields_of_the_members_connection_are_not_passed_on() {
    Scenario::http()
        .member_answers(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Content-Length: 2\r\n\r\nok",
        )
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .differs(
            "as in requests: RFC 9110 7.6.1",
            |haproxy| assert_eq!(haproxy.statuses(), [200]),
            |weir| {
                assert_eq!(weir.last().header("x-hop"), None);
                assert_eq!(weir.last().header("keep-alive"), None);
                assert!(!weir.gone());
            },
        );
}

/// Nominating what the proxy adds or what frames a message must not strip it (threats P2).
#[test]
fn nominating_important_fields_does_not_strip_them() {
    Scenario::http()
        .tune(|setup| setup.forwarded_for = true)
        .client_sends(
            "POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 3\r\nCookie: a=b\r\n\
             Connection: x-forwarded-for, host, content-length, cookie\r\n\r\nabc",
        )
        .differs(
            "HAProxy strips nothing that is nominated; we strip what may be stripped",
            |haproxy| assert_eq!(haproxy.statuses(), [200]),
            |weir| {
                if weir.statuses() == [400] {
                    return; // refusing it is safe too
                }
                let request = weir.request();
                assert_eq!(request.header("host"), Some("weir.test"));
                assert_eq!(request.body.data, b"abc");
                assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
            },
        );
}

#[test]
fn forwarded_for_is_added() {
    Scenario::http()
        .tune(|setup| setup.forwarded_for = true)
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .same(|seen| assert_eq!(seen.request().head.all("x-forwarded-for"), ["127.0.0.1"]));
}

#[test]
fn forwarded_for_joins_what_is_there() {
    Scenario::http()
        .tune(|setup| setup.forwarded_for = true)
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n\r\n")
        .same(|seen| {
            assert_eq!(seen.request().head.all("x-forwarded-for"), ["10.0.0.1, 10.0.0.2", "127.0.0.1"]);
        });
}

#[test]
fn host_missing_in_1_1() {
    Scenario::http().client_sends("GET / HTTP/1.1\r\n\r\n").differs(
        "RFC 9112 3.2: a server MUST answer 400",
        |haproxy| assert_eq!(haproxy.statuses(), [200]),
        |weir| weir.refused_with(400),
    );
}

#[test]
fn host_missing_in_1_0() {
    Scenario::http().client_sends("GET / HTTP/1.0\r\n\r\n").differs(
        "HAProxy speaks 1.0 to the member; in 1.1 there must be a Host, if only an empty one",
        |haproxy| assert_eq!(haproxy.statuses(), [200]),
        |weir| {
            assert_eq!(weir.statuses(), [200]);
            assert!(weir.request().header("host").is_some());
        },
    );
}

#[test]
fn two_hosts_that_differ() {
    Scenario::http().client_sends("GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n").same(|seen| {
        seen.refused_with(400);
    });
}

#[test]
fn two_hosts_that_agree() {
    Scenario::http().client_sends("GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n").differs(
        "RFC 9112 3.2: more than one Host line MUST be answered 400, whatever they say",
        |haproxy| assert_eq!(haproxy.statuses(), [200]),
        |weir| weir.refused_with(400),
    );
}

/// Host values that are none (threats L5).
#[test]
fn host_that_is_none() {
    for host in ["a b", "a/b", "a\0b", "a.test, b.test"] {
        Scenario::http().client_sends(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).differs(
            "HAProxy passes most on; what two servers may route differently is refused (RFC 9112 3.2)",
            |haproxy| assert_eq!(haproxy.statuses().len(), 1),
            |weir| weir.refused_with(400),
        );
    }
}

#[test]
fn large_field() {
    Scenario::http()
        .client_sends(format!("GET / HTTP/1.1\r\nHost: weir.test\r\nX-Large: {}\r\n\r\n", "x".repeat(8000)))
        .same(|seen| assert_eq!(seen.request().header("x-large").map(str::len), Some(8000)));
}

#[test]
fn large_field_from_the_member() {
    let answer = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 2\r\n\r\nok", "x".repeat(8000));
    Scenario::http()
        .member_answers(answer)
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .same(|seen| assert_eq!(seen.last().header("x-large").map(str::len), Some(8000)));
}

#[test]
fn long_target() {
    Scenario::http()
        .client_sends(format!("GET /{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", "x".repeat(7000)))
        .log_differs("HAProxy cuts a line at 1024 characters")
        .same(|seen| assert_eq!(seen.request().head.word(1).len(), 7001));
}

fn many(n: usize) -> String {
    let fields: String = (0..n).map(|n| format!("X-{n}: v{n}\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: weir.test\r\n{fields}\r\n")
}

#[test]
fn ninety_fields() {
    Scenario::http().client_sends(many(90)).same(|seen| {
        assert_eq!(seen.request().head.fields.len(), 91);
        assert_eq!(seen.request().header("x-89"), Some("v89"));
    });
}

#[test]
fn too_many_fields() {
    Scenario::http().client_sends(many(1000)).differs(
        "HAProxy calls it bad; 431 says what is wrong (RFC 6585 5)",
        |haproxy| haproxy.refused_with(400),
        |weir| weir.refused_with(431),
    );
}

#[test]
fn head_too_large() {
    Scenario::http()
        .client_sends(format!("GET / HTTP/1.1\r\nHost: weir.test\r\nX-Huge: {}\r\n\r\n", "x".repeat(300_000)))
        .differs(
            "431 says what is wrong (RFC 6585 5)",
            |haproxy| assert!(haproxy.requests.is_empty()),
            |weir| weir.refused_with(431),
        );
}

#[test]
fn target_too_long() {
    Scenario::http().client_sends(format!("GET /{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", "x".repeat(300_000))).differs(
        "414 says what is wrong (RFC 9110 15.5.15)",
        |haproxy| assert!(haproxy.requests.is_empty()),
        |weir| weir.refused_with(414),
    );
}

#[test]
fn head_of_the_member_too_large() {
    Scenario::http()
        .member_answers_and_closes(format!(
            "HTTP/1.1 200 OK\r\nX-Huge: {}\r\nContent-Length: 2\r\n\r\nok",
            "x".repeat(300_000)
        ))
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .log_differs("HAProxy calls it a bad head or a cut one as the pieces come")
        .same(|seen| assert_eq!(seen.statuses(), [502]));
}
