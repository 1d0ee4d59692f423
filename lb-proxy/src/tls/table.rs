//! TLS of all listeners and pools of one document, in the snapshot's order. What did not change is taken over, so that
//! sessions stay resumable and kept connections stay good.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lb_core::config::tls::{ListenerTls, PoolTls};
use lb_core::config::{LoadBalancer, Pool};
use lb_core::id::{ListenerId, PoolId};
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;

use super::certificate::{BadFile, Certificate};
use super::files::Files;
use super::member::{MemberTls, MemberTlsError};
use super::server::ServerTls;

/// Why the TLS of a document cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A listener's.
    #[error("TLS of listener {0}: {1}")]
    Listener(String, BadFile),
    /// A pool's.
    #[error("TLS of pool {0}: {1}")]
    Pool(String, MemberTlsError),
    /// There are no random numbers for keys.
    #[error("cannot make keys for session tickets: {0}")]
    Tickets(rustls::Error),
}

/// See the module.
#[derive(Debug, Default)]
pub struct TlsTable {
    listeners: Box<[Option<Arc<ServerTls>>]>,
    pools: Box<[Option<Arc<MemberTls>>]>,
}

/// Makes tables, one after the other.
#[derive(Debug, Default)]
pub struct Compiler {
    /// Where keys and certificates come from.
    pub files: Files,
    /// Seals sessions, once there is a listener with TLS.
    tickets: Option<Arc<dyn ProducesTickets>>,
    listeners: Vec<(ListenerId, ListenerTls, Arc<ServerTls>)>,
    pools: Vec<(PoolId, PoolTls, Arc<MemberTls>)>,
}

impl TlsTable {
    /// Of the listener at `position`.
    pub fn listener(&self, position: usize) -> Option<&Arc<ServerTls>> {
        self.listeners.get(position)?.as_ref()
    }

    /// Of the pool at `position`.
    pub fn pool(&self, position: usize) -> Option<&Arc<MemberTls>> {
        self.pools.get(position)?.as_ref()
    }

    /// All certificates that are shown to somebody.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        let shown = self.listeners.iter().flatten().flat_map(|tls| &tls.certificates);
        shown.chain(self.pools.iter().flatten().filter_map(|tls| tls.certificate.as_ref()))
    }
}

impl Compiler {
    /// Compiles what `config` says of TLS, reading its files anew. When that fails nothing has changed.
    ///
    /// A certificate that has expired is refused in place of one that is served; at the very start it is served, because
    /// nothing would be otherwise.
    pub fn compile(&mut self, config: &LoadBalancer) -> Result<TlsTable, TlsError> {
        let tls_listeners = config.listeners.iter().filter_map(|listener| Some((listener, listener.tls.as_ref()?)));
        let mut listeners = Vec::new();
        for (listener, tls) in tls_listeners {
            let tickets = match &self.tickets {
                Some(tickets) => Arc::clone(tickets),
                None => {
                    let made = aws_lc_rs::Ticketer::new().map_err(TlsError::Tickets)?;
                    Arc::clone(self.tickets.insert(made))
                }
            };
            let before = self.listeners.iter().find(|(id, ..)| *id == listener.id);
            let failed = |bad| TlsError::Listener(listener.label(), bad);
            let compiled = match (ServerTls::compile(tls, &self.files, &tickets), before) {
                (Ok(compiled), Some((_, _, known))) => {
                    let known_paths = |c: &&Certificate| known.certificates.iter().any(|k| k.key.cert == c.key.cert);
                    for fresh in compiled.certificates.iter().filter(|c| !known_paths(c)) {
                        fresh.still_good(now()).map_err(failed)?;
                    }
                    Arc::new(compiled)
                }
                (Ok(compiled), None) => Arc::new(compiled),
                // What may not be read any more, now that root is given up, is still known.
                (Err(bad), Some((_, words, known))) if bad.is_forbidden() && words == tls => Arc::clone(known),
                (Err(bad), _) => return Err(failed(bad)),
            };
            listeners.push((listener.id, tls.clone(), compiled));
        }
        let mut pools = Vec::new();
        for (pool, tls) in config.pools.iter().filter_map(|pool| Some((pool, pool.tls.as_ref()?))) {
            pools.push((pool.id, tls.clone(), self.pool(pool, tls)?));
        }
        self.listeners = listeners;
        self.pools = pools;
        let of_listener = |id| self.listeners.iter().find(|(known, ..)| *known == id).map(|(.., tls)| Arc::clone(tls));
        let of_pool = |id| self.pools.iter().find(|(known, ..)| *known == id).map(|(.., tls)| Arc::clone(tls));
        Ok(TlsTable {
            listeners: config.listeners.iter().map(|listener| of_listener(listener.id)).collect(),
            pools: config.pools.iter().map(|pool| of_pool(pool.id)).collect(),
        })
    }

    fn pool(&self, pool: &Pool, tls: &PoolTls) -> Result<Arc<MemberTls>, TlsError> {
        let before = self.pools.iter().find(|(id, words, _)| *id == pool.id && words == tls);
        // What a connection says in a PROXY header holds for one client.
        let shareable = pool.protocol.proxy_version().is_none();
        match (MemberTls::compile(tls, &self.files, shareable), before) {
            (Ok(compiled), Some((.., known))) if compiled.shows_the_same(known) => Ok(Arc::clone(known)),
            (Ok(compiled), _) => Ok(Arc::new(compiled)),
            (Err(MemberTlsError::File(bad)), Some((.., known))) if bad.is_forbidden() => Ok(Arc::clone(known)),
            (Err(error), _) => Err(TlsError::Pool(pool.label(), error)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates end at a moment of the calendar")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
