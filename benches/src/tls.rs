//! TLS for all that play, with the same certificate and groups, and the loads that speak it: whole or resumed handshakes
//! by threads of our own (`wrk` says nothing of what it resumes), HTTP/2 by `h2load`.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use crate::idle;
use crate::peak::Peak;
use crate::scenario::{KeyType, Request};

/// Key exchange of all, in OpenSSL's names. The loads offer X25519 first, so it is what all do.
pub const GROUPS: &str = "X25519:P-256";
const HOST: &str = "bench.test";

/// Where the certificate of a scenario is, with its key.
pub fn bundle(folder: &Path) -> PathBuf {
    folder.join("bundle.pem")
}

/// Makes it.
pub fn make_certificate(folder: &Path, key: KeyType) -> anyhow::Result<()> {
    let kind: &[&str] = match key {
        KeyType::Ecdsa => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        KeyType::Rsa => &["-newkey", "rsa:2048"],
    };
    let (own, other) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=bench.test",
            "-addext",
            "subjectAltName=DNS:bench.test",
        ])
        .args(kind)
        .arg("-keyout")
        .arg(&own)
        .arg("-out")
        .arg(&other)
        .output()
        .context("openssl does not start")?;
    if !output.status.success() {
        bail!("openssl made no certificate:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let both = [std::fs::read(other)?, std::fs::read(own)?].concat();
    Ok(std::fs::write(bundle(folder), both)?)
}

/// Clients that believe whoever answers.
#[derive(Clone, Debug)]
pub struct Clients(Arc<ClientConfig>);

impl Clients {
    /// That go on with their sessions, or never do.
    pub fn new(resumes: bool) -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unverified = lb_health::tls::Unverified::new(Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(unverified))
            .with_no_client_auth();
        config.resumption = if resumes { Resumption::in_memory_sessions(64) } else { Resumption::disabled() };
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands over `stream`.
    pub fn secure(&self, stream: TcpStream) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let connection = ClientConnection::new(Arc::clone(&self.0), ServerName::try_from(HOST)?)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

/// A connection and a handshake for each request, `count` at once, as many as go.
pub fn connections(
    to: SocketAddr,
    request: &Request,
    count: usize,
    time: Duration,
    resumes: bool,
) -> anyhow::Result<Peak> {
    let (began, bytes) = (Instant::now(), request.bytes());
    let until = began + time;
    let requests = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| connect_until(until, to, &bytes, resumes))).collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(count) => count,
            Err(_) => bail!("a thread of the load panicked"),
        });
        joined.sum::<anyhow::Result<u64>>()
    })?;
    Ok(Peak { requests, time: began.elapsed() })
}

/// One client of them, with sessions of its own.
fn connect_until(until: Instant, to: SocketAddr, request: &[u8], resumes: bool) -> anyhow::Result<u64> {
    let clients = Clients::new(resumes)?;
    let mut count = 0;
    while Instant::now() < until {
        let mut stream = clients.secure(idle::connect(to)?)?;
        let is_resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        if count > 0 && is_resumed != resumes {
            bail!(
                "a handshake was {} of its kind",
                if is_resumed { "resumed, against the rules" } else { "whole, against the rules" }
            );
        }
        idle::ask(&mut stream, request)?;
        count += 1;
    }
    Ok(count)
}

/// `h2load`, ten streams on each connection.
pub fn h2load(to: SocketAddr, request: &Request, count: usize, time: Duration) -> anyhow::Result<Peak> {
    let seconds = time.as_secs().max(1);
    let output = Command::new("h2load")
        .args(["--threads", "1", "--max-concurrent-streams", "10", "--clients", &count.to_string()])
        .args(["--duration", &seconds.to_string(), "--header", &format!(":authority: {HOST}")])
        .arg(format!("https://{to}{}", request.path))
        .output()
        .context("h2load does not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |line: &str, word: &str| -> Option<u64> {
        let line = text.lines().find_map(|found| found.strip_prefix(line))?;
        line.split(", ").find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    let wrote = || format!("h2load wrote:\n{text}");
    if !text.contains("Application protocol: h2") {
        bail!("HTTP/2 was not agreed on; {}", wrote());
    }
    let requests = number("requests:", "succeeded").with_context(wrote)?;
    let failed = number("requests:", "failed").with_context(wrote)?
        + number("status codes:", "4xx").with_context(wrote)?
        + number("status codes:", "5xx").with_context(wrote)?;
    if requests == 0 || failed > 0 {
        bail!("{failed} requests failed; {}", wrote());
    }
    Ok(Peak { requests, time: Duration::from_secs(seconds) })
}
