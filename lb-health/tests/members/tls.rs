//! TLS members: garbage, silence, and certificates of every wrong kind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lb_core::config::monitor::{HttpProbe, Probe, ProxyVersion, TlsProbe};
use lb_core::health::{Bad, Good, Outcome, Step};
use lb_health::{Pinger, Prober, ProberError, Shared};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::script::{ask, ask_with, http, http_with, member, monitor, to_end};

static NEXT: AtomicU32 = AtomicU32::new(1);

/// An authority, its file, and members with certificates by it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A server with a certificate for `names`, as `change` wants it.
    fn server(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        config(certificate.der().clone(), &key)
    }

    fn trusted(&self, name: &str) -> TlsProbe {
        TlsProbe { verify: true, ca_file: Some(self.file.path().to_owned()), sni: Some(name.to_owned()) }
    }
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// A member that answers `answer` over TLS to whoever asks.
async fn serves(config: ServerConfig, answer: &'static str) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    member(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut said = [0; 4096];
            if stream.read(&mut said).await.is_ok_and(|n| n > 0) {
                // No goodbye: an end that is cut off is still the end of a body.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.flush().await;
                let _ = stream.get_mut().0.shutdown().await;
            }
        }
    })
    .await
}

async fn hello(probe: TlsProbe, address: SocketAddr) -> Outcome {
    ask_with(Probe::TlsHello(probe), address).await
}

fn refused(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(Bad::Tls(why)) => why,
        other => panic!("{other:?} is not a failure of TLS"),
    }
}

const SHAKEN: Outcome = Outcome::Passed(Good::Tls);

#[tokio::test]
async fn certificates_matter_only_if_asked() {
    let authority = Authority::new();
    let ca = |name: &str| authority.trusted(name);
    let good = serves(authority.server(&["a.test"], |_| {}), "").await;
    let expired = serves(authority.server(&["a.test"], |p| p.not_after = date_time_ymd(2001, 1, 1)), "").await;
    let future = serves(authority.server(&["a.test"], |p| p.not_before = date_time_ymd(3000, 1, 1)), "").await;
    let other = serves(Authority::new().server(&["a.test"], |_| {}), "").await;
    for address in [good, expired, future, other] {
        assert_eq!(hello(TlsProbe::default(), address).await, SHAKEN, "nothing is verified");
    }
    assert_eq!(hello(ca("a.test"), good).await, SHAKEN);
    assert_eq!(refused(&hello(ca("b.test"), good).await), "certificate is not valid for the name b.test");
    assert_eq!(refused(&hello(ca("a.test"), expired).await), "certificate expired");
    assert_eq!(refused(&hello(ca("a.test"), future).await), "certificate is not valid yet");
    assert_eq!(refused(&hello(ca("a.test"), other).await), "certificate is from an authority that is not trusted");
    let system = TlsProbe { verify: true, ca_file: None, sni: Some("a.test".to_owned()) };
    match Prober::new(&monitor(Probe::TlsHello(system.clone())), &Shared::new(Pinger::new())) {
        Ok(_) => assert!(refused(&hello(system, good).await).contains("not trusted")),
        Err(error) => assert!(matches!(error, ProberError::NoSystemAuthorities(_)), "{error}"),
    }
}

#[tokio::test]
async fn without_a_name_the_certificate_must_be_for_the_address() {
    let authority = Authority::new();
    let probe = TlsProbe { sni: None, ..authority.trusted("") };
    let good = serves(authority.server(&["127.0.0.1"], |_| {}), "").await;
    assert_eq!(hello(probe.clone(), good).await, SHAKEN);
    let named = serves(authority.server(&["a.test"], |_| {}), "").await;
    assert_eq!(refused(&hello(probe, named).await), "certificate is not valid for the name 127.0.0.1");
}

#[tokio::test]
async fn a_self_signed_certificate_is_taken_unless_verified() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let address = serves(config(certificate.der().clone(), &key), "").await;
    assert_eq!(hello(TlsProbe::default(), address).await, SHAKEN);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    let trusting = TlsProbe { verify: true, ca_file: Some(file.path().to_owned()), sni: Some("a.test".to_owned()) };
    assert_eq!(hello(trusting, address).await, SHAKEN, "it is its own authority");
    let authority = Authority::new();
    assert!(refused(&hello(authority.trusted("a.test"), address).await).contains("not trusted"));
}

#[tokio::test]
async fn https_is_http_over_that() {
    let authority = Authority::new();
    let serve = |answer| serves(authority.server(&["a.test"], |_| {}), answer);
    let https = |http: HttpProbe| {
        Probe::Https(
            HttpProbe { domain_name: Some("a.test".to_owned()), ..http },
            TlsProbe { verify: true, ca_file: Some(authority.file.path().to_owned()), sni: None },
        )
    };
    let good = serve("HTTP/1.0 200 OK\r\n\r\nhello").await;
    assert_eq!(ask_with(https(http()), good).await, Outcome::Passed(Good::Status(200)));
    assert_eq!(ask_with(https(http_with("hello")), good).await, Outcome::Passed(Good::Status(200)));
    assert_eq!(ask_with(https(http_with("good")), good).await, Outcome::Failed(Bad::Body));
    let bad = serve("HTTP/1.0 503 No\r\n\r\n").await;
    assert_eq!(ask_with(https(http()), bad).await, Outcome::Failed(Bad::Status(503)));
    let cut = serve("HTTP/1.0 200 OK\r\n").await;
    assert_eq!(ask_with(https(http()), cut).await, Outcome::Failed(Bad::Closed(Step::Answer, None)));
}

#[tokio::test]
async fn what_is_not_tls_is_told_and_silence_is_waited_for() {
    let plain = member(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = to_end(&mut stream).await;
    })
    .await;
    assert_eq!(refused(&hello(TlsProbe::default(), plain).await), "not TLS");
    let silent = member(|mut stream| async move { drop(to_end(&mut stream).await) }).await;
    assert_eq!(hello(TlsProbe::default(), silent).await, Outcome::Failed(Bad::Timeout(Step::Tls)));
    let closes = member(|mut stream| async move { drop(stream.read(&mut [0; 9]).await) }).await;
    let outcome = hello(TlsProbe::default(), closes).await;
    assert!(matches!(outcome, Outcome::Failed(Bad::Closed(Step::Tls, _))), "{outcome:?}");
    // A record that is announced and never ends.
    let endless = member(|mut stream| async move {
        while stream.write_all(b"\x16\x03\x03\x3f\xff\x0b\xff\xff\xff").await.is_ok() {}
    })
    .await;
    let outcome = hello(TlsProbe::default(), endless).await;
    assert!(matches!(outcome, Outcome::Failed(Bad::Tls(_) | Bad::Malformed(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_wants_nothing_we_have_says_so() {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::MLKEM768],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let address = serves(config, "").await;
    assert_eq!(refused(&hello(TlsProbe::default(), address).await), "the member said: handshake failure");
}

#[tokio::test]
async fn the_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(&["a.test"], |_| {})));
    let address = member(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut header = [0; 16];
            stream.read_exact(&mut header).await.unwrap();
            assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
            let _ = acceptor.accept(stream).await.unwrap().read(&mut [0; 1]).await;
        }
    })
    .await;
    let mut monitor = monitor(Probe::TlsHello(TlsProbe::default()));
    monitor.send_proxy = Some(ProxyVersion::V2);
    assert_eq!(ask(&monitor, address).await, SHAKEN);
}

#[tokio::test]
async fn wrong_files_and_names_are_the_operators() {
    let new =
        |probe| Prober::new(&monitor(Probe::TlsHello(probe)), &Shared::new(Pinger::new())).unwrap_err().to_string();
    let missing = TlsProbe { verify: true, ca_file: Some(PathBuf::from("missing.pem")), sni: None };
    assert!(new(missing).starts_with("cannot read authorities from missing.pem: "));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let text = new(TlsProbe { verify: true, ca_file: Some(empty.path().to_owned()), sni: None });
    assert!(text.ends_with("it holds no certificate in PEM"), "{text}");
    let name = new(TlsProbe { verify: false, ca_file: None, sni: Some("not a name".to_owned()) });
    assert_eq!(name, "\"not a name\" is not a name a TLS server could have");
}
