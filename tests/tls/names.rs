//! Which certificate a client is shown: by name, by what it can verify, and when there is none (threats T4).

use std::process::Command;

use serde_json::json;
use weir_tests::certificates::{Authority, Signed, Wish};
use weir_tests::place::Place;
use weir_tests::setup::Setup;
use weir_tests::tools::output;

use super::{HOST, Play, file, s_client, terminate};

/// The names of the certificate that `openssl` is shown when it asks for `name`; `None`: it is refused.
fn shown(play: &Play, name: Option<&str>, words: &[&str]) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &play.vip().to_string()]).args(words).stdin(std::process::Stdio::null());
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let text = String::from_utf8_lossy(&output(&mut command).stdout).into_owned();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="))?;
    let name = subject.rsplit("CN = ").next()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

fn many(setup: &mut Setup, place: &Place, authority: &Authority) {
    let folder = place.path("more");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, signed: Signed| std::fs::write(folder.join(name), signed.bundle()).unwrap();
    write("a.pem", authority.sign(&["a.test", "also.test"]));
    write("wild.pem", authority.sign(&["*.wild.test"]));
    write("exact.pem", authority.sign(&["exact.wild.test"]));
    write("ip.pem", authority.sign(&["one.test", "192.0.2.7"]));
    let single = authority.sign(&["single.test"]).write(place, "single.pem");
    terminate(setup, json!({"sni_container_refs": [file(&single), format!("file:{}/", folder.display())]}));
}

#[test]
fn a_client_is_shown_the_certificate_for_the_name_it_asks_for() {
    let play = Play::new(many);
    for (asked, expected) in [
        (Some(HOST), HOST),
        (Some("single.test"), "single.test"),
        (Some("a.test"), "a.test"),
        (Some("also.test"), "a.test"),
        (Some("A.TeSt"), "a.test"),
        (Some("x.wild.test"), "*.wild.test"),
        (Some("exact.wild.test"), "exact.wild.test"),
        // A wildcard stands for one label, and for one only.
        (Some("x.y.wild.test"), HOST),
        (Some("wild.test"), HOST),
        (Some("unknown.test"), HOST),
        (None, HOST),
    ] {
        assert_eq!(shown(&play, asked, &[]).as_deref(), Some(expected), "asked for {asked:?}");
        assert_eq!(shown(&play, asked, &["-tls1_2"]).as_deref(), Some(expected), "asked for {asked:?} in TLS 1.2");
    }
    let all = play.weir.control.stats().certificates;
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|certificate| certificate.used_by == ["listener front"]), "{all:?}");
}

#[test]
fn a_strict_listener_refuses_names_it_has_no_certificate_for() {
    let play = Play::new(|setup, place, authority| {
        many(setup, place, authority);
        terminate(setup, json!({"strict_sni": true}));
    });
    assert_eq!(shown(&play, Some("a.test"), &[]).as_deref(), Some("a.test"));
    assert_eq!(shown(&play, None, &[]).as_deref(), Some(HOST), "who names nobody gets the default one");
    for name in ["unknown.test", "x.y.wild.test"] {
        assert_eq!(shown(&play, Some(name), &[]), None, "{name}");
    }
    play.wait_reason("TLS: there is no certificate for that name");
    assert!(play.weir.control.listener().tls_failures >= 2);
}

#[test]
fn of_two_key_types_each_client_gets_the_one_it_can_verify() {
    let play = Play::new(|setup, place, authority| {
        let rsa = authority.sign_as(&Wish { rsa: true, ..Wish::of(&[HOST]) }).write(place, "rsa.pem");
        terminate(setup, json!({"sni_container_refs": [file(&rsa)]}));
    });
    for (words, kind) in [
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"][..], "ECDSA"),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "RSA"),
        (&["-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"], "ECDSA"),
        (&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], "RSA"),
    ] {
        let (shaken, text) = s_client(play.vip(), words);
        assert!(shaken, "{words:?}: {text}");
        let bits = if kind == "RSA" { "Server public key is 2048 bit" } else { "Server public key is 256 bit" };
        assert!(text.contains(bits), "{words:?}: {text}");
    }
}

/// One rule routes, and the name asked for in the handshake is not it (threats T5).
#[test]
fn the_host_of_a_request_counts_whatever_name_was_asked_for() {
    let play = Play::new(many);
    let mut client = play.clients().connect(play.vip(), "a.test").unwrap();
    for host in ["a.test", "single.test", "else.where"] {
        let text = client.get(host, "/echo").unwrap().text();
        assert!(text.to_ascii_lowercase().contains(&format!("host: {host}\r\n")), "{text}");
    }
    assert_eq!(play.weir.control.listener().tls_handshakes, 1);
}
