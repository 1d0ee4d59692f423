//! The TLS library's configuration: small, and without memory of earlier sessions.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::verifier::Unverified;
use crate::prober::ProberError;
use crate::shared::Trust;

/// Makes the configuration for one way of trusting. Reads files if authorities are needed.
///
/// Sessions are never resumed: a resumed one shows no certificate, and one that has expired would go unnoticed.
pub(crate) fn build(trust: &Trust) -> Result<Arc<ClientConfig>, ProberError> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let roots = match trust {
        Trust::Anybody => None,
        Trust::System => Some(system()?),
        Trust::File(path) => Some(file(path)?),
    };
    let builder = match roots {
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider))),
        Some(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_webpki_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
        }
    };
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Elliptic curves only. A question that keeps no secret needs no post-quantum exchange, which would cost its keys and
/// a kilobyte of greeting each time.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519};
    CryptoProvider { kx_groups: vec![X25519, SECP256R1, SECP384R1], ..aws_lc_rs::default_provider() }
}

fn file(path: &Path) -> Result<RootCertStore, ProberError> {
    let refused = |reason: String| ProberError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() { Err(refused("it holds no certificate in PEM".to_owned())) } else { Ok(roots) }
}

/// The system's authorities.
pub fn system() -> Result<RootCertStore, ProberError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that cannot be read is no reason to trust none of the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(ProberError::NoSystemAuthorities(why.join("; ")));
    }
    Ok(roots)
}
