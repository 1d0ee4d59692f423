//! What a client's pool is told of it before a member is picked: no more than that pool asks for.

use lb_core::balance::{Asks, FlowKey, HashRule};
use lb_core::request::Parts;
use lb_core::snapshot::PoolIndex;

use crate::listener::Downstream;

impl Downstream {
    /// Of a request that goes to this pool.
    pub fn flow_of_request(&self, pool: Option<PoolIndex>, parts: &impl Parts) -> FlowKey {
        self.asks_of(pool).of_request(self.peer, parts, || self.worker.draws.next())
    }

    /// Of a connection whose bytes are relayed to this pool; `hash` is what [`Self::first_bytes_rule`] made of the first ones.
    pub fn flow_of_connection(&self, pool: Option<PoolIndex>, hash: Option<u32>) -> FlowKey {
        self.asks_of(pool).of_connection(self.peer, hash, || self.worker.draws.next())
    }

    /// The rule by which the first bytes of a connection to this pool are to be looked at, if they are.
    pub fn first_bytes_rule(&self, pool: Option<PoolIndex>) -> Option<&HashRule> {
        match self.asks_of(pool) {
            Asks::FirstBytes(rule) => Some(rule),
            Asks::Nothing | Asks::Draw | Asks::Request(_) => None,
        }
    }

    fn asks_of(&self, pool: Option<PoolIndex>) -> &Asks {
        pool.map_or(&Asks::Nothing, |pool| &self.view.pool(pool).asks)
    }
}
