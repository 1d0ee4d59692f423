//! Pages about plain requests: every method, every kind of target.

use super::scenario::Scenario;

/// A request of this method without body must reach the member as it is, and the answer the client.
fn method(method: &'static str) {
    Scenario::http()
        .client(move |c| {
            c.send(format!("{method} /a?b=c HTTP/1.1\r\nHost: weir.test\r\n\r\n"));
            c.answer_to(method).expect("an answer");
        })
        .same(move |seen| {
            assert_eq!(seen.statuses(), [200]);
            assert_eq!(seen.request().head.start, format!("{method} /a?b=c HTTP/1.1"));
            assert_eq!(seen.request().header("host"), Some("weir.test"));
            assert!(!seen.gone(), "a plain request must not cost the connection");
        });
}

#[test]
fn get() {
    method("GET");
}

#[test]
fn head() {
    method("HEAD");
}

#[test]
fn delete() {
    method("DELETE");
}

#[test]
fn options() {
    method("OPTIONS");
}

#[test]
fn propfind_and_other_words_are_methods_too() {
    method("PROPFIND");
}

#[test]
fn trace() {
    method("TRACE");
}

/// A request of this method with a small body.
fn method_with_body(method: &'static str) {
    Scenario::http()
        .client(move |c| {
            c.send(format!("{method} /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\nhello"));
            c.answer();
        })
        .same(move |seen| {
            assert_eq!(seen.last().text(), "hello");
            assert_eq!(seen.request().head.start, format!("{method} /body HTTP/1.1"));
            assert_eq!(seen.request().header("content-length"), Some("5"));
        });
}

#[test]
fn post() {
    method_with_body("POST");
}

#[test]
fn put() {
    method_with_body("PUT");
}

#[test]
fn patch() {
    method_with_body("PATCH");
}

#[test]
fn get_with_a_body_keeps_its_frame() {
    method_with_body("GET");
}

#[test]
fn delete_with_a_body_keeps_its_frame() {
    method_with_body("DELETE");
}

#[test]
fn options_of_the_whole_server() {
    Scenario::http().client_sends("OPTIONS * HTTP/1.1\r\nHost: weir.test\r\n\r\n").same(|seen| {
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(seen.request().head.start, "OPTIONS * HTTP/1.1");
    });
}

#[test]
fn lower_case_method_is_another_method() {
    // RFC 9110 9.1: methods are case-sensitive, and unknown ones are the member's to judge.
    Scenario::http().client_sends("get / HTTP/1.1\r\nHost: weir.test\r\n\r\n").same(|seen| {
        assert_eq!(seen.statuses(), [200]);
        assert_eq!(seen.request().head.start, "get / HTTP/1.1");
    });
}

#[test]
fn absolute_target() {
    Scenario::http().client_sends("GET http://weir.test/a?b HTTP/1.1\r\nHost: weir.test\r\n\r\n").differs(
        "RFC 9112 3.2.2 lets a gateway send the origin form; some servers know no other",
        |haproxy| assert_eq!(haproxy.request().head.start, "GET http://weir.test/a?b HTTP/1.1"),
        |weir| {
            assert_eq!(weir.statuses(), [200]);
            assert_eq!(weir.request().head.start, "GET /a?b HTTP/1.1");
            assert_eq!(weir.request().head.all("host"), ["weir.test"]);
        },
    );
}

#[test]
fn absolute_target_without_path() {
    Scenario::http().client_sends("GET http://weir.test HTTP/1.1\r\nHost: weir.test\r\n\r\n").differs(
        "an empty path is `/` in origin form",
        |haproxy| assert_eq!(haproxy.request().head.start, "GET http://weir.test HTTP/1.1"),
        |weir| assert_eq!(weir.request().head.start, "GET / HTTP/1.1"),
    );
}

#[test]
fn absolute_target_of_another_host() {
    Scenario::http().client_sends("GET http://other.test/a HTTP/1.1\r\nHost: weir.test\r\n\r\n").differs(
        "HAProxy refuses the disagreement; RFC 9112 3.2.2 asks to believe the target and replace Host",
        |haproxy| haproxy.refused_with(400),
        |weir| {
            assert_eq!(weir.statuses(), [200]);
            assert_eq!(weir.request().head.start, "GET /a HTTP/1.1");
            assert_eq!(weir.request().head.all("host"), ["other.test"]);
        },
    );
}

#[test]
fn connect_is_not_for_a_reverse_proxy() {
    Scenario::http().client_sends("CONNECT weir.test:443 HTTP/1.1\r\nHost: weir.test:443\r\n\r\n").differs(
        "HAProxy passes it on; a member that answers 200 would have opened a tunnel past everything",
        |haproxy| assert_eq!(haproxy.requests.len(), 1),
        |weir| weir.refused_with(405),
    );
}

#[test]
fn number_sign_in_the_target() {
    Scenario::http().client_sends("GET /a#b HTTP/1.1\r\nHost: weir.test\r\n\r\n").same(|seen| {
        seen.refused_with(400);
        assert_eq!(seen.termination(), "PR--");
    });
}

#[test]
fn relative_target() {
    Scenario::http().client_sends("GET a HTTP/1.1\r\nHost: weir.test\r\n\r\n").same(|seen| seen.refused_with(400));
}

#[test]
fn eight_bit_target() {
    Scenario::http().client_sends(b"GET /\xff HTTP/1.1\r\nHost: weir.test\r\n\r\n".as_slice()).differs(
        "what one server reads as UTF-8 another reads as Latin-1: not a target (RFC 9112 3.2)",
        |haproxy| assert_eq!(haproxy.statuses().len(), 1),
        |weir| weir.refused_with(400),
    );
}
