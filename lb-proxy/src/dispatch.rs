//! From a request to a connection: choose a member, reach it, and when that fails choose again. Long because it is one
//! story: each step decides by what the ones before left.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lb_core::balance::{self, FlowKey, Home, MemberIndex, Pick, Tried};
use lb_core::config::monitor::ObservedLayer;
use lb_core::config::retry::RetryOn;
use lb_core::id::MemberId;
use lb_core::limits::{Asking, Slot};
use lb_core::member::MemberCell;
use lb_core::snapshot::{MemberSlot, PoolIndex, PoolSnapshot};

use crate::clock;
use crate::listener::Downstream;
use crate::observe::record::{Ending, endings};
use crate::retry::{self, RETRIES_MAX};
use crate::tls::member::MemberTls;
use crate::upstream::connect::{ConnectFailure, Purpose, connect};
use crate::upstream::h2::{self as shared, Shared};
use crate::upstream::private::PrivateConnections;
use crate::view::View;
use crate::waiting::{self, NoSlot, Queued};
use crate::wire::Stream;
use crate::worker::Worker;

/// Pauses before an attempt on a member that failed before, when there is no other: one second in all, enough
/// for a server that is restarted. HAProxy's three pauses of a second each keep clients waiting for longer than
/// most of them like to be told 503.
const PAUSES_MS: [u64; RETRIES_MAX as usize] = [100, 300, 600];
/// A member that answered this short while ago and refuses now may just be restarting, in milliseconds: when
/// there is no other, it is waited for. One that has been gone for longer is not.
const RESTART_MS: u64 = 3_000;
/// A slot may be granted on a member that this worker has yet to hear of; it will in a moment.
const NEWS_IN: Duration = Duration::from_millis(1);

/// One slot of a member: it counts one more request or connection until this is dropped. Then the slot goes to
/// whoever has waited longest for it.
#[derive(Debug)]
pub struct Lease {
    view: Rc<View>,
    pool: PoolIndex,
    member: MemberIndex,
    /// How often connections to the member had been cut when this one began.
    cuts: u32,
}

impl Lease {
    /// For a slot that has been taken.
    fn new(view: Rc<View>, pool: PoolIndex, member: MemberIndex) -> Self {
        let cuts = view.member(pool, member).state.cuts();
        let cell = view.member_cell(pool, member);
        cell.active.inc();
        cell.total.inc();
        view.pool_cell(pool).active.inc();
        Self { view, pool, member, cuts }
    }

    /// True if the member was marked down since, and its connections are to be closed.
    pub fn is_cut(&self) -> bool {
        self.slot().state.cuts() != self.cuts
    }

    /// Runs `work` to its end, or until connections to the member are cut: then `None`.
    pub async fn unless_cut<F: Future>(&self, downstream: &Downstream, mut work: Pin<&mut F>) -> Option<F::Output> {
        let cuts = self.pool().cuts_sessions;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if cuts {
                if self.is_cut() {
                    return Poll::Ready(None);
                }
                downstream.wake_on_change(cx.waker());
            }
            Poll::Pending
        })
        .await
    }

    /// Live traffic as a witness: the member did what it was asked.
    pub fn worked(&self, worker: &Worker) {
        self.slot().state.fault.works(worker.now());
        if self.pool().observation.is_some() {
            self.slot().state.witness.good();
        }
    }

    /// It answered, and what it said is no sign of health.
    pub fn answered_badly(&self, worker: &Worker) {
        self.slot().state.fault.works(worker.now());
        match self.pool().observation.map(|observation| observation.layer) {
            Some(ObservedLayer::Http) => self.failed(worker, ObservedLayer::Http),
            Some(ObservedLayer::Connection) => self.slot().state.witness.good(),
            None => {}
        }
    }

    /// Live traffic as a witness: it did not. `layer`: where it failed.
    pub fn failed(&self, worker: &Worker, layer: ObservedLayer) {
        let Some(observation) = self.pool().observation else { return };
        // A failed connection is a failure to whoever looks at answers, too.
        if layer == ObservedLayer::Connection || observation.layer == ObservedLayer::Http {
            let state = &self.slot().state;
            if state.witness.bad(observation.failures) {
                worker.process.suspects.name(Arc::clone(state));
            }
        }
    }

    /// Which member of the pool.
    pub fn member(&self) -> MemberIndex {
        self.member
    }

    /// The pool.
    pub fn pool(&self) -> &PoolSnapshot {
        self.view.pool(self.pool)
    }

    /// The member.
    pub fn slot(&self) -> &MemberSlot {
        self.view.member(self.pool, self.member)
    }

    /// How its members are spoken to, if it is TLS.
    pub fn tls(&self) -> Option<&MemberTls> {
        self.view.tls().pool(self.pool).map(|tls| &**tls)
    }

    /// The connections to it that many requests share, if it may be spoken to in HTTP/2. What may become something else than
    /// HTTP is not among them where it can have a connection of its own.
    fn shared(&self, switches: bool) -> Option<&Shared> {
        let may_be_alone = switches && self.tls().is_some_and(MemberTls::offers_http1);
        let shares = self.view.may_speak_h2(self.pool) && !may_be_alone;
        shares.then(|| self.view.idle(self.pool, self.member).shared())
    }

    /// This worker's figures of it.
    pub fn cell(&self) -> &MemberCell {
        self.view.member_cell(self.pool, self.member)
    }

    /// The member said more than it was asked for.
    pub fn distrust(&self, worker: &Worker) {
        self.view.idle(self.pool, self.member).distrust(worker.now());
    }

    /// False for a while after [`Self::distrust`].
    fn is_trusted(&self, worker: &Worker) -> bool {
        self.view.idle(self.pool, self.member).is_trusted(worker.now())
    }

    /// Keeps a connection for a later request.
    fn keep(&self, stream: Stream, worker: &Worker) {
        self.view.idle(self.pool, self.member).put(stream, worker.now());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.cell().active.dec();
        self.view.pool_cell(self.pool).active.dec();
        let state = &self.slot().state;
        if state.leave() {
            self.pool().limits.queue.freed(state);
        }
    }
}

/// A member and a connection to it.
#[derive(Debug)]
pub struct Reached {
    /// Counts the work on the member.
    pub lease: Lease,
    /// To it.
    pub stream: Stream,
    /// The connection served another request before.
    pub reused: bool,
}

/// What a session wants from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// A new one.
    Never,
    /// A kept one if it was used a moment ago: the request may not be sent twice.
    IfFresh,
    /// Any kept one.
    Any,
}

/// One request's way through the members of its pool.
#[derive(Debug)]
pub struct Journey {
    pool: PoolIndex,
    key: FlowKey,
    tried: Tried,
    /// Failed attempts so far.
    retries: u32,
    /// Those of them in which a member had got the request.
    moves: u32,
    /// Attempts that were not waited for.
    given_up: u32,
    /// It carries one request, and may share a connection with others.
    shares: bool,
    /// It asks for another protocol than HTTP.
    switches: bool,
    /// The name the client asked for in its handshake, if members are asked for it too.
    asked_for: Option<Box<str>>,
    /// The member it was last on.
    last: Option<MemberIndex>,
    /// The member it belongs to.
    home: Option<MemberIndex>,
    /// That one has yet to be tried.
    homeward: bool,
    /// It left a member for another.
    pub redispatched: bool,
    /// Connections that are its client's alone.
    pub private: PrivateConnections,
    queued: Queued,
    /// A later view, if the slot it waited for is of a member that only that one has. `pool`, `tried` and `last` are
    /// places in it then.
    moved: Option<Rc<View>>,
}

/// Where a request may go now.
enum Chosen {
    /// There.
    Lease(Lease),
    /// Nowhere: it has to wait, for that member or for any.
    Wait(Option<MemberIndex>),
}

impl Journey {
    /// At its beginning.
    pub fn new(pool: PoolIndex, key: FlowKey) -> Self {
        Self {
            pool,
            key,
            tried: Tried::default(),
            retries: 0,
            moves: 0,
            given_up: 0,
            shares: false,
            switches: false,
            asked_for: None,
            last: None,
            home: None,
            homeward: false,
            redispatched: false,
            queued: Queued::default(),
            moved: None,
            private: PrivateConnections::default(),
        }
    }

    /// It belongs to `member`, which is tried first ([`Home`]).
    #[must_use]
    pub fn homeward(self, member: Option<MemberIndex>) -> Self {
        Self { home: member, homeward: member.is_some(), ..self }
    }

    /// The same for one request of HTTP, of a client with connections of its own.
    pub fn with(self, private: PrivateConnections) -> Self {
        Self { private, shares: true, ..self }
    }

    /// The same, for a request that asks for another protocol.
    #[must_use]
    pub fn switching(self, switches: bool) -> Self {
        Self { switches, ..self }
    }

    /// Keeps a connection for a later request: of anybody, unless it began by saying whose it is.
    pub fn keep(&mut self, reached: Reached, worker: &Worker) {
        let Reached { lease, stream, .. } = reached;
        if stream.is_of_http2() {
            // Its stream has ended; the connection is kept anyway.
            return;
        }
        match lease.pool().send_proxy {
            None => lease.keep(stream, worker),
            // A member that said more than it was asked for is not trusted with anybody's.
            Some(_) if !lease.is_trusted(worker) => {}
            Some(version) => self.private.put(lease.slot(), version, stream, worker),
        }
    }

    /// A kept connection to the member of `lease`, if there is one that may be lent.
    fn kept(&mut self, lease: &Lease, worker: &Worker, reuse: Reuse) -> Option<Stream> {
        let repeatable = match reuse {
            Reuse::Never => return None,
            Reuse::IfFresh => false,
            Reuse::Any => true,
        };
        let asked_for = self.asked_for.as_deref();
        if let Some(shared) = lease.shared(self.switches).filter(|_| self.shares)
            && let Some(stream) = shared.take(&worker.process, repeatable, asked_for)
        {
            return Some(stream);
        }
        match lease.pool().send_proxy {
            None => {
                let idle = lease.view.idle(lease.pool, lease.member);
                idle.take(worker.now(), repeatable, asked_for)
            }
            Some(version) => self.private.take(lease.slot(), version, worker.now(), repeatable),
        }
    }

    /// The same, for a client that asked for `name` in its own handshake.
    pub fn asking_for(self, view: &View, name: Option<&str>) -> Self {
        let matters = view.tls().pool(self.pool).is_some_and(|tls| tls.depends_on_client());
        Self { asked_for: name.filter(|_| matters).map(Into::into), ..self }
    }

    /// Chooses a member and gets a connection to it, trying others when that fails.
    ///
    /// Refused or unanswered connections are retried as often as the pool says ([`RETRIES_MAX`] times): at once while
    /// another member is ready, after a pause when the last one worked within [`RESTART_MS`]; otherwise not at all. Where members
    /// are full it is waited for one that has room, while `left` is not over: that is when the client leaves.
    pub async fn reach(
        &mut self,
        worker: &Worker,
        view: &Rc<View>,
        reuse: Reuse,
        connect_timeout_ms: u64,
        left: &mut impl AsyncFnMut(),
    ) -> Result<Reached, Ending> {
        if self.last.is_none() {
            retry::asked(worker, view, self.pool);
        }
        loop {
            let lease = match self.choose(worker, view)? {
                Chosen::Lease(lease) => lease,
                // Hardly ever: its memory is taken then.
                Chosen::Wait(whom) => Box::pin(self.queue_up(worker, view, whom, connect_timeout_ms, left)).await?,
            };
            let member = lease.member();
            self.stand_on(&lease.view, member);
            if let Some(stream) = self.kept(&lease, worker, reuse) {
                lease.cell().reuses.inc();
                return Ok(Reached { lease, stream, reused: true });
            }
            match self.connect(worker, lease, connect_timeout_ms).await {
                Ok(reached) => return Ok(reached),
                Err(failure) => self.after(failure, worker, view, member).await?,
            }
        }
    }

    /// A member that has room, and a slot of it; or whom to wait for.
    fn choose(&mut self, worker: &Worker, view: &Rc<View>) -> Result<Chosen, Ending> {
        let view = self.moved.as_ref().unwrap_or(view);
        // A home is a place in the view it began with.
        let home = self.home.filter(|_| self.moved.is_none());
        let home = Home { member: home, first: std::mem::replace(&mut self.homeward, false) };
        match balance::place(view.pool(self.pool), self.key, worker.now(), &self.tried, home) {
            Pick::Member(member) => Ok(Chosen::Lease(Lease::new(Rc::clone(view), self.pool, member))),
            Pick::Full(whom) => Ok(Chosen::Wait(whom)),
            Pick::Nobody => Err(endings::NO_MEMBER),
        }
    }

    /// It is on that member from now on, or bound to it.
    fn stand_on(&mut self, view: &View, member: MemberIndex) {
        if let Some(before) = self.last.replace(member)
            && before != member
        {
            self.redispatched = true;
            view.member_cell(self.pool, before).redispatches.inc();
        }
    }

    /// Waits in the pool's queue for that member, or for any. What is bound to a member takes any that has room once
    /// its time is over.
    async fn queue_up(
        &mut self,
        worker: &Worker,
        view: &Rc<View>,
        whom: Option<MemberIndex>,
        connect_timeout_ms: u64,
        left: &mut impl AsyncFnMut(),
    ) -> Result<Lease, Ending> {
        let view = Rc::clone(self.moved.as_ref().unwrap_or(view));
        let (pool, cell) = (view.pool(self.pool), view.pool_cell(self.pool));
        let timeout_ms = pool.limits.timeout_ms.unwrap_or(connect_timeout_ms);
        if let Some(member) = whom {
            self.stand_on(&view, member);
        }
        self.queued.stood = true;
        cell.queued.inc();
        loop {
            let began = clock::now();
            // Its time is for all attempts together.
            let left_ms = timeout_ms.saturating_sub(self.queued.ms);
            let deadline = (timeout_ms > 0).then(|| began + Duration::from_millis(left_ms));
            let asking = Asking {
                member: whom.map(|member| &pool.member(member).state),
                not: self.tried.last().map(|member| &pool.member(member).state),
                max: pool.limits.max_queue,
                now: worker.now(),
            };
            let place = if whom.is_some() { &mut self.queued.place_member } else { &mut self.queued.place_pool };
            let waited = waiting::for_slot(worker, &pool.limits.queue, asking, deadline, left, place).await;
            self.queued.ms += (clock::now() - began).as_millis() as u64;
            cell.longest_wait_ms.raise(self.queued.ms);
            let ending = match waited {
                Ok(slot) => match self.take_up(worker, &view, slot) {
                    Some(lease) => return Ok(lease),
                    None => {
                        tokio::time::sleep(NEWS_IN).await;
                        continue;
                    }
                },
                Err(NoSlot::TimeOver) => {
                    if let Some(member) = whom {
                        self.tried.note(member);
                        if let Chosen::Lease(lease) = self.choose(worker, &view)? {
                            return Ok(lease);
                        }
                    }
                    cell.queue_timeouts.inc();
                    self.queued.limit = waiting::limit_of(pool, whom);
                    endings::QUEUE_TIMEOUT
                }
                Err(NoSlot::Full) => {
                    cell.queue_refused.inc();
                    self.queued.limit = pool.limits.max_queue.unwrap_or(0);
                    endings::QUEUE_FULL
                }
                Err(NoSlot::Left) => endings::CLIENT_LEFT_QUEUE,
                Err(NoSlot::Nobody) => endings::QUEUE_NOBODY,
            };
            return Err(ending);
        }
    }

    /// The lease of a slot that was granted. The member may be newer than the request: then it moves on to the view
    /// that has it. `None`: this worker knows nothing of it yet, and the slot is given back.
    fn take_up(&mut self, worker: &Worker, view: &Rc<View>, slot: Slot) -> Option<Lease> {
        let place = |pool: &PoolSnapshot| {
            pool.members.iter().position(|m| slot.is_of(&m.state)).map(|place| MemberIndex(place as u16))
        };
        if let Some(member) = place(view.pool(self.pool)) {
            slot.keep();
            return Some(Lease::new(Rc::clone(view), self.pool, member));
        }
        let (current, id) = (worker.view(), view.pool(self.pool).id);
        let pool = current.snapshot.pools.iter().position(|pool| pool.id == id)?;
        let member = place(current.pool(pool))?;
        slot.keep();
        self.redispatched |= self.last.take().is_some();
        (self.pool, self.tried) = (pool, Tried::default());
        self.moved = Some(Rc::clone(&current));
        Some(Lease::new(current, pool, member))
    }

    /// A new connection to the member of `lease`, because the kept one was dead. If there is no other member, that was the
    /// one time that the request is sent again.
    pub async fn reach_again(
        &mut self,
        worker: &Worker,
        view: &Rc<View>,
        lease: Lease,
        connect_timeout_ms: u64,
        left: &mut impl AsyncFnMut(),
    ) -> Result<Reached, Ending> {
        let member = lease.member();
        if lease.pool().members.len() < 2 {
            self.moves += 1;
        }
        match self.connect(worker, lease, connect_timeout_ms).await {
            Ok(reached) => Ok(reached),
            Err(failure) => {
                self.after(failure, worker, view, member).await?;
                self.reach(worker, view, Reuse::Never, connect_timeout_ms, left).await
            }
        }
    }

    async fn connect(&self, worker: &Worker, lease: Lease, timeout_ms: u64) -> Result<Reached, ConnectFailure> {
        let shared = lease.shared(self.switches).filter(|_| self.shares);
        let alone = self.switches && shared.is_none();
        let purpose = Purpose { tried: &self.tried, asked_for: self.asked_for.as_deref(), alone, timeout_ms };
        let connected = match shared {
            None => connect(worker, &lease, purpose).await.map(|stream| (stream, true)),
            Some(shared) => Box::pin(shared::reach(worker, &lease, shared, purpose)).await,
        };
        match connected {
            Ok((stream, false)) => {
                lease.cell().reuses.inc();
                Ok(Reached { lease, stream, reused: false })
            }
            Ok((stream, true)) => {
                lease.cell().connects.inc();
                if lease.pool().observation.is_some_and(|o| o.layer == ObservedLayer::Connection) {
                    lease.slot().state.witness.good();
                }
                Ok(Reached { lease, stream, reused: false })
            }
            Err(failure) => {
                lease.cell().connect_errors.inc();
                if !matches!(failure, ConnectFailure::Ours(_)) {
                    lease.failed(worker, ObservedLayer::Connection);
                }
                Err(failure)
            }
        }
    }

    /// The member took the request and then failed by `cause`, before the client got a byte of an answer: may it be sent once
    /// more, to another member if there is one? A yes takes a retry out of the budget and is followed by [`Self::move_on`].
    pub fn may_move_on(&self, worker: &Worker, view: &View, cause: RetryOn) -> bool {
        let view = self.moved.as_deref().unwrap_or(view);
        retry::may_move_on(view, self.pool, self.moves)
            && retry::is_wanted(view, self.pool, cause, self.retries)
            && retry::claim(worker, view, self.pool)
    }

    /// The member refused the request without having looked at it: may it be sent again? As after a connection that
    /// failed.
    pub fn may_ask_again(&mut self, worker: &Worker, view: &View, lease: &Lease) -> bool {
        let view = self.moved.as_deref().unwrap_or(view);
        let may = retry::is_wanted(view, self.pool, RetryOn::ConnectFailure, self.retries)
            && retry::claim(worker, view, self.pool);
        if may {
            self.note(lease.member(), lease.cell());
        }
        may
    }

    /// Leaves a member that took the request.
    pub fn move_on(&mut self, lease: &Lease) {
        self.moves += 1;
        self.note(lease.member(), lease.cell());
    }

    /// The member it was last on or bound to, if there is one: what a log line names. `view` is the one it began with.
    pub fn member_label<'a>(&'a self, view: &'a View) -> Option<&'a str> {
        let view = self.moved.as_deref().unwrap_or(view);
        self.last.map(|member| &*view.member(self.pool, member).label)
    }

    /// That member's name for good. `view` is the one it began with.
    pub fn member_id(&self, view: &View) -> Option<MemberId> {
        let view = self.moved.as_deref().unwrap_or(view);
        self.last.map(|member| view.member(self.pool, member).id)
    }

    /// Requests or connections on that member now. `view` is the one it began with.
    pub fn member_in_flight(&self, view: &View) -> u32 {
        let view = self.moved.as_deref().unwrap_or(view);
        self.last.map_or(0, |member| view.member(self.pool, member).state.in_flight())
    }

    /// The pool it goes to. `view` is the one it began with.
    pub fn pool<'a>(&'a self, view: &'a View) -> &'a PoolSnapshot {
        self.moved.as_deref().unwrap_or(view).pool(self.pool)
    }

    /// What it knows of queues.
    pub fn queued(&self) -> Queued {
        self.queued
    }

    /// Milliseconds in queues as a log line has them; -1: it never came so far.
    pub fn queue_ms(&self) -> i32 {
        if self.queued.stood || self.last.is_some() { self.queued.ms.min(i32::MAX as u64) as i32 } else { -1 }
    }

    /// Of `ms` until there was a connection, those that were not spent in queues.
    pub fn without_queue(&self, ms: i32) -> i32 {
        if ms < 0 { ms } else { (ms - self.queue_ms().max(0)).max(0) }
    }

    /// Attempts that failed or were not waited for: what a log line calls retries.
    pub fn failed_attempts(&self) -> u32 {
        self.retries + self.given_up
    }

    fn note(&mut self, member: MemberIndex, cell: &MemberCell) {
        self.retries += 1;
        self.tried.note(member);
        cell.retries.inc();
    }

    async fn after(
        &mut self,
        failure: ConnectFailure,
        worker: &Worker,
        view: &Rc<View>,
        member: MemberIndex,
    ) -> Result<(), Ending> {
        let view = self.moved.as_ref().unwrap_or(view);
        let ending = match failure {
            ConnectFailure::Refused(_) => endings::MEMBER_REFUSED,
            ConnectFailure::TimedOut => endings::CONNECT_TIMEOUT,
            ConnectFailure::Tls(reason) => Ending { reason, ..endings::MEMBER_REFUSED },
            ConnectFailure::Ours(_) => return Err(endings::NO_RESOURCES),
            ConnectFailure::GivenUp => {
                // Not an attempt that failed: one that was not waited for.
                self.tried.note(member);
                self.given_up += 1;
                return Ok(());
            }
        };
        if !retry::is_wanted(view, self.pool, RetryOn::ConnectFailure, self.retries) {
            return Err(ending);
        }
        let pause_ms = PAUSES_MS[PAUSES_MS.len().min(self.retries as usize + 1) - 1];
        let view = Rc::clone(view);
        let worked_lately = view.member(self.pool, member).state.fault.worked_within(RESTART_MS, worker.now());
        self.note(member, view.member_cell(self.pool, member));
        let alternative = balance::alternative(view.pool(self.pool), worker.now(), &self.tried);
        if !(alternative || worked_lately) || !retry::claim(worker, &view, self.pool) {
            return Err(ending);
        }
        if !alternative {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            // Everybody failed once: all are candidates again.
            self.tried = Tried::default();
        }
        Ok(())
    }
}
