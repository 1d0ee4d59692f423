//! What a listener or a pool says about TLS. Only words: certificates are read where they are used.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Protocol versions that are spoken. At least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TlsVersions {
    /// TLS 1.2, RFC 5246.
    pub v1_2: bool,
    /// TLS 1.3, RFC 8446.
    pub v1_3: bool,
}

impl Default for TlsVersions {
    /// Both.
    fn default() -> Self {
        Self { v1_2: true, v1_3: true }
    }
}

/// A cipher suite, by its IANA name. Others are not spoken: they are broken, or have no forward secrecy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CipherSuite {
    /// TLS 1.3.
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256Gcm,
    /// TLS 1.3.
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128Gcm,
    /// TLS 1.3.
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    Chacha20,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdheEcdsaAes256Gcm,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdheEcdsaAes128Gcm,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheEcdsaChacha20,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    EcdheRsaAes256Gcm,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    EcdheRsaAes128Gcm,
    /// TLS 1.2.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdheRsaChacha20,
}

impl CipherSuite {
    /// All that are spoken, in the order preferred.
    pub const ALL: [Self; 9] = [
        Self::Aes256Gcm,
        Self::Aes128Gcm,
        Self::Chacha20,
        Self::EcdheEcdsaAes256Gcm,
        Self::EcdheEcdsaAes128Gcm,
        Self::EcdheEcdsaChacha20,
        Self::EcdheRsaAes256Gcm,
        Self::EcdheRsaAes128Gcm,
        Self::EcdheRsaChacha20,
    ];

    /// Its IANA name, and its number (RFC 8446 section B.4, RFC 5289, RFC 7905).
    pub fn iana(self) -> (&'static str, u16) {
        match self {
            Self::Aes256Gcm => ("TLS_AES_256_GCM_SHA384", 0x1302),
            Self::Aes128Gcm => ("TLS_AES_128_GCM_SHA256", 0x1301),
            Self::Chacha20 => ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
            Self::EcdheEcdsaAes256Gcm => ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
            Self::EcdheEcdsaAes128Gcm => ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
            Self::EcdheEcdsaChacha20 => ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
            Self::EcdheRsaAes256Gcm => ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
            Self::EcdheRsaAes128Gcm => ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
            Self::EcdheRsaChacha20 => ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
        }
    }

    /// OpenSSL's name, which differs for those of TLS 1.2.
    pub fn openssl(self) -> &'static str {
        match self {
            Self::EcdheEcdsaAes256Gcm => "ECDHE-ECDSA-AES256-GCM-SHA384",
            Self::EcdheEcdsaAes128Gcm => "ECDHE-ECDSA-AES128-GCM-SHA256",
            Self::EcdheEcdsaChacha20 => "ECDHE-ECDSA-CHACHA20-POLY1305",
            Self::EcdheRsaAes256Gcm => "ECDHE-RSA-AES256-GCM-SHA384",
            Self::EcdheRsaAes128Gcm => "ECDHE-RSA-AES128-GCM-SHA256",
            Self::EcdheRsaChacha20 => "ECDHE-RSA-CHACHA20-POLY1305",
            _ => self.iana().0,
        }
    }

    /// True for those of TLS 1.3.
    pub fn is_v1_3(self) -> bool {
        matches!(self, Self::Aes256Gcm | Self::Aes128Gcm | Self::Chacha20)
    }
}

/// A protocol negotiated inside the handshake (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AlpnProtocol {
    /// `h2`
    #[serde(rename = "h2")]
    H2,
    /// `http/1.1`
    #[serde(rename = "http/1.1")]
    Http11,
    /// `http/1.0`
    #[serde(rename = "http/1.0")]
    Http10,
}

impl AlpnProtocol {
    /// As it stands in the handshake.
    pub fn wire(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Http11 => "http/1.1",
            Self::Http10 => "http/1.0",
        }
    }
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ClientAuthentication {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; who shows one must show a good one.
    Optional,
    /// Without a good one there is no connection.
    Mandatory,
}

/// `Strict-Transport-Security` (RFC 6797), added to every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hsts {
    /// Seconds.
    pub max_age: u32,
    /// Names below the host's too.
    pub include_subdomains: bool,
    /// The browsers' lists may take it up.
    pub preload: bool,
}

/// As the field's value (RFC 6797 section 6.1).
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age)?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

/// TLS that a listener ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// PEM file with certificate, chain and key, for clients that name no host or one no certificate is for.
    pub default_certificate: PathBuf,
    /// More of them: PEM files, or folders of PEM files. Which names they are for is read from them.
    pub sni_certificates: Vec<PathBuf>,
    /// A client that names a host no certificate is for is refused instead of shown the default one. Extension.
    pub strict_sni: bool,
    /// Whether clients show a certificate.
    pub client_authentication: ClientAuthentication,
    /// PEM file of those who may sign them.
    pub client_ca: Option<PathBuf>,
    /// PEM file of those that are revoked.
    pub client_crl: Option<PathBuf>,
    /// DER file with an OCSP answer for the default certificate, handed to clients (RFC 6066 section 8). Extension.
    pub ocsp_response: Option<PathBuf>,
    /// What is spoken.
    pub versions: TlsVersions,
    /// In the order preferred; empty: all.
    pub cipher_suites: Vec<CipherSuite>,
    /// In the order preferred; empty: none is negotiated.
    pub alpn_protocols: Vec<AlpnProtocol>,
    /// Told to browsers.
    pub hsts: Option<Hsts>,
    /// Milliseconds for a whole handshake. Extension `timeout_tls_handshake`, 5000.
    pub handshake_timeout_ms: u64,
}

impl ListenerTls {
    /// Every file or folder it is made from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let optional = [&self.client_ca, &self.client_crl, &self.ocsp_response].into_iter().flatten();
        std::iter::once(&self.default_certificate).chain(&self.sni_certificates).chain(optional).map(PathBuf::as_path)
    }
}

/// Which name a member is asked for, and must prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberName {
    /// None is sent; the certificate is held against the member's address. Extension.
    Address,
    /// The one the client asked this listener for, if it did.
    Client,
    /// This one.
    Fixed(String),
}

/// TLS that is begun with members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTls {
    /// PEM file with a certificate to show them, chain and key.
    pub certificate: Option<PathBuf>,
    /// PEM file of those who may sign theirs; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of those that are revoked.
    pub crl: Option<PathBuf>,
    /// False: whoever answers is believed. Octavia verifies only when a CA is given.
    pub verify: bool,
    /// Which name is asked for.
    pub name: MemberName,
    /// What is spoken.
    pub versions: TlsVersions,
    /// In the order preferred; empty: all.
    pub cipher_suites: Vec<CipherSuite>,
    /// In the order preferred; empty: none is negotiated.
    pub alpn_protocols: Vec<AlpnProtocol>,
}

impl PoolTls {
    /// Every file it is made from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.ca, &self.crl].into_iter().flatten().map(PathBuf::as_path)
    }
}
