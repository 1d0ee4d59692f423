//! Versions, suites and protocols that are spoken, and those that are refused (threats T3).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::json;
use weir_tests::certificates::Wish;
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until_true};

use super::{HOST, Play, curl, file, s_client, terminate};

const SUITES_1_3: [&str; 3] = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
const SUITES_1_2: [&str; 3] = ["AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305"];

#[test]
fn every_suite_is_spoken_with_either_key_type() {
    let play = Play::new(|setup, place, authority| {
        let rsa = authority.sign_as(&Wish { rsa: true, ..Wish::of(&[HOST]) }).write(place, "rsa.pem");
        terminate(setup, json!({"sni_container_refs": [file(&rsa)]}));
    });
    for suite in SUITES_1_3 {
        let (shaken, text) = s_client(play.vip(), &["-tls1_3", "-ciphersuites", suite]);
        assert!(shaken && text.contains(&format!("Cipher is {suite}")), "{suite}: {text}");
    }
    for suite in ["ECDSA", "RSA"].iter().flat_map(|key| SUITES_1_2.map(|suite| format!("ECDHE-{key}-{suite}"))) {
        let (shaken, text) = s_client(play.vip(), &["-tls1_2", "-cipher", &suite]);
        assert!(shaken && text.contains(&format!("Cipher is {suite}")), "{suite}: {text}");
    }
    until_true(PATIENCE, "nine handshakes", || play.weir.control.listener().tls_handshakes == 9);
}

#[test]
fn what_is_broken_is_refused_with_an_alert_and_a_reason() {
    let play = Play::new(|_, _, _| ());
    for words in [
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
    ] {
        let (shaken, text) = s_client(play.vip(), words);
        assert!(!shaken && text.contains("alert"), "{words:?}: {text}");
    }
    play.wait_reason("TLS: no version, suite or group in common with the client");
    assert_eq!(play.weir.control.listener().tls_handshakes, 0);
}

/// Words of `openssl ciphers`, without those of TLS 1.3.
fn known_to_openssl() -> Vec<String> {
    let all = run(Command::new("openssl").args(["ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]));
    all.trim().split(':').filter(|suite| !suite.starts_with("TLS_")).map(str::to_owned).collect()
}

#[test]
fn of_all_that_openssl_knows_only_what_is_safe_is_spoken() {
    let play = Play::new(|setup, place, authority| {
        let rsa = authority.sign_as(&Wish { rsa: true, ..Wish::of(&[HOST]) }).write(place, "rsa.pem");
        terminate(setup, json!({"sni_container_refs": [file(&rsa)]}));
    });
    let all = known_to_openssl();
    assert!(all.len() > 50, "{all:?}");
    for suite in &all {
        let ours = ["ECDSA", "RSA"].iter().flat_map(|key| SUITES_1_2.map(|suite| format!("ECDHE-{key}-{suite}")));
        let is_ours = ours.into_iter().any(|ours| ours == *suite);
        let (shaken, text) = s_client(play.vip(), &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]);
        assert!(shaken == is_ours && (is_ours || text.contains("alert handshake failure")), "{suite}: {text}");
    }
    for suite in ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"] {
        let (shaken, text) = s_client(play.vip(), &["-tls1_3", "-ciphersuites", suite]);
        assert!(!shaken && text.contains("alert handshake failure"), "{suite}: {text}");
    }
}

/// In TLS 1.2 a client's groups also say which curves its certificates may have (RFC 8422 section 5.1.1): one that does not
/// know ours is shown the RSA certificate.
#[test]
fn groups_that_are_sound_are_agreed_on_in_either_version() {
    let play = Play::new(|setup, place, authority| {
        let rsa = authority.sign_as(&Wish { rsa: true, ..Wish::of(&[HOST]) }).write(place, "rsa.pem");
        terminate(setup, json!({"sni_container_refs": [file(&rsa)]}));
    });
    for version in ["-tls1_2", "-tls1_3"] {
        for (group, agreed) in [("P-256", "prime256v1"), ("P-384", "secp384r1"), ("X25519", "X25519")] {
            let (shaken, text) = s_client(play.vip(), &[version, "-groups", group]);
            assert!(shaken && text.contains(agreed), "{version} {group}: {text}");
            let shows_rsa = version == "-tls1_2" && group != "P-256";
            assert_eq!(text.contains("Peer signature type: RSA-PSS"), shows_rsa, "{version} {group}: {text}");
        }
        for group in ["P-521", "X448", "ffdhe2048", "ffdhe3072"] {
            let (shaken, text) = s_client(play.vip(), &[version, "-groups", group]);
            assert!(!shaken && text.contains("alert handshake failure"), "{version} {group}: {text}");
        }
    }
    play.wait_reason("TLS: no version, suite or group in common with the client");
}

/// OpenSSL is built without them here: greetings by hand.
#[test]
fn ssl_2_and_3_are_refused_with_an_alert() {
    let play = Play::new(|_, _, _| ());
    let greeting_3 = [&[3, 0][..], &[7; 32], &[0, 0, 4, 0, 0x35, 0, 0x2f, 1, 0]].concat();
    let ssl_3 = [&[22, 3, 0, 0, 47, 1, 0, 0, 43][..], &greeting_3].concat();
    let ssl_2 = [&[0x80, 28, 1, 0, 2, 0, 3, 0, 0, 0, 16, 1, 0, 0x80][..], &[7; 16]].concat();
    for (what, hello) in [("SSL 3", ssl_3), ("SSL 2", ssl_2)] {
        let mut socket = TcpStream::connect(play.vip()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&hello).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        // An alert (21) of TLS, fatal (2), and the end.
        assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{what}: {answer:?}");
    }
    assert_eq!(play.weir.control.listener().tls_handshakes, 0);
}

/// What `openssl s_client` wrote that was told these things, one after the other as it is ready for them.
fn told_to_s_client(play: &Play, version: &str, lines: &[(&str, &str)]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &play.vip().to_string(), "-servername", HOST, version]);
    let output = play.place.path(format!("s_client{version}"));
    let file = std::fs::File::create(&output).unwrap();
    command.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut client = command.spawn().unwrap();
    let text = || String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
    for (line, seen) in lines {
        // A command counts at the beginning of what is read: not before the one before it was.
        if !line.is_empty() {
            let _ = client.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes());
        }
        until_true(PATIENCE, &format!("{seen:?} after {line:?}"), || text().contains(seen));
    }
    drop(client.stdin.take());
    client.wait().unwrap();
    text()
}

#[test]
fn keys_are_renewed_on_either_side_and_nothing_is_renegotiated() {
    let play = Play::new(|_, _, _| ());
    let served = format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r");
    told_to_s_client(&play, "-tls1_3", &[("", "Verify return code"), ("K", "KEYUPDATE"), (&served, "200 OK")]);
    let refused = [("", "Verify return code"), ("R", "no renegotiation")];
    told_to_s_client(&play, "-tls1_2", &refused);
}

/// A client that may renegotiate is one that may slip a request of somebody else before its own.
#[test]
fn nothing_is_renegotiated_and_nothing_sent_early() {
    let play = Play::new(|_, _, _| ());
    let (_, text) = s_client(play.vip(), &["-tls1_2"]);
    assert!(text.contains("Secure Renegotiation IS supported"), "only as the word against it: {text}");
    let (_, text) = s_client(play.vip(), &["-tls1_3"]);
    assert!(text.contains("Early data was not sent") && !text.contains("Max Early Data: 1"), "{text}");
}

#[test]
fn only_the_versions_and_suites_of_the_document_are_spoken() {
    let play = Play::new(|setup, _, _| {
        terminate(
            setup,
            json!({"tls_versions": ["TLSv1.2"], "tls_ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"}),
        );
    });
    assert!(!s_client(play.vip(), &["-tls1_3"]).0);
    assert!(!s_client(play.vip(), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]).0);
    let (shaken, text) =
        s_client(play.vip(), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"]);
    assert!(shaken && text.contains("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"), "our order counts: {text}");
}

#[test]
fn protocols_are_agreed_on_by_alpn() {
    let play = Play::new(|_, _, _| ());
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.0"], Some("http/1.0")),
        (&[], None),
    ] {
        let client = play.clients().alpn(offered).connect(play.vip(), HOST).unwrap();
        assert_eq!(client.alpn().as_deref(), agreed, "{offered:?}");
        assert!(client.is_v1_3());
    }
    assert!(play.clients().alpn(&["spdy/3"]).connect(play.vip(), HOST).is_err());
    play.wait_reason("TLS: no application protocol in common with the client");

    for (words, version) in
        [(&["--http2"][..], "2"), (&["--http1.1"], "1.1"), (&["--http1.1", "--tls-max", "1.2"], "1.1")]
    {
        let words = [words, &["-o", "/dev/null", "-w", "%{http_code} %{http_version}"]].concat();
        assert_eq!(curl(&play.place, play.vip(), &play.authority, &words), format!("200 {version}"));
    }
}

#[test]
fn members_hear_of_https_and_browsers_are_told_to_stay_with_it() {
    let play = Play::new(|setup, _, _| {
        terminate(
            setup,
            json!({"hsts_max_age": 31_536_000, "hsts_include_subdomains": true, "hsts_preload": true,
                   "insert_headers": {"X-Forwarded-Proto": "true", "X-Forwarded-Port": "true"}}),
        );
    });
    for version in ["--http2", "--http1.1"] {
        let text =
            curl(&play.place, play.vip(), &play.authority, &[version, "-D", "-", "-H", "X-Forwarded-Proto: gopher"]);
        let text = text.to_ascii_lowercase();
        let hsts = "strict-transport-security: max-age=31536000; includesubdomains; preload\r\n";
        assert_eq!(text.matches(hsts).count(), 1, "{text}");
        let told: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("x-forwarded-")).collect();
        assert!(told.contains(&"proto: https") && told.contains(&&*format!("port: {}", play.vip().port())), "{text}");
        assert!(!text.contains("gopher"), "{text}");
    }
}
