//! What listeners and pools say about TLS, written back.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::put;
use crate::config::InsertHeaders;
use crate::config::tls::{CipherSuite, ListenerTls, MemberName, PoolTls, TlsVersions};

pub(super) fn listener(body: &mut Map<String, Value>, tls: &ListenerTls) {
    put(body, "default_tls_container_ref", Some(reference(&tls.default_certificate)));
    let others: Vec<String> = tls.sni_certificates.iter().map(|path| reference(path)).collect();
    put(body, "sni_container_refs", Some(others));
    put(body, "client_authentication", Some(tls.client_authentication));
    put(body, "client_ca_tls_container_ref", optional(tls.client_ca.as_ref()));
    put(body, "client_crl_container_ref", optional(tls.client_crl.as_ref()));
    put(body, "tls_ciphers", ciphers(&tls.cipher_suites));
    put(body, "tls_versions", Some(versions(tls.versions)));
    put(body, "alpn_protocols", Some(&tls.alpn_protocols));
    if let Some(hsts) = tls.hsts {
        put(body, "hsts_max_age", Some(hsts.max_age));
        put(body, "hsts_include_subdomains", Some(hsts.include_subdomains));
        put(body, "hsts_preload", Some(hsts.preload));
    }
    put(body, "strict_sni", Some(tls.strict_sni));
    put(body, "ocsp_response_ref", optional(tls.ocsp_response.as_ref()));
    put(body, "timeout_tls_handshake", Some(tls.handshake_timeout_ms));
}

/// The headers about the client's certificate.
pub(super) fn certificate_headers(body: &mut Map<String, Value>, headers: &InsertHeaders) {
    for (key, set) in [
        ("X-SSL-Client-Verify", headers.x_ssl_client_verify),
        ("X-SSL-Client-Has-Cert", headers.x_ssl_client_has_cert),
        ("X-SSL-Client-DN", headers.x_ssl_client_dn),
        ("X-SSL-Client-CN", headers.x_ssl_client_cn),
        ("X-SSL-Issuer", headers.x_ssl_issuer),
        ("X-SSL-Client-SHA1", headers.x_ssl_client_sha1),
        ("X-SSL-Client-Not-Before", headers.x_ssl_client_not_before),
        ("X-SSL-Client-Not-After", headers.x_ssl_client_not_after),
    ] {
        put(body, key, Some(set.to_string()));
    }
}

pub(super) fn pool(body: &mut Map<String, Value>, tls: &PoolTls) {
    put(body, "tls_enabled", Some(true));
    put(body, "tls_container_ref", optional(tls.certificate.as_ref()));
    put(body, "ca_tls_container_ref", optional(tls.ca.as_ref()));
    put(body, "crl_container_ref", optional(tls.crl.as_ref()));
    put(body, "tls_ciphers", ciphers(&tls.cipher_suites));
    put(body, "tls_versions", Some(versions(tls.versions)));
    put(body, "alpn_protocols", Some(&tls.alpn_protocols));
    put(body, "tls_verify", Some(tls.verify));
    let name = match &tls.name {
        MemberName::Address => "address",
        MemberName::Client => "client",
        MemberName::Fixed(name) => name,
    };
    put(body, "tls_server_name", Some(name));
}

pub(super) fn reference(path: &Path) -> String {
    format!("file:{}", path.display())
}

fn optional(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| reference(path))
}

fn ciphers(suites: &[CipherSuite]) -> Option<String> {
    let names: Vec<&str> = suites.iter().map(|suite| suite.openssl()).collect();
    (!names.is_empty()).then(|| names.join(":"))
}

fn versions(versions: TlsVersions) -> Vec<&'static str> {
    [("TLSv1.2", versions.v1_2), ("TLSv1.3", versions.v1_3)].into_iter().filter(|v| v.1).map(|v| v.0).collect()
}
