//! Answers that come before the request is through: the client that goes on sending gets to see them, and only who sends much
//! more, or nothing, has its stream reset, without blame (RFC 9113 section 8.1).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::certificates::Authority;
use weir_tests::frames::{END_HEADERS, END_STREAM, Frame, Outcome, Speaker, code, frame, kind, request_fields};
use weir_tests::member::Member;
use weir_tests::message::pattern;
use weir_tests::place::Place;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::tools::output;
use weir_tests::wait::{PATIENCE, until, until_true};

use super::{knowing, others_are_served};

/// The host of the certificate.
const HOST: &str = "weir.test";
/// How long a client may send after its answer, and be silent.
const LINGER_FOR: Duration = Duration::from_secs(5);
const LINGER_SILENCE: Duration = Duration::from_secs(1);
/// What is thrown away of one request, in bytes.
const DISCARDED_MAX: usize = 1024 * 1024;

/// Nobody may have what is asked for.
fn forbidding() -> Stage {
    Stage::http(1, |setup| {
        knowing(setup);
        let everything = json!({"type": "PATH", "compare_type": "STARTS_WITH", "value": "/no"});
        setup.listener["l7policies"] = json!([{"name": "no", "action": "REJECT", "rules": [everything]}]);
    })
}

/// Begins a request whose body is to come.
fn begin(client: &mut Speaker, stream: u32, more: &[(&str, &[u8])]) {
    client.send(frame(kind::HEADERS, END_HEADERS, stream, &request_fields("POST", "/no", more)));
}

/// Room for data, as a client keeps count of it.
struct Room {
    stream: u32,
    own: usize,
    shared: usize,
}

impl Room {
    /// Of a first stream: what Weir gives each stream, and what a connection begins with.
    fn of(stream: u32) -> Self {
        Self { stream, own: 64 * 1024, shared: 64 * 1024 - 1 }
    }

    /// The next stream of the same connection.
    fn next(self) -> Self {
        Self { stream: self.stream + 2, own: 64 * 1024, shared: self.shared }
    }

    /// Sends `most` bytes as there is room for them: how many, and with which code the stream was reset if it was.
    fn fill(&mut self, client: &mut Speaker, most: usize) -> (usize, Option<u32>) {
        let mut sent = 0;
        while sent < most {
            let n = self.own.min(self.shared).min(most - sent).min(16_384);
            if n > 0 {
                client.send(frame(kind::DATA, 0, self.stream, &vec![7; n]));
                (self.own, self.shared, sent) = (self.own - n, self.shared - n, sent + n);
            }
            if n > 0 && client.heard.is_empty() {
                continue;
            }
            let told = match client.heard.is_empty() {
                false => client.heard.remove(0),
                true => client.hear().expect("room, or a reset"),
            };
            match (told.kind, told.stream) {
                (kind::RST_STREAM, stream) if stream == self.stream => return (sent, Some(told.number(0))),
                (kind::WINDOW_UPDATE, 0) => self.shared += told.number(0) as usize,
                (kind::WINDOW_UPDATE, stream) if stream == self.stream => self.own += told.number(0) as usize,
                _ => {}
            }
        }
        (sent, None)
    }
}

/// Up to now nothing was reset, and the connection is not given up.
fn assert_all_is_well(client: &mut Speaker, what: &str) {
    client.send(frame(kind::PING, 0, 0, b"until me"));
    let pong = client.until(|told| told.kind == kind::PING && told.payload == b"until me");
    assert!(pong.is_ok(), "{what}: {pong:?}");
    let ends = |told: &&Frame| matches!(told.kind, kind::RST_STREAM | kind::GOAWAY);
    let ended: Vec<&Frame> = client.heard.iter().filter(ends).collect();
    assert!(ended.is_empty(), "{what}: {ended:?}");
}

#[test]
fn what_is_sent_after_the_answer_is_thrown_away() {
    let stage = forbidding();
    for (n, (what, fields)) in
        [("a length", &[("content-length", &b"300000"[..])][..]), ("no length", &[])].iter().enumerate()
    {
        let mut client = Speaker::connect(stage.vip());
        let mut room = Room::of(1);
        // What these streams take of the connection's room is given back.
        for stream in [1, 3, 5, 7] {
            begin(&mut client, stream, fields);
            assert_eq!(client.outcome(stream).status(), Some(403), "{what}");
            // For everybody else it is over.
            stage.weir.wait_log(4 * n + stream as usize / 2 + 1);
            assert_eq!(room.fill(&mut client, 300_000), (300_000, None), "{what}");
            assert_all_is_well(&mut client, what);
            client.send(frame(kind::DATA, END_STREAM, stream, &[]));
            assert_all_is_well(&mut client, what);
            room = room.next();
        }
    }
    assert_eq!(stage.counts(), [0]);
}

/// The body is there, its end is not: nothing is wrong with that.
#[test]
fn the_end_may_come_behind_the_last_byte() {
    let stage = forbidding();
    let mut client = Speaker::connect(stage.vip());
    for n in 0..50 {
        let stream = 2 * n + 1;
        begin(&mut client, stream, &[("content-length", b"5")]);
        client.send(frame(kind::DATA, 0, stream, b"hello"));
        assert_eq!(client.outcome(stream).status(), Some(403), "{n}");
        assert_all_is_well(&mut client, "a body without its end");
        client.send(frame(kind::DATA, END_STREAM, stream, &[]));
        assert_all_is_well(&mut client, "its end");
    }
}

#[test]
fn whoever_sends_much_more_is_stopped() {
    let stage = forbidding();
    let mut client = Speaker::connect(stage.vip());
    begin(&mut client, 1, &[]);
    assert_eq!(client.outcome(1).status(), Some(403));
    let (sent, reset) = Room::of(1).fill(&mut client, 16 * DISCARDED_MAX);
    assert_eq!(reset, Some(code::NO_ERROR), "after {sent} bytes");
    assert!((DISCARDED_MAX..DISCARDED_MAX + 512 * 1024).contains(&sent), "{sent}");
    client.ask(3, "GET", "/x");
    assert_eq!(client.outcome(3).status(), Some(200));
}

#[test]
fn whoever_is_silent_or_slow_is_not_waited_for() {
    let stage = forbidding();
    let mut client = Speaker::connect(stage.vip());
    let began = Instant::now();
    begin(&mut client, 1, &[]);
    assert_eq!(client.outcome(1).status(), Some(403));
    assert_eq!(client.outcome(1), Outcome::Reset(code::NO_ERROR));
    assert!(began.elapsed() >= LINGER_SILENCE, "{:?}", began.elapsed());
    // Who sends a byte now and then is heard for longer, but not for ever; other frames are no bytes.
    client.patience(LINGER_SILENCE / 5);
    for (stream, bytes, least) in [(3, &b"x"[..], LINGER_FOR), (5, b"", LINGER_SILENCE)] {
        let began = Instant::now();
        begin(&mut client, stream, &[]);
        let reset = until(PATIENCE, "a reset", || match client.outcome(stream) {
            Outcome::Silent => {
                client.send(frame(kind::DATA, 0, stream, bytes));
                None
            }
            Outcome::Answered(status, _) => {
                assert_eq!(status, 403);
                None
            }
            other => Some(other),
        });
        assert_eq!(reset, Outcome::Reset(code::NO_ERROR), "{stream}");
        assert!(began.elapsed() >= least, "{stream}: {:?}", began.elapsed());
    }
}

/// Streams that are waited for are of the client's hundred.
#[test]
fn streams_that_are_waited_for_count() {
    let stage = forbidding();
    // The first may have been waited for long enough when the last is there.
    until_true(PATIENCE, "a stream that is one too many", || {
        let mut client = Speaker::connect(stage.vip());
        for n in 0..100 {
            begin(&mut client, 2 * n + 1, &[]);
        }
        for n in 0..100 {
            assert_eq!(client.outcome(2 * n + 1).status(), Some(403), "{n}");
        }
        begin(&mut client, 201, &[]);
        client.outcome(201) == Outcome::Reset(code::REFUSED_STREAM)
    });
    others_are_served(&stage);
}

/// One that the client gives up is free at once.
#[test]
fn streams_that_are_given_up_are_not_waited_for() {
    let stage = forbidding();
    let mut client = Speaker::connect(stage.vip());
    for n in 0..500 {
        let stream = 2 * n + 1;
        begin(&mut client, stream, &[]);
        assert_eq!(client.outcome(stream).status(), Some(403), "{n}");
        client.send(frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes()));
    }
    assert_all_is_well(&mut client, "after all that");
}

/// What curl makes of answers to a body that it is still sending: its exit code, the status, and the version.
fn curl(stage: &Stage, ca: &Path, path: &str, words: &[&str]) -> String {
    let to = stage.vip();
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{exitcode} %{http_code} %{http_version}"]);
    command.args(["--resolve", &format!("{HOST}:{}:{}", to.port(), to.ip()), "--cacert"]).arg(ca).args(words);
    let output = output(command.arg(format!("https://{HOST}:{}{path}", to.port())));
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// A listener that ends TLS, with `member` behind it.
fn secured(authority: &Authority, files: &Place, up: bool, member: impl Fn(&str, SocketAddr) -> Member) -> Stage {
    let own = authority.sign(&[HOST]).write(files, "own.pem");
    Stage::with(Mode::Http, 1, member, |setup| {
        let path = |begins: &str| json!([{"type": "PATH", "compare_type": "STARTS_WITH", "value": begins}]);
        setup.members[0].admin_state_up = up;
        setup.listener = json!({
            "protocol": "TERMINATED_HTTPS",
            "l7policies": [
                {"name": "no", "action": "REJECT", "rules": path("/no")},
                {"name": "away", "action": "REDIRECT_TO_URL", "redirect_url": "https://elsewhere.test/", "rules": path("/away")},
            ],
        });
        setup.listener["default_tls_container_ref"] = json!(format!("file:{}", own.display()));
    })
}

#[test]
fn curl_sees_answers_that_come_early() {
    let (files, authority) = (Place::new(), Authority::new("authority"));
    let down = secured(&authority, &files, false, Member::http);
    // It has an opinion as soon as it has seen a head.
    let hasty = secured(&authority, &files, true, |name, socket| {
        Member::script(name, socket, |conn| {
            conn.head()?;
            conn.send("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nless")?;
            conn.half_close();
            conn.take_to_end();
            Ok(())
        })
    });
    let ca = authority.write(&files, "ca.pem");
    let long = files.write("long", pattern(300_000));
    let long = format!("@{}", long.display());
    for (stage, path, status) in [(&down, "/no", 403), (&down, "/away", 302), (&down, "/x", 503), (&hasty, "/x", 413)] {
        for body in ["hello", &long] {
            for (version, times) in [("2", 20), ("1.1", 3)] {
                for n in 0..times {
                    let http = format!("--http{version}");
                    let said = curl(stage, &ca, path, &[&http, "--data-binary", body]);
                    assert_eq!(said, format!("0 {status} {version}"), "{n}: {} bytes to {path}", body.len());
                }
            }
        }
    }
}
