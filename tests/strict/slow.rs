//! S1 and S2: clients that take their time, in every place where one can.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::wait::pause_ms;

use super::court::{Court, Seen};

/// A byte of `bytes`, then a pause, over and over, until the other side has had enough.
fn dribble(court: &Court, bytes: &[u8], most: Duration) -> Option<(Duration, Seen)> {
    let mut client = TcpStream::connect(court.vip).unwrap();
    client.set_nodelay(true).unwrap();
    let began = Instant::now();
    client.set_nonblocking(true).unwrap();
    let mut got = [0; 1];
    for byte in bytes.iter().cycle() {
        let _ = client.write(&[*byte]);
        pause_ms(20);
        if client.peek(&mut got).is_ok() {
            client.set_nonblocking(false).unwrap();
            return Some((began.elapsed(), Seen::read(&mut client, usize::MAX).unwrap()));
        }
        if began.elapsed() > most {
            return None;
        }
    }
    None
}

/// The deadline is for the whole head, not for each byte of it.
#[test]
fn s1_a_head_that_drips_is_cut_at_its_deadline() {
    let court = Court::with(|setup| setup.timeouts.request = 700);
    let line = b"GET / HTTP/1.1\r\nHost: weir.test\r\n";
    let endless = [&line[..], &b"X-A: b\r\n".repeat(50)].concat();
    for (name, bytes) in [
        ("fields without end", &endless[..]),
        ("one long value", &[&line[..], b"X-A: ", &[b'b'; 400]].concat()),
        ("a long target", &[&b"GET /"[..], &[b'a'; 400]].concat()),
        ("a method", &[b'A'; 400]),
    ] {
        let (took, seen) =
            dribble(&court, bytes, Duration::from_secs(8)).unwrap_or_else(|| panic!("{name}: never cut"));
        assert_eq!(seen.statuses(), [408], "{name}");
        assert!(took >= Duration::from_millis(600), "{name}: after {took:?}");
        assert!(court.member.arrivals().is_empty(), "{name}");
    }
}

/// Whoever says nothing is told so; whoever has been served before is just closed.
#[test]
fn s1_silence_is_cut_at_its_deadline() {
    let court = Court::with(|setup| {
        setup.timeouts.request = 500;
        setup.timeouts.keep_alive = 300;
    });
    let mut silent = TcpStream::connect(court.vip).unwrap();
    assert_eq!(Seen::read(&mut silent, usize::MAX).unwrap().statuses(), [408]);
    let mut served = TcpStream::connect(court.vip).unwrap();
    served.write_all(b"GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n").unwrap();
    let seen = Seen::read(&mut served, usize::MAX).unwrap();
    assert_eq!(seen.statuses(), [200]);
    seen.is_over().unwrap();
}

/// A body and an answer that hardly move, while others are served as ever.
#[test]
fn s2_slow_bodies_and_slow_readers_hold_up_nobody() {
    let court = Court::with(|setup| {
        setup.listener = json!({"min_body_rate": 2000, "min_body_rate_grace": 0.5});
    });
    let head = "POST /slow HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 100000\r\n\r\n";
    let mut slow: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(court.vip).unwrap()).collect();
    for client in &mut slow {
        client.write_all(head.as_bytes()).unwrap();
    }
    let began = Instant::now();
    let mut worst = Duration::ZERO;
    while began.elapsed() < Duration::from_millis(1500) {
        for client in &mut slow {
            let _ = client.write(b"x");
        }
        let asked = Instant::now();
        let mut other = TcpStream::connect(court.vip).unwrap();
        other.write_all(b"GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(Seen::read(&mut other, usize::MAX).unwrap().statuses(), [200]);
        worst = worst.max(asked.elapsed());
        pause_ms(10);
    }
    assert!(worst < Duration::from_secs(1), "somebody else waited for {worst:?}");
    for client in &mut slow {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}
