//! What a listener and a pool say about TLS, crossing the border.

use std::path::PathBuf;

use super::file::Named;
use super::{Border, NodeId, types};
use crate::config::tls::{AlpnProtocol, ClientAuthentication, Hsts, ListenerTls, MemberName, PoolTls, TlsVersions};
use crate::config::{InsertHeaders, ListenerProtocol, PoolProtocol};
use crate::spec::scalar::{self, Scalar};
use crate::spec::tree::{Entry, Kind};
use crate::spec::types::Flag;

impl Border<'_> {
    /// TLS that a listener ends. `None` if it ends none, or lacks a certificate, which is reported.
    pub(super) fn listener_tls(
        &mut self,
        listener: &types::Listener,
        protocol: Option<ListenerProtocol>,
    ) -> Option<ListenerTls> {
        let at = listener.at;
        if let Some(other) = protocol.filter(|protocol| *protocol != ListenerProtocol::TerminatedHttps) {
            self.idle_tls_keys(at, &LISTENER_KEYS, |key| {
                let message = format!("`{key}` is only for TERMINATED_HTTPS listeners, and this one is {other}");
                (message, "leave it out".to_owned())
            });
            return None;
        }
        let certificates = self.certificates(listener, protocol);
        let client_authentication = self.client_authentication(listener);
        let client_ca = self.file(at, "client_ca_tls_container_ref", listener.client_ca_tls_container_ref.as_ref());
        let client_crl = self.file(at, "client_crl_container_ref", listener.client_crl_container_ref.as_ref());
        let ocsp_response = self.file(at, "ocsp_response_ref", listener.ocsp_response_ref.as_ref());
        let versions = self.tls_versions(at, listener.tls_versions.as_deref());
        let cipher_suites = self.cipher_suites(at, listener.tls_ciphers.as_ref(), versions);
        let hsts = self.hsts(listener);
        let (default_certificate, sni_certificates) = certificates?;
        Some(ListenerTls {
            default_certificate,
            sni_certificates,
            strict_sni: listener.strict_sni.unwrap_or(false),
            client_authentication,
            client_ca,
            client_crl,
            ocsp_response,
            versions: versions.unwrap_or_default(),
            cipher_suites,
            alpn_protocols: listener.alpn_protocols.as_deref().map_or_else(|| LISTENER_ALPN.to_vec(), alpn_protocols),
            hsts,
            handshake_timeout_ms: listener.timeout_tls_handshake.unwrap_or(HANDSHAKE_MS),
        })
    }

    /// The default certificate, and the others without doubles. Without a default the first other one is it, as in Octavia.
    fn certificates(
        &mut self,
        listener: &types::Listener,
        protocol: Option<ListenerProtocol>,
    ) -> Option<(PathBuf, Vec<PathBuf>)> {
        let at = listener.at;
        let written = listener.default_tls_container_ref.as_ref();
        let mut default = self.file(at, "default_tls_container_ref", written);
        let promoted = written.is_none() && !self.tree.is_lost(at, "default_tls_container_ref");
        let list = self.tree.entry(at, "sni_container_refs").map_or(&[][..], |entry| self.tree.items(entry.value));
        let first = list.first().copied();
        // What was reported already is not among those that were read.
        let places: Vec<NodeId> = list.iter().copied().filter(|item| !self.tree.is_rejected(*item)).collect();
        let mut others: Vec<PathBuf> = Vec::new();
        for (reference, place) in listener.sni_container_refs.iter().flatten().zip(places) {
            // A folder has no first certificate.
            let named = if promoted && first == Some(place) { Named::File } else { Named::FileOrFolder };
            match self.reference_to(&reference.0, named, |border| border.tree.spot(place)) {
                Some(path) if named == Named::File => default = Some(path),
                Some(path) if default.as_ref() != Some(&path) && !others.contains(&path) => others.push(path),
                _ => {}
            }
        }
        let nothing = promoted && listener.sni_container_refs.as_ref().is_none_or(Vec::is_empty);
        if nothing && protocol.is_some() && !self.is_doubtful(at, "sni_container_refs") {
            let help = "add `default_tls_container_ref`, like `file:/etc/ssl/www.pem`".to_owned();
            let message = "a listener that ends TLS needs a certificate";
            self.mistake(self.tree.spot_of(at, "protocol"), message, help);
        }
        Some((default?, others))
    }

    fn client_authentication(&mut self, listener: &types::Listener) -> ClientAuthentication {
        let at = listener.at;
        let written = listener.client_authentication;
        let known = !self.tree.is_lost(at, "client_authentication");
        let authentication = match written {
            None | Some(types::ClientAuthentication::None) => ClientAuthentication::None,
            Some(types::ClientAuthentication::Optional) => ClientAuthentication::Optional,
            Some(types::ClientAuthentication::Mandatory) => ClientAuthentication::Mandatory,
        };
        let has_ca = listener.client_ca_tls_container_ref.is_some();
        if let Some(word) = written.filter(|_| authentication != ClientAuthentication::None)
            && !has_ca
            && !self.tree.is_lost(at, "client_ca_tls_container_ref")
        {
            let message = format!("`{}` needs to know who may sign clients' certificates", word.word());
            let spot = self.tree.spot_of(at, "client_authentication");
            self.mistake(spot, message, "add `client_ca_tls_container_ref`".to_owned());
        }
        // Who wrote `NONE` knows that the authorities wait for a later day, as they may in Octavia.
        let unasked = known && authentication == ClientAuthentication::None;
        let idle = [
            ("client_ca_tls_container_ref", has_ca && written.is_none()),
            ("client_crl_container_ref", listener.client_crl_container_ref.is_some()),
        ];
        for (key, _) in idle.into_iter().filter(|(_, given)| unasked && *given) {
            let message = format!("`{key}` does nothing unless clients are asked for certificates");
            let help = "add `client_authentication: MANDATORY` or `OPTIONAL`".to_owned();
            self.mistake(self.tree.spot_of_key(at, key), message, help);
        }
        authentication
    }

    /// `None` if what is spoken is not known for sure, which is reported.
    fn tls_versions(&mut self, at: NodeId, written: Option<&[types::TlsVersion]>) -> Option<TlsVersions> {
        if self.is_doubtful(at, "tls_versions") {
            return None;
        }
        let Some(written) = written else {
            return Some(TlsVersions::default());
        };
        let versions = TlsVersions {
            v1_2: written.contains(&types::TlsVersion::V1_2),
            v1_3: written.contains(&types::TlsVersion::V1_3),
        };
        if versions.v1_2 || versions.v1_3 {
            return Some(versions);
        }
        let message = if written.is_empty() {
            "an empty list speaks no version of TLS"
        } else {
            "none of these versions is spoken: they are broken"
        };
        let help = "add `TLSv1.2` or `TLSv1.3`, or leave the key out for both".to_owned();
        self.mistake(self.tree.spot_of(at, "tls_versions"), message, help);
        None
    }

    fn hsts(&mut self, listener: &types::Listener) -> Option<Hsts> {
        let at = listener.at;
        let include_subdomains = listener.hsts_include_subdomains.unwrap_or(false);
        let preload = listener.hsts_preload.unwrap_or(false);
        let Some(max_age) = listener.hsts_max_age else {
            let asked = [("hsts_include_subdomains", include_subdomains), ("hsts_preload", preload)];
            let known = !self.tree.is_lost(at, "hsts_max_age");
            for (key, _) in asked.into_iter().filter(|(_, asked)| known && *asked) {
                let message = format!("`{key}` does nothing without `hsts_max_age`");
                let help = "add `hsts_max_age`, in seconds: 31536000 is a year".to_owned();
                self.mistake(self.tree.spot_of_key(at, key), message, help);
            }
            return None;
        };
        Some(Hsts { max_age, include_subdomains, preload })
    }

    /// TLS that is begun with members. `None` if none is.
    pub(super) fn pool_tls(&mut self, pool: &types::Pool, protocol: Option<PoolProtocol>) -> Option<PoolTls> {
        let at = pool.at;
        if pool.tls_enabled != Some(true) {
            if !self.tree.is_lost(at, "tls_enabled") {
                self.idle_tls_keys(at, &POOL_KEYS, |key| {
                    let message = format!("`{key}` does nothing unless TLS is spoken to members");
                    (message, "add `tls_enabled: true`, or leave it out".to_owned())
                });
            }
            return None;
        }
        if protocol == Some(PoolProtocol::Https) {
            let message = "members of an HTTPS pool get the client's own TLS: there is nothing to put TLS around";
            let help = "leave it out; to end TLS here, take a TERMINATED_HTTPS listener and an HTTP pool".to_owned();
            self.mistake(self.tree.spot_of_key(at, "tls_enabled"), message, help);
        }
        let certificate = self.file(at, "tls_container_ref", pool.tls_container_ref.as_ref());
        let ca = self.file(at, "ca_tls_container_ref", pool.ca_tls_container_ref.as_ref());
        let crl = self.file(at, "crl_container_ref", pool.crl_container_ref.as_ref());
        let verify = self.member_verification(pool);
        let name = self.member_name(pool);
        let versions = self.tls_versions(at, pool.tls_versions.as_deref());
        let cipher_suites = self.cipher_suites(at, pool.tls_ciphers.as_ref(), versions);
        Some(PoolTls {
            certificate,
            ca,
            crl,
            verify,
            name,
            versions: versions.unwrap_or_default(),
            cipher_suites,
            alpn_protocols: pool.alpn_protocols.as_deref().map_or_else(Vec::new, alpn_protocols),
        })
    }

    fn member_verification(&mut self, pool: &types::Pool) -> bool {
        let at = pool.at;
        let has_ca = pool.ca_tls_container_ref.is_some();
        let verify = pool.tls_verify.unwrap_or(has_ca);
        let known = ["tls_verify", "ca_tls_container_ref"].iter().all(|key| !self.tree.is_lost(at, key));
        let idle = [("ca_tls_container_ref", has_ca), ("crl_container_ref", pool.crl_container_ref.is_some())];
        for (key, _) in idle.into_iter().filter(|(_, given)| known && !verify && *given) {
            let message = format!("`{key}` does nothing unless certificates are verified");
            self.mistake(self.tree.spot_of_key(at, key), message, "add `tls_verify: true`".to_owned());
        }
        verify
    }

    fn member_name(&mut self, pool: &types::Pool) -> MemberName {
        match pool.tls_server_name.as_ref().map(|name| name.0.as_str()) {
            None | Some("client") => MemberName::Client,
            Some("address") => MemberName::Address,
            Some(name) => {
                self.server_name(pool.at, "tls_server_name", name);
                MemberName::Fixed(name.to_owned())
            }
        }
    }

    /// Reports those of `keys` that are written and ask for something, where they do nothing.
    fn idle_tls_keys(&mut self, at: NodeId, keys: &[&str], words: impl Fn(&str) -> (String, String)) {
        let written = |entry: &&Entry| keys.contains(&entry.key.as_str()) && self.asks_for_something(entry);
        let idle: Vec<String> = self.tree.entries(at).iter().filter(written).map(|entry| entry.key.clone()).collect();
        for key in idle {
            let (message, help) = words(&key);
            self.mistake(self.tree.spot_of_key(at, &key), message, help);
        }
    }

    /// False for null, `false`, an empty list and `NONE`: clients that write every key Octavia has are not refused for
    /// what they do not use. False for what was reported already, too.
    fn asks_for_something(&self, entry: &Entry) -> bool {
        let asks = match &self.tree.node(entry.value).kind {
            Kind::List(items) => !items.is_empty(),
            Kind::Map(_) => true,
            Kind::Scalar { text, .. } if entry.key == "client_authentication" => text != "NONE",
            Kind::Scalar { quoted: true, .. } => true,
            Kind::Scalar { text, .. } => !matches!(scalar::resolve(text), Scalar::Null | Scalar::Bool(false)),
        };
        asks && !self.tree.is_null(entry.value) && !self.tree.is_rejected(entry.value)
    }

    /// Something about `key`, or about an item of its list, was reported.
    pub(super) fn is_doubtful(&self, at: NodeId, key: &str) -> bool {
        let Some(entry) = self.tree.entry(at, key) else { return false };
        self.tree.is_rejected(entry.value)
            || self.tree.items(entry.value).iter().any(|item| self.tree.is_rejected(*item))
    }

    /// Adds the headers about the client's certificate, which only a listener that ends TLS has.
    pub(super) fn certificate_headers(
        &mut self,
        written: &types::InsertHeaders,
        protocol: Option<ListenerProtocol>,
        headers: &mut InsertHeaders,
    ) {
        if protocol == Some(ListenerProtocol::Http) {
            let about = |entry: &&Entry| entry.key.starts_with("X-SSL-") && !self.tree.is_rejected(entry.value);
            let idle =
                self.tree.entries(written.at).iter().filter(about).filter(|entry| !self.tree.is_null(entry.value));
            for key in idle.map(|entry| entry.key.clone()).collect::<Vec<_>>() {
                let message = format!("`{key}` is only for TERMINATED_HTTPS listeners, and this one is HTTP");
                self.mistake(self.tree.spot_of_key(written.at, &key), message, "leave it out".to_owned());
            }
            return;
        }
        let is_set = |flag: Option<Flag>| flag.is_some_and(Flag::is_set);
        headers.x_ssl_client_verify = is_set(written.x_ssl_client_verify);
        headers.x_ssl_client_has_cert = is_set(written.x_ssl_client_has_cert);
        headers.x_ssl_client_dn = is_set(written.x_ssl_client_dn);
        headers.x_ssl_client_cn = is_set(written.x_ssl_client_cn);
        headers.x_ssl_issuer = is_set(written.x_ssl_issuer);
        headers.x_ssl_client_sha1 = is_set(written.x_ssl_client_sha1);
        headers.x_ssl_client_not_before = is_set(written.x_ssl_client_not_before);
        headers.x_ssl_client_not_after = is_set(written.x_ssl_client_not_after);
    }
}

/// In the order written, each once.
fn alpn_protocols(written: &[types::AlpnProtocol]) -> Vec<AlpnProtocol> {
    let mut protocols = Vec::new();
    for protocol in written {
        let protocol = match protocol {
            types::AlpnProtocol::H2 => AlpnProtocol::H2,
            types::AlpnProtocol::Http11 => AlpnProtocol::Http11,
            types::AlpnProtocol::Http10 => AlpnProtocol::Http10,
        };
        if !protocols.contains(&protocol) {
            protocols.push(protocol);
        }
    }
    protocols
}

/// Octavia's.
const LISTENER_ALPN: [AlpnProtocol; 3] = [AlpnProtocol::H2, AlpnProtocol::Http11, AlpnProtocol::Http10];
const HANDSHAKE_MS: u64 = 5_000;
/// Keys of a listener that only `TERMINATED_HTTPS` has.
const LISTENER_KEYS: [&str; 14] = [
    "default_tls_container_ref",
    "sni_container_refs",
    "client_authentication",
    "client_ca_tls_container_ref",
    "client_crl_container_ref",
    "tls_ciphers",
    "tls_versions",
    "alpn_protocols",
    "hsts_max_age",
    "hsts_include_subdomains",
    "hsts_preload",
    "strict_sni",
    "ocsp_response_ref",
    "timeout_tls_handshake",
];
/// Keys of a pool that need `tls_enabled`.
const POOL_KEYS: [&str; 8] = [
    "tls_container_ref",
    "ca_tls_container_ref",
    "crl_container_ref",
    "tls_ciphers",
    "tls_versions",
    "alpn_protocols",
    "tls_verify",
    "tls_server_name",
];
