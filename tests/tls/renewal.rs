//! Certificates replaced while they are served, by every way there is; bad ones refused, the old ones kept; and a word in
//! time before one ends (threats T6).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lb_control::events::{Event, EventKind, Events};
use rustix::process::Signal;
use serde_json::{Value, json};
use weir_tests::certificates::{Authority, Term, Wish};
use weir_tests::node::Node;
use weir_tests::tls::Trusting;
use weir_tests::wait::{PATIENCE, until, until_true};

use super::{HOST, Play, file, terminate};

/// Written beside and renamed, as whoever replaces certificates well does it.
fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn events(play: &Play) -> Vec<Event> {
    play.weir.control.must("GET", "/v1/events", b"").json::<Events>().events
}

#[test]
fn a_certificate_is_replaced_by_a_signal_a_word_and_a_document() {
    let mut play = Play::new(|setup, _, _| setup.workers = 2);
    let shown = |play: &Play| play.clients().connect(play.vip(), HOST).unwrap().shown();
    let own = play.place.path("own.pem");
    let mut last = shown(&play);
    let mut kept = play.clients().connect(play.vip(), HOST).unwrap();
    for way in ["signal", "word", "document"] {
        replace(&own, play.authority.sign(&[HOST]).bundle());
        match way {
            "signal" => play.weir.process.signal(Signal::HUP),
            "word" => assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200),
            _ => {
                play.setup.members[0].weight = 3;
                play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
            }
        }
        // Both workers take it up.
        let is_new = |play: &Play| (0..8).all(|_| shown(play) != last);
        until_true(PATIENCE, &format!("the new certificate after a {way}"), || is_new(&play));
        last = shown(&play);
        assert_eq!(kept.get(HOST, "/x").unwrap().status(), 200, "connections stay");
    }
    let read_anew = events(&play).into_iter().filter(|event| event.kind == EventKind::Certificates).count();
    assert_eq!(read_anew, 2, "a document tells of itself");
}

#[test]
fn fifty_replacements_under_load_fail_no_handshake() {
    let play = Play::new(|setup, _, _| setup.workers = 2);
    let vip = play.vip();
    let stop = Arc::new(AtomicBool::new(false));
    let good = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..3)
        .map(|n| {
            let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
            let clients = if n == 0 { play.clients().resuming() } else { play.clients() };
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match clients.get(vip, HOST, "/x") {
                        Ok(answer) if answer.status() == 200 => drop(good.fetch_add(1, Ordering::Relaxed)),
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            })
        })
        .collect();
    let own = play.place.path("own.pem");
    for _ in 0..50 {
        replace(&own, play.authority.sign(&[HOST]).bundle());
        let before = good.load(Ordering::Relaxed);
        assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200);
        until_true(PATIENCE, "requests meanwhile", || good.load(Ordering::Relaxed) >= before + 3);
    }
    stop.store(true, Ordering::Relaxed);
    let failures: Vec<_> = load.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), good.load(Ordering::Relaxed), failures.first());
    let listener = play.weir.control.listener();
    assert_eq!((listener.tls_failures, listener.refusals), (0, 0));
}

/// Ten seconds of what may be done for months: a certificate each second, by every way, ECDSA and RSA in turn, while
/// clients come anew, come back and stay.
#[test]
fn a_new_certificate_every_second_fails_nobody() {
    const SECONDS: usize = 10;
    let mut play = Play::new(|setup, _, _| setup.workers = 2);
    let vip = play.vip();
    let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = ["new", "new", "back", "stays", "stays"]
        .into_iter()
        .map(|way| {
            let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
            let clients = if way == "back" { play.clients().resuming() } else { play.clients() };
            std::thread::spawn(move || -> std::io::Result<usize> {
                let mut resumed = 0;
                let mut client = clients.connect(vip, HOST)?;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(HOST, "/x")?;
                    assert_eq!(answer.status(), 200, "{way}");
                    good.fetch_add(1, Ordering::Relaxed);
                    weir_tests::wait::pause_ms(2);
                    if way != "stays" {
                        client = clients.connect(vip, HOST)?;
                        resumed += usize::from(client.is_resumed());
                    }
                }
                Ok(resumed)
            })
        })
        .collect();
    let own = play.place.path("own.pem");
    for second in 0..SECONDS {
        let wish = Wish { rsa: second % 2 == 1, ..Wish::of(&[HOST]) };
        replace(&own, play.authority.sign_as(&wish).bundle());
        let before = good.load(Ordering::Relaxed);
        match second % 3 {
            0 => play.weir.process.signal(Signal::HUP),
            1 => assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200),
            _ => {
                play.setup.members[0].weight = u16::try_from(second).unwrap();
                play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
            }
        }
        weir_tests::wait::pause(Duration::from_secs(1));
        until_true(PATIENCE, "requests meanwhile", || good.load(Ordering::Relaxed) >= before + 5);
    }
    stop.store(true, Ordering::Relaxed);
    let resumed: usize = load.into_iter().map(|thread| thread.join().unwrap().unwrap()).sum();
    let listener = play.weir.control.listener();
    assert_eq!((listener.tls_failures, listener.request_errors, listener.refusals), (0, 0, 0));
    assert!(resumed > 0 && listener.tls_handshakes > listener.tls_resumed, "{resumed} resumed: {listener:?}");
}

#[test]
fn a_bad_one_is_refused_with_its_file_and_the_old_one_stays() {
    let play = Play::new(|_, _, _| ());
    let own = play.place.path("own.pem");
    let good = std::fs::read_to_string(&own).unwrap();
    let before = play.clients().connect(play.vip(), HOST).unwrap().shown();
    let (one, two) = (play.authority.sign(&[HOST]), play.authority.sign(&[HOST]));
    let expired = play.authority.sign_as(&Wish { term: Term::Expired, ..Wish::of(&[HOST]) });
    let cut = &one.bundle()[..one.bundle().len() - 60];
    for (text, reason) in [
        (format!("{}{}", one.certificate, two.key), "its private key does not belong to its first certificate"),
        (cut.to_owned(), ""),
        (one.certificate[..one.certificate.len() / 2].to_owned(), ""),
        (one.certificate.clone(), "holds no private key"),
        (one.key.clone(), "holds no certificate"),
        (String::new(), "holds no certificate"),
        ("\0\u{1}\u{2} nothing".to_owned(), "holds no certificate"),
        (expired.bundle(), "its certificate expired on 2020-03-04"),
    ] {
        replace(&own, &text);
        let refusals = [
            play.weir.control.must("POST", "/v1/tls", b""),
            play.weir.control.put(&play.setup.document(&play.place.path("access.log"))),
        ];
        for refused in refusals {
            assert_eq!(refused.status, 409, "{reason}");
            assert!(
                refused.body.contains(&own.display().to_string()) && refused.body.contains(reason),
                "{}",
                refused.body
            );
            assert!(refused.body.contains("TLS of listener front"), "{}", refused.body);
        }
        assert_eq!(play.clients().connect(play.vip(), HOST).unwrap().shown(), before, "the old one stays");
    }
    std::fs::remove_file(&own).unwrap();
    let refused = play.weir.control.must("POST", "/v1/tls", b"");
    assert!(refused.status == 409 && refused.body.contains("cannot be read"), "{}", refused.body);
    let last = events(&play).pop().unwrap();
    assert_eq!((last.kind, last.new.as_str()), (EventKind::Certificates, "certificates unchanged"), "{last:?}");
    assert!(last.reason.contains("own.pem"));
    replace(&own, good);
    assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200);
    // A folder where a file should be.
    let mut document = play.setup.document(&play.place.path("access.log"));
    document["loadbalancer"]["listeners"][0]["default_tls_container_ref"] =
        json!(file(&play.place.path("")).trim_end_matches('/'));
    let refused = play.weir.control.put(&document);
    assert!(refused.status == 409 && refused.body.contains("is a folder: name a file in it"), "{}", refused.body);
}

/// At a start an expired one is served, and told: nothing would be served otherwise.
#[test]
fn certificates_that_end_are_told_of() {
    let play = Play::new(|setup, place, authority| {
        let old = authority.sign_as(&Wish { term: Term::Expired, ..Wish::of(&["old.test"]) }).write(place, "old.pem");
        terminate(setup, json!({"sni_container_refs": [file(&old)]}));
    });
    let told = until(PATIENCE, "the event", || {
        let all = events(&play);
        all.into_iter().find(|event| event.kind == EventKind::CertificateExpiry)
    });
    let line = told.to_string();
    assert!(line.contains("old.pem: expired ") && line.contains("days ago: it ends at 2020-03-04T00:00:00Z"), "{line}");
    assert!(line.contains("is for old.test and shown by listener front"), "{line}");
    let all = play.weir.control.stats().certificates;
    assert_eq!(
        all.iter().map(|c| c.names[0].as_str()).collect::<Vec<_>>(),
        ["old.test", HOST],
        "the first to end first"
    );
    assert_eq!(all[0].subject, "/O=weir/CN=old.test");
    // Once, whatever is applied.
    assert_eq!(play.weir.control.must("POST", "/v1/tls", b"").status, 200);
    play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
    weir_tests::wait::pause(Duration::from_millis(200));
    let times = events(&play).into_iter().filter(|event| event.kind == EventKind::CertificateExpiry).count();
    assert_eq!(times, 1);
}

/// Keys are for root alone; the data plane is nobody. The agent reads them, and again when they change.
#[test]
fn under_the_agent_files_that_change_are_shown_without_a_word() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::new();
    let (authority, member) = (Authority::new("authority"), node.member("m1", 9001));
    let folder = node.place.path("keys");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    let own = folder.join("own.pem");
    let write = |names: &[&str]| {
        replace(&own, authority.sign(names).bundle());
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&[HOST]);
    let mut document = node.document(1, &[&member]);
    let listener = &mut document["loadbalancer"]["listeners"][0];
    (listener["protocol"], listener["default_tls_container_ref"]) = (json!("TERMINATED_HTTPS"), json!(file(&own)));
    node.apply(&document);
    let clients = Trusting::new(&authority, None);
    let shown = || node.clients.inside(|| clients.connect(Node::vip(1), HOST).unwrap().shown());
    let first = shown();
    let path = format!("/v1/loadbalancers/{}/events?wait_ms=1000", node.id(1));
    let wait_told = |what: &str, new: &str, times: usize| {
        until(PATIENCE * 4, what, || {
            let all: Value = node.get(&path);
            let told = |event: &&Value| event["kind"] == "certificates" && event["new"] == new;
            (all["events"].as_array()?.iter().filter(told).count() >= times).then_some(())
        });
    };
    // The first patrol after it finds it.
    write(&[HOST]);
    wait_told("the new certificate", "certificates read anew", 1);
    let second = shown();
    assert_ne!(second, first);
    // A bad one: told, and the old one stays.
    replace(&own, "half a file");
    wait_told("the refusal", "certificates unchanged", 1);
    assert_eq!(shown(), second);
    let text = String::from_utf8(node.lbctl(&["status", "web1"]).stdout).unwrap();
    assert!(text.contains(&format!("certificate {} ({HOST}): expires in ", own.display())), "{text}");
    // A folder without a slash behind it, which the data plane may not even look into.
    document["loadbalancer"]["listeners"][0]["default_tls_container_ref"] = json!(file(&folder));
    let (status, answer) = node.put(&document);
    assert!(status >= 400 && answer.to_string().contains("is a folder: name a file in it"), "{status} {answer}");
    assert_eq!(shown(), second);
}
