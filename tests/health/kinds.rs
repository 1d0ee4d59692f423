//! Promise: each kind of monitor is asked through the data plane as the document says, as seen on the wire.

use std::process::{Command, Stdio};
use std::time::Duration;

use lb_control::events::EventKind::{MemberDown, MemberUp};
use serde_json::{Value, json};
use weir_tests::health::{Moody, monitor, with};
use weir_tests::member::Member;
use weir_tests::netns::{Netns, allowed};
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

fn skipped() -> bool {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
    }
    !allowed()
}

/// What the only monitor of `m1` last heard, once it has.
fn last(weir: &Weir) -> String {
    weir.control.wait_asked();
    weir.control.health_of("m1").monitors[0].last.clone()
}

fn asked(place: &Place, at: std::net::SocketAddr, monitor: Value) -> String {
    let setup = Setup::new(Mode::Tcp, place.socket(), [("m1", at)]).monitor(monitor);
    last(&Weir::start(place, &setup))
}

#[test]
fn tcp_tls_https_and_mysql() {
    let place = Place::new();
    let path = |name: &str| place.path(name).display().to_string();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=weir.test", "-keyout", &key, "-out"];
    let names = ["-addext", "subjectAltName=DNS:weir.test", "-addext", "basicConstraints=critical,CA:FALSE"];
    run(Command::new("openssl").args(words).arg(&certificate).args(names));
    let nginx = Nginx::start_tls(&place, "m1", place.socket(), &certificate, &key);
    let trust = json!({"tls_verify": true, "ca_tls_container_ref": format!("file:{certificate}"), "sni": "weir.test"});
    let quick = |kind: &str| monitor(kind, 500, 400);
    assert!(asked(&place, nginx.socket, quick("TCP")).starts_with("connected, "));
    assert!(asked(&place, nginx.socket, with(quick("TLS-HELLO"), &trust)).starts_with("TLS handshake, "));
    let https = with(quick("HTTPS"), &json!({"expected_body": "m1"}));
    assert!(asked(&place, nginx.socket, with(https, &trust)).starts_with("HTTP 200, "));
    let other = with(
        quick("HTTPS"),
        &json!({"tls_verify": true, "ca_tls_container_ref": format!("file:{certificate}"), "sni": "a.test"}),
    );
    assert!(
        asked(&place, nginx.socket, other).starts_with("TLS: certificate is not valid for the name a.test, 1 of 1")
    );
    let mysql = Member::script("mysql", place.socket(), |conn| {
        conn.send(b"\x1c\0\0\0\x0a5.5.5-10.11\0\x01\0\0\0abcdefgh\0\xff\xf7")?;
        conn.take_to_end();
        Ok(())
    });
    assert!(asked(&place, mysql.socket(), quick("MYSQL")).starts_with("greeting, "));
    assert!(
        asked(&place, nginx.socket, quick("MYSQL")).starts_with("no answer within 400 ms (waiting for the answer)")
    );
}

/// tcpdump inside `ns` until it has seen `count` packets; its words.
struct Tap(Process);

impl Tap {
    fn new(ns: &Netns, place: &Place, count: usize, filter: &str) -> Self {
        let mut command = ns.command("tcpdump");
        command.args(["-i", "any", "-n", "-l", "-A", "-c", &count.to_string(), filter]).stdin(Stdio::null());
        let mut tap = Process::start("tcpdump", command, place.path("tcpdump"));
        let ready = std::cell::Cell::new(false);
        let errors = place.path("tcpdump.stderr");
        tap.wait_ready("tcpdump to listen", || {
            ready.set(std::fs::read_to_string(&errors).unwrap_or_default().contains("listening on"));
            ready.get()
        });
        Self(tap)
    }

    fn words(mut self) -> String {
        self.0.wait(PATIENCE);
        self.0.stdout()
    }
}

#[test]
fn http_goes_out_as_the_document_says() {
    if skipped() {
        return;
    }
    let (ns, place) = (Netns::new(), Place::new());
    let at = "127.0.0.1:8080".parse().unwrap();
    let member = ns.inside(|| Moody::http("m1", at));
    let tap = Tap::new(&ns, &place, 1, "tcp dst port 8080 and tcp[13] & 8 != 0");
    let http = with(
        monitor("HTTP", 200, 200),
        &json!({
            "http_method": "HEAD", "url_path": "/health?deep=1", "http_version": "1.1", "domain_name": "shop.test",
            "headers": {"X-Asked-By": "weir"},
        }),
    );
    let setup = Setup::new(Mode::Http, "127.0.0.1:80".parse().unwrap(), [("m1", at)]).monitor(http);
    let _weir = Weir::start_in(&ns, &place, &setup);
    let words = tap.words();
    for line in ["HEAD /health?deep=1 HTTP/1.1", "Host: shop.test", "X-Asked-By: weir", "Connection: close"] {
        assert!(words.to_lowercase().contains(&line.to_lowercase()), "{line} is missing:\n{words}");
    }
    drop(member);
}

/// As user nobody, with the kernel's leave to ping and without it.
#[test]
fn ping_goes_out_as_nobody_whatever_the_kernel_allows() {
    if skipped() {
        return;
    }
    for everybody in [true, false] {
        let (ns, place) = (Netns::new(), Place::new());
        let range = if everybody { "0 2147483647" } else { "1 0" };
        ns.inside(|| std::fs::write("/proc/sys/net/ipv4/ping_group_range", range).unwrap());
        let tap = Tap::new(&ns, &place, 2, "icmp");
        let setup = Setup::new(Mode::Tcp, "127.0.0.1:80".parse().unwrap(), [("m1", "127.0.0.5:80".parse().unwrap())])
            .monitor(monitor("PING", 200, 200));
        let weir = Weir::start_in(&ns, &place, &setup);
        let uid = weir.process.status_field("Uid").unwrap();
        assert!(!uid.starts_with("0\t"), "it runs as {uid}");
        assert!(last(&weir).starts_with("echo, "), "everybody may: {everybody}: {}", last(&weir));
        let words = tap.words();
        assert!(words.contains("> 127.0.0.5: ICMP echo request"), "{words}");
        assert!(words.contains("127.0.0.5 > ") && words.contains("ICMP echo reply"), "{words}");
        ns.run(&[
            "nft",
            "table inet t { chain in { type filter hook input priority 0; icmp type echo-request drop; \n } \n }",
        ]);
        let down = weir.control.wait_event(MemberDown, "back/m1", 0, Duration::from_secs(6));
        assert!(down.reason.starts_with("no answer within 200 ms (waiting for the answer), 3 of 3"), "{down:?}");
        ns.run(&["nft", "flush", "ruleset"]);
        weir.control.wait_event(MemberUp, "back/m1", down.seq, PATIENCE);
    }
}

/// PING over IPv6.
#[test]
fn ping_over_ipv6() {
    if skipped() {
        return;
    }
    let (ns, place) = (Netns::new(), Place::new());
    let setup = Setup::new(Mode::Tcp, "127.0.0.1:80".parse().unwrap(), [("m1", "[::1]:80".parse().unwrap())])
        .monitor(monitor("PING", 200, 200));
    let weir = Weir::start_in(&ns, &place, &setup);
    until_true(PATIENCE, "an echo", || last(&weir).starts_with("echo, "));
}
