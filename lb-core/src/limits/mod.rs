//! Which clients may do what, with time as an argument: [`cidr`] says which addresses belong to a list of networks, [`rate`] is a
//! token bucket in one word, [`clients`] a bounded table of clients that all workers share, [`rules`] what a listener compiled its
//! limits to. And how much a member works on at once, and who waits for it: slots, and one fair queue for each pool.
//!
//! While nobody waits, a slot is taken and given back by one atomic word of the member ([`Slots`]). Who finds no
//! member with room joins the pool's [`Queue`], which marks the members it would take a slot of. A marked member lets
//! no newcomer in, and whoever leaves it hands its slot to the one who has waited longest among those it suits. Mark,
//! limit and number of slots taken are one word, so nobody comes in unseen and no slot is given back unnoticed.

pub mod cidr;
#[cfg(test)]
mod client_tests;
pub mod clients;
mod line;
#[cfg(all(test, feature = "loom"))]
mod model;
mod queue;
pub mod rate;
pub mod rules;
mod shard;
mod slots;
mod sync;
#[cfg(all(test, not(feature = "loom")))]
mod tests;

pub use line::Place;
pub use queue::{Asking, Outcome, Queue, QueueFull, Slot, Wait};
pub use slots::Slots;

use std::sync::Arc;

/// What a pool lets wait, and where.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Its members may have limits: they are to be asked for room. False: nothing of all this is on the walk.
    pub limited: bool,
    /// Who waits; kept across documents.
    pub queue: Arc<Queue>,
    /// Most that may wait; `None`: no limit.
    pub max_queue: Option<u32>,
    /// How long one may wait, in milliseconds, 0: for ever; `None`: as long as connecting may take.
    pub timeout_ms: Option<u64>,
}
