//! `TLS-HELLO`: a handshake, completed and closed; and the handshake that `HTTPS` begins with. Real TLS 1.2 and 1.3.

pub(crate) mod config;
pub(crate) mod verifier;
pub(crate) mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lb_core::config::monitor::{ProxyVersion, TlsProbe};
use lb_core::health::{Bad, Good, Step};
use lb_core::proxy_protocol::{Ends, Written};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::prober::{ProberError, Target};
use crate::shared::{Shared, Trust};
use crate::wire::{Wire, connect, failed};

/// A TLS probe, with its share of the configuration.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// Who is asked for (SNI) and, when verifying, must answer; `None`: the member's address, without SNI.
    name: Option<ServerName<'static>>,
}

impl Tls {
    /// Of a configuration made elsewhere. `name`: who is asked for; `None`: the member's address, without SNI.
    pub fn with(config: Arc<ClientConfig>, name: Option<ServerName<'static>>) -> Self {
        Self { config, name }
    }

    /// `domain_name` is the name if `probe` has none of its own.
    pub(crate) fn new(probe: &TlsProbe, domain_name: Option<&str>, shared: &Shared) -> Result<Self, ProberError> {
        let name = probe.sni.as_deref().or(domain_name);
        let name = name.map(|name| ServerName::try_from(name.to_owned()).map_err(|_| name.to_owned()));
        let trust = match &probe.ca_file {
            _ if !probe.verify => Trust::Anybody,
            Some(path) => Trust::File(path.clone()),
            None => Trust::System,
        };
        Ok(Self { config: shared.tls(trust)?, name: name.transpose().map_err(ProberError::ServerName)? })
    }

    fn name_for(&self, member: SocketAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::IpAddress(member.ip().into()))
    }
}

/// Connects, sends the PROXY header if one is wanted, and completes the handshake.
pub(crate) async fn open(
    tls: &Tls,
    target: &Target,
    proxy: Option<ProxyVersion>,
    step: &mut Step,
) -> Result<Wire, Bad> {
    let plain = connect(target, step).await?;
    let ends = proxy.map(|version| Ok::<_, Bad>((version, plain.local()?))).transpose()?;
    let mut wire = Wire::Plain(plain);
    if let Some((version, source)) = ends {
        let header = Written::local(version, Ends { source, destination: target.address });
        wire.send(&header, step, Step::ProxyHeader).await?;
    }
    let Wire::Plain(plain) = wire else { return Ok(wire) };
    *step = Step::Tls;
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let handshake = connector.connect(tls.name_for(target.address), plain);
    match Box::pin(handshake).await {
        Ok(stream) => Ok(Wire::Tls(Box::new(stream))),
        Err(error) => Err(failed(&error, Step::Tls)),
    }
}

/// Completes a handshake and says goodbye.
pub(crate) async fn ask(tls: &Tls, target: &Target, proxy: Option<ProxyVersion>, step: &mut Step) -> Result<Good, Bad> {
    let wire = open(tls, target, proxy, step).await?;
    if let Wire::Tls(mut stream) = wire {
        // One try: whether the goodbye gets through says nothing about the member.
        let (plain, session) = stream.get_mut();
        session.send_close_notify();
        let mut goodbye = Vec::new();
        let _ = session.write_tls(&mut goodbye as &mut dyn io::Write).map(|_| plain.try_send(&goodbye));
    }
    Ok(Good::Tls)
}
