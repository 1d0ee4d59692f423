//! Slow bodies: cut when the client is too slow, and never for a slow member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use weir_tests::client::Client;
use weir_tests::health::BUSY;
use weir_tests::member::Member;
use weir_tests::message::{End, pattern};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

/// 2000 bytes a second over each half second of waiting.
fn paced(stage_member: impl Fn(&str, std::net::SocketAddr) -> Member) -> Stage {
    Stage::with(Mode::Http, 1, stage_member, |setup| {
        setup.listener = json!({"min_body_rate": 2000, "min_body_rate_grace": 0.5});
    })
}

/// Sends `piece` every `gap_ms` until the other side has had enough, or for `most`. How long that took.
fn dribble(client: &mut Client, piece: &[u8], gap_ms: u64, most: Duration) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < most {
        client.send(piece);
        if client.send_failed || client.wire().fill_within(Duration::from_millis(gap_ms)) != Err(End::Idle) {
            return Some(began.elapsed());
        }
    }
    None
}

#[test]
fn a_body_that_dribbles_is_cut() {
    for head in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let stage = paced(Member::http);
        let mut client = Client::connect(stage.vip());
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n"));
        let piece: &[u8] = if head.starts_with('C') { b"x" } else { b"1\r\nx\r\n" };
        let took = dribble(&mut client, piece, 50, Duration::from_secs(10)).expect("it was never cut");
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(1) + BUSY, "{took:?}");
        assert_eq!(client.answer().status(), 408);
        let line = stage.weir.wait_log(1).remove(0);
        assert!(line.contains(" 408 ") && line.contains(" cD-- "), "{line}");
        let listener = stage.weir.control.listener();
        assert_eq!((listener.limits.bodies_too_slow, listener.request_errors), (1, 1));
        assert_eq!(Client::connect(stage.vip()).get("/").status(), 200);
    }
}

#[test]
fn a_body_that_comes_at_the_rate_is_not_cut() {
    let stage = paced(Member::http);
    let mut client = Client::connect(stage.vip());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
    // 10000 bytes a second, in pieces.
    for _ in 0..30 {
        client.send(pattern(1000));
        pause_ms(100);
    }
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().contains("30000")), (200, true));
    assert_eq!(stage.weir.control.listener().limits.bodies_too_slow, 0);
}

/// The client has sent all it could and waits for room, for three times the grace: nobody waits for it.
#[test]
fn a_slow_member_is_not_the_clients_fault() {
    let stage = paced(|name, at| {
        Member::script(name, at, |conn| {
            conn.head()?;
            pause_ms(1500);
            conn.take(16 << 20)?;
            pause_ms(1500);
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
    });
    let body = pattern(16 << 20);
    let mut client = Client::connect(stage.vip());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n");
    client.send(&body);
    assert_eq!(client.answer().status(), 200);
    assert_eq!(stage.weir.control.listener().limits.bodies_too_slow, 0);
}

/// A client that was told to wait for `100 Continue` is not late before it was told to go on.
#[test]
fn whoever_expects_a_word_first_may_wait_for_it() {
    let stage = paced(|name, at| {
        Member::script(name, at, |conn| {
            conn.head()?;
            pause_ms(1500);
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
            conn.take(5)?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        })
    });
    let mut client = Client::connect(stage.vip());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.one_answer("POST"), Ok(true));
    client.send("hello");
    assert_eq!(client.answer().status(), 200);
}

/// A member whose answer never ends, until it is told to stop.
fn endless() -> (impl Fn(&str, std::net::SocketAddr) -> Member, Arc<AtomicBool>) {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let member = move |name: &str, at| {
        let stop = Arc::clone(&seen);
        Member::script(name, at, move |conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")?;
            let piece = pattern(1 << 16);
            while !stop.load(Ordering::Relaxed) {
                conn.send(&piece)?;
            }
            Ok(())
        })
    };
    (member, stop)
}

/// A client with next to no room for what it does not read.
fn narrow(stage: &Stage) -> Client {
    let socket = Socket::new(Domain::for_address(stage.vip()), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&stage.vip().into()).unwrap();
    let mut client = Client::over(socket.into());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
}

/// Reads up to `len` bytes every `gap_ms`, for `most`. When it was cut, if it was.
fn sip(client: &mut Client, len: usize, gap_ms: u64, most: Duration) -> Option<Duration> {
    let mut stream = client.wire().stream().try_clone().unwrap();
    let (began, mut room) = (Instant::now(), vec![0; len]);
    while began.elapsed() < most {
        if !matches!(std::io::Read::read(&mut stream, &mut room), Ok(n) if n > 0) {
            return Some(began.elapsed());
        }
        pause_ms(gap_ms);
    }
    None
}

#[test]
fn a_client_that_sips_its_answer_is_cut() {
    let (member, stop) = endless();
    let stage = paced(member);
    let mut client = narrow(&stage);
    // 100 bytes a second; what the kernel holds for it is not seen by it for long.
    let took = Instant::now();
    assert!(sip(&mut client, 10, 100, Duration::from_secs(1)).is_none_or(|cut| cut > Duration::from_millis(400)));
    until_true(PATIENCE, "it to be cut", || stage.weir.control.listener().limits.bodies_too_slow == 1);
    assert!(took.elapsed() < Duration::from_secs(2) + BUSY, "{:?}", took.elapsed());
    let line = stage.weir.wait_log(1).remove(0);
    assert!(line.contains(" 200 ") && line.contains(" cD-- "), "{line}");
    stop.store(true, Ordering::Relaxed);
}

/// 20000 bytes a second are well above the rate, though the kernel takes nothing more from us for many seconds: it holds
/// megabytes that the client is still reading.
#[test]
fn a_client_that_reads_at_the_rate_is_not_cut() {
    let (member, stop) = endless();
    let stage = paced(member);
    let mut client = narrow(&stage);
    assert_eq!(sip(&mut client, 2000, 100, Duration::from_secs(4)), None);
    assert_eq!(stage.weir.control.listener().limits.bodies_too_slow, 0);
    stop.store(true, Ordering::Relaxed);
}

/// Off unless asked for; and the answer's pace says nothing of a member that is slow with it.
#[test]
fn nobody_is_rushed_unasked() {
    let stage = Stage::http(1, |_| ());
    let mut client = Client::connect(stage.vip());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    assert_eq!(dribble(&mut client, b"x", 50, Duration::from_millis(1500)), None);
    let stage = paced(|name, at| {
        Member::script(name, at, |conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")?;
            for _ in 0..20 {
                conn.send("x")?;
                pause_ms(100);
            }
            Ok(())
        })
    });
    let mut client = Client::connect(stage.vip());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.answer().complete());
}
