//! Pages about bytes two readers could take for different messages: Weir refuses what HAProxy sometimes passes.
//!
//! Each page ends with a second request in the same piece, the one an attacker would smuggle. Whatever else happens
//! it must not be served on its own at the member.

use super::scenario::{Scenario, Seen};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// The bytes, then a request that must not count for itself. `haproxy` says what HAProxy answers, in order.
fn refused(bytes: &str, why: &str, haproxy: &'static [u16]) {
    refused_with(400, bytes, why, haproxy);
}

fn refused_with(status: u16, bytes: &str, why: &str, haproxy: &'static [u16]) {
    let all = format!("{bytes}{SMUGGLED}");
    let page = Scenario::http().client(move |c| {
        c.send(&all);
        while c.maybe_answer().is_some() && c.end.is_none() {
            if c.responses.last().is_some_and(|r| r.header("connection") == Some("close")) {
                break;
            }
            if c.responses.len() == haproxy.len() {
                break;
            }
        }
    });
    let weir = move |seen: &Seen| {
        seen.refused_with(status);
        assert!(seen.stray.is_empty(), "something was served after the refusal");
        assert_eq!(seen.termination(), "PR--");
    };
    if haproxy == [status] {
        page.same(weir);
    } else {
        page.differs(why, move |seen| assert_eq!(seen.statuses(), haproxy), weir);
    }
}

/// An answer of the member that cannot be trusted: 502, and the connection to it is not used again.
fn bad_answer(answer: &'static str, why: &str, haproxy: u16) {
    let page = Scenario::http()
        .member_answers_and_closes(answer)
        .client_sends("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\nhi");
    if haproxy == 502 {
        page.same(|seen| {
            assert_eq!(seen.statuses(), [502]);
            assert_eq!(seen.termination(), "PH--");
        });
    } else {
        page.differs(
            why,
            move |seen| assert_eq!(seen.last().status(), haproxy),
            |weir| assert_eq!(weir.statuses(), [502]),
        );
    }
}

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: weir.test\r\n{fields}\r\n{body}")
}

#[test]
fn length_and_chunks_together() {
    refused(
        &post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nX"),
        "HAProxy drops the length; RFC 9112 6.1 allows to refuse, which leaves nothing to guess",
        &[200],
    );
}

#[test]
fn chunks_and_length_together() {
    refused(
        &post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"),
        "as above, the other way around",
        &[200],
    );
}

#[test]
fn two_lengths_that_differ() {
    refused(&post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "", &[400]);
}

#[test]
fn listed_lengths_that_differ() {
    refused(&post("Content-Length: 5, 6\r\n", "hello"), "", &[400]);
}

/// RFC 9112 6.3 allows both: one value, or a refusal.
#[test]
fn two_lengths_that_agree() {
    Scenario::http().client_sends(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")).differs(
        "HAProxy makes one of them; refusing them is allowed too",
        |haproxy| assert_eq!(haproxy.request().head.all("content-length"), ["5"]),
        |weir| {
            if weir.statuses() == [200] {
                assert_eq!(weir.request().head.all("content-length"), ["5"]);
            } else {
                weir.refused_with(400);
            }
        },
    );
}

#[test]
fn length_with_plus() {
    refused(&post("Content-Length: +5\r\n", "hello"), "", &[400]);
}

#[test]
fn negative_length() {
    refused(&post("Content-Length: -5\r\n", "hello"), "", &[400]);
}

#[test]
fn hexadecimal_length() {
    refused(&post("Content-Length: 0x5\r\n", "hello"), "", &[400]);
}

#[test]
fn empty_length() {
    refused(&post("Content-Length:\r\n", "hello"), "", &[400]);
}

#[test]
fn length_with_letters() {
    refused(&post("Content-Length: 5abc\r\n", "hello"), "", &[400]);
}

#[test]
fn length_in_two_words() {
    refused(&post("Content-Length: 5 6\r\n", "hello"), "", &[400]);
}

#[test]
fn length_beyond_64_bits() {
    refused(&post("Content-Length: 18446744073709551621\r\n", "hello"), "", &[400]);
}

#[test]
fn space_before_the_colon() {
    refused(&post("Content-Length : 5\r\n", "hello"), "", &[400]);
}

#[test]
fn unknown_transfer_coding() {
    let all = post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n");
    Scenario::http().client_sends(all).differs(
        "501 says the coding is not known (RFC 9112 6.1)",
        |haproxy| assert_eq!(haproxy.statuses().len(), 1),
        |weir| {
            assert!(matches!(weir.statuses()[..], [400 | 501]));
            assert!(weir.requests.is_empty() && weir.gone());
        },
    );
}

#[test]
fn obfuscated_transfer_codings() {
    for coding in ["\x0bchunked", "chunked, identity", "\"chunked\"", "chunked;q=1", "chunked, chunked", "", "chun ked"]
    {
        let all = post(&format!("Transfer-Encoding: {coding}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        Scenario::http().client_sends(all).differs(
            "only exactly `chunked` can be read one way",
            |haproxy| assert!(!haproxy.responses.is_empty()),
            |weir| {
                assert!(matches!(weir.statuses()[..], [400 | 501]), "{:?}", weir.statuses());
                assert!(weir.requests.is_empty() && weir.gone());
            },
        );
    }
}

#[test]
fn two_transfer_codings() {
    let all = post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", &format!("0\r\n\r\n{SMUGGLED}"));
    Scenario::http().client_sends(all).differs(
        "only exactly `chunked` can be read one way",
        |haproxy| assert!(!haproxy.responses.is_empty()),
        |weir| {
            assert!(matches!(weir.statuses()[..], [400 | 501]));
            assert!(weir.requests.is_empty() && weir.gone());
        },
    );
}

#[test]
fn chunks_in_http_1_0() {
    refused(
        "POST / HTTP/1.0\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HAProxy reads the chunks; 1.0 does not know them (RFC 9112 6.1)",
        &[200],
    );
}

#[test]
fn bare_line_feeds() {
    refused(
        "GET / HTTP/1.1\nHost: weir.test\n\n",
        "HAProxy takes LF for CRLF; not all servers do (RFC 9112 2.2)",
        &[200, 200],
    );
}

#[test]
fn one_bare_line_feed() {
    refused("GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: 1\nX-B: 2\r\n\r\n", "as above", &[200, 200]);
}

#[test]
fn bare_carriage_return() {
    refused("GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: a\rb\r\n\r\n", "", &[400]);
}

#[test]
fn folded_field() {
    refused(
        "GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: a\r\n b\r\n\r\n",
        "HAProxy unfolds it; RFC 9112 5.2 allows to refuse",
        &[200, 200],
    );
}

#[test]
fn space_before_the_first_field() {
    refused("GET / HTTP/1.1\r\n Host: weir.test\r\n\r\n", "", &[400]);
}

#[test]
fn nul_in_a_value() {
    refused(
        "GET / HTTP/1.1\r\nHost: weir.test\r\nX-A: a\0b\r\n\r\n",
        "HAProxy passes NUL on; strings of some readers end there (RFC 9110 5.5)",
        &[200, 200],
    );
}

#[test]
fn control_character_in_a_name() {
    refused("GET / HTTP/1.1\r\nHost: weir.test\r\nX\x01A: b\r\n\r\n", "", &[400]);
}

#[test]
fn empty_name() {
    refused("GET / HTTP/1.1\r\nHost: weir.test\r\n: b\r\n\r\n", "", &[400]);
}

#[test]
fn field_without_colon() {
    refused("GET / HTTP/1.1\r\nHost: weir.test\r\nnonsense\r\n\r\n", "", &[400]);
}

#[test]
fn chunk_size_that_is_none() {
    chunk("g\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunk_size_with_prefix() {
    chunk("0x5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunk_size_with_sign() {
    chunk("+5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn empty_chunk_size() {
    chunk("\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunk_size_beyond_64_bits() {
    chunk("ffffffffffffffff5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunk_longer_than_its_size() {
    chunk("3\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn chunk_size_line_with_bare_line_feed() {
    chunk("5\nhello\r\n0\r\n\r\n");
}

/// A request with these chunks must not be answered 200, nor anything after it be served. The member may have seen
/// the head already, never the whole.
fn chunk(body: &str) {
    let all = post("Transfer-Encoding: chunked\r\n", &format!("{body}{SMUGGLED}"));
    let check = |seen: &Seen| {
        assert_eq!(seen.statuses(), [400]);
        assert!(seen.gone() && seen.stray.is_empty());
        assert!(seen.requests.iter().all(|r| !r.complete() || r.head.word(0) == "POST" && r.body.data.is_empty()));
        assert!(seen.requests.iter().all(|r| r.head.word(1) != "/smuggled"));
    };
    Scenario::http().client_sends(all).differs(
        "whether the member has been asked already is a matter of buffering; the answers must agree",
        |haproxy| {
            // One line end of chunk sizes HAProxy takes too.
            if haproxy.statuses() != [200] {
                check(haproxy);
            }
        },
        check,
    );
}

#[test]
fn endless_chunk_extension() {
    let all = post("Transfer-Encoding: chunked\r\n", &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20)));
    Scenario::http().client_sends(all).differs(
        "HAProxy drops an extension of any length; the bytes of a line are bounded (threats F13)",
        |_haproxy| (),
        |weir| assert!(weir.gone() && weir.statuses() != [200]),
    );
}

#[test]
fn trailers_that_frame() {
    let all = post(
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\nHost: evil.test\r\nX-Ok: 1\r\n\r\n",
    );
    Scenario::http().client_sends(all).differs(
        "a trailer that says how to read the message is dropped or refused (RFC 9110 6.5.1)",
        |haproxy| assert_eq!(haproxy.statuses().len(), 1),
        |weir| {
            for request in &weir.requests {
                assert_eq!(request.head.all("host"), ["weir.test"]);
                for (name, _) in &request.body.trailers {
                    assert!(
                        !["content-length", "transfer-encoding", "host"].contains(&name.to_ascii_lowercase().as_str()),
                        "the member got {name} as a trailer"
                    );
                }
            }
        },
    );
}

#[test]
fn version_2_0() {
    refused_with(
        505,
        "GET / HTTP/2.0\r\nHost: weir.test\r\n\r\n",
        "HAProxy writes 1.1 over it; nobody speaks 2.0 like this",
        &[200, 200],
    );
}

#[test]
fn version_1_2() {
    Scenario::http().client_sends("GET / HTTP/1.2\r\nHost: weir.test\r\n\r\n").differs(
        "a minor version may be higher (RFC 9110 2.5); as received it must not reach the member",
        |haproxy| assert_eq!(haproxy.request().head.word(2), "HTTP/1.1"),
        |weir| {
            if weir.statuses() == [200] {
                assert_eq!(weir.request().head.word(2), "HTTP/1.1");
            } else {
                assert!(matches!(weir.statuses()[..], [400 | 505]));
            }
        },
    );
}

#[test]
fn version_in_lower_case() {
    refused("GET / http/1.1\r\nHost: weir.test\r\n\r\n", "", &[400]);
}

#[test]
fn version_with_junk() {
    refused("GET / HTTP/1.1x\r\nHost: weir.test\r\n\r\n", "", &[400]);
}

#[test]
fn version_1_10() {
    Scenario::http().client_sends("GET / HTTP/1.10\r\nHost: weir.test\r\n\r\n").differs(
        "not a version at all: 400 or 505",
        |haproxy| assert_eq!(haproxy.statuses(), [400]),
        |weir| {
            assert!(matches!(weir.statuses()[..], [400 | 505]));
            assert!(weir.requests.is_empty());
        },
    );
}

#[test]
fn request_without_version() {
    Scenario::http()
        .client(|c| {
            c.send("GET /\r\n\r\n");
            c.maybe_answer();
        })
        .same(|seen| {
            assert_eq!(seen.statuses(), [400]);
            assert!(seen.requests.is_empty());
        });
}

#[test]
fn two_spaces_in_the_request_line() {
    refused(
        "GET  / HTTP/1.1\r\nHost: weir.test\r\n\r\n",
        "HAProxy takes many for one; RFC 9112 3 allows exactly one",
        &[200, 200],
    );
}

#[test]
fn tab_in_the_request_line() {
    refused(
        "GET\t/ HTTP/1.1\r\nHost: weir.test\r\n\r\n",
        "HAProxy takes a tab for a space; RFC 9112 3 allows exactly one space",
        &[200, 200],
    );
}

#[test]
fn space_in_the_target() {
    refused("GET /a b HTTP/1.1\r\nHost: weir.test\r\n\r\n", "", &[400]);
}

#[test]
fn preface_of_http_2() {
    Scenario::http().client_sends("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").differs(
        "HAProxy speaks HTTP/2 on any plain listener; there is none here yet",
        |haproxy| assert!(haproxy.requests.is_empty()),
        |weir| {
            assert!(weir.requests.is_empty());
            assert!(weir.gone());
            assert!(weir.statuses().iter().all(|s| *s >= 400));
        },
    );
}

#[test]
fn a_proxy_header_nobody_expects() {
    refused("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: weir.test\r\n\r\n", "", &[400]);
}

#[test]
fn tls_to_a_plain_listener() {
    Scenario::http()
        .client_sends(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03abcdefghijklmnop\r\n\r\n".as_slice())
        .same(|seen| seen.refused_with(400));
}

#[test]
fn member_sends_length_and_chunks() {
    bad_answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HAProxy drops the length; whoever sends both may have been tricked",
        200,
    );
}

#[test]
fn member_sends_two_lengths() {
    bad_answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "", 502);
}

#[test]
fn member_sends_garbage() {
    bad_answer("garbage\r\n\r\n", "", 502);
}

#[test]
fn member_sends_an_unknown_version() {
    bad_answer(
        "HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HAProxy writes 1.1 over it; nobody knows how 3.7 is framed",
        200,
    );
}

#[test]
fn member_sends_a_status_that_is_none() {
    bad_answer("HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok", "", 502);
}

#[test]
fn member_sends_a_status_of_two_digits() {
    bad_answer(
        "HTTP/1.1 99 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HAProxy passes it on; a status has three digits (RFC 9112 4)",
        99,
    );
}

#[test]
fn member_sends_a_space_before_the_colon() {
    Scenario::http()
        .member_answers_and_closes("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok")
        .client_sends("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .differs(
            "502, or the space dropped (RFC 9112 5.1)",
            |haproxy| assert_eq!(haproxy.statuses().len(), 1),
            |weir| {
                if weir.statuses() == [200] {
                    assert_eq!(weir.last().text(), "ok");
                } else {
                    assert_eq!(weir.statuses(), [502]);
                }
            },
        );
}

#[test]
fn member_sends_nul_in_a_value() {
    bad_answer(
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "HAProxy passes NUL on; strings of some readers end there (RFC 9110 5.5)",
        200,
    );
}

#[test]
fn member_sends_an_unknown_transfer_coding() {
    bad_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", 502);
}
