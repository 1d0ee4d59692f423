//! Pages about bodies up and down: lengths, chunks, trailers, and answers that have none.

use std::time::{Duration, Instant};

use weir_tests::message::{Framing, chunks, pattern};
use weir_tests::wait::{PATIENCE, pause_ms};

use super::scenario::{Scenario, Seen};

/// A POST of `n` bytes by Content-Length, echoed by the member.
fn upload(n: usize) {
    Scenario::http()
        .client(move |c| {
            c.send(format!("POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {n}\r\n\r\n"));
            c.send(pattern(n));
            c.answer();
        })
        .same(move |seen| {
            assert!(seen.request().body.data == pattern(n), "the member got other bytes");
            assert!(seen.last().body.data == pattern(n), "the client got other bytes");
            assert!(!seen.gone());
        });
}

#[test]
fn upload_nothing() {
    upload(0);
}

#[test]
fn upload_one_byte() {
    upload(1);
}

#[test]
fn upload_64k() {
    upload(65_536);
}

/// A chunked POST of `n` bytes in chunks of `size`.
fn upload_chunked(n: usize, size: usize) {
    Scenario::http()
        .client(move |c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            c.send(chunks(&pattern(n), size));
            c.send("0\r\n\r\n");
            c.answer();
        })
        .same(move |seen| {
            assert!(seen.request().body.data == pattern(n), "the member got other bytes");
            assert!(seen.request().head.chunked());
            assert_eq!(seen.request().header("content-length"), None);
            assert!(seen.last().text().contains(&format!(r#""body_bytes":{n}"#)));
            assert!(!seen.gone());
        });
}

#[test]
fn upload_chunked_empty() {
    upload_chunked(0, 1);
}

#[test]
fn upload_chunked_byte_by_byte() {
    upload_chunked(100, 1);
}

#[test]
fn upload_chunked_by_sevens() {
    upload_chunked(5000, 7);
}

#[test]
fn upload_chunked_64k_by_16k() {
    upload_chunked(65_536, 16_384);
}

#[test]
fn upload_chunked_1m_by_16k() {
    upload_chunked(1 << 20, 16_384);
}

#[test]
fn upload_chunks_with_extensions() {
    Scenario::http()
        .client(|c| {
            c.send("POST /body HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            c.send("3;name=value\r\nabc\r\n2;x=\"q\"\r\nde\r\n0;last\r\n\r\n");
            c.answer();
        })
        .same(|seen| assert_eq!(seen.last().text(), "abcde"));
}

#[test]
fn upload_chunk_sizes_in_upper_case_with_zeros() {
    Scenario::http()
        .client(|c| {
            c.send("POST /body HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            c.send("000A\r\n0123456789\r\n00\r\n\r\n");
            c.answer();
        })
        .same(|seen| assert_eq!(seen.last().text(), "0123456789"));
}

#[test]
fn upload_with_trailers() {
    Scenario::http()
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
            c.send("5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n");
            c.answer();
        })
        .same(|seen| {
            let trailers = &seen.request().body.trailers;
            assert_eq!(trailers.len(), 1);
            assert!(trailers[0].0.eq_ignore_ascii_case("x-sum") && trailers[0].1 == "42");
        });
}

#[test]
fn transfer_coding_in_upper_case() {
    fn check(seen: &Seen) {
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(seen.request().body.data, b"abc");
    }
    Scenario::http()
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
            c.answer();
        })
        .differs("what frames a message is written anew, in the letters of the RFC", check, |weir| {
            check(weir);
            assert_eq!(weir.request().head.all("transfer-encoding"), ["chunked"]);
        });
}

/// A GET of a path of the well-behaved member; the body must be `n` bytes, framed so.
fn download(path: &'static str, n: usize, framing: Framing) {
    Scenario::http()
        .client(move |c| {
            c.get(path);
        })
        .same(move |seen| {
            assert_eq!(seen.last().framing, framing);
            assert!(seen.last().body.data == pattern(n), "the client got other bytes");
            assert!(seen.last().complete());
        });
}

#[test]
fn download_nothing() {
    download("/bytes/0", 0, Framing::Length);
}

#[test]
fn download_one_byte() {
    download("/bytes/1", 1, Framing::Length);
}

#[test]
fn download_64k() {
    download("/bytes/65536", 65_536, Framing::Length);
}

#[test]
fn download_1m() {
    download("/bytes/1048576", 1 << 20, Framing::Length);
}

#[test]
fn download_chunked_empty() {
    download("/chunked/0/1", 0, Framing::Chunked);
}

#[test]
fn download_chunked_byte_by_byte() {
    download("/chunked/100/1", 100, Framing::Chunked);
}

#[test]
fn download_chunked_by_sevens() {
    download("/chunked/5000/7", 5000, Framing::Chunked);
}

#[test]
fn download_chunked_64k_by_16k() {
    download("/chunked/65536/16384", 65_536, Framing::Chunked);
}

#[test]
fn download_chunked_1m_by_16k() {
    download("/chunked/1048576/16384", 1 << 20, Framing::Chunked);
}

#[test]
fn download_with_trailers() {
    Scenario::http()
        .client(|c| {
            c.get("/trailers");
        })
        .same(|seen| {
            assert_eq!(seen.last().text(), "hello");
            assert_eq!(seen.last().body.trailers.len(), 2);
        });
}

/// As old servers pad them.
#[test]
fn download_with_padded_sizes() {
    Scenario::http()
        .member_answers(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3  \r\nabc\r\n2 ; a=b\r\nde\r\n0 \r\n\r\n",
        )
        .client(|c| {
            c.get("/");
            c.get("/again");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200, 200]);
            assert_eq!(seen.last().text(), "abcde");
        });
}

/// What is no chunked coding, and comes with its head.
#[test]
fn download_of_chunks_that_are_none() {
    Scenario::http()
        .member_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello")
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .same(|seen| {
            assert_eq!(seen.statuses(), [502]);
            assert_eq!(seen.termination(), "PH--");
        });
}

#[test]
fn download_ended_by_the_member_closing() {
    Scenario::http()
        .client(|c| {
            c.get("/close-delimited/5000");
        })
        .differs(
            "HAProxy lets the client guess where it ends; in chunks a cut-off body can be told from a whole one",
            |haproxy| {
                assert_eq!(haproxy.last().framing, Framing::Close);
                assert!(haproxy.last().body.data == pattern(5000));
            },
            |weir| {
                assert!(matches!(weir.last().framing, Framing::Close | Framing::Chunked));
                assert!(weir.last().body.data == pattern(5000));
                assert!(weir.last().complete());
                assert_eq!(weir.gone(), weir.last().framing == Framing::Close);
            },
        );
}

#[test]
fn head_with_a_length_has_no_body() {
    Scenario::http()
        .client(|c| {
            c.send("HEAD /bytes/5000 HTTP/1.1\r\nHost: weir.test\r\n\r\n");
            c.answer_to("HEAD").expect("an answer");
            c.get("/after");
        })
        .same(|seen| {
            assert_eq!(seen.responses[0].header("content-length"), Some("5000"));
            assert_eq!(seen.statuses(), [200, 200]);
            assert!(!seen.gone());
        });
}

#[test]
fn head_of_a_chunked_resource() {
    Scenario::http()
        .client(|c| {
            c.send("HEAD /chunked/5000/7 HTTP/1.1\r\nHost: weir.test\r\n\r\n");
            c.answer_to("HEAD").expect("an answer");
            c.get("/after");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [200, 200]);
            assert!(!seen.gone());
        });
}

#[test]
fn no_content_has_no_body() {
    Scenario::http()
        .client(|c| {
            c.get("/status/204");
            c.get("/after");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [204, 200]);
            assert!(!seen.gone());
        });
}

#[test]
fn not_modified_may_tell_a_length() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\nETag: \"x\"\r\n\r\n")?;
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
        .client(|c| {
            c.get("/");
            c.get("/after");
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [304, 200]);
            assert_eq!(seen.responses[0].header("content-length"), Some("5000"));
            assert!(!seen.gone());
        });
}

/// The answer comes before the body was read; both must still be framed right.
#[test]
fn early_answer_to_a_large_upload() {
    Scenario::http()
        .member(|conn| {
            conn.head()?;
            conn.send("HTTP/1.1 413 Too Large\r\nX-Member: m1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
            let _ = conn.take(1 << 20);
            Ok(())
        })
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 1048576\r\n\r\n");
            c.send(pattern(1 << 16));
            c.answer();
        })
        .log_differs("when the exchange ends depends on when the rest of the upload is given up")
        .fate_differs("HAProxy waits for the rest of the upload; giving up and closing is as good (RFC 9112 9.3)")
        .same(|seen| {
            assert_eq!(seen.statuses(), [413]);
            assert_eq!(seen.last().text(), "no");
        });
}

/// What came is passed on, though more is to come.
#[test]
fn pieces_of_an_answer_are_not_held_back() {
    Scenario::http()
        .member(|conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
            pause_ms(1000);
            conn.send("5\r\nworld\r\n0\r\n\r\n")
        })
        .client(|c| {
            let began = Instant::now();
            c.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
            while !c.wire().received.windows(5).any(|w| w == b"hello") {
                c.wire().fill_within(PATIENCE).expect("the first piece");
            }
            assert!(began.elapsed() < Duration::from_millis(800), "it came after {:?}", began.elapsed());
            c.answer();
        })
        .same(|seen| assert_eq!(seen.last().text(), "helloworld"));
}

/// The other way round: the member sees the first piece of an upload before the last is sent.
#[test]
fn pieces_of_a_request_are_not_held_back() {
    Scenario::http()
        .member(|conn| {
            let head = conn.head()?;
            let first = conn.take(10)?;
            assert_eq!(first, b"5\r\nhello\r\n");
            // Only now the client goes on: an answer that came before the end of its request.
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            conn.body(&head)?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
        .client(|c| {
            c.send("POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            assert!(c.one_answer("POST").expect("the first piece to reach the member"));
            c.send("5\r\nworld\r\n0\r\n\r\n");
            c.answer();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [100, 200]);
            assert_eq!(seen.request().body.data, b"world");
        });
}
