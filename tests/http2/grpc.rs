//! gRPC through us, HTTP/2 on both sides: every kind of call, with status and trailers, deadlines and cancellation.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use weir_tests::binaries::root;
use weir_tests::certificates::Authority;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tools::output;
use weir_tests::weir::Weir;

/// A Python that has grpcio, made once; `Err`: why there is none.
fn python() -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("weir-test-grpcio");
    let python = folder.join("bin/python3");
    let knows = |python: &PathBuf| {
        Command::new(python).args(["-c", "import grpc"]).output().is_ok_and(|output| output.status.success())
    };
    if knows(&python) {
        return Ok(python);
    }
    let made = output(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    let got = output(Command::new(&python).args(["-m", "pip", "install", "-q", "grpcio"]));
    if knows(&python) { Ok(python) } else { Err(String::from_utf8_lossy(&got.stderr).into_owned()) }
}

/// A gRPC server behind a Weir that `tune` is told of, and all calls of a client through it. `words`: for the server and
/// for the client, behind their addresses.
fn calls(place: &Place, words: [&[PathBuf]; 2], tune: impl FnOnce(&mut Setup)) {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!("skipped: grpcio cannot be had from PyPI here: {why}");
            return;
        }
    };
    let script = root().join("tests/http2/grpc_calls.py");
    let member = place.socket();
    let mut command = Command::new(&python);
    command.arg(&script).arg("server").arg(member.to_string()).args(words[0]);
    let mut server = Process::start("grpc server", command, place.path("server"));
    server.wait_port(member);
    let mut setup = Setup::new(Mode::Http, place.socket(), [("g", member)]);
    setup.pool["http2_prior_knowledge"] = json!(true);
    tune(&mut setup);
    let weir = Weir::start(place, &setup);
    let asked = output(Command::new(&python).arg(&script).arg("client").arg(setup.vip.to_string()).args(words[1]));
    let said = [asked.stdout, asked.stderr].concat();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&said));
    assert_eq!(weir.control.member("g").connects, 1, "all calls share a connection");
}

#[test]
fn grpc_goes_through() {
    calls(&Place::new(), [&[], &[]], |setup| setup.listener["http2_prior_knowledge"] = json!(true));
}

#[test]
fn grpc_goes_through_over_tls_on_both_sides() {
    let (place, authority) = (Place::new(), Authority::new("authority"));
    let own = authority.sign(&["weir.test"]);
    let bundle = own.write(&place, "own.pem");
    let certificate = place.write("certificate.pem", &own.certificate);
    let key = place.write("key.pem", &own.key);
    let root = authority.write(&place, "root.pem");
    let trusted = root.clone();
    calls(&place, [&[certificate, key], &[root]], |setup| {
        setup.listener["protocol"] = json!("TERMINATED_HTTPS");
        setup.listener["default_tls_container_ref"] = json!(format!("file:{}", bundle.display()));
        setup.pool["tls_enabled"] = json!(true);
        setup.pool["alpn_protocols"] = json!(["h2"]);
        setup.pool["tls_server_name"] = json!("weir.test");
        setup.pool["ca_tls_container_ref"] = json!(format!("file:{}", trusted.display()));
        setup.pool.as_object_mut().unwrap().remove("http2_prior_knowledge");
    });
}
