//! Pages about what goes wrong: members that refuse, reset, stop or lie about lengths, clients that leave, time that
//! runs out.

use weir_tests::message::{End, pattern};
use weir_tests::wait::pause_ms;

use super::scenario::{Fate, Scenario, Seen};

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\nhi";

/// This status, and this termination in the log.
fn ends(status: u16, termination: &'static str) -> impl Fn(&Seen) {
    move |seen| {
        assert_eq!(seen.statuses(), [status]);
        assert_eq!(seen.termination(), termination);
    }
}

#[test]
fn member_refuses() {
    Scenario::http()
        .no_member()
        .tune(|setup| setup.timeouts.connect = 300)
        .client_sends(GET)
        .log_differs("how often one lone member was tried again is shown in it, and how long that took")
        .same(ends(503, "SC--"));
}

#[test]
fn member_closes_without_an_answer() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.close();
            Ok(())
        })
        .client_sends(POST)
        .same(ends(502, "SH--"));
}

#[test]
fn member_resets_without_an_answer() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.reset();
            Ok(())
        })
        .client_sends(POST)
        .same(ends(502, "SH--"));
}

#[test]
fn member_closes_in_the_head() {
    Scenario::http().member_answers_and_closes("HTTP/1.1 200 OK\r\nContent-Le").client_sends(POST).same(|seen| {
        assert_eq!(seen.statuses(), [502]);
        assert_eq!(seen.requests.len(), 1);
    });
}

#[test]
fn member_resets_in_the_head() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Le")?;
            pause_ms(50);
            conn.reset();
            Ok(())
        })
        .client_sends(POST)
        .same(|seen| assert_eq!(seen.statuses(), [502]));
}

/// A request without a body that may be repeated is repeated when nothing of an answer came (RFC 9110 9.2.2).
#[test]
fn safe_request_is_repeated_when_the_member_closes() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            if conn.number > 0 {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            }
            conn.close();
            Ok(())
        })
        .client_sends(GET)
        .differs(
            "HAProxy repeats only failed connections unless told otherwise",
            |haproxy| assert_eq!(haproxy.statuses(), [502]),
            |weir| {
                assert_eq!(weir.statuses(), [200]);
                assert_eq!(weir.requests.len(), 2);
            },
        );
}

#[test]
fn request_is_not_repeated_once_an_answer_began() {
    Scenario::http().member_answers_and_closes("HTTP/1.1 2").client_sends(GET).same(|seen| {
        assert_eq!(seen.statuses(), [502]);
        assert_eq!(seen.requests.len(), 1);
    });
}

#[test]
fn request_that_never_gets_an_answer_is_not_repeated_for_ever() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.reset();
            Ok(())
        })
        .client_sends(GET)
        .differs(
            "HAProxy does not repeat it at all",
            |haproxy| assert_eq!(haproxy.requests.len(), 1),
            |weir| {
                assert_eq!(weir.statuses(), [502]);
                assert!((2..=4).contains(&weir.requests.len()), "{} attempts", weir.requests.len());
            },
        );
}

/// The client must be able to tell that the body is not whole (threats B1).
fn visibly_cut(seen: &Seen) {
    assert_eq!(seen.statuses(), [200]);
    assert!(!seen.last().complete(), "a cut-off body looked whole");
    assert!(seen.gone());
}

#[test]
fn member_closes_before_the_length_is_reached() {
    Scenario::http()
        .member_answers_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhello".as_slice())
        .client_sends(GET)
        .same(|seen| {
            visibly_cut(seen);
            assert_eq!(seen.last().text(), "hello");
            assert_eq!(seen.termination(), "SD--");
        });
}

#[test]
fn member_resets_in_the_body() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhello")?;
            pause_ms(50);
            conn.reset();
            Ok(())
        })
        .client_sends(GET)
        .same(|seen| {
            visibly_cut(seen);
            assert_eq!(seen.termination(), "SD--");
        });
}

#[test]
fn member_closes_before_the_last_chunk() {
    Scenario::http()
        .member_answers_and_closes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .client_sends(GET)
        .same(|seen| {
            visibly_cut(seen);
            assert_eq!(seen.last().text(), "hello");
        });
}

#[test]
fn member_closes_inside_a_chunk() {
    Scenario::http()
        .member_answers_and_closes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello")
        .client_sends(GET)
        .same(visibly_cut);
}

#[test]
fn member_sends_a_bad_chunk() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
            pause_ms(50);
            conn.send("zz\r\nhello\r\n0\r\n\r\n")
        })
        .client_sends(GET)
        .same(visibly_cut);
}

#[test]
fn member_is_silent() {
    Scenario::http()
        .tune(|setup| setup.timeouts.member = 300)
        .member(|conn| {
            conn.request()?;
            conn.take_to_end();
            Ok(())
        })
        .client_sends(GET)
        .same(ends(504, "sH--"));
}

#[test]
fn member_stops_in_the_body() {
    Scenario::http()
        .tune(|setup| setup.timeouts.member = 300)
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhello")?;
            conn.take_to_end();
            Ok(())
        })
        .client_sends(GET)
        .same(|seen| {
            visibly_cut(seen);
            assert_eq!(seen.termination(), "sD--");
        });
}

#[test]
fn head_that_does_not_end() {
    Scenario::http()
        .tune(|setup| setup.timeouts.request = 300)
        .client(|c| {
            c.send("GET / HTTP/1.1\r\nHost: weir");
            c.answer();
        })
        .same(|seen| {
            seen.refused_with(408);
            assert_eq!(seen.termination(), "cR--");
        });
}

/// The time is for the whole head: a byte now and then does not buy more.
#[test]
fn head_that_drips() {
    Scenario::http()
        .tune(|setup| setup.timeouts.request = 400)
        .client(|c| {
            for _ in 0..30 {
                c.send("G");
                pause_ms(30);
            }
            c.answer();
        })
        .same(|seen| seen.refused_with(408));
}

#[test]
fn connection_that_says_nothing() {
    Scenario::http()
        .tune(|setup| setup.timeouts.request = 300)
        .client(|c| {
            c.maybe_answer();
        })
        .same(|seen| {
            assert!(seen.gone());
            assert!(seen.statuses().is_empty() || seen.statuses() == [408]);
        });
}

#[test]
fn body_that_stops_coming() {
    Scenario::http()
        .tune(|setup| setup.timeouts.client = 300)
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5000\r\n\r\nhello");
            c.maybe_answer();
        })
        .member_sees_the_end()
        .differs(
            "HAProxy 2.6 waits on for as long as the member does; the client's timeout is for this, too",
            |haproxy| assert!(haproxy.responses.is_empty() && !haproxy.gone()),
            |weir| {
                assert!(weir.statuses() == [408] || weir.statuses().is_empty());
                assert!(weir.gone());
                assert!(!weir.request().complete());
                assert_eq!(&weir.termination()[..1], "c");
            },
        );
}

#[test]
fn client_leaves_in_the_head() {
    Scenario::http()
        .client(|c| {
            c.send("GET / HTTP/1.1\r\nHost: weir");
            pause_ms(30);
            c.leave();
        })
        .same(|seen| {
            assert_eq!(seen.termination(), "CR--");
            assert!(seen.requests.is_empty());
        });
}

#[test]
fn client_half_closes_in_the_head() {
    Scenario::http()
        .client(|c| {
            c.send("GET / HTTP/1.1\r\nHost: weir");
            c.half_close();
            c.maybe_answer();
        })
        .same(|seen| {
            seen.refused_with(400);
            assert_eq!(seen.termination(), "CR--");
        });
}

#[test]
fn client_leaves_in_its_body() {
    Scenario::http()
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5000\r\n\r\nhello");
            pause_ms(30);
            c.leave();
        })
        .member_sees_the_end()
        .log_differs("HAProxy answers 400 into the closed connection and logs that")
        .same(|seen| {
            let request = seen.request();
            assert!(!request.complete(), "a cut-off request looked whole to the member");
            assert_eq!(request.body.data, b"hello");
        });
}

#[test]
fn client_resets_in_its_body() {
    Scenario::http()
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            pause_ms(30);
            c.reset();
        })
        .member_sees_the_end()
        .log_differs("HAProxy answers 400 into the closed connection and logs that")
        .same(|seen| assert!(!seen.request().complete()));
}

/// The member should learn that nobody waits any more.
#[test]
fn client_resets_before_the_answer() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.take_to_end();
            Ok(())
        })
        .tune(|setup| setup.timeouts.member = 5000)
        .client(|c| {
            c.send(GET);
            pause_ms(50);
            c.reset();
        })
        .member_sees_the_end()
        .differs(
            "HAProxy 2.6 lets the member go on until its own timeout; nobody waits for that answer any more",
            |haproxy| assert_eq!(haproxy.fate, Fate::Left),
            |weir| {
                assert!(weir.visits[0].end.is_some());
                assert_eq!(&weir.termination()[..2], "CH");
            },
        );
}

#[test]
fn client_leaves_in_the_answer() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 32 << 20))?;
            conn.send(pattern(32 << 20))
        })
        .client(|c| {
            c.send(GET);
            c.take(1000);
            c.stray.clear();
            c.reset();
        })
        .member_sees_the_end()
        .log_differs("how many bytes were sent is chance; the rest is asserted")
        .same(|seen| {
            assert_ne!(seen.visits[0].end, None);
            assert_eq!(&seen.termination()[..2], "CD");
        });
}

/// A kept connection that the member closed meanwhile is replaced, without the client seeing it, also when the
/// member's FIN and the next request cross.
#[test]
fn stale_connection_to_the_member_is_replaced() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            conn.request()?;
            conn.reset();
            Ok(())
        })
        .client(|c| {
            c.get("/1");
            c.send("GET /2 HTTP/1.1\r\nHost: weir.test\r\n\r\n");
            c.maybe_answer();
        })
        .log_lines(1)
        .differs(
            "HAProxy closes the client's connection without a word and lets it try again",
            |haproxy| assert!(haproxy.statuses() == [200] && haproxy.gone() || haproxy.statuses() == [200, 502]),
            |weir| assert_eq!(weir.statuses(), [200, 200]),
        );
}

#[test]
fn unsafe_request_on_a_stale_connection_is_not_repeated() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            if conn.number > 0 {
                return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            conn.request()?;
            conn.reset();
            Ok(())
        })
        .client(|c| {
            c.get("/1");
            c.send(POST);
            c.maybe_answer();
        })
        .log_lines(1)
        .differs(
            "HAProxy closes the client's connection without a word; we say 502",
            |haproxy| assert_eq!(haproxy.requests.len(), 2),
            |weir| {
                assert_eq!(weir.statuses(), [200, 502]);
                assert_eq!(weir.requests.len(), 2, "a POST must reach a member once");
            },
        );
}

#[test]
fn member_half_closes_after_its_answer() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            conn.half_close();
            Ok(())
        })
        .client(|c| {
            c.get("/1");
            pause_ms(30);
            c.get("/2");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200, 200]);
            assert!(seen.visits.iter().all(|v| v.end != Some(End::Idle)));
        });
}
