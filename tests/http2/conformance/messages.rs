//! Requests that are malformed (RFC 9113 section 8.1.1): their streams end with PROTOCOL_ERROR.

use super::*;

const PROTOCOL: Must = Must::Reset(code::PROTOCOL_ERROR);

type Fields = Vec<(&'static str, &'static [u8])>;

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        case("8.1", "HEADERS again, not at the end", &[post(1), frame(kind::HEADERS, 4, 1, &more("x-a", 1))], PROTOCOL),
        case("8.1", "HEADERS again, a request, not at the end", &[post(1), post(1)], PROTOCOL),
        case("8.1", "a pseudo-field in trailers", &[post(1), data(1, 0, b"test"), trailers(4, ":method")], PROTOCOL),
        case("8.1", "the same, at the end", &[post(1), data(1, 0, b"test"), trailers(5, ":method")], PROTOCOL),
        case("8.2", "upper case in trailers", &[post(1), data(1, 0, b"test"), trailers(5, "X-Sum")], PROTOCOL),
        case("8.1.1", "more DATA than said", &[sized(b"1"), data(1, END_STREAM, b"test")], PROTOCOL),
        case("8.1.1", "the same in two", &[sized(b"1"), data(1, 0, b"test"), data(1, END_STREAM, b"test")], PROTOCOL),
        case("8.1.1", "less DATA than said", &[sized(b"9"), data(1, END_STREAM, b"test")], PROTOCOL),
        case(
            "8.1.1",
            "less DATA than said before trailers",
            &[sized(b"9"), data(1, 0, b"t"), trailers(5, "x")],
            PROTOCOL,
        ),
    ];
    let named: Vec<(&'static str, &'static str, Fields)> = vec![
        ("8.1.1", "a length without DATA", with(&[("content-length", b"1")])),
        ("8.2.1", "upper case", with(&[("X-TEST", b"ok")])),
        ("8.2.1", "upper case at the end", with(&[("x-tesT", b"ok")])),
        ("8.2.2", "connection", with(&[("connection", b"keep-alive")])),
        ("8.2.2", "keep-alive", with(&[("keep-alive", b"5")])),
        ("8.2.2", "proxy-connection", with(&[("proxy-connection", b"keep-alive")])),
        ("8.2.2", "transfer-encoding", with(&[("transfer-encoding", b"chunked")])),
        ("8.2.2", "upgrade", with(&[("upgrade", b"websocket")])),
        ("8.2.2", "te with more than trailers", with(&[("te", b"trailers, deflate")])),
        ("8.2.2", "te without trailers", with(&[("te", b"deflate")])),
        ("8.3", "a pseudo-field nobody knows", with(&[(":test", b"ok")])),
        ("8.3", "a pseudo-field of answers", with(&[(":status", b"200")])),
        ("8.3", "a pseudo-field after others", late()),
        ("8.3.1", "no method", without(":method")),
        ("8.3.1", "neither method nor scheme", neither()),
        ("8.3.1", "no scheme", without(":scheme")),
        ("8.3.1", "no path", without(":path")),
        ("8.3.1", "an empty path", changed(":path", b"")),
        ("8.3.1", "a path of another server", changed(":path", b"http://other.example/")),
        ("8.3.1", "an empty method", changed(":method", b"")),
        ("8.3.1", "a method with a space", changed(":method", b"GET /x HTTP/1.1")),
        ("8.3.1", "an empty scheme", changed(":scheme", b"")),
        ("8.3.1", "a path with a space", changed(":path", b"/a b")),
        ("8.3.1", "two methods", with(&[(":method", b"GET")])),
        ("8.3.1", "two other methods", with(&[(":method", b"/")])),
        ("8.3.1", "two schemes", with(&[(":scheme", b"http")])),
        ("8.3.1", "two paths", with(&[(":path", b"/")])),
        ("8.3.1", "two authorities", with(&[(":authority", b"weir.test")])),
    ];
    all.extend(named.into_iter().map(|(section, what, list)| {
        case(section, what, &[frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields(&list))], PROTOCOL)
    }));
    all
}

fn sound() -> Fields {
    vec![(":method", b"GET"), (":scheme", b"http"), (":path", b"/"), (":authority", b"weir.test")]
}

fn with(more: &[(&'static str, &'static [u8])]) -> Fields {
    [&sound()[..], more].concat()
}

fn without(name: &str) -> Fields {
    sound().into_iter().filter(|(other, _)| *other != name).collect()
}

fn neither() -> Fields {
    without(":method").into_iter().filter(|(other, _)| *other != ":scheme").collect()
}

fn changed(name: &str, value: &'static [u8]) -> Fields {
    sound().into_iter().map(|(other, old)| (other, if other == name { value } else { old })).collect()
}

fn late() -> Fields {
    [vec![("x-test", &b"ok"[..])], sound()].concat()
}

/// HEADERS of a request with a body of so many bytes.
fn sized(length: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/", &[("content-length", length)]))
}

fn trailers(flags: u8, name: &str) -> Vec<u8> {
    frame(kind::HEADERS, flags, 1, &fields(&[(name, b"ok")]))
}
