//! The listening sockets of the process: who made them does not matter, which worker accepts on which does.
//!
//! Each address has as many sockets as there were ever workers, sharing the port (SO_REUSEPORT); the kernel
//! spreads connections over them. The book keeps one descriptor of each, so a socket that changes hands
//! between workers loses nobody in its queue. Used by the control thread only.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lb_control::handoff::Sockets;
use lb_control::listen::{self, ListenError};

use crate::worker::SocketId;

/// See the module.
#[derive(Debug, Default)]
pub struct SocketBook {
    open: BTreeMap<SocketAddr, Vec<(SocketId, Arc<TcpListener>)>>,
    /// Given by another process, not used yet.
    offered: HashMap<SocketAddr, Vec<TcpListener>>,
    /// Which worker accepts on which socket.
    held_by: HashMap<SocketId, usize>,
    next_id: u64,
}

/// What one worker has to change.
#[derive(Debug, Default)]
pub struct Changes {
    /// Accept on these.
    pub open: Vec<(SocketId, SocketAddr, TcpListener)>,
    /// Stop accepting on these.
    pub close: Vec<SocketId>,
}

/// Everything a document needs that is not in force yet. Dropped: what was made is closed and nothing has changed.
#[derive(Debug, Default)]
pub struct Prepared {
    /// The book as it will be.
    open: BTreeMap<SocketAddr, Vec<(SocketId, Arc<TcpListener>)>>,
    held_by: HashMap<SocketId, usize>,
    changes: Vec<Changes>,
}

impl SocketBook {
    /// Takes sockets another process made. They are used when a document wants their address.
    pub fn take_offer(&mut self, sockets: Sockets) {
        for (address, descriptors) in sockets {
            self.offered.insert(address, descriptors.into_iter().map(TcpListener::from).collect());
        }
    }

    /// Makes what is missing for listening on every address of `wanted`, spreads all sockets over the first
    /// `workers` of `live` workers, and duplicates what each of them needs: whatever can fail happens here.
    pub fn prepare(&mut self, wanted: &[SocketAddr], workers: usize, live: usize) -> Result<Prepared, ListenError> {
        let mut prepared = Prepared { changes: (0..live).map(|_| Changes::default()).collect(), ..Prepared::default() };
        for address in wanted {
            let mut sockets = self.open.get(address).cloned().unwrap_or_default();
            for socket in self.missing(*address, sockets.len(), workers)? {
                let prepared_by = socket.set_nonblocking(true).and_then(|()| listen::bound_unsent(&socket));
                prepared_by.map_err(|source| failed(*address, "prepare", source))?;
                sockets.push((SocketId(self.next_id), Arc::new(socket)));
                self.next_id += 1;
            }
            for (position, (id, socket)) in sockets.iter().enumerate() {
                let worker = position % workers;
                prepared.held_by.insert(*id, worker);
                if self.held_by.get(id) != Some(&worker) {
                    let copy = socket.try_clone().map_err(|source| failed(*address, "duplicate", source))?;
                    prepared.changes[worker].open.push((*id, *address, copy));
                }
            }
            prepared.open.insert(*address, sockets);
        }
        for (id, worker) in &self.held_by {
            if prepared.held_by.get(id) != Some(worker) {
                prepared.changes[*worker].close.push(*id);
            }
        }
        Ok(prepared)
    }

    fn missing(&mut self, address: SocketAddr, have: usize, workers: usize) -> Result<Vec<TcpListener>, ListenError> {
        if let Some(offered) = self.offered.remove(&address) {
            return Ok(offered);
        }
        match have {
            0 => listen::listen(address, workers),
            // Fewer sockets than workers is no failure: some workers then have none of this address.
            _ if have < workers => Ok(listen::listen_more(address, workers - have).unwrap_or_default()),
            _ => Ok(Vec::new()),
        }
    }

    /// Puts `prepared` in force. Returns what each worker has to change.
    pub fn commit(&mut self, prepared: Prepared) -> Vec<Changes> {
        self.open = prepared.open;
        self.held_by = prepared.held_by;
        prepared.changes
    }

    /// Nobody accepts yet: sockets were only bound.
    pub fn forget_holders(&mut self) {
        self.held_by.clear();
    }

    /// Closes what was offered and no document wanted.
    pub fn forget_offers(&mut self) {
        self.offered.clear();
    }

    /// Duplicates of everything that is listened on, offers no document wanted yet included.
    pub fn duplicates(&self) -> io::Result<Sockets> {
        let mut all: BTreeMap<SocketAddr, Vec<OwnedFd>> = BTreeMap::new();
        let open = self.open.iter().flat_map(|(a, sockets)| sockets.iter().map(move |(_, socket)| (a, &**socket)));
        let offered = self.offered.iter().flat_map(|(a, sockets)| sockets.iter().map(move |socket| (a, socket)));
        for (address, socket) in open.chain(offered) {
            all.entry(*address).or_default().push(socket.try_clone()?.into());
        }
        Ok(all.into_iter().collect())
    }

    /// Stops listening: what waits in the queues is refused unless another process holds the sockets too.
    pub fn close_all(&mut self) {
        self.open.clear();
        self.offered.clear();
        self.held_by.clear();
    }
}

fn failed(addr: SocketAddr, step: &'static str, source: io::Error) -> ListenError {
    ListenError::Io { addr, step, source }
}
