//! What asks to become something else than HTTP: what members are asked for, what they may answer, what is logged.

use weir_tests::message::End;
use weir_tests::websocket::{ACCEPT, KEY, ask, echo_bytes, switching};

use super::scenario::Scenario;

/// A member that switches, then sends back what it gets.
fn switching_member() -> Scenario {
    Scenario::http().member(|conn| {
        let head = conn.head()?;
        conn.send(switching(&head))?;
        echo_bytes(conn)
    })
}

#[test]
fn a_websocket() {
    switching_member()
        .client(|client| {
            client.send(ask("/ws"));
            assert_eq!(client.answer().status(), 101);
            client.send("hello");
            client.take(5);
            client.half_close();
            assert_eq!(client.take_to_end(), End::Closed);
        })
        .same(|seen| {
            let request = seen.request();
            assert_eq!(
                (request.header("upgrade"), request.header("sec-websocket-key")),
                (Some("websocket"), Some(KEY))
            );
            assert!(request.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")));
            assert_eq!(seen.last().header("sec-websocket-accept"), Some(ACCEPT));
            assert_eq!(seen.last().header("upgrade"), Some("websocket"));
            assert_eq!(seen.stray, b"hello");
        });
}

#[test]
fn bytes_sent_before_the_switch() {
    switching_member()
        .client(|client| {
            client.send(format!("{}early", ask("/ws")));
            assert_eq!(client.answer().status(), 101);
            client.take(5);
            client.half_close();
            client.take_to_end();
        })
        .same(|seen| assert_eq!(seen.stray, b"early"));
}

#[test]
fn another_protocol() {
    switching_member()
        .client(|client| {
            client.send("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
            assert_eq!(client.answer().status(), 101);
            client.send("hello");
            client.take(5);
            client.half_close();
            client.take_to_end();
        })
        .same(|seen| assert_eq!(seen.request().header("upgrade"), Some("SPDY/3.1")));
}

#[test]
fn a_member_that_does_not_switch() {
    Scenario::http()
        .client(|client| {
            client.send(format!("{}GET /next HTTP/1.1\r\nHost: weir.test\r\n\r\n", ask("/")));
            client.answer();
            client.answer();
        })
        .same(|seen| {
            assert_eq!(seen.requests[0].header("upgrade"), Some("websocket"));
            assert_eq!(seen.statuses(), [200, 200]);
        });
}

#[test]
fn a_tunnel_that_is_silent() {
    for (tunnel, flags) in [(true, "c"), (false, "c")] {
        switching_member()
            .tune(move |setup| {
                setup.timeouts.client = 400;
                setup.timeouts.member = if tunnel { 400 } else { 30_000 };
                if tunnel {
                    setup.listener["timeout_tunnel"] = serde_json::json!(800);
                    setup.haproxy_backend = "  timeout tunnel 800\n".to_owned();
                }
            })
            .client(|client| {
                client.send(ask("/ws"));
                assert_eq!(client.answer().status(), 101);
                assert_eq!(client.take_to_end(), End::Closed);
            })
            .same(|seen| assert!(seen.termination().starts_with(flags), "{}", seen.termination()));
    }
}

#[test]
fn a_member_that_resets_a_tunnel() {
    Scenario::http()
        .member(|conn| {
            let head = conn.head()?;
            conn.send(switching(&head))?;
            conn.take(1)?;
            conn.reset();
            Ok(())
        })
        .client(|client| {
            client.send(ask("/ws"));
            assert_eq!(client.answer().status(), 101);
            client.send("x");
            client.take_to_end();
        })
        .same(|seen| assert_eq!(seen.termination(), "SD--"));
}

/// Threat P5.
#[test]
fn h2c() {
    Scenario::http()
        .client_sends(
            "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        )
        .differs(
            "a member that takes it would be spoken to behind our back: RFC 9113 3.1 has no h2c any more",
            |haproxy| assert_eq!(haproxy.request().header("upgrade"), Some("h2c")),
            |weir| {
                let request = weir.request();
                assert_eq!((request.header("upgrade"), request.header("http2-settings")), (None, None));
                assert_eq!(weir.statuses(), [200]);
            },
        );
}

#[test]
fn several_protocols() {
    Scenario::http()
        .client_sends(
            "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .differs(
            "what may not be asked for is taken out of the list",
            |haproxy| assert_eq!(haproxy.request().header("upgrade"), Some("h2c, websocket")),
            |weir| assert_eq!(weir.request().header("upgrade"), Some("websocket")),
        );
}

/// Threat P4.
#[test]
fn with_a_body() {
    Scenario::http()
        .client_sends(
            "POST /body HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc",
        )
        .same(|seen| {
            assert_eq!(seen.request().header("upgrade"), None);
            assert_eq!(seen.request().body.data, b"abc");
            assert_eq!(seen.last().text(), "abc");
        });
}

/// RFC 9110 7.8: who switches says so in `Connection`.
#[test]
fn a_switch_that_connection_does_not_tell_of() {
    Scenario::http()
        .member(|conn| {
            conn.head()?;
            conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nsurprise")?;
            conn.take(1).map(|_| ())
        })
        .client_sends(
            "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .same(|seen| {
            assert_eq!(seen.statuses(), [502]);
            assert!(seen.stray.is_empty());
        });
}

/// Threat P6.
#[test]
fn a_switch_that_nobody_asked_for() {
    Scenario::http()
        .member(|conn| {
            conn.head()?;
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
            conn.take(1).map(|_| ())
        })
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .differs(
            "HAProxy passes it on",
            |haproxy| assert_eq!(haproxy.statuses().len(), 1),
            |weir| weir.statuses().iter().for_each(|status| assert_eq!(*status, 502)),
        );
}
