//! Legal words about TLS, generated.

use std::path::PathBuf;

use proptest::prelude::*;

use super::round_trip_monitors::hosts;
use crate::config::InsertHeaders;
use crate::config::tls::*;
use crate::spec::TIMEOUT_MS_MAX;

fn files() -> impl Strategy<Value = PathBuf> {
    "(/[a-zé .%:]{1,9}){1,3}".prop_map(Into::into)
}

fn versions() -> impl Strategy<Value = TlsVersions> {
    prop::sample::select(vec![
        TlsVersions { v1_2: true, v1_3: true },
        TlsVersions { v1_2: true, v1_3: false },
        TlsVersions { v1_2: false, v1_3: true },
    ])
}

/// All, or some in any order with one at least for every version.
fn spoken() -> impl Strategy<Value = (TlsVersions, Vec<CipherSuite>)> {
    let some = prop::sample::subsequence(CipherSuite::ALL.to_vec(), 0..=CipherSuite::ALL.len()).prop_shuffle();
    (versions(), some).prop_map(|(versions, mut suites)| {
        let has = |suites: &[CipherSuite], v1_3| suites.iter().any(|suite| suite.is_v1_3() == v1_3);
        if !suites.is_empty() && versions.v1_3 && !has(&suites, true) {
            suites.push(CipherSuite::Chacha20);
        }
        if !suites.is_empty() && versions.v1_2 && !has(&suites, false) {
            suites.push(CipherSuite::EcdheRsaAes128Gcm);
        }
        (versions, suites)
    })
}

fn alpn() -> impl Strategy<Value = Vec<AlpnProtocol>> {
    let all = vec![AlpnProtocol::H2, AlpnProtocol::Http11, AlpnProtocol::Http10];
    prop::sample::subsequence(all, 0..=3).prop_shuffle()
}

pub(super) fn listener_tls() -> impl Strategy<Value = ListenerTls> {
    let authentications =
        vec![ClientAuthentication::None, ClientAuthentication::Optional, ClientAuthentication::Mandatory];
    let clients = (prop::sample::select(authentications), files(), prop::option::of(files()), any::<bool>());
    let hsts = (any::<u32>(), any::<bool>(), any::<bool>()).prop_map(|(max_age, include_subdomains, preload)| Hsts {
        max_age,
        include_subdomains,
        preload,
    });
    let certificates = (files(), prop::collection::btree_set(files(), 0..4), any::<bool>(), prop::option::of(files()));
    let rest = (spoken(), alpn(), prop::option::of(hsts), 0..=TIMEOUT_MS_MAX);
    (certificates, clients, rest).prop_map(|(certificates, clients, rest)| {
        let (default_certificate, mut others, strict_sni, ocsp_response) = certificates;
        others.remove(&default_certificate);
        let (client_authentication, ca, crl, early) = clients;
        let asked = client_authentication != ClientAuthentication::None;
        let ((versions, cipher_suites), alpn_protocols, hsts, handshake_timeout_ms) = rest;
        ListenerTls {
            default_certificate,
            sni_certificates: others.into_iter().collect(),
            strict_sni,
            client_authentication,
            client_ca: (asked || early).then_some(ca),
            client_crl: crl.filter(|_| asked),
            ocsp_response,
            versions,
            cipher_suites,
            alpn_protocols,
            hsts,
            handshake_timeout_ms,
        }
    })
}

pub(super) fn pool_tls() -> impl Strategy<Value = PoolTls> {
    let files = (prop::option::of(files()), prop::option::of(files()), prop::option::of(files()));
    let name = prop_oneof![
        Just(MemberName::Client),
        Just(MemberName::Address),
        hosts()
            .prop_filter("two words have a meaning of their own", |host| host != "client" && host != "address")
            .prop_map(MemberName::Fixed),
    ];
    (files, any::<bool>(), name, spoken(), alpn()).prop_map(|(files, verify, name, spoken, alpn_protocols)| {
        let (certificate, ca, crl) = files;
        let (versions, cipher_suites) = spoken;
        // Only who verifies looks at them.
        let (ca, crl) = (ca.filter(|_| verify), crl.filter(|_| verify));
        PoolTls { certificate, ca, crl, verify, name, versions, cipher_suites, alpn_protocols }
    })
}

pub(super) fn certificate_headers() -> impl Strategy<Value = InsertHeaders> {
    any::<[bool; 8]>().prop_map(|set| {
        let [verify, has_cert, dn, cn, issuer, sha1, not_before, not_after] = set;
        InsertHeaders {
            x_ssl_client_verify: verify,
            x_ssl_client_has_cert: has_cert,
            x_ssl_client_dn: dn,
            x_ssl_client_cn: cn,
            x_ssl_issuer: issuer,
            x_ssl_client_sha1: sha1,
            x_ssl_client_not_before: not_before,
            x_ssl_client_not_after: not_after,
            ..InsertHeaders::default()
        }
    })
}
