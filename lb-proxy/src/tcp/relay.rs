//! One direction of a relay, and both together: half-close and reset are passed on, nothing piles up.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::buffer::{BUFFER_LEN, Buffer, Buffers};
use crate::http::body::LOOKED_AT;
use crate::observe::record::{Ending, endings};
use crate::timer::{Deadlines, Patience, Side, Timer, Wait};
use crate::upstream::proxy_header::Opening;
use crate::wire::{self, Stream};

/// How long each side may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Milliseconds; 0: for ever.
    pub client_ms: u64,
    /// Milliseconds; 0: for ever.
    pub member_ms: u64,
}

/// Bytes moved so far, each way.
#[derive(Debug, Default)]
pub struct Moved {
    /// From the client to the member.
    pub up: Cell<u64>,
    /// From the member to the client.
    pub down: Cell<u64>,
}

/// Relays until both directions are closed, one side breaks, or both are silent for too long. `opening` goes to the
/// member at once, whoever speaks first after it.
pub async fn relay(
    client: &Stream,
    member: &Stream,
    opening: Option<Opening>,
    silence: Silence,
    buffers: &Rc<Buffers>,
    timer: &mut Timer,
    moved: &Moved,
) -> Ending {
    let deadlines = Deadlines::default();
    let progress = || {
        deadlines.set(Wait::ClientRead, silence.client_ms);
        deadlines.set(Wait::MemberRead, silence.member_ms);
    };
    progress();
    let both = pin!(async {
        let mut up = pin!(one_way(client, member, opening, buffers, &progress, &moved.up));
        let mut down = pin!(one_way(member, client, None, buffers, &progress, &moved.down));
        let (mut up_done, mut down_done) = (false, false);
        poll_fn(|cx| {
            if !up_done && let Poll::Ready(end) = up.as_mut().poll(cx) {
                match end {
                    Ok(()) => up_done = true,
                    Err(broken) => return Poll::Ready(broken.ending(Side::Client)),
                }
            }
            if !down_done && let Poll::Ready(end) = down.as_mut().poll(cx) {
                match end {
                    Ok(()) => down_done = true,
                    Err(broken) => return Poll::Ready(broken.ending(Side::Member)),
                }
            }
            if up_done && down_done { Poll::Ready(endings::SERVED) } else { Poll::Pending }
        })
        .await
    });
    match timer.guard(&deadlines, both).await {
        Ok(ending) => ending,
        Err(Side::Client) => endings::CLIENT_IDLE,
        Err(Side::Member) => endings::MEMBER_IDLE,
    }
}

/// Which end of a direction broke.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl Broken {
    /// `source` is the side the direction reads from.
    fn ending(&self, source: Side) -> Ending {
        let (culprit, error) = match (self, source) {
            (Self::Source(e), side) => (side, e),
            (Self::Sink(e), Side::Client) => (Side::Member, e),
            (Self::Sink(e), Side::Member) => (Side::Client, e),
        };
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        match culprit {
            Side::Client if timed_out => endings::CLIENT_IDLE,
            Side::Client => endings::CLIENT_RESET,
            Side::Member if timed_out => endings::MEMBER_IDLE,
            Side::Member => endings::MEMBER_RESET,
        }
    }
}

async fn one_way(
    from: &Stream,
    to: &Stream,
    opening: Option<Opening>,
    buffers: &Rc<Buffers>,
    progress: &impl Fn(),
    moved: &Cell<u64>,
) -> Result<(), Broken> {
    if let Some(Opening { buffer, header_len }) = opening {
        write(to, buffer, header_len, progress, moved).await?;
    }
    // The deadlines of a relay count from the last progress of either direction; single waits set none.
    let unused = Deadlines::default();
    let patience = Patience::new(&unused, Wait::ClientRead, 0);
    let mut busy = false;
    loop {
        if busy && LOOKED_AT.contains(&moved.get()) {
            // Whoever does not read what is sent to it costs no memory here.
            wire::room(to, patience, || ()).await.map_err(Broken::Sink)?;
        }
        wire::readable(from, patience).await.map_err(Broken::Source)?;
        let mut buffer = if busy { buffers.lend_large() } else { buffers.lend() };
        let read = wire::read(from, buffer.room(), patience).await.map_err(Broken::Source)?;
        if read == 0 {
            // A peer that is gone altogether shows itself at the next write or read.
            let _ = to.shutdown();
            return Ok(());
        }
        buffer.fill(read);
        busy = read >= BUFFER_LEN;
        progress();
        write(to, buffer, 0, progress, moved).await?;
    }
}

/// Writes all of `buffer`; its first `uncounted` bytes are ours.
async fn write(
    to: &Stream,
    mut buffer: Buffer,
    mut uncounted: usize,
    progress: &impl Fn(),
    moved: &Cell<u64>,
) -> Result<(), Broken> {
    while !buffer.is_empty() {
        let written = wire::write_some(to, buffer.filled()).await.map_err(Broken::Sink)?;
        buffer.consume(written);
        let ours = written.min(uncounted);
        uncounted -= ours;
        moved.set(moved.get() + (written - ours) as u64);
        progress();
    }
    Ok(())
}
