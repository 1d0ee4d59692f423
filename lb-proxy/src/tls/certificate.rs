//! One certificate with its chain and key, as read from a PEM bundle, and what its fields say.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}", path = path.display())]
pub struct BadFile {
    path: PathBuf,
    what: Wrong,
}

impl BadFile {
    /// True if it is there and may not be read.
    pub fn is_forbidden(&self) -> bool {
        matches!(&self.what, Wrong::Unreadable(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
    }
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// A folder stands where a file should.
    #[error("is a folder: name a file in it")]
    Folder,
    /// It is not PEM.
    #[error("is not PEM: {0}")]
    NotPem(String),
    /// There is no certificate in it.
    #[error("holds no certificate")]
    NoCertificate,
    /// There is no private key in it.
    #[error("holds no private key (PKCS #8, PKCS #1 or SEC 1, not encrypted)")]
    NoKey,
    /// The key is of a kind that is not spoken.
    #[error("its private key cannot be used: {0}")]
    BadKey(rustls::Error),
    /// Key and certificate are not of one pair.
    #[error("its private key does not belong to its first certificate")]
    Mismatch,
    /// The certificate cannot be parsed.
    #[error("its certificate cannot be read: {0}")]
    BadCertificate(String),
    /// It has expired.
    #[error("its certificate expired on {0}")]
    Expired(String),
    /// There is no revocation list in it.
    #[error("holds no revocation list")]
    NoRevocationList,
    /// A revocation list cannot be parsed.
    #[error("its revocation list cannot be read: {0}")]
    BadRevocationList(String),
    /// A revocation list has ended.
    #[error("its revocation list expired on {0}")]
    EndedRevocationList(String),
    /// A folder without a usable file.
    #[error("holds no certificate bundle")]
    Empty,
    /// What was put together of it is refused.
    #[error("{0}")]
    Refused(String),
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::IsADirectory { Self::Folder } else { Self::Unreadable(error) }
    }
}

impl Wrong {
    /// The same, of `path`.
    pub fn of(self, path: &Path) -> BadFile {
        BadFile { path: path.to_owned(), what: self }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Certificate {
    /// Where it was read from.
    pub path: PathBuf,
    /// Key and chain.
    pub key: Arc<CertifiedKey>,
    /// The names it is for, in lower case; `*.` in front of some. The common name if there are none.
    pub names: Vec<String>,
    /// Who it says it is, as `/O=.../CN=...`.
    pub subject: String,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
}

impl Certificate {
    /// Reads a bundle: a key and a chain, the server's own certificate first, in any order of the two.
    pub fn parse(path: &Path, bundle: &[u8], provider: &CryptoProvider) -> Result<Self, BadFile> {
        Self::understood(path, bundle, provider).map_err(|wrong| wrong.of(path))
    }

    fn understood(path: &Path, bundle: &[u8], provider: &CryptoProvider) -> Result<Self, Wrong> {
        let chain = certificates(bundle)?;
        let first = chain.first().ok_or(Wrong::NoCertificate)?;
        let fields = Fields::of(first)?;
        let key = match PrivateKeyDer::from_pem_slice(bundle) {
            Ok(key) => provider.key_provider.load_private_key(key).map_err(Wrong::BadKey)?,
            Err(pem::Error::NoItemsFound) => return Err(Wrong::NoKey),
            Err(error) => return Err(Wrong::NotPem(error.to_string())),
        };
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(Wrong::Mismatch),
            Err(error) => return Err(Wrong::BadCertificate(error.to_string())),
        }
        let Fields { names, subject, not_after } = fields;
        Ok(Self { path: path.to_owned(), key: Arc::new(key), names, subject, not_after })
    }

    /// Refuses one that has ended at `now` (seconds since 1970).
    pub fn still_good(&self, now: i64) -> Result<(), BadFile> {
        if self.not_after > now {
            return Ok(());
        }
        let when = jiff::Timestamp::from_second(self.not_after).map_or_else(|_| String::new(), |at| at.to_string());
        Err(Wrong::Expired(when).of(&self.path))
    }
}

/// What an end-entity certificate says.
struct Fields {
    names: Vec<String>,
    subject: String,
    not_after: i64,
}

impl Fields {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Wrong> {
        let bad = |error: &dyn std::fmt::Display| Wrong::BadCertificate(error.to_string());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| bad(&error))?;
        let alternative = parsed.subject_alternative_name().map_err(|error| bad(&error))?;
        let mut names: Vec<String> = alternative
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                GeneralName::IPAddress(octets) => address(octets),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            names.extend(common.map(str::to_ascii_lowercase));
        }
        Ok(Self { names, subject: one_line(parsed.subject()), not_after: parsed.validity().not_after.timestamp() })
    }
}

fn address(octets: &[u8]) -> Option<String> {
    let address = match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        _ => return None,
    };
    Some(address.to_string())
}

/// A name as OpenSSL writes it in one line: `/C=DE/O=x/CN=y`.
pub(super) fn one_line(name: &X509Name<'_>) -> String {
    let mut line = String::new();
    for attribute in name.iter_attributes() {
        line.push('/');
        line += &short_name(attribute.attr_type());
        line.push('=');
        line += attribute.as_str().unwrap_or_default();
    }
    line
}

/// OpenSSL's short name of an attribute, or its number.
pub(super) fn short_name(oid: &x509_parser::der_parser::oid::Oid<'_>) -> String {
    let short = match oid.to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "1.2.840.113549.1.9.1" => "emailAddress",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        other => return other.to_owned(),
    };
    short.to_owned()
}

/// All certificates of a PEM text.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| Wrong::NotPem(error.to_string()))
}

/// Those who may sign, from a PEM text.
pub fn authorities(path: &Path, text: &[u8]) -> Result<RootCertStore, BadFile> {
    let mut roots = RootCertStore::empty();
    let all = certificates(text).map_err(|wrong| wrong.of(path))?;
    if all.is_empty() {
        return Err(Wrong::NoCertificate.of(path));
    }
    for certificate in all {
        roots.add(certificate).map_err(|error| Wrong::BadCertificate(error.to_string()).of(path))?;
    }
    Ok(roots)
}
