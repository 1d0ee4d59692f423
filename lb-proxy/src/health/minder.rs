//! Asks every member when it is due and acts on what the answers mean. One task of the control thread decides when;
//! each question is a short task beside it, and there is never more than [`QUESTIONS_MAX`] of them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_core::config::{LoadBalancer, Member, Pool};
use lb_core::health::{Administrative, Begin, Turn, agent_line};
use lb_core::id::PoolId;
use lb_core::member::MemberState;
use lb_core::names::Addresses;
use lb_core::snapshot::Snapshot;
use lb_core::time::Millis;
use lb_health::{AgentProber, Pinger, Prober, ProberError, Shared};
use tokio::sync::{Notify, Semaphore};

use super::alarm::Alarm;
use super::timeline::Timeline;
use super::ward::{Asker, Askers, Heard, Places, Ward, Who, interval_ms};
use super::words;
use crate::instance::Instance;
use crate::process::Process;
use crate::tls::table::TlsTable;

/// Questions under way at once; more wait for their turn. Each holds a descriptor.
pub const QUESTIONS_MAX: usize = 1024;
/// How long the minder sleeps when nothing is due.
const FAR: Duration = Duration::from_secs(3600);

/// A monitor that cannot ask what it is meant to. The document is refused.
#[derive(Debug, thiserror::Error)]
#[error("health monitor {monitor} of pool {pool}: {source}")]
pub struct MonitorError {
    pool: String,
    monitor: String,
    source: ProberError,
}

/// See the module.
#[derive(Debug)]
pub struct Minder {
    pub(super) process: Arc<Process>,
    shared: Shared,
    pub(super) book: Mutex<Book>,
    wake: Notify,
    permits: Arc<Semaphore>,
    /// What happened.
    pub timeline: Timeline,
}

/// Who is minded, and when what is due.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) config: Option<Arc<LoadBalancer>>,
    pub(super) wards: Vec<Ward>,
    /// By the address of the state that names it.
    place_of: HashMap<usize, usize>,
    due: BinaryHeap<Reverse<(Millis, usize, What)>>,
    /// Pools without a member that can take work.
    pub(super) out: HashSet<PoolId>,
    /// Those of them whose members all fell silent at once.
    pub(super) dark: HashSet<PoolId>,
    /// A limit has changed since queues were last told.
    limits_changed: bool,
    /// What `config` asks of its members.
    prepared: Arc<Prepared>,
}

/// What is due for a ward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The nth of its questions.
    Ask(usize),
    /// Its share of work grows.
    Share,
}

/// Questions compiled for a document that is not in force yet.
#[derive(Debug, Default)]
pub struct Prepared(pub(super) Vec<Askers>);

impl Minder {
    /// Nobody yet. `pinger` was opened before root was given up, if it was.
    pub fn new(process: Arc<Process>, pinger: Pinger) -> Self {
        Self {
            process,
            shared: Shared::new(pinger),
            book: Mutex::default(),
            wake: Notify::new(),
            permits: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            timeline: Timeline::new(),
        }
    }

    /// Compiles what `config` asks of its members. Whatever can fail happens here.
    /// `tls` was compiled from it, too.
    pub fn prepare(&self, config: &LoadBalancer, tls: &TlsTable) -> Result<Prepared, MonitorError> {
        let mut all = Vec::new();
        let pools = config.pools.iter().enumerate().filter(|(_, pool)| Ward::needed(pool));
        for (place, pool) in pools {
            let mut each = Vec::new();
            for monitor in pool.monitors.iter().filter(|monitor| monitor.admin_state_up) {
                let wrong = |source| MonitorError { pool: pool.label(), monitor: monitor.label(), source };
                let mut prober = Prober::new(monitor, &self.shared).map_err(wrong)?;
                if let Some(tls) = tls.pool(place) {
                    prober = prober.over(tls.probe(monitor.probe.domain_name()));
                }
                each.push((Who::Monitor(monitor.id), Arc::new(Asker::Monitor(prober))));
            }
            if let Some(check) = &pool.agent_check {
                each.push((Who::Agent, Arc::new(Asker::Agent(AgentProber::new(check)))));
            }
            all.push(Askers { pool: pool.id, each });
        }
        Ok(Prepared(all))
    }

    /// Minds the members of `snapshot`, another document, from now on. What is known of those that stay is kept.
    /// `addresses`: where names led when it was compiled.
    pub fn adopt(&self, snapshot: &Snapshot, prepared: &Arc<Prepared>, addresses: &Addresses) {
        self.take_up(snapshot, prepared, addresses, words::OPERATOR);
    }

    /// The same document, with members where their names lead now.
    pub fn follow(&self, before: &Snapshot, snapshot: &Snapshot, addresses: &Addresses) {
        self.tell_moves(before, snapshot, addresses);
        let prepared = Arc::clone(&self.lock().prepared);
        self.take_up(snapshot, &prepared, addresses, words::DNS);
    }

    /// Names lead where they led, maybe for other reasons: members that are nowhere are told why.
    pub fn explain(&self, addresses: &Addresses) {
        let now = self.process.now();
        let mut book = self.lock();
        let Some(config) = book.config.clone() else { return };
        for ward in &mut book.wards {
            let fault = member_of(&config, ward).and_then(|(_, member)| addresses.fault(member));
            // It is down already: nothing turns.
            if let Some(fault) = fault {
                ward.judgement.is_nowhere(fault, now);
            }
        }
    }

    fn take_up(&self, snapshot: &Snapshot, prepared: &Arc<Prepared>, addresses: &Addresses, by: &str) {
        let Some(config) = snapshot.config.clone() else { return };
        let now = self.process.now();
        let mut book = self.lock();
        let mut known: HashMap<usize, Ward> = book.wards.drain(..).map(|ward| (name_of(&ward.state), ward)).collect();
        let questions = |askers: &Askers| config.pool(askers.pool).map_or(0, |p| p.members.len() * askers.each.len());
        let mut places = Places::new(prepared.0.iter().map(questions).sum(), config.id.0.as_u64_pair().1);
        let mut changes = Vec::new();
        let mut wards = Vec::new();
        for askers in &prepared.0 {
            let Some((pool, slots)) = config.pool(askers.pool).zip(snapshot.pools.iter().find(|p| p.id == askers.pool))
            else {
                continue;
            };
            for (member, slot) in pool.members.iter().zip(&slots.members) {
                let (mut ward, before, mut turn) = match known.remove(&name_of(&slot.state)) {
                    Some(mut ward) => {
                        let before = ward.administrative;
                        let turn = ward.take_up(pool, member, now);
                        (ward, before, turn)
                    }
                    None => {
                        let ward = Ward::new(pool, member, Arc::clone(&slot.state), now);
                        let before = ward.administrative;
                        (ward, before, None)
                    }
                };
                if let Some(fault) = addresses.fault(member) {
                    turn = ward.judgement.is_nowhere(fault, now).or(turn);
                }
                changes.push((wards.len(), before, turn));
                ward.backup = member.backup;
                ward.arrange((pool, member), slot.socket().map(|s| s.ip()), askers, &mut places, now);
                wards.push(ward);
            }
        }
        book.place_of = wards.iter().enumerate().map(|(place, ward)| (name_of(&ward.state), place)).collect();
        book.wards = wards;
        book.prepared = Arc::clone(prepared);
        let before = book.config.replace(Arc::clone(&config));
        book.schedule_all();
        for (place, before, turn) in changes {
            self.tell_administrative(&mut book, place, before, by);
            if let Some(turn) = turn {
                self.turned(&mut book, place, &turn);
            }
        }
        for ward in known.into_values() {
            self.let_go(&book, &ward, by);
        }
        for place in 0..book.wards.len() {
            book.settle(place, now);
        }
        self.survey_all(&mut book, before.as_deref(), by);
        self.wake.notify_one();
    }

    /// Has whoever minds look at once what is due.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what is due; says when the next thing is. `publish`: shares have changed.
    fn begin_due(&self, instance: &Arc<Instance>, publish: &mut bool) -> Option<Millis> {
        let now = self.process.now();
        let mut book = self.lock();
        while let Some(Reverse((at, place, what))) = book.due.peek().copied() {
            if at > now {
                return Some(at);
            }
            book.due.pop();
            match what {
                What::Share => {
                    book.shared(place, at);
                    *publish |= book.settle(place, now);
                }
                What::Ask(n) => self.begin(instance, &mut book, (at, place, n), now),
            }
        }
        None
    }

    fn begin(&self, instance: &Arc<Instance>, book: &mut Book, (at, place, n): (Millis, usize, usize), now: Millis) {
        let Some(ask) = book.wards.get_mut(place).and_then(|ward| ward.asks.get_mut(n)) else { return };
        if ask.schedule.due() != at {
            // It was put off or hastened since: then another entry stands for it.
            return;
        }
        if ask.schedule.begin(now) == Begin::Wait {
            // Put off, unless it is being asked already: then its end says when it is due again.
            let due = ask.schedule.due();
            if due > now {
                book.due.push(Reverse((due, place, What::Ask(n))));
            }
            return;
        }
        let (asker, target, who) = (Arc::clone(&ask.asker), ask.target, ask.who);
        let (instance, permits) = (Arc::clone(instance), Arc::clone(&self.permits));
        let question = Question { instance, state: Arc::clone(&book.wards[place].state), who, is_ended: false };
        tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            let heard = asker.ask(target).await;
            question.end(heard);
        });
    }

    /// An answer. True if shares have changed, or who is up: some tables are of those that are.
    fn heard(&self, state: &Arc<MemberState>, who: Who, heard: Heard) -> bool {
        let now = self.process.now();
        let mut book = self.lock();
        // The member is gone, or somewhere else.
        let Some(place) = book.place_of.get(&name_of(state)).copied() else { return false };
        let Some(config) = book.config.clone() else { return false };
        let ward = &mut book.wards[place];
        let turn = match (heard, who) {
            (Heard::Result(result), Who::Monitor(monitor)) => ward.judgement.heard(monitor, result, now),
            (Heard::Line(Ok(line)), _) => {
                agent_line::parse(&line).ok().and_then(|line| ward.judgement.agent_said(line, now))
            }
            // An agent that cannot be reached changes nothing.
            _ => None,
        };
        let pool = config.pool(ward.pool);
        let interval_ms = pool.map_or(1_000, |pool| interval_ms(pool, &ward.judgement, who));
        if let Some(n) = ward.asks.iter().position(|ask| ask.who == who) {
            ward.asks[n].schedule.ended(interval_ms, now);
            let due = ward.asks[n].schedule.due();
            book.due.push(Reverse((due, place, What::Ask(n))));
            self.wake.notify_one();
        }
        if let Some(turn) = &turn {
            self.turned(&mut book, place, turn);
        }
        let before = book.wards[place].administrative;
        book.wards[place].look(&config);
        self.tell_administrative(&mut book, place, before, "the member's agent");
        book.settle(place, now) || turn.is_some()
    }

    /// Live traffic failed on these members.
    fn suspect(&self) -> bool {
        let suspects = self.process.suspects.take();
        if suspects.is_empty() {
            return false;
        }
        let now = self.process.now();
        let mut book = self.lock();
        let mut publish = false;
        for state in suspects {
            let Some(place) = book.place_of.get(&name_of(&state)).copied() else { continue };
            let Book { config, wards, due, .. } = &mut *book;
            let ward = &mut wards[place];
            let observation = config.as_ref().and_then(|config| config.pool(ward.pool)?.observation);
            let turn = ward.judgement.suspected(observation.map_or(1, |o| o.failures), now);
            for (n, ask) in ward.asks.iter_mut().enumerate() {
                ask.schedule.hasten(now);
                due.push(Reverse((ask.schedule.due(), place, What::Ask(n))));
            }
            if let Some(turn) = &turn {
                self.turned(&mut book, place, turn);
            }
            publish |= book.settle(place, now) || turn.is_some();
        }
        publish
    }
}

/// A question under way. It ends whatever becomes of whoever asks: one that was never heard of again would leave its
/// member without another.
struct Question {
    instance: Arc<Instance>,
    state: Arc<MemberState>,
    who: Who,
    is_ended: bool,
}

impl Question {
    fn end(mut self, heard: Heard) {
        self.told(heard);
    }

    fn told(&mut self, heard: Heard) {
        self.is_ended = true;
        if self.instance.minder.heard(&self.state, self.who, heard) {
            self.instance.republish();
        }
    }
}

impl Drop for Question {
    /// Whoever asked panicked: our fault, which says nothing of the member.
    fn drop(&mut self) {
        if !self.is_ended {
            self.told(Heard::nothing(self.who));
        }
    }
}

impl Book {
    fn schedule_all(&mut self) {
        self.due.clear();
        for (place, ward) in self.wards.iter_mut().enumerate() {
            ward.share_at = None;
            for (n, ask) in ward.asks.iter().enumerate() {
                self.due.push(Reverse((ask.schedule.due(), place, What::Ask(n))));
            }
        }
    }

    /// Gives a member the word and the share it is judged to have. True if the share changed.
    fn settle(&mut self, place: usize, now: Millis) -> bool {
        let Some(config) = self.config.clone() else { return false };
        let ward = &mut self.wards[place];
        let Some((pool, member)) = member_of(&config, ward) else { return false };
        ward.state.set_up(ward.judgement.is_up());
        let step = ward.judgement.next_share_at(pool.slow_start_ms, now);
        // One entry stands for the next step, however many answers come before it.
        if let Some(at) = step.filter(|at| ward.share_at.is_none_or(|known| *at < known)) {
            ward.share_at = Some(at);
            self.due.push(Reverse((at, place, What::Share)));
        }
        let grown_permille = ward.judgement.grown_permille(pool.slow_start_ms, now);
        self.limits_changed |= ward.state.slots.set_asked(ward.judgement.limit_asked(), grown_permille);
        let share = ward.judgement.share_permille(pool, member, now);
        if share == ward.state.share_permille() {
            return false;
        }
        ward.state.set_share_permille(share);
        true
    }

    /// The step of a share at `at` is being taken.
    fn shared(&mut self, place: usize, at: Millis) {
        if let Some(ward) = self.wards.get_mut(place).filter(|ward| ward.share_at == Some(at)) {
            ward.share_at = None;
        }
    }

    /// How many members of a pool can take work.
    pub(super) fn working(&self, pool: PoolId) -> usize {
        self.wards.iter().filter(|ward| ward.pool == pool && ward.takes_work()).count()
    }

    /// The ward of a member's state.
    pub(super) fn ward(&self, state: &Arc<MemberState>) -> Option<&Ward> {
        self.place_of.get(&name_of(state)).map(|place| &self.wards[*place])
    }
}

impl Ward {
    fn takes_work(&self) -> bool {
        self.judgement.is_up() && self.administrative == Administrative::Ready
    }

    /// Somebody asks it.
    pub(super) fn is_minded(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Another document.
    fn take_up(&mut self, pool: &Pool, member: &Member, now: Millis) -> Option<Turn> {
        let turn = self.judgement.reloaded(&pool.monitors, pool.agent_check.is_some(), now);
        let before = self.administrative;
        let back = before == Administrative::Maint && Administrative::of(pool, member, None) != Administrative::Maint;
        let returned = if back { self.judgement.left_maintenance(now) } else { None };
        self.administrative = self.judgement.administrative(pool, member);
        returned.or(turn)
    }

    /// Where it stands on the operator's axis now.
    fn look(&mut self, config: &LoadBalancer) {
        if let Some((pool, member)) = member_of(config, self) {
            self.administrative = self.judgement.administrative(pool, member);
        }
    }
}

fn name_of(state: &Arc<MemberState>) -> usize {
    Arc::as_ptr(state) as usize
}

pub(super) fn member_of<'c>(config: &'c LoadBalancer, ward: &Ward) -> Option<(&'c Pool, &'c Member)> {
    let pool = config.pool(ward.pool)?;
    Some((pool, pool.members.iter().find(|member| member.id == ward.member)?))
}

/// Minds the members of `instance` for as long as the process lives. Fails only if the kernel has no timer for it.
pub async fn mind(instance: Arc<Instance>) -> io::Result<()> {
    let minder = &instance.minder;
    let alarm = Alarm::new()?;
    loop {
        let mut publish = minder.suspect();
        let next = minder.begin_due(&instance, &mut publish);
        let next = next.into_iter().chain(instance.count_down()).min();
        if publish {
            instance.republish();
        }
        if std::mem::take(&mut minder.lock().limits_changed) {
            minder.process.snapshot.load().recheck_queues();
        }
        // Here, not where somebody was judged: whatever woke us may have judged.
        if minder.process.take_cut() {
            instance.wake_sessions();
        }
        let pause: Duration = next.map_or(FAR, |next| Duration::from_millis(next.since(minder.process.now()).max(1)));
        alarm.set(pause)?;
        tokio::select! {
            () = minder.wake.notified() => {}
            () = instance.names.news() => instance.follow_names(),
            () = minder.process.suspects.named() => {}
            () = alarm.rings() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A probe of ours that falls over is asked again, and its member stays up.
    #[tokio::test]
    async fn a_question_that_panics_is_our_fault_and_asked_again() {
        let instance = Instance::new(
            Pinger::open_ahead(),
            crate::memory::Memory::unbounded(),
            lb_core::persistence::Secret::default(),
        );
        let text = "loadbalancer: {vip_address: 127.0.0.1, pools: [{name: a, protocol: TCP, lb_algorithm: SOURCE_IP, \
                    members: [{name: m, address: 127.0.0.1, protocol_port: 1}], healthmonitor: {type: TCP, delay: 0.1, \
                    timeout: 0.1, max_retries: 1, max_retries_down: 1}, agent_check: {port: 2, delay: 0.1}}]}";
        let config = lb_core::spec::read("test", text).unwrap();
        let mut prepared = instance.minder.prepare(&config, &TlsTable::default()).unwrap();
        let askers: Vec<_> = (0..2).map(|_| Arc::new(Asker::Panics(AtomicUsize::new(0)))).collect();
        for ((_, asker), panics) in prepared.0[0].each.iter_mut().zip(&askers) {
            *asker = Arc::clone(panics);
        }
        let snapshot = Snapshot::build(Arc::new(config), &Snapshot::empty(), 1);
        instance.minder.adopt(&snapshot, &Arc::new(prepared), &Addresses::default());
        tokio::spawn(mind(Arc::clone(&instance)));
        let all_again = async {
            let asked = |asker: &Arc<Asker>| match &**asker {
                Asker::Panics(times) => times.load(Ordering::SeqCst),
                _ => 0,
            };
            while !askers.iter().all(|asker| asked(asker) >= 3) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all_again).await.expect("all to be asked again and again");
        assert!(snapshot.pools[0].members[0].state.up());
        let (config, now) = (snapshot.config.unwrap(), instance.process.now());
        let (pool, slots) = (&config.pools[0], &snapshot.pools[0]);
        let shares = crate::health::view::Shares::of(slots);
        let health = instance.minder.look(now).member(pool, &pool.members[0], &shares, &slots.members[0]);
        assert_eq!(health.monitors[0].last, "could not ask: operation canceled, 0 ms");
    }
}
