//! One worker's view of the snapshot: the shared tables, and beside each member what this worker alone holds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lb_core::balance::MemberIndex;
use lb_core::member::{ListenerCell, MemberCell, MemberState};
use lb_core::snapshot::{ListenerSnapshot, MemberSlot, PoolIndex, PoolSnapshot, Snapshot};

use crate::upstream::idle::IdleConnections;

/// See the module. Sessions hold the view they work with; a new one is met at the next request.
#[derive(Debug)]
pub struct View {
    /// The tables.
    pub snapshot: Arc<Snapshot>,
    worker: usize,
    members: Box<[Box<[Rc<IdleConnections>]>]>,
}

impl View {
    /// The view of `snapshot`, with the kept connections of every member that stays where it was.
    pub fn build(snapshot: Arc<Snapshot>, worker: usize, previous: Option<&Self>) -> Self {
        let mut kept: HashMap<*const MemberState, &Rc<IdleConnections>> = HashMap::new();
        if let Some(old) = previous {
            for (pool, locals) in old.snapshot.pools.iter().zip(&old.members) {
                kept.extend(pool.members.iter().map(|slot| Arc::as_ptr(&slot.state)).zip(locals));
            }
        }
        let members = snapshot
            .pools
            .iter()
            .map(|pool| {
                let local = |slot: &MemberSlot| {
                    let idle = kept.get(&Arc::as_ptr(&slot.state));
                    idle.map_or_else(|| Rc::new(IdleConnections::new(Arc::clone(slot.cells.of(worker)))), |i| Rc::clone(i))
                };
                pool.members.iter().map(local).collect()
            })
            .collect();
        Self { snapshot, worker, members }
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

    /// This worker's kept connections to a member.
    pub fn idle(&self, pool: PoolIndex, member: MemberIndex) -> &IdleConnections {
        &self.members[pool][usize::from(member.0)]
    }

    /// Drops connections that have been idle for too long; true if some are left.
    pub fn expire_idle(&self, now: lb_core::time::Millis) -> bool {
        self.members.iter().flatten().fold(false, |left, idle| idle.expire(now) || left)
    }
}

/// What `RefCell`s of a worker hand out: the view in force.
pub type CurrentView = RefCell<Rc<View>>;
