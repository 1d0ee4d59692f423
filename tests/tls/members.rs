//! TLS to members: whom they must be, what they are shown and asked for, what becomes of those that fail, and who may
//! share a connection.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use weir_tests::certificates::{Authority, Signed, Term, Wish};
use weir_tests::client::{Client, get};
use weir_tests::health::monitor;
use weir_tests::member::Member;
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tls::Trusting;
use weir_tests::wait::{PATIENCE, until, until_true};
use weir_tests::weir::Weir;

use super::{HOST, file, reasons, terminate};

/// What a member of a verified pool shows, and whether a client gets its answer.
struct Verified {
    place: Place,
    authority: Authority,
}

impl Verified {
    fn new() -> Self {
        Self { place: Place::new(), authority: Authority::new("members") }
    }

    fn nginx(&self, name: &str, signed: &Signed) -> Nginx {
        let bundle = signed.write(&self.place, &format!("{name}.pem"));
        let bundle = bundle.to_str().unwrap();
        Nginx::start_tls(&self.place, name, self.place.socket(), bundle, bundle)
    }

    /// A Weir before `members` that verifies them; `keys` are more of the pool.
    fn weir(&self, members: &[(&str, SocketAddr)], keys: &Value) -> (Weir, Setup) {
        let mut setup = Setup::new(Mode::Http, self.place.socket(), members.iter().copied());
        setup.log_format = Some("json");
        let ca = self.authority.write(&self.place, "members-ca.pem");
        setup = setup
            .pool_keys(json!({"tls_enabled": true, "ca_tls_container_ref": file(&ca), "tls_server_name": HOST}))
            .pool_keys(keys.clone());
        setup.pool.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        (Weir::start(&self.place, &setup), setup)
    }
}

#[test]
fn a_member_must_be_who_it_is_meant_to_be() {
    let world = Verified::new();
    let foreign = Authority::new("foreign");
    let of = |term| world.authority.sign_as(&Wish { term, ..Wish::of(&[HOST]) });
    let revoked = of(Term::Good);
    let crl = world.place.write("crl.pem", world.authority.revoke(&[&revoked]));
    let address = world.place.ip().to_string();
    let lists = json!({"crl_container_ref": file(&crl)});
    let old = world.place.write("old.pem", world.authority.revoke_for(&[], Term::Expired));
    let old = json!({"crl_container_ref": file(&old)});
    for (n, (what, signed, keys, reason)) in [
        ("good", of(Term::Good), json!({}), ""),
        ("good, with a list", of(Term::Good), lists.clone(), ""),
        ("its address", world.authority.sign(&[&address]), json!({"tls_server_name": "address"}), ""),
        ("not verified", foreign.sign(&["x.test"]), json!({"ca_tls_container_ref": null}), ""),
        (
            "foreign",
            foreign.sign(&[HOST]),
            json!({}),
            "TLS: the member's certificate is from an authority that is not trusted",
        ),
        ("expired", of(Term::Expired), json!({}), "TLS: the member's certificate has expired"),
        ("too early", of(Term::NotYet), json!({}), "TLS: the member's certificate is not valid yet"),
        (
            "another name",
            world.authority.sign(&["x.test"]),
            json!({}),
            "TLS: the member's certificate is for another name",
        ),
        (
            "no address",
            of(Term::Good),
            json!({"tls_server_name": "address"}),
            "TLS: the member's certificate is for another name",
        ),
        ("revoked", revoked, lists, "TLS: the member's certificate is revoked"),
        ("with an old list", of(Term::Good), old, "TLS: the revocation list for the member's certificate has expired"),
    ]
    .into_iter()
    .enumerate()
    {
        let nginx = world.nginx(&format!("n{n}"), &signed);
        let (weir, setup) = world.weir(&[("m1", nginx.socket)], &keys);
        let answer = get(setup.vip, "/");
        if reason.is_empty() {
            assert_eq!((answer.status(), answer.text()), (200, format!("n{n}\n")), "{what}");
        } else {
            assert_eq!(answer.status(), 503, "{what}");
            // The file has the lines of all before.
            until_true(PATIENCE, &format!("{what}: {reason}"), || {
                reasons(&weir).last().is_some_and(|last| last == reason)
            });
            assert!(weir.control.member("m1").connect_errors > 0, "{what}");
        }
    }
}

/// As a connection that is refused: nothing was sent, so another member may have it.
#[test]
fn a_request_leaves_a_member_whose_handshake_fails() {
    let world = Verified::new();
    let good = world.nginx("good", &world.authority.sign(&[HOST]));
    let bad = world.nginx("bad", &Authority::new("foreign").sign(&[HOST]));
    let plain = Member::http("plain", world.place.socket());
    let members = [("bad", bad.socket), ("plain", plain.socket()), ("good", good.socket)];
    let (weir, setup) = world.weir(&members, &json!({}));
    for _ in 0..12 {
        let answer = get(setup.vip, "/");
        assert_eq!((answer.status(), answer.text()), (200, "good\n".to_owned()));
    }
    let redispatches: u64 = ["bad", "plain"].iter().map(|name| weir.control.member(name).redispatches).sum();
    assert!(redispatches > 0);
    assert_eq!(plain.requests(), 0, "no request in the clear");
}

/// A member that takes the connection and is then silent costs the time to connect, no more.
#[test]
fn a_member_that_never_shakes_hands_is_left_in_time() {
    let world = Verified::new();
    let silent = Member::script("silent", world.place.socket(), |conn| {
        conn.take_to_end();
        Ok(())
    });
    let mut setup = Setup::new(Mode::Http, world.place.socket(), [("silent", silent.socket())])
        .pool_keys(json!({"tls_enabled": true}));
    setup.timeouts.connect = 300;
    let _weir = Weir::start(&world.place, &setup);
    let began = std::time::Instant::now();
    assert!(matches!(get(setup.vip, "/").status(), 503 | 504));
    assert!(began.elapsed() < PATIENCE / 2, "took {:?}", began.elapsed());
}

#[test]
fn a_member_that_wants_a_certificate_is_shown_ours() {
    let world = Verified::new();
    let own = world.authority.sign(&["weir-itself.test"]).write(&world.place, "own.pem");
    let bundle = world.authority.sign(&[HOST]).write(&world.place, "n.pem");
    let ca = world.authority.write(&world.place, "ca.pem");
    let (bundle, ca) = (bundle.to_str().unwrap(), ca.to_str().unwrap());
    let nginx = Nginx::start_mutual(&world.place, "n", world.place.socket(), bundle, ca);
    let members = [("m1", nginx.socket)];
    let (weir, setup) = world.weir(&members, &json!({"tls_container_ref": file(&own)}));
    let text = get(setup.vip, "/").text();
    assert!(text.contains("CN=weir-itself.test") && text.contains(HOST), "{text}");
    let all = weir.control.stats().certificates;
    assert_eq!((all.len(), &all[0].used_by), (1, &vec!["pool back".to_owned()]));
    drop(weir);
    let (_weir, setup) = world.weir(&members, &json!({}));
    assert_eq!(get(setup.vip, "/").status(), 400, "nginx's own word for it");
}

/// A monitor asks as traffic does: over TLS, with our certificate, of a member that is verified (HAProxy's `check` on a
/// server with `ssl`). Elsewhere it asks in the clear.
#[test]
fn monitors_of_a_tls_pool_ask_over_tls() {
    let world = Verified::new();
    let own = world.authority.sign(&["weir-itself.test"]).write(&world.place, "own.pem");
    let ca = world.authority.write(&world.place, "ca.pem");
    let bundle = world.authority.sign(&[HOST]).write(&world.place, "n.pem");
    let good =
        Nginx::start_mutual(&world.place, "good", world.place.socket(), bundle.to_str().unwrap(), ca.to_str().unwrap());
    let foreign = world.nginx("foreign", &Authority::new("foreign").sign(&[HOST]));
    let plain = Member::http("plain", world.place.socket());
    let members = [("good", good.socket), ("foreign", foreign.socket), ("plain", plain.socket())];
    for (kind, name) in [("HTTP", json!(HOST)), ("HTTP", json!("client")), ("TCP", json!(HOST))] {
        let keys =
            json!({"tls_container_ref": file(&own), "tls_server_name": name, "healthmonitor": monitor(kind, 200, 150)});
        let (weir, setup) = world.weir(&members, &keys);
        let states = || {
            ["good", "foreign", "plain"].map(|name| {
                let health = weir.control.member(name).health.expect("it is minded");
                serde_json::to_value(health.operational).unwrap().as_str().unwrap().to_owned()
            })
        };
        until(PATIENCE, &format!("{kind}: verdicts"), || (states() == ["UP", "DOWN", "DOWN"]).then_some(()));
        if name == json!(HOST) {
            assert_eq!(get(setup.vip, "/").status(), 200);
        }
        drop(weir);
        let seen = plain.requests();
        // Asked somewhere else, the question goes there as it is.
        let mut setup = setup;
        setup.members[2].more = json!({"monitor_port": plain.socket().port()});
        let weir = Weir::start(&world.place, &setup);
        let is_up = || {
            weir.control.member("plain").health.is_some_and(|h| {
                !h.monitors[0].last.is_empty() && h.operating_status == lb_core::health::OperatingStatus::Online
            })
        };
        until_true(PATIENCE, "the plain one to be up", is_up);
        assert!(kind == "TCP" || plain.requests() > seen);
    }
}

/// What a member was asked for by clients of one name is not for clients of another: it may serve many.
#[test]
fn connections_are_shared_only_by_clients_of_one_name() {
    let world = Verified::new();
    let shown = world.authority.sign(&["a.test", "b.test", &world.place.ip().to_string()]);
    let own = world.authority.sign(&["weir-itself.test"]).write(&world.place, "own.pem");
    let (bundle, ca) = (shown.write(&world.place, "n.pem"), world.authority.write(&world.place, "ca.pem"));
    let nginx =
        Nginx::start_mutual(&world.place, "n", world.place.socket(), bundle.to_str().unwrap(), ca.to_str().unwrap());
    let front = Authority::new("front");
    let cert = front.sign(&["a.test", "b.test", "c.test"]).write(&world.place, "front.pem");
    let mut setup = Setup::new(Mode::Http, world.place.socket(), [("m1", nginx.socket)]);
    setup.log_format = Some("json");
    terminate(&mut setup, json!({"default_tls_container_ref": file(&cert)}));
    setup = setup
        .pool_keys(json!({"tls_enabled": true, "ca_tls_container_ref": file(&ca), "tls_container_ref": file(&own)}));
    let weir = Weir::start(&world.place, &setup);
    let clients = Trusting::new(&front, None);
    let word = |host: &str| clients.get(setup.vip, host, "/").unwrap().text();
    for _ in 0..6 {
        for host in ["a.test", "b.test"] {
            assert!(word(host).contains(&format!(" {host} ")), "{}", word(host));
        }
    }
    // One for each name, and those are kept.
    let member = weir.control.member("m1");
    assert!(member.connects <= 6 && member.reuses >= 6, "{member:?}");
    // A name the member cannot prove is refused, whatever connections are there for others.
    assert_eq!(clients.get(setup.vip, "c.test", "/").unwrap().status(), 503);
    until_true(PATIENCE, "the reason", || {
        reasons(&weir).iter().any(|reason| reason == "TLS: the member's certificate is for another name")
    });
}

/// TCP and HTTP pools alike; and a member's half answer stays visible through both layers.
#[test]
fn a_relay_may_speak_tls_to_members_too() {
    let world = Verified::new();
    let nginx = world.nginx("n", &world.authority.sign(&[HOST]));
    let mut setup = Setup::new(Mode::Tcp, world.place.socket(), [("m1", nginx.socket)]);
    let ca = world.authority.write(&world.place, "ca.pem");
    setup = setup.pool_keys(json!({"tls_enabled": true, "ca_tls_container_ref": file(&ca), "tls_server_name": HOST}));
    let _weir = Weir::start(&world.place, &setup);
    let mut client = Client::connect(setup.vip);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "n\n");
    }
    assert!(Path::new(&world.place.path("n/error.log")).exists());
}
