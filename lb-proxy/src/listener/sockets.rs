//! The listening sockets of the process: who made them does not matter, which worker accepts on which does.
//!
//! Each address has as many sockets as there were ever workers, sharing the port (SO_REUSEPORT); the kernel
//! spreads connections over them. The book keeps one descriptor of each, so a socket that changes hands
//! between workers loses nobody in its queue. Used by the control thread only.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use lb_control::handoff::Sockets;
use lb_control::listen::{self, ListenError};

use crate::worker::SocketId;

/// See the module.
#[derive(Debug, Default)]
pub struct SocketBook {
    open: BTreeMap<SocketAddr, Vec<(SocketId, TcpListener)>>,
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

/// Sockets made for a document that is not in force yet. Dropped: they are closed and nothing has changed.
#[derive(Debug, Default)]
pub struct Prepared {
    fresh: Vec<(SocketAddr, Vec<TcpListener>)>,
    wanted: Vec<SocketAddr>,
}

impl SocketBook {
    /// Takes sockets another process made. They are used when a document wants their address.
    pub fn take_offer(&mut self, sockets: Sockets) {
        for (address, descriptors) in sockets {
            self.offered.insert(address, descriptors.into_iter().map(TcpListener::from).collect());
        }
    }

    /// Sees to it that every address of `wanted` can be listened on by `workers`, without changing anything yet.
    pub fn prepare(&mut self, wanted: Vec<SocketAddr>, workers: usize) -> Result<Prepared, ListenError> {
        let mut fresh = Vec::new();
        for address in &wanted {
            let have = self.open.get(address).map_or(0, Vec::len);
            if let Some(sockets) = self.offered.remove(address) {
                fresh.push((*address, sockets));
            } else if have == 0 {
                fresh.push((*address, listen::listen(*address, workers)?));
            } else if have < workers
                // Fewer sockets than workers is no failure: some workers then have none of this address.
                && let Ok(more) = listen::listen_more(*address, workers - have)
            {
                fresh.push((*address, more));
            }
        }
        Ok(Prepared { fresh, wanted })
    }

    /// Puts `prepared` in force and spreads all sockets over `workers`. Returns what each of `live` workers
    /// has to change.
    pub fn commit(&mut self, prepared: Prepared, workers: usize, live: usize) -> io::Result<Vec<Changes>> {
        for (address, sockets) in prepared.fresh {
            for socket in sockets {
                let id = SocketId(self.next_id);
                self.next_id += 1;
                socket.set_nonblocking(true)?;
                self.open.entry(address).or_default().push((id, socket));
            }
        }
        let mut changes: Vec<Changes> = (0..live).map(|_| Changes::default()).collect();
        let held_by = &mut self.held_by;
        self.open.retain(|address, sockets| {
            let keep = prepared.wanted.contains(address);
            if !keep {
                for (id, _) in sockets {
                    if let Some(worker) = held_by.remove(id) {
                        changes[worker].close.push(*id);
                    }
                }
            }
            keep
        });
        for (address, sockets) in &self.open {
            for (place, (id, socket)) in sockets.iter().enumerate() {
                let worker = place % workers;
                let before = held_by.insert(*id, worker);
                if before == Some(worker) {
                    continue;
                }
                if let Some(before) = before {
                    changes[before].close.push(*id);
                }
                changes[worker].open.push((*id, *address, socket.try_clone()?));
            }
        }
        Ok(changes)
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
        let open = self.open.iter().flat_map(|(a, sockets)| sockets.iter().map(move |(_, socket)| (a, socket)));
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
