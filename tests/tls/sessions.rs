//! Sessions that are resumed: on every worker, across documents; and those that must not be, because a client would
//! slip past what it has to show.

use lb_control::events::{EventKind, Events};
use serde_json::{Value, json};
use weir_tests::certificates::{Authority, Signed, Term, Wish};
use weir_tests::place::Place;
use weir_tests::setup::Setup;
use weir_tests::tls::Trusting;
use weir_tests::wait::{PATIENCE, until, until_true};

use super::{HOST, Play, file, s_client, terminate};

/// A GET on a connection of its own; true if its session was resumed. Reading the answer takes up fresh tickets.
fn is_resumed(clients: &Trusting, to: std::net::SocketAddr) -> bool {
    let mut client = clients.connect(to, HOST).unwrap();
    assert_eq!(client.get(HOST, "/x").unwrap().status(), 200);
    client.is_resumed()
}

#[test]
fn a_session_is_resumed_on_every_worker_and_across_documents() {
    let mut play = Play::new(|setup, _, _| setup.workers = 2);
    let clients = play.clients().resuming();
    assert!(!is_resumed(&clients, play.vip()));
    for _ in 0..40 {
        assert!(is_resumed(&clients, play.vip()));
    }
    let workers = play.weir.control.stats().workers;
    assert!(workers.iter().all(|worker| worker.total_connections > 0), "{workers:?}");
    play.setup.members[0].weight = 7;
    play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
    assert!(is_resumed(&clients, play.vip()), "another document");
    assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200);
    assert!(is_resumed(&clients, play.vip()), "certificates read anew");
    assert_eq!(play.weir.control.listener().tls_resumed, 42);
}

#[test]
fn openssl_resumes_in_tls_1_2_and_1_3() {
    let play = Play::new(|_, _, _| ());
    for version in ["-tls1_2", "-tls1_3"] {
        let session = play.place.path(format!("session{version}"));
        let session = session.to_str().unwrap();
        // In TLS 1.3 the ticket comes after the handshake: a request keeps the client long enough to read it.
        until_true(PATIENCE, "a ticket", || {
            let mut command = std::process::Command::new("sh");
            command.arg("-c").arg(format!(
                "printf 'GET /x HTTP/1.1\\r\\nHost: {HOST}\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -connect {} \
                 -servername {HOST} {version} -ign_eof -sess_out {session}",
                play.vip()
            ));
            weir_tests::tools::output(&mut command);
            std::path::Path::new(session).exists()
        });
        let (shaken, text) = s_client(play.vip(), &[version, "-sess_in", session]);
        assert!(shaken && text.contains("Reused, "), "{version}: {text}");
    }
}

/// Keys of a listener that asks clients for certificates of `clients`, none of `revoked`.
fn asking(place: &Place, clients: &Authority, revoked: &[&Signed]) -> Value {
    let (ca, crl) = (clients.write(place, "clients.pem"), place.write("crl.pem", clients.revoke(revoked)));
    json!({"client_authentication": "MANDATORY", "client_ca_tls_container_ref": file(&ca),
           "client_crl_container_ref": file(&crl)})
}

/// Whoever resumes shows no certificate: a ticket of a listener that asks for none must open none that does.
#[test]
fn a_ticket_of_one_listener_does_not_open_another() {
    let clients = Authority::new("clients");
    let play = Play::new(|_, _, _| ());
    let mut document = play.setup.document(&play.place.path("access.log"));
    let mut second = document["loadbalancer"]["listeners"][0].clone();
    let strict = play.place.socket();
    (second["name"], second["protocol_port"]) = (json!("strict"), json!(strict.port()));
    second["default_pool"]["name"] = json!("second");
    for (key, value) in asking(&play.place, &clients, &[]).as_object().unwrap() {
        second[key] = value.clone();
    }
    document["loadbalancer"]["listeners"].as_array_mut().unwrap().push(second);
    play.weir.control.apply(&document);
    let anybody = play.clients().resuming();
    assert!(!is_resumed(&anybody, play.vip()));
    assert!(is_resumed(&anybody, play.vip()));
    for _ in 0..4 {
        assert!(anybody.get(strict, HOST, "/x").is_err(), "a certificate was to be shown");
    }
    play.wait_reason("TLS: the client showed no certificate");
    assert_eq!(play.member.requests(), 2);
}

/// A listener that begins to ask, or to distrust, forgets whom it knew.
#[test]
fn who_is_trusted_no_longer_cannot_resume() {
    let clients = Authority::new("clients");
    let (good, bad) = (clients.sign(&["good.test"]), clients.sign(&["bad.test"]));
    let mut play = Play::new(|_, _, _| ());
    let apply = |play: &mut Play, change: &dyn Fn(&mut Setup)| {
        change(&mut play.setup);
        play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
    };
    let anybody = play.clients().resuming();
    assert!(!is_resumed(&anybody, play.vip()) && is_resumed(&anybody, play.vip()));
    let keys = asking(&play.place, &clients, &[]);
    apply(&mut play, &|setup| terminate(setup, keys.clone()));
    assert!(anybody.get(play.vip(), HOST, "/x").is_err(), "a ticket from before certificates were asked for");

    let (one, two) =
        (Trusting::new(&play.authority, Some(&good)).resuming(), Trusting::new(&play.authority, Some(&bad)).resuming());
    for client in [&one, &two] {
        assert!(!is_resumed(client, play.vip()) && is_resumed(client, play.vip()));
    }
    // Revoked in place: the file changes, the document does not.
    asking(&play.place, &clients, &[&bad]);
    assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200);
    let refused = || two.get(play.vip(), HOST, "/x").is_err().then_some(());
    until(PATIENCE, "the workers to take it up", refused);
    assert!(two.get(play.vip(), HOST, "/x").is_err());
    play.wait_reason("TLS: the client's certificate is revoked");
    assert!(!is_resumed(&one, play.vip()), "a whole handshake once");
    assert!(is_resumed(&one, play.vip()));
}

/// The member hears of the certificate although it was not shown again.
#[test]
fn a_resumed_session_is_still_the_same_client() {
    let clients = Authority::new("clients");
    let good = clients.sign(&["good.test"]);
    let play = Play::new(|setup, place, _| {
        terminate(setup, asking(place, &clients, &[]));
        terminate(setup, json!({"insert_headers": {"X-SSL-Client-CN": "true"}}));
    });
    let client = Trusting::new(&play.authority, Some(&good)).resuming();
    for resumed in [false, true, true] {
        let mut client = client.connect(play.vip(), HOST).unwrap();
        let text = client.get(HOST, "/echo").unwrap().text();
        assert_eq!(client.is_resumed(), resumed);
        assert!(text.contains("X-SSL-Client-CN: good.test\r\n"), "{text}");
    }
}

/// Each resumed session gives a ticket for the next: without a look at its end, a certificate would last for ever.
#[test]
fn a_certificate_that_has_ended_cannot_be_resumed() {
    let clients = Authority::new("clients");
    let short = clients.sign_as(&Wish { term: Term::Seconds(3), ..Wish::of(&["short.test"]) });
    let play = Play::new(|setup, place, _| terminate(setup, asking(place, &clients, &[])));
    let client = Trusting::new(&play.authority, Some(&short)).resuming();
    assert!(!is_resumed(&client, play.vip()) && is_resumed(&client, play.vip()));
    let mut resumed = 0;
    until_true(PATIENCE, "its end", || match client.get(play.vip(), HOST, "/x") {
        Ok(_) => {
            resumed += 1;
            false
        }
        Err(_) => true,
    });
    assert!(resumed > 0);
    play.wait_reason("TLS: the client's certificate has expired");
}

/// A list that has ended says nothing any more, also of who was looked up in it before.
#[test]
fn nobody_resumes_past_the_end_of_the_list_he_was_looked_up_in() {
    let clients = Authority::new("clients");
    let good = clients.sign(&["good.test"]);
    let play = Play::new(|setup, place, _| terminate(setup, asking(place, &clients, &[])));
    let client = Trusting::new(&play.authority, Some(&good)).resuming();
    play.place.write("crl.pem", clients.revoke_for(&[], Term::Seconds(5)));
    assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200);
    let resumed = || is_resumed(&client, play.vip());
    until_true(PATIENCE, "sessions of the new list", || resumed() && resumed());
    let mut kept = client.connect(play.vip(), HOST).unwrap();
    until_true(PATIENCE, "its end", || client.get(play.vip(), HOST, "/x").is_err());
    play.wait_reason("TLS: the revocation list for the client's certificate has expired");
    assert_eq!(kept.get(HOST, "/x").unwrap().status(), 200, "connections stay");
    // It is told of when it ends, not hours later.
    let told = until(PATIENCE, "the event", || {
        let all = play.weir.control.must("GET", "/v1/events", b"").json::<Events>().events;
        all.into_iter().find(|event| event.kind == EventKind::CertificateExpiry && event.new == "has expired today")
    });
    let line = told.to_string();
    assert!(line.contains("revocation list ") && line.contains("crl.pem: has expired today: it ends at "), "{line}");
    assert!(line.contains("was made by /CN=clients/O=weir tests and used by listener front"), "{line}");
    assert!(line.contains("whoever has to be looked up in it is refused"), "{line}");
}
