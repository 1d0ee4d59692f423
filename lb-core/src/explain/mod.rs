//! What would become of a request, and why, without anything becoming of it: no turn is taken, no entry is used, no slot and no
//! token is taken.
//!
//! Every answer is made by the code that serves requests, run so that it only looks: [`crate::balance::foresee`] beside
//! [`crate::balance::place`], [`crate::persistence::look_up_telling`] with [`Touch::Peek`], [`Clients::outlook`] beside
//! [`Clients::enter`]. What is added here are reasons: why whoever is not chosen was left out ([`standing`]).
//!
//! [`Clients::outlook`]: crate::limits::clients::Clients::outlook
//! [`Clients::enter`]: crate::limits::clients::Clients::enter

mod door;
mod route;
mod standing;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use door::{Door, door};
pub use route::{Route, Says, route};
pub use standing::{Standing, standing};

use crate::balance::{Asks, FlowKey, Home, MemberIndex, Pick, Tried, foresee};
use crate::persistence::{self, Found, Met, Moment, Touch};
use crate::request::Parts;
use crate::snapshot::PoolSnapshot;

/// A flow that somebody asks about.
#[derive(Debug)]
pub struct Flow<'r, P> {
    /// Who asks.
    pub client: SocketAddr,
    /// The client's port is not known; that of [`Self::client`] means nothing.
    pub any_port: bool,
    /// Its request.
    pub parts: &'r P,
    /// It is a connection that begins with these bytes, and no request.
    pub first_bytes: Option<&'r [u8]>,
    /// The number it would draw; `None`: nobody knows.
    pub draw: Option<u32>,
    /// When.
    pub moment: Moment,
}

/// What cannot be known before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The pool draws.
    Draw,
    /// The pool looks at the client's port.
    Port,
}

/// Where a flow would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// There.
    To(MemberIndex),
    /// To one of those that are ready: which one depends on something that nobody knows.
    OneOf(Unknown),
    /// It would wait, for that member or for any.
    Waits(Option<MemberIndex>),
    /// It would have to wait, for that member or for any, and so many wait already as may.
    QueueFull(Option<MemberIndex>),
    /// Nobody could take it.
    Nobody,
}

/// What would become of a flow in one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whom it belongs to.
    pub found: Found,
    /// What was met when that was looked up.
    pub met: Vec<Met>,
    /// What the pool chooses by; without a hash where it asks for one, the flow takes its turn.
    pub key: FlowKey,
    /// Where it would go.
    pub way: Way,
    /// Who would get it, one after the other, if none of them could be reached: at most [`Tried::MAX`]. Empty unless `way` is
    /// [`Way::To`].
    pub order: Vec<MemberIndex>,
    /// How each member stands, by place.
    pub standings: Vec<Standing>,
}

/// What would become of `flow` in `pool` now.
pub fn in_pool<P: Parts>(pool: &PoolSnapshot, flow: &Flow<'_, P>) -> Outcome {
    let (now, source) = (flow.moment.now, flow.client.ip());
    let mut met = Vec::new();
    let found = persistence::look_up_telling(pool, flow.parts, source, flow.moment, Touch::Peek, |m| met.push(m));
    let draw = || flow.draw.unwrap_or_default();
    let key = match flow.first_bytes {
        Some(bytes) => pool.asks.of_connection(flow.client, first_hash(pool, bytes), draw),
        None => pool.asks.of_request(flow.client, flow.parts, draw),
    };
    let standings: Vec<Standing> = standing::all(pool, now);
    let home = Home { member: found.member, first: found.member.is_some() };
    let next = |tried: &Tried, home| foresee(pool, key, now, tried, home);
    let way = match next(&Tried::default(), home) {
        Pick::Nobody => Way::Nobody,
        pick => match (unknown(pool, flow, home, &standings), pick) {
            (Some(unknown), _) => Way::OneOf(unknown),
            (None, Pick::Member(member)) => Way::To(member),
            (None, Pick::Full(whom)) if pool.limits.queue.is_full(pool.limits.max_queue) => Way::QueueFull(whom),
            (None, Pick::Full(whom)) => Way::Waits(whom),
            (None, Pick::Nobody) => Way::Nobody,
        },
    };
    let mut order = Vec::new();
    if let Way::To(first) = way {
        let (mut tried, mut member) = (Tried::default(), first);
        while !order.contains(&member) && order.len() < Tried::MAX {
            order.push(member);
            tried.note(member);
            match next(&tried, Home { first: false, ..home }) {
                Pick::Member(next) => member = next,
                Pick::Full(_) | Pick::Nobody => break,
            }
        }
    }
    Outcome { found, met, key, way, order, standings }
}

fn first_hash(pool: &PoolSnapshot, bytes: &[u8]) -> Option<u32> {
    match &pool.asks {
        // What is incomplete at its end never comes.
        Asks::FirstBytes(rule) => rule.of_first_bytes(bytes).ok().flatten(),
        Asks::Nothing | Asks::Draw | Asks::Request(_) => None,
    }
}

/// What decides and is not known, if there is a choice at all.
fn unknown<P>(pool: &PoolSnapshot, flow: &Flow<'_, P>, home: Home, standings: &[Standing]) -> Option<Unknown> {
    let hangs = |member: MemberIndex| pool.member(member).state.fault.hangs();
    if home.member.is_some_and(|home| !hangs(home)) {
        return None;
    }
    let unknown = match pool.asks {
        Asks::Draw if flow.draw.is_none() => Unknown::Draw,
        _ if flow.any_port && (pool.ordinary.asks_port() || pool.backups.asks_port()) => Unknown::Port,
        _ => return None,
    };
    // Whoever chooses by a port keeps to its choice, be it full or not.
    let can = |standing: &&Standing| match unknown {
        Unknown::Draw => **standing == Standing::Ready,
        Unknown::Port => matches!(standing, Standing::Ready | Standing::Full | Standing::WaitedFor),
    };
    let best = standings.iter().filter(can).count();
    let failed = standings.iter().filter(|standing| matches!(standing, Standing::Avoided | Standing::Hangs)).count();
    (if best > 0 { best } else { failed } > 1).then_some(unknown)
}
