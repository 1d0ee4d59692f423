//! Pages about the life of connections: keep-alive, HTTP/1.0, who closes, pipelining, and requests in pieces.

use std::time::Duration;

use weir_tests::message::pattern;
use weir_tests::wait::pause_ms;

use super::scenario::{Scenario, Seen};

const GET: &str = "GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n";

#[test]
fn keep_alive_carries_many_requests() {
    Scenario::http()
        .client(|c| {
            for n in 0..10 {
                c.get(&format!("/{n}"));
            }
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200; 10]);
            assert_eq!(seen.visits.len(), 1, "one client in a row needs one connection to the member");
            assert!(!seen.gone());
        });
}

#[test]
fn client_says_close() {
    Scenario::http().client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").same(|seen| {
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(seen.last().header("connection"), Some("close"));
        assert!(seen.gone());
    });
}

#[test]
fn client_says_close_in_another_case_among_others() {
    Scenario::http().client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: x-absent, CLOSE\r\n\r\n").same(
        |seen| {
            assert_eq!(seen.last().header("connection"), Some("close"));
            assert!(seen.gone());
        },
    );
}

/// What the member does with its connection is no business of the client's.
#[test]
fn member_says_close() {
    Scenario::http()
        .client(|c| {
            c.get("/close");
            c.get("/close");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200, 200]);
            assert_eq!(seen.last().text(), "bye");
            assert_eq!(seen.visits.len(), 2);
            assert!(!seen.gone(), "the member's close must not cost the client its connection");
        });
}

#[test]
fn member_closes_a_kept_connection_between_requests() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            conn.close();
            Ok(())
        })
        .client(|c| {
            for _ in 0..3 {
                c.get("/");
                pause_ms(30);
            }
        })
        .same(|seen| assert_eq!(seen.statuses(), [200, 200, 200]));
}

#[test]
fn http_1_0_closes() {
    Scenario::http().client_sends("GET /a HTTP/1.0\r\n\r\n").differs(
        "HAProxy passes the version on; each hop has its own (RFC 9110 2.5), and ours speaks 1.1",
        |haproxy| {
            assert_eq!(haproxy.request().head.start, "GET /a HTTP/1.0");
            assert!(haproxy.gone());
        },
        |weir| {
            assert_eq!(weir.statuses(), [200]);
            assert_eq!(weir.request().head.start, "GET /a HTTP/1.1");
            assert!(weir.request().header("host").is_some(), "a 1.1 request must have a Host");
            assert!(weir.gone());
        },
    );
}

#[test]
fn http_1_0_with_keep_alive_is_kept() {
    fn check(seen: &Seen) {
        assert_eq!(seen.statuses(), [200, 200]);
        let connection = seen.last().header("connection").unwrap_or_default();
        assert!(connection.eq_ignore_ascii_case("keep-alive"), "it must be told: {connection:?}");
        assert!(!seen.gone());
    }
    Scenario::http()
        .client(|c| {
            for _ in 0..2 {
                c.send("GET /a HTTP/1.0\r\nHost: weir.test\r\nConnection: keep-alive\r\n\r\n");
                c.answer();
            }
        })
        .differs("HAProxy speaks 1.0 to the member too, and to one connection only", check, check);
}

#[test]
fn http_1_0_gets_no_chunks() {
    Scenario::http().client_sends("GET /chunked/5000/7 HTTP/1.0\r\n\r\n").differs(
        "HAProxy trusts the member not to send chunks to 1.0 and passes them on; a 1.0 client cannot read them",
        |haproxy| assert_eq!(haproxy.last().header("transfer-encoding"), Some("chunked")),
        |weir| {
            assert_eq!(weir.last().header("transfer-encoding"), None);
            assert!(weir.last().body.data == pattern(5000));
            assert!(weir.gone());
        },
    );
}

#[test]
fn http_1_0_with_keep_alive_gets_no_chunks_either() {
    Scenario::http().client_sends("GET /chunked/5000/7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").differs(
        "as above; and only the end of the connection can end such a body",
        |haproxy| assert_eq!(haproxy.last().header("transfer-encoding"), Some("chunked")),
        |weir| {
            assert_eq!(weir.last().header("transfer-encoding"), None);
            assert!(weir.last().body.data == pattern(5000));
            assert!(weir.gone());
        },
    );
}

#[test]
fn http_1_0_post() {
    Scenario::http().client_sends("POST /body HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello").differs(
        "HAProxy passes the version on",
        |haproxy| assert_eq!(haproxy.last().text(), "hello"),
        |weir| {
            assert_eq!(weir.last().text(), "hello");
            assert_eq!(weir.request().head.start, "POST /body HTTP/1.1");
            assert!(weir.gone());
        },
    );
}

#[test]
fn http_1_0_member() {
    Scenario::http()
        .member_answers_and_closes("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .client(|c| {
            c.get("/");
            c.get("/");
        })
        .differs(
            "HAProxy passes the member's version on; each hop has its own (RFC 9110 2.5)",
            |haproxy| assert_eq!(haproxy.last().head.word(0), "HTTP/1.0"),
            |weir| {
                assert_eq!(weir.statuses(), [200, 200]);
                assert_eq!(weir.last().head.word(0), "HTTP/1.1");
                assert!(!weir.gone());
            },
        );
}

#[test]
fn two_requests_in_one_piece() {
    pipelined(2);
}

#[test]
fn ten_requests_in_one_piece() {
    pipelined(10);
}

fn pipelined(n: usize) {
    Scenario::http()
        .client(move |c| {
            let all: String = (0..n).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: weir.test\r\n\r\n")).collect();
            c.send(all);
            for _ in 0..n {
                c.answer();
            }
        })
        .same(move |seen| {
            for (k, (answer, request)) in seen.responses.iter().zip(&seen.requests).enumerate() {
                assert!(answer.text().contains(&format!(r#""target":"/{k}""#)), "answers out of order");
                assert_eq!(request.head.word(1), format!("/{k}"));
            }
            assert_eq!(seen.responses.len(), n);
            assert!(!seen.gone());
        });
}

#[test]
fn post_and_get_in_one_piece() {
    Scenario::http()
        .client(|c| {
            c.send(format!("POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\nhello{GET}"));
            c.answer();
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.responses[0].text(), "hello");
            assert_eq!(seen.requests[1].head.start, "GET /a HTTP/1.1");
        });
}

#[test]
fn chunked_post_and_get_in_one_piece() {
    Scenario::http()
        .client(|c| {
            c.send(format!(
                "POST /body HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n{GET}"
            ));
            c.answer();
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.responses[0].text(), "hello");
            assert_eq!(seen.requests[1].head.start, "GET /a HTTP/1.1");
        });
}

/// What follows a request that closes must not be served.
#[test]
fn nothing_is_served_after_close() {
    Scenario::http()
        .client(|c| {
            c.send(format!("GET /1 HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n{GET}"));
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200]);
            assert_eq!(seen.requests.len(), 1);
            assert!(seen.gone());
            assert!(seen.stray.is_empty());
        });
}

#[test]
fn request_byte_by_byte() {
    Scenario::http()
        .client(|c| {
            let request = b"POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 3\r\n\r\nabc";
            let pieces: Vec<&[u8]> = request.chunks(1).collect();
            c.send_pieces(&pieces, Duration::from_millis(1));
            c.answer();
        })
        .same(|seen| assert_eq!(seen.last().text(), "abc"));
}

#[test]
fn chunked_request_byte_by_byte() {
    Scenario::http()
        .client(|c| {
            c.send("POST /body HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            let body = b"3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n";
            let pieces: Vec<&[u8]> = body.chunks(1).collect();
            c.send_pieces(&pieces, Duration::from_millis(1));
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.last().text(), "abc0123456789");
            assert_eq!(seen.request().body.trailers.len(), 1);
        });
}

/// Cut at each place of the end of the head and of the chunk frame in turn.
#[test]
fn request_cut_at_every_interesting_place() {
    let request = b"POST /body HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n0\r\n\r\n";
    let places: Vec<usize> = vec![1, 4, 18, 19, 20, 36, 37, 38, 64, 66, 67, 68, 69, 70, 71, 72, 75, 78, 79, 80, 81, 82];
    let count = places.len();
    Scenario::http()
        .client(move |c| {
            for place in &places {
                let place = *place.min(&(request.len() - 1));
                c.send_pieces(&[&request[..place], &request[place..]], Duration::from_millis(3));
                c.answer();
            }
        })
        .same(move |seen| {
            assert_eq!(seen.responses.len(), count);
            assert!(seen.responses.iter().all(|r| r.text() == "hello"));
        });
}

#[test]
fn answer_byte_by_byte() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" {
                conn.send([*byte])?;
                pause_ms(1);
            }
            Ok(())
        })
        .client_sends(GET)
        .same(|seen| {
            assert_eq!(seen.last().text(), "abc");
            assert!(!seen.gone());
        });
}

/// Old clients send an extra line end after a body (RFC 9112 2.2).
#[test]
fn empty_line_before_the_request() {
    Scenario::http().client_sends(format!("\r\n{GET}")).same(|seen| {
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(seen.request().head.start, "GET /a HTTP/1.1");
    });
}

#[test]
fn client_half_closes_after_its_request() {
    Scenario::http()
        .client(|c| {
            c.send("GET /delay/150 HTTP/1.1\r\nHost: weir.test\r\n\r\n");
            c.half_close();
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200]);
            assert!(seen.gone());
        });
}

#[test]
fn connection_without_a_request() {
    fn check(seen: &Seen) {
        assert!(seen.gone());
        assert!(seen.requests.is_empty());
    }
    Scenario::http()
        .client(|c| {
            c.half_close();
            c.take_to_end();
        })
        .log_lines(0)
        .differs("HAProxy answers 400 to nothing; who asks nothing needs no answer", check, check);
}

#[test]
fn connection_kept_without_a_second_request() {
    Scenario::http()
        .tune(|setup| setup.timeouts.keep_alive = 300)
        .client(|c| {
            c.get("/");
            c.take_to_end();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200]);
            assert!(seen.stray.is_empty(), "an idle connection is closed without a word");
            assert!(seen.gone());
        });
}

/// Bytes after an answer belong to nobody (threats B2): the next request must not get them.
#[test]
fn surplus_bytes_of_a_member_reach_nobody() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            )?;
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        })
        .client(|c| {
            c.get("/");
            c.get("/");
        })
        .log_differs("with another connection to the member the counts are others")
        .same(|seen| {
            assert_eq!(seen.statuses(), [200, 200]);
            assert!(seen.responses.iter().all(|r| r.text() == "ok"), "bytes after an answer became an answer");
            assert_eq!(seen.visits.len(), 2, "a connection with surplus bytes must not be used again");
        });
}
