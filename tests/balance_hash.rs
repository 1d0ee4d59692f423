//! Promise: a hash sends the same key to the same member through any worker, and one that goes moves nobody else; what is
//! hashed of a connection is looked at and not taken.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;

fn asked(vip: SocketAddr, key: u32) -> String {
    // A connection of its own: any worker may get it.
    let mut client = Client::connect(vip);
    client.send(format!("GET /?k={key} HTTP/1.1\r\nHost: weir.test\r\nX-Key: key{key}\r\n\r\n"));
    let answer: serde_json::Value = serde_json::from_str(&client.answer().text()).unwrap();
    answer["member"].as_str().unwrap().to_owned()
}

fn owners(vip: SocketAddr) -> Vec<String> {
    (0..100).map(|key| asked(vip, key)).collect()
}

#[test]
fn keys_stay_and_only_those_of_who_leaves_move() {
    for (algorithm, hash) in [
        ("HEADER", json!({"header": "x-key"})),
        ("URL_PARAM", json!({"parameter": "k", "table": "MAGLEV"})),
        ("HEADER", json!({"header": "x-key", "table": "CONSISTENT"})),
    ] {
        let mut stage = Stage::http(4, |setup| {
            *setup = setup.clone().algorithm(algorithm).workers(4).pool_keys(json!({"hash": hash}));
        });
        let first = owners(stage.vip());
        assert_eq!(owners(stage.vip()), first, "{algorithm}: the same keys went elsewhere");
        let used = ["m1", "m2", "m3", "m4"].map(|name| first.iter().filter(|member| *member == name).count());
        assert!(used.iter().all(|count| *count >= 3), "{algorithm}: {used:?}");

        // Gone without a word: connections to it are refused.
        stage.members[1].kill();
        let without = owners(stage.vip());
        assert!(!without.contains(&"m2".to_owned()));
        let moved = first.iter().zip(&without).filter(|(was, is)| *was != "m2" && was != is).count();
        assert_eq!(moved, 0, "{algorithm}: others moved when a member failed");

        stage.apply(|setup| setup.members.retain(|member| member.name != "m2"));
        let gone = owners(stage.vip());
        let moved = first.iter().zip(&gone).filter(|(was, is)| *was != "m2" && was != is).count();
        assert!(moved <= 10, "{algorithm}: {moved} others moved when a member was taken out");
    }
}

#[test]
fn requests_without_the_value_take_turns() {
    for table in ["RENDEZVOUS", "MAGLEV", "CONSISTENT", "MAP"] {
        let hash = json!({"hash": {"header": "x-key", "table": table}});
        let stage = Stage::http(3, |setup| *setup = setup.clone().algorithm("HEADER").workers(2).pool_keys(hash));
        for _ in 0..48 {
            get(stage.vip(), "/");
        }
        assert_eq!(stage.counts(), [16, 16, 16], "{table}");
    }
}

#[test]
fn a_request_tried_again_keeps_its_key() {
    let hash = json!({"hash": {"header": "x-key"}});
    let mut stage = Stage::http(3, |setup| *setup = setup.clone().algorithm("HEADER").pool_keys(hash));
    let first: Vec<String> = (0..30).map(|key| asked(stage.vip(), key)).collect();
    stage.members[0].kill();
    let without: Vec<String> = (0..30).map(|key| asked(stage.vip(), key)).collect();
    stage.members[0].start();
    stage.apply(|_| ());
    assert_eq!((0..30).map(|key| asked(stage.vip(), key)).collect::<Vec<_>>().len(), first.len());
    let moved: Vec<&String> = first.iter().zip(&without).filter(|(was, _)| *was == "m1").map(|(_, is)| is).collect();
    assert!(moved.contains(&&"m2".to_owned()) && moved.contains(&&"m3".to_owned()), "{moved:?}: all to one");
}

/// The first message of a remote desktop client.
fn hello(cookie: &str) -> Vec<u8> {
    let variable = [cookie.as_bytes(), &[1, 0, 8, 0, 3, 0, 0, 0]].concat();
    let len = 11 + variable.len();
    let mut bytes = vec![3, 0, (len >> 8) as u8, len as u8, (len - 5) as u8, 0xe0, 0, 0, 0, 0, 0];
    bytes.extend(variable);
    bytes
}

/// Members that say who they are and then give back what they get.
fn desktops(hash: &serde_json::Value, inspect_ms: u64) -> Stage {
    desktops_behind(hash, inspect_ms, &serde_json::Value::Null)
}

/// The same behind whoever may say who its clients are.
fn desktops_behind(hash: &serde_json::Value, inspect_ms: u64, proxy_protocol: &serde_json::Value) -> Stage {
    let member = |name: &str, at| {
        let greeting = name.as_bytes().to_owned();
        Member::script(name, at, move |conn| {
            let first = conn.take(1)?;
            conn.send(&greeting)?;
            conn.send(first)?;
            loop {
                let byte = conn.take(1)?;
                conn.send(byte)?;
            }
        })
    };
    let stage = Stage::with(Mode::Tcp, 4, member, |setup| {
        *setup = setup.clone().algorithm("RDP_COOKIE").workers(2).pool_keys(json!({"hash": hash}));
    });
    let mut document = stage.setup.document(&stage.place.path("access.log"));
    let listener = &mut document["loadbalancer"]["listeners"][0];
    listener["timeout_tcp_inspect"] = json!(inspect_ms);
    listener["proxy_protocol"] = proxy_protocol.clone();
    stage.weir.control.apply(&document);
    stage
}

/// Who answers to these pieces, all of which must come back.
fn greeted(vip: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut client = Client::connect(vip);
    client.send_pieces(pieces, Duration::from_millis(2));
    let name = String::from_utf8(client.take(2)).unwrap();
    let sent = pieces.concat();
    assert_eq!(client.take(sent.len()), sent, "what was looked at did not arrive as it was");
    name
}

#[test]
fn remote_desktops_keep_their_member() {
    let stage = desktops(&json!({}), 0);
    let user = |n: usize| hello(&format!("Cookie: mstshash=user{n}\r\n"));
    let first: Vec<String> = (0..24).map(|n| greeted(stage.vip(), &[&user(n)])).collect();
    assert!(["m1", "m2", "m3", "m4"].iter().all(|name| first.contains(&(*name).to_owned())), "{first:?}");
    // Byte by byte, and with more behind it, it is the same user.
    for (n, name) in first.iter().enumerate() {
        let whole = user(n);
        let pieces: Vec<&[u8]> = if n < 4 { whole.chunks(1).collect() } else { vec![&whole, b"and more"] };
        assert_eq!(greeted(stage.vip(), &pieces), *name, "user {n}");
    }
}

/// What came with a PROXY header has been read by then; what comes later has not.
#[test]
fn a_cookie_behind_a_proxy_header_is_found_wherever_the_bytes_part() {
    let stage = desktops_behind(&json!({}), 60_000, &json!({"trusted": ["127.0.0.0/8"]}));
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 3389\r\n";
    for n in 0..6 {
        let message = hello(&format!("Cookie: mstshash=user{n}\r\n"));
        let greeted_over = |pieces: &[&[u8]]| {
            let mut client = Client::connect(stage.vip());
            client.send_pieces(pieces, Duration::from_millis(2));
            let name = String::from_utf8(client.take(2)).unwrap();
            assert_eq!(client.take(message.len()), message, "what was looked at did not arrive as it was");
            name
        };
        let whole = greeted_over(&[&[&header[..], &message].concat()]);
        for cut in [0, 1, 11, 20, message.len() - 9] {
            let (one, other) = message.split_at(cut);
            let name = greeted_over(&[&[&header[..], one].concat(), other]);
            assert_eq!(name, whole, "user {n}, parted after {cut} bytes");
        }
    }
}

#[test]
fn who_says_something_else_takes_its_turn_at_once() {
    // Long enough that a wait would be seen.
    let stage = desktops(&json!({"table": "MAP"}), 60_000);
    let others: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[22, 3, 1, 0, 5], &hello(""), &hello("Cookie: other=1\r\n")];
    let names: Vec<String> = others.iter().map(|bytes| greeted(stage.vip(), &[bytes])).collect();
    assert_eq!(names, ["m1", "m2", "m3", "m4"]);
}

#[test]
fn who_says_nothing_is_waited_for_as_long_as_the_listener_says() {
    let stage = desktops(&json!({"table": "MAP"}), 300);
    // Nothing at all, then half of a message: both are passed on when the time is over.
    for beginning in [&b""[..], &hello("Cookie: mstshash=a")[..20]] {
        let began = Instant::now();
        let mut client = Client::connect(stage.vip());
        client.send(beginning);
        let rest: &[u8] = if beginning.is_empty() { b"x" } else { b"" };
        let connections = || stage.members.iter().map(Member::connections).sum::<usize>();
        let before = connections();
        weir_tests::wait::until_true(weir_tests::wait::PATIENCE, "a member to be asked", || connections() > before);
        assert!(began.elapsed() >= Duration::from_millis(290), "not waited for: {:?}", began.elapsed());
        client.send(rest);
        client.take(2);
        let sent = [beginning, rest].concat();
        assert_eq!(client.take(sent.len()), sent);
    }
    // One that has sent all it will is not waited for.
    let stage = desktops(&json!({"table": "MAP"}), 60_000);
    let mut client = Client::connect(stage.vip());
    client.send(&hello("Cookie: mstshash=a")[..20]);
    client.half_close();
    assert_eq!(client.take(22).len(), 22);
    assert_ne!(client.end, Some(End::Idle));
}
