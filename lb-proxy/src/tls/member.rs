//! A pool's side of TLS: how its members are spoken to.

use std::hash::{DefaultHasher, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use lb_core::config::tls::{AlpnProtocol, MemberName, PoolTls};
use lb_health::tls::{Tls, Unverified, system_authorities};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::{BadFile, Certificate, Wrong, authorities};
use super::channel::Failure;
use super::files::Files;
use super::revocation::{self, RevocationList};
use super::server::{provider, versions};

/// Sessions with members that can be resumed, for each pool.
const SESSIONS_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct MemberTls {
    config: Arc<ClientConfig>,
    name: Name,
    /// The certificate that is shown, if one is.
    pub certificate: Option<Certificate>,
    /// What members' certificates are looked up in.
    pub revocations: Vec<RevocationList>,
    offers_h2: bool,
    offers_http1: bool,
    /// Stands for what was read of authorities and revocations.
    trust: u64,
    /// Judges what members show; `None`: nobody does.
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

#[derive(Debug)]
enum Name {
    Address,
    Client,
    Fixed(ServerName<'static>),
}

/// Why a pool's TLS cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum MemberTlsError {
    /// A file is no good.
    #[error(transparent)]
    File(#[from] BadFile),
    /// There are no authorities on this system.
    #[error(transparent)]
    Authorities(#[from] lb_health::ProberError),
    /// The library refuses it.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
    /// The name is none.
    #[error("{0} is no name a member can be asked for")]
    Name(String),
}

impl MemberTls {
    /// Reads the files and compiles. `shareable`: a connection may carry requests of several clients.
    pub fn compile(tls: &PoolTls, files: &Files, shareable: bool) -> Result<Self, MemberTlsError> {
        let provider = Arc::new(provider(&tls.cipher_suites));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions(tls.versions))?;
        let mut trust = DefaultHasher::new();
        let (mut judge, mut lists) = (None, Vec::new());
        let builder = if tls.verify {
            let roots = match &tls.ca {
                Some(path) => {
                    let text = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
                    let roots = authorities(path, &text)?;
                    trust.write(&text);
                    roots
                }
                None => system_authorities()?,
            };
            let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            if let Some(path) = &tls.crl {
                let text = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
                let (all, known) = revocation::lists(path, &text)?;
                verifier = verifier.with_crls(all).enforce_revocation_expiration();
                trust.write(&text);
                lists = known;
            }
            let built = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
            judge = Some(Arc::clone(&built));
            builder.with_webpki_verifier(built)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(Arc::clone(&provider))))
        };
        let certificate = match &tls.certificate {
            Some(path) => {
                let bundle = files.read(path).map_err(|error| Wrong::from(error).of(path))?;
                Some(Certificate::parse(path, &bundle, &provider)?)
            }
            None => None,
        };
        let mut config = match &certificate {
            Some(shown) => builder
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&shown.key)))),
            None => builder.with_no_client_auth(),
        };
        let offered = tls.alpn_protocols.iter().filter(|protocol| shareable || **protocol != AlpnProtocol::H2);
        config.alpn_protocols = offered.map(|protocol| protocol.wire().into()).collect();
        let offers_h2 = shareable && tls.alpn_protocols.contains(&AlpnProtocol::H2);
        let offers_http1 = tls.alpn_protocols.iter().any(|protocol| *protocol != AlpnProtocol::H2);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let name = match &tls.name {
            MemberName::Address => Name::Address,
            MemberName::Client => Name::Client,
            MemberName::Fixed(name) => {
                Name::Fixed(ServerName::try_from(name.clone()).map_err(|_| MemberTlsError::Name(name.clone()))?)
            }
        };
        let (config, trust) = (Arc::new(config), trust.finish());
        Ok(Self { config, name, certificate, revocations: lists, offers_h2, offers_http1, trust, verifier: judge })
    }

    /// True if nobody could tell a connection made with `other` from one made with this, as far as is known.
    pub fn shows_the_same(&self, other: &Self) -> bool {
        let shown = |tls: &Self| tls.certificate.as_ref().map(|c| c.key.cert.clone());
        self.trust == other.trust && self.offers_h2 == other.offers_h2 && shown(self) == shown(other)
    }

    /// True if members may choose HTTP/1.1.
    pub fn offers_http1(&self) -> bool {
        self.offers_http1
    }

    /// True if members may choose HTTP/2.
    pub fn offers_h2(&self) -> bool {
        self.offers_h2
    }

    /// True if connections depend on what name the client asked for.
    pub fn depends_on_client(&self) -> bool {
        matches!(self.name, Name::Client)
    }

    /// How a monitor that asks for `domain_name`, if it does, speaks to members. Shows and verifies what traffic does, but
    /// for the name where that is the client's: there is none. As in HAProxy, any name will do then.
    pub fn probe(&self, domain_name: Option<&str>) -> Tls {
        let mut config = (*self.config).clone();
        // A resumed session would show no certificate, and a monitor speaks no HTTP/2.
        config.resumption = Resumption::disabled();
        config.alpn_protocols.clear();
        let name = match (&self.name, domain_name) {
            (Name::Fixed(name), _) => Some(name.clone()),
            (Name::Client, Some(asked)) => ServerName::try_from(asked.to_owned()).ok(),
            (Name::Client, None) | (Name::Address, _) => None,
        };
        if let (Name::Client, None, Some(verifier)) = (&self.name, &name, &self.verifier) {
            config.dangerous().set_certificate_verifier(Arc::new(AnyName(Arc::clone(verifier))));
        }
        Tls::with(Arc::new(config), name)
    }

    /// A connection to the member at `address`, before its handshake, on behalf of a client that asked for `asked`. `alone`:
    /// HTTP/2 is not offered.
    pub fn connection(
        &self,
        address: IpAddr,
        asked: Option<&str>,
        alone: bool,
    ) -> Result<UnbufferedClientConnection, rustls::Error> {
        let by_address = || ServerName::IpAddress(address.to_canonical().into());
        let name = match (&self.name, asked) {
            (Name::Fixed(name), _) => name.clone(),
            (Name::Client, Some(asked)) => ServerName::try_from(asked.to_owned()).unwrap_or_else(|_| by_address()),
            (Name::Client, None) | (Name::Address, _) => by_address(),
        };
        let mut protocols = self.config.alpn_protocols.clone();
        protocols.retain(|protocol| !alone || protocol.as_slice() != AlpnProtocol::H2.wire().as_bytes());
        UnbufferedClientConnection::new_with_alpn(Arc::clone(&self.config), name, protocols)
    }
}

/// Takes a certificate that is good for whatever name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last: all else was found good.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// A failed handshake with a member, in words.
pub fn why(failure: &Failure) -> &'static str {
    let error = match failure {
        Failure::Closed | Failure::Io(_) => return "TLS: the member closed during the handshake",
        Failure::Tls(error) => error,
    };
    match error {
        Error::InvalidMessage(_) => "TLS: the member does not speak TLS",
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "TLS: the member's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "TLS: the member's certificate is not valid yet"
            }
            CertificateError::Revoked => "TLS: the member's certificate is revoked",
            CertificateError::UnknownIssuer => "TLS: the member's certificate is from an authority that is not trusted",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "TLS: the member's certificate is for another name"
            }
            CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
                "TLS: the revocation list for the member's certificate has expired"
            }
            CertificateError::UnknownRevocationStatus => {
                "TLS: no revocation list speaks for the authority of the member's certificate"
            }
            _ => "TLS: the member's certificate is not good",
        },
        Error::PeerIncompatible(_) => "TLS: no version, suite or group in common with the member",
        Error::NoApplicationProtocol => "TLS: no application protocol in common with the member",
        Error::AlertReceived(AlertDescription::CertificateRequired) => "TLS: the member wants a certificate",
        Error::AlertReceived(AlertDescription::HandshakeFailure) => "TLS: the member refused the handshake",
        Error::AlertReceived(AlertDescription::UnrecognisedName) => "TLS: the member does not know the name",
        Error::AlertReceived(_) => "TLS: the member gave up the handshake",
        _ => "TLS: the member broke the rules of the handshake",
    }
}
