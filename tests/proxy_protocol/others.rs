//! HAProxy, nginx and curl at either end.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::haproxy::Haproxy;
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tools::output;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

use super::trusting;

/// HAProxy that takes clients on `at` and sends them to `to`, its server having these words.
fn before_us(place: &Place, at: SocketAddr, to: SocketAddr, mode: &str, words: &str) -> Haproxy {
    let config = format!(
        "global\n  log stdout format raw local0\ndefaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n\
         frontend f\n  bind {at}\n  default_backend b\nbackend b\n  server weir {to} {words}\n"
    );
    Haproxy::start_with(place, &config, at)
}

/// Whoever asks HAProxy is whom our members and lines are told of; its health checks are nobody.
#[test]
fn haproxy_sends_before_us() {
    for (mode, words) in [
        ("http", "send-proxy"),
        ("http", "send-proxy-v2 check inter 100ms"),
        ("tcp", "send-proxy check inter 100ms"),
        ("tcp", "send-proxy-v2"),
    ] {
        let stage = Stage::http(1, |setup| trusting(setup, true));
        let (place, from) = (Place::new(), Place::new());
        let at = place.socket();
        let haproxy = before_us(&place, at, stage.vip(), mode, words);
        if words.contains("check") {
            // A few checks: each a connection with a header and nothing behind it.
            until_true(PATIENCE, "some checks", || stage.weir.control.listener().total_connections > 3);
            assert!(haproxy.is_up("weir"));
        }
        let mut client = Client::connect_from(from.ip(), at);
        for _ in 0..2 {
            let text = client.get("/echo").text();
            assert!(text.contains(&format!("X-Forwarded-For: {}\r\n", from.ip())), "{words}: {text}");
            assert!(text.contains(&format!("X-Forwarded-Port: {}\r\n", at.port())), "{words}: {text}");
        }
        let port = client.wire().stream().local_addr().unwrap().port();
        let expected = format!("{}:{port} [", from.ip());
        until_true(PATIENCE, "two lines of the client", || {
            stage.weir.log().iter().filter(|line| line.starts_with(&expected)).count() == 2
        });
        assert_eq!(stage.weir.control.listener().proxy_header_errors, 0, "{words}");
    }
}

/// HAProxy as a member says who came, and where to.
#[test]
fn haproxy_accepts_behind_us() {
    for (mode, protocol) in
        [(Mode::Http, "PROXY"), (Mode::Http, "PROXYV2"), (Mode::Tcp, "PROXY"), (Mode::Tcp, "PROXYV2")]
    {
        let (place, behind, from) = (Place::new(), Place::new(), Place::new());
        let at = behind.socket();
        let config = format!(
            "global\n  log stdout format raw local0\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n\
             frontend f\n  bind {at} accept-proxy\n  http-request return status 200 content-type text/plain lf-string \"%ci %cp %[dst] %[dst_port]\"\n"
        );
        let _haproxy = Haproxy::start_with(&behind, &config, at);
        let setup = Setup::new(mode, place.socket(), [("m1", at)]).pool_keys(json!({"protocol": protocol}));
        let _weir = Weir::start(&place, &setup);
        let mut client = Client::connect_from(from.ip(), setup.vip);
        let port = client.wire().stream().local_addr().unwrap().port();
        let expected = format!("{} {port} {} {}", from.ip(), setup.vip.ip(), setup.vip.port());
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), expected, "{mode:?} {protocol}");
        }
    }
}

/// nginx reads the headers, for each client its own, and passes nothing on to the next.
#[test]
fn nginx_is_told_who_came() {
    for protocol in ["PROXY", "PROXYV2"] {
        let place = Place::new();
        let nginx = Nginx::start_proxied(&place, "m1", place.socket());
        let setup =
            Setup::new(Mode::Http, place.socket(), [("m1", nginx.socket)]).pool_keys(json!({"protocol": protocol}));
        let weir = Weir::start(&place, &setup);
        for _ in 0..5 {
            let from = Place::new();
            let mut client = Client::connect_from(from.ip(), setup.vip);
            let port = client.wire().stream().local_addr().unwrap().port();
            let expected = format!("m1 {} {} {port} {}\n", from.ip(), setup.vip.ip(), setup.vip.port());
            for _ in 0..3 {
                assert_eq!(client.get("/").text(), expected, "{protocol}");
            }
        }
        let figures = weir.control.member("m1");
        assert_eq!((figures.connects, figures.reuses), (5, 10));
    }
}

/// Two of us in a row: the last member knows the first client.
#[test]
fn weir_before_weir() {
    let (outer, inner, from) = (Place::new(), Place::new(), Place::new());
    let nginx = Nginx::start_proxied(&inner, "m1", inner.socket());
    let mut behind =
        Setup::new(Mode::Http, inner.socket(), [("m1", nginx.socket)]).pool_keys(json!({"protocol": "PROXY"}));
    trusting(&mut behind, true);
    let second = Weir::start(&inner, &behind);
    let before = Setup::new(Mode::Tcp, outer.socket(), [("weir", behind.vip)])
        .pool_keys(json!({"protocol": "PROXYV2"}))
        .monitor(json!({"type": "TCP", "delay": 0.1, "timeout": 0.1, "max_retries": 1}));
    let first = Weir::start(&outer, &before);
    first.control.wait_asked();
    let mut client = Client::connect_from(from.ip(), before.vip);
    let port = client.wire().stream().local_addr().unwrap().port();
    let expected = format!("m1 {} {} {port} {}\n", from.ip(), before.vip.ip(), before.vip.port());
    assert_eq!(client.get("/").text(), expected);
    pause_ms(300);
    assert_eq!(second.control.listener().proxy_header_errors, 0, "our own checks are no fault");
}

#[test]
fn curl_sends_a_header() {
    let stage = Stage::http(1, |setup| trusting(setup, true));
    let url = format!("http://{}/echo", stage.vip());
    let from = Place::new();
    let curl = |words: &[&str]| {
        let interface = from.ip().to_string();
        output(
            Command::new("curl")
                .args(["-s", "-S", "--max-time", "20", "--interface", &interface])
                .args(words)
                .args([&url, &url]),
        )
    };
    let told = curl(&["--haproxy-protocol"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success(), "{told:?}");
    assert_eq!(text.matches(&format!("X-Forwarded-For: {}\r\n", from.ip())).count(), 2, "{text}");
    assert_eq!(stage.weir.control.listener().total_connections, 1);
    assert!(!curl(&[]).status.success(), "without a header it was served");
    assert_eq!(get_without_header(&stage), 0);
}

/// Bytes that a client without a header gets.
fn get_without_header(stage: &Stage) -> usize {
    let mut client = Client::connect(stage.vip());
    client.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    client.take_to_end();
    client.stray.len()
}

/// Off, it costs and changes nothing: the same member, the same connections.
#[test]
fn without_it_connections_are_shared_as_ever() {
    let stage = Stage::http(1, |_| ());
    for _ in 0..5 {
        assert_eq!(get(stage.vip(), "/").status(), 200);
        pause_ms(5);
    }
    assert!(stage.weir.control.member("m1").reuses > 0);
}
