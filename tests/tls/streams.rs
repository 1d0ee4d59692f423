//! What flows once hands are shaken: kept connections, long silence, large bodies, and ends that stay visible.

use std::io::{ErrorKind, Read as _, Write as _};

use serde_json::json;
use weir_tests::member::Member;
use weir_tests::message::pattern;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tls::Tls;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::{HOST, Play, terminate};

#[test]
fn a_client_that_is_silent_for_long_goes_on_where_it_was() {
    let play = Play::new(|setup, _, _| setup.workers = 1);
    let mut clients: Vec<Tls> = (0..20).map(|_| play.clients().connect(play.vip(), HOST).unwrap()).collect();
    for round in 0..3 {
        for client in &mut clients {
            for _ in 0..3 {
                assert_eq!(client.get(HOST, "/x").unwrap().status(), 200, "round {round}");
            }
        }
        until_true(PATIENCE, "all to be parked", || play.weir.control.stats().workers[0].parked_connections == 20);
    }
    assert_eq!(play.weir.control.listener().tls_handshakes, 20);
    // One that leaves while it is parked is let go.
    clients[0].half_close();
    drop(clients.remove(1));
    until_true(PATIENCE, "two to be gone", || play.weir.control.listener().active_connections == 18);
    assert_eq!(clients[5].get(HOST, "/x").unwrap().status(), 200);
}

/// A record that has begun before the silence, and is whole only after it.
#[test]
fn a_record_in_two_pieces_with_a_silence_between() {
    let play = Play::new(|setup, _, _| setup.workers = 1);
    let mut client = play.clients().connect(play.vip(), HOST).unwrap();
    assert_eq!(client.get(HOST, "/x").unwrap().status(), 200);
    let mut record = Vec::new();
    client.stream.conn.writer().write_all(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
    client.stream.conn.write_tls(&mut record).unwrap();
    for cut in [3, record.len() - 1] {
        client.stream.sock.write_all(&record[if cut == 3 { 0..3 } else { 3..record.len() - 1 }]).unwrap();
        weir_tests::wait::pause_ms(1500);
    }
    client.stream.sock.write_all(&record[record.len() - 1..]).unwrap();
    assert_eq!(client.answer().unwrap().status(), 200);
}

#[test]
fn large_bodies_get_through_both_ways() {
    let play = Play::new(|_, _, _| ());
    for alpn in [&[][..], &["http/1.1"]] {
        let mut client = play.clients().alpn(alpn).connect(play.vip(), HOST).unwrap();
        for size in [1, 16_383, 16_384, 16_385, 1 << 20, 5_000_001] {
            let answer = client.get(HOST, &format!("/bytes/{size}")).unwrap();
            assert!(answer.body == pattern(size), "{size} bytes to the client");
        }
        for size in [1, 16_385, 700_001, 3_000_000] {
            let body = pattern(size);
            client.send(format!("POST /body HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n")).unwrap();
            client.send(&body).unwrap();
            assert!(client.answer().unwrap().body == body, "{size} bytes to the member");
        }
    }
    // In records of a byte each.
    let mut client = play.clients().connect(play.vip(), HOST).unwrap();
    for byte in
        format!("POST /body HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 300\r\n\r\n").bytes().chain(pattern(300))
    {
        client.send([byte]).unwrap();
    }
    assert!(client.answer().unwrap().body == pattern(300));
}

/// Requests in one record are answered in order.
#[test]
fn pipelined_requests_in_one_record() {
    let play = Play::new(|_, _, _| ());
    let mut client = play.clients().connect(play.vip(), HOST).unwrap();
    let all: String = (0..50).map(|n| format!("GET /bytes/{n} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).collect();
    client.send(all).unwrap();
    for n in 0..50 {
        assert_eq!(client.answer().unwrap().body.len(), n);
    }
}

/// Who says goodbye after its request still gets its answer.
#[test]
fn a_half_closed_client_gets_its_answer() {
    let play = Play::new(|_, _, _| ());
    let mut client = play.clients().connect(play.vip(), HOST).unwrap();
    client.send(format!("GET /delay/300 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")).unwrap();
    client.half_close();
    assert_eq!(client.answer().unwrap().status(), 200);
    client.read_to_end().expect("a goodbye after the whole answer");
}

/// What a member cut short must not look whole (RFC 8446 section 6.1).
#[test]
fn a_truncated_answer_stays_visibly_cut() {
    let place = weir_tests::place::Place::new();
    let authority = weir_tests::certificates::Authority::new("authority");
    let own = authority.sign(&[HOST]).write(&place, "own.pem");
    for (head, whole) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", false),
        // Where its end is the end of the answer, that is a whole one.
        ("HTTP/1.0 200 OK\r\n\r\n", true),
    ] {
        let member = Member::script("m1", place.socket(), move |conn| {
            conn.request()?;
            conn.send(head)?;
            conn.send(pattern(20_000))?;
            conn.close();
            Ok(())
        });
        let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
        terminate(&mut setup, json!({"default_tls_container_ref": super::file(&own)}));
        let _weir = Weir::start(&place, &setup);
        let mut client = weir_tests::tls::Trusting::new(&authority, None).connect(setup.vip, HOST).unwrap();
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).unwrap();
        let mut all = Vec::new();
        let end = client.stream.read_to_end(&mut all);
        if head.starts_with("HTTP/1.0") {
            // It goes on as chunks: then the last one tells.
            let text = String::from_utf8_lossy(&all);
            assert!(whole && (end.is_ok() || text.ends_with("0\r\n\r\n")), "{end:?}");
        } else {
            let error = end.expect_err("a goodbye behind half an answer");
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
            assert!(all.len() > 10_000);
        }
    }
}

/// The end of the handshake, the request and the goodbye in one segment: it is answered all the same.
#[test]
fn a_request_with_a_goodbye_right_behind_the_handshake_is_answered() {
    let play = Play::new(|_, _, _| ());
    let mut client = play.clients().begin(play.vip(), HOST).unwrap();
    while client.stream.conn.is_handshaking() {
        if client.stream.conn.wants_write() {
            client.stream.conn.write_tls(&mut client.stream.sock).unwrap();
        }
        client.stream.conn.read_tls(&mut client.stream.sock).unwrap();
        client.stream.conn.process_new_packets().unwrap();
    }
    client.stream.conn.writer().write_all(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).unwrap();
    client.stream.conn.send_close_notify();
    let mut all = Vec::new();
    while client.stream.conn.wants_write() {
        client.stream.conn.write_tls(&mut all).unwrap();
    }
    client.stream.sock.write_all(&all).unwrap();
    assert_eq!(client.answer().unwrap().status(), 200);
}
