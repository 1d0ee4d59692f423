//! A listener's side of TLS, compiled from its words and its files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use lb_core::config::tls::{CipherSuite, ClientAuthentication, ListenerTls, TlsVersions};
use rustls::crypto::{CryptoProvider, aws_lc_rs as library};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::certificate::{BadFile, Certificate, Wrong, authorities};
use super::files::Files;
use super::names::Names;
use super::revocation::{self, RevocationList};

/// See the module.
#[derive(Debug)]
pub struct ServerTls {
    /// The library's.
    pub config: Arc<ServerConfig>,
    /// What is shown, the default first.
    pub certificates: Vec<Certificate>,
    /// Milliseconds for a whole handshake.
    pub handshake_timeout_ms: u64,
    /// What clients' certificates are looked up in.
    pub revocations: Vec<RevocationList>,
    /// Judges what clients show, if they are asked.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    tickets: Tickets,
}

/// What seals a listener's sessions, for all workers alike. Whoever brings a ticket shows no certificate again. So no
/// listener opens another's tickets, nor its own of before who it trusts changed: a client could slip past.
#[derive(Debug)]
struct Tickets {
    seals: Arc<dyn ProducesTickets>,
    /// Who was asked for a certificate, by whom it had to be signed, and what was revoked.
    trust: Trust,
}

/// Stands for a listener's words and files about clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trust {
    asked: ClientAuthentication,
    /// SHA-256 of the authorities and of the revocation lists.
    files: [Option<Vec<u8>>; 2],
}

impl Trust {
    fn new(asked: ClientAuthentication) -> Self {
        Self { asked, files: [None, None] }
    }

    fn note(&mut self, place: usize, text: &[u8]) {
        self.files[place] = Some(digest::digest(&digest::SHA256, text).as_ref().to_vec());
    }
}

/// Why a listener's TLS cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file is no good.
    #[error(transparent)]
    File(#[from] BadFile),
    /// There are no random numbers for keys.
    #[error("cannot make keys for session tickets: {0}")]
    Tickets(rustls::Error),
}

/// Primitives for what is spoken: all suites, or those of `suites` in their order.
pub(super) fn provider(suites: &[CipherSuite]) -> CryptoProvider {
    let mut provider = library::default_provider();
    if !suites.is_empty() {
        let number = |suite: &CipherSuite| suite.iana().1;
        let known = std::mem::take(&mut provider.cipher_suites);
        provider.cipher_suites = suites
            .iter()
            .filter_map(|suite| known.iter().find(|k| u16::from(k.suite()) == number(suite)).copied())
            .collect();
    }
    provider
}

pub(super) fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let both = [(versions.v1_3, &version::TLS13), (versions.v1_2, &version::TLS12)];
    both.into_iter().filter(|(spoken, _)| *spoken).map(|(_, version)| version).collect()
}

impl ServerTls {
    /// Reads the files and compiles. Sessions of `before`, the same listener until now, stay resumable if clients are
    /// trusted alike.
    pub fn compile(tls: &ListenerTls, files: &Files, before: Option<&Self>) -> Result<Self, ServerTlsError> {
        let provider = Arc::new(provider(&tls.cipher_suites));
        let refused = |path: &Path, error: &dyn std::fmt::Display| Wrong::Refused(error.to_string()).of(path);
        let mut default = load(&tls.default_certificate, files, &provider)?;
        if let Some(path) = &tls.ocsp_response {
            let answer = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
            let mut key = (*default.key).clone();
            key.ocsp = Some(answer);
            default.key = Arc::new(key);
        }
        let mut others = Vec::new();
        for path in &tls.sni_certificates {
            for file in files.bundles(path).map_err(|error| Wrong::from(error).of(path))? {
                others.push(load(&file, files, &provider)?);
            }
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(tls.versions))
            .map_err(|error| refused(&tls.default_certificate, &error))?;
        let mut trust = Trust::new(tls.client_authentication);
        let mut lists = Vec::new();
        let judge = match (tls.client_authentication, &tls.client_ca) {
            (ClientAuthentication::None, _) | (_, None) => None,
            (wanted, Some(path)) => {
                let text = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
                let roots = authorities(path, &text)?;
                trust.note(0, &text);
                let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                if let Some(path) = &tls.client_crl {
                    let text = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
                    let (all, known) = revocation::lists(path, &text)?;
                    verifier = verifier.with_crls(all).enforce_revocation_expiration();
                    trust.note(1, &text);
                    lists = known;
                }
                if wanted == ClientAuthentication::Optional {
                    verifier = verifier.allow_unauthenticated();
                }
                Some(verifier.build().map_err(|error| match (&error, &tls.client_crl) {
                    (VerifierBuilderError::InvalidCrl(_), Some(list)) => refused(list, &error),
                    _ => refused(path, &error),
                })?)
            }
        };
        let builder = match &judge {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let names = Names::new(&default, &others, tls.strict_sni);
        let mut config = builder.with_cert_resolver(Arc::new(names));
        config.alpn_protocols = tls.alpn_protocols.iter().map(|protocol| protocol.wire().into()).collect();
        let seals = match before.map(|before| &before.tickets) {
            Some(known) if known.trust == trust => Arc::clone(&known.seals),
            _ => library::Ticketer::new().map_err(ServerTlsError::Tickets)?,
        };
        config.ticketer = Arc::clone(&seals);
        // Tickets make every session resumable on every worker; a table of sessions would make some so on one.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // As HAProxy by default: the server's order counts.
        config.ignore_client_order = true;
        let mut certificates = vec![default];
        certificates.append(&mut others);
        Ok(Self {
            config: Arc::new(config),
            certificates,
            handshake_timeout_ms: tls.handshake_timeout_ms,
            revocations: lists,
            verifier: judge,
            tickets: Tickets { seals, trust },
        })
    }

    /// Judges anew, at `now` (seconds since 1970), a certificate that was `shown` when a session began which is resumed: a
    /// revocation list may have ended since. While none has there is nothing to do.
    pub fn still_trusts(&self, shown: &[CertificateDer<'_>], now: i64) -> Result<(), rustls::Error> {
        let (Some(verifier), Some((first, others))) = (&self.verifier, shown.split_first()) else { return Ok(()) };
        if !self.revocations.iter().any(|list| list.has_ended(now)) {
            return Ok(());
        }
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
        verifier.verify_client_cert(first, others, now).map(drop)
    }
}

fn load(path: &Path, files: &Files, provider: &CryptoProvider) -> Result<Certificate, BadFile> {
    let bundle = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
    Certificate::parse(path, &bundle, provider)
}
