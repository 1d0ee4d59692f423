//! One worker's view of the snapshot: the shared tables, and beside each member what this worker alone holds.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use lb_core::balance::MemberIndex;
use lb_core::member::{ListenerCell, MemberCell, MemberState, PoolCell};
use lb_core::snapshot::{ListenerSnapshot, MemberSlot, PoolIndex, PoolSnapshot, Snapshot};

use crate::observe::record::SinkId;
use crate::process::Place;
use crate::tls::table::TlsTable;
use crate::upstream::idle::IdleConnections;

/// See the module. Sessions hold the view they work with; a new one is met at the next request.
#[derive(Debug)]
pub struct View {
    /// The tables.
    pub snapshot: Arc<Snapshot>,
    worker: usize,
    members: Box<[Box<[Rc<IdleConnections>]>]>,
    sinks: Box<[Option<SinkId>]>,
    tls: Arc<TlsTable>,
}

/// What belongs to a snapshot and is no part of it, in its order.
#[derive(Debug, Default)]
pub struct Beside {
    /// Where each listener's lines go.
    pub sinks: Vec<Option<SinkId>>,
    /// TLS of listeners and pools.
    pub tls: Arc<TlsTable>,
}

impl View {
    /// The view of `snapshot`, with the kept connections of every member that stays where it was.
    pub fn build(snapshot: Arc<Snapshot>, worker: usize, previous: Option<&Self>, beside: Beside) -> Self {
        let Beside { sinks, tls } = beside;
        let mut kept: HashMap<*const MemberState, &Rc<IdleConnections>> = HashMap::new();
        // A connection made from an address that is no longer ours leads nowhere.
        let address = |s: &Snapshot| s.config.as_ref().map(|c| c.vip_address);
        if let Some(old) = previous.filter(|old| address(&old.snapshot) == address(&snapshot)) {
            for (place, (pool, locals)) in old.snapshot.pools.iter().zip(&old.members).enumerate() {
                // Nor does one that was secured otherwise show what it should.
                let now = snapshot.pools.iter().position(|p| p.id == pool.id).and_then(|now| tls.pool(now));
                if old.tls.pool(place).map(Arc::as_ptr) != now.map(Arc::as_ptr) {
                    continue;
                }
                kept.extend(pool.members.iter().map(|slot| Arc::as_ptr(&slot.state)).zip(locals));
            }
        }
        let members = snapshot
            .pools
            .iter()
            .map(|pool| {
                let local = |slot: &MemberSlot| {
                    let idle = kept.get(&Arc::as_ptr(&slot.state));
                    idle.map_or_else(
                        || Rc::new(IdleConnections::new(Arc::clone(slot.cells.of(worker)))),
                        |i| Rc::clone(i),
                    )
                };
                pool.members.iter().map(local).collect()
            })
            .collect();
        let view = Self { snapshot, worker, members, sinks: sinks.into(), tls };
        if let Some(old) = previous {
            view.retire_what_is_gone(old);
        }
        view
    }

    /// Sessions may hold the old view for long; connections to members that are gone must not stay with it.
    fn retire_what_is_gone(&self, old: &Self) {
        let stay: HashSet<*const IdleConnections> = self.members.iter().flatten().map(Rc::as_ptr).collect();
        old.members.iter().flatten().filter(|idle| !stay.contains(&Rc::as_ptr(idle))).for_each(|idle| idle.retire());
    }

    /// The pool at `index` of this view's snapshot.
    pub fn pool(&self, index: PoolIndex) -> &PoolSnapshot {
        &self.snapshot.pools[index]
    }

    /// A member's slot.
    pub fn member(&self, pool: PoolIndex, member: MemberIndex) -> &MemberSlot {
        self.pool(pool).member(member)
    }

    /// This worker's figures of a member.
    pub fn member_cell(&self, pool: PoolIndex, member: MemberIndex) -> &MemberCell {
        self.member(pool, member).cells.of(self.worker)
    }

    /// This worker's figures of a listener.
    pub fn listener_cell<'a>(&self, listener: &'a ListenerSnapshot) -> &'a ListenerCell {
        listener.cells.of(self.worker)
    }

    /// This worker's figures of a pool.
    pub fn pool_cell(&self, pool: PoolIndex) -> &PoolCell {
        self.pool(pool).cells.of(self.worker)
    }

    /// Where the listener of a client that came in by `listener` and holds `place` is in this view; `None`: it is gone,
    /// or was away for a while and counts anew.
    pub fn listener_of(&self, listener: &ListenerSnapshot, place: &Place) -> Option<usize> {
        let is_its = |l: &Arc<ListenerSnapshot>| {
            l.id == listener.id && l.up && l.protocol == listener.protocol && place.counts_in(&l.admitted)
        };
        self.snapshot.listeners.iter().position(is_its)
    }

    /// Where lines of the listener at `place` go; `None`: it writes none.
    pub fn sink(&self, place: usize) -> Option<SinkId> {
        self.sinks.get(place).copied().flatten()
    }

    /// TLS of its listeners and pools.
    pub fn tls(&self) -> &TlsTable {
        &self.tls
    }

    /// True if a pool's members may be spoken to in HTTP/2.
    pub fn may_speak_h2(&self, pool: PoolIndex) -> bool {
        self.pool(pool).http2_prior_knowledge || self.tls.pool(pool).is_some_and(|tls| tls.offers_h2())
    }

    /// This worker's kept connections to a member.
    pub fn idle(&self, pool: PoolIndex, member: MemberIndex) -> &IdleConnections {
        &self.members[pool][usize::from(member.0)]
    }

    /// Closes every kept connection: their descriptors are needed. True if there were any.
    pub fn close_kept(&self) -> bool {
        self.members.iter().flatten().filter(|idle| idle.close_all()).count() > 0
    }

    /// Drops connections that have been idle for too long; true if some are left.
    pub fn expire_idle(&self, now: lb_core::time::Millis) -> bool {
        self.members.iter().flatten().filter(|idle| idle.expire(now)).count() > 0
    }
}

/// What `RefCell`s of a worker hand out: the view in force.
pub type CurrentView = RefCell<Rc<View>>;
