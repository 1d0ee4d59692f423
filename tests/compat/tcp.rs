//! Pages about plain streams: bytes, half-closes, resets and idle time in both directions.

use weir_tests::message::{End, pattern};
use weir_tests::wait::pause_ms;

use super::scenario::{Fate, Scenario};

#[test]
fn bytes_come_back() {
    Scenario::tcp()
        .client(|c| {
            c.send("hello");
            c.take(5);
        })
        .same(|seen| {
            assert_eq!(seen.stray, b"hello");
            assert_eq!(seen.fate, Fate::Kept);
        });
}

#[test]
fn client_half_closes_and_still_gets_the_rest() {
    Scenario::tcp()
        .member(|conn| {
            let (bytes, end) = conn.take_to_end();
            assert_eq!(end, End::Closed);
            conn.send(bytes)?;
            conn.close();
            Ok(())
        })
        .client(|c| {
            c.send("hello");
            c.half_close();
            c.take_to_end();
        })
        .same(|seen| {
            assert_eq!(seen.stray, b"hello");
            assert_eq!(seen.fate, Fate::Closed);
            assert_eq!(seen.termination(), "--");
        });
}

#[test]
fn member_half_closes_and_still_gets_the_rest() {
    Scenario::tcp()
        .member(|conn| {
            conn.send("bye")?;
            conn.half_close();
            conn.take(5)?;
            Ok(())
        })
        .client(|c| {
            c.take_to_end();
            pause_ms(50);
            c.send("hello");
            c.leave();
        })
        .member_sees_the_end()
        .same(|seen| {
            assert_eq!(seen.stray, b"bye");
            assert_eq!(seen.visits[0].bytes, b"hello");
            assert_eq!(seen.visits[0].end, Some(End::Closed));
        });
}

#[test]
fn member_closes() {
    Scenario::tcp()
        .member(|conn| {
            conn.take(5)?;
            conn.send("bye")?;
            conn.close();
            Ok(())
        })
        .client(|c| {
            c.send("hello");
            c.take_to_end();
        })
        .same(|seen| {
            assert_eq!(seen.stray, b"bye");
            assert_eq!(seen.fate, Fate::Closed);
        });
}

#[test]
fn client_resets() {
    Scenario::tcp()
        .member(|conn| {
            conn.take(5)?;
            conn.take_to_end();
            Ok(())
        })
        .client(|c| {
            c.send("hello");
            pause_ms(50);
            c.reset();
        })
        .member_sees_the_end()
        .differs(
            "HAProxy turns a reset into an orderly end; a member should know that its client broke off",
            |haproxy| assert_eq!(haproxy.termination(), "CD"),
            |weir| {
                assert_eq!(weir.termination(), "CD");
                assert_eq!(weir.visits[0].end, Some(End::Reset));
            },
        );
}

#[test]
fn member_resets() {
    Scenario::tcp()
        .member(|conn| {
            conn.take(5)?;
            conn.send("part")?;
            pause_ms(50);
            conn.reset();
            Ok(())
        })
        .client(|c| {
            c.send("hello");
            c.take_to_end();
        })
        .differs(
            "HAProxy turns a reset into an orderly end; a client should know that the answer is cut",
            |haproxy| assert_eq!(haproxy.termination(), "SD"),
            |weir| {
                assert_eq!(weir.termination(), "SD");
                assert_eq!(weir.stray, b"part");
                assert_eq!(weir.fate, Fate::Reset);
            },
        );
}

#[test]
fn silence_of_both_sides() {
    Scenario::tcp()
        .tune(|setup| {
            setup.timeouts.client = 300;
            setup.timeouts.member = 1000;
        })
        .client(|c| {
            c.send("hello");
            c.take(5);
            c.take_to_end();
        })
        .same(|seen| {
            assert!(seen.gone());
            assert_eq!(seen.termination(), "cD");
        });
}

#[test]
fn silence_of_the_member() {
    Scenario::tcp()
        .tune(|setup| {
            setup.timeouts.client = 1000;
            setup.timeouts.member = 300;
        })
        .client(|c| {
            c.send("hello");
            c.take(5);
            c.take_to_end();
        })
        .same(|seen| {
            assert!(seen.gone());
            assert_eq!(seen.termination(), "sD");
        });
}

#[test]
fn a_megabyte_up() {
    Scenario::tcp()
        .member(|conn| {
            let bytes = conn.take(1 << 20)?;
            assert!(bytes == pattern(1 << 20));
            conn.send("thanks")
        })
        .client(|c| {
            c.send(pattern(1 << 20));
            c.take(6);
        })
        .same(|seen| assert_eq!(seen.stray, b"thanks"));
}

#[test]
fn a_megabyte_down() {
    Scenario::tcp()
        .member(|conn| {
            conn.take(1)?;
            conn.send(pattern(1 << 20))?;
            conn.close();
            Ok(())
        })
        .client(|c| {
            c.send("x");
            c.take_to_end();
        })
        .same(|seen| assert!(seen.stray == pattern(1 << 20)));
}

#[test]
fn both_ways_at_once() {
    Scenario::tcp()
        .member(|conn| {
            conn.send(pattern(100_000))?;
            let bytes = conn.take(100_000)?;
            assert!(bytes == pattern(100_000));
            conn.close();
            Ok(())
        })
        .client(|c| {
            c.send(pattern(100_000));
            c.take_to_end();
        })
        .same(|seen| assert!(seen.stray == pattern(100_000)));
}

#[test]
fn member_speaks_first() {
    Scenario::tcp()
        .member(|conn| {
            conn.send("220 welcome\r\n")?;
            conn.take_to_end();
            Ok(())
        })
        .client(|c| {
            c.take(13);
        })
        .same(|seen| assert_eq!(seen.stray, b"220 welcome\r\n"));
}

#[test]
fn member_refuses() {
    Scenario::tcp()
        .no_member()
        .tune(|setup| setup.timeouts.connect = 300)
        .client(|c| {
            c.take_to_end();
        })
        .log_differs("how often one lone member was tried again is shown in it, and how long that took")
        .same(|seen| {
            assert!(seen.gone());
            assert_eq!(seen.termination(), "SC");
        });
}

#[test]
fn client_leaves_at_once() {
    Scenario::tcp()
        .member(|conn| {
            conn.take_to_end();
            Ok(())
        })
        .client(|c| {
            c.leave();
        })
        .log_differs("whether the member was reached already is chance")
        .same(|seen| assert_eq!(seen.fate, Fate::Left));
}

#[test]
fn bytes_pass_untouched() {
    let all: Vec<u8> = (0..=255).collect();
    let expected = all.clone();
    Scenario::tcp()
        .client(move |c| {
            c.send(&all);
            c.take(256);
        })
        .same(move |seen| assert_eq!(seen.stray, expected));
}
