//! Where members' names lead: what an answer means, when to ask again, and which member takes which address.
//!
//! Asking is somebody else's: answers come in, waits and addresses go out. An address once found stays in use until
//! another answer has others: a name that cannot be resolved for a while takes nobody's traffic away.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::balance::mix;
use crate::config::{HostName, LoadBalancer, Member, Pool};
use crate::id::MemberId;

/// Shortest time an answer counts, in milliseconds, however short its TTL.
pub const TTL_MIN_MS: u64 = 1_000;
/// Longest, however long its TTL.
pub const TTL_MAX_MS: u64 = 3_600_000;
/// Longest time before a name that does not exist, or has no address, is asked for again, in milliseconds.
pub const NEGATIVE_TTL_MAX_MS: u64 = 30_000;
/// Before a name that could not be asked for is asked for again, in milliseconds; doubles each time ...
pub const RETRY_FIRST_MS: u64 = 1_000;
/// ... up to this.
pub const RETRY_MAX_MS: u64 = 30_000;
/// Addresses of one name that are kept; an answer with more is cut.
pub const ADDRESSES_MAX: usize = 256;
/// Names that ask at the same time would stay in step: each waits up to this part of its time less.
const JITTER_PART: u64 = 16;

/// Addresses, and for how long they may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In any order.
    pub addresses: Vec<IpAddr>,
    /// The shortest of all records that led here, in seconds.
    pub ttl_s: u32,
}

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not exist.
    #[error("NXDOMAIN")]
    NoSuchName {
        /// For how long that may be believed (its zone's SOA), in seconds.
        ttl_s: Option<u32>,
    },
    /// It exists and has neither an A nor an AAAA record.
    #[error("it has no address")]
    NoAddress {
        /// As above.
        ttl_s: Option<u32>,
    },
    /// It has addresses, and none of them is one of a host.
    #[error("none of its addresses is one of a host")]
    Unusable,
    /// Servers answered that they cannot or will not: `SERVFAIL`, `REFUSED`.
    #[error("{0}")]
    Server(Box<str>),
    /// No server answered in time, or none could be reached.
    #[error("no DNS server answers")]
    Silent,
    /// There is no server to ask.
    #[error("there is no DNS server to ask (no `nameserver` in /etc/resolv.conf, no `resolvers` in the document)")]
    NoServer,
    /// Names that lead to names, without an end.
    #[error("its aliases have no end")]
    Chain,
    /// We could not ask: no descriptor, no right. In words.
    #[error("could not ask: {0}")]
    Ours(Box<str>),
}

/// What is known of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Of the last good answer, in order; stay when a later question fails.
    pub addresses: Box<[IpAddr]>,
    /// Why the last question found nothing; `None`: it did, or there was none yet.
    pub fault: Option<Fault>,
    /// It was asked for, however that ended.
    pub heard: bool,
    failures: u32,
}

impl Known {
    /// Takes an answer. When the name is to be asked for again, in milliseconds from now; `draw` is any number, another
    /// one each time.
    pub fn hear(&mut self, answer: Result<Found, Fault>, draw: u64) -> u64 {
        self.heard = true;
        let answer = answer.and_then(|found| {
            let addresses = usable(found.addresses);
            if addresses.is_empty() { Err(Fault::Unusable) } else { Ok((addresses, found.ttl_s)) }
        });
        let wait_ms = match &answer {
            Ok((_, ttl_s)) => (u64::from(*ttl_s) * 1000).clamp(TTL_MIN_MS, TTL_MAX_MS),
            Err(Fault::NoSuchName { ttl_s } | Fault::NoAddress { ttl_s }) => {
                ttl_s.map_or(NEGATIVE_TTL_MAX_MS, |s| u64::from(s) * 1000).clamp(TTL_MIN_MS, NEGATIVE_TTL_MAX_MS)
            }
            Err(_) => (RETRY_FIRST_MS << self.failures.min(10)).min(RETRY_MAX_MS),
        };
        match answer {
            Ok((addresses, _)) => (self.addresses, self.fault, self.failures) = (addresses, None, 0),
            Err(fault) => {
                self.fault = Some(fault);
                self.failures = self.failures.saturating_add(1);
            }
        }
        (wait_ms - mix(draw) % (wait_ms / JITTER_PART)).max(TTL_MIN_MS)
    }
}

/// What a host can have, each once, in order, at most [`ADDRESSES_MAX`].
fn usable(addresses: Vec<IpAddr>) -> Box<[IpAddr]> {
    let a_hosts = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local()),
    };
    let mut kept: Vec<IpAddr> = addresses.into_iter().map(|address| address.to_canonical()).filter(a_hosts).collect();
    kept.sort_unstable();
    kept.dedup();
    kept.truncate(ADDRESSES_MAX);
    kept.into()
}

/// Where the members are that have a name instead of an address. Empty, and without a place in memory, for a document
/// without names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    of: HashMap<MemberId, Result<IpAddr, Box<str>>>,
}

impl Addresses {
    /// Where `member` listens; `None`: its name leads nowhere.
    pub fn socket(&self, member: &Member) -> Option<SocketAddr> {
        member.socket().or_else(|| {
            let address = self.of.get(&member.id)?.as_ref().ok()?;
            Some(SocketAddr::new(*address, member.protocol_port))
        })
    }

    /// Why it leads nowhere, in words; `None` for one that is somewhere.
    pub fn fault(&self, member: &Member) -> Option<&str> {
        let name = member.address.name().is_some();
        match self.of.get(&member.id).filter(|_| name) {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(why),
            None => name.then_some(NOT_YET),
        }
    }

    fn kept(&self, member: &Member) -> Option<IpAddr> {
        self.of.get(&member.id)?.as_ref().ok().copied()
    }
}

/// Before the first answer.
const NOT_YET: &str = "its name is being resolved";

/// Gives every member that has a name an address of it.
///
/// A member keeps the one it had `before` for as long as the name has it. Others take the one that the fewest members
/// of the pool at that name and port have; of several, always the same for the same member. Addresses of the VIP's
/// family are preferred. The VIP itself with a listener's port is never taken: traffic would go round in a circle.
pub fn assign<'k>(
    config: &LoadBalancer,
    known: impl Fn(&HostName) -> Option<&'k Known>,
    before: &Addresses,
) -> Addresses {
    let mut all = Addresses::default();
    for pool in &config.pools {
        for ((name, port), members) in by_name(pool) {
            let known = known(name);
            let found = known.map_or(&[][..], |known| &known.addresses);
            let own = |address: IpAddr| {
                address == config.vip_address && config.listeners.iter().any(|l| l.protocol_port == port)
            };
            let mut candidates: Vec<IpAddr> = found.iter().copied().filter(|address| !own(*address)).collect();
            if candidates.is_empty() {
                let why = nowhere(name, known, found, port);
                all.of.extend(members.iter().map(|member| (member.id, Err(why.clone()))));
                continue;
            }
            let mut load: HashMap<IpAddr, usize> = HashMap::new();
            let mut others = Vec::new();
            for member in members {
                match before.kept(member).filter(|address| candidates.contains(address)) {
                    Some(address) => {
                        *load.entry(address).or_default() += 1;
                        all.of.insert(member.id, Ok(address));
                    }
                    None => others.push(member),
                }
            }
            let same_family = |address: &IpAddr| address.is_ipv4() == config.vip_address.is_ipv4();
            if candidates.iter().any(same_family) {
                candidates.retain(same_family);
            }
            for member in others {
                let fewest = |address: &&IpAddr| {
                    (load.get(*address).copied().unwrap_or(0), std::cmp::Reverse(rank(member.id, **address)))
                };
                if let Some(address) = candidates.iter().min_by_key(fewest).copied() {
                    *load.entry(address).or_default() += 1;
                    all.of.insert(member.id, Ok(address));
                }
            }
        }
    }
    all
}

/// Members of a pool that share a name and a port, in the order of their ids.
fn by_name(pool: &Pool) -> BTreeMap<(&HostName, u16), Vec<&Member>> {
    let mut groups: BTreeMap<(&HostName, u16), Vec<&Member>> = BTreeMap::new();
    for member in &pool.members {
        if let Some(name) = member.address.name() {
            groups.entry((name, member.protocol_port)).or_default().push(member);
        }
    }
    groups.values_mut().for_each(|members| members.sort_unstable_by_key(|member| member.id));
    groups
}

fn nowhere(name: &HostName, known: Option<&Known>, found: &[IpAddr], port: u16) -> Box<str> {
    match known {
        _ if !found.is_empty() => {
            let own = SocketAddr::new(found[0], port);
            format!("{name} leads to this load balancer's own listener {own}").into()
        }
        Some(Known { fault: Some(fault), .. }) => format!("cannot resolve {name}: {fault}").into(),
        _ => NOT_YET.into(),
    }
}

/// Rendezvous: who comes first for whom hangs on both and on nobody else.
fn rank(member: MemberId, address: IpAddr) -> u64 {
    let (high, low) = member.0.as_u64_pair();
    let (a, b) = match address {
        IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
    };
    mix(mix(high ^ a.rotate_left(17)) ^ low ^ mix(b))
}

#[cfg(test)]
mod tests;
