//! TLS of listeners and pools: what is left out, every word, and each mistake at its place.

use super::{legal, mistakes};
use crate::config::tls::*;
use crate::config::{InsertHeaders, ListenerProtocol};

/// Octavia's default list.
const OCTAVIA: &str = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:\
    DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:\
    DHE-RSA-AES256-SHA256:DHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256";
const CERTIFICATE: &str = "default_tls_container_ref: 'file:/etc/www.pem'";

/// One listener of that protocol with these keys, which begin on line 6, column 5.
fn listener_document(protocol: &str, keys: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  listeners:\n  - protocol: {protocol}\n    protocol_port: 443\n    {keys}\n"
    )
}

fn listener(keys: &str) -> ListenerTls {
    legal(&listener_document("TERMINATED_HTTPS", keys)).listeners.remove(0).tls.unwrap()
}

/// The same with a certificate, which stands on line 6, before the keys.
fn certified(keys: &str) -> ListenerTls {
    listener(&format!("{CERTIFICATE}\n    {keys}"))
}

fn wrong(keys: &str) -> Vec<String> {
    mistakes(&listener_document("TERMINATED_HTTPS", &format!("{CERTIFICATE}\n    {keys}")))
}

/// One pool of that protocol with these keys, which begin on line 7, column 5.
fn pool_document(protocol: &str, keys: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: {protocol}\n    \
         lb_algorithm: SOURCE_IP\n    {keys}\n"
    )
}

fn pool(keys: &str) -> PoolTls {
    legal(&pool_document("HTTP", &format!("tls_enabled: true\n    {keys}"))).pools.remove(0).tls.unwrap()
}

#[test]
fn what_a_listener_leaves_out_has_octavias_defaults() {
    let expected = ListenerTls {
        default_certificate: "/etc/www.pem".into(),
        sni_certificates: Vec::new(),
        strict_sni: false,
        client_authentication: ClientAuthentication::None,
        client_ca: None,
        client_crl: None,
        ocsp_response: None,
        versions: TlsVersions { v1_2: true, v1_3: true },
        cipher_suites: Vec::new(),
        alpn_protocols: vec![AlpnProtocol::H2, AlpnProtocol::Http11, AlpnProtocol::Http10],
        hsts: None,
        handshake_timeout_ms: 5000,
    };
    assert_eq!(listener(CERTIFICATE), expected);
    let every_null = "sni_container_refs: null\n    client_authentication: NONE\n    client_ca_tls_container_ref: null\n    \
        client_crl_container_ref:\n    tls_ciphers: null\n    tls_versions: null\n    alpn_protocols: null\n    \
        hsts_max_age: null\n    hsts_include_subdomains: false\n    hsts_preload: false";
    assert_eq!(certified(every_null), expected);
}

#[test]
fn every_key_of_a_listener_is_read() {
    let tls = certified(
        "sni_container_refs: ['file:///etc/a.pem', 'file:/etc/folder/', 'file:/etc/a.pem', 'file:/etc/www.pem']
    strict_sni: true
    client_authentication: OPTIONAL
    client_ca_tls_container_ref: file:/etc/ca.pem
    client_crl_container_ref: file:/etc/crl.pem
    ocsp_response_ref: file:/etc/ocsp.der
    tls_versions: [SSLv3, TLSv1, TLSv1.1, TLSv1.2]
    tls_ciphers: ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:ECDHE-RSA-AES128-GCM-SHA256
    alpn_protocols: [http/1.1, h2, http/1.1]
    hsts_max_age: 31536000
    hsts_include_subdomains: true
    timeout_tls_handshake: 0",
    );
    let expected = ListenerTls {
        default_certificate: "/etc/www.pem".into(),
        sni_certificates: vec!["/etc/a.pem".into(), "/etc/folder".into()],
        strict_sni: true,
        client_authentication: ClientAuthentication::Optional,
        client_ca: Some("/etc/ca.pem".into()),
        client_crl: Some("/etc/crl.pem".into()),
        ocsp_response: Some("/etc/ocsp.der".into()),
        versions: TlsVersions { v1_2: true, v1_3: false },
        cipher_suites: vec![CipherSuite::EcdheRsaAes128Gcm, CipherSuite::EcdheEcdsaAes256Gcm],
        alpn_protocols: vec![AlpnProtocol::Http11, AlpnProtocol::H2],
        hsts: Some(Hsts { max_age: 31_536_000, include_subdomains: true, preload: false }),
        handshake_timeout_ms: 0,
    };
    assert_eq!(tls, expected);
}

#[test]
fn the_first_other_certificate_is_the_default_without_one() {
    let tls = listener("sni_container_refs: ['file:/a.pem', 'file:/b.pem', 'file:/a.pem']");
    assert_eq!(tls.default_certificate.to_str(), Some("/a.pem"));
    assert_eq!(tls.sni_certificates, [std::path::PathBuf::from("/b.pem")]);
}

#[test]
fn authorities_may_wait_for_the_day_clients_are_asked() {
    let tls = certified("client_ca_tls_container_ref: file:/ca.pem\n    client_authentication: NONE");
    assert_eq!(tls.client_authentication, ClientAuthentication::None);
    assert!(tls.client_ca.is_some());
}

#[test]
fn octavias_list_of_ciphers_means_those_that_are_spoken() {
    let spoken = [
        CipherSuite::Aes256Gcm,
        CipherSuite::Chacha20,
        CipherSuite::Aes128Gcm,
        CipherSuite::EcdheRsaAes256Gcm,
        CipherSuite::EcdheRsaAes128Gcm,
    ];
    assert_eq!(certified(&format!("tls_ciphers: '{OCTAVIA}'")).cipher_suites, spoken);
    assert_eq!(pool(&format!("tls_ciphers: '{OCTAVIA}'")).cipher_suites, spoken);
}

#[test]
fn every_suite_has_two_names_and_either_is_read() {
    for names in [|suite: CipherSuite| suite.openssl(), |suite: CipherSuite| suite.iana().0] {
        for separator in [":", ",", " ", "::"] {
            let list: Vec<&str> = CipherSuite::ALL.into_iter().map(names).collect();
            let tls = certified(&format!("tls_ciphers: '{}'", list.join(separator)));
            assert_eq!(tls.cipher_suites, CipherSuite::ALL);
        }
    }
}

#[test]
fn what_a_pool_leaves_out_has_a_default() {
    let plain = PoolTls {
        certificate: None,
        ca: None,
        crl: None,
        verify: false,
        name: MemberName::Client,
        versions: TlsVersions { v1_2: true, v1_3: true },
        cipher_suites: Vec::new(),
        alpn_protocols: Vec::new(),
    };
    assert_eq!(pool("tls_versions: null"), plain);
    let verified = PoolTls { ca: Some("/ca.pem".into()), verify: true, ..plain.clone() };
    assert_eq!(pool("ca_tls_container_ref: file:/ca.pem"), verified);
    assert_eq!(pool("tls_verify: true"), PoolTls { verify: true, ..plain });
    assert_eq!(legal(&pool_document("HTTP", "tls_enabled: false\n    tls_verify: false")).pools[0].tls, None);
    assert!(legal(&pool_document("TCP", "tls_enabled: true")).pools[0].tls.is_some());
}

#[test]
fn every_key_of_a_pool_is_read() {
    let tls = pool(
        "tls_container_ref: file:/me.pem
    ca_tls_container_ref: file:/ca.pem
    crl_container_ref: file:/crl.pem
    tls_ciphers: TLS_CHACHA20_POLY1305_SHA256
    tls_versions: [TLSv1.3]
    alpn_protocols: [h2]
    tls_server_name: members.example.org",
    );
    let expected = PoolTls {
        certificate: Some("/me.pem".into()),
        ca: Some("/ca.pem".into()),
        crl: Some("/crl.pem".into()),
        verify: true,
        name: MemberName::Fixed("members.example.org".to_owned()),
        versions: TlsVersions { v1_2: false, v1_3: true },
        cipher_suites: vec![CipherSuite::Chacha20],
        alpn_protocols: vec![AlpnProtocol::H2],
    };
    assert_eq!(tls, expected);
    assert_eq!(pool("tls_server_name: address").name, MemberName::Address);
    assert_eq!(pool("tls_server_name: client").name, MemberName::Client);
}

#[test]
fn headers_about_a_certificate_are_read_where_tls_ends() {
    let keys = "X-SSL-Client-Verify: true, X-SSL-Client-Has-Cert: 'true', X-SSL-Client-DN: true, X-SSL-Client-CN: true, \
        X-SSL-Issuer: true, X-SSL-Client-SHA1: true, X-SSL-Client-Not-Before: true, X-SSL-Client-Not-After: 'false'";
    let text = listener_document("TERMINATED_HTTPS", &format!("{CERTIFICATE}\n    insert_headers: {{{keys}}}"));
    let listener = legal(&text).listeners.remove(0);
    let expected = InsertHeaders {
        x_ssl_client_verify: true,
        x_ssl_client_has_cert: true,
        x_ssl_client_dn: true,
        x_ssl_client_cn: true,
        x_ssl_issuer: true,
        x_ssl_client_sha1: true,
        x_ssl_client_not_before: true,
        ..InsertHeaders::default()
    };
    assert_eq!(listener.insert_headers, expected);
    assert_eq!((listener.protocol, listener.protocol.scheme()), (ListenerProtocol::TerminatedHttps, "https"));
}

#[test]
fn mistakes_of_certificates() {
    for (keys, expected) in [
        (
            "name: x",
            "4:15 a listener that ends TLS needs a certificate | add `default_tls_container_ref`, like `file:/etc/ssl/www.pem`",
        ),
        (
            "sni_container_refs: []",
            "4:15 a listener that ends TLS needs a certificate | add `default_tls_container_ref`, like `file:/etc/ssl/www.pem`",
        ),
        (
            "default_tls_container_ref: https://keys.example.org/v1/containers/7",
            "6:32 `https://keys.example.org/v1/containers/7` names no file | like `file:/etc/ssl/ca.pem`: only files are \
             supported, no key manager",
        ),
        ("default_tls_container_ref: /www.pem", "6:32 `/www.pem` names no file | write `file:/www.pem`"),
        ("sni_container_refs: [7]", "6:26 expected text, found the number `7` | write it in quotes: \"7\""),
        (
            "sni_container_refs: ['file:/folder/', 'file:/a.pem']",
            "6:26 `file:/folder/` names no file | this is a folder: name a file in it",
        ),
        (
            "sni_container_refs: [a.pem, 'file:/folder/']",
            "6:26 `a.pem` names no file | like `file:/etc/ssl/ca.pem`, with an absolute path",
        ),
        (
            "default_pool: {protocol: TCP, lb_algorithm: SOURCE_IP}\n    default_tls_container_ref: file:/a.pem",
            "6:30 a listener of protocol TERMINATED_HTTPS cannot use a pool of protocol TCP | its pool may be: HTTP, PROXY, PROXYV2",
        ),
    ] {
        assert_eq!(mistakes(&listener_document("TERMINATED_HTTPS", keys)), [expected], "{keys}");
    }
}

#[test]
fn mistakes_of_what_is_spoken() {
    let broken = "add `TLSv1.2` or `TLSv1.3`, or leave the key out for both";
    let (older, newer) = (
        "`ECDHE-ECDSA-AES256-GCM-SHA384`, `ECDHE-ECDSA-AES128-GCM-SHA256`, `ECDHE-ECDSA-CHACHA20-POLY1305`, \
         `ECDHE-RSA-AES256-GCM-SHA384`, `ECDHE-RSA-AES128-GCM-SHA256`, `ECDHE-RSA-CHACHA20-POLY1305`",
        "`TLS_AES_256_GCM_SHA384`, `TLS_AES_128_GCM_SHA256`, `TLS_CHACHA20_POLY1305_SHA256`",
    );
    for (keys, expected) in [
        ("tls_versions: []", format!("7:19 an empty list speaks no version of TLS | {broken}")),
        ("tls_versions: [SSLv3, TLSv1.1]", format!("7:19 none of these versions is spoken: they are broken | {broken}")),
        ("tls_versions: [TLSv1.4]", "7:20 unknown word `TLSv1.4` | did you mean `TLSv1.1`?".to_owned()),
        ("tls_ciphers: ''", "7:18 this may not be empty | write a value or leave the key out".to_owned()),
        (
            "tls_ciphers: TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES256-GCM-SHA383",
            "7:18 `ECDHE-RSA-AES256-GCM-SHA383` is no cipher suite | did you mean `ECDHE-RSA-AES256-GCM-SHA384`?".to_owned(),
        ),
        (
            "tls_ciphers: dhe-rsa-aes256-sha",
            "7:18 `dhe-rsa-aes256-sha` is no cipher suite | `DHE-RSA-AES256-SHA` is known, but not spoken: leave it out"
                .to_owned(),
        ),
        (
            "tls_ciphers: HIGH",
            "7:18 `HIGH` is no cipher suite | OpenSSL's shorthands are not understood: name each suite".to_owned(),
        ),
        (
            "tls_ciphers: ECDHE-RSA-AES128-GCM-SHA256",
            format!(
                "7:18 none of these suites can be spoken with TLSv1.3 | add one of {newer}, or leave TLSv1.3 out of `tls_versions`"
            ),
        ),
        (
            "tls_ciphers: 'TLS_AES_128_GCM_SHA256:DHE-RSA-AES128-SHA'",
            format!(
                "7:18 none of these suites can be spoken with TLSv1.2 | add one of {older}, or leave TLSv1.2 out of `tls_versions`"
            ),
        ),
        (
            "tls_ciphers: 'AES128-SHA,RC4-SHA'\n    tls_versions: [TLSv1.2]",
            format!(
                "7:18 none of these suites can be spoken with TLSv1.2 | add one of {older}, or leave TLSv1.2 out of `tls_versions`"
            ),
        ),
        ("alpn_protocols: [http/2]", "7:22 unknown word `http/2` | one of: h2, http/1.1, http/1.0".to_owned()),
        ("alpn_protocols: h2", "7:21 expected a list, found the text `h2`".to_owned()),
        ("timeout_tls_handshake: -1", "7:28 -1 is out of range | from 0 to 2073600000".to_owned()),
    ] {
        assert_eq!(wrong(keys), [expected], "{keys}");
    }
    let several = wrong("tls_ciphers: '!aNULL:AES:!aNULL:@STRENGTH'");
    assert_eq!(several.len(), 3, "{several:#?}");
    assert!(
        several[1].starts_with("7:18 `AES` is no cipher suite | there are: TLS_AES_256_GCM_SHA384, "),
        "{several:#?}"
    );
}

#[test]
fn mistakes_of_clients_certificates_and_hsts() {
    let idle =
        "does nothing unless clients are asked for certificates | add `client_authentication: MANDATORY` or `OPTIONAL`";
    for (keys, expected) in [
        (
            "client_authentication: MANDATORY",
            "7:28 `MANDATORY` needs to know who may sign clients' certificates | add `client_ca_tls_container_ref`".to_owned(),
        ),
        (
            "client_authentication: OPTIONAL\n    client_ca_tls_container_ref: null",
            "7:28 `OPTIONAL` needs to know who may sign clients' certificates | add `client_ca_tls_container_ref`".to_owned(),
        ),
        ("client_authentication: REQUIRED", "7:28 unknown word `REQUIRED` | one of: NONE, OPTIONAL, MANDATORY".to_owned()),
        (
            "client_authentication: REQUIRED\n    client_crl_container_ref: file:/a.pem",
            "7:28 unknown word `REQUIRED` | one of: NONE, OPTIONAL, MANDATORY".to_owned(),
        ),
        (
            "client_authentication: MANDATORY\n    client_ca_tls_container_ref: secret",
            "8:34 `secret` names no file | like `file:/etc/ssl/ca.pem`, with an absolute path".to_owned(),
        ),
        (
            "client_authentication: MANDATORY\n    client_ca_tls_container_ref: 7",
            "8:34 expected text, found the number `7` | write it in quotes: \"7\"".to_owned(),
        ),
        ("client_ca_tls_container_ref: file:/a.pem", format!("7:5 `client_ca_tls_container_ref` {idle}")),
        (
            "client_authentication: NONE\n    client_crl_container_ref: file:/a.pem",
            format!("8:5 `client_crl_container_ref` {idle}"),
        ),
        (
            "hsts_preload: true",
            "7:5 `hsts_preload` does nothing without `hsts_max_age` | add `hsts_max_age`, in seconds: 31536000 is a year"
                .to_owned(),
        ),
        (
            "hsts_include_subdomains: true\n    hsts_max_age: null",
            "7:5 `hsts_include_subdomains` does nothing without `hsts_max_age` | add `hsts_max_age`, in seconds: 31536000 is a year"
                .to_owned(),
        ),
        ("hsts_preload: true\n    hsts_max_age: -1", "8:19 -1 is out of range | from 0 to 4294967295".to_owned()),
    ] {
        assert_eq!(wrong(keys), [expected], "{keys}");
    }
}

#[test]
fn mistakes_of_listeners_that_end_no_tls() {
    for (key, value) in [
        ("default_tls_container_ref", "secret"),
        ("sni_container_refs", "['file:/a.pem']"),
        ("client_authentication", "MANDATORY"),
        ("client_ca_tls_container_ref", "file:/a.pem"),
        ("client_crl_container_ref", "file:/a.pem"),
        ("tls_ciphers", "HIGH"),
        ("tls_versions", "[TLSv1.2]"),
        ("alpn_protocols", "[h2]"),
        ("hsts_max_age", "0"),
        ("hsts_include_subdomains", "true"),
        ("hsts_preload", "true"),
        ("strict_sni", "true"),
        ("ocsp_response_ref", "file:/a.der"),
        ("timeout_tls_handshake", "5000"),
    ] {
        for protocol in ["TCP", "HTTP", "HTTPS"] {
            let expected = format!(
                "6:5 `{key}` is only for TERMINATED_HTTPS listeners, and this one is {protocol} | leave it out"
            );
            assert_eq!(mistakes(&listener_document(protocol, &format!("{key}: {value}"))), [expected]);
        }
    }
    assert_eq!(
        mistakes(&listener_document("HTTP", "insert_headers: {X-SSL-Issuer: 'false', X-SSL-Client-CN: null}")),
        ["6:22 `X-SSL-Issuer` is only for TERMINATED_HTTPS listeners, and this one is HTTP | leave it out"]
    );
    assert_eq!(
        mistakes(&listener_document("TCP", "insert_headers: {X-SSL-Issuer: 'true'}")),
        ["6:5 `insert_headers` is only for HTTP listeners, and this one is TCP | leave it out"]
    );
    // A wrong word hides no other mistake, and is not followed by guesses.
    assert_eq!(
        mistakes(&listener_document(
            "TERMINATED_HTTP",
            "client_ca_tls_container_ref: x\n    client_authentication: NONE"
        )),
        [
            "4:15 unknown word `TERMINATED_HTTP` | did you mean `TERMINATED_HTTPS`?",
            "6:34 `x` names no file | like `file:/etc/ssl/ca.pem`, with an absolute path",
        ]
    );
}

#[test]
fn mistakes_of_pools() {
    for (keys, expected) in [
        (
            "tls_container_ref: file:/a.pem",
            "7:5 `tls_container_ref` does nothing unless TLS is spoken to members | add `tls_enabled: true`, or leave it out",
        ),
        (
            "tls_enabled: false\n    tls_server_name: a.b",
            "8:5 `tls_server_name` does nothing unless TLS is spoken to members | add `tls_enabled: true`, or leave it out",
        ),
        (
            "tls_enabled: 'true'\n    tls_versions: [TLSv1.3]",
            "7:18 expected `true` or `false`, found the text `true` | write it without quotes: true",
        ),
        (
            "tls_enabled: true\n    ca_tls_container_ref: 'file:/a.pem'\n    tls_verify: false",
            "8:5 `ca_tls_container_ref` does nothing unless certificates are verified | add `tls_verify: true`",
        ),
        (
            "tls_enabled: true\n    crl_container_ref: 'file:/a.pem'",
            "8:5 `crl_container_ref` does nothing unless certificates are verified | add `tls_verify: true`",
        ),
        (
            "tls_enabled: true\n    crl_container_ref: 'file:/a.pem'\n    ca_tls_container_ref: 7",
            "9:27 expected text, found the number `7` | write it in quotes: \"7\"",
        ),
        (
            "tls_enabled: true\n    tls_server_name: 10.0.0.2",
            "8:22 `10.0.0.2` is an address, and TLS asks for names only | leave it out, or give a host name",
        ),
        (
            "tls_enabled: true\n    tls_server_name: a b",
            "8:22 `a b` is no host name | letters, digits, hyphens and dots, like `www.example.org`; no port",
        ),
        (
            "tls_enabled: true\n    tls_container_ref: a",
            "8:24 `a` names no file | like `file:/etc/ssl/ca.pem`, with an absolute path",
        ),
        (
            "tls_enabled: true\n    tls_ciphers: AES",
            "8:18 `AES` is no cipher suite | there are: TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, \
             TLS_CHACHA20_POLY1305_SHA256, ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-ECDSA-AES128-GCM-SHA256, \
             ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256, \
             ECDHE-RSA-CHACHA20-POLY1305",
        ),
    ] {
        assert_eq!(mistakes(&pool_document("HTTP", keys)), [expected], "{keys}");
    }
    for (key, value) in [
        ("ca_tls_container_ref", "secret"),
        ("crl_container_ref", "file:/a.pem"),
        ("tls_ciphers", "HIGH"),
        ("tls_versions", "[TLSv1.2]"),
        ("alpn_protocols", "[h2]"),
        ("tls_verify", "true"),
    ] {
        let found = mistakes(&pool_document("HTTP", &format!("{key}: {value}")));
        let expected = format!("7:5 `{key}` does nothing unless TLS is spoken to members");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:#?}");
    }
    assert_eq!(
        mistakes(&pool_document("HTTPS", "tls_enabled: true")),
        ["7:5 members of an HTTPS pool get the client's own TLS: there is nothing to put TLS around | leave it out; \
          to end TLS here, take a TERMINATED_HTTPS listener and an HTTP pool"]
    );
}

#[test]
fn mistakes_of_too_many_certificates() {
    let many = |count: usize| (0..count).map(|i| format!("'file:/{i}.pem'")).collect::<Vec<_>>().join(", ");
    assert_eq!(certified(&format!("sni_container_refs: [{}]", many(1024))).sni_certificates.len(), 1024);
    let found = wrong(&format!("sni_container_refs: [{}]", many(1025)));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].ends_with("1025 entries are more than this list may have | at most 1024"), "{found:#?}");
}

#[test]
fn the_worst_lists_of_ciphers_are_answered_soon() {
    // As many different wrong names as fit, in as many pools as may be: only so many are looked up and listed.
    let names: Vec<String> = (0..680).map(|i| format!("{i:x}")).collect();
    let list = &names.join(":")[..2000];
    let pool = |i| {
        format!("{{name: p{i}, protocol: TCP, lb_algorithm: SOURCE_IP, tls_enabled: true, tls_ciphers: 'x:{list}'}}")
    };
    let pools: Vec<String> = (0..1000).map(pool).collect();
    let found = mistakes(&format!("loadbalancer: {{vip_address: 10.0.0.1, pools: [{}]}}", pools.join(",\n")));
    assert_eq!(found.len(), crate::spec::MISTAKES_MAX);
}
