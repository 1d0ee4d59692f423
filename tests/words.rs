//! Promise: the words of a document do what they say: headers, pages, protocols, administrative states, addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};
use weir_tests::client::{Client, get};
use weir_tests::haproxy::listening;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::weir::Weir;

struct Play {
    weir: Weir,
    setup: Setup,
    member: Member,
    place: Place,
}

/// One well-behaved member behind a Weir whose document `change` has seen.
fn play(mode: Mode, change: impl FnOnce(&mut Value)) -> Play {
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    let setup = Setup::new(mode, place.socket(), [("m1", member.socket())]);
    let mut document = setup.document(&place.path("access.log"));
    change(&mut document["loadbalancer"]);
    let weir = Weir::start_with(&place, &document, &[]);
    Play { weir, setup, member, place }
}

/// Whatever the client claims, the member learns what is true (threats P3).
#[test]
fn forwarded_headers_are_set_and_claims_replaced() {
    let play = play(Mode::Http, |lb| {
        lb["listeners"][0]["insert_headers"] =
            json!({"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"});
    });
    let mut client = Client::connect(play.setup.vip);
    client.send(
        "GET / HTTP/1.1\r\nHost: weir.test\r\nX-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Port: 1\r\n\
         X-Forwarded-Proto: https\r\nx-forwarded-proto: gopher\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 200);
    let request = play.member.seen().remove(0);
    assert_eq!(request.head.all("x-forwarded-for").last(), Some(&"127.0.0.1"), "the last one is ours");
    assert_eq!(request.head.all("x-forwarded-port"), [play.setup.vip.port().to_string()]);
    assert_eq!(request.head.all("x-forwarded-proto"), ["http"]);
}

#[test]
fn headers_not_asked_for_are_not_added() {
    let play = play(Mode::Http, |lb| {
        lb["listeners"][0]["insert_headers"] = json!({"X-Forwarded-For": "false"});
    });
    get(play.setup.vip, "/");
    let request = play.member.seen().remove(0);
    assert!(!request.head.fields.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("x-")), "{request:?}");
}

#[test]
fn pages_can_be_replaced() {
    let page = "<h1>Back soon</h1>\n";
    let mut play = play(Mode::Http, |lb| lb["listeners"][0]["error_pages"] = json!({"503": page}));
    play.member.kill();
    let answer = get(play.setup.vip, "/");
    assert_eq!((answer.status(), answer.text().as_str()), (503, page));
    let mut bad = Client::connect(play.setup.vip);
    bad.send("nonsense\r\n\r\n");
    let answer = bad.answer();
    assert!(answer.status() == 400 && answer.text().contains("400"), "the others stay: {}", answer.text());
}

#[test]
fn listener_without_pool_says_503() {
    let play = play(Mode::Http, |lb| {
        lb["listeners"][0].as_object_mut().unwrap().remove("default_pool");
    });
    assert_eq!(get(play.setup.vip, "/").status(), 503);
}

#[test]
fn tcp_listener_without_pool_closes() {
    let play = play(Mode::Tcp, |lb| {
        lb["listeners"][0].as_object_mut().unwrap().remove("default_pool");
    });
    let mut client = Client::connect(play.setup.vip);
    client.take_to_end();
    assert!(client.stray.is_empty());
}

#[test]
fn https_is_passed_through_untouched() {
    let play = play(Mode::Tcp, |lb| {
        lb["listeners"][0]["protocol"] = json!("HTTPS");
        lb["listeners"][0]["default_pool"]["protocol"] = json!("HTTPS");
    });
    // What is passed through untouched may as well be plain.
    assert_eq!(get(play.setup.vip, "/").status(), 200);
    assert_eq!(play.weir.control.listener().total_requests, 0, "a request was read on a passthrough listener");
}

#[test]
fn listener_that_is_down_is_not_bound() {
    let play = play(Mode::Http, |lb| {
        lb["listeners"].as_array_mut().unwrap().push(json!(
            {"name": "down", "protocol": "HTTP", "protocol_port": 9, "admin_state_up": false}
        ));
    });
    assert!(listening(play.setup.vip));
    assert!(!listening(SocketAddr::new(play.setup.vip.ip(), 9)));
}

#[test]
fn load_balancer_that_is_down_binds_nothing_and_comes_up() {
    let play = play(Mode::Http, |lb| lb["admin_state_up"] = json!(false));
    assert!(!listening(play.setup.vip));
    play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
    assert_eq!(get(play.setup.vip, "/").status(), 200);
}

#[test]
fn pool_that_is_down_is_not_used() {
    let play = play(Mode::Http, |lb| lb["listeners"][0]["default_pool"]["admin_state_up"] = json!(false));
    assert_eq!(get(play.setup.vip, "/").status(), 503);
    assert_eq!(play.member.requests(), 0);
}

#[test]
fn shared_pool_serves_two_listeners() {
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    let (first, second) = (place.socket(), place.socket());
    let document = json!({"loadbalancer": {
        "vip_address": first.ip(),
        "workers": 1,
        "listeners": [
            {"name": "a", "protocol": "HTTP", "protocol_port": first.port(), "default_pool": {"name": "web"}},
            {"name": "b", "protocol": "HTTP", "protocol_port": second.port(), "default_pool": {"name": "web"}},
        ],
        "pools": [{"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [
            {"name": "m1", "address": member.socket().ip(), "protocol_port": member.socket().port()},
        ]}],
    }});
    let weir = Weir::start_with(&place, &document, &[]);
    assert_eq!((get(first, "/").status(), get(second, "/").status()), (200, 200));
    let stats = weir.control.stats();
    assert_eq!(stats.pools.len(), 1);
    assert_eq!(stats.pools[0].total_connections, 2);
    assert_eq!(stats.listeners.iter().map(|l| l.total_requests).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn ipv6_on_both_sides() {
    let place = Place::new();
    let free = || {
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
        std::net::TcpListener::bind(any).and_then(|l| l.local_addr())
    };
    let (Ok(vip), Ok(at)) = (free(), free()) else {
        eprintln!("skipped: this machine has no ::1");
        return;
    };
    let member = Member::http("m1", at);
    let mut setup = Setup::new(Mode::Http, vip, [("m1", at)]);
    setup.forwarded_for = true;
    let weir = Weir::start(&place, &setup);
    assert_eq!(get(vip, "/").status(), 200);
    assert_eq!(member.seen()[0].header("x-forwarded-for"), Some("::1"));
    assert!(weir.wait_log(1)[0].starts_with("::1:"), "{:?}", weir.log());
}

/// YAML with comments and no quotes, as people write it; no names, no ids, only what must be said.
#[test]
fn shortest_document() {
    let place = Place::new();
    let member = Member::http("m1", place.socket());
    let vip = place.socket();
    let text = format!(
        "# short\nloadbalancer:\n  vip_address: {}\n  listeners:\n  - protocol: HTTP\n    protocol_port: {}\n\
         \x20   default_pool:\n      protocol: HTTP\n      lb_algorithm: ROUND_ROBIN\n      members:\n\
         \x20     - address: {}\n        protocol_port: {}\n",
        vip.ip(),
        vip.port(),
        member.socket().ip(),
        member.socket().port()
    );
    let stage = play(Mode::Http, |_| ());
    let reply = stage.weir.control.must("PUT", "/v1/document", text.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(get(vip, "/").status(), 200);
    let kept = stage.weir.control.document().loadbalancer.unwrap();
    assert_eq!(kept.listeners[0].timeouts.client_data_ms, 50_000);
    assert_eq!(kept.listeners[0].timeouts.member_connect_ms, 5000);
    assert_eq!(kept.listeners[0].timeouts.http_request_ms, 10_000);
    assert_eq!(kept.pools[0].members[0].weight, 1);
}
