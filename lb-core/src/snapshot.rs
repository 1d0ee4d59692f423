//! The third floor: a configuration compiled into tables for workers to read, published by one atomic swap.
//!
//! A snapshot never changes. What does change while it is read (figures, load, faults, places in a rotation)
//! stands behind shared pointers that the next snapshot takes over for every object that keeps its id.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::balance::{Asks, Group, MemberIndex, effective_weight};
use crate::config::monitor::{Observation, OnMarkedDown, ProxyVersion};
use crate::config::{self, ListenerProtocol, LoadBalancer, LogSettings};
use crate::id::{ListenerId, MemberId, PoolId};
use crate::l7::ListenerPolicies;
use crate::limits::clients::Clients;
use crate::limits::rules::Rules;
use crate::limits::{Place, PoolLimits};
use crate::member::{ListenerCell, MemberCell, MemberState, PerWorker, PoolCell};
use crate::names::Addresses;
use crate::persistence::{Persistence, Secret};
use crate::proxy_protocol::Senders;
use crate::retry::RetryRules;

/// Place of a pool in [`Snapshot::pools`].
pub type PoolIndex = usize;

/// Where a member is whose name leads nowhere: no connection can be made to port 0.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// One document, compiled.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows by one with each document; 0 is the empty one before the first.
    pub generation: u64,
    /// What it was compiled from; `None` before the first document.
    pub config: Option<Arc<LoadBalancer>>,
    /// All listeners, whether they accept or not: figures of one that is down for a while are kept.
    pub listeners: Box<[Arc<ListenerSnapshot>]>,
    /// All pools.
    pub pools: Box<[PoolSnapshot]>,
    /// What its clients' cookies are made unforgeable with; the next one takes it over.
    pub secret: Secret,
}

/// A listener as workers need it.
#[derive(Debug)]
pub struct ListenerSnapshot {
    /// Identity.
    pub id: ListenerId,
    /// Name, or the id if it has none: what logs show.
    pub label: Arc<str>,
    /// Where it accepts.
    pub address: SocketAddr,
    /// True if it accepts (its own state and the load balancer's).
    pub up: bool,
    /// What it speaks.
    pub protocol: ListenerProtocol,
    /// Where its traffic goes, unless a policy says otherwise.
    pub pool: Option<PoolIndex>,
    /// What else becomes of requests; `None`: there are no policies.
    pub policies: Option<Box<ListenerPolicies>>,
    /// Most connections at once.
    pub connection_limit: Option<u32>,
    /// How long it waits for what.
    pub timeouts: config::Timeouts,
    /// Headers it adds.
    pub insert_headers: config::InsertHeaders,
    /// One line for each request or connection.
    pub log: LogSettings,
    /// The value of `Strict-Transport-Security` in every answer.
    pub strict_transport: Option<Arc<str>>,
    /// Bodies by status that replace the built-in ones.
    pub error_pages: Arc<std::collections::BTreeMap<u16, String>>,
    /// Who may say, by a PROXY header, who its clients are; `None`: nobody.
    pub proxy_protocol: Option<Box<Senders>>,
    /// Clients may begin in HTTP/2 without asking.
    pub http2_prior_knowledge: bool,
    /// Connections open, of all workers: what the limit is held against.
    pub admitted: Arc<AtomicU32>,
    /// Its other limits.
    pub limits: Rules,
    /// Who is there, when clients are held to limits of their own.
    pub clients: Arc<Clients>,
    /// Figures, one writer each.
    pub cells: PerWorker<ListenerCell>,
}

/// A pool as workers need it.
#[derive(Debug)]
pub struct PoolSnapshot {
    /// Identity.
    pub id: PoolId,
    /// Name, or the id if it has none.
    pub label: Arc<str>,
    /// All members, whether they may take traffic or not.
    pub members: Box<[MemberSlot]>,
    /// Those that take traffic.
    pub ordinary: Group,
    /// Those that take it when no ordinary one can.
    pub backups: Group,
    /// What must be known of a flow before a member is picked.
    pub asks: Asks,
    /// Live traffic has a say in the health of its members.
    pub observation: Option<Observation>,
    /// Connections to a member that is marked down are closed.
    pub cuts_sessions: bool,
    /// When requests are sent again; `None`: as the data plane does by itself.
    pub retry: Option<RetryRules>,
    /// How it remembers its clients.
    pub persistence: Option<Arc<Persistence>>,
    /// What its members may take at once, and who waits for them.
    pub limits: PoolLimits,
    /// The PROXY header that every connection to a member begins with, if one does.
    pub send_proxy: Option<ProxyVersion>,
    /// HTTP/2 is spoken to members without asking them.
    pub http2_prior_knowledge: bool,
    /// Figures, one writer each.
    pub cells: PerWorker<PoolCell>,
}

impl PoolSnapshot {
    /// The member at `index`, which came from this pool.
    pub fn member(&self, index: MemberIndex) -> &MemberSlot {
        &self.members[usize::from(index.0)]
    }

    /// True if a member's share is not what the groups were compiled with, or it came up or went down and they are of
    /// those that are up.
    fn is_stale(&self) -> bool {
        let heeds_up = self.ordinary.heeds_up() || self.backups.heeds_up();
        self.members
            .iter()
            .any(|slot| slot.weight_now() != slot.effective_weight || (heeds_up && slot.state.up() != slot.was_up))
    }

    fn rebuilt(&self) -> Self {
        let mut members = self.members.clone();
        for slot in &mut members {
            slot.effective_weight = slot.weight_now();
            slot.was_up = slot.state.up();
        }
        let (ordinary, backups) = if self.is_stale() {
            let group = |old: &Group, backup| old.rebuilt(&members, candidates(&members, backup));
            (group(&self.ordinary, false), group(&self.backups, true))
        } else {
            (self.ordinary.again(), self.backups.again())
        };
        let (label, cells, limits) = (Arc::clone(&self.label), self.cells.clone(), self.limits.clone());
        let (observation, cuts_sessions, send_proxy) = (self.observation, self.cuts_sessions, self.send_proxy);
        let (id, persistence, asks) = (self.id, self.persistence.clone(), self.asks.clone());
        let http2_prior_knowledge = self.http2_prior_knowledge;
        let retry = self.retry.clone();
        Self {
            id,
            label,
            members,
            ordinary,
            backups,
            asks,
            observation,
            cuts_sessions,
            retry,
            persistence,
            limits,
            send_proxy,
            http2_prior_knowledge,
            cells,
        }
    }

    /// Its members, as those who wait for them see them.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |slot: &MemberSlot| Place {
            state: Arc::clone(&slot.state),
            admin_state_up: slot.placed && slot.admin_state_up,
            takes_new_work: slot.takes_new_work(),
            backup: slot.backup,
            effective_weight: slot.effective_weight,
        };
        self.members.iter().map(place).collect()
    }
}

/// A member as workers need it.
#[derive(Clone, Debug)]
pub struct MemberSlot {
    /// Identity.
    pub id: MemberId,
    /// Name, or the id if it has none.
    pub label: Arc<str>,
    /// Where it listens; means nothing unless it is [`Self::placed`].
    pub address: SocketAddr,
    /// It has an address, or its name leads to one.
    pub placed: bool,
    /// Share of new work, as the document says.
    pub weight: u16,
    /// The same with its share counted in ([`crate::balance::effective_weight`]): what algorithms use.
    pub effective_weight: u32,
    /// Only when no ordinary member can.
    pub backup: bool,
    /// May take new work at all (its own state and its pool's).
    pub admin_state_up: bool,
    /// Its share of every hash.
    pub hash_seed: u64,
    /// HAProxy's server id less one: its place in the document in which it first stood, or the first that was free. Kept
    /// while the data plane runs, so that its points of a ring stay where they are.
    pub number: u16,
    /// Whether it was up when the groups were compiled. Who takes work now says its state.
    pub was_up: bool,
    /// Load and faults, of all workers.
    pub state: Arc<MemberState>,
    /// Figures, one writer each.
    pub cells: PerWorker<MemberCell>,
}

impl MemberSlot {
    fn weight_now(&self) -> u32 {
        effective_weight(self.weight, self.state.share_permille())
    }

    /// Where it listens, if anywhere.
    pub fn socket(&self) -> Option<SocketAddr> {
        self.placed.then_some(self.address)
    }

    /// True if a balancer may choose it.
    pub fn takes_new_work(&self) -> bool {
        self.placed && self.admin_state_up && self.effective_weight > 0
    }
}

impl Snapshot {
    /// Nothing to serve yet.
    pub fn empty() -> Self {
        Self::keyed(Secret::default())
    }

    /// The same, with a secret for all that follow.
    pub fn keyed(secret: Secret) -> Self {
        Self { generation: 0, config: None, listeners: Box::default(), pools: Box::default(), secret }
    }

    /// Compiles `config` for `workers` data threads, taking over what `previous` knows of objects that stay. No name
    /// leads anywhere yet.
    pub fn build(config: Arc<LoadBalancer>, previous: &Self, workers: usize) -> Self {
        Self::build_at(config, &Addresses::default(), previous, workers)
    }

    /// As [`Self::build`], with members by name at these `addresses`.
    pub fn build_at(config: Arc<LoadBalancer>, addresses: &Addresses, previous: &Self, workers: usize) -> Self {
        let old_pools: HashMap<PoolId, &PoolSnapshot> = previous.pools.iter().map(|p| (p.id, p)).collect();
        let secret = previous.secret.child("load balancer", config.id.0);
        let carry = Carry { addresses, secret: &secret, workers };
        let build = |pool: &config::Pool| build_pool(pool, old_pools.get(&pool.id).copied(), &carry);
        let pools: Box<[_]> = config.pools.iter().map(build).collect();
        let place_of: HashMap<PoolId, PoolIndex> = pools.iter().enumerate().map(|(i, p)| (p.id, i)).collect();
        let listeners = config
            .listeners
            .iter()
            .map(|listener| {
                let pool = listener.default_pool.and_then(|id| place_of.get(&id).copied());
                let policies = build_policies(&config, listener, &place_of, previous, workers);
                Arc::new(build_listener(&config, listener, (pool, policies), previous, workers))
            })
            .collect();
        let (generation, secret) = (previous.generation + 1, previous.secret);
        Self { generation, config: Some(config), listeners, pools, secret }
    }

    /// This snapshot with the groups of every pool compiled anew in which a member's share has changed
    /// ([`MemberState::set_share_permille`]); `None` if none has. It is no new document: the generation stays, and
    /// so do places in rotations and everything that is shared.
    pub fn rebuilt(&self) -> Option<Self> {
        if !self.pools.iter().any(PoolSnapshot::is_stale) {
            return None;
        }
        let pools = self.pools.iter().map(PoolSnapshot::rebuilt).collect();
        let (config, listeners) = (self.config.clone(), self.listeners.clone());
        Some(Self { generation: self.generation, config, listeners, pools, secret: self.secret })
    }

    /// Lets those who wait in queues know of the members in this snapshot. To be called once whoever waits can find
    /// them: when all workers have taken it up.
    pub fn arrange_queues(&self) {
        for pool in &self.pools {
            pool.limits.queue.arrange(|| pool.places(), pool.limits.limited);
        }
    }

    /// Members came up or went down, or limits were changed: those who wait may have a reason to wait no longer.
    pub fn recheck_queues(&self) {
        self.pools.iter().for_each(|pool| pool.limits.queue.recheck());
    }

    /// This snapshot with members by name at these `addresses`; `None` if none has moved. It is no new document: the
    /// generation stays, and everything of members that stay.
    pub fn moved(&self, addresses: &Addresses, workers: usize) -> Option<Self> {
        let config = self.config.as_ref()?;
        let mut slots = config.pools.iter().flat_map(|p| &p.members).zip(self.pools.iter().flat_map(|p| &p.members));
        let is_moved = |(member, slot): (&config::Member, &MemberSlot)| addresses.socket(member) != slot.socket();
        slots.any(is_moved).then(|| {
            let next = Self::build_at(Arc::clone(config), addresses, self, workers);
            Self { generation: self.generation, ..next }
        })
    }

    /// The listener of that id, if this snapshot has it.
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<ListenerSnapshot>> {
        self.listeners.iter().find(|l| l.id == id)
    }
}

fn build_listener(
    config: &LoadBalancer,
    listener: &config::Listener,
    (pool, policies): (Option<PoolIndex>, Option<Box<ListenerPolicies>>),
    previous: &Snapshot,
    workers: usize,
) -> ListenerSnapshot {
    let old = previous.listener(listener.id);
    ListenerSnapshot {
        id: listener.id,
        label: listener.label().into(),
        address: config.socket_of(listener),
        up: config.admin_state_up && listener.admin_state_up,
        protocol: listener.protocol,
        pool,
        policies,
        connection_limit: listener.connection_limit,
        timeouts: listener.timeouts,
        insert_headers: listener.insert_headers,
        log: listener.log.clone(),
        strict_transport: listener.tls.as_ref().and_then(|tls| tls.hsts).map(|hsts| hsts.to_string().into()),
        error_pages: Arc::new(listener.error_pages.clone()),
        proxy_protocol: listener.proxy_protocol.as_ref().map(|written| Box::new(Senders::new(written))),
        http2_prior_knowledge: listener.http2_prior_knowledge,
        admitted: old.map(|l| Arc::clone(&l.admitted)).unwrap_or_default(),
        limits: Rules::new(&listener.limits),
        clients: old.map(|l| Arc::clone(&l.clients)).unwrap_or_default(),
        cells: old.map_or_else(|| PerWorker::new(workers), |l| l.cells.grown(workers)),
    }
}

fn build_policies(
    config: &LoadBalancer,
    listener: &config::Listener,
    place_of: &HashMap<PoolId, PoolIndex>,
    previous: &Snapshot,
    workers: usize,
) -> Option<Box<ListenerPolicies>> {
    if listener.l7policies.is_empty() {
        return None;
    }
    let written = previous.config.as_ref().and_then(|config| config.listeners.iter().find(|l| l.id == listener.id));
    let compiled = previous.listener(listener.id).and_then(|l| l.policies.as_deref());
    let old = compiled.zip(written.map(|l| &*l.l7policies));
    // As in the programs Octavia drives, a policy whose pool is administratively down is as if it were not there.
    let up = |id: PoolId| config.pool(id).filter(|pool| pool.admin_state_up).and_then(|_| place_of.get(&id).copied());
    Some(Box::new(ListenerPolicies::build(&listener.l7policies, old, workers, &up)))
}

/// What all pools are compiled with.
struct Carry<'c> {
    /// Where names lead.
    addresses: &'c Addresses,
    secret: &'c Secret,
    workers: usize,
}

fn build_pool(pool: &config::Pool, old: Option<&PoolSnapshot>, carry: &Carry<'_>) -> PoolSnapshot {
    let Carry { addresses, secret, workers } = *carry;
    let old_members: HashMap<MemberId, &MemberSlot> =
        old.iter().flat_map(|p| p.members.iter()).map(|m| (m.id, m)).collect();
    let mut members: Box<[MemberSlot]> = pool
        .members
        .iter()
        .map(|m| build_member(pool, m, addresses.socket(m), old_members.get(&m.id).copied(), workers))
        .collect();
    number(&mut members, &old_members);
    let group = |backup: bool, previous| Group::build(pool, &members, candidates(&members, backup), previous);
    let ordinary = group(false, old.map(|p| &p.ordinary));
    let backups = group(true, old.map(|p| &p.backups));
    let cells = old.map_or_else(|| PerWorker::new(workers), |p| p.cells.grown(workers));
    let choices = candidates(&members, false).len().max(candidates(&members, true).len());
    let (observation, cuts_sessions) = (pool.observation, pool.on_marked_down == OnMarkedDown::ShutdownSessions);
    let pool = PoolSnapshot {
        id: pool.id,
        label: pool.label().into(),
        ordinary,
        backups,
        asks: Asks::compile(pool, choices),
        members,
        observation,
        cuts_sessions,
        retry: pool.retry.as_ref().map(|retry| RetryRules::build(retry, old.and_then(|p| p.retry.as_ref()))),
        persistence: Persistence::build(pool, old.and_then(|p| p.persistence.as_ref()), secret),
        limits: build_limits(pool, old),
        send_proxy: pool.protocol.proxy_version(),
        http2_prior_knowledge: pool.http2_prior_knowledge,
        cells,
    };
    if pool.limits.queue.is_new() {
        pool.limits.queue.arrange(|| pool.places(), pool.limits.limited);
    }
    pool
}

fn build_limits(pool: &config::Pool, old: Option<&PoolSnapshot>) -> PoolLimits {
    PoolLimits {
        // An agent may set a limit at any time.
        limited: pool.agent_check.is_some() || pool.members.iter().any(|member| member.max_connections.is_some()),
        queue: old.map(|p| Arc::clone(&p.limits.queue)).unwrap_or_default(),
        max_queue: pool.max_queue,
        timeout_ms: pool.timeout_queue_ms,
    }
}

/// Gives each member the number it had, and the others the lowest that are free, in the order of the document.
fn number(members: &mut [MemberSlot], old: &HashMap<MemberId, &MemberSlot>) {
    let kept: Vec<Option<u16>> = members.iter().map(|slot| Some(old.get(&slot.id)?.number)).collect();
    let taken: HashSet<u16> = kept.iter().flatten().copied().collect();
    // No number is higher than a pool may have members, for the lowest are given out.
    let mut free = (0..=u16::MAX).filter(|number| !taken.contains(number));
    for (slot, kept) in members.iter_mut().zip(kept) {
        slot.number = kept.or_else(|| free.next()).unwrap_or_default();
    }
}

/// Those of a group that take work.
fn candidates(members: &[MemberSlot], backup: bool) -> Vec<MemberIndex> {
    let of_group = members.iter().enumerate().filter(|(_, slot)| slot.backup == backup && slot.takes_new_work());
    of_group.map(|(i, _)| MemberIndex(i as u16)).collect()
}

fn build_member(
    pool: &config::Pool,
    member: &config::Member,
    socket: Option<SocketAddr>,
    old: Option<&MemberSlot>,
    workers: usize,
) -> MemberSlot {
    // A member that moved to another address is the same to people, but not to sockets: its faults and the
    // work in flight belong to the old place.
    let state = old.filter(|m| m.socket() == socket).map(|m| Arc::clone(&m.state));
    let state: Arc<MemberState> = state.unwrap_or_default();
    if socket.is_none() {
        state.set_up(false);
    }
    state.slots.set_document(member.max_connections);
    let (high, low) = member.id.0.as_u64_pair();
    MemberSlot {
        id: member.id,
        label: member.label().into(),
        address: socket.unwrap_or(NOWHERE),
        placed: socket.is_some(),
        weight: member.weight,
        effective_weight: effective_weight(member.weight, state.share_permille()),
        backup: member.backup,
        admin_state_up: pool.admin_state_up && member.admin_state_up,
        hash_seed: crate::balance::mix(high ^ low.rotate_left(32)),
        number: 0,
        was_up: state.up(),
        state,
        cells: old.map_or_else(|| PerWorker::new(workers), |m| m.cells.grown(workers)),
    }
}
