//! What happened to each load balancer: its data plane's events and the agent's own in one row, bounded, on disk.
//!
//! [`Timelines`] is what all of a node share; a [`Timeline`] is one load balancer's. Its keeper tells what the agent
//! did ([`changes`] says what another document brings), [`watch`] fetches what the data plane tells, [`follow`] passes
//! both on to whoever listens, and [`file`](mod@file) keeps them. Telling never waits for a disk: a task of its own
//! writes, and what cannot be written stays in memory until it can. In memory are otherwise only the last few of each,
//! because a node may have a thousand load balancers: who asks for older ones is served from the file.

pub mod changes;
pub mod file;
pub mod follow;
pub mod watch;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_control::events::{EVENTS_KEPT, Event, EventKind, Events, OPERATOR, Subject};
use lb_control::node::{Named, NodeEvent};
use lb_core::health::OperatingStatus;
use lb_core::id::LoadBalancerId;
use tokio::sync::{Notify, Semaphore, broadcast};

use crate::keeper::lock;
use crate::log;
use file::{Cursor, EventFile, Header, Record};

/// Who caused what no person asked for.
pub const THE_AGENT: &str = "the agent";
/// Events of a load balancer that stay in memory once they are on disk.
const RECENT_MAX: usize = 16;
/// Events of all load balancers that a follower may lag behind.
const LAG_MAX: usize = 4096;
/// Who may follow, or wait for an event, at once: fewer than the socket has places, so that others are still answered.
pub const FOLLOWERS_MAX: usize = 32;
/// Between two attempts to write what could not be written.
const RETRY: Duration = Duration::from_secs(15);

/// What followers are passed.
#[derive(Clone, Debug)]
struct News {
    told: NodeEvent,
    /// The load balancer is gone.
    is_last: bool,
}

/// What the timelines of a node have in common.
#[derive(Debug)]
pub struct Timelines {
    folder: PathBuf,
    news: broadcast::Sender<Arc<News>>,
    followers: Arc<Semaphore>,
    /// Those with something to write.
    unsaved: Mutex<Vec<Arc<Timeline>>>,
    wake: Notify,
    /// Held while files are written.
    saving: tokio::sync::Mutex<()>,
}

/// What the data plane last said of itself: for lists, which must not ask a thousand data planes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing: none runs, it was not asked yet, or it does not tell.
    #[default]
    Nothing,
    /// It does not answer.
    Silent,
    /// This.
    Says(OperatingStatus),
}

/// What the agent tells.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What kind of thing.
    pub kind: EventKind,
    /// How it was before, which may be empty, and how it is now.
    pub change: [&'a str; 2],
    /// Why, in words.
    pub reason: &'a str,
    /// Who or what caused it.
    pub by: &'a str,
    /// What it did to traffic; empty: nothing.
    pub effect: &'a str,
}

/// The events of one load balancer.
#[derive(Debug)]
pub struct Timeline {
    id: LoadBalancerId,
    shared: Arc<Timelines>,
    /// Never held across a system call.
    state: Mutex<State>,
    /// Locked before `state` where both are. Only off the runtime's threads.
    file: Mutex<OnDisk>,
}

#[derive(Debug)]
struct State {
    name: String,
    row: u64,
    last: u64,
    /// The end of the row; all that is not on disk is in it.
    recent: VecDeque<Record>,
    /// All up to this number are on disk.
    saved: u64,
    is_queued: bool,
    plane: Cursor,
    known: Known,
}

#[derive(Debug)]
struct OnDisk {
    file: EventFile,
    fault_is_told: bool,
}

impl Timelines {
    /// `folder`: where documents are. Starts the task that writes.
    pub fn start(folder: &Path) -> Arc<Self> {
        let shared = Arc::new(Self {
            folder: folder.to_owned(),
            news: broadcast::Sender::new(LAG_MAX),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            unsaved: Mutex::default(),
            wake: Notify::new(),
            saving: tokio::sync::Mutex::default(),
        });
        tokio::spawn(shared.clone().save_all());
        shared
    }

    /// Takes up the timeline of `id` where its file ends. Reads the file.
    pub fn open(self: &Arc<Self>, id: LoadBalancerId) -> Arc<Timeline> {
        let (file, contents) = EventFile::open(self.folder.join(format!("{id}.events")));
        let contents = contents.unwrap_or_else(|error| {
            log::error(id, format_args!("{} cannot be read: {error}; a new row begins", file.path().display()));
            file::Contents::default()
        });
        if contents.damaged > 0 {
            let (lines, path) = (contents.damaged, file.path().display());
            log::error(id, format_args!("{lines} damaged lines of {path} are left out"));
        }
        let state = State {
            name: String::new(),
            row: contents.header.map_or_else(now_ms, |header| header.row),
            last: contents.last(),
            saved: contents.last(),
            plane: contents.plane(),
            recent: contents.records.into_iter().rev().take(RECENT_MAX).rev().collect(),
            is_queued: false,
            known: Known::Nothing,
        };
        let file = OnDisk { file, fault_is_told: false };
        Arc::new(Timeline { id, shared: self.clone(), state: Mutex::new(state), file: Mutex::new(file) })
    }

    /// Removes files of load balancers that nobody knows any more.
    pub fn sweep(&self, is_known: impl Fn(LoadBalancerId) -> bool) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".events")?.parse().ok()).map(LoadBalancerId);
            if id.is_some_and(|id| !is_known(id)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Writes what is not written yet. What cannot be written stays queued.
    pub async fn flush(&self) {
        let _saving = self.saving.lock().await;
        let batch = std::mem::take(&mut *lock(&self.unsaved));
        let save = move || batch.into_iter().filter(|timeline| !timeline.save()).collect();
        let failed: Vec<_> = tokio::task::spawn_blocking(save).await.unwrap_or_default();
        lock(&self.unsaved).extend(failed);
    }

    async fn save_all(self: Arc<Self>) {
        loop {
            let is_behind = !lock(&self.unsaved).is_empty();
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(RETRY), if is_behind => {}
            }
            self.flush().await;
        }
    }
}

impl Timeline {
    /// What people call the load balancer, from now on.
    pub fn rename(&self, name: &str) {
        name.clone_into(&mut lock(&self.state).name);
    }

    /// Tells what the agent did or found. The subject is the load balancer, or its data plane.
    pub fn tell(self: &Arc<Self>, what: &Told<'_>) {
        let mut state = lock(&self.state);
        let Told { kind, change, reason, by, effect } = *what;
        let subject_kind = match kind {
            EventKind::DataPlaneStarted | EventKind::DataPlaneEnded => "data_plane",
            _ => "loadbalancer",
        };
        let subject = Subject { kind: subject_kind.into(), id: self.id.to_string(), name: state.name.clone() };
        let [old, new, reason, by, effect] = [change[0], change[1], reason, by, effect].map(str::to_owned);
        let event = Event { seq: 0, at_ms: now_ms(), kind, subject, old, new, reason, by, effect };
        self.add(&mut state, Record { event, from: None }, false);
        drop(state);
        self.wake();
    }

    /// Takes over what a data plane told. True if there was anything new.
    pub fn take(self: &Arc<Self>, told: Events) -> bool {
        let mut state = lock(&self.state);
        let after = if told.row == state.plane.row { state.plane.seq } else { 0 };
        let mut any = false;
        for event in told.events.into_iter().filter(|event| event.seq > after) {
            any = true;
            let from = Cursor { row: told.row, seq: event.seq };
            state.plane = from;
            if !is_told_here(&event) {
                self.add(&mut state, Record { event, from: Some(from) }, false);
            }
        }
        state.plane = Cursor { row: told.row, seq: told.last };
        drop(state);
        self.wake();
        any
    }

    fn add(&self, state: &mut State, mut record: Record, is_last: bool) {
        state.last += 1;
        record.event.seq = state.last;
        let event = record.event.clone();
        match event.kind {
            EventKind::MemberDown | EventKind::PoolDown | EventKind::NetworkLost | EventKind::DataPlaneEnded => {
                log::warn(self.id, &event);
            }
            _ => log::info(self.id, &event),
        }
        state.recent.push_back(record);
        if state.recent.len() > EVENTS_KEPT {
            state.recent.pop_front();
        }
        let loadbalancer = Named { id: self.id.to_string(), name: state.name.clone() };
        // An error: nobody listens.
        let _ = self.shared.news.send(Arc::new(News { told: NodeEvent { loadbalancer, event }, is_last }));
    }

    /// Has what was told written.
    fn wake(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.saved < state.last && !std::mem::replace(&mut state.is_queued, true) {
            lock(&self.shared.unsaved).push(self.clone());
            self.shared.wake.notify_one();
        }
    }

    /// How far the data plane's events are known.
    pub fn plane(&self) -> Cursor {
        lock(&self.state).plane
    }

    /// What the data plane last said of itself.
    pub fn known(&self) -> Known {
        lock(&self.state).known
    }

    /// Notes what it says, or that it does not.
    pub fn know(&self, known: Known) {
        lock(&self.state).known = known;
    }

    /// Those after number `after` of row `row`, as far as they are kept. Row 0: whatever the row; another: all.
    pub async fn after(self: &Arc<Self>, row: u64, after: u64) -> Events {
        if let Some(events) = lock(&self.state).after(row, after) {
            return events;
        }
        let timeline = self.clone();
        tokio::task::spawn_blocking(move || timeline.after_on_disk(row, after)).await.unwrap_or_default()
    }

    /// Reads the file; nothing is written meanwhile, so file and memory together are the whole row.
    fn after_on_disk(&self, row: u64, after: u64) -> Events {
        let disk = lock(&self.file);
        let older = disk.file.read().map(|contents| contents.records).unwrap_or_default();
        let state = lock(&self.state);
        let after = if row == 0 || row == state.row { after } else { 0 };
        let first = state.recent.front().map_or(u64::MAX, |record| record.event.seq);
        let older = older.into_iter().map(|record| record.event).filter(|event| event.seq < first);
        let recent = state.recent.iter().map(|record| record.event.clone());
        let mut events: Vec<Event> = older.chain(recent).filter(|event| event.seq > after).collect();
        events.drain(..events.len().saturating_sub(EVENTS_KEPT));
        Events { row: state.row, last: state.last, events }
    }

    /// Writes what is not on disk yet. False: it could not; told once, until it can again.
    fn save(&self) -> bool {
        let mut disk = lock(&self.file);
        let (header, unsaved) = {
            let mut state = lock(&self.state);
            state.is_queued = false;
            let unsaved = state.recent.iter().filter(|record| record.event.seq > state.saved).cloned();
            (Header::new(state.row, state.last, state.plane), unsaved.collect::<Vec<_>>())
        };
        if unsaved.is_empty() {
            return true;
        }
        let written = disk.file.append(header, &unsaved);
        let mut state = lock(&self.state);
        match written {
            Ok(()) => {
                state.saved = header.last;
                while state.recent.len() > RECENT_MAX
                    && state.recent.front().is_some_and(|r| r.event.seq <= header.last)
                {
                    state.recent.pop_front();
                }
                state.recent.shrink_to(RECENT_MAX);
                if std::mem::take(&mut disk.fault_is_told) {
                    log::info(self.id, "events are kept on disk again");
                }
                true
            }
            Err(error) => {
                // What comes meanwhile waits with it for the next attempt.
                state.is_queued = true;
                if !std::mem::replace(&mut disk.fault_is_told, true) {
                    let path = disk.file.path().display();
                    log::error(self.id, format_args!("events cannot be written to {path}: {error}; kept in memory"));
                }
                false
            }
        }
    }

    /// The load balancer is gone, and its timeline with it; what comes begins another row. The last event is passed on
    /// and logged, and kept nowhere. Nothing happens where nothing was told.
    pub async fn forget(self: &Arc<Self>, old: &str, reason: &str, by: &str) {
        let timeline = self.clone();
        let [old, reason, by] = [old, reason, by].map(str::to_owned);
        let _ = tokio::task::spawn_blocking(move || timeline.forget_on_disk(old, reason, by)).await;
    }

    fn forget_on_disk(&self, old: String, reason: String, by: String) {
        let mut disk = lock(&self.file);
        let mut state = lock(&self.state);
        if state.last == 0 {
            return;
        }
        let subject = Subject { kind: "loadbalancer".into(), id: self.id.to_string(), name: state.name.clone() };
        let (kind, new) = (EventKind::LoadBalancer, "removed".to_owned());
        let event = Event { seq: 0, at_ms: now_ms(), kind, subject, old, new, reason, by, effect: String::new() };
        self.add(&mut state, Record { event, from: None }, true);
        let row = now_ms().max(state.row + 1);
        (state.row, state.last, state.saved) = (row, 0, 0);
        (state.plane, state.known) = (Cursor::default(), Known::Nothing);
        state.recent = VecDeque::new();
        drop(state);
        if let Err(error) = disk.file.remove() {
            log::error(self.id, format_args!("cannot remove {}: {error}", disk.file.path().display()));
        }
    }
}

impl State {
    /// `None`: some of them are only on disk.
    fn after(&self, row: u64, after: u64) -> Option<Events> {
        let after = if row == 0 || row == self.row { after } else { 0 };
        let first = self.recent.front().map_or(self.last + 1, |record| record.event.seq);
        if first > after + 1 && first > 1 {
            return None;
        }
        let events = self.recent.iter().map(|record| &record.event).filter(|event| event.seq > after).cloned();
        Some(Events { row: self.row, last: self.last, events: events.collect() })
    }
}

/// The agent tells of these itself, with who caused them and what changed: an operator's change of a member stands in
/// the event of its document. What a member's own agent wants, only the data plane knows.
fn is_told_here(event: &Event) -> bool {
    match event.kind {
        EventKind::Document | EventKind::DataPlaneStarted => true,
        EventKind::MemberAdministrative => event.by == OPERATOR,
        _ => false,
    }
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
