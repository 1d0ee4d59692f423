//! Minds one load balancer, for as long as it has a document: the task that makes what is desired actual, whatever
//! happens to it, one thing at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_control::events::EventKind;
use lb_control::node::ProvisioningStatus;
use lb_core::config::LoadBalancer;
use lb_core::id::LoadBalancerId;
use tokio::sync::{mpsc, oneshot};

use crate::desired::{Desired, namespace_of};
use crate::hands::{Env, Fault, Hands};
use crate::instance::Exit;
use crate::log;
use crate::reconcile::{Action, plan};
use crate::store::Store;
use crate::timeline::watch::Watching;
use crate::timeline::{Known, THE_AGENT, Timeline, Told, changes};

/// Between two looks whether everything is still as it should be.
const PATROL: Duration = Duration::from_secs(15);
/// Rounds of looking and acting before something is called unsettled.
const ROUNDS_MAX: usize = 8;
/// Data planes that may end while one document is applied, before the document is blamed.
const ENDS_MAX: usize = 3;

/// What others may see of a load balancer; the keeper writes, others read.
#[derive(Clone, Debug)]
pub struct View {
    /// What is kept; `None`: being removed.
    pub document: Option<Arc<LoadBalancer>>,
    /// Is what is served what was asked for?
    pub provisioning: ProvisioningStatus,
    /// Its data plane, while one runs.
    pub pid: Option<u32>,
    /// Which document the data plane serves.
    pub generation: u64,
    /// How often it was started again, in this agent's life.
    pub restarts: u64,
    /// How the one before ended.
    pub last_exit: Option<String>,
    /// Why it is not as it should be.
    pub fault: Option<String>,
}

/// Asked of a keeper.
#[derive(Debug)]
pub enum Command {
    /// Keep and serve this document, which somebody wants. Answered when it is served, or when all is as it was before.
    Apply(Desired, String, oneshot::Sender<Result<u64, Fault>>),
    /// Let nothing be left, as somebody wants. Answered when it is so.
    Delete(String, oneshot::Sender<Result<(), Fault>>),
}

/// How others reach a keeper.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Closed once nothing is left to keep.
    pub commands: mpsc::Sender<Command>,
    /// What is known.
    pub view: Arc<Mutex<View>>,
    /// What happened.
    pub timeline: Arc<Timeline>,
}

/// What a keeper starts from.
#[derive(Debug)]
pub struct Start {
    /// Whose.
    pub id: LoadBalancerId,
    /// What is kept: `Ok(None)`: nothing, so what there is goes. `Err`: a document that fits no network: it is kept,
    /// and nothing is touched until a better one comes.
    pub desired: Result<Option<Desired>, (Arc<LoadBalancer>, String)>,
    /// Process of a data plane that runs already.
    pub found: Option<u32>,
    /// A command is about to come: nothing is done before it.
    pub expects_command: bool,
    /// What happened until now.
    pub timeline: Arc<Timeline>,
}

/// Starts a keeper in a task of the current runtime.
pub fn spawn(start: Start, env: Arc<Env>, store: Arc<Store>) -> Handle {
    let (document, desired, hold) = match start.desired {
        Ok(desired) => (desired.as_ref().map(|d| d.document.clone()), desired, None),
        Err((document, why)) => (Some(document), None, Some(why)),
    };
    let timeline = start.timeline;
    document.iter().for_each(|document| timeline.rename(&document.name));
    let view = Arc::new(Mutex::new(View {
        document,
        provisioning: ProvisioningStatus::PendingUpdate,
        pid: start.found,
        generation: 0,
        restarts: 0,
        last_exit: None,
        fault: hold.clone(),
    }));
    let (sender, commands) = mpsc::channel(4);
    let keeper = Keeper {
        id: start.id,
        hands: Hands::new(start.id, env, start.found),
        store,
        desired,
        hold: hold.is_some(),
        expects_command: start.expects_command,
        view: view.clone(),
        timeline: timeline.clone(),
        watching: None,
        starts: Backoff::default(),
        attempts: Backoff::default(),
        retry_at: None,
        commands,
    };
    tokio::spawn(keeper.run());
    Handle { commands: sender, view, timeline }
}

/// Locks what no panic can leave half written.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keeper {
    id: LoadBalancerId,
    hands: Hands,
    store: Arc<Store>,
    desired: Option<Desired>,
    /// Touch nothing: it is not known what is desired.
    hold: bool,
    expects_command: bool,
    view: Arc<Mutex<View>>,
    timeline: Arc<Timeline>,
    /// While a data plane runs.
    watching: Option<Watching>,
    /// Between starts of data planes.
    starts: Backoff,
    /// Between attempts that fail for other reasons.
    attempts: Backoff,
    retry_at: Option<Instant>,
    commands: mpsc::Receiver<Command>,
}

impl Keeper {
    async fn run(mut self) {
        if self.hold {
            lock(&self.view).provisioning = ProvisioningStatus::Error;
        } else if !self.expects_command {
            self.settle().await;
            if self.is_done() {
                self.forget("nothing is kept of it", THE_AGENT).await;
                return;
            }
        }
        loop {
            let wake = self.retry_at.unwrap_or_else(|| Instant::now() + PATROL);
            tokio::select! {
                biased;
                exit = self.hands.ended() => self.died(exit).await,
                command = self.commands.recv() => match command {
                    Some(Command::Apply(desired, by, reply)) => {
                        let result = Box::pin(self.apply(desired, &by)).await;
                        let _ = reply.send(result);
                    }
                    Some(Command::Delete(by, reply)) => {
                        let result = Box::pin(self.delete(&by)).await;
                        let _ = reply.send(result);
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(wake.into()) => self.settle().await,
            }
            if self.is_done() {
                // Nothing is left of it here, unless it took more than one attempt.
                self.forget("nothing is kept of it", THE_AGENT).await;
                return;
            }
        }
    }

    /// Nothing is desired, and nothing is there.
    fn is_done(&self) -> bool {
        !self.hold && self.desired.is_none() && self.retry_at.is_none() && self.commands.is_empty()
    }

    async fn apply(&mut self, desired: Desired, by: &str) -> Result<u64, Fault> {
        let before = (self.desired.clone(), self.hold);
        let (served, generation) = (lock(&self.view).document.clone(), self.hands.generation());
        let document = desired.document.clone();
        self.keep(move |store| store.save(&document)).await?;
        lock(&self.view).provisioning = ProvisioningStatus::PendingUpdate;
        self.timeline.rename(&desired.document.name);
        if served.is_none() {
            self.note(EventKind::LoadBalancer, ["", "made"], "its first document", by, "");
        }

        (self.desired, self.hold) = (Some(desired.clone()), false);
        match self.converge_through_ends().await {
            Ok(()) => {
                let id = self.id;
                // A second name that stays is swept at the next start.
                let _ = self.keep(move |store| store.settle(id)).await;
                self.note_document(served.as_deref(), &desired.document, generation, by);
                lock(&self.view).document = Some(desired.document);
                self.settled();
                Ok(self.hands.generation())
            }
            Err(fault) => {
                log::warn(self.id, format_args!("a document could not be served, going back: {fault}"));
                let id = self.id;
                if let Err(error) = self.keep(move |store| store.take_back(id)).await {
                    log::error(self.id, format_args!("the document before cannot be restored: {error}"));
                }
                (self.desired, self.hold) = before;
                self.hands.close_unaccepted();
                if let Some(served) = &served {
                    self.timeline.rename(&served.name);
                }
                if !self.hold {
                    self.settle().await;
                }
                if self.is_done() {
                    self.forget(&format!("its first document could not be served: {fault}"), THE_AGENT).await;
                }
                Err(fault)
            }
        }
    }

    async fn delete(&mut self, by: &str) -> Result<(), Fault> {
        let id = self.id;
        self.keep(move |store| store.remove(id)).await?;
        (self.desired, self.hold) = (None, false);
        lock(&self.view).provisioning = ProvisioningStatus::PendingDelete;
        match self.converge().await {
            Ok(()) => {
                self.settled();
                self.forget("asked for", by).await;
                Ok(())
            }
            Err(fault) => {
                self.failed(&fault);
                Err(fault)
            }
        }
    }

    /// Converges; what does not succeed is tried again later.
    async fn settle(&mut self) {
        match self.converge().await {
            Ok(()) => {
                self.settled();
                if let Some(Err(fault)) = self.hands.renew_files().await {
                    log::error(self.id, format_args!("new certificates are not shown, the old ones are: {fault}"));
                }
            }
            Err(Fault::Ended(exit)) => self.note_end(exit),
            Err(fault) => self.failed(&fault),
        }
    }

    async fn converge_through_ends(&mut self) -> Result<(), Fault> {
        for attempt in 1.. {
            match self.converge().await {
                Err(Fault::Ended(exit)) => {
                    self.note_end(exit);
                    if attempt == ENDS_MAX {
                        return Err(Fault::Ended(exit));
                    }
                }
                other => return other,
            }
        }
        Ok(())
    }

    async fn converge(&mut self) -> Result<(), Fault> {
        for _ in 0..ROUNDS_MAX {
            let actual = self.hands.observe().await?;
            let actions = plan(self.desired.as_ref(), &actual).map_err(|_| {
                Fault::Conflict(format!("a namespace {} is there that is not ours", namespace_of(self.id)))
            })?;
            if actions.is_empty() {
                return Ok(());
            }
            for action in &actions {
                let result = Box::pin(self.hands.perform(action, self.desired.as_ref())).await;
                self.show();
                result?;
                self.tell(action);
            }
        }
        Err(Fault::Trouble(format!("it does not settle in {ROUNDS_MAX} rounds; something else changes it")))
    }

    /// The data plane ended by itself.
    async fn died(&mut self, exit: Exit) {
        self.note_end(exit);
        if self.retry_at.is_none_or(|at| at <= Instant::now()) {
            self.settle().await;
        }
    }

    fn note_end(&mut self, exit: Exit) {
        let (pid, lived) = self.hands.process().map_or((0, Duration::ZERO), |p| (p.pid, p.since.elapsed()));
        self.hands.bury();
        self.watching = None;
        let wait = self.starts.next(lived);
        self.retry_at = Some(Instant::now() + wait);
        let then = if wait.is_zero() { "now".to_owned() } else { format!("in {} ms", wait.as_millis()) };
        let (old, reason) = (format!("pid {pid}"), format!("nobody asked it to; another is started {then}"));
        let effect = "its sessions are cut; new clients wait for the next one";
        self.note(EventKind::DataPlaneEnded, [&old, &exit.to_string()], &reason, exit.by(), effect);
        let mut view = lock(&self.view);
        view.restarts += 1;
        view.last_exit = Some(exit.to_string());
        view.fault = Some(format!("the data plane {exit}"));
        view.provisioning = ProvisioningStatus::Error;
        (view.pid, view.generation) = (None, 0);
    }

    fn failed(&mut self, fault: &Fault) {
        let wait = self.attempts.next(Duration::ZERO).max(Backoff::FIRST);
        self.retry_at = Some(Instant::now() + wait);
        log::error(self.id, format_args!("{fault}; tried again in {} ms", wait.as_millis()));
        let mut view = lock(&self.view);
        view.fault = Some(fault.to_string());
        view.provisioning = ProvisioningStatus::Error;
    }

    fn settled(&mut self) {
        self.retry_at = None;
        self.attempts = Backoff::default();
        self.show();
        let mut view = lock(&self.view);
        view.fault = None;
        view.provisioning = ProvisioningStatus::Active;
    }

    fn show(&mut self) {
        let pid = self.hands.process().map(|process| process.pid);
        let watched = self.watching.as_ref().map(|watching| watching.pid);
        if pid != watched {
            self.timeline.know(Known::Nothing);
            self.watching = pid.map(|pid| Watching::start(pid, self.hands.control(), self.timeline.clone()));
        }
        let mut view = lock(&self.view);
        view.pid = pid;
        view.generation = self.hands.generation();
    }

    fn tell(&self, action: &Action) {
        let pid = self.hands.process().map(|process| process.pid);
        match (action, pid) {
            (Action::StartInstance, Some(pid)) => {
                let last_exit = lock(&self.view).last_exit.clone();
                let reason = last_exit.map_or_else(|| "none ran".to_owned(), |exit| format!("the one before {exit}"));
                self.note(EventKind::DataPlaneStarted, ["", &format!("started, pid {pid}")], &reason, THE_AGENT, "");
            }
            (Action::AdoptInstance, Some(pid)) => {
                let reason = format!("its data plane, pid {pid}, was started by an earlier agent");
                self.note(EventKind::LoadBalancer, ["", "adopted"], &reason, THE_AGENT, "");
            }
            (Action::Configure, Some(pid)) => {
                log::info(self.id, format_args!("document {} is served by pid {pid}", self.hands.generation()));
            }
            (Action::CreateNamespace, _) => {
                log::info(self.id, format_args!("namespace {} made", namespace_of(self.id)))
            }
            (Action::PlugVip, _) => log::info(self.id, "VIP plugged"),
            _ => {}
        }
        if matches!(action, Action::AdoptInstance | Action::Configure) {
            self.watching.iter().for_each(Watching::changed);
        }
    }

    /// Tells what another document changes; the same one once more is no event.
    fn note_document(&self, served: Option<&LoadBalancer>, document: &LoadBalancer, generation: u64, by: &str) {
        let (old, new) = (format!("generation {generation}"), format!("generation {}", self.hands.generation()));
        match served {
            Some(served) if served == document => {}
            Some(served) => self.note(EventKind::Document, [&old, &new], &changes::between(served, document), by, ""),
            None => self.note(EventKind::Document, ["", &new], &changes::contents(document), by, ""),
        }
    }

    fn note(&self, kind: EventKind, change: [&str; 2], reason: &str, by: &str, effect: &str) {
        self.timeline.tell(&Told { kind, change, reason, by, effect });
    }

    /// Nothing is left; nor is what happened.
    async fn forget(&mut self, reason: &str, by: &str) {
        self.watching = None;
        self.timeline.forget("", reason, by).await;
    }

    async fn keep<F>(&self, task: F) -> Result<(), Fault>
    where
        F: FnOnce(&Store) -> Result<(), crate::store::StoreError> + Send + 'static,
    {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || task(&store)).await {
            Ok(result) => result.map_err(|e| Fault::Trouble(format!("the document cannot be kept: {e}"))),
            Err(error) => Err(Fault::Trouble(error.to_string())),
        }
    }
}

/// The least time between two attempts: none before the second, then 100 ms, doubling up to 10 s.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(10);
    /// A data plane that lived so long was well.
    const GOOD_LIFE: Duration = Duration::from_secs(30);

    /// How long to wait from now, when the attempt before lasted `lived`: what it lasted counts as waited.
    fn next(&mut self, lived: Duration) -> Duration {
        if lived >= Self::GOOD_LIFE {
            self.failures = 0;
        }
        let between = match self.failures {
            0 => Duration::ZERO,
            n => Self::FIRST.saturating_mul(1 << (n - 1).min(10)).min(Self::LAST),
        };
        self.failures += 1;
        between.saturating_sub(lived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_is_immediate_then_doubles_then_forgives() {
        let mut backoff = Backoff::default();
        let short = Duration::ZERO;
        let waits: Vec<_> = (0..10).map(|_| backoff.next(short).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.next(Duration::from_secs(4)), Duration::from_secs(6));
        assert_eq!(backoff.next(Backoff::GOOD_LIFE), Duration::ZERO);
        assert_eq!(backoff.next(short), Backoff::FIRST);
    }
}
