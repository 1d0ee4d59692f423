//! All load balancers of the node: who there is, who may have which VIP, and what is asked of whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::Bytes;
use lb_control::client::{ClientError, EXCHANGE_TIMEOUT};
use lb_control::instance::{Failed, Imported, InstanceClient, Refused};
use lb_control::node::{AgentHealth, ApplyReply, DeleteReply, NotFound, ProvisioningStatus, Status, Summary};
use lb_control::stats::Stats;
use lb_core::config::LoadBalancer;
use lb_core::id::LoadBalancerId;
use lb_core::spec;
use tokio::sync::{mpsc, oneshot};

use crate::desired::Desired;
use crate::hands::{Env, Fault};
use crate::instance::{RunDir, find_running};
use crate::keeper::{self, Command, Handle, Start, View, lock};
use crate::log;
use crate::status;
use crate::store::{Store, StoreError};
use crate::timeline::follow::Pieces;
use crate::timeline::{Timeline, Timelines};

/// For a data plane's word on how it is, when somebody asks the agent.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Why something was not done.
#[derive(Debug)]
pub enum NodeFault {
    /// The document is wrong.
    Refused(Refused),
    /// Nobody has that name.
    NotFound(NotFound),
    /// Something is in the way.
    Conflict(String),
    /// What was asked makes no sense.
    Senseless(String),
    /// Anything else.
    Trouble(String),
}

impl From<Fault> for NodeFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refused) => Self::Refused(refused),
            Fault::Conflict(words) => Self::Conflict(words),
            Fault::Trouble(_) | Fault::Ended(_) => Self::Trouble(fault.to_string()),
        }
    }
}

/// The node.
#[derive(Debug)]
pub struct Node {
    env: Arc<Env>,
    store: Arc<Store>,
    timelines: Arc<Timelines>,
    entries: Mutex<HashMap<LoadBalancerId, Entry>>,
    since: Instant,
}

/// A VIP on a network.
type Claim = (String, IpAddr);

#[derive(Clone, Debug)]
struct Entry {
    handle: Handle,
    /// Held while its document is changed.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// VIPs nobody else may have: of what is kept, and of what is being applied.
    claims: Vec<Claim>,
}

impl Node {
    /// Takes up what an earlier agent left: documents, data planes that run, and what has to be cleared away.
    pub async fn start(env: Env, store: Store) -> Result<Arc<Self>, StoreError> {
        let loaded = store.load(jiff::Timestamp::now().as_second())?;
        let run_dir = env.config.run_dir.clone();
        let running = find_running(&run_dir);
        let (env, store) = (Arc::new(env), Arc::new(store));
        let timelines = Timelines::start(store.folder());

        let mut documents = loaded.documents;
        let mut untouchable = Vec::new();
        for damaged in loaded.damaged {
            let what = format!("its document is damaged ({}), moved to {}", damaged.why, damaged.moved_to.display());
            log::error(damaged.id, what);
            match salvage(&run_dir, damaged.id, running.contains_key(&damaged.id)).await {
                Ok(document) => {
                    store.save(&document)?;
                    log::warn(damaged.id, "the document its data plane serves is kept instead");
                    documents.push(document);
                }
                Err(why) => {
                    log::error(damaged.id, format_args!("{why}; nothing of it is touched until it is applied again"));
                    untouchable.push(damaged.id);
                }
            }
        }

        let mut entries = HashMap::new();
        for document in documents {
            let (id, found) = (document.id, running.get(&document.id).copied());
            let document = Arc::new(document);
            let desired = Desired::on(&env.config, document.clone(), env.processors);
            if let Err(error) = &desired {
                log::error(id, format_args!("{error}; nothing of it is touched"));
            }
            let claims = desired.iter().map(|desired| claim_of(&env, desired)).collect();
            let desired = desired.map(Some).map_err(|error| (document, error.to_string()));
            let start = Start { id, desired, found, expects_command: false, timeline: timelines.open(id) };
            let handle = keeper::spawn(start, env.clone(), store.clone());
            entries.insert(id, Entry { handle, turn: Arc::default(), claims });
        }
        for id in marked(&run_dir).chain(running.keys().copied()) {
            if !entries.contains_key(&id) && !untouchable.contains(&id) {
                log::info(id, "no document, but something of it is left: removing it");
                let found = running.get(&id).copied();
                let timeline = timelines.open(id);
                let start = Start { id, desired: Ok(None), found, expects_command: false, timeline };
                let handle = keeper::spawn(start, env.clone(), store.clone());
                entries.insert(id, Entry { handle, turn: Arc::default(), claims: Vec::new() });
            }
        }
        timelines.sweep(|id| entries.contains_key(&id) || untouchable.contains(&id));
        Ok(Arc::new(Self { env, store, timelines, entries: Mutex::new(entries), since: Instant::now() }))
    }

    /// Keeps and serves a document, as `by` wants. It must not be dropped half way: run it in a task of its own.
    pub async fn apply(&self, text: String, by: &str) -> Result<ApplyReply, NodeFault> {
        let began = Instant::now();
        let read = tokio::task::spawn_blocking(move || spec::read("<request>", &text)).await;
        let document = read.map_err(|e| NodeFault::Trouble(e.to_string()))?.map_err(|mistakes| {
            let count = mistakes.mistakes.len();
            let message = format!("the document has {count} mistake{}", if count == 1 { "" } else { "s" });
            NodeFault::Refused(Refused { message, mistakes: mistakes.mistakes, rendered: mistakes.rendered })
        })?;
        let (id, name) = (document.id, document.name.clone());
        let desired = Desired::on(&self.env.config, Arc::new(document), self.env.processors);
        let desired = desired.map_err(|error| NodeFault::Conflict(error.to_string()))?;

        let turn = self.entry(id).turn;
        let _turn = turn.lock().await;
        self.claim(id, claim_of(&self.env, &desired))?;
        let created = lock(&self.entry(id).handle.view).document.is_none();
        let result = self.ask(id, |reply| Command::Apply(desired.clone(), by.to_owned(), reply)).await;
        self.keep_only_claims_in_use(id);
        let generation = result??;
        log::info(id, format_args!("applied as {name:?} in {} ms", began.elapsed().as_millis()));
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(ApplyReply { id: id.to_string(), name, created, generation, took_us })
    }

    /// Lets nothing of a load balancer be left, as `by` wants. It must not be dropped half way: run it in a task of its
    /// own.
    pub async fn delete(&self, id_or_name: &str, by: &str) -> Result<DeleteReply, NodeFault> {
        let (id, document, _) = self.find(id_or_name)?;
        let turn = self.entry(id).turn;
        let _turn = turn.lock().await;
        self.ask(id, |reply| Command::Delete(by.to_owned(), reply)).await??;
        lock(&self.entries).remove(&id);
        Ok(DeleteReply { id: id.to_string(), name: document.name.clone() })
    }

    /// All that have a document, by name.
    pub fn list(&self) -> Vec<Summary> {
        let summary = |entry: &Entry| {
            let (view, known) = (lock(&entry.handle.view).clone(), entry.handle.timeline.known());
            Some(status::summary(view.document.as_ref()?, &view, known))
        };
        let mut all: Vec<Summary> = lock(&self.entries).values().filter_map(summary).collect();
        all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        all
    }

    /// The document of one.
    pub fn document(&self, id_or_name: &str) -> Result<Arc<LoadBalancer>, NodeFault> {
        Ok(self.find(id_or_name)?.1)
    }

    /// All documents.
    pub(crate) fn documents(&self) -> Vec<Arc<LoadBalancer>> {
        self.views().into_iter().filter_map(|(_, view)| view.document).collect()
    }

    /// The tree of one.
    pub async fn status(&self, id_or_name: &str) -> Result<Status, NodeFault> {
        let (id, document, view) = self.find(id_or_name)?;
        let control = self.control(id);
        let (health, stats) = match view.pid {
            Some(_) => (control.health().await.ok(), control.stats().await.ok()),
            None => (None, None),
        };
        Ok(status::tree(&document, &view, health.as_ref(), stats.as_ref()))
    }

    /// The figures of one.
    pub async fn stats(&self, id_or_name: &str) -> Result<Stats, NodeFault> {
        let (id, _, _) = self.find(id_or_name)?;
        self.control(id).stats().await.map_err(|error: ClientError| NodeFault::Trouble(error.to_string()))
    }

    /// The persistence tables of one, passed on piece by piece as its data plane gives them.
    pub async fn persistence(&self, id_or_name: &str) -> Result<Pieces, NodeFault> {
        let (id, _, _) = self.find(id_or_name)?;
        let mut tables = self.control(id).persistence().await.map_err(|error| NodeFault::Trouble(error.to_string()))?;
        let (reader, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(piece) = tables.piece().await.transpose() {
                let broke = piece.is_err();
                if reader.send(piece).await.is_err() || broke {
                    return;
                }
            }
        });
        Ok(pieces)
    }

    /// Has the data plane of one take up a stream of persistence tables.
    pub async fn take_up(&self, id_or_name: &str, stream: Bytes) -> Result<Imported, NodeFault> {
        let (id, _, _) = self.find(id_or_name)?;
        let control = self.control(id).with_timeout(EXCHANGE_TIMEOUT);
        control.take_up(stream).await.map_err(|error| match &error {
            ClientError::Status { status: StatusCode::UNPROCESSABLE_ENTITY, body, .. } => {
                let words = serde_json::from_slice::<Failed>(body).map(|failed| failed.message);
                NodeFault::Conflict(words.unwrap_or_else(|_| error.to_string()))
            }
            _ => NodeFault::Trouble(error.to_string()),
        })
    }

    /// What happened to one.
    pub fn timeline(&self, id_or_name: &str) -> Result<Arc<Timeline>, NodeFault> {
        let (id, _, _) = self.find(id_or_name)?;
        Ok(self.entry(id).handle.timeline)
    }

    /// What happens to all.
    pub fn timelines(&self) -> &Timelines {
        &self.timelines
    }

    /// Of the agent itself.
    pub fn health(&self) -> AgentHealth {
        let views = self.views();
        let kept = views.iter().filter(|(_, view)| view.document.is_some());
        AgentHealth {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            loadbalancers: kept.clone().count(),
            faulty: kept.filter(|(_, view)| view.provisioning == ProvisioningStatus::Error).count(),
        }
    }

    pub(crate) fn control(&self, id: LoadBalancerId) -> InstanceClient {
        InstanceClient::new(RunDir::new(&self.env.config.run_dir, id).control()).with_timeout(LOOK_TIMEOUT)
    }

    fn views(&self) -> Vec<(LoadBalancerId, View)> {
        lock(&self.entries).iter().map(|(id, entry)| (*id, lock(&entry.handle.view).clone())).collect()
    }

    fn find(&self, id_or_name: &str) -> Result<(LoadBalancerId, Arc<LoadBalancer>, View), NodeFault> {
        let views = self.views();
        let kept = || views.iter().filter_map(|(id, view)| Some((*id, view.document.clone()?, view.clone())));
        if let Some(found) = kept().find(|(id, _, _)| id.to_string() == id_or_name) {
            return Ok(found);
        }
        let mut named: Vec<_> = kept().filter(|(_, document, _)| document.name == id_or_name).collect();
        match named.len() {
            1 => Ok(named.remove(0)),
            0 => {
                let label = |d: &LoadBalancer| if d.name.is_empty() { d.id.to_string() } else { d.name.clone() };
                let mut known: Vec<String> = kept().map(|(_, document, _)| label(&document)).collect();
                known.sort();
                let there = if known.is_empty() {
                    "there are none".to_owned()
                } else {
                    format!("there are: {}", known.join(", "))
                };
                let message = format!("no load balancer called {id_or_name}; {there}");
                Err(NodeFault::NotFound(NotFound { message, known }))
            }
            _ => {
                let ids: Vec<String> = named.iter().map(|(id, _, _)| id.to_string()).collect();
                Err(NodeFault::Conflict(format!("several are called {id_or_name}, say which: {}", ids.join(", "))))
            }
        }
    }

    /// The entry of `id`, with a keeper that runs.
    fn entry(&self, id: LoadBalancerId) -> Entry {
        let mut entries = lock(&self.entries);
        let fresh = || {
            // Where something is left of it, a data plane may run, too.
            let run_dir = &self.env.config.run_dir;
            let is_marked = RunDir::new(run_dir, id).is_marked();
            let found = if is_marked { find_running(run_dir).get(&id).copied() } else { None };
            let timeline = self.timelines.open(id);
            let start = Start { id, desired: Ok(None), found, expects_command: true, timeline };
            keeper::spawn(start, self.env.clone(), self.store.clone())
        };
        let entry =
            entries.entry(id).or_insert_with(|| Entry { handle: fresh(), turn: Arc::default(), claims: Vec::new() });
        if entry.handle.commands.is_closed() {
            entry.handle = fresh();
        }
        entry.clone()
    }

    async fn ask<T>(
        &self,
        id: LoadBalancerId,
        command: impl Fn(oneshot::Sender<Result<T, Fault>>) -> Command,
    ) -> Result<Result<T, Fault>, NodeFault> {
        // A keeper that has just found nothing left to keep may close the door while we knock: the next one answers.
        for _ in 0..3 {
            let (reply, answer) = oneshot::channel();
            if self.entry(id).handle.commands.send(command(reply)).await.is_ok()
                && let Ok(result) = answer.await
            {
                return Ok(result);
            }
        }
        Err(NodeFault::Trouble("its keeper has failed; the agent's log says why".into()))
    }

    fn claim(&self, id: LoadBalancerId, claim: Claim) -> Result<(), NodeFault> {
        let mut entries = lock(&self.entries);
        if let Some((other, _)) = entries.iter().find(|(other, entry)| **other != id && entry.claims.contains(&claim)) {
            let (network, vip) = claim;
            return Err(NodeFault::Conflict(format!(
                "VIP {vip} on network {network} belongs to load balancer {other}"
            )));
        }
        if let Some(entry) = entries.get_mut(&id) {
            entry.claims.push(claim);
        }
        Ok(())
    }

    fn keep_only_claims_in_use(&self, id: LoadBalancerId) {
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.get_mut(&id) else { return };
        let document = lock(&entry.handle.view).document.clone();
        let Some(document) = document else {
            entries.remove(&id);
            return;
        };
        let desired = Desired::on(&self.env.config, document, self.env.processors);
        entry.claims = desired.iter().map(|desired| claim_of(&self.env, desired)).collect();
    }
}

fn claim_of(env: &Env, desired: &Desired) -> Claim {
    let document = &desired.document;
    let network = env.config.network_of(document.vip_address, document.vip_network.as_deref());
    (network.map(|network| network.name.clone()).unwrap_or_default(), document.vip_address)
}

/// The document a running data plane serves, for one whose own was damaged.
async fn salvage(run_dir: &std::path::Path, id: LoadBalancerId, runs: bool) -> Result<LoadBalancer, String> {
    if !runs {
        return Err("and no data plane of it runs that could tell".into());
    }
    let control = InstanceClient::new(RunDir::new(run_dir, id).control()).with_timeout(LOOK_TIMEOUT);
    let reply = control.document().await.map_err(|e| format!("and its data plane does not tell: {e}"))?;
    let document = reply.loadbalancer.ok_or("and its data plane has no document")?;
    if document.id == id { Ok(document) } else { Err(format!("and its data plane serves {}", document.id)) }
}

/// Load balancers an agent with this run folder has made something for.
fn marked(run_dir: &std::path::Path) -> impl Iterator<Item = LoadBalancerId> {
    let entries = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(LoadBalancerId))
}
