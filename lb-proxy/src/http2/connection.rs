//! One client that speaks HTTP/2: its streams are accepted, bounded, and each served as a session of its own.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use tokio::time::Sleep;

use super::disguise::{self, Connected, Disguise};
use super::io::{Budget, Io};
use super::preface;
use crate::http::h1::HEAD_MAX;
use crate::http::session;
use crate::listener::Downstream;
use crate::wire::{self, Stream};
use crate::{clock, timer};

/// Requests of one client at once. A stream that was reset counts until the work for it has ended, so that resetting is
/// no way to more.
const STREAMS_MAX: u32 = 100;
/// Bytes a client may send ahead on one stream, and on all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes held for a client that has yet to take them, on one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were reset by the client before they were looked at (rapid reset), or by us for its mistakes
/// (MadeYouReset): more is an attack, and ends the connection.
const RESETS_MAX: usize = 50;

/// How long after the last answer a connection that is to end may take to do so.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// And how many bytes it may send that nobody reads any more.
const LINGER_MAX: usize = 256 * 1024;

/// How many streams are worked on, and whom it concerns.
#[derive(Default)]
struct Work {
    streams: Cell<u32>,
    watched_by: Cell<Option<Waker>>,
}

/// Counts one stream's work.
struct Alive(Rc<Work>);

impl Alive {
    fn new(work: &Rc<Work>) -> Self {
        work.streams.set(work.streams.get() + 1);
        Self(Rc::clone(work))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        // The connection sleeps until there is room for one more, or it is idle.
        if (left == 0 || left == STREAMS_MAX - 1)
            && let Some(waker) = self.0.watched_by.take()
        {
            waker.wake();
        }
    }
}

/// Serves a client whose first bytes, if any were read already, are `first`.
pub async fn serve(downstream: Downstream, stream: Stream, first: Vec<u8>) {
    let budget = Rc::new(Budget::default());
    let stream = Rc::new(stream);
    let connected = Connected { budget: Rc::clone(&budget), told: stream.told(), carrier: Rc::downgrade(&stream) };
    let io = Io::of_client(Rc::clone(&stream), first, Rc::clone(&budget), preface::PREFACE.len());
    let timeouts = downstream.listener.timeouts;
    let shaking = bounds().handshake::<_, Bytes>(io);
    let patience = timer::duration(timeouts.http_request_ms);
    let shaking = std::pin::pin!(tokio::time::timeout(patience, shaking));
    let mut connection = match downstream.ticket.unless_shed(shaking).await {
        Some(Ok(Ok(connection))) => connection,
        Some(_) => return,
        None => return downstream.note_shed(),
    };
    let work = Rc::new(Work::default());
    let idle_for = timer::duration(timeouts.http_keep_alive_ms);
    let mut ending = false;
    // The first request has less time than the next ones.
    let sleep = tokio::time::sleep(patience);
    tokio::pin!(sleep);
    let (mut was_busy, mut was_wrong) = (false, false);
    loop {
        let accepted = poll_fn(|cx| {
            if budget.verdict().is_some() {
                return Poll::Ready(None);
            }
            downstream.wake_on_change(cx.waker());
            // Between two requests its place may be needed.
            if work.streams.get() == 0 && downstream.ticket.shed().is_some() {
                return Poll::Ready(None);
            }
            work.watched_by.set(Some(cx.waker().clone()));
            let is_over = downstream.worker.draining() || is_gone(&downstream);
            if !ending && (is_over || (!was_busy && sleep.as_mut().poll(cx).is_ready())) {
                ending = true;
                connection.graceful_shutdown();
                sleep.as_mut().reset(clock::refresh() + LAST_WORDS);
            }
            // Whoever has as much under way as it may is served, and heard when some of it is done.
            if work.streams.get() >= STREAMS_MAX {
                was_busy = true;
                return match connection.poll_closed(cx) {
                    Poll::Ready(_) => Poll::Ready(None),
                    Poll::Pending if is_condemned(&budget, patience, sleep.as_mut(), cx) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                };
            }
            let accepted = connection.poll_accept(cx);
            // Judged on the way. What came with something wrong goes nowhere.
            if budget.verdict().is_some() {
                return Poll::Ready(None);
            }
            if accepted.is_ready() {
                return accepted;
            }
            // The last answers have been passed on; what they were written to may still have to be sent.
            if work.streams.get() > 0 {
                was_busy = true;
                if is_condemned(&budget, patience, sleep.as_mut(), cx) {
                    return Poll::Ready(None);
                }
            } else if was_busy {
                was_busy = false;
                downstream.ticket.waits();
                let silence = if ending { LAST_WORDS } else { idle_for };
                sleep.as_mut().reset(clock::now() + silence);
            }
            match was_busy || sleep.as_mut().poll(cx).is_pending() {
                true => Poll::Pending,
                // It was told that it is over, and says nothing.
                false if ending => Poll::Ready(None),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
        .await;
        match accepted {
            Some(Ok((request, mut respond))) => {
                was_busy = true;
                if !disguise::has_plain_target(&request) {
                    budget.close_stream(false);
                    respond.send_reset(Reason::PROTOCOL_ERROR);
                    continue;
                }
                downstream.ticket.works();
                let disguise = Disguise::new(request, respond, &connected);
                begin(&downstream, Stream::disguised(disguise), Alive::new(&work));
            }
            // What was wrong has been said to the client.
            Some(Err(_)) => {
                was_wrong = true;
                break;
            }
            None => break,
        }
    }
    if downstream.ticket.shed().is_some() {
        downstream.note_shed();
    }
    if let Some(reason) = budget.verdict() {
        connection.abrupt_shutdown(reason);
        let goodbye = poll_fn(|cx| connection.poll_closed(cx));
        let _ = tokio::time::timeout(LAST_WORDS, goodbye).await;
    }
    if was_wrong || budget.verdict().is_some() {
        let _ = tokio::time::timeout(LAST_WORDS, linger(&downstream, &stream)).await;
    }
}

/// What a client may have under way, as the framing library keeps it.
fn bounds() -> Builder {
    let mut bounds = Builder::new();
    bounds
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_MAX as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(Some(RESETS_MAX))
        .enable_connect_protocol();
    bounds
}

/// True if the client is to be told to go. One that has requests under way has no other time than the one that the fields
/// of the next may take: `sleep` is free for it.
fn is_condemned(budget: &Budget, patience: Duration, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> bool {
    if let Some(since) = budget.waits_since() {
        let until = since + patience;
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        if sleep.poll(cx).is_ready() {
            budget.condemn(Reason::ENHANCE_YOUR_CALM);
        }
    }
    budget.verdict().is_some()
}

/// Lets the client read what it was told: says that nothing more comes, then throws away what it still sends. Were the
/// connection closed with something unread, the kernel would throw away what was said, too.
async fn linger(downstream: &Downstream, stream: &Stream) {
    let _ = stream.shutdown();
    let mut left = LINGER_MAX;
    while left > 0 {
        match wire::discard(stream, &downstream.worker.buffers).await {
            Some(n) => left = left.saturating_sub(n),
            None => return,
        }
    }
}

/// True if its listener is no longer served: requests that were begun are, others are not.
fn is_gone(downstream: &Downstream) -> bool {
    let current = downstream.worker.view();
    !Rc::ptr_eq(&current, &downstream.view)
        && current.listener_of(&downstream.listener, &downstream.held.place).is_none()
}

/// Serves one stream as a session of its own, in the view in force.
fn begin(connection: &Downstream, stream: Stream, alive: Alive) {
    let worker = Rc::clone(&connection.worker);
    let mut stream_of = connection.sibling();
    let current = worker.view();
    if let Some(position) = current.listener_of(&connection.listener, &connection.held.place) {
        stream_of.listener = Arc::clone(&current.snapshot.listeners[position]);
        stream_of.position = position;
        stream_of.view = current;
    }
    // In a box, for the runtime moves what it is given several times, the last time when it has ended.
    tokio::task::spawn_local(clock::scoped(Box::pin(async move {
        let _alive = alive;
        session::serve(stream_of, stream, None).await;
    })));
}
