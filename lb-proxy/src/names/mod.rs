//! Members by name: keeps asking where names lead, on the control thread, and says when something has changed.
//!
//! Nothing is there while a document has no names. Each name is asked for by a task of its own, which sleeps until the
//! answer runs out. What an answer means is `lb_core::names`'s.

mod exchange;
mod files;
mod lookup;
pub mod message;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_control::stats::Resolution;
use lb_core::config::{HostName, LoadBalancer, Member};
use lb_core::names::{Addresses, Fault, Found, Known, assign};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock;
use crate::health::timeline::unix_ms;
use lookup::lookup;

/// How long a document waits for the first answers about its names.
const FIRST_ANSWERS_MAX: Duration = Duration::from_secs(2);
/// Names that are asked for at once; more wait for their turn. Each holds two descriptors.
const LOOKUPS_MAX: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Names {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `None`: the document has no names.
    table: Mutex<Option<Box<Table>>>,
    /// For whoever puts documents in force: a name was asked for.
    heard: Notify,
    /// For the minder: a name leads elsewhere, or nowhere for another reason.
    news: Notify,
    permits: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        let [heard, news] = [Notify::new(), Notify::new()];
        Self { table: Mutex::default(), heard, news, permits: Semaphore::new(LOOKUPS_MAX) }
    }
}

#[derive(Debug, Default)]
struct Table {
    resolvers: Vec<SocketAddr>,
    names: BTreeMap<HostName, Entry>,
    /// As members were last told.
    addresses: Addresses,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    /// `None`: it is being asked for.
    next_at: Option<Instant>,
    task: Task,
}

/// Ends with whoever holds it.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Names {
    /// Begins to ask for the names of a document that is about to be put in force, and waits until each was asked for
    /// once, for [`FIRST_ANSWERS_MAX`] at most. Names of the document in force are not forgotten.
    pub async fn learn(&self, config: &LoadBalancer) {
        let wanted = names_of(config);
        if wanted.is_empty() {
            return;
        }
        self.shared.ask_for(&wanted, &config.resolvers);
        let all = async {
            loop {
                let heard = self.shared.heard.notified();
                tokio::pin!(heard);
                heard.as_mut().enable();
                if self.shared.have_heard(&wanted) {
                    return;
                }
                heard.await;
            }
        };
        let _ = tokio::time::timeout(FIRST_ANSWERS_MAX, all).await;
    }

    /// Forgets names that `config` does not have: it is in force.
    pub fn keep_to(&self, config: Option<&LoadBalancer>) {
        let wanted = config.map(names_of).unwrap_or_default();
        if let (false, Some(config)) = (wanted.is_empty(), config) {
            self.shared.ask_for(&wanted, &config.resolvers);
        }
        let mut table = self.shared.lock();
        match &mut *table {
            Some(table) if !wanted.is_empty() => table.names.retain(|name, _| wanted.contains(name)),
            _ => *table = None,
        }
    }

    /// Where members of `config` are now. Whoever asks tells them.
    pub fn place(&self, config: &LoadBalancer) -> Addresses {
        let mut table = self.shared.lock();
        let Some(table) = &mut *table else { return Addresses::default() };
        let known = |name: &HostName| table.names.get(name).map(|entry| &entry.known);
        table.addresses = assign(config, known, &table.addresses);
        table.addresses.clone()
    }

    /// Waits until a name leads elsewhere, or nowhere for another reason.
    pub async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// What is known of the name of a member that is at `socket` now; `None` for one with an address.
    pub fn resolution(&self, member: &Member, socket: Option<SocketAddr>) -> Option<Resolution> {
        let name = member.address.name()?;
        let table = self.shared.lock();
        let entry = table.as_ref().and_then(|table| table.names.get(name));
        let (known, next_at) = entry.map_or((None, None), |entry| (Some(&entry.known), entry.next_at));
        let fault = known.and_then(|known| known.fault.as_ref());
        let next_in = next_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(clock::now()));
        Some(Resolution {
            name: name.to_string(),
            address: socket.map_or_else(String::new, |socket| socket.to_string()),
            addresses: known.map_or(&[][..], |known| &known.addresses).iter().map(ToString::to_string).collect(),
            fault: fault.map_or_else(String::new, ToString::to_string),
            next_in_ms: next_in.as_millis() as u64,
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Table>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has each of these asked for, of these servers. Other servers: all are asked for anew, and what is known stays.
    fn ask_for(self: &Arc<Self>, wanted: &BTreeSet<HostName>, resolvers: &[SocketAddr]) {
        let mut table = self.lock();
        let table = table.get_or_insert_default();
        if table.resolvers != resolvers {
            table.resolvers = resolvers.to_vec();
            for (name, entry) in &mut table.names {
                entry.known.heard = false;
                (entry.task, entry.next_at) = (self.start(name, resolvers), None);
            }
        }
        for name in wanted {
            if !table.names.contains_key(name) {
                let entry = Entry { known: Known::default(), next_at: None, task: self.start(name, resolvers) };
                table.names.insert(name.clone(), entry);
            }
        }
    }

    fn start(self: &Arc<Self>, name: &HostName, resolvers: &[SocketAddr]) -> Task {
        let (shared, name, resolvers) = (Arc::clone(self), name.clone(), resolvers.to_vec());
        Task(tokio::spawn(async move {
            loop {
                let answer = {
                    let _permit = shared.permits.acquire().await;
                    Box::pin(lookup(&name, &resolvers)).await
                };
                tokio::time::sleep_until(shared.hear(&name, answer)).await;
                shared.asking(&name);
            }
        }))
    }

    /// Takes an answer; when to ask again.
    fn hear(&self, name: &HostName, answer: Result<Found, Fault>) -> Instant {
        let now = clock::now();
        let mut table = self.lock();
        let Some(entry) = table.as_mut().and_then(|table| table.names.get_mut(name)) else {
            // Forgotten while it was asked for: the task is about to end.
            return now + FIRST_ANSWERS_MAX;
        };
        let before = (entry.known.addresses.clone(), entry.known.fault.clone());
        let draw = name.as_str().bytes().fold(unix_ms(), |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let wait_ms = entry.known.hear(answer, draw);
        let next_at = now + Duration::from_millis(wait_ms);
        entry.next_at = Some(next_at);
        if before != (entry.known.addresses.clone(), entry.known.fault.clone()) {
            self.news.notify_one();
        }
        drop(table);
        self.heard.notify_waiters();
        next_at
    }

    fn asking(&self, name: &HostName) {
        if let Some(entry) = self.lock().as_mut().and_then(|table| table.names.get_mut(name)) {
            entry.next_at = None;
        }
    }

    fn have_heard(&self, wanted: &BTreeSet<HostName>) -> bool {
        let table = self.lock();
        let heard = |name| table.as_ref().and_then(|table| table.names.get(name)).is_some_and(|e| e.known.heard);
        wanted.iter().all(heard)
    }
}

fn names_of(config: &LoadBalancer) -> BTreeSet<HostName> {
    let members = config.pools.iter().flat_map(|pool| &pool.members);
    members.filter_map(|member| member.address.name().cloned()).collect()
}
