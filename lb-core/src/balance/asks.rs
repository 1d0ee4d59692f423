//! What a pool wants to know of a flow before somebody is picked, so that nothing is looked at in vain.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{FlowKey, HashRule};
use crate::config::{HashKey, Hashing, LbAlgorithm, Pool};
use crate::request::Parts;

/// See the module.
#[derive(Clone, Debug)]
pub enum Asks {
    /// Nothing but who the client is.
    Nothing,
    /// A random number.
    Draw,
    /// The key of the request ([`HashRule::of_request`]).
    Request(Arc<HashRule>),
    /// The key in the first bytes of the connection ([`HashRule::of_first_bytes`]).
    FirstBytes(Arc<HashRule>),
}

impl Asks {
    /// `choices`: most members that there are to choose from. Of one nothing needs to be known.
    pub(crate) fn compile(pool: &Pool, choices: usize) -> Self {
        if choices < 2 {
            return Self::Nothing;
        }
        if pool.lb_algorithm == LbAlgorithm::Random {
            return Self::Draw;
        }
        let hashing = pool.hash.clone().or_else(|| Hashing::of(pool.lb_algorithm));
        let rule = hashing.as_ref().and_then(|hashing| Some((hashing, Arc::new(HashRule::compile(hashing)?))));
        match rule {
            None => Self::Nothing,
            Some((Hashing { key: HashKey::RdpCookie { .. }, .. }, rule)) => Self::FirstBytes(rule),
            Some((_, rule)) => Self::Request(rule),
        }
    }

    /// What the pool is told of a request of `client`. `draw` gives a random number; it is called only for pools that draw.
    #[inline]
    pub fn of_request(&self, client: SocketAddr, parts: &impl Parts, draw: impl FnOnce() -> u32) -> FlowKey {
        let plain = FlowKey::of(client);
        match self {
            Self::Nothing | Self::FirstBytes(_) => plain,
            Self::Draw => FlowKey { draw: draw(), ..plain },
            Self::Request(rule) => FlowKey { hash: rule.of_request(parts), ..plain },
        }
    }

    /// The same of a connection that is relayed; `hash` is what the rule for first bytes made of them.
    #[inline]
    pub fn of_connection(&self, client: SocketAddr, hash: Option<u32>, draw: impl FnOnce() -> u32) -> FlowKey {
        let plain = FlowKey::of(client);
        match self {
            Self::Nothing | Self::Request(_) => plain,
            Self::Draw => FlowKey { draw: draw(), ..plain },
            Self::FirstBytes(_) => FlowKey { hash, ..plain },
        }
    }
}
