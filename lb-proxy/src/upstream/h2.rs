//! HTTP/2 connections to one member, of one worker. Each carries many requests of many clients at once, each on a stream
//! of its own; another one is made when all are full, or when the member is about to close them.
//!
//! While one is being made, whoever needs it waits for it instead of making another. Owned and written by one worker.

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection as Frames, ResponseFuture, SendRequest};
use h2::{Ping, RecvStream, SendStream};
use http::Request;
use lb_core::time::Millis;
use tokio::sync::Notify;

use super::connect::{ConnectFailure, Purpose, connect};
use super::idle::{FRESH_MS, KEPT_FOR_MS};
use crate::clock;
use crate::dispatch::Lease;
use crate::http::h1::HEAD_MAX;
use crate::http2::io::{Budget, Io};
use crate::http2::mirror::Mirror;
use crate::process::Process;
use crate::wire::Stream;
use crate::worker::Worker;

/// Most requests at once on one connection, whatever more the member would take.
const STREAMS_MAX: usize = 100;
/// Bytes a member may send ahead on one stream. All streams together have as much as they can take: one whose client does
/// not read leaves the others alone.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;
/// Bytes held for a member that has yet to take them, on one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams a member may be made to have reset for its mistakes: more, and the connection is given up.
const RESETS_MAX: usize = 100;
/// A member that owes answers and says nothing for this long is asked whether it is there (PING); if it says nothing for
/// as long again, it is not.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// Whether a member takes WebSockets stands in the first frame it sends (RFC 8441 section 3): so long it is waited for.
const SETTINGS_IN: Duration = Duration::from_secs(1);
/// So often it is looked at meanwhile; only a connection that was just made is waited for at all.
const SETTINGS_TICK: Duration = Duration::from_millis(2);
/// Looks after the member's first bytes came: the frame may have come in pieces.
const SETTINGS_LOOKS: usize = 10;

/// See the module.
#[derive(Debug, Default)]
pub struct Shared {
    open: RefCell<Vec<Rc<Connection>>>,
    /// The one that is being made.
    coming: RefCell<Option<Rc<Coming>>>,
    /// The member chose another protocol when it was last asked.
    declined: Cell<bool>,
    /// The member is gone: none is kept any more.
    retired: Cell<bool>,
}

/// One connection.
#[derive(Debug)]
struct Connection {
    requests: RefCell<SendRequest<Bytes>>,
    /// The name the client asked for, where connections are made for clients that ask for the same.
    asked_for: Option<Box<str>>,
    secured: bool,
    last_used: Cell<Millis>,
    life: Rc<Life>,
}

/// What a connection and the task that moves its frames both know.
#[derive(Debug)]
struct Life {
    streams: Cell<usize>,
    /// It is over, or takes no more requests.
    spent: Cell<bool>,
    budget: Rc<Budget>,
    /// Streams that only have their end to come.
    ends: RefCell<Vec<(RecvStream, Counted)>>,
    /// The task that moves frames.
    mover: RefCell<Option<Waker>>,
}

/// One stream's work on a connection, counted until it is dropped.
#[derive(Debug)]
struct Counted(Rc<Life>);

impl Counted {
    fn new(life: &Rc<Life>) -> Self {
        life.streams.set(life.streams.get() + 1);
        Self(Rc::clone(life))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

impl Connection {
    /// It goes on, and has not said that it will not.
    fn is_good(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.life.spent.get() && !matches!(self.requests.borrow_mut().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        let theirs = self.requests.borrow().current_max_send_streams();
        self.life.streams.get() < theirs.min(STREAMS_MAX)
    }

    fn is_idle(&self) -> bool {
        self.life.streams.get() == 0
    }
}

/// One request's place on a connection.
#[derive(Debug)]
pub struct Place {
    connection: Rc<Connection>,
    _counted: Counted,
    process: std::sync::Arc<Process>,
}

impl Place {
    fn on(connection: &Rc<Connection>, process: &std::sync::Arc<Process>) -> Self {
        connection.last_used.set(process.now());
        let _counted = Counted::new(&connection.life);
        Self { connection: Rc::clone(connection), _counted, process: std::sync::Arc::clone(process) }
    }

    /// Opens its stream. When that fails nothing was sent.
    pub fn ask(&self, request: Request<()>, ends: bool) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let sent = self.connection.requests.borrow_mut().send_request(request, ends);
        if sent.is_err() {
            self.connection.life.spent.set(true);
        }
        sent
    }

    /// Tells, once the member's settings are there, whether it can be asked for a WebSocket.
    pub fn carries_websockets(&self) -> impl Future<Output = bool> + use<> {
        let connection = Rc::clone(&self.connection);
        async move {
            let is_offered = || connection.requests.borrow().is_extended_connect_protocol_enabled();
            let until = clock::now() + SETTINGS_IN;
            let mut looks = 0;
            while !is_offered() && looks < SETTINGS_LOOKS && clock::refresh() < until {
                looks += usize::from(connection.life.budget.heard() > 0);
                tokio::time::sleep(SETTINGS_TICK).await;
            }
            is_offered()
        }
    }

    /// True if there is TLS below.
    pub fn is_secured(&self) -> bool {
        self.connection.secured
    }

    /// What the member may send without meaning anything.
    pub fn budget(&self) -> &Rc<Budget> {
        &self.connection.life.budget
    }

    /// Leaves `rest`, of which only the end is to come, to the task that moves frames.
    pub fn wait_for_end(self, rest: RecvStream) {
        let life = Rc::clone(&self.connection.life);
        let counted = Counted::new(&life);
        life.ends.borrow_mut().push((rest, counted));
        if let Some(mover) = &*life.mover.borrow() {
            mover.wake_by_ref();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.last_used.set(self.process.now());
    }
}

/// A connection that is being made.
#[derive(Debug)]
struct Coming {
    asked_for: Option<Box<str>>,
    over: Notify,
    failure: RefCell<Option<ConnectFailure>>,
}

/// What whoever needs a connection is to do.
#[derive(Debug)]
pub enum Joined<'s> {
    /// Use this one, which somebody else made.
    Stream(Box<Stream>),
    /// Make one, for all who wait.
    Maker(Maker<'s>),
    /// Make one for yourself.
    Alone,
    /// Nobody could make one.
    Failed(ConnectFailure),
}

/// Whoever makes a connection that others wait for; they are told when it is dropped.
#[derive(Debug)]
pub struct Maker<'s> {
    shared: &'s Shared,
    coming: Rc<Coming>,
}

impl Maker<'_> {
    /// It could not be made.
    pub fn failed(&self, failure: &ConnectFailure) {
        *self.coming.failure.borrow_mut() = Some(failure.again());
    }
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        *self.shared.coming.borrow_mut() = None;
        self.coming.over.notify_waiters();
    }
}

impl Shared {
    /// A stream on a connection with room. `repeatable`: the request could be sent again if the connection turns out to be
    /// dead after all.
    pub fn take(&self, process: &std::sync::Arc<Process>, repeatable: bool, asked_for: Option<&str>) -> Option<Stream> {
        let longest = if repeatable { KEPT_FOR_MS } else { FRESH_MS };
        let now = process.now();
        let mut open = self.open.borrow_mut();
        open.retain(|connection| connection.is_good());
        let is_lively = |c: &Connection| !c.is_idle() || now.since(c.last_used.get()) <= longest;
        let found = open.iter().find(|c| c.asked_for.as_deref() == asked_for && c.has_room() && is_lively(c))?;
        Some(Stream::mirrored(Mirror::new(Place::on(found, process))))
    }

    /// Waits for the connection that is being made, or says who makes one. `timeout_ms`: how long; 0: for ever.
    pub async fn join(
        &self,
        process: &std::sync::Arc<Process>,
        asked_for: Option<&str>,
        timeout_ms: u64,
    ) -> Joined<'_> {
        let patience = crate::timer::duration(timeout_ms);
        let until = clock::now() + patience;
        loop {
            if self.declined.get() {
                return Joined::Alone;
            }
            let coming = self.coming.borrow().as_ref().map(Rc::clone);
            let Some(coming) = coming else {
                let (over, failure) = (Notify::new(), RefCell::default());
                let coming = Rc::new(Coming { asked_for: asked_for.map(Into::into), over, failure });
                *self.coming.borrow_mut() = Some(Rc::clone(&coming));
                return Joined::Maker(Maker { shared: self, coming });
            };
            if coming.asked_for.as_deref() != asked_for {
                return Joined::Alone;
            }
            if tokio::time::timeout_at(until, coming.over.notified()).await.is_err() {
                return Joined::Failed(ConnectFailure::TimedOut);
            }
            if let Some(failure) = &*coming.failure.borrow() {
                return Joined::Failed(failure.again());
            }
            if let Some(stream) = self.take(process, true, asked_for) {
                return Joined::Stream(Box::new(stream));
            }
        }
    }

    /// The member chose another protocol.
    pub fn decline(&self) {
        self.declined.set(true);
    }

    /// Begins HTTP/2 on a connection that was just made, and gives its first stream.
    pub async fn begin(
        &self,
        process: &std::sync::Arc<Process>,
        stream: Stream,
        asked_for: Option<&str>,
    ) -> Result<Stream, ConnectFailure> {
        self.declined.set(false);
        let life = Rc::new(Life {
            streams: Cell::new(0),
            spent: Cell::new(false),
            budget: Rc::new(Budget::default()),
            ends: RefCell::default(),
            mover: RefCell::default(),
        });
        let secured = stream.channel().is_some();
        let io = Io::of_member(Rc::new(stream), Rc::clone(&life.budget));
        let shaking = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_MAX as u32)
            .max_send_buffer_size(SEND_BUFFER)
            .max_local_error_reset_streams(Some(RESETS_MAX))
            .handshake::<_, Bytes>(io);
        let refused = |_| ConnectFailure::Refused(std::io::ErrorKind::ConnectionReset.into());
        let (requests, frames) = shaking.await.map_err(refused)?;
        tokio::task::spawn_local(clock::scoped(move_frames(frames, Rc::clone(&life))));
        let (requests, last_used) = (RefCell::new(requests), Cell::new(process.now()));
        let connection =
            Rc::new(Connection { requests, asked_for: asked_for.map(Into::into), secured, last_used, life });
        if !self.retired.get() {
            self.open.borrow_mut().push(Rc::clone(&connection));
        }
        Ok(Stream::mirrored(Mirror::new(Place::on(&connection, process))))
    }

    /// Closes what has been idle for too long; true if some are left.
    pub fn expire(&self, now: Millis) -> bool {
        let mut open = self.open.borrow_mut();
        // A connection that nobody can use any more says goodbye and ends when its last stream has.
        open.retain(|c| c.is_good() && (!c.is_idle() || now.since(c.last_used.get()) <= KEPT_FOR_MS));
        !open.is_empty()
    }

    /// Closes those that nobody uses now; true if there were any.
    pub fn close_idle(&self) -> bool {
        let mut open = self.open.borrow_mut();
        let before = open.len();
        open.retain(|c| !c.is_idle());
        open.len() < before
    }

    /// The member is gone: its connections end when the streams on them have, and none is kept any more.
    pub fn retire(&self) {
        self.retired.set(true);
        self.open.borrow_mut().clear();
    }
}

/// Reaches a member that may speak HTTP/2: by a stream on a connection that others share, which is made if need be;
/// true: it was.
pub async fn reach(
    worker: &Worker,
    lease: &Lease,
    shared: &Shared,
    purpose: Purpose<'_>,
) -> Result<(Stream, bool), ConnectFailure> {
    let maker = match shared.join(&worker.process, purpose.asked_for, purpose.timeout_ms).await {
        Joined::Stream(stream) => return Ok((*stream, false)),
        Joined::Failed(failure) => return Err(failure),
        Joined::Maker(maker) => Some(maker),
        Joined::Alone => None,
    };
    let made = match connect(worker, lease, purpose).await {
        Ok(stream) if lease.pool().http2_prior_knowledge || stream.speaks_h2() => {
            shared.begin(&worker.process, stream, purpose.asked_for).await
        }
        Ok(stream) => {
            shared.decline();
            Ok(stream)
        }
        Err(failure) => Err(failure),
    };
    if let (Some(maker), Err(failure)) = (&maker, &made) {
        maker.failed(failure);
    }
    made.map(|stream| (stream, true))
}

/// Moves the frames of one connection until it ends, and finds out whether the member is still there.
async fn move_frames(mut frames: Frames<Io, Bytes>, life: Rc<Life>) {
    let mut pings = frames.ping_pong();
    let mut tick = pin!(tokio::time::sleep(SILENT_FOR));
    let (mut heard, mut silent) = (0, 0);
    poll_fn(|cx| {
        if pin!(&mut frames).poll(cx).is_ready() || life.budget.verdict().is_some() {
            return Poll::Ready(());
        }
        life.mover.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        // More data after the length that was announced is the library's to refuse.
        life.ends.borrow_mut().retain_mut(|(rest, _)| rest.poll_data(cx).is_pending());
        while tick.as_mut().poll(cx).is_ready() {
            tick.as_mut().reset(clock::refresh() + SILENT_FOR);
            let owes = life.streams.get() > 0;
            silent = if owes && life.budget.heard() == heard { silent + 1 } else { 0 };
            heard = life.budget.heard();
            match (silent, &mut pings) {
                (1, Some(pings)) => {
                    // The last answer makes room for another question.
                    let _ = pings.poll_pong(cx);
                    let _ = pings.send_ping(Ping::opaque());
                }
                (2.., _) => return Poll::Ready(()),
                _ => {}
            }
        }
        Poll::Pending
    })
    .await;
    life.spent.set(true);
    // Outside of what is dropped with them: they count in it.
    let ends = life.ends.take();
    drop(ends);
}
