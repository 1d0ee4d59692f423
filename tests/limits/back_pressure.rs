//! Connection limits, slow heads, and back-pressure both ways.

use std::time::{Duration, Instant};

use weir_tests::client::{Client, get};
use weir_tests::member::Member;
use weir_tests::message::{End, pattern};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until, until_true};

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";

#[test]
fn connections_over_the_limit_wait_and_are_served_later() {
    for workers in [1, 2] {
        let stage = Stage::http(1, |setup| {
            setup.connection_limit = Some(2);
            setup.workers = workers;
        });
        let mut first = Client::connect(stage.vip());
        let mut second = Client::connect(stage.vip());
        assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));

        let mut third = Client::connect(stage.vip());
        third.send(GET);
        assert_eq!(third.fate_if_open(Duration::from_millis(300)), Some(End::Idle), "neither served nor refused");
        assert_eq!(stage.members[0].requests(), 2, "the third was let in ({workers} workers)");
        assert_eq!(second.get("/").status(), 200, "those inside are not held up");
        assert_eq!(stage.weir.control.listener().active_connections, 2);

        drop(first);
        assert_eq!(third.answer().status(), 200);
        drop(second);
        assert_eq!(get(stage.vip(), "/").status(), 200);
    }
}

#[test]
fn limit_of_a_new_document_holds_at_once() {
    let mut stage = Stage::http(1, |setup| setup.connection_limit = Some(1));
    let mut first = Client::connect(stage.vip());
    first.get("/");
    let mut second = Client::connect(stage.vip());
    second.send(GET);
    assert_eq!(second.fate_if_open(Duration::from_millis(200)), Some(End::Idle));
    stage.apply(|setup| setup.connection_limit = Some(2));
    assert_eq!(second.answer().status(), 200, "the limit was raised and nobody was let in");
}

#[test]
fn slow_heads_are_cut_and_nobody_else_notices() {
    let stage = Stage::http(1, |setup| {
        setup.timeouts.request = 1000;
        setup.workers = 2;
    });
    let began = Instant::now();
    let mut slow: Vec<Client> = (0..50).map(|_| Client::connect(stage.vip())).collect();
    while began.elapsed() < Duration::from_millis(800) {
        for client in &mut slow {
            client.send("X");
        }
        let asked = Instant::now();
        assert_eq!(get(stage.vip(), "/").status(), 200);
        assert!(asked.elapsed() < Duration::from_millis(300), "another client waited {:?}", asked.elapsed());
        pause_ms(20);
    }
    for client in &mut slow {
        let status = client.maybe_answer().map(weir_tests::client::Response::status);
        assert!(matches!(status, None | Some(408)), "{status:?}");
        assert_ne!(client.fate_if_open(Duration::from_secs(2)), Some(End::Idle), "a dripping head was not cut");
    }
    until_true(PATIENCE, "the slow ones to be gone", || stage.weir.control.listener().active_connections == 0);
    assert!(stage.weir.control.listener().request_errors >= 50);
}

fn resident_kb(stage: &Stage) -> u64 {
    let field = stage.weir.process.status_field("VmRSS").unwrap();
    field.split(' ').next().unwrap().parse().unwrap()
}

/// How many bytes could be pushed before the way was blocked for half a second.
fn until_blocked(mut pushed: impl FnMut() -> usize) -> usize {
    let (mut last, mut since) = (0, Instant::now());
    until(Duration::from_secs(30), "the sender to be held back", || {
        let now = pushed();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

/// A client that does not read holds its member back; its answer does not pile up here.
#[test]
fn slow_readers_hold_the_member_back() {
    for mode in [Mode::Http, Mode::Tcp] {
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&sent);
        let member = move |name: &str, at| {
            let count = std::sync::Arc::clone(&count);
            Member::script(name, at, move |conn| {
                conn.request()?;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n")?;
                let piece = pattern(1 << 16);
                for _ in 0..4096 {
                    conn.send(&piece)?;
                    count.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
                }
                Ok(())
            })
        };
        let stage = Stage::with(mode, 1, member, |_| ());
        let before = resident_kb(&stage);
        let mut client = Client::connect(stage.vip());
        client.send(GET);
        until_blocked(|| sent.load(std::sync::atomic::Ordering::Relaxed));
        let bytes = sent.load(std::sync::atomic::Ordering::Relaxed);
        assert!(bytes > 0 && bytes < 64 << 20, "{bytes} bytes were taken for a client that reads none");
        let grown = resident_kb(&stage).saturating_sub(before);
        assert!(grown < 2048, "{grown} kB more for one client that does not read ({mode:?})");
        // And it all comes once the client reads.
        let answer = client.answer();
        assert_eq!((answer.body.data.len(), answer.complete()), (256 << 20, true));
    }
}

/// A member that does not read holds its client back.
#[test]
fn slow_members_hold_the_client_back() {
    let member = |name: &str, at| {
        Member::script(name, at, |conn| {
            conn.head()?;
            pause_ms(2500);
            conn.take_to_end();
            Ok(())
        })
    };
    let stage = Stage::with(Mode::Http, 1, member, |_| ());
    let before = resident_kb(&stage);
    let client = Client::connect(stage.vip());
    let mut stream = {
        let mut client = client;
        client.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 268435456\r\n\r\n");
        client.wire().stream().try_clone().unwrap()
    };
    stream.set_nonblocking(true).unwrap();
    let (piece, mut sent) = (pattern(1 << 16), 0);
    let bytes = until_blocked(|| {
        while let Ok(n) = std::io::Write::write(&mut stream, &piece) {
            sent += n;
        }
        sent
    });
    assert!(bytes > 0 && bytes < 64 << 20, "{bytes} bytes were taken for a member that reads none");
    let grown = resident_kb(&stage).saturating_sub(before);
    assert!(grown < 2048, "{grown} kB more for one member that does not read");
}

/// Idle kept connections cost little: hundreds of them, and still quick answers.
#[test]
fn hundreds_of_idle_connections() {
    let stage = Stage::http(1, |setup| setup.workers = 2);
    let before = resident_kb(&stage);
    let mut clients: Vec<Client> = (0..400).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(stage.weir.control.listener().active_connections, 400);
    let each = resident_kb(&stage).saturating_sub(before) / 400;
    assert!(each < 40, "{each} kB for each idle connection");
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
}
