//! The load at a rate: requests have the moment at which they are meant to be sent, and their latency is counted from
//! it, whether or not a connection was free then. So a proxy that stalls is charged for all that it kept waiting
//! (no coordinated omission).

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use socket2::{Domain, Socket, Type};

use crate::wire::Answer;

/// Nothing is recorded before.
const WARM: Duration = Duration::from_millis(500);
/// For the last answers to come.
const DRAIN: Duration = Duration::from_secs(2);
/// Errors until it gives up.
const ERRORS: usize = 20;
/// Beyond this rate requests are sent together, on a grid of [`GRID`], which is in their latency: else waking for each
/// would fill the load's core before the proxy's.
const EACH_UP_TO: f64 = 20_000.0;
const GRID: Duration = Duration::from_micros(50);
const TIMER: u64 = u64::MAX;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub to: SocketAddr,
    /// The whole request.
    pub request: Vec<u8>,
    /// A new connection for each.
    pub close: bool,
    /// Connections at once, at most.
    pub connections: usize,
    /// Requests in a second.
    pub rate: f64,
    /// How long it records.
    pub time: Duration,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// Requests answered, recorded or not.
    pub answered: u64,
    /// Requests meant to be sent and not answered in the end: it could not keep up.
    pub unanswered: u64,
    /// The longest that this load itself came late to what it had to do: a core that others use, a machine that halts.
    pub late: Duration,
    /// Errors in words.
    pub errors: Vec<String>,
}

struct Slot {
    stream: Option<TcpStream>,
    answer: Answer,
    /// Of the request under way.
    intended: Option<Instant>,
    written: usize,
}

struct Load<'p> {
    plan: &'p Plan,
    poll: rustix::fd::OwnedFd,
    slots: Vec<Slot>,
    free: Vec<usize>,
    waiting: VecDeque<Instant>,
    record_from: Instant,
    scratch: Vec<u8>,
    outcome: Outcome,
}

/// Plays a plan.
pub fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let began = Instant::now() + Duration::from_millis(20);
    let mut load = Load {
        plan,
        poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        slots: Vec::new(),
        free: (0..plan.connections).rev().collect(),
        waiting: VecDeque::new(),
        record_from: began + WARM,
        scratch: vec![0; 256 * 1024],
        outcome: Outcome {
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
            answered: 0,
            unanswered: 0,
            late: Duration::ZERO,
            errors: Vec::new(),
        },
    };
    load.slots.resize_with(plan.connections, || Slot {
        stream: None,
        answer: Answer::default(),
        intended: None,
        written: 0,
    });
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&load.poll, &timer, epoll::EventData::new_u64(TIMER), edge)?;

    let total = (plan.rate * (WARM + plan.time).as_secs_f64()) as u64;
    let due = |n: u64| began + Duration::from_secs_f64(n as f64 / plan.rate);
    let wake = |n: u64| {
        let grid = GRID.as_nanos();
        let steps = due(n).duration_since(began).as_nanos().div_ceil(grid);
        let on_grid = began + Duration::from_nanos(u64::try_from(steps * grid).unwrap_or(u64::MAX));
        if plan.rate > EACH_UP_TO { on_grid } else { due(n) }
    };
    let mut armed = None;
    let give_up = due(total) + DRAIN;
    let (mut next, mut events) = (0, Vec::with_capacity(1024));
    while load.outcome.answered < total && load.outcome.errors.len() < ERRORS {
        let now = Instant::now();
        while next < total && due(next) <= now {
            load.waiting.push_back(due(next));
            next += 1;
        }
        load.send_waiting();
        let until = if next < total { wake(next) } else { give_up };
        let wait = until.saturating_duration_since(Instant::now());
        if next == total && wait.is_zero() {
            break;
        }
        // Events come in between; the timer stands.
        if armed != Some(until) {
            arm(&timer, wait)?;
            armed = Some(until);
        }
        events.clear();
        match epoll::wait(&load.poll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        load.outcome.late = load.outcome.late.max(Instant::now().saturating_duration_since(until));
        for event in &events {
            if event.data.u64() != TIMER {
                load.turn(event.data.u64() as usize);
            }
        }
    }
    load.outcome.unanswered = total - load.outcome.answered.min(total);
    Ok(load.outcome)
}

fn arm(timer: &rustix::fd::OwnedFd, wait: Duration) -> anyhow::Result<()> {
    // Zero would disarm it.
    let wait = wait.max(Duration::from_nanos(1));
    let it_value = Timespec { tv_sec: wait.as_secs().try_into()?, tv_nsec: wait.subsec_nanos().into() };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
    Ok(())
}

impl Load<'_> {
    fn send_waiting(&mut self) {
        while !self.waiting.is_empty()
            && let Some(n) = self.free.pop()
        {
            let slot = &mut self.slots[n];
            slot.intended = self.waiting.pop_front();
            slot.answer.reset();
            slot.written = 0;
            if slot.stream.is_none() {
                match connect(self.plan.to, &self.poll, n) {
                    Ok(stream) => slot.stream = Some(stream),
                    Err(error) => {
                        self.fail(n, &format!("connect: {error:#}"));
                        continue;
                    }
                }
            }
            self.turn(n);
        }
    }

    /// Goes on with a connection as far as it goes.
    fn turn(&mut self, n: usize) {
        match self.step(n) {
            Ok(false) => {}
            Ok(true) => self.done(n),
            Err(error) => self.fail(n, &format!("{error:#}")),
        }
    }

    /// True once the answer is there.
    fn step(&mut self, n: usize) -> anyhow::Result<bool> {
        let slot = &mut self.slots[n];
        let Some(stream) = &mut slot.stream else { return Ok(false) };
        let fresh = slot.written == 0;
        while slot.intended.is_some() && slot.written < self.plan.request.len() {
            match stream.write(&self.plan.request[slot.written..]) {
                Ok(sent) => slot.written += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => bail!("write: {error}"),
            }
        }
        // Just sent: there is nothing to read yet.
        if fresh {
            return Ok(false);
        }
        loop {
            match stream.read(&mut self.scratch) {
                Ok(0) if slot.intended.is_none() => {
                    slot.stream = None;
                    return Ok(false);
                }
                Ok(0) => {
                    slot.answer.end()?;
                    slot.answer.close = true;
                    return Ok(true);
                }
                Ok(_) if slot.intended.is_none() => bail!("bytes nobody asked for"),
                Ok(count) => {
                    if slot.answer.feed(&self.scratch[..count])? {
                        return Ok(true);
                    }
                    // A short read has emptied the socket; an end comes as an event of its own.
                    if count < self.scratch.len() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => bail!("read: {error}"),
            }
        }
    }

    fn done(&mut self, n: usize) {
        let slot = &mut self.slots[n];
        if self.plan.close || slot.answer.close {
            slot.stream = None;
        }
        if let Some(intended) = slot.intended.take() {
            self.outcome.answered += 1;
            if intended >= self.record_from {
                let nanoseconds = u64::try_from(intended.elapsed().as_nanos()).unwrap_or(u64::MAX);
                self.outcome.latency.saturating_record(nanoseconds);
            }
            self.free.push(n);
        }
    }

    fn fail(&mut self, n: usize, what: &str) {
        let slot = &mut self.slots[n];
        slot.stream = None;
        if slot.intended.take().is_some() {
            self.free.push(n);
        }
        self.outcome.errors.push(what.to_owned());
    }
}

fn connect(to: SocketAddr, poll: &rustix::fd::OwnedFd, n: usize) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            return Err(error.into());
        }
        _ => {}
    }
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
    epoll::add(poll, &socket, epoll::EventData::new_u64(n as u64), flags)?;
    Ok(socket.into())
}
