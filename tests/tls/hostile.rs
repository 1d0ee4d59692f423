//! What is no handshake, a bad one, or one that never ends: refused with an alert and a reason, bounded, and nobody
//! else notices (threats T1, T2, T7).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::message::End;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

use super::{HOST, Play, terminate};

fn record(kind: u8, version: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind][..], &version.to_be_bytes(), &length, body].concat()
}

/// A greeting as the library makes it.
fn greeting(play: &Play) -> Vec<u8> {
    let listener = std::net::TcpListener::bind((play.place.ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let clients = play.clients();
    let client = std::thread::spawn(move || clients.connect(address, HOST).is_ok());
    let (mut socket, _) = listener.accept().unwrap();
    let mut head = [0; 5];
    socket.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    socket.read_exact(&mut body).unwrap();
    drop(socket);
    assert!(!client.join().unwrap());
    [&head[..], &body].concat()
}

/// Whoever behaves is served, soon.
fn others_are_served(play: &Play) {
    let began = Instant::now();
    assert_eq!(play.clients().get(play.vip(), HOST, "/x").unwrap().status(), 200);
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
}

#[test]
fn what_is_no_handshake_is_refused_with_an_alert() {
    let play = Play::new(|_, _, _| ());
    let hello = greeting(&play);
    let mut shorter = hello.clone();
    shorter[8] = shorter[8].checked_sub(1).unwrap_or(1);
    let huge = [&[1, 0xff, 0xff, 0xff][..], &[3; 16_000]].concat();
    let huge = [record(22, 0x0301, &huge), record(22, 0x0301, &[3; 16_000]).repeat(8)].concat();
    let garbage: Vec<u8> = (0..2000_u32).map(|n| (n * 131 % 251) as u8).collect();
    for (what, bytes) in [
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n".to_vec()),
        ("garbage", garbage),
        ("an oversized record", [&[22, 3, 1, 0xff, 0xff][..], &[1; 20_000]].concat()),
        ("an empty handshake record", record(22, 0x0301, b"")),
        ("data before the handshake", record(23, 0x0303, b"hello")),
        ("an unknown kind of record", record(99, 0x0303, b"hello")),
        ("a handshake message of 16 MiB", huge),
        ("another message than a greeting", record(22, 0x0301, &[11, 0, 0, 3, 0, 0, 0])),
        ("a greeting of another length", shorter),
        ("a greeting cut in its record", record(22, 0x0301, &[1, 0, 0, 2, 3, 3])),
        ("an alert", record(21, 0x0303, &[2, 40])),
    ] {
        let mut client = Client::connect(play.vip());
        client.send(&bytes);
        client.half_close();
        let end = client.take_to_end();
        assert_ne!(end, End::Idle, "{what}: neither refused nor closed");
        // An alert is not answered, and the library has none for a message that is too long.
        if !["an alert", "a handshake message of 16 MiB"].contains(&what) {
            assert_eq!(client.stray.first(), Some(&21), "{what}: no alert but {:?}", client.stray);
        }
    }
    // Only once all were refused: figures grow with the end of each.
    until_true(PATIENCE, "all to be counted", || play.weir.control.listener().tls_failures == 11);
    play.wait_reason("TLS: the client does not speak TLS");
    assert_eq!(play.member.requests(), 0);
    others_are_served(&play);
    assert_eq!(play.weir.control.stats().sessions_panicked, 0);
}

/// Names that are none lead to the default certificate or a refusal, never further (threats T4).
#[test]
fn a_name_with_a_null_or_of_huge_length_does_no_harm() {
    let play = Play::new(|_, _, _| ());
    let hello = greeting(&play);
    let at = hello.windows(HOST.len()).position(|w| w == HOST.as_bytes()).expect("a name");
    for letter in [0_u8, b'\r', 0xff, b'/', b'*'] {
        let mut bytes = hello.clone();
        bytes[at + 2] = letter;
        let mut client = Client::connect(play.vip());
        client.send(&bytes);
        client.half_close();
        assert_ne!(client.take_to_end(), End::Idle, "{letter}");
    }
    others_are_served(&play);
}

#[test]
fn floods_before_the_handshake_end_soon() {
    let play = Play::new(|_, _, _| ());
    for flood in [record(20, 0x0303, &[1]), record(21, 0x0303, &[1, 0]), record(22, 0x0303, &[0, 0, 0, 0])] {
        let mut socket = TcpStream::connect(play.vip()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Far below the time for a whole handshake: refused for what it is.
        let portion = flood.repeat(2_000);
        let mut sent = 0_usize;
        while sent < 16 << 20 && socket.write_all(&portion).is_ok() {
            sent += portion.len();
        }
        assert!(sent < 16 << 20, "{sent} bytes of {:?} were taken", &flood[..]);
    }
    others_are_served(&play);
}

#[test]
fn a_stalled_or_dribbled_handshake_ends_in_time() {
    let play = Play::new(|setup, _, _| terminate(setup, json!({"timeout_tls_handshake": 700})));
    let hello = greeting(&play);
    let ends_in_time = |what: &str, mut client: Client| {
        let began = Instant::now();
        while client.fate_if_open(Duration::from_secs(8)).is_some_and(|end| end == End::Idle) {
            assert!(began.elapsed() < Duration::from_secs(8), "{what} was not cut");
        }
    };
    ends_in_time("silence", Client::connect(play.vip()));
    let mut half = Client::connect(play.vip());
    half.send(&hello[..hello.len() / 2]);
    ends_in_time("half a greeting", half);
    let mut whole = Client::connect(play.vip());
    whole.send(&hello);
    ends_in_time("a greeting and no more", whole);
    // A byte now and then does not renew the time.
    let mut dribble = TcpStream::connect(play.vip()).unwrap();
    let began = Instant::now();
    let mut cut = false;
    for byte in hello.iter().cycle() {
        cut = dribble.write_all(&[*byte]).is_err();
        if cut || began.elapsed() > Duration::from_secs(8) {
            break;
        }
        pause_ms(20);
    }
    assert!(cut, "a dribbled greeting was not cut");
    play.wait_reason("TLS: the handshake was not over in time");
    others_are_served(&play);
}

/// Each update asks for one back: a client that never reads must not make us pile them up.
#[test]
fn a_flood_of_key_updates_is_bounded() {
    let play = Play::new(|_, _, _| ());
    let mut client = play.clients().connect(play.vip(), HOST).unwrap();
    assert_eq!(client.get(HOST, "/x").unwrap().status(), 200);
    let before = play.weir.process.status_field("VmRSS");
    let mut updates = 0;
    // What we are asked to answer and cannot send ends the connection, or the library's own limit does.
    while updates < 100_000 {
        if client.stream.conn.refresh_traffic_keys().is_err()
            || client.stream.conn.write_tls(&mut client.stream.sock).is_err()
        {
            break;
        }
        updates += 1;
    }
    let kb = |field: Option<String>| field.and_then(|f| f.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    let grown = kb(play.weir.process.status_field("VmRSS")).saturating_sub(kb(before));
    assert!(grown < 4096, "{grown} kB for {updates} updates");
    others_are_served(&play);
}

#[test]
fn a_proxy_header_may_come_before_the_greeting() {
    let play = Play::new(|setup, _, _| {
        terminate(
            setup,
            json!({"proxy_protocol": {"trusted": ["127.0.0.0/8"]}, "insert_headers": {"X-Forwarded-For": "true"}}),
        );
    });
    let mut socket = TcpStream::connect(play.vip()).unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8443\r\n").unwrap();
    let mut client = play.clients().over(socket, HOST).unwrap();
    let answer = client.get(HOST, "/echo").unwrap();
    assert!(answer.text().to_ascii_lowercase().contains("x-forwarded-for: 192.0.2.1\r\n"), "{}", answer.text());
    // In one segment with the greeting, too.
    let hello = greeting(&play);
    let mut client = Client::connect(play.vip());
    client.send([&b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8443\r\n"[..], &hello].concat());
    assert_eq!(client.take(1), [22], "the answer to a greeting");
    // And without it the listener does not guess.
    let mut client = Client::connect(play.vip());
    client.send(&hello);
    assert_ne!(client.take_to_end(), End::Idle);
    assert!(client.stray.is_empty());
}
