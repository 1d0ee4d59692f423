//! Promise: the same member gets the same verdict as from HAProxy with the same check, within an interval of it.
//!
//! Both ask one scripted member at the same time. It is well until both have seen that, then fails in one way, then is well again.
//! Two differences are by design: our intervals run from question to question, HAProxy's from the end of one to the next, so that a
//! member that lets us wait is found out sooner here; and interim answers are skipped, where HAProxy takes them for the answer.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::haproxy::Haproxy;
use weir_tests::health::{Mood, Moody, answers_ok, monitor, with};
use weir_tests::member::{Conn, ok};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

const DELAY: u64 = 300;
const TIMEOUT: u64 = 200;
/// They began to ask at different moments, so they may be an interval apart; and a busy machine adds something.
const APART: Duration = Duration::from_millis(DELAY + 500);

/// One way to fail.
struct Case {
    name: &'static str,
    /// What the member does instead; `None`: it does not even listen.
    bad: Option<Mood>,
    /// Whether it stays up: here, and in HAProxy.
    stays_up: [bool; 2],
}

impl Case {
    fn falls(name: &'static str, bad: impl Fn(&mut Conn) -> Result<(), End> + Send + Sync + 'static) -> Self {
        let bad: Option<Mood> = Some(Box::new(move |conn| {
            conn.head()?;
            bad(conn)?;
            conn.close();
            Ok(())
        }));
        Self { name, bad, stays_up: [false; 2] }
    }

    fn stays(self, here: bool, haproxy: bool) -> Self {
        Self { stays_up: [here, haproxy], ..self }
    }
}

/// Weir and HAProxy before the same members.
struct Pair {
    weir: Weir,
    haproxy: Haproxy,
    _place: Place,
}

impl Pair {
    fn new(place: Place, setup: &Setup) -> Self {
        let other = Setup { vip: place.socket(), ..setup.clone() };
        let haproxy = Haproxy::start(&place, &other);
        let weir = Weir::start(&place, setup);
        weir.control.wait_asked();
        until_true(PATIENCE, "HAProxy to have asked", || {
            setup.members.iter().all(|m| haproxy.server(&m.name)["check_status"].starts_with('L'))
        });
        Self { weir, haproxy, _place: place }
    }

    fn up(&self, name: &str) -> [bool; 2] {
        [self.weir.control.health_of(name).operational.is_up(), self.haproxy.is_up(name)]
    }

    /// When each of them came to think so of each member, after now: all those that should within `patience`.
    fn watch(&self, up: bool, cases: &[(&'static str, [bool; 2])], patience: Duration) -> Vec<[Option<Duration>; 2]> {
        let began = Instant::now();
        let mut all = vec![[None; 2]; cases.len()];
        let missing = |all: &[[Option<Duration>; 2]]| {
            let late = cases
                .iter()
                .zip(all)
                .filter(|((_, wanted), at)| wanted.iter().zip(*at).any(|(wanted, at)| *wanted && at.is_none()));
            late.map(|((name, _), at)| format!("{name} {at:?}")).collect::<Vec<_>>()
        };
        while !missing(&all).is_empty() {
            assert!(began.elapsed() < patience, "not up: {up} in time (here, HAProxy): {:?}", missing(&all));
            for ((name, _), at) in cases.iter().zip(&mut all) {
                for (at, is) in at.iter_mut().zip(self.up(name)) {
                    if is == up {
                        at.get_or_insert_with(|| began.elapsed());
                    }
                }
            }
            pause_ms(10);
        }
        all
    }

    fn words(&self, name: &str) -> String {
        let server = self.haproxy.server(name);
        let last = self.weir.control.health_of(name).monitors[0].last.clone();
        format!("here: {last}; HAProxy: {} {}", server["check_status"], server["check_desc"])
    }
}

/// All fail at once, each in its way; then all are well again.
fn play(keys: &Value, expect: &str, cases: Vec<Case>) {
    let place = Place::new();
    let falls: Vec<(&'static str, [bool; 2])> =
        cases.iter().map(|c| (c.name, c.stays_up.map(|stays| !stays))).collect();
    let mut members: Vec<(Moody, bool)> = cases
        .into_iter()
        .map(|case| {
            let refuses = case.bad.is_none();
            let moods = vec![answers_ok("all is well"), case.bad.unwrap_or_else(|| answers_ok(""))];
            (Moody::new(case.name, place.socket(), moods), refuses)
        })
        .collect();
    let named: Vec<_> = members.iter().map(|(m, _)| (m.member.name().to_owned(), m.member.socket())).collect();
    let mut setup = Setup::new(Mode::Http, place.socket(), named.iter().map(|(name, at)| (name.as_str(), *at)))
        .monitor(with(with(monitor("HTTP", DELAY, TIMEOUT), &json!({"url_path": "/health"})), keys));
    setup.haproxy_backend =
        format!("  option httpchk GET /health\n  http-check expect {expect}\n  timeout check {TIMEOUT}ms\n");
    setup.haproxy_server = format!("check inter {DELAY}ms rise 2 fall 3");
    let pair = Pair::new(place, &setup);
    for (name, _) in &falls {
        assert_eq!(pair.up(name), [true; 2], "{name}: {}", pair.words(name));
    }

    let turn = |members: &mut Vec<(Moody, bool)>, bad: bool| {
        for (m, refuses) in members {
            m.mood(usize::from(bad));
            match (*refuses, bad) {
                (true, true) => m.member.kill(),
                (true, false) => m.member.start(),
                _ => {}
            }
        }
    };
    turn(&mut members, true);
    let down = pair.watch(false, &falls, Duration::from_secs(15));
    pause_ms(2 * DELAY);
    for ((name, falls), at) in falls.iter().zip(&down) {
        assert_eq!(pair.up(name), falls.map(|falls| !falls), "{name}: {}", pair.words(name));
        if let ([true, true], [Some(ours), Some(theirs)]) = (falls, at) {
            // Theirs has the time of two more timeouts, because its intervals begin when a question ends.
            let slower = Duration::from_millis(2 * TIMEOUT);
            assert!(*ours <= *theirs + APART, "{name}: down here after {ours:?}, HAProxy after {theirs:?}");
            assert!(*theirs <= *ours + APART + slower, "{name}: down here after {ours:?}, HAProxy after {theirs:?}");
        }
    }
    turn(&mut members, false);
    let up = pair.watch(true, &falls.iter().map(|(name, _)| (*name, [true; 2])).collect::<Vec<_>>(), PATIENCE);
    for ((name, falls), at) in falls.iter().zip(&up) {
        if let ([true, true], [Some(ours), Some(theirs)]) = (falls, at) {
            assert!(*ours <= *theirs + APART, "{name}: up here after {ours:?}, HAProxy after {theirs:?}");
            assert!(*theirs <= *ours + APART, "{name}: up here after {ours:?}, HAProxy after {theirs:?}");
        }
    }
}

fn drips(conn: &mut Conn, gap_ms: u64, text: &str) -> Result<(), End> {
    for byte in text.bytes() {
        conn.send([byte])?;
        pause_ms(gap_ms);
    }
    Ok(())
}

fn endless(conn: &mut Conn, first: &str) -> Result<(), End> {
    conn.send(format!("HTTP/1.0 200 OK\r\n\r\n{first}"))?;
    loop {
        conn.send([b'x'; 1024])?;
        pause_ms(5);
    }
}

#[test]
fn members_that_say_nothing_or_break_off() {
    let refuses = Case { bad: None, ..Case::falls("refuses", |_| Ok(())) };
    let cases = vec![
        refuses,
        Case::falls("hangs-after-accept", |conn| {
            conn.take_to_end();
            Ok(())
        }),
        Case::falls("closes-before-a-byte", |_| Ok(())),
        Case::falls("closes-within-the-status-line", |conn| conn.send("HTTP/1.0 20")),
        Case::falls("closes-within-the-head", |conn| conn.send("HTTP/1.0 200 OK\r\nServer: x\r\n")),
        Case::falls("resets", |conn| {
            conn.reset();
            Err(End::Reset)
        }),
        Case::falls("drips-for-longer-than-the-timeout", |conn| drips(conn, 20, "HTTP/1.0 200 OK\r\n\r\nwell")),
    ];
    play(&json!({}), "status 200", cases);
}

#[test]
fn members_that_say_something_else() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let head = |size: usize| format!("HTTP/1.0 200 OK\r\nBig: {}\r\n\r\n", "x".repeat(size));
    let cases = vec![
        Case::falls("wrong-status", |conn| conn.send("HTTP/1.0 500 No\r\n\r\n")),
        Case::falls("redirect", |conn| conn.send("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n")),
        Case::falls("not-HTTP", |conn| conn.send("SSH-2.0-OpenSSH_9.2\r\n")),
        Case::falls("drips-in-time", |conn| drips(conn, 1, "HTTP/1.0 200 OK\r\n\r\n")).stays(true, true),
        Case::falls("a-large-head", move |conn| conn.send(head(8_000))).stays(true, true),
        Case::falls("a-huge-head", move |conn| conn.send(head(20_000))),
        // By design: an interim answer is not the answer (RFC 9110, 15.2).
        Case::falls("an-interim-answer-first", move |conn| conn.send(interim)).stays(true, false),
    ];
    play(&json!({}), "status 200", cases);
}

#[test]
fn members_whose_body_counts() {
    let cases = vec![
        Case::falls("wrong-body", |conn| conn.send(ok("all is lost"))),
        Case::falls("a-body-without-end-that-has-the-text", |conn| endless(conn, "all is well")).stays(true, true),
        Case::falls("a-body-without-end-that-has-not", |conn| endless(conn, "all is lost")),
    ];
    play(&json!({"expected_body": "is well"}), "string \"is well\"", cases);
}

/// A key and a certificate for it that ended yesterday.
fn expired(place: &Place) -> [String; 2] {
    let path = |name: &str| place.path(name).display().to_string();
    let [key, request, certificate] = ["key.pem", "request.pem", "expired.pem"].map(path);
    let openssl = |words: &[&str]| run(Command::new("openssl").args(words));
    openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request, "-subj", "/CN=weir.test"]);
    openssl(&["x509", "-req", "-in", &request, "-signkey", &key, "-out", &certificate, "-days", "-1"]);
    [key, certificate]
}

/// What both say of a member over TLS, once they know.
fn over_tls(place: Place, at: std::net::SocketAddr, keys: &Value, server: &str) -> ([bool; 2], String) {
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", at)])
        .monitor(with(with(monitor("HTTPS", 400, 300), &json!({"max_retries_down": 1})), keys));
    setup.haproxy_backend =
        "  option httpchk GET /\n  http-check expect status 200\n  timeout check 300ms\n".to_owned();
    setup.haproxy_server = format!("check check-ssl inter 400ms rise 2 fall 1 {server}");
    let pair = Pair::new(place, &setup);
    pause_ms(900);
    (pair.up("m1"), pair.words("m1"))
}

#[test]
fn members_that_fail_at_tls() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let place = Place::new();
            let garbage: Mood = Box::new(|conn| {
                conn.take(1)?;
                conn.send("\x16\x03\x03\x00\x04junkHTTP/1.0 200 OK\r\n\r\n")
            });
            let m1 = Moody::new("m1", place.socket(), vec![garbage]);
            let (up, words) = over_tls(place, m1.member.socket(), &json!({}), "verify none");
            assert_eq!(up, [false; 2], "{words}");
        });
        for verify in [true, false] {
            scope.spawn(move || {
                let place = Place::new();
                let [key, certificate] = expired(&place);
                let socket = place.socket();
                let mut server = Command::new("openssl");
                server.args(["s_server", "-quiet", "-www", "-key", &key, "-cert", &certificate]);
                server.args(["-accept", &socket.to_string()]);
                let mut server = Process::start("s_server", server, place.path("s_server"));
                server.wait_port(socket);
                let trust = json!({"tls_verify": true, "ca_tls_container_ref": format!("file:{certificate}"), "sni": "weir.test"});
                let (keys, words) = match verify {
                    true => (trust, format!("verify required ca-file {certificate}")),
                    false => (json!({}), "verify none".to_owned()),
                };
                let (up, said) = over_tls(place, socket, &keys, &words);
                assert_eq!(up, [!verify; 2], "verified: {verify}: {said}");
            });
        }
    });
}
