//! A WebSocket client and server made by others (PyPI's `websockets`), Node's HTTP/2, and curl.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use weir_tests::binaries::root;
use weir_tests::certificates::Authority;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tools::{output, run};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::stage;

/// A Python that has `websockets`, made once; `Err`: why there is none.
fn python() -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("weir-test-websockets");
    let python = folder.join("bin/python3");
    let knows = |python: &PathBuf| {
        Command::new(python).args(["-c", "import websockets.sync.server"]).output().is_ok_and(|o| o.status.success())
    };
    if knows(&python) {
        return Ok(python);
    }
    let made = output(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    let got = output(Command::new(&python).args(["-m", "pip", "install", "-q", "websockets"]));
    if knows(&python) { Ok(python) } else { Err(String::from_utf8_lossy(&got.stderr).into_owned()) }
}

/// A server in Python behind a Weir; `None`, with a word, where there is no Python that has it.
fn talking(tune: impl FnOnce(&mut Setup, &Place)) -> Option<(PathBuf, Process, Weir, Setup, Place)> {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("skipped: websockets cannot be had from PyPI here: {why}");
            return None;
        }
    };
    let place = Place::new();
    let member = place.socket();
    let mut command = Command::new(&python);
    command.arg(root().join("tests/upgrade/talk.py")).arg("server");
    command.args([member.ip().to_string(), member.port().to_string()]);
    let mut server = Process::start("websockets", command, place.path("server"));
    server.wait_port(member);
    let mut setup = Setup::new(Mode::Http, place.socket(), [("python", member)]);
    tune(&mut setup, &place);
    let weir = Weir::start(&place, &setup);
    Some((python, server, weir, setup, place))
}

fn talk(python: &PathBuf, words: &[&str]) {
    let talked = output(Command::new(python).arg(root().join("tests/upgrade/talk.py")).arg("client").args(words));
    assert!(talked.status.success(), "{}", String::from_utf8_lossy(&talked.stderr));
}

#[test]
fn a_real_client_talks_to_a_real_server() {
    let Some((python, _server, weir, setup, _place)) = talking(|_, _| ()) else { return };
    talk(&python, &[&format!("ws://{}/", setup.vip)]);
    let log = weir.wait_log(1);
    assert!(log[0].contains(" 101 ") && log[0].contains(" ---- "), "{log:?}");
    until_true(PATIENCE, "the tunnel to be gone", || weir.control.listener().tunnels_open == 0);
}

#[test]
fn a_real_client_talks_over_tls() {
    let authority = Authority::new("authority");
    let own = authority.sign(&["weir.test"]);
    let Some((python, _server, _weir, setup, place)) = talking(|setup, place| {
        setup.listener["protocol"] = json!("TERMINATED_HTTPS");
        setup.listener["default_tls_container_ref"] = json!(format!("file:{}", own.write(place, "own.pem").display()));
    }) else {
        return;
    };
    let ca = authority.write(&place, "ca.pem");
    talk(&python, &[&format!("wss://{}/", setup.vip), &ca.display().to_string()]);
}

/// Node asks on a stream of HTTP/2; the server behind speaks HTTP/1.1, and finds nothing wrong with it.
#[test]
fn node_asks_on_a_stream() {
    let known = |setup: &mut Setup, _: &Place| setup.listener["http2_prior_knowledge"] = json!(true);
    let Some((_python, _server, weir, setup, _place)) = talking(known) else { return };
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: there is no node here");
        return;
    }
    let script = root().join("tests/upgrade/streams.js");
    let asked = output(Command::new("node").arg(script).arg(format!("http://{}", setup.vip)));
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&[asked.stdout, asked.stderr].concat()));
    let log = weir.wait_log(1);
    assert!(log[0].contains(" 101 ") && log[0].contains("HTTP/2.0"), "{log:?}");
}

/// `curl --http2` asks for h2c in an `Upgrade`: it is served in HTTP/1.1, and the member hears nothing of it.
#[test]
fn curl_is_not_led_into_h2c() {
    let stage = stage(|_| ());
    let url = format!("http://{}/echo", stage.vip());
    let said = run(Command::new("curl").args(["-sS", "--http2", "--max-time", "20", "-w", "%{http_version}"]).arg(url));
    assert!(said.starts_with("GET /echo HTTP/1.1\r\n") && said.ends_with("1.1"), "{said}");
    assert!(!said.to_ascii_lowercase().contains("upgrade") && !said.to_ascii_lowercase().contains("http2"), "{said}");
}
