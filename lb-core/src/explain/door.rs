//! What a listener's limits say to a client that comes now.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use crate::limits::clients::Outlook;
use crate::limits::rate::Nanos;
use crate::snapshot::ListenerSnapshot;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its address is among those that may come.
    pub allowed: bool,
    /// Connections that are open.
    pub open: u32,
    /// What its own limits say; `None`: it is not held to any.
    pub client: Option<Outlook>,
}

/// What `listener` says to `client`. `seed` is that of its table of clients.
pub fn door(listener: &ListenerSnapshot, client: IpAddr, seed: u64, now: Nanos) -> Door {
    let rules = listener.limits.clients.as_deref();
    let held = rules.and_then(|rules| Some((rules, rules.key(client)?)));
    Door {
        allowed: listener.limits.allows(client),
        open: listener.admitted.load(Ordering::Relaxed),
        client: held.map(|(rules, key)| listener.clients.outlook(seed, key, rules, now)),
    }
}
