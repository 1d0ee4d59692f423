//! Headers of clients: what is taken, what is refused, and what it changes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use weir_tests::client::Client;
use weir_tests::log_line::LogLine;
use weir_tests::member::Member;
use weir_tests::message::{End, pattern};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

use super::{GET, V1, V4_ENDS, trusting, v2};

/// HTTP before a member that shows what it got.
fn http(required: bool) -> Stage {
    Stage::http(1, |setup| trusting(setup, required))
}

/// TCP before a member that sends back what it gets.
fn tcp(required: bool) -> Stage {
    let echo = |name: &str, at| {
        Member::script(name, at, |conn| {
            loop {
                let byte = conn.take(1)?;
                conn.send(byte)?;
            }
        })
    };
    Stage::with(Mode::Tcp, 1, echo, |setup| trusting(setup, required))
}

/// What the member was told of the client: `X-Forwarded-For` and `X-Forwarded-Port`.
fn told(client: &mut Client) -> (String, String) {
    let answer = client.answer();
    assert_eq!(answer.status(), 200);
    let text = answer.text();
    let value = |name: &str| {
        let values: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
        assert_eq!(values.len(), 1, "{name} in {text}");
        values[0].to_owned()
    };
    (value("X-Forwarded-For"), value("X-Forwarded-Port"))
}

fn told_of(address: &str, port: u16) -> (String, String) {
    (address.to_owned(), port.to_string())
}

/// The address counts for the whole connection, also after it was parked.
#[test]
fn the_client_is_whom_the_header_names() {
    let stage = http(true);
    let mut client = Client::connect(stage.vip());
    client.send(format!("{V1}{GET}"));
    assert_eq!(told(&mut client), told_of("192.0.2.1", 8080));
    client.send(GET);
    assert_eq!(told(&mut client), told_of("192.0.2.1", 8080));
    let parked = || stage.weir.control.stats().workers.iter().map(|worker| worker.parked_connections).sum::<u64>();
    until_true(PATIENCE, "the client to be parked", || parked() == 1);
    client.send(GET);
    assert_eq!(told(&mut client), told_of("192.0.2.1", 8080));
    for line in stage.weir.wait_log(3) {
        assert!(line.starts_with("192.0.2.1:12345 ["), "{line}");
    }
    assert_eq!(stage.weir.control.listener().proxy_header_errors, 0);
}

#[test]
fn version_2_and_ipv6_are_read_too() {
    let stage = http(true);
    let v6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0xfd; 16]].concat();
    let v6 = [&v6[..], &[0x30, 0x39, 0x01, 0xbb]].concat();
    let extended = [V4_ENDS, &[4, 0, 3, 1, 2, 3], &[0xee, 0, 0]].concat();
    for (header, expected) in [
        (v2(0x21, 0x11, V4_ENDS), told_of("192.0.2.1", 8080)),
        (v2(0x21, 0x11, &extended), told_of("192.0.2.1", 8080)),
        (v2(0x21, 0x21, &v6), told_of("2001:db8::1", 443)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n".to_vec(), told_of("2001:db8::1", 443)),
    ] {
        let mut client = Client::connect(stage.vip());
        client.send([&header, GET.as_bytes()].concat());
        assert_eq!(told(&mut client), expected);
    }
}

/// LOCAL and UNKNOWN are what a balancer says when it asks for itself.
#[test]
fn a_header_that_tells_nothing_leaves_the_connections_own_addresses() {
    let stage = http(true);
    let own = IpAddr::V4(Ipv4Addr::new(127, 9, 8, 7));
    let expected = told_of("127.9.8.7", stage.vip().port());
    for header in [
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, V4_ENDS),
        v2(0x21, 0x00, b"whatever"),
        v2(0x21, 0x12, V4_ENDS),
        v2(0x21, 0x31, &[b'/'; 216]),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.1 198.51.100.2 1 2\r\n".to_vec(),
    ] {
        let mut client = Client::connect_from(own, stage.vip());
        client.send([&header, GET.as_bytes()].concat());
        assert_eq!(told(&mut client), expected, "{}", header.escape_ascii());
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let (web, raw) = (http(true), tcp(true));
    for header in [V1.as_bytes().to_vec(), v2(0x21, 0x11, &[V4_ENDS, &[4, 0, 3, 1, 2, 3]].concat())] {
        let mut client = Client::connect(web.vip());
        let all = [&header, GET.as_bytes()].concat();
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        client.send_pieces(&bytes, Duration::from_millis(1));
        assert_eq!(told(&mut client), told_of("192.0.2.1", 8080));

        let mut client = Client::connect(raw.vip());
        let all = [&header, &b"hello"[..]].concat();
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        client.send_pieces(&bytes, Duration::from_millis(1));
        assert_eq!(client.take(5), b"hello");
        client.leave();
    }
    for line in raw.weir.wait_log(2) {
        assert!(line.starts_with("192.0.2.1:12345 ["), "{line}");
    }
}

/// Whatever length a header has, what follows it is the client's, to the byte.
#[test]
fn nothing_of_a_header_spills_into_the_stream() {
    let stage = tcp(true);
    for filler in [0, 1, 255, 4000, 4096 - 12 - 3] {
        let extension = [&[0xea, (filler >> 8) as u8, filler as u8][..], &vec![b'x'; filler]].concat();
        let mut client = Client::connect(stage.vip());
        let data = pattern(20_000);
        client.send([v2(0x21, 0x11, &[V4_ENDS, &extension].concat()), data.clone()].concat());
        assert!(client.take(data.len()) == data, "with {filler} bytes");
    }
    until_true(PATIENCE, "all lines", || stage.weir.log().len() == 5);
    assert_eq!(stage.weir.control.listener().bytes_in, 100_000, "headers are none of the client's bytes");
}

/// Every bad header ends its connection: nothing reaches a member, the reason is logged and it is counted.
#[test]
fn bad_headers_end_the_connection() {
    let long_unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (GET.into(), "no PROXY header"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8080\n".into(), "CRLF"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 8080 \r\n".into(), "no two addresses"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n".into(), "no two addresses"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 1\r\n".into(), "no two addresses"),
        (b"PROXY TCP4 192.0.02.1 198.51.100.2 1 1\r\n".into(), "no two addresses"),
        (b"PROXY TCP9 192.0.2.1 198.51.100.2 1 1\r\n".into(), "unknown address family"),
        (long_unknown.into(), "too long"),
        (v2(0x11, 0x11, V4_ENDS), "unknown version"),
        (v2(0x22, 0x11, V4_ENDS), "unknown command"),
        (v2(0x21, 0x13, V4_ENDS), "unknown address family"),
        (v2(0x21, 0x11, &V4_ENDS[..11]), "too short"),
        (v2(0x21, 0x11, &[V4_ENDS, &[4, 0, 3, 1]].concat()), "beyond its end"),
        (v2(0x21, 0x11, &[V4_ENDS, &[3, 0, 4, 1, 2, 3, 4]].concat()), "checksum"),
        (v2(0x21, 0x11, &vec![0; 65_000]), "too long"),
    ];
    for stage in [http(true), tcp(true)] {
        let mut stage = stage;
        stage.apply(|setup| setup.log_format = Some("json"));
        for (number, (header, reason)) in cases.iter().enumerate() {
            let mut client = Client::connect(stage.vip());
            client.send([header, GET.as_bytes()].concat());
            assert_ne!(client.take_to_end(), End::Idle, "{}", header.escape_ascii());
            assert!(client.stray.is_empty(), "{}", header.escape_ascii());
            let lines = stage.weir.wait_log(number + 1);
            let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
            assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
            assert_eq!((&line["flags"], &line["member"]), (&"PR".into(), &Value::Null));
            assert!(line["client"].as_str().unwrap().starts_with("127."), "{line}");
        }
        let figures = stage.weir.control.listener();
        assert_eq!(figures.proxy_header_errors, cases.len() as u64);
        assert_eq!((figures.active_connections, stage.members[0].connections()), (0, 0));
    }
}

/// What follows the one header is the client's, whatever it looks like.
#[test]
fn a_second_header_is_data() {
    let (web, raw) = (http(true), tcp(true));
    let mut client = Client::connect(web.vip());
    client.send(format!("{V1}{V1}{GET}"));
    assert_eq!(client.answer().status(), 400);
    let mut client = Client::connect(raw.vip());
    client.send(format!("{V1}{V1}"));
    assert_eq!(client.take(V1.len()), V1.as_bytes());
}

#[test]
fn strangers_are_not_believed() {
    let elsewhere = |setup: &mut weir_tests::setup::Setup| {
        trusting(setup, true);
        setup.listener["proxy_protocol"]["trusted"] = serde_json::json!(["192.0.2.0/24", "127.255.255.255"]);
    };
    let web = Stage::http(1, elsewhere);
    let mut client = Client::connect(web.vip());
    client.send(format!("{V1}{GET}"));
    assert_eq!(client.answer().status(), 400);
    let mut client = Client::connect_from("127.4.4.4".parse().unwrap(), web.vip());
    client.send(GET);
    assert_eq!(told(&mut client), told_of("127.4.4.4", web.vip().port()));

    let mut raw = tcp(true);
    raw.apply(elsewhere);
    for header in [V1.as_bytes().to_vec(), v2(0x21, 0x11, V4_ENDS)] {
        let mut client = Client::connect(raw.vip());
        client.send(&header);
        assert_eq!(client.take(header.len()), header);
    }
    assert_eq!(raw.weir.control.listener().proxy_header_errors, 0);
}

#[test]
fn where_a_header_is_not_required_it_may_be_left_out() {
    let (web, raw) = (http(false), tcp(false));
    let mut client = Client::connect_from("127.4.4.4".parse().unwrap(), web.vip());
    client.send_pieces(&[b"\r\n\r", &b"\n"[..], GET.as_bytes()], Duration::from_millis(5));
    assert_eq!(told(&mut client), told_of("127.4.4.4", web.vip().port()));
    let mut client = Client::connect(web.vip());
    client.send(format!("{V1}{GET}"));
    assert_eq!(told(&mut client), told_of("192.0.2.1", 8080));
    let mut client = Client::connect(raw.vip());
    client.send("PROPER words");
    assert_eq!(client.take(12), b"PROPER words");
    // A header that begins is one that must be right.
    let mut client = Client::connect(raw.vip());
    client.send("PROXY words\r\n");
    assert_eq!(client.take_to_end(), End::Reset);
}

/// The time for a header is not renewed by what drips.
#[test]
fn a_late_header_is_not_waited_for() {
    let stage = Stage::http(1, |setup| {
        trusting(setup, true);
        setup.timeouts.request = 400;
    });
    let began = Instant::now();
    let mut client = Client::connect(stage.vip());
    for byte in V1.as_bytes().chunks(1).take(30) {
        client.send(byte);
        pause_ms(30);
        if client.send_failed {
            break;
        }
    }
    assert_ne!(client.take_to_end(), End::Idle);
    assert!(client.stray.is_empty());
    assert!(began.elapsed() >= Duration::from_millis(400));
    let mut silent = Client::connect(stage.vip());
    assert_eq!(silent.take_to_end(), End::Closed);
    for line in stage.weir.wait_log(2) {
        assert_eq!(LogLine::parse(&line).unwrap().termination(), "cR--");
    }
    assert_eq!(stage.weir.control.listener().proxy_header_errors, 2);
    // The same clock runs for the head behind the header.
    let mut client = Client::connect(stage.vip());
    client.send(V1);
    assert_eq!(client.answer().status(), 408);
}

#[test]
fn a_silent_client_of_a_relay_has_ten_seconds() {
    let stage = tcp(true);
    let began = Instant::now();
    let mut client = Client::connect(stage.vip());
    client.send("PROXY ");
    until_true(3 * PATIENCE, "the client to be given up", || stage.weir.control.listener().proxy_header_errors == 1);
    assert!(began.elapsed() >= Duration::from_secs(10));
    assert_ne!(client.take_to_end(), End::Idle);
    assert_eq!(LogLine::parse(&stage.weir.wait_log(1)[0]).unwrap().termination(), "cR");
}

/// A balancer before us that checks by connecting is no fault; one that breaks off within its header is.
#[test]
fn whoever_only_connects_is_not_counted() {
    let stage = http(true);
    for _ in 0..3 {
        let mut client = Client::connect(stage.vip());
        client.half_close();
        assert_eq!(client.take_to_end(), End::Closed);
    }
    let mut client = Client::connect(stage.vip());
    client.send("PROXY TCP4");
    client.half_close();
    assert_eq!(client.take_to_end(), End::Closed);
    let lines = stage.weir.wait_log(1);
    assert_eq!(LogLine::parse(&lines[0]).unwrap().termination(), "CR--");
    assert_eq!(stage.weir.control.listener().proxy_header_errors, 1);
    until_true(PATIENCE, "all to be gone", || stage.weir.control.listener().active_connections == 0);
    assert_eq!(stage.weir.log().len(), 1);
}

/// SOURCE_IP spreads the clients behind a balancer, and keeps each where it is.
#[test]
fn clients_behind_a_balancer_are_told_apart() {
    let stage = Stage::http(4, |setup| {
        trusting(setup, true);
        setup.algorithm = "SOURCE_IP";
        setup.workers = 2;
    });
    let member_of = |host: u8| {
        let mut client = Client::connect(stage.vip());
        client.send(format!("PROXY TCP4 192.0.2.{host} 198.51.100.2 1{host} 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.answer().header("x-member").unwrap().to_owned()
    };
    let first: Vec<String> = (0..40).map(member_of).collect();
    let again: Vec<String> = (0..40).map(member_of).collect();
    assert_eq!(first, again);
    for name in ["m1", "m2", "m3", "m4"] {
        assert!(first.iter().any(|member| member == name), "{first:?}");
    }
}

/// Somebody who has said nothing yet does not hold up the end.
#[test]
fn draining_does_not_wait_for_headers() {
    let mut stage = tcp(true);
    let _silent = Client::connect(stage.vip());
    until_true(PATIENCE, "the client to be there", || stage.weir.control.listener().active_connections == 1);
    let began = Instant::now();
    stage.weir.process.signal(Signal::TERM);
    assert!(stage.weir.process.wait(PATIENCE).success());
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for the header");
}

/// An apply changes who is believed from the next connection on.
#[test]
fn a_document_can_change_who_is_believed() {
    let mut stage = http(true);
    let mut before = Client::connect(stage.vip());
    before.send(format!("{V1}{GET}"));
    assert_eq!(told(&mut before), told_of("192.0.2.1", 8080));
    stage.apply(|setup| {
        setup.listener.as_object_mut().unwrap().remove("proxy_protocol");
    });
    let mut after = Client::connect(stage.vip());
    after.send(format!("{V1}{GET}"));
    assert_eq!(after.answer().status(), 400);
    before.send(GET);
    assert_eq!(told(&mut before), told_of("192.0.2.1", 8080));
}
