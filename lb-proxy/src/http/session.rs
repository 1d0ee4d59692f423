//! One client of an HTTP listener: requests read and judged in turn, each handed to an exchange.

use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use lb_core::l7::Policy;
use lb_core::snapshot::{ListenerSnapshot, PoolIndex};
use lb_core::time::Millis;

use super::answer::Told;
use super::exchange::write_line;
use super::h1::request::{Malformed, Method, RequestHead};
use super::h1::{Framing, head_end};
use super::head::{HeadFailure, Search, read_head};
use super::refusal::{self, Answer};
use crate::buffer::{Buffer, Buffers, LentSheet};
use crate::clock;
use crate::dispatch::{Journey, Lease};
use crate::http2::linger;
use crate::listener::{Downstream, door};
use crate::observe::record::{Ending, Load, Record, Times, Words, endings};
use crate::persistence::Noted;
use crate::room::Shortage;
use crate::timer::{Deadlines, Patience, Timer, Wait};
use crate::upstream::private::PrivateConnections;
use crate::wire::{self, Stream, Unread};
use crate::worker::millis_between;

/// After a last answer, what the client still sends is read and thrown away for this long, so that it gets to
/// see the answer before its connection is reset.
pub(crate) const LINGER_FOR: Duration = Duration::from_millis(5_000);
/// But not once it has been silent for this long.
pub(crate) const LINGER_SILENCE: Duration = Duration::from_millis(1_000);

/// A session that has been idle for this long gives back the memory of its working state. Clients that come
/// back sooner cost no allocation.
const WARM_FOR: Duration = Duration::from_millis(250);

/// One that has been idle for this long is parked: then it has no task any more.
const PARK_AFTER: Duration = Duration::from_millis(1_000);

/// What becomes of the client's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    Next,
    /// The same, but none came for a while.
    Rest,
    /// The same, but none came for so long that the client is better parked.
    Park,
    /// It is closed.
    Close,
    /// It is closed once the client has stopped sending.
    Linger,
    /// It is reset, so that what was cut short cannot be taken for whole.
    Reset,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    /// Counts and names the connection.
    pub downstream: Downstream,
    /// Guards all waiting.
    pub timer: Timer,
    /// Whom it waits for.
    pub deadlines: Deadlines,
    /// What was read and not dealt with; none while the session is idle.
    pub buffer: Option<Buffer>,
    /// The listener is gone or down: this request is the last.
    pub last: bool,
    /// The client said that this request is its last.
    pub client_ends: bool,
    /// Connections to members that are this client's alone.
    pub private: PrivateConnections,
    served: u32,
    /// Accepted, or done with the last request.
    idle_since: Instant,
}

/// A request that is to be served.
#[derive(Debug)]
pub struct Request {
    /// Its head. The bytes are still at the front of the buffer.
    pub head: RequestHead,
    /// Its fields, and room for the head a member gets.
    pub sheet: LentSheet,
    /// When its first byte came.
    pub began: Instant,
    /// When its head was whole.
    pub whole: Instant,
}

enum Arrival {
    Request(Request),
    Refused(Ending, Instant),
    /// Nothing came, or nothing that deserves an answer.
    Gone,
    /// Nothing came for a while: the session need not be held ready.
    Pause,
    /// Its place is needed.
    Shed(Shortage, Instant),
}

/// How a wait for a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// There is something to read.
    Ready,
    /// The time was over.
    Silent,
    /// It is time to part: we are draining, or the client is gone.
    Part,
    /// Its place is needed.
    Shed(Shortage),
}

/// Serves one client until one side has had enough, or it has been silent for so long that it is parked.
/// `first`: what it said already.
///
/// Not an `async fn`, which would keep its arguments beside what is made of them for as long as the client is there.
pub fn serve(downstream: Downstream, stream: Stream, first: Option<Buffer>) -> impl Future<Output = ()> {
    let idle_since = downstream.accepted;
    let mut session = Session::new(downstream, 0, idle_since);
    session.buffer = first;
    session.live(stream)
}

/// Goes on with a client that was parked after `served` requests, silent since `since`.
pub fn resume(downstream: Downstream, stream: Stream, served: u32, since: Millis) -> impl Future<Output = ()> {
    let idle_since = downstream.worker.process.instant(since);
    Session::new(downstream, served, idle_since).live(stream)
}

impl Session {
    fn new(downstream: Downstream, served: u32, idle_since: Instant) -> Self {
        let first_ms = downstream.listener.timeouts.http_request_ms;
        Self {
            downstream,
            timer: Timer::new(first_ms),
            deadlines: Deadlines::default(),
            buffer: None,
            last: false,
            client_ends: false,
            private: PrivateConnections::default(),
            served,
            idle_since,
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and every client has one of these"
    )]
    fn live(mut self, stream: Stream) -> impl Future<Output = ()> {
        async move {
            let after = self.run(&stream, &stream).await;
            // Closing with bytes unread would reset the connection and throw away what the client has yet to take.
            // A client that asked for the end has nothing more to say.
            let unheard = || !self.client_ends && stream.unread() == Unread::Bytes;
            match after {
                After::Reset => stream.reset(),
                _ if stream.is_of_http2() => {
                    let _ = stream.shutdown();
                    // The request's end may come behind its last byte, so that it was not waited for.
                    drop(self.buffer.take());
                    Box::pin(linger::stream(&stream)).await;
                }
                After::Close if !unheard() => {}
                After::Linger | After::Close => self.linger(&stream).await,
                After::Park => self.park(stream),
                After::Next | After::Rest => {}
            }
        }
    }

    fn park(self, stream: Stream) {
        let worker = Rc::clone(&self.downstream.worker);
        let since = worker.process.millis(self.idle_since);
        worker.parking.park(self.downstream, stream, self.served, since);
    }

    /// Waits in a small future while the client is idle, and works in a large one while it is not.
    async fn run(&mut self, from: &Stream, to: &Stream) -> After {
        loop {
            // A client that has yet to ask for anything is not let out of sight.
            let at_most = (self.served > 0).then_some(PARK_AFTER);
            let idle = if self.buffer.is_some() { Idle::Ready } else { self.idle(from, at_most).await };
            if idle == Idle::Silent && !self.patience_is_over() {
                return After::Park;
            }
            if let Idle::Shed(shortage) = idle {
                return self.shed(shortage, self.idle_since);
            }
            if idle != Idle::Ready {
                return match self.nothing_came() {
                    Arrival::Refused(ending, began) => Box::pin(self.refuse_unread(ending, began, to)).await,
                    _ => After::Close,
                };
            }
            let begun = self.buffer.as_ref().filter(|buffer| head_end(buffer.filled(), 0).is_none());
            // While a head drips the large future can wait.
            let first = if begun.is_some() { Some(Box::pin(self.next(from)).await) } else { None };
            match Box::pin(self.work(first, from, to)).await {
                After::Rest => {}
                after => return after,
            }
        }
    }

    /// Serves requests for as long as they come one soon after the other; `first`: what came already.
    async fn work(&mut self, mut first: Option<Arrival>, from: &Stream, to: &Stream) -> After {
        loop {
            let arrival = match first.take() {
                Some(arrival) => arrival,
                None => self.next(from).await,
            };
            let after = match arrival {
                Arrival::Request(mut request) => {
                    self.count_request();
                    match door::ask(&self.downstream) {
                        Ok(()) => self.exchange(&mut request, from, to).await,
                        Err(seconds) => Box::pin(self.refuse_for(request, seconds, from, to)).await,
                    }
                }
                Arrival::Refused(ending, began) => {
                    self.count_request();
                    self.refuse_unread(ending, began, to).await
                }
                Arrival::Gone => After::Close,
                Arrival::Pause => After::Rest,
                Arrival::Shed(shortage, began) => self.shed(shortage, began),
            };
            // A stream of HTTP/2 carries one request.
            if after != After::Next || from.is_of_http2() {
                return after;
            }
            self.served = self.served.saturating_add(1);
            // Hardly anybody has asked again already.
            if from.watch().is_err() {
                return After::Close;
            }
            self.idle_since = clock::now().into_std();
            self.downstream.ticket.waits();
        }
    }

    fn count_request(&self) {
        self.downstream.view.listener_cell(&self.downstream.listener).requests.inc();
        self.downstream.worker.process.worker(self.downstream.worker.index).requests.inc();
    }

    /// Waits for a request and reads its head.
    async fn next(&mut self, from: &Stream) -> Arrival {
        let mut search = Search::default();
        if self.buffer.as_ref().is_none_or(Buffer::is_empty) {
            self.buffer = None;
            match self.idle(from, Some(WARM_FOR)).await {
                Idle::Ready => {}
                Idle::Silent if !self.patience_is_over() => return Arrival::Pause,
                Idle::Silent | Idle::Part => return self.nothing_came(),
                Idle::Shed(shortage) => return Arrival::Shed(shortage, self.idle_since),
            }
        }
        // A log line's times begin with the request's first byte, the patience for the first request with the
        // connection.
        let began = clock::now().into_std();
        let patient_since = if self.served == 0 { self.downstream.accepted } else { began };
        self.renew_view();
        let whole_ms = self.listener().timeouts.http_request_ms;
        let deadline = (whole_ms > 0).then(|| patient_since + Duration::from_millis(whole_ms));
        self.deadlines.set_at(Wait::ClientRead, deadline.map(tokio::time::Instant::from_std));
        // There is one: bytes came, or were left from before.
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.downstream.worker.buffers.lend());
        let mut sheet = self.downstream.worker.buffers.lend_sheet();
        // The deadline is for the whole head, so single reads set none of their own.
        let unused = Deadlines::default();
        let patience = Patience::new(&unused, Wait::ClientRead, 0);
        let read = {
            let heads = self.downstream.listener.limits.heads;
            let reading = std::pin::pin!(read_head(from, &mut buffer, &mut sheet, &mut search, heads, patience));
            let guarded = std::pin::pin!(self.timer.guard(&self.deadlines, reading));
            self.downstream.ticket.unless_shed(guarded).await
        };
        self.deadlines.clear(Wait::ClientRead);
        let nothing = buffer.is_empty();
        self.buffer = Some(buffer);
        let Some(read) = read else {
            return self.downstream.ticket.shed().map_or(Arrival::Gone, |shortage| Arrival::Shed(shortage, began));
        };
        match read {
            Ok(Ok(head)) => {
                self.downstream.ticket.works();
                Arrival::Request(Request { head, sheet, began, whole: clock::now().into_std() })
            }
            Ok(Err(HeadFailure::Malformed(bad))) => {
                if matches!(bad, Malformed::TooLarge | Malformed::TargetTooLong) {
                    self.downstream.view.listener_cell(self.listener()).limits().heads_too_large.inc();
                }
                Arrival::Refused(refusing(bad), began)
            }
            Ok(Err(HeadFailure::Left)) if nothing => self.nothing_came(),
            Ok(Err(HeadFailure::Left)) => Arrival::Refused(endings::CLIENT_LEFT_HEAD, began),
            // Nothing but empty lines.
            Err(_) if nothing && self.served > 0 => Arrival::Gone,
            Err(_) => Arrival::Refused(endings::HEAD_TIMEOUT, began),
        }
    }

    /// The client closed, or stayed silent, between requests: no word is due. Before the first request a
    /// silent client is told why it is cut off.
    fn nothing_came(&self) -> Arrival {
        if self.served == 0 && self.patience_is_over() {
            return Arrival::Refused(endings::HEAD_TIMEOUT, self.downstream.accepted);
        }
        Arrival::Gone
    }

    /// How long the client may be silent before its next request; 0: for ever.
    fn idle_ms(&self) -> u64 {
        let timeouts = self.listener().timeouts;
        if self.served == 0 { timeouts.http_request_ms } else { timeouts.http_keep_alive_ms }
    }

    fn patience_is_over(&self) -> bool {
        let ms = self.idle_ms();
        ms > 0 && clock::now().into_std() - self.idle_since >= Duration::from_millis(ms)
    }

    /// Waits, without holding memory, for something to read, and reads it: until the client's time is over, or
    /// for `at_most`.
    async fn idle(&mut self, from: &Stream, at_most: Option<Duration>) -> Idle {
        let allowed = (self.idle_ms() > 0).then(|| Duration::from_millis(self.idle_ms()));
        let until = [allowed, at_most].into_iter().flatten().min().map(|d| self.idle_since + d);
        self.deadlines.set_at(Wait::ClientRead, until.map(tokio::time::Instant::from_std));
        let (downstream, last, buffer) = (&self.downstream, self.last, &mut self.buffer);
        let new = self.served == 0;
        let waiting = std::pin::pin!(poll_fn(|cx| {
            match poll_first_bytes(from, cx, &downstream.worker.buffers) {
                Poll::Ready(Some(first)) => {
                    *buffer = Some(first);
                    let room = &downstream.worker.process.room;
                    if new && room.is_bounded() && !room.has_memory() {
                        // Served if that is a whole request already; no memory is held for one that drips.
                        downstream.ticket.must_end(Shortage::Memory);
                    }
                    Poll::Ready(Idle::Ready)
                }
                Poll::Ready(None) => Poll::Ready(Idle::Part),
                Poll::Pending if downstream.worker.draining() || last => Poll::Ready(Idle::Part),
                Poll::Pending => match downstream.ticket.shed() {
                    Some(shortage) => Poll::Ready(Idle::Shed(shortage)),
                    None => {
                        downstream.wake_on_change(cx.waker());
                        Poll::Pending
                    }
                },
            }
        }));
        let waited = self.timer.guard(&self.deadlines, waiting).await;
        self.deadlines.clear(Wait::ClientRead);
        waited.unwrap_or(Idle::Silent)
    }

    /// Moves on to the view in force. A session whose listener is gone stays in the old one for this request.
    fn renew_view(&mut self) {
        let current = self.downstream.worker.view();
        if Rc::ptr_eq(&current, &self.downstream.view) {
            return;
        }
        match current.listener_of(&self.downstream.listener, &self.downstream.held.place) {
            Some(position) => {
                self.downstream.listener = Arc::clone(&current.snapshot.listeners[position]);
                self.downstream.position = position;
                self.downstream.view = current;
            }
            None => self.last = true,
        }
    }

    /// The listener it came in by.
    pub fn listener(&self) -> &Arc<ListenerSnapshot> {
        &self.downstream.listener
    }

    /// Parts with a client whose place is needed. A word would keep it for longer.
    fn shed(&self, shortage: Shortage, began: Instant) -> After {
        self.downstream.worker.note_shed(&self.downstream.knock(), shortage, began);
        After::Reset
    }

    /// Answers a request of a client that has sent too many: it may ask again in so many seconds.
    async fn refuse_for(&mut self, mut request: Request, seconds: u64, from: &Stream, to: &Stream) -> After {
        let head = request.head;
        self.downstream.view.listener_cell(self.listener()).limits().client_request_rate.inc();
        if let Some(buffer) = &mut self.buffer {
            write_line(&head, buffer.filled(), from.is_of_http2(), &mut request.sheet.line);
            buffer.consume(head.len);
        }
        // What follows is the next request, unless a body comes that nobody is going to read.
        let goes_on = head.keep_alive && head.minor_version > 0 && head.body == Framing::None;
        let keeps = goes_on && !self.last && !self.downstream.worker.draining();
        let page = Answer { bodiless: head.method == Method::Head, keeps, retry_after: Some(seconds) };
        let (told, ending) = (Told::default(), endings::TOO_MANY_REQUESTS);
        let after = match self.refuse(ending, page, &told, to).await {
            After::Linger if keeps => After::Next,
            after => after,
        };
        let now = clock::now().into_std();
        let request_ms = millis_between(request.began, request.whole);
        let times = Times { request: request_ms, total: millis_between(request.began, now), ..Times::NONE };
        self.close_books(&Books {
            ending,
            began: request.began,
            times,
            told: &told,
            journey: None,
            pool: None,
            policy: None,
            noted: Noted::NOTHING,
            lease: None,
            line: &request.sheet.line,
            head_in: head.len as u64,
        });
        after
    }

    async fn refuse_unread(&mut self, ending: Ending, began: Instant, to: &Stream) -> After {
        let told = Told::default();
        // There is no request, but whoever began with this takes no body for an answer's (RFC 9110 section 9.3.2).
        let bodiless = self.buffer.as_ref().is_some_and(|buffer| buffer.filled().starts_with(b"HEAD "));
        let after = self.refuse(ending, Answer { bodiless, ..Answer::default() }, &told, to).await;
        // What is answered before there is a request counts for nothing in HAProxy's lines.
        told.head_counted.set(0);
        let times = Times { total: millis_between(began, clock::now().into_std()), ..Times::NONE };
        self.close_books(&Books {
            ending,
            noted: Noted::NOTHING,
            began,
            times,
            told: &told,
            journey: None,
            pool: None,
            policy: None,
            lease: None,
            line: b"",
            head_in: 0,
        });
        after
    }

    /// Sends the page of `ending`, if it has one and nothing else was sent.
    pub async fn refuse(&self, ending: Ending, page: Answer, told: &Told, to: &Stream) -> After {
        if ending.status == 0 || told.client_told.get() {
            return After::Reset;
        }
        let cell = self.downstream.view.listener_cell(self.listener());
        cell.refusals.inc();
        let mut sheet = self.downstream.worker.buffers.lend_sheet();
        let counted = refusal::write(ending.status, &self.listener().error_pages, page, &mut sheet.out);
        told.head_counted.set(counted);
        told.head_bytes.set(sheet.out.len() as u64);
        told.status.set(ending.status);
        // A client that does not take a page of a few hundred bytes is not waited for.
        let unused = Deadlines::default();
        let patience = Patience::new(&unused, Wait::ClientRead, 0);
        let writing = async { wire::write_all(to, &mut [IoSlice::new(&sheet.out)], patience).await };
        match tokio::time::timeout(LINGER_SILENCE, writing).await {
            Ok(Ok(())) => After::Linger,
            _ => After::Close,
        }
    }

    /// Counts a request that has ended and writes its line.
    pub fn close_books(&self, books: &Books<'_>) {
        let downstream = &self.downstream;
        let told = books.told;
        let (bytes_in, bytes_out) = (books.head_in + told.body_in.get(), told.head_bytes.get() + told.body_out.get());
        let status = told.status.get();
        let class = (usize::from(status) / 100).wrapping_sub(1);
        let cell = downstream.view.listener_cell(&downstream.listener);
        cell.bytes_in.add(bytes_in);
        cell.bytes_out.add(bytes_out);
        if let Some(counter) = cell.responses.get(class) {
            counter.inc();
        }
        // What a policy refuses is no failure of anybody.
        if matches!(books.ending.flags[0], b'C' | b'c' | b'P') && books.ending != endings::REJECTED {
            cell.request_errors.inc();
        }
        if let Some(lease) = books.lease {
            let member = lease.cell();
            member.bytes_in.add(bytes_in);
            if books.ending.status == 0 {
                member.bytes_out.add(bytes_out);
                if let Some(counter) = member.responses.get(class) {
                    counter.inc();
                }
            }
            if matches!(books.ending.flags, [b'S' | b's', b'H' | b'D'] | [b'P', b'H']) {
                member.response_errors.inc();
            }
        }
        let Some(sink) = downstream.view.sink(downstream.position) else { return };
        let record = Record {
            sink,
            http: true,
            began: books.began,
            client: downstream.peer,
            times: books.times,
            status,
            bytes_counted: told.head_counted.get() + told.body_out.get() + told.end_counted.get(),
            bytes_out,
            bytes_in,
            ending: books.ending,
            unnamed: None,
            noted: books.noted,
            load: Load::now(downstream, books.lease, books.journey),
            retries: books.journey.map_or(0, Journey::failed_attempts),
            redispatched: books.journey.is_some_and(|j| j.redispatched),
            queued: books.journey.map_or_else(Default::default, Journey::queued),
        };
        let pool = books.journey.and(books.pool).map(|pool| downstream.view.pool(pool));
        let words = Words {
            listener: &downstream.listener.label,
            pool: pool.map(|p| &*p.label),
            member: books.journey.and_then(|journey| journey.member_label(&downstream.view)),
            policy: books.policy.map(|policy| &*policy.label),
            line: books.line,
        };
        downstream.worker.process.log.note(downstream.worker.index, &record, words);
    }

    /// Lets the client read the last answer: says that nothing more comes, then throws away what it still sends.
    async fn linger(&mut self, stream: &Stream) {
        self.buffer = None;
        if stream.shutdown().is_err() {
            return;
        }
        // Nothing is asked of it any more: its place may be needed.
        self.downstream.ticket.waits();
        let Self { downstream, timer, deadlines, .. } = self;
        let (worker, ticket) = (&downstream.worker, &downstream.ticket);
        let guest = worker.lingering.enter();
        let until = clock::now() + LINGER_FOR;
        let mut rest = std::pin::pin!(async {
            loop {
                deadlines.set_at(Wait::ClientRead, Some(until.min(clock::now() + LINGER_SILENCE)));
                if wire::discard(stream, &worker.buffers).await.is_none() {
                    return;
                }
            }
        });
        let rest = std::pin::pin!(poll_fn(|cx| match rest.as_mut().poll(cx) {
            Poll::Pending if guest.is_dismissed(cx) => Poll::Ready(()),
            polled => polled,
        }));
        let _ = ticket.unless_shed(std::pin::pin!(timer.guard(deadlines, rest))).await;
    }
}

/// The first bytes of a request, in a buffer that is only lent once there are some; `None`: the client has left.
fn poll_first_bytes(from: &Stream, cx: &mut Context<'_>, buffers: &Rc<Buffers>) -> Poll<Option<Buffer>> {
    if std::task::ready!(from.poll_readable(cx)).is_err() {
        return Poll::Ready(None);
    }
    let mut buffer = buffers.lend();
    // The word may have been about bytes that were read before: then there is nothing, and we wait on.
    match std::task::ready!(from.poll_read(cx, buffer.room())) {
        Ok(n) if n > 0 => {
            buffer.fill(n);
            Poll::Ready(Some(buffer))
        }
        _ => Poll::Ready(None),
    }
}

/// What the books of a request are closed with.
#[derive(Debug)]
pub struct Books<'a> {
    /// How it ended.
    pub ending: Ending,
    /// Whether its client was remembered.
    pub noted: Noted,
    /// When its first byte came.
    pub began: Instant,
    /// How long what took.
    pub times: Times,
    /// What was sent.
    pub told: &'a Told,
    /// Its way through the pool, if it got one.
    pub journey: Option<&'a Journey>,
    /// Its pool, if it has one.
    pub pool: Option<PoolIndex>,
    /// The policy that decided about it, if one did.
    pub policy: Option<&'a Policy>,
    /// The member that served it, or failed to.
    pub lease: Option<&'a Lease>,
    /// The request line.
    pub line: &'a [u8],
    /// Bytes of the request's head.
    pub head_in: u64,
}

fn refusing(bad: Malformed) -> Ending {
    Ending { flags: *b"PR", status: bad.status(), reason: bad.reason() }
}
