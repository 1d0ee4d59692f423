//! `PING`: real ICMP echoes of both families, without root. One socket for each family serves all monitors of a process;
//! one task listens while questions are out, and no longer. Written by the control thread only.

pub mod echo;
mod socket;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_core::health::{Bad, Good};
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::prober::Target;
use crate::wire::errno;
use echo::{Ask, Heard};
use socket::{IcmpSocket, Kind};

/// Questions that may be out at once, in one family.
const OUT_MAX: usize = 16 * 1024;

/// Packets that are taken before others have their turn.
const PACKETS_PER_TURN: usize = 64;

/// Pause before another try when the kernel's send queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// The ICMP sockets of a process. Belongs to the runtime that asks first.
#[derive(Debug, Default)]
pub struct Pinger {
    v4: Mutex<Family>,
    v6: Mutex<Family>,
}

#[derive(Debug, Default)]
enum Family {
    #[default]
    Unopened,
    Ahead(IcmpSocket),
    Used(Arc<Line>),
}

impl Pinger {
    /// Opens sockets when they are needed: enough where anybody may ping.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens them now, to be called before root is given up: datagram sockets if we may have them, else raw ones, which
    /// stay deaf until they are needed. What cannot be had now is tried again at the first question.
    pub fn open_ahead() -> Self {
        let open = |is_v6| match IcmpSocket::datagram(is_v6).or_else(|_| IcmpSocket::raw(is_v6)) {
            Ok(socket) => Mutex::new(Family::Ahead(socket)),
            Err(_) => Mutex::default(),
        };
        Self { v4: open(false), v6: open(true) }
    }

    /// Sends one echo request and waits for its echo, for as long as it takes.
    pub(crate) async fn ask(&self, target: &Target) -> Result<Good, Bad> {
        let mut target = *target;
        target.address.set_ip(target.address.ip().to_canonical());
        let line = self.line(target.address.is_ipv6())?;
        let (ticket, answer) = Line::register(&line, target.address.ip())?;
        line.send(ticket.ask, &target).await?;
        answer.await.unwrap_or(Err(Bad::Ours(Errno::EIO as i32)))
    }

    fn line(&self, is_v6: bool) -> Result<Arc<Line>, Bad> {
        let mut family = locked(if is_v6 { &self.v6 } else { &self.v4 });
        let socket = match std::mem::take(&mut *family) {
            Family::Used(line) => {
                *family = Family::Used(Arc::clone(&line));
                return Ok(line);
            }
            Family::Ahead(socket) => socket,
            Family::Unopened => IcmpSocket::datagram(is_v6)
                .or_else(|error| IcmpSocket::raw(is_v6).map_err(|_| error))
                .map_err(|error| Bad::Ours(errno(&error)))?,
        };
        let line = Arc::new(Line::new(socket).map_err(|error| Bad::Ours(errno(&error)))?);
        *family = Family::Used(Arc::clone(&line));
        Ok(line)
    }
}

/// A socket in use.
#[derive(Debug)]
struct Line {
    socket: UdpSocket,
    kind: Kind,
    id: u16,
    random: RandomState,
    out: Mutex<Out>,
}

/// Questions that are out.
#[derive(Debug, Default)]
struct Out {
    questions: HashMap<u16, Question>,
    asked: u64,
    listener: Option<AbortHandle>,
}

#[derive(Debug)]
struct Question {
    address: IpAddr,
    token: u64,
    answer: oneshot::Sender<Result<Good, Bad>>,
}

/// One question's place among those that are out, given back on drop.
struct Ticket {
    line: Arc<Line>,
    ask: Ask,
}

impl Line {
    fn new(socket: IcmpSocket) -> std::io::Result<Self> {
        let random = RandomState::new();
        let id = random.hash_one("id") as u16;
        let kind = socket.kind;
        Ok(Self { socket: socket.into_used(id)?, kind, id, random, out: Mutex::default() })
    }

    fn register(line: &Arc<Self>, address: IpAddr) -> Result<(Ticket, oneshot::Receiver<Result<Good, Bad>>), Bad> {
        let mut out = locked(&line.out);
        if out.questions.len() >= OUT_MAX {
            return Err(Bad::Ours(Errno::ENOBUFS as i32));
        }
        out.asked += 1;
        // SipHash under a key of the system's randomness: nobody who has not seen the question can say its token.
        let token = line.random.hash_one(out.asked);
        let mut sequence = line.random.hash_one(token) as u16;
        while out.questions.contains_key(&sequence) {
            sequence = sequence.wrapping_add(1);
        }
        let (answer, awaited) = oneshot::channel();
        out.questions.insert(sequence, Question { address, token, answer });
        if out.listener.is_none() {
            out.listener = Some(tokio::spawn(listen(Arc::clone(line))).abort_handle());
        }
        drop(out);
        Ok((Ticket { line: Arc::clone(line), ask: Ask { id: line.id, sequence, token } }, awaited))
    }

    async fn send(&self, ask: Ask, target: &Target) -> Result<(), Bad> {
        let mut second_try = false;
        loop {
            match self.kind.send(self.socket.as_fd(), ask, target.address, target.source) {
                Ok(()) => return Ok(()),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
                // The socket may tell of an earlier question's error first.
                Err(_) if !second_try => second_try = true,
                Err(error @ (Errno::EPERM | Errno::EACCES | Errno::EINVAL | Errno::ENOMEM)) => {
                    return Err(Bad::Ours(error as i32));
                }
                Err(error) => return Err(Bad::Unreachable(error as i32)),
            }
        }
    }

    /// Hands what was heard to whom it concerns; nobody, if it is not what we sent or not from whom we asked.
    fn deliver(&self, heard: Heard, from: Option<IpAddr>) {
        let mut out = locked(&self.out);
        let (id, sequence) = match heard {
            Heard::Echo(ask) => (ask.id, ask.sequence),
            Heard::Error { id, sequence, .. } => (id, sequence),
        };
        if self.kind.is_raw && id != self.id {
            return;
        }
        let Some(question) = out.questions.get(&sequence) else { return };
        let (is_ours, answer) = match heard {
            Heard::Echo(ask) => (ask.token == question.token && from == Some(question.address), Ok(Good::Echo)),
            Heard::Error { asked, token, kind, .. } => {
                (token.is_none_or(|t| t == question.token) && asked == question.address, Err(Bad::Unreachable(kind)))
            }
        };
        if is_ours && let Some(question) = out.questions.remove(&sequence) {
            let _ = question.answer.send(answer);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut out = locked(&self.line.out);
        if out.questions.get(&self.ask.sequence).is_some_and(|question| question.token == self.ask.token) {
            out.questions.remove(&self.ask.sequence);
        }
        if out.questions.is_empty() {
            out.questions = HashMap::new();
            if let Some(listener) = out.listener.take() {
                listener.abort();
            }
        }
    }
}

async fn listen(line: Arc<Line>) {
    let mut hear = || {
        for _ in 0..PACKETS_PER_TURN {
            if let Some((heard, from)) = line.kind.hear(line.socket.as_fd())? {
                line.deliver(heard, from);
            }
        }
        Ok(())
    };
    while line.socket.async_io(Interest::READABLE | Interest::ERROR, &mut hear).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
