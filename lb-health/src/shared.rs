//! What all probers of a process have in common: the ping sockets, and one TLS configuration for each way of trusting.
//! The control thread writes it, while probers are made.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::ClientConfig;

use crate::probe::ping::Pinger;
use crate::probe::tls::config;
use crate::prober::ProberError;

/// What probers share. Nothing of it is made before a monitor needs it.
#[derive(Debug)]
pub struct Shared {
    pub(crate) pinger: Arc<Pinger>,
    tls: Mutex<Vec<(Trust, Weak<ClientConfig>)>>,
}

/// Whom a TLS probe trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Everybody: the certificate is not looked at.
    Anybody,
    /// Whom the system's authorities vouch for.
    System,
    /// Whom the authorities of this file vouch for.
    File(PathBuf),
}

impl Shared {
    /// `pinger` comes from [`Pinger::open_ahead`] if the process gave up root, else from [`Pinger::new`].
    pub fn new(pinger: Pinger) -> Self {
        Self { pinger: Arc::new(pinger), tls: Mutex::default() }
    }

    /// The configuration for `trust`: the one in use, unless it rests on a file, which may have changed since.
    pub(crate) fn tls(&self, trust: Trust) -> Result<Arc<ClientConfig>, ProberError> {
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, config)| config.strong_count() > 0);
        let found = known.iter().find(|(of, _)| *of == trust && !matches!(of, Trust::File(_)));
        if let Some(config) = found.and_then(|(_, config)| config.upgrade()) {
            return Ok(config);
        }
        let config = config::build(&trust)?;
        known.push((trust, Arc::downgrade(&config)));
        Ok(config)
    }
}
