//! What a pool wants to know of a flow before somebody is picked, so that nothing is looked at in vain.

use std::sync::Arc;

use super::HashRule;
use crate::config::{HashKey, Hashing, LbAlgorithm, Pool};

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
}
