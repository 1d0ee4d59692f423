//! The hands of one load balancer: looks at what there is on the node, and carries out one action after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use lb_control::handoff;
use lb_control::instance::{ApplyError, InstanceClient, Refused};
use lb_control::listen::{ListenError, listen, listen_more};
use lb_core::config::LoadBalancer;
use lb_core::id::LoadBalancerId;
use lb_core::spec;

use crate::actual::{Actual, Instance};
use crate::config::Config;
use crate::desired::{Desired, inner_link_of, namespace_of, outer_link_of};
use crate::files;
use crate::instance::{Exit, Launch, Process, RunDir, find_running};
use crate::link::{self, Ends};
use crate::log;
use crate::netns;
use crate::reconcile::Action;

/// How much longer than its own deadline a draining data plane may take before it is killed.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// What all load balancers of the node have in common.
#[derive(Debug)]
pub struct Env {
    /// The node.
    pub config: Config,
    /// How data planes are started.
    pub launch: Launch,
    /// Of this machine.
    pub processors: usize,
}

/// Why something could not be done.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The data plane finds the document wrong.
    Refused(Refused),
    /// Something is in the way: a port in use, somebody else's namespace.
    Conflict(String),
    /// Anything else.
    Trouble(String),
    /// The data plane ended meanwhile.
    Ended(Exit),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => f.write_str(&refused.message),
            Self::Conflict(words) | Self::Trouble(words) => f.write_str(words),
            Self::Ended(exit) => write!(f, "the data plane ended while it was being set up: {exit}"),
        }
    }
}

/// One load balancer's.
#[derive(Debug)]
pub struct Hands {
    id: LoadBalancerId,
    env: Arc<Env>,
    run: RunDir,
    namespace: String,
    inner: String,
    outer: String,
    /// Duplicates of what the data plane listens on; they outlive it.
    sockets: BTreeMap<SocketAddr, Vec<TcpListener>>,
    plane: Plane,
    /// The link was set up in this agent's life, so its routes are as this agent's configuration says.
    plugged: bool,
}

#[derive(Debug)]
enum Plane {
    Absent,
    /// Runs, started by an earlier agent.
    Found(u32),
    Running(Running),
}

/// A data plane that is watched.
#[derive(Debug)]
struct Running {
    process: Process,
    served: Option<Arc<LoadBalancer>>,
    /// How many sockets of each address it was given.
    offered: BTreeMap<SocketAddr, usize>,
    /// Of those, how many it is known to accept on.
    accepted: BTreeMap<SocketAddr, usize>,
    generation: u64,
    /// Stands for the keys and certificates it was given.
    given: Option<u64>,
}

impl Hands {
    /// `found`: process of a data plane that runs already.
    pub fn new(id: LoadBalancerId, env: Arc<Env>, found: Option<u32>) -> Self {
        Self {
            id,
            run: RunDir::new(&env.config.run_dir, id),
            namespace: namespace_of(id),
            inner: inner_link_of(id),
            outer: outer_link_of(id),
            sockets: BTreeMap::new(),
            plane: found.map_or(Plane::Absent, Plane::Found),
            plugged: false,
            env,
        }
    }

    /// Where the data plane is to be asked.
    pub fn control(&self) -> InstanceClient {
        InstanceClient::new(self.run.control())
    }

    /// Its process, while one is watched.
    pub fn process(&self) -> Option<&Process> {
        match &self.plane {
            Plane::Running(running) => Some(&running.process),
            Plane::Absent | Plane::Found(_) => None,
        }
    }

    /// Which document the data plane serves; 0: none.
    pub fn generation(&self) -> u64 {
        if let Plane::Running(running) = &self.plane { running.generation } else { 0 }
    }

    /// Waits until the data plane has ended; for ever when none is watched.
    pub async fn ended(&self) -> Exit {
        match &self.plane {
            Plane::Running(running) => running.process.ended().await,
            Plane::Absent | Plane::Found(_) => std::future::pending().await,
        }
    }

    /// The data plane has ended; its sockets stay open.
    pub fn bury(&mut self) {
        self.plane = Plane::Absent;
    }

    /// Looks at what there is.
    pub async fn observe(&self) -> Result<Actual, Fault> {
        let (namespace, inner, outer) = (self.namespace.clone(), self.inner.clone(), self.outer.clone());
        let (exists, mut plug) = blocking(move || {
            let exists = netns::exists(&namespace);
            let ends = Ends { namespace: &namespace, inner: &inner, outer: &outer };
            let plug = if exists { link::observe(ends)? } else { None };
            Ok::<_, link::LinkError>((exists, plug))
        })
        .await?;
        if let Some(plugged) = &mut plug {
            plugged.ready &= self.plugged;
        }
        let instance = match &self.plane {
            Plane::Absent => Instance::Absent,
            Plane::Found(_) => Instance::Found,
            Plane::Running(running) => {
                Instance::Running { served: running.served.clone(), offered: running.offered.clone() }
            }
        };
        let sockets = counts(&self.sockets);
        Ok(Actual { marked: self.run.is_marked(), namespace: exists, plug, sockets, instance })
    }

    /// Carries out one action. `desired` is what the plan was made for.
    pub async fn perform(&mut self, action: &Action, desired: Option<&Desired>) -> Result<(), Fault> {
        match (action, desired) {
            (Action::Mark, _) => self.run.mark().map_err(|e| trouble("make", &self.run.path.display(), &e)),
            (Action::CreateNamespace, _) => self.create_namespace().await,
            (Action::PlugVip, Some(desired)) => self.plug(desired).await,
            (Action::AdoptInstance, _) => self.adopt().await,
            (Action::OpenSockets(addr, count), _) => self.open(*addr, *count).await,
            (Action::StartInstance, _) => self.start().await,
            (Action::OfferSockets(addrs), _) => self.offer(addrs).await,
            (Action::Configure, Some(desired)) => self.configure(desired).await,
            (Action::CloseSockets(addrs), _) => {
                self.close(addrs);
                Ok(())
            }
            (Action::TrimAddresses(addresses), _) => {
                let addresses = addresses.clone();
                self.on_link(move |ends| link::trim(ends, &addresses)).await
            }
            (Action::DrainInstance, _) => {
                self.drain().await;
                Ok(())
            }
            (Action::Unplug, _) => self.on_link(link::unplug).await,
            (Action::DeleteNamespace, _) => {
                let namespace = self.namespace.clone();
                blocking(move || netns::delete(&namespace)).await
            }
            (Action::Unmark, _) => self.run.unmark().map_err(|e| trouble("remove", &self.run.path.display(), &e)),
            (Action::PlugVip | Action::Configure, None) => Err(Fault::Trouble("nothing is desired".into())),
        }
    }

    async fn create_namespace(&mut self) -> Result<(), Fault> {
        // A data plane whose namespace lost its name keeps serving in it: the name is given back.
        let of = match &self.plane {
            Plane::Absent => None,
            Plane::Found(pid) => Some(*pid),
            Plane::Running(running) => Some(running.process.pid),
        };
        let namespace = self.namespace.clone();
        blocking(move || netns::create(&namespace, of)).await
    }

    async fn plug(&mut self, desired: &Desired) -> Result<(), Fault> {
        let plug = desired.plug.clone();
        self.on_link(move |ends| link::plug(ends, &plug)).await?;
        self.plugged = true;
        Ok(())
    }

    async fn adopt(&mut self) -> Result<(), Fault> {
        let Plane::Found(pid) = self.plane else { return Ok(()) };
        let process = Process::adopt(pid).ok();
        // Looked at once more now that the descriptor holds on to the process: the number may be another's.
        let is_ours = find_running(&self.env.config.run_dir).get(&self.id) == Some(&pid);
        let Some(process) = process.filter(|_| is_ours) else {
            self.plane = Plane::Absent;
            return Ok(());
        };
        process.ready(&self.run).await.map_err(|e| Fault::Trouble(e.to_string()))?;
        let held = handoff::collect(self.run.handoff()).await;
        let held = held.map_err(|e| trouble("collect the listening sockets of", &format!("pid {pid}"), &e))?;
        let document = self.control().document().await.map_err(|e| Fault::Trouble(e.to_string()))?;
        if document.loadbalancer.is_none() {
            // Started just before its agent ended: it serves nobody, and what it was given is unknown.
            process.kill().await;
            self.plane = Plane::Absent;
            return Ok(());
        }
        let listener = |fd: OwnedFd| TcpListener::from(fd);
        self.sockets = held.into_iter().map(|(addr, fds)| (addr, fds.into_iter().map(listener).collect())).collect();
        self.plane = Plane::Running(Running {
            process,
            served: document.loadbalancer.map(Arc::new),
            offered: counts(&self.sockets),
            accepted: counts(&self.sockets),
            generation: document.generation,
            // What an earlier agent gave it is not known.
            given: None,
        });
        Ok(())
    }

    async fn open(&mut self, addr: SocketAddr, count: usize) -> Result<(), Fault> {
        let have = self.sockets.get(&addr).map_or(0, Vec::len);
        let mut opened = self.listen(addr, have, count).await?;
        // An agent that ended between offering sockets and configuring leaves them with the data plane, which drops
        // what no document wants when it is given one, be it the same.
        if let (Err(ListenError::InUse { .. }), Plane::Running(running)) = (&opened, &self.plane)
            && let Some(served) = running.served.clone()
        {
            let again = self.control().apply(spec::write(&served).to_string()).await;
            again.map_err(|error| Fault::Trouble(error.to_string()))?;
            opened = self.listen(addr, have, count).await?;
        }
        let sockets = opened.map_err(|error| match error {
            ListenError::InUse { .. } | ListenError::NotHere { .. } => Fault::Conflict(error.to_string()),
            ListenError::Denied { .. } | ListenError::Io { .. } => Fault::Trouble(error.to_string()),
        })?;
        self.sockets.entry(addr).or_default().extend(sockets);
        Ok(())
    }

    async fn listen(
        &self,
        addr: SocketAddr,
        have: usize,
        count: usize,
    ) -> Result<Result<Vec<TcpListener>, ListenError>, Fault> {
        let make = move || if have == 0 { listen(addr, count) } else { listen_more(addr, count.saturating_sub(have)) };
        netns::inside_async(&self.namespace, make).await.map_err(|e| Fault::Trouble(e.to_string()))
    }

    async fn start(&mut self) -> Result<(), Fault> {
        let started = Process::start(&self.env.launch, &self.namespace, &self.run).await;
        let process = started.map_err(|e| Fault::Trouble(e.to_string()))?;
        let ready = process.ready(&self.run).await;
        // Watched from here on, ready or not: it must not be forgotten.
        self.plane = Plane::Running(Running::new(process));
        match ready {
            Ok(()) => Ok(()),
            Err(crate::instance::InstanceError::EndedEarly(exit)) => Err(Fault::Ended(exit)),
            Err(error) => {
                // Nobody can talk to it, so nobody can be served by it.
                self.kill().await;
                Err(Fault::Trouble(error.to_string()))
            }
        }
    }

    async fn offer(&mut self, addrs: &[SocketAddr]) -> Result<(), Fault> {
        let Plane::Running(running) = &mut self.plane else { return Err(Fault::Trouble("no data plane".into())) };
        let given = |addr: &SocketAddr| running.offered.get(addr).copied().unwrap_or(0);
        let new = |addr: &SocketAddr| Some(self.sockets.get(addr)?.iter().skip(given(addr)).map(AsFd::as_fd).collect());
        let lent: Vec<(SocketAddr, Vec<BorrowedFd<'_>>)> =
            addrs.iter().filter_map(|addr| Some((*addr, new(addr)?))).collect();
        let offered = tokio::select! {
            biased;
            offered = handoff::offer(self.run.handoff(), &lent) => offered,
            exit = running.process.ended() => return Err(Fault::Ended(exit)),
        };
        match offered {
            Ok(()) => {
                let held = addrs.iter().filter_map(|addr| Some((*addr, self.sockets.get(addr)?.len())));
                running.offered.extend(held);
            }
            Err(error) => {
                return Err(ended_or(running, trouble("offer listening sockets to", &"the data plane", &error)).await);
            }
        }
        Ok(())
    }

    async fn configure(&mut self, desired: &Desired) -> Result<(), Fault> {
        let control = self.control();
        let Plane::Running(running) = &mut self.plane else { return Err(Fault::Trouble("no data plane".into())) };
        let text = spec::write(&desired.document).to_string();
        let document = Arc::clone(&desired.document);
        let (stamp, given) =
            blocking(move || Ok::<_, String>((files::stamp(&document), files::read(&document)))).await?;
        running.given = stamp;
        let applied = tokio::select! {
            biased;
            applied = async {
                if let Some(given) = given {
                    control.give(&given).await?;
                }
                control.apply(text).await
            } => applied,
            exit = running.process.ended() => return Err(Fault::Ended(exit)),
        };
        match applied {
            Ok(applied) => {
                running.served = Some(desired.document.clone());
                running.generation = applied.generation;
                // What the document does not use, the data plane closes.
                running.offered.retain(|addr, _| desired.sockets.contains_key(addr));
                running.accepted = running.offered.clone();
                Ok(())
            }
            Err(error) => {
                let fault = match error {
                    ApplyError::Refused(refused) => Fault::Refused(refused),
                    ApplyError::Failed(failed) => Fault::Conflict(failed.message),
                    ApplyError::Client(error) => {
                        // It may or may not serve it: the next round asks for it again.
                        running.served = None;
                        Fault::Trouble(error.to_string())
                    }
                };
                Err(ended_or(running, fault).await)
            }
        }
    }

    /// Gives the data plane keys and certificates that have changed on disk since it was last given them. `Some`: it
    /// was, and this came of it.
    pub async fn renew_files(&mut self) -> Option<Result<(), Fault>> {
        let control = self.control();
        let Plane::Running(running) = &mut self.plane else { return None };
        let document = Arc::clone(running.served.as_ref()?);
        let looked = blocking(move || Ok::<_, String>((files::stamp(&document), document))).await;
        let (stamp, document) = looked.ok()?;
        if stamp.is_none() || stamp == running.given {
            return None;
        }
        // A bad file is tried once, and again when it has changed.
        running.given = stamp;
        let given = blocking(move || Ok::<_, String>(files::read(&document))).await.ok()??;
        let renewed = async {
            control.give(&given).await?;
            control.renew_tls().await
        };
        Some(renewed.await.map_err(|error| Fault::Trouble(error.to_string())))
    }

    fn close(&mut self, addrs: &[SocketAddr]) {
        self.sockets.retain(|addr, _| !addrs.contains(addr));
        if let Plane::Running(running) = &mut self.plane {
            running.offered.retain(|addr, _| !addrs.contains(addr));
            running.accepted.retain(|addr, _| !addrs.contains(addr));
        }
    }

    /// Closes sockets that were made for a document that is not served after all: whoever the kernel put into their
    /// queues would wait there for ever. The data plane has dropped its own with the document.
    pub fn close_unaccepted(&mut self) {
        let Plane::Running(running) = &mut self.plane else { return };
        self.sockets.retain(|addr, sockets| {
            sockets.truncate(running.accepted.get(addr).copied().unwrap_or(0));
            !sockets.is_empty()
        });
        running.offered = running.accepted.clone();
    }

    async fn drain(&mut self) {
        let patience = Duration::from_secs(self.env.launch.drain_timeout_s.into()) + DRAIN_GRACE;
        if let Plane::Running(running) = &self.plane {
            let exit = running.process.drain(patience).await;
            log::info(self.id, format_args!("the data plane (pid {}) {exit}", running.process.pid));
        }
        self.plane = Plane::Absent;
    }

    async fn kill(&mut self) {
        if let Plane::Running(running) = &self.plane {
            running.process.kill().await;
        }
        self.plane = Plane::Absent;
    }

    async fn on_link<F>(&self, task: F) -> Result<(), Fault>
    where
        F: FnOnce(Ends<'_>) -> Result<(), link::LinkError> + Send + 'static,
    {
        let (namespace, inner, outer) = (self.namespace.clone(), self.inner.clone(), self.outer.clone());
        blocking(move || task(Ends { namespace: &namespace, inner: &inner, outer: &outer })).await
    }
}

impl Running {
    fn new(process: Process) -> Self {
        Self { process, served: None, offered: BTreeMap::new(), accepted: BTreeMap::new(), generation: 0, given: None }
    }
}

fn counts(sockets: &BTreeMap<SocketAddr, Vec<TcpListener>>) -> BTreeMap<SocketAddr, usize> {
    sockets.iter().map(|(addr, sockets)| (*addr, sockets.len())).collect()
}

/// A broken conversation is often the first sign of an end.
async fn ended_or(running: &Running, fault: Fault) -> Fault {
    const MOMENT: Duration = Duration::from_millis(20);
    match tokio::time::timeout(MOMENT, running.process.ended()).await {
        Ok(exit) if matches!(fault, Fault::Trouble(_)) => Fault::Ended(exit),
        _ => fault,
    }
}

async fn blocking<T, E, F>(task: F) -> Result<T, Fault>
where
    T: Send + 'static,
    E: fmt::Display + Send + 'static,
    F: FnOnce() -> Result<T, E> + Send + 'static,
{
    match tokio::task::spawn_blocking(task).await {
        Ok(result) => result.map_err(|e| Fault::Trouble(e.to_string())),
        Err(error) => Err(Fault::Trouble(error.to_string())),
    }
}

fn trouble(step: &str, what: &dyn fmt::Display, error: &io::Error) -> Fault {
    Fault::Trouble(format!("cannot {step} {what}: {error}"))
}
