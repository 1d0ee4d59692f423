//! P1–P6: what belongs to one connection, and what clients say in our name.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;
use weir_tests::strict_member::{Arrival, Said};

use super::court::{Case, Court, SMUGGLED, Seen, arrives, get, post, served};

const PLAIN: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// What `Connection` nominates, and what belongs to a connection by its name.
pub(super) fn p1() -> Vec<Case> {
    let rule = "RFC 9110 7.6.1";
    let mut cases: Vec<Case> = [
        "Connection: X-Hop\r\nX-Hop: 1\r\n",
        "X-Hop: 1\r\nConnection: X-Hop\r\n",
        "Connection: x-hop\r\nX-HOP: 1\r\nx-hop: 2\r\n",
        "Connection: X-Hop, X-Other\r\nX-Hop: 1\r\nX-Other: 2\r\n",
        "Connection: X-Hop\r\nConnection: X-Other\r\nX-Hop: 1\r\nX-Other: 2\r\n",
        "Connection: ,, X-Hop ,\r\nX-Hop: 1\r\n",
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\n",
        "Connection: X-Hop\t,\tX-Other\r\nX-Hop: 1\r\nX-Other: 2\r\n",
        "Connection:X-Hop\r\nX-Hop:1\r\n",
        "Connection: X-Absent\r\n",
        "Connection:\r\n",
        "Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100\r\n",
        "Keep-Alive: 300\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Proxy-Connection: close\r\n",
        "TE: trailers\r\n",
        "TE: trailers\r\nConnection: TE\r\n",
        "TE: gzip, deflate;q=0.5\r\nConnection: TE\r\n",
        "TE: chunked\r\n",
        "TE:\r\n",
        "Upgrade: websocket\r\n",
        "Connection: connection\r\n",
        "Connection: keep-alive, keep-alive\r\n",
        "Connection: \"close\"\r\n",
        "Connection: \u{e9}\r\n",
    ]
    .into_iter()
    .map(|fields| served(format!("{fields:?}"), rule, get(fields), [arrives(PLAIN, "")]))
    .collect();
    for close in
        ["close", "Close", "CLOSE", "close, keep-alive", "keep-alive, close", "X-Hop, close", "x,close,y", " close "]
    {
        let bytes = [get(format!("Connection: {close}\r\nX-Hop: 1\r\n")), SMUGGLED.as_bytes().to_vec()].concat();
        let head =
            if close.contains("X-Hop") { PLAIN.to_owned() } else { PLAIN.replace("\r\n\r\n", "\r\nX-Hop: 1\r\n\r\n") };
        cases.push(served(format!("Connection: {close}"), rule, bytes, [arrives(&head, "")]));
    }
    cases
}

#[test]
fn p1_what_belongs_to_one_connection_stays_there() {
    Court::new().try_all(&p1());
}

/// Nominating what frames a message, names its target, or is ours.
pub(super) fn p2() -> Vec<Case> {
    let rule = "RFC 9110 7.6.1";
    let mut cases = Vec::new();
    for word in [
        "Content-Length",
        "content-length",
        "Host",
        "host",
        "Transfer-Encoding",
        "Content-Length, Host, X-Forwarded-For",
    ] {
        let bytes =
            [post(format!("Content-Length: 5\r\nConnection: {word}\r\n"), "hello"), SMUGGLED.as_bytes().to_vec()]
                .concat();
        let head = "POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\n";
        cases.push(served(
            format!("with a length: {word}"),
            rule,
            bytes,
            [arrives(head, "hello"), arrives(SMUGGLED, "")],
        ));
        let bytes = [
            post(format!("Connection: {word}\r\nTransfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n"),
            SMUGGLED.as_bytes().to_vec(),
        ]
        .concat();
        let head = "POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        cases.push(served(
            format!("with chunks: {word}"),
            rule,
            bytes,
            [arrives(head, "hello"), arrives(SMUGGLED, "")],
        ));
    }
    cases
}

#[test]
fn p2_nominating_what_frames_a_message_does_not_strip_it() {
    Court::new().try_all(&p2());
}

fn telling() -> Court {
    Court::with(|setup| {
        setup.listener = json!({
            "insert_headers": {"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"},
        });
    })
}

/// What a member is told by us, whatever the client nominates or claims.
#[track_caller]
fn told(court: &Court, fields: &str, forwarded_for: &[&str]) {
    let mut client = TcpStream::connect(court.vip).unwrap();
    client.write_all(&get(fields)).unwrap();
    assert_eq!(Seen::read(&mut client, 1).unwrap().statuses(), [200]);
    let arrived = court.member.arrivals();
    let [Arrival::Request(request)] = &arrived[..] else { panic!("{arrived:?}") };
    let values = |name: &str| -> Vec<String> {
        let lines = request.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    };
    assert_eq!(values("x-forwarded-for"), forwarded_for, "{fields:?}");
    assert_eq!(values("x-forwarded-proto"), ["http"], "{fields:?}");
    assert_eq!(values("x-forwarded-port"), [court.vip.port().to_string()], "{fields:?}");
    // CGI and its heirs make the same variable of both.
    let twin =
        |line: &&str| line.contains('_') && line.to_ascii_lowercase().replace('_', "-").starts_with("x-forwarded-");
    assert_eq!(request.head.lines().find(twin), None, "{fields:?}");
}

#[test]
fn p2_nominating_what_we_add_does_not_strip_it() {
    let court = telling();
    for word in ["X-Forwarded-For", "x-forwarded-for, x-forwarded-port, x-forwarded-proto", "close, X-Forwarded-Proto"]
    {
        told(&court, &format!("Connection: {word}\r\n"), &["127.0.0.1"]);
    }
    // What the client said and nominated is gone; what we say is there.
    told(&court, "X-Forwarded-For: 1.2.3.4\r\nConnection: X-Forwarded-For\r\n", &["127.0.0.1"]);
}

#[test]
fn p3_our_word_is_the_last() {
    let court = telling();
    told(&court, "", &["127.0.0.1"]);
    told(&court, "X-Forwarded-For: 1.2.3.4\r\n", &["1.2.3.4", "127.0.0.1"]);
    told(
        &court,
        "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nx-forwarded-for: 9.9.9.9\r\n",
        &["1.2.3.4, 5.6.7.8", "9.9.9.9", "127.0.0.1"],
    );
    told(&court, "X-Forwarded-Proto: https\r\n", &["127.0.0.1"]);
    told(&court, "x-forwarded-proto: https\r\nX-FORWARDED-PROTO: wss\r\nX-Forwarded-Port: 443\r\n", &["127.0.0.1"]);
    told(&court, "X-Forwarded-Port: 1\r\nX-Forwarded-Port: 2\r\n", &["127.0.0.1"]);
}

#[test]
fn p3_what_some_readers_take_for_our_word_stops_here() {
    let court = telling();
    told(&court, "X_Forwarded_For: 6.6.6.6\r\n", &["127.0.0.1"]);
    told(
        &court,
        "x-forwarded_for: 6.6.6.6\r\nX_Forwarded-For: 6.6.6.7\r\nX-Forwarded-For: 1.2.3.4\r\n",
        &["1.2.3.4", "127.0.0.1"],
    );
    told(&court, "X_FORWARDED_PROTO: https\r\nX_Forwarded_Port: 443\r\nX-Forwarded_Port: 443\r\n", &["127.0.0.1"]);
    // Where nothing is ours to say, a client says what it likes.
    let head = PLAIN.replace("\r\n\r\n", "\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n");
    Court::new().try_all(&[served("nothing inserted", "RFC 3875 4.1.18", &head, [arrives(&head, "")])]);
}

/// What another protocol is asked for is a request like any other until it is answered by 101; with a body it asks for none.
pub(super) fn p4() -> Vec<Case> {
    let rule = "RFC 9110 7.8; CVE-2026-2833";
    let mut cases = Vec::new();
    for (upgrade, asked) in [
        ("websocket", "websocket"),
        ("h2c", ""),
        ("TLS/1.0", ""),
        ("x", "x"),
        ("websocket, h2c", "websocket"),
        ("HTTP/2.0", ""),
        ("", ""),
    ] {
        let asking = match asked {
            "" => PLAIN.to_owned(),
            _ => PLAIN.replacen("\r\n\r\n", &format!("\r\nConnection: upgrade\r\nUpgrade: {asked}\r\n\r\n"), 1),
        };
        let fields = format!("Connection: Upgrade\r\nUpgrade: {upgrade}\r\n");
        let bytes = [get(&fields), SMUGGLED.as_bytes().to_vec()].concat();
        cases.push(served(format!("Upgrade: {upgrade}"), rule, bytes, [arrives(&asking, ""), arrives(SMUGGLED, "")]));
        let hidden = "GET /hidden HTTP/1.1\r\nHost: weir.test\r\n\r\n";
        let length = format!("Content-Length: {}\r\n", hidden.len());
        let bytes = [post(format!("{fields}{length}"), hidden), SMUGGLED.as_bytes().to_vec()].concat();
        let head = format!("POST / HTTP/1.1\r\nHost: weir.test\r\n{length}\r\n");
        cases.push(served(
            format!("Upgrade: {upgrade}, with a body"),
            rule,
            bytes,
            [arrives(&head, hidden), arrives(SMUGGLED, "")],
        ));
    }
    cases
}

#[test]
fn p4_an_upgrade_that_is_not_answered_by_101_is_no_tunnel() {
    Court::new().try_all(&p4());
}

/// HTTP/2 in clear text is not asked for on.
pub(super) fn p5() -> Vec<Case> {
    let rule = "RFC 9113 3.1";
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "Connection: HTTP2-Settings\r\nHTTP2-Settings:\r\nupgrade: H2C\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
        "Upgrade: h2, h2c\r\nConnection: keep-alive, upgrade\r\n",
    ]
    .into_iter()
    .map(|fields| served(format!("{fields:?}"), rule, get(fields), [arrives(PLAIN, "")]))
    .collect()
}

#[test]
fn p5_http_2_is_not_asked_for_on() {
    Court::new().try_all(&p5());
}

/// A member that switches unasked, or to what nobody asked for.
#[test]
fn p6_a_switch_nobody_asked_for_is_a_bad_answer() {
    let court = Court::new();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nsurprise";
    let bare = "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for said in [switch, bare] {
        for fields in ["", "Connection: Upgrade\r\nUpgrade: other\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"] {
            court.member.says("/", Said::of([said]));
            let mut client = TcpStream::connect(court.vip).unwrap();
            client.write_all(&[get(fields), SMUGGLED.as_bytes().to_vec()].concat()).unwrap();
            let seen = Seen::read(&mut client, usize::MAX).unwrap();
            assert_eq!(seen.statuses(), [502], "{fields:?}");
            seen.is_over().unwrap();
            // The request sent ahead was for nobody's tunnel.
            assert!(court.member.arrivals().len() <= 1, "{fields:?}");
        }
    }
}
