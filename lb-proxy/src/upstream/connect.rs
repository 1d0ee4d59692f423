//! Opening a connection to a member, and knowing early when it is not worth waiting for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lb_core::balance::{self, MemberIndex, Tried};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant;

use crate::clock;
use crate::dispatch::Lease;
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
    /// We cannot open one: no descriptor, no local port.
    Ours(io::Error),
}

/// Connects to the member that `lease` names. `tried` are those it may not be given up for.
pub async fn connect(worker: &Worker, lease: &Lease, timeout_ms: u64, tried: &Tried) -> Result<Stream, ConnectFailure> {
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
    match &result {
        Ok(_) => fault.connected((clock::now() - began).as_micros().min(u128::from(u32::MAX)) as u32, worker.now()),
        Err(ConnectFailure::Ours(_)) => {}
        Err(_) => fault.failed(worker.now()),
    }
    result
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
    let timeout_ms = if timeout_ms == 0 { u64::MAX >> 20 } else { timeout_ms };
    let deadline = began + Duration::from_millis(timeout_ms);
    let fault = &lease.slot().state.fault;
    let slow_at = began + Duration::from_millis(fault.slow_after_ms().min(timeout_ms));
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
    balance::alternative(lease.pool(), worker.now(), &not_these)
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
