//! Versions, suites and protocols that are spoken, and those that are refused (threats T3).

use serde_json::json;
use weir_tests::certificates::Wish;
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
