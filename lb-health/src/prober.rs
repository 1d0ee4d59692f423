//! A monitor, compiled so that asking is cheap, and the one deadline over a whole question.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lb_core::config::monitor::{HealthMonitor, Probe, ProxyVersion};
use lb_core::health::{Bad, Good, Outcome, ProbeResult, Step};
use lb_core::proxy_protocol::{Ends, Written};
use tokio::time::{Instant, timeout_at};

use crate::probe::http::Http;
use crate::probe::mysql::Mysql;
use crate::probe::ping::Pinger;
use crate::probe::tls::Tls;
use crate::probe::{http, mysql, tcp, tls};
use crate::shared::Shared;
use crate::wire::{Wire, connect};

/// Who is asked, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The member's address and port, or those its document gives for monitoring. PING ignores the port.
    pub address: SocketAddr,
    /// Our own address on the connection; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// The PROXY header that a connection to it begins with when the monitor does not name one: its pool's.
    pub send_proxy: Option<ProxyVersion>,
    /// It is spoken to over TLS: what is asked in the clear otherwise goes over it, too.
    pub over_tls: bool,
}

/// Why a monitor cannot be asked with: always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The regular expression for the body.
    #[error("the regular expression does not compile: {0}")]
    Regex(#[from] regex::Error),
    /// A server name that is none.
    #[error("\"{0}\" is not a name a TLS server could have")]
    ServerName(String),
    /// The file with authorities.
    #[error("cannot read authorities from {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's authorities.
    #[error("this system has no authorities to trust: {0}")]
    NoSystemAuthorities(String),
    /// The TLS library refuses what it was given.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Asks members what one monitor says.
#[derive(Debug)]
pub struct Prober {
    question: Question,
    send_proxy: Option<ProxyVersion>,
    timeout: Duration,
    /// How a pool speaks to its members, if it does over TLS.
    over: Option<Tls>,
}

#[derive(Debug)]
enum Question {
    Ping(Arc<Pinger>),
    Tcp,
    Http(Box<Http>),
    Https(Box<Http>, Tls),
    TlsHello(Tls),
    Mysql(Mysql),
}

impl Prober {
    /// Compiles `monitor`. Reads the authorities' files if it verifies certificates.
    pub fn new(monitor: &HealthMonitor, shared: &Shared) -> Result<Self, ProberError> {
        let question = match &monitor.probe {
            Probe::Ping => Question::Ping(Arc::clone(&shared.pinger)),
            Probe::Tcp => Question::Tcp,
            Probe::Http(probe) => Question::Http(Box::new(Http::new(probe, http::PORT)?)),
            Probe::Https(probe, over) => Question::Https(
                Box::new(Http::new(probe, http::PORT_TLS)?),
                Tls::new(over, probe.domain_name.as_deref(), shared)?,
            ),
            Probe::TlsHello(probe) => Question::TlsHello(Tls::new(probe, None, shared)?),
            Probe::Mysql(probe) => Question::Mysql(Mysql::new(probe)),
        };
        Ok(Self {
            question,
            send_proxy: monitor.send_proxy,
            timeout: Duration::from_millis(monitor.timeout_ms),
            over: None,
        })
    }

    /// TCP and HTTP go over `tls` to targets that are spoken to over it: TCP becomes a handshake.
    #[must_use]
    pub fn over(self, tls: Tls) -> Self {
        Self { over: Some(tls), ..self }
    }

    /// Asks `target` once. Ends within the monitor's timeout; may be dropped at any time.
    pub async fn ask(&self, target: Target) -> ProbeResult {
        let began = Instant::now();
        let mut step = Step::Connect;
        let ended = timeout_at(began + self.timeout, self.put(&target, &mut step)).await;
        let outcome = match ended.unwrap_or(Err(Bad::Timeout(step))) {
            Ok(good) => Outcome::Passed(good),
            Err(bad) => Outcome::Failed(bad),
        };
        ProbeResult { outcome, took_us: began.elapsed().as_micros().min(u128::from(u32::MAX)) as u32 }
    }

    async fn put(&self, target: &Target, step: &mut Step) -> Result<Good, Bad> {
        let send_proxy = self.send_proxy.or(target.send_proxy);
        if let Some(tls) = self.over.as_ref().filter(|_| target.over_tls) {
            match &self.question {
                Question::Tcp => return tls::ask(tls, target, send_proxy, step).await,
                Question::Http(http) => {
                    let wire = tls::open(tls, target, send_proxy, step).await?;
                    return http::ask(http, wire, target.address, &[], step).await;
                }
                Question::Ping(_) | Question::Https(..) | Question::TlsHello(_) | Question::Mysql(_) => {}
            }
        }
        match &self.question {
            Question::Ping(pinger) => {
                *step = Step::Answer;
                pinger.ask(target).await
            }
            Question::Tcp => tcp::ask(target, send_proxy, step).await,
            Question::Http(http) => {
                let plain = connect(target, step).await?;
                let before = match send_proxy {
                    Some(version) => {
                        let ends = Ends { source: plain.local()?, destination: target.address };
                        Some(Written::local(version, ends))
                    }
                    None => None,
                };
                http::ask(http, Wire::Plain(plain), target.address, before.as_deref().unwrap_or_default(), step).await
            }
            Question::Https(http, tls) => {
                let wire = tls::open(tls, target, send_proxy, step).await?;
                http::ask(http, wire, target.address, &[], step).await
            }
            Question::TlsHello(tls) => tls::ask(tls, target, send_proxy, step).await,
            Question::Mysql(mysql) => mysql::ask(mysql, target, send_proxy, step).await,
        }
    }
}
