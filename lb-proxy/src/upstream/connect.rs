//! Opening a connection to a member, and knowing early when it is not worth waiting for.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use lb_core::balance::{self, MemberIndex, Tried};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant;

use crate::clock;
use crate::dispatch::Lease;
use crate::tls::channel::Channel;
use crate::tls::member::{MemberTls, why};
use crate::wire::Stream;
use crate::worker::Worker;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectFailure {
    /// The member or the network said no.
    Refused(io::Error),
    /// Nothing was heard within `timeout_member_connect`.
    TimedOut,
    /// It hangs, others do too or the member usually answers at once, and another member is ready.
    GivenUp,
    /// It is there, and does not speak TLS as it should: why.
    Tls(&'static str),
    /// We cannot open one: no descriptor, no local port.
    Ours(io::Error),
}

impl ConnectFailure {
    /// The same, for another who waited for it.
    pub fn again(&self) -> Self {
        let copy =
            |error: &io::Error| error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        match self {
            Self::Refused(error) => Self::Refused(copy(error)),
            Self::TimedOut => Self::TimedOut,
            Self::GivenUp => Self::GivenUp,
            Self::Tls(why) => Self::Tls(why),
            Self::Ours(error) => Self::Ours(copy(error)),
        }
    }
}

/// What a connection is opened for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// Those the member may not be given up for.
    pub tried: &'a Tried,
    /// The name the client asked for in its own handshake.
    pub asked_for: Option<&'a str>,
    /// It is to carry nothing else: HTTP/2 is not offered.
    pub alone: bool,
    /// Milliseconds for all of it; 0: no limit.
    pub timeout_ms: u64,
}

/// Connects to the member that `lease` names, and shakes hands where its pool wants TLS.
pub async fn connect(worker: &Worker, lease: &Lease, purpose: Purpose<'_>) -> Result<Stream, ConnectFailure> {
    let Purpose { tried, timeout_ms, .. } = purpose;
    let fault = &lease.slot().state.fault;
    let began = clock::now();
    let stream = begin(lease.slot().address).or_else(|error| match worker.short_of(error.raw_os_error()) {
        // Kept connections were closed: their descriptors are free.
        true => begin(lease.slot().address),
        false => Err(error),
    });
    let stream = stream.map_err(|error| match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::EADDRNOTAVAIL | libc::ENOBUFS | libc::ENOMEM) => {
            ConnectFailure::Ours(error)
        }
        _ => ConnectFailure::Refused(error),
    });
    let result = match stream {
        Ok(stream) => wait(worker, lease, stream, began, timeout_ms, tried).await,
        Err(failure) => Err(failure),
    };
    let result = match (result, lease.tls()) {
        (Ok(stream), tls) => {
            fault.connected((clock::now() - began).as_micros().min(u128::from(u32::MAX)) as u32, worker.now());
            match tls {
                None => return Ok(stream),
                Some(tls) => Box::pin(secure(worker, lease, stream, tls, &purpose, deadline(began, timeout_ms))).await,
            }
        }
        (Err(failure), _) => Err(failure),
    };
    if result.as_ref().is_err_and(|failure| !matches!(failure, ConnectFailure::Ours(_))) {
        fault.failed(worker.now());
    }
    result
}

fn deadline(began: Instant, timeout_ms: u64) -> Instant {
    let timeout_ms = if timeout_ms == 0 { u64::MAX >> 20 } else { timeout_ms };
    began + Duration::from_millis(timeout_ms)
}

/// The handshake with a member. As in HAProxy, one that fails is a connection that failed.
async fn secure(
    worker: &Worker,
    lease: &Lease,
    stream: Stream,
    tls: &MemberTls,
    purpose: &Purpose<'_>,
    deadline: Instant,
) -> Result<Stream, ConnectFailure> {
    let unusable = |_| ConnectFailure::Tls("TLS: no connection could be made of the configuration");
    let Purpose { asked_for, alone, .. } = *purpose;
    let connection = tls.connection(lease.slot().address.ip(), asked_for, alone).map_err(unusable)?;
    let raw = stream.into_raw().map_err(|_| ConnectFailure::Tls("TLS: it is secured already"))?;
    let mut channel = Channel::client(connection, Rc::clone(&worker.buffers));
    if tls.depends_on_client() {
        channel.remember_name(asked_for);
    }
    match tokio::time::timeout_at(deadline, channel.shake_hands(&raw, &[])).await {
        Ok(Ok(())) => Ok(Stream::secured(raw, channel)),
        Ok(Err(failure)) => Err(ConnectFailure::Tls(why(&failure))),
        Err(_) => Err(ConnectFailure::TimedOut),
    }
}

fn begin(address: SocketAddr) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    Ok(Stream::new(socket.into()))
}

async fn wait(
    worker: &Worker,
    lease: &Lease,
    stream: Stream,
    began: Instant,
    timeout_ms: u64,
    tried: &Tried,
) -> Result<Stream, ConnectFailure> {
    let deadline = deadline(began, timeout_ms);
    let fault = &lease.slot().state.fault;
    let slow_at = (began + Duration::from_millis(fault.slow_after_ms())).min(deadline);
    match tokio::time::timeout_at(slow_at, established(&stream)).await {
        Ok(done) => return done.map(|()| stream),
        Err(_) if slow_at >= deadline => return Err(ConnectFailure::TimedOut),
        Err(_) => {}
    }
    let _stuck = Stuck(lease);
    let give_up_at = clock::now() + Duration::from_millis(fault.stuck());
    if give_up_at < deadline {
        match tokio::time::timeout_at(give_up_at, established(&stream)).await {
            Ok(done) => return done.map(|()| stream),
            Err(_) if another_is_ready(worker, lease, tried) => return Err(ConnectFailure::GivenUp),
            Err(_) => {}
        }
    }
    match tokio::time::timeout_at(deadline, established(&stream)).await {
        Ok(done) => done.map(|()| stream),
        Err(_) => Err(ConnectFailure::TimedOut),
    }
}

fn another_is_ready(worker: &Worker, lease: &Lease, tried: &Tried) -> bool {
    let mut not_these = *tried;
    not_these.note(MemberIndex(lease.member().0));
    balance::alternative_with_room(lease.pool(), worker.now(), &not_these)
}

async fn established(stream: &Stream) -> Result<(), ConnectFailure> {
    stream.connected().await.map_err(ConnectFailure::Refused)
}

/// Counts a slow connection for as long as it is waited for.
struct Stuck<'a>(&'a Lease);

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.0.slot().state.fault.unstuck();
    }
}
