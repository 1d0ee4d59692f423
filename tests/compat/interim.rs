//! Pages about 1xx answers: 100-continue in all its endings, early hints, and switching protocols.

use weir_tests::wait::pause_ms;

use super::scenario::{Scenario, Seen};

const EXPECT: &str = "POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn member_says_go_on() {
    Scenario::http()
        .member(|conn| {
            let head = conn.head()?;
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            conn.body(&head)?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
        .client(|c| {
            c.send(EXPECT);
            assert!(c.one_answer("POST").expect("an interim answer"));
            c.send("hello");
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [100, 200]);
            assert_eq!(seen.request().body.data, b"hello");
            assert_eq!(seen.request().header("expect"), Some("100-continue"));
            assert!(!seen.gone());
        });
}

#[test]
fn member_declines_with_417() {
    Scenario::http()
        .member(|conn| {
            conn.head()?;
            conn.send("HTTP/1.1 417 Expectation Failed\r\nX-Member: m1\r\nContent-Length: 2\r\n\r\nno")
        })
        .client(|c| {
            c.send(EXPECT);
            c.answer();
        })
        .log_differs("whether the exchange counts as ended before the body that never came is each one's own")
        .fate_differs("the body may or may not follow: closing is the careful way, keeping it HAProxy's")
        .same(|seen| {
            assert_eq!(seen.statuses(), [417]);
            assert!(seen.request().body.data.is_empty());
        });
}

#[test]
fn member_answers_at_once_without_100() {
    fn check(seen: &Seen) {
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(seen.last().text(), "ok");
        assert!(seen.stray.is_empty());
    }
    Scenario::http()
        .member(|conn| {
            let head = conn.head()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            conn.body(&head).map(drop)
        })
        .client(|c| {
            c.send(EXPECT);
            c.answer();
            c.send("hello");
        })
        .differs(
            "HAProxy still passes the body on; closing is careful: nobody knows whether it will come",
            check,
            check,
        );
}

/// A client need not wait for the 100 for ever (RFC 9110 10.1.1).
#[test]
fn member_is_silent_and_the_client_sends_anyway() {
    Scenario::http()
        .client(|c| {
            c.send(EXPECT);
            pause_ms(50);
            c.send("hello");
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200]);
            assert_eq!(seen.request().body.data, b"hello");
            assert!(!seen.gone());
        });
}

#[test]
fn body_comes_with_the_expectation() {
    Scenario::http()
        .client(|c| {
            c.send(EXPECT.to_owned() + "hello");
            c.answer();
            c.get("/after");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200, 200]);
            assert_eq!(seen.requests[0].body.data, b"hello");
            assert_eq!(seen.requests.len(), 2);
        });
}

#[test]
fn unknown_expectation() {
    Scenario::http().client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\nExpect: the-unexpected\r\n\r\n").differs(
        "nobody can promise what nobody knows: 417 (RFC 9110 10.1.1), and no room for obfuscated 100-continue",
        |haproxy| assert_eq!(haproxy.statuses(), [200]),
        |weir| weir.refused_with(417),
    );
}

#[test]
fn early_hints_pass() {
    Scenario::http()
        .member_answers(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
        .client(|c| {
            c.get("/");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [103, 200]);
            assert_eq!(seen.responses[0].header("link"), Some("</a.css>; rel=preload"));
            assert!(!seen.gone());
        });
}

#[test]
fn several_interim_answers_pass_in_order() {
    Scenario::http()
        .member_answers(
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </1>\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nLink: </2>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
        .client(|c| {
            c.get("/");
            c.get("/again");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [102, 103, 103, 200, 102, 103, 103, 200]);
            assert!(!seen.gone());
        });
}

/// HTTP/1.0 knows no interim answers (RFC 9110 15.2).
#[test]
fn interim_answers_are_kept_from_http_1_0() {
    Scenario::http()
        .member_answers("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .client_sends("GET / HTTP/1.0\r\n\r\n")
        .differs(
            "a 1.0 client would take the interim answer for the final one",
            |haproxy| assert_eq!(haproxy.last().status(), 200),
            |weir| assert_eq!(weir.statuses(), [200]),
        );
}

#[test]
fn switching_protocols_unasked() {
    Scenario::http()
        .member_answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsurprise")
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .same(|seen| {
            assert_eq!(seen.statuses(), [502]);
            assert!(seen.stray.is_empty());
        });
}

#[test]
fn interim_answers_without_end() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            for _ in 0..200 {
                conn.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100))?;
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .differs(
            "HAProxy passes all 20,000; a bound keeps one member from holding a client for ever",
            |haproxy| assert_eq!(haproxy.last().status(), 200),
            |weir| {
                assert!(weir.responses.len() < 2000, "no bound on interim answers");
                assert!(weir.gone());
            },
        );
}
