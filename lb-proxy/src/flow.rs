//! What a client's pool is told of it before a member is picked: no more than that pool asks for.

use lb_core::balance::{Asks, FlowKey, HashRule};
use lb_core::request::Parts;
use lb_core::snapshot::PoolIndex;

use crate::listener::Downstream;

impl Downstream {
    /// Of a request that goes to this pool.
    pub fn flow_of_request(&self, pool: Option<PoolIndex>, parts: &impl Parts) -> FlowKey {
        let plain = FlowKey::of(self.peer);
        match self.asks_of(pool) {
            Asks::Nothing | Asks::FirstBytes(_) => plain,
            Asks::Draw => FlowKey { draw: self.worker.draws.next(), ..plain },
            Asks::Request(rule) => FlowKey { hash: rule.of_request(parts), ..plain },
        }
    }

    /// Of a connection whose bytes are relayed; `hash` is what [`Self::first_bytes_rule`] made of the first ones.
    pub fn flow_of_connection(&self, hash: Option<u32>) -> FlowKey {
        let plain = FlowKey::of(self.peer);
        match self.asks() {
            Asks::Nothing | Asks::Request(_) => plain,
            Asks::Draw => FlowKey { draw: self.worker.draws.next(), ..plain },
            Asks::FirstBytes(_) => FlowKey { hash, ..plain },
        }
    }

    /// The rule by which the first bytes of the connection are to be looked at, if they are.
    pub fn first_bytes_rule(&self) -> Option<&HashRule> {
        match self.asks() {
            Asks::FirstBytes(rule) => Some(rule),
            Asks::Nothing | Asks::Draw | Asks::Request(_) => None,
        }
    }

    fn asks(&self) -> &Asks {
        self.asks_of(self.listener.pool)
    }

    fn asks_of(&self, pool: Option<PoolIndex>) -> &Asks {
        pool.map_or(&Asks::Nothing, |pool| &self.view.pool(pool).asks)
    }
}
