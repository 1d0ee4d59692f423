//! TLS of all listeners and pools of one document, in the snapshot's order. What did not change is taken over, so that
//! sessions stay resumable and kept connections stay good.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lb_core::config::tls::{ListenerTls, PoolTls};
use lb_core::config::{Listener, LoadBalancer, Pool};
use lb_core::id::{ListenerId, PoolId};

use super::certificate::Certificate;
use super::files::Files;
use super::member::{MemberTls, MemberTlsError};
use super::revocation::{self, RevocationList};
use super::server::{ServerTls, ServerTlsError};

/// Why the TLS of a document cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A listener's.
    #[error("TLS of listener {0}: {1}")]
    Listener(String, ServerTlsError),
    /// A pool's.
    #[error("TLS of pool {0}: {1}")]
    Pool(String, MemberTlsError),
}

/// See the module.
#[derive(Debug, Default)]
pub struct TlsTable {
    listeners: Box<[Option<Entry<ListenerId, ListenerTls, ServerTls>>]>,
    pools: Box<[Option<Entry<PoolId, PoolTls, MemberTls>>]>,
}

/// Of one listener or pool: what its document says, and what was made of it.
#[derive(Debug)]
struct Entry<Id, Says, Made> {
    id: Id,
    says: Says,
    made: Arc<Made>,
}

/// Who shows a certificate, or looks others up in a list, by place in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// To clients.
    Listener(usize),
    /// To members.
    Pool(usize),
}

/// Makes tables, one after the other.
#[derive(Debug, Default)]
pub struct Compiler {
    /// Where keys and certificates come from.
    pub files: Files,
}

impl TlsTable {
    /// Of the listener at `position`.
    pub fn listener(&self, position: usize) -> Option<&Arc<ServerTls>> {
        self.listeners.get(position)?.as_ref().map(|entry| &entry.made)
    }

    /// Of the pool at `position`.
    pub fn pool(&self, position: usize) -> Option<&Arc<MemberTls>> {
        self.pools.get(position)?.as_ref().map(|entry| &entry.made)
    }

    /// All certificates that are shown to somebody, each with the place of the listener or pool that shows it.
    pub fn certificates(&self) -> impl Iterator<Item = (Shows, &Certificate)> {
        let listeners = self.listeners.iter().enumerate().filter_map(|(place, tls)| Some((place, tls.as_ref()?)));
        let of_listeners = listeners
            .flat_map(|(place, tls)| tls.made.certificates.iter().map(move |shown| (Shows::Listener(place), shown)));
        let pools = self.pools.iter().enumerate().filter_map(|(place, tls)| Some((place, tls.as_ref()?)));
        let of_pools = pools.filter_map(|(place, tls)| Some((Shows::Pool(place), tls.made.certificate.as_ref()?)));
        of_listeners.chain(of_pools)
    }

    /// All revocation lists that somebody is looked up in, each with the place of the listener or pool that does.
    pub fn revocations(&self) -> impl Iterator<Item = (Shows, &RevocationList)> {
        let listeners = self.listeners.iter().enumerate().filter_map(|(place, tls)| Some((place, tls.as_ref()?)));
        let of_listeners = listeners
            .flat_map(|(place, tls)| tls.made.revocations.iter().map(move |list| (Shows::Listener(place), list)));
        let pools = self.pools.iter().enumerate().filter_map(|(place, tls)| Some((place, tls.as_ref()?)));
        let of_pools =
            pools.flat_map(|(place, tls)| tls.made.revocations.iter().map(move |list| (Shows::Pool(place), list)));
        of_listeners.chain(of_pools)
    }
}

impl Compiler {
    /// Compiles what `config` says of TLS, reading its files anew. `in_force` is what is served until now: nothing of it
    /// changes here.
    ///
    /// A certificate or a revocation list that has expired is refused in place of one that is served; at the very start it is served, because
    /// nothing would be otherwise.
    pub fn compile(&self, config: &LoadBalancer, in_force: &TlsTable) -> Result<TlsTable, TlsError> {
        let listeners: Result<_, _> =
            config.listeners.iter().map(|listener| self.listener(listener, in_force)).collect();
        let pools: Result<_, _> = config.pools.iter().map(|pool| self.pool(pool, in_force)).collect();
        Ok(TlsTable { listeners: listeners?, pools: pools? })
    }

    fn listener(
        &self,
        listener: &Listener,
        in_force: &TlsTable,
    ) -> Result<Option<Entry<ListenerId, ListenerTls, ServerTls>>, TlsError> {
        let Some(says) = &listener.tls else { return Ok(None) };
        let before = in_force.listeners.iter().flatten().find(|entry| entry.id == listener.id);
        let failed = |error| TlsError::Listener(listener.label(), error);
        let known = before.map(|known| &*known.made);
        let made = match (ServerTls::compile(says, &self.files, known), before) {
            (Ok(compiled), Some(known)) => {
                let is_shown = |c: &&Certificate| known.made.certificates.iter().any(|k| k.key.cert == c.key.cert);
                for fresh in compiled.certificates.iter().filter(|c| !is_shown(c)) {
                    fresh.still_good(now()).map_err(|bad| failed(bad.into()))?;
                }
                revocation::still_good(&compiled.revocations, &known.made.revocations, now())
                    .map_err(|bad| failed(bad.into()))?;
                Arc::new(compiled)
            }
            (Ok(compiled), None) => Arc::new(compiled),
            // What may not be read any more, now that root is given up, is still known.
            (Err(ServerTlsError::File(bad)), Some(known)) if bad.is_forbidden() && known.says == *says => {
                Arc::clone(&known.made)
            }
            (Err(error), _) => return Err(failed(error)),
        };
        Ok(Some(Entry { id: listener.id, says: says.clone(), made }))
    }

    fn pool(&self, pool: &Pool, in_force: &TlsTable) -> Result<Option<Entry<PoolId, PoolTls, MemberTls>>, TlsError> {
        let Some(says) = &pool.tls else { return Ok(None) };
        let known = in_force.pools.iter().flatten().find(|entry| entry.id == pool.id);
        let before = known.filter(|entry| entry.says == *says);
        let failed = |error| TlsError::Pool(pool.label(), error);
        // What a connection says in a PROXY header holds for one client.
        let shareable = pool.protocol.proxy_version().is_none();
        let made = match (MemberTls::compile(says, &self.files, shareable), before) {
            (Ok(compiled), Some(known)) if compiled.shows_the_same(&known.made) => Arc::clone(&known.made),
            (Ok(compiled), _) => Arc::new(compiled),
            (Err(MemberTlsError::File(bad)), Some(known)) if bad.is_forbidden() => Arc::clone(&known.made),
            (Err(error), _) => return Err(failed(error)),
        };
        if let Some(known) = known {
            revocation::still_good(&made.revocations, &known.made.revocations, now())
                .map_err(|bad| failed(bad.into()))?;
        }
        Ok(Some(Entry { id: pool.id, says: says.clone(), made }))
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "certificates end at a moment of the calendar")]
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
