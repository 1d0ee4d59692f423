//! Promise: the process behaves like a good citizen: it starts or says why not, drains, ends, and gives up its rights.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use weir_tests::binaries::bin;
use weir_tests::client::{Client, get};
use weir_tests::haproxy::listening;
use weir_tests::member::{Member, listen};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tools::output;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

fn proxy(arguments: &[&str]) -> Output {
    output(Command::new(bin("lb-proxy")).args(arguments))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn document(place: &Place) -> (Setup, Value) {
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", place.socket())]);
    let document = setup.document(&place.path("access.log"));
    (setup, document)
}

fn written(place: &Place, document: &Value) -> String {
    place.write("weir.yaml", document.to_string()).to_str().unwrap().to_owned()
}

#[test]
fn check_of_a_sound_document() {
    let place = Place::new();
    let (setup, document) = document(&place);
    let output = proxy(&["--config", &written(&place, &document), "--check"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!listening(setup.vip));
}

#[test]
fn check_of_a_missing_file() {
    let output = proxy(&["--config", "/nonexistent/weir.yaml", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/weir.yaml"), "{}", stderr(&output));
}

#[test]
fn wrong_words_on_the_command_line() {
    let output = proxy(&["--confog", "x"]);
    assert_eq!(output.status.code(), Some(2), "usage errors are 2");
    assert!(stderr(&output).contains("--confog"), "{}", stderr(&output));
}

#[test]
fn port_of_somebody_else_is_refused_and_the_owner_named() {
    let place = Place::new();
    let (setup, document) = document(&place);
    let _owner = listen(setup.vip, 1);
    let output = proxy(&["--config", &written(&place, &document)]);
    assert_eq!(output.status.code(), Some(1));
    let words = stderr(&output);
    assert!(words.contains(&setup.vip.to_string()), "which port? {words}");
    assert!(words.contains(&std::process::id().to_string()), "whose port? {words}");
}

/// `SO_REUSEPORT` alone would let two processes share a port, each getting some of the clients.
#[test]
fn port_of_another_weir_is_not_shared_silently() {
    let stage = Stage::http(1, |_| ());
    let other = Place::new();
    let document = stage.setup.document(&other.path("access.log"));
    let output = proxy(&["--config", &written(&other, &document)]);
    assert_eq!(output.status.code(), Some(1));
    let words = stderr(&output);
    assert!(words.contains(&stage.weir.process.pid().to_string()) || words.contains("lb-proxy"), "whose port? {words}");
    assert_eq!(get(stage.vip(), "/").status(), 200);
}

#[test]
fn document_with_a_taken_port_changes_nothing() {
    let stage = Stage::http(1, |_| ());
    let taken = stage.place.socket();
    let _owner = listen(taken, 1);
    let mut document = stage.setup.document(&stage.place.path("access.log"));
    document["loadbalancer"]["listeners"][0]["protocol_port"] = taken.port().into();
    let before = stage.weir.control.document();
    let reply = stage.weir.control.put(&document);
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(reply.body.contains(&taken.port().to_string()), "{}", reply.body);
    assert_eq!(stage.weir.control.document(), before);
    assert_eq!(get(stage.vip(), "/").status(), 200);
}

/// A request under way at the member and another client idle, both connected.
fn busy(drain_seconds: &str, delay_ms: u32) -> (Weir, Setup, Member, Client, Client, Place) {
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    let weir =
        Weir::start_with(&place, &setup.document(&place.path("access.log")), &["--drain-timeout", drain_seconds]);
    let mut idle = Client::connect(setup.vip);
    idle.get("/");
    let mut busy = Client::connect(setup.vip);
    busy.send(format!("GET /delay/{delay_ms} HTTP/1.1\r\nHost: weir.test\r\n\r\n"));
    member.wait_requests(2);
    (weir, setup, member, busy, idle, place)
}

#[test]
fn term_finishes_what_is_under_way_and_refuses_the_rest() {
    let (mut weir, setup, _member, mut busy, mut idle, _place) = busy("20", 700);
    weir.process.signal(Signal::TERM);
    until_true(PATIENCE, "the port to be closed", || !listening(setup.vip));
    assert!(std::net::TcpStream::connect(setup.vip).is_err(), "a new connection was taken while draining");
    assert_eq!(idle.fate_if_open(Duration::from_secs(3)), Some(End::Closed), "an idle connection is let go");
    let answer = busy.answer();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(weir.process.wait(PATIENCE).success());
}

#[test]
fn drain_has_a_deadline() {
    let (mut weir, _setup, _member, mut busy, _idle, _place) = busy("0.5", 8000);
    let began = Instant::now();
    weir.process.signal(Signal::TERM);
    weir.process.wait(Duration::from_secs(5));
    assert!(began.elapsed() >= Duration::from_millis(400), "it did not wait for the request at all");
    assert!(busy.maybe_answer().is_none_or(|a| a.status() != 200));
}

#[test]
fn second_term_ends_it_now() {
    let (mut weir, setup, _member, _busy, _idle, _place) = busy("60", 20_000);
    weir.process.signal(Signal::TERM);
    until_true(PATIENCE, "the drain to begin", || !listening(setup.vip));
    assert!(weir.process.ended().is_none(), "it did not drain");
    weir.process.signal(Signal::TERM);
    weir.process.wait(Duration::from_secs(3));
}

#[test]
fn drain_can_be_asked_for_on_the_control_socket() {
    let (mut weir, setup, _member, mut busy, _idle, _place) = busy("20", 700);
    assert_eq!(weir.control.must("POST", "/v1/drain", b"").status, 202);
    until_true(PATIENCE, "the port to be closed", || !listening(setup.vip));
    assert_eq!(busy.answer().status(), 200);
    assert!(weir.process.wait(PATIENCE).success());
}

#[test]
fn health_tells_who_and_what() {
    let stage = Stage::http(1, |setup| setup.workers = 2);
    let health = stage.weir.control.health();
    assert_eq!(health.pid, stage.weir.process.pid());
    assert_eq!(health.workers, 2);
    assert_eq!(health.generation, 1);
    assert!(!health.version.is_empty());
    assert_eq!(health.state, lb_control::instance::InstanceState::Serving);
}

#[test]
fn control_socket_speaks_http_and_only_to_its_owner() {
    let stage = Stage::http(1, |_| ());
    let control = &stage.weir.control;
    let file = std::fs::metadata(&control.socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o007, 0, "anybody may replace the document");
    assert_eq!(control.must("GET", "/v1/nothing", b"").status, 404);
    assert_eq!(control.must("DELETE", "/v1/health", b"").status, 405);
    let curl = Command::new("curl")
        .args(["-sS", "--unix-socket"])
        .arg(&control.socket)
        .arg("http://localhost/v1/health")
        .output()
        .unwrap();
    let health: Value = serde_json::from_slice(&curl.stdout).unwrap();
    assert_eq!(health["pid"], stage.weir.process.pid());
}

#[test]
fn control_socket_left_by_a_killed_process_is_replaced() {
    let place = Place::new();
    let (_, document) = document(&place);
    let mut first = Weir::start_with(&place, &document, &[]);
    first.process.signal(Signal::KILL);
    first.process.wait(PATIENCE);
    assert!(Path::new(&first.control.socket).exists(), "kill -9 leaves the file");
    let second = Weir::start_with(&place, &document, &[]);
    assert_eq!(second.control.health().pid, second.process.pid());
}

#[test]
fn rights_of_root_are_dropped_after_binding() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root has rights to drop");
        return;
    }
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    // A port that only root may bind.
    let vip = std::net::SocketAddr::new(place.ip(), 81);
    let setup = Setup::new(Mode::Http, vip, [("m1", member.socket())]);
    let weir = Weir::start_with(&place, &setup.document(&place.path("access.log")), &["--user", "nobody"]);
    assert_eq!(get(vip, "/").status(), 200);
    let uids = weir.process.status_field("Uid").unwrap();
    assert!(uids.split_whitespace().all(|uid| uid == "65534"), "still {uids}");
    let capabilities = weir.process.status_field("CapEff").unwrap();
    let effective = u64::from_str_radix(&capabilities, 16).unwrap();
    // CAP_NET_BIND_SERVICE (10) may stay, for documents to come.
    assert_eq!(effective & !(1 << 10), 0, "capabilities left: {capabilities}");
    for task in std::fs::read_dir(format!("/proc/{}/task", weir.process.pid())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Uid:\t65534"), "a thread kept its rights");
    }
}

#[test]
fn log_file_is_opened_again_on_hup() {
    let stage = Stage::http(1, |_| ());
    get(stage.vip(), "/first");
    stage.weir.wait_log(1);
    let old = stage.place.path("access.log.1");
    std::fs::rename(stage.place.path("access.log"), &old).unwrap();
    stage.weir.process.signal(Signal::HUP);
    until_true(PATIENCE, "lines in the new file", || {
        get(stage.vip(), "/second");
        stage.weir.log().iter().any(|line| line.contains("/second"))
    });
    let old = std::fs::read_to_string(old).unwrap();
    assert!(old.contains("/first"));
}

/// The figures agree with what was sent.
#[test]
fn figures_are_right() {
    let stage = Stage::http(2, |setup| setup.workers = 2);
    let mut client = Client::connect(stage.vip());
    for _ in 0..4 {
        client.get("/bytes/1000");
    }
    client.get("/status/404");
    client.get("/status/503");
    let mut bad = Client::connect(stage.vip());
    bad.send("nonsense\r\n\r\n");
    assert_eq!(bad.answer().status(), 400);
    drop((client, bad));
    until_true(PATIENCE, "all to be counted", || {
        let listener = stage.weir.control.listener();
        listener.active_connections == 0 && listener.responses.iter().sum::<u64>() == 7
    });
    let stats = stage.weir.control.stats();
    let listener = &stats.listeners[0];
    assert_eq!(listener.total_connections, 2);
    assert_eq!(listener.responses, [0, 4, 0, 2, 1]);
    assert_eq!((listener.refusals, listener.request_errors), (1, 1));
    assert!(listener.bytes_out > 4000 && listener.bytes_in > 0);
    let pool = &stats.pools[0];
    assert_eq!(pool.total_connections, 6);
    assert_eq!(pool.members.iter().map(|m| m.total_connections).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(pool.members.iter().map(|m| m.connects + m.reuses).sum::<u64>(), 6);
    assert!(pool.members.iter().all(|m| m.connects == 1 && m.active_connections == 0));
    assert_eq!(stats.workers.iter().map(|w| w.total_connections).sum::<u64>(), 2);
}

#[test]
fn runs_without_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: every other test has just shown it");
        return;
    }
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    let mut document = setup.document(&place.path("access.log"));
    document["loadbalancer"]["listeners"][0]["log"] = serde_json::json!({"target": "stderr"});
    let config = place.write("weir.yaml", document.to_string());
    let copy = place.path("lb-proxy");
    std::fs::copy(bin("lb-proxy"), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
    command.arg(copy).arg("--config").arg(config);
    let mut process = weir_tests::process::Process::start("lb-proxy", command, place.path("plain"));
    process.wait_ready("lb-proxy to listen", || listening(setup.vip));
    assert_eq!(get(setup.vip, "/").status(), 200);
    until_true(PATIENCE, "the line on standard error", || process.stderr().contains("\"GET / HTTP/1.1\""));
}
