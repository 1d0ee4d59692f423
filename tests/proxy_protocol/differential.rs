//! The same bytes for HAProxy 2.6 and Weir: what each takes for a header and makes of it, what each sends, and whom it
//! lends a connection to.

use std::net::SocketAddr;

use lb_core::config::monitor::ProxyVersion;
use lb_core::proxy_protocol::{Ends, Written};
use serde_json::json;
use weir_tests::client::Client;
use weir_tests::haproxy::Haproxy;
use weir_tests::member::{Member, ok};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::{GET, V1, V4_ENDS, trusting, v2};

/// What a client saw: `client-address port-it-connected-to` as the member was told, or that it was not served.
type Told = Option<String>;

/// Sends `bytes` and a request.
fn ask(vip: SocketAddr, from: &Place, bytes: &[u8]) -> Told {
    let mut client = Client::connect_from(from.ip(), vip);
    client.send([bytes, GET.as_bytes()].concat());
    let answer = client.maybe_answer().filter(|answer| answer.status() == 200)?;
    let text = answer.text().to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").to_owned();
    Some(format!("{}{}", value("x-forwarded-for:"), value("x-forwarded-port:")))
}

struct Both {
    haproxy: SocketAddr,
    weir: SocketAddr,
    from: Place,
    _running: (Place, Place, Member, Haproxy, Weir),
}

/// Both before one member that shows what it got, taking headers from everybody.
fn both() -> Both {
    let (one, other, from) = (Place::new(), Place::new(), Place::new());
    let member = Member::http("m1", one.socket());
    let mut theirs = Setup::new(Mode::Http, one.socket(), [("m1", member.socket())]);
    theirs.haproxy_bind =
        "accept-proxy\n  option forwardfor\n  http-request set-header x-forwarded-port %[dst_port]".to_owned();
    // The same port, so that a connection's own is the same to both.
    let mut ours = theirs.clone();
    ours.vip = SocketAddr::new(other.ip(), theirs.vip.port());
    trusting(&mut ours, true);
    let haproxy = Haproxy::start(&one, &theirs);
    let weir = Weir::start(&other, &ours);
    Both { haproxy: theirs.vip, weir: ours.vip, from, _running: (one, other, member, haproxy, weir) }
}

fn extended(bytes: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[V4_ENDS, bytes].concat())
}

#[test]
fn headers_both_take_or_refuse_alike() {
    let both = both();
    let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 28], &[0x30, 0x39, 0x1f, 0x90]].concat();
    let longest = [&[4, 0x0f, 0xf1][..], &vec![0; 4081]].concat();
    for (bytes, served) in [
        (V1.as_bytes().to_vec(), true),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1111 2222\r\n".to_vec(), true),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1111 2222\r\n".to_vec(), true),
        (b"PROXY UNKNOWN\r\n".to_vec(), true),
        (v2(0x21, 0x11, V4_ENDS), true),
        (v2(0x21, 0x21, &v6), true),
        (v2(0x20, 0x00, b""), true),
        (v2(0x20, 0x11, V4_ENDS), true),
        (v2(0x20, 0x11, b"abc"), true),
        (extended(&[4, 0, 3, 1, 2, 3, 0xe0, 0, 0]), true),
        (extended(&longest), true),
        (b"".to_vec(), false),
        (V1.to_ascii_lowercase().into_bytes(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8080\n".to_vec(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8080 \r\n".to_vec(), false),
        (b"PROXY TCP4  192.0.2.1 198.51.100.2 12345 8080\r\n".to_vec(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8080 1\r\n".to_vec(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n".to_vec(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2\r\n".to_vec(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 1\r\n".to_vec(), false),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 1\r\n".to_vec(), false),
        (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n".to_vec(), false),
        (b"PROXY TCP6 192.0.2.1 198.51.100.2 1 1\r\n".to_vec(), false),
        (b"PROXY TCP4 localhost 198.51.100.2 1 1\r\n".to_vec(), false),
        (b"PROXY TCP5 192.0.2.1 198.51.100.2 1 1\r\n".to_vec(), false),
        (b"PROXY UNKNOWNS\r\n".to_vec(), false),
        (v2(0x11, 0x11, V4_ENDS), false),
        (v2(0x31, 0x11, V4_ENDS), false),
        (v2(0x22, 0x11, V4_ENDS), false),
        (v2(0x21, 0x10, V4_ENDS), false),
        (v2(0x21, 0x13, V4_ENDS), false),
        (v2(0x21, 0x41, V4_ENDS), false),
        (v2(0x21, 0x11, &V4_ENDS[..11]), false),
        (v2(0x21, 0x21, &v6[..35]), false),
        (extended(&[4, 0]), false),
        (extended(&[4, 0, 5, 1, 2, 3]), false),
        (extended(&[3, 0, 3, 1, 2, 3]), false),
        (extended(&[3, 0, 4, 1, 2, 3, 4]), false),
        (v2(0x21, 0x11, &vec![0; 65_000]), false),
        (V1.repeat(2).into_bytes(), false),
    ] {
        let shown = bytes[..bytes.len().min(80)].escape_ascii();
        let theirs = ask(both.haproxy, &both.from, &bytes);
        assert_eq!(theirs.is_some(), served, "HAProxy: {shown}");
        // It shows an IPv4 client in IPv6 clothes as it came.
        let theirs = theirs.map(|told| told.replace("::ffff:", ""));
        assert_eq!(ask(both.weir, &both.from, &bytes), theirs, "{shown}");
    }
}

/// Where they differ, and why.
#[test]
fn headers_they_judge_differently() {
    let both = both();
    let own = Some(format!(" {} {}", both.from.ip(), both.weir.port()));
    let named = Some(" 192.0.2.1 8080".to_owned());
    for (bytes, why, haproxy, weir) in [
        (
            b"PROXY UNKNOWN 192.0.2.1 198.51.100.2 1 2\r\n".to_vec(),
            "what stands behind UNKNOWN is to be ignored (section 2.1)",
            None,
            own.clone(),
        ),
        (v2(0x21, 0x00, b""), "UNSPEC may be served with the connection's own addresses (2.2)", None, own.clone()),
        (v2(0x21, 0x12, V4_ENDS), "a family one does not serve is like UNSPEC (2.2)", None, own.clone()),
        (v2(0x21, 0x31, &[b'/'; 216]), "the same", None, own.clone()),
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.2 012345 8080\r\n".to_vec(),
            "numbers have no leading zeros (2.1)",
            named.clone(),
            None,
        ),
        (
            b"PROXY TCP4 192.0.2.01 198.51.100.2 12345 8080\r\n".to_vec(),
            "the same; some read them as octal",
            named.clone(),
            None,
        ),
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 8080\r\n".to_vec(),
            "HAProxy makes 0 of it; a port is at most 65535 (2.1)",
            named.clone(),
            None,
        ),
        (
            extended(&[&[4, 0x0f, 0xf2][..], &vec![0; 4082]].concat()),
            "HAProxy takes what fits into its buffer; our bound is 4 KiB",
            named,
            None,
        ),
    ] {
        let shown = bytes[..bytes.len().min(80)].escape_ascii();
        assert_eq!(ask(both.haproxy, &both.from, &bytes), haproxy, "HAProxy: {shown}: {why}");
        assert_eq!(ask(both.weir, &both.from, &bytes), weir, "{shown}: {why}");
    }
}

/// HAProxy looks once for a whole header; ours may drip, since a segment's end means nothing.
#[test]
fn only_haproxy_wants_a_header_in_one_piece() {
    let both = both();
    let drip = |vip| {
        let mut client = Client::connect(vip);
        let (start, rest) = V1.split_at(9);
        client.send_pieces(&[start.as_bytes(), rest.as_bytes(), GET.as_bytes()], std::time::Duration::from_millis(50));
        client.maybe_answer().map(|answer| answer.status())
    };
    assert_eq!((drip(both.haproxy), drip(both.weir)), (None, Some(200)));
}

/// Three clients ask three times each, while the others are still there: what the member gets names the right one.
fn three_clients(haproxy: bool, mode: Mode, version: &str) {
    let place = Place::new();
    let member = Member::script("m1", place.socket(), |conn| {
        let version_2 = conn.take(16)?.starts_with(b"\r\n");
        if version_2 {
            conn.take(12)?;
        } else {
            while !conn.take(1)?.ends_with(b"\n") {}
        }
        loop {
            conn.request()?;
            conn.send(ok("x"))?;
        }
    });
    let mut setup = Setup::new(mode, place.socket(), [("m1", member.socket())]).pool_keys(json!({"protocol": version}));
    setup.haproxy_server = if version == "PROXY" { "send-proxy" } else { "send-proxy-v2" }.to_owned();
    setup.haproxy_backend = "  http-reuse always\n".to_owned();
    let running = match haproxy {
        true => (Some(Haproxy::start(&place, &setup)), None),
        false => (None, Some(Weir::start(&place, &setup))),
    };
    let mut clients = Vec::new();
    for _ in 0..3 {
        let before = member.connections();
        let mut client = Client::connect(setup.vip);
        let own = client.wire().stream().local_addr().unwrap();
        for _ in 0..3 {
            assert_eq!(client.get("/").status(), 200);
        }
        clients.push((client, own, before..member.connections()));
    }
    drop(running);
    until_true(PATIENCE, "all to be closed", || member.visits().iter().all(|visit| visit.end.is_some()));
    let visits = member.visits();
    for (_, own, connections) in clients {
        // HAProxy may close one that it thinks it does not need.
        assert!(if haproxy { !connections.is_empty() } else { connections.len() == 1 }, "{connections:?}");
        let version = if version == "PROXY" { ProxyVersion::V1 } else { ProxyVersion::V2 };
        let expected = Written::of(version, Ends { source: own, destination: setup.vip });
        for connection in connections {
            let bytes = &visits[connection].bytes;
            let end = bytes.windows(4).position(|w| w == b"GET ").unwrap();
            assert_eq!(bytes[..end].escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }
}

/// The same header for the same client, once for each connection, and no connection for two clients.
#[test]
fn members_get_the_same_headers() {
    for mode in [Mode::Http, Mode::Tcp] {
        for version in ["PROXY", "PROXYV2"] {
            for haproxy in [true, false] {
                three_clients(haproxy, mode, version);
            }
        }
    }
}

/// Ends of different families, which only HAProxy can have (its rules can name any source): we write them alike.
#[test]
fn mixed_families_are_written_as_haproxy_does() {
    for (words, version) in [("send-proxy", ProxyVersion::V1), ("send-proxy-v2", ProxyVersion::V2)] {
        let place = Place::new();
        let member = Member::script("m1", place.socket(), |conn| {
            conn.take_to_end();
            Ok(())
        });
        let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
        setup.haproxy_bind = "\n  http-request set-src hdr(x-from)\n  http-request set-src-port int(4711)".to_owned();
        setup.haproxy_server = words.to_owned();
        let haproxy = Haproxy::start(&place, &setup);
        let mut client = Client::connect(setup.vip);
        client.send("GET / HTTP/1.1\r\nHost: weir.test\r\nX-From: 2001:db8::1\r\n\r\n");
        until_true(PATIENCE, "the request to arrive", || member.connections() == 1);
        client.leave();
        drop(haproxy);
        until_true(PATIENCE, "it to end", || member.visits()[0].end.is_some());
        let bytes = member.visits()[0].bytes.clone();
        let source = "[2001:db8::1]:4711".parse().unwrap();
        let expected = Written::of(version, Ends { source, destination: setup.vip });
        assert!(bytes.starts_with(&expected), "{} and not {}", bytes.escape_ascii(), expected.escape_ascii());
    }
}
