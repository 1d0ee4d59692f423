//! Promise: log lines are HAProxy's, byte for byte; the JSON ones say why; and no log ever holds up traffic.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::{Value, json};
use weir_tests::client::{Client, get};
use weir_tests::haproxy::Haproxy;
use weir_tests::load::Plan;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

/// Ports of clients, dates and times replaced, every other byte kept.
fn mask(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    words[0] = words[0].split(':').next().unwrap().to_owned() + ":PORT";
    words[1] = words[1].chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    words[1] = words[1].replacen("Nov", "Mon", 1);
    let timers: Vec<&str> = words[4].split('/').map(|t| if t == "-1" { "-1" } else { "T" }).collect();
    words[4] = timers.join("/");
    words.join(" ")
}

/// The same requests through both; all lines must be equal.
fn same_lines(mode: Mode, lines: usize, member: impl Fn(&Place) -> Member, talk: impl Fn(&Setup)) {
    let (theirs, ours) = (Place::new(), Place::new());
    let member = member(&theirs);
    let setup = Setup::new(mode, theirs.socket(), [("m1", member.socket())]);
    let haproxy = Haproxy::start(&theirs, &setup);
    talk(&setup);
    until_true(PATIENCE, "HAProxy's lines", || haproxy.log().len() >= lines);
    let expected: Vec<String> = haproxy.log().iter().map(|line| mask(line)).collect();

    let setup = Setup { vip: ours.socket(), ..setup };
    let weir = Weir::start(&ours, &setup);
    talk(&setup);
    let found: Vec<String> = weir.wait_log(lines).iter().map(|line| mask(line)).collect();
    assert_eq!(found, expected);
}

#[test]
fn httplog_byte_for_byte() {
    same_lines(
        Mode::Http,
        8,
        |place| Member::http("m1", place.socket()),
        |setup| {
            let mut client = Client::connect(setup.vip);
            for target in ["/", "/bytes/100", "/chunked/1000/7", "/status/404", "/status/204", "/a?b=\"c\""] {
                client.get(target);
            }
            client.send("POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\nhello");
            client.answer();
            client.send("HEAD /bytes/100 HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n");
            client.answer_to("HEAD");
        },
    );
}

#[test]
fn tcplog_byte_for_byte() {
    same_lines(
        Mode::Tcp,
        2,
        |place| {
            Member::script("m1", place.socket(), |conn| {
                let bytes = conn.take(5)?;
                conn.send(bytes)?;
                conn.close();
                Ok(())
            })
        },
        |setup| {
            for _ in 0..2 {
                let mut client = Client::connect(setup.vip);
                client.send("hello");
                client.take_to_end();
                client.leave();
                // One at a time: the counts of connections are part of the line.
                weir_tests::wait::pause_ms(100);
            }
        },
    );
}

/// A client that thinks before its first request: the request's times begin with its first byte, in both.
#[test]
fn times_of_the_first_request_begin_with_its_first_byte() {
    let (theirs, ours) = (Place::new(), Place::new());
    let member = Member::http("m1", theirs.socket());
    let setup = Setup::new(Mode::Http, theirs.socket(), [("m1", member.socket())]);
    let think_then_ask = |setup: &Setup| {
        let mut client = Client::connect(setup.vip);
        weir_tests::wait::pause_ms(600);
        assert_eq!(client.get("/").status(), 200);
    };
    let request_and_total = |line: &str| -> (i32, i32) {
        let times: Vec<i32> = line.split(' ').nth(4).unwrap().split('/').map(|t| t.parse().unwrap()).collect();
        (times[0], times[4])
    };
    let haproxy = Haproxy::start(&theirs, &setup);
    think_then_ask(&setup);
    until_true(PATIENCE, "HAProxy's line", || !haproxy.log().is_empty());
    let setup = Setup { vip: ours.socket(), ..setup };
    let weir = Weir::start(&ours, &setup);
    think_then_ask(&setup);
    for line in [haproxy.log()[0].clone(), weir.wait_log(1)[0].clone()] {
        let (request, total) = request_and_total(&line);
        assert!(request < 500 && total < 500, "the client's thinking is counted: {line}");
    }
}

fn with_log(log: &Value, tune: impl FnOnce(&mut Setup)) -> (Weir, Setup, Member, Place) {
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    tune(&mut setup);
    let mut document = setup.document(&place.path("access.log"));
    let listener = &mut document["loadbalancer"]["listeners"][0];
    for (key, value) in log.as_object().unwrap() {
        listener["log"][key] = value.clone();
    }
    let weir = Weir::start_with(&place, &document, &[]);
    (weir, setup, member, place)
}

#[test]
fn json_lines_say_why() {
    let (weir, setup, mut member, _place) = with_log(&json!({"format": "json"}), |_| ());
    assert_eq!(get(setup.vip, "/a?b").status(), 200);
    let mut bad = Client::connect(setup.vip);
    bad.send("nonsense\r\n\r\n");
    bad.answer();
    member.kill();
    assert_eq!(get(setup.vip, "/").status(), 503);
    let lines: Vec<Value> = weir
        .wait_log(3)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &lines {
        assert!(line["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "no reason: {line}");
    }
    let text = lines.iter().map(Value::to_string).collect::<Vec<_>>();
    assert!(text[0].contains("200") && text[0].contains("m1") && text[0].contains("/a?b"), "{}", text[0]);
    assert_ne!(lines[0]["reason"], lines[1]["reason"]);
    assert_ne!(lines[1]["reason"], lines[2]["reason"]);
    assert!(text[2].contains("503"), "{}", text[2]);
}

/// As `/dev/log`: for everybody.
fn log_socket(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    socket
}

/// HAProxy's own header on a datagram socket: priority, date, program, pid.
#[test]
fn syslog_lines() {
    let place = Place::new();
    let path = place.path("log.sock");
    let socket = log_socket(&path);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = json!({"target": format!("syslog:{}", path.display())});
    let (weir, setup, _member, _place) = with_log(&log, |_| ());
    get(setup.vip, "/");
    let mut bytes = [0; 4096];
    let n = socket.recv(&mut bytes).unwrap();
    let line = String::from_utf8_lossy(&bytes[..n]).into_owned();
    // local0.info, `Mon dd HH:MM:SS`, tag and pid.
    let rest = line.strip_prefix("<134>").unwrap_or_else(|| panic!("priority: {line}"));
    let (date, rest) = rest.split_at(16);
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert!(shape.ends_with("9 99:99:99 "), "date: {line}");
    let pid = format!("[{}]: ", weir.process.pid());
    let (tag, rest) = rest.split_once(&pid).unwrap_or_else(|| panic!("pid: {line}"));
    assert!(!tag.is_empty() && !tag.contains(' '), "tag: {line}");
    assert!(rest.starts_with("127.0.0.1:") && rest.trim_end().ends_with("\"GET / HTTP/1.1\""), "{line}");
}

/// Nobody reads the log: traffic goes on, and what is lost is counted.
#[test]
fn blocked_sink_holds_up_nobody() {
    let place = Place::new();
    let path = place.path("log.sock");
    let _never_read = log_socket(&path);
    let log = json!({"target": format!("syslog:{}", path.display())});
    let (weir, setup, _member, _place) = with_log(&log, |setup| setup.workers = 2);
    let outcome = Plan::gets(setup.vip, 4).exactly(20_000);
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert!(weir.control.stats().log_lines_dropped > 0, "lines were lost and not counted");
}

#[test]
fn no_log_is_possible() {
    let (weir, setup, _member, place) = with_log(&json!({"format": "none"}), |_| ());
    assert_eq!(get(setup.vip, "/").status(), 200);
    assert_eq!(weir.control.listener().total_requests, 1);
    let text = std::fs::read_to_string(place.path("access.log")).unwrap_or_default();
    assert_eq!(text, "");
}

/// Every request has its line, none twice, also with several workers.
#[test]
fn every_request_has_one_line() {
    let (weir, setup, _member, _place) = with_log(&json!({}), |setup| setup.workers = 2);
    let outcome = Plan::gets(setup.vip, 8).exactly(5000);
    assert_eq!(outcome.good, 5000);
    let lines = weir.wait_log(5000);
    assert_eq!(lines.len(), 5000);
    assert!(lines.iter().all(|line| weir_tests::log_line::LogLine::parse(line).is_ok()));
    assert_eq!(weir.control.stats().log_lines_dropped, 0);
}
