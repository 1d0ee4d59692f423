//! One request and its answer: a member is reached, both messages are passed on, what failed safely is repeated.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use lb_core::balance::FlowKey;
use lb_core::config::limits::BodyRate;
use lb_core::config::monitor::ObservedLayer;
use lb_core::config::retry::RetryOn;
use lb_core::persistence::{Found, Outcome};
use lb_core::proxy_protocol::Ends;

use super::answer::{Answer, Failed, Passed, Told};
use super::body::{Broken, Pump};
use super::h1::request::{self, Additions, Method, Parts, RequestHead};
use super::h1::{Framing, upgrade};
use super::mirror;
use super::policy::{Choice, Mirror};
use super::refusal;
use super::session::{After, Books, Request, Session};
use super::tunnel;
use lb_core::snapshot::PoolIndex;

use crate::buffer::{Buffer, Sheet};
use crate::clock;
use crate::dispatch::{Journey, Reached, Reuse};
use crate::listener::Downstream;
use crate::observe::queue::LINE_MAX;
use crate::observe::record::{Ending, Times, endings};
use crate::pace::{Pace, Progress, TooLong};
use crate::persistence::{self, Noted, Remembered};
use crate::timer::{Deadlines, Patience, Side, Wait};
use crate::upstream::proxy_header;
use crate::wire::{self, Stream};
use crate::worker::{Ticket, millis_between};

/// How one attempt on a member ended.
enum Attempt {
    /// The answer was passed on; `uploaded`: so was the whole request.
    Passed { passed: Passed, uploaded: bool },
    /// It was not.
    Failed(Failed),
    /// The request's body broke before the answer was there.
    Upload(Broken),
    /// A side was silent for too long.
    Silent(Side),
    /// The member was marked down meanwhile.
    Cut,
}

/// Where an exchange got to; its log line is made of this.
struct Course {
    reached: Option<Reached>,
    connected_at: Option<Instant>,
    /// Whose client it is.
    found: Found,
    /// How its tunnel ended, if it became one.
    ended: Option<Ending>,
}

/// How a request goes out and its answer comes back.
#[derive(Clone, Copy)]
struct Way<'a> {
    /// Bytes of its body, if they are all there.
    held: Option<usize>,
    /// Whose client it is.
    found: &'a Found,
    /// What policies made of it.
    choice: &'a Choice,
    /// True if an answer of that status is not wanted: the request will be sent once more.
    decline: &'a dyn Fn(u16) -> bool,
}

impl Session {
    /// Serves one request.
    pub async fn exchange(&mut self, request: &mut Request, from: &Stream, to: &Stream) -> After {
        let told = Told::default();
        // The buffer is there: the head was read into it.
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.downstream.worker.buffers.lend());
        let (choice, mirror) = self.choose(request, &buffer, from);
        let pool = choice.pool;
        let found = pool.map_or(Found::OFF, |pool| self.look_up(pool, request, &buffer));
        let mut course = Course { reached: None, connected_at: None, found, ended: None };
        let key = self.prepare(request, &mut buffer, &choice, from);
        let request = &*request;
        let head = &request.head;
        let switches = upgrade::asked(&request.sheet.out).is_some();
        self.client_ends = !head.keep_alive;
        let private = std::mem::take(&mut self.private);
        let told_of = from.told();
        let asked_for = told_of.as_ref().and_then(|told| told.asked_for.as_deref());
        let mut journey = pool.map(|pool| {
            let journey = Journey::new(pool, key).homeward(course.found.member).with(private).switching(switches);
            journey.asking_for(&self.downstream.view, asked_for)
        });
        let outcome = match &mut journey {
            Some(journey) => {
                // Nobody would speak what a copy is told it may speak.
                self.copy(request, mirror.filter(|_| !switches), &buffer, asked_for);
                self.travel(request, &choice, journey, &mut course, &mut buffer, &told, from, to).await
            }
            None => Err(endings::NO_MEMBER),
        };
        let page = refusal::Answer { bodiless: head.method == Method::Head, ..Default::default() };
        let (ending, after) = match outcome {
            Ok(after) => (course.ended.unwrap_or(endings::SERVED), after),
            Err(_) if choice.answered_here => self.answer_here(&choice, request, &mut buffer, &told, to).await,
            Err(ending) => (ending, self.refuse(ending, page, &told, to).await),
        };
        self.buffer = Some(buffer);
        let now = clock::now().into_std();
        let since_whole = |at: Option<Instant>, from: Instant| at.map_or(-1, |at| millis_between(from, at));
        let times = Times {
            request: millis_between(request.began, request.whole),
            queue: journey.as_ref().map_or(-1, Journey::queue_ms),
            connect: journey
                .as_ref()
                .map_or(-1, |journey| journey.without_queue(since_whole(course.connected_at, request.whole))),
            response: course.connected_at.map_or(-1, |c| since_whole(told.head_at.get(), c)),
            total: millis_between(request.began, now),
        };
        let noted = match (pool, &journey) {
            (Some(pool), Some(journey)) if course.found.outcome != Outcome::Off => {
                persistence::count(
                    self.downstream.view.pool_cell(pool),
                    &course.found,
                    journey.member_id(&self.downstream.view),
                );
                Noted::new(Some(self.downstream.view.pool(pool)), &course.found, told.remembered.get())
            }
            _ => Noted::NOTHING,
        };
        self.close_books(&Books {
            ending,
            noted,
            began: request.began,
            times,
            told: &told,
            journey: journey.as_ref(),
            pool,
            policy: self.deciding(&choice),
            lease: course.reached.as_ref().map(|r| &r.lease),
            line: &request.sheet.line,
            head_in: head.len as u64,
        });
        if let Some(mut journey) = journey {
            if let (Ok(_), Some(reached), true) = (outcome, course.reached, told.member_reusable.get()) {
                journey.keep(reached, &self.downstream.worker);
            }
            self.private = journey.private;
        }
        after
    }

    /// Whom the request belongs to, if its pool remembers that.
    fn look_up(&self, pool: PoolIndex, request: &Request, buffer: &Buffer) -> Found {
        let (head, table) = (&buffer.filled()[..request.head.len], &request.sheet.fields);
        let parts = request::Parts { request: &request.head, head, table };
        let downstream = &self.downstream;
        persistence::look_up(downstream.view.pool(pool), &parts, downstream.peer.ip(), downstream.worker.now())
    }

    /// Writes the head a member gets, or where the client is sent, and the line the log gets; then the head is dealt with.
    /// Returns what its pool chooses a member by.
    fn prepare(&self, request: &mut Request, buffer: &mut Buffer, choice: &Choice, from: &Stream) -> FlowKey {
        let head = &request.head;
        let bytes = &buffer.filled()[..head.len];
        let Sheet { fields, out, line } = &mut *request.sheet;
        let pool = choice.pool.map(|pool| self.downstream.view.pool(pool));
        let remembers = pool.and_then(|pool| pool.persistence.as_deref());
        let told = from.told();
        let add = Additions {
            told: told.as_deref(),
            insert: self.listener().insert_headers,
            client: self.downstream.peer.ip(),
            scheme: self.listener().protocol.scheme(),
            local: self.downstream.local(),
            cookies: remembers.filter(|persistence| persistence.edits_requests()),
            trailers: choice.pool.is_some_and(|pool| self.downstream.view.may_speak_h2(pool)),
        };
        let key = self.downstream.flow_of_request(choice.pool, &Parts { request: head, head: bytes, table: fields });
        if choice.answered_here {
            self.write_location(choice, &Parts { request: head, head: bytes, table: fields }, out);
        } else {
            let changed = self.downstream.changed(choice);
            changed.iter().for_each(|changed| changed.drop_from_request(bytes, fields));
            request::write(head, bytes, fields, &add, changed.as_ref(), out);
        }
        write_line(head, bytes, from.is_of_http2(), line);
        buffer.consume(head.len);
        key
    }

    /// Has a copy of the request sent elsewhere, if a policy wants one and the request is all there.
    fn copy(&self, request: &Request, mirror: Option<Mirror>, buffer: &Buffer, asked_for: Option<&str>) {
        let Some((policy, pool)) = mirror else { return };
        let policy = self.listener().policies.as_ref().and_then(|policies| policies.policies.get(policy));
        let (Some(policy), Some(body)) = (policy, held_body(&request.head, buffer)) else { return };
        let (cell, Downstream { worker, view, peer, .. }) = (self.policy_cell(policy), &self.downstream);
        mirror::send(worker, view, cell, || mirror::Copy {
            pool,
            ends: Ends { source: *peer, destination: self.downstream.local() },
            asked_for: asked_for.map(Into::into),
            method: request.head.method,
            bytes: [&request.sheet.out[..], &buffer.filled()[..body]].concat(),
            connect_ms: self.listener().timeouts.member_connect_ms,
            cell: std::sync::Arc::clone(cell),
        });
    }

    /// From member to member until the answer has been passed on or nothing more may be tried.
    #[expect(clippy::too_many_arguments, reason = "one step of the walk: all of it is borrowed from the caller")]
    async fn travel(
        &mut self,
        request: &Request,
        choice: &Choice,
        journey: &mut Journey,
        course: &mut Course,
        buffer: &mut Buffer,
        told: &Told,
        from: &Stream,
        to: &Stream,
    ) -> Result<After, Ending> {
        let worker = std::rc::Rc::clone(&self.downstream.worker);
        let view = std::rc::Rc::clone(&self.downstream.view);
        let connect_ms = self.listener().timeouts.member_connect_ms;
        let held = held_body(&request.head, buffer);
        let repeatable = held.is_some() && request.head.method.idempotent();
        let reuse = if repeatable { Reuse::Any } else { Reuse::IfFresh };
        let ticket = &self.downstream.ticket;
        let mut reached = {
            let mut left = async || drop(watch(from, buffer, ticket).await);
            journey.reach(&worker, &view, reuse, connect_ms, &mut left).await?
        };
        loop {
            course.connected_at = Some(clock::now().into_std());
            let decline = |status| {
                let wanted = RetryOn::status(status).filter(|_| repeatable && told.head_bytes.get() == 0);
                wanted.is_some_and(|cause| journey.may_move_on(&worker, &view, cause))
            };
            persistence::placed(&reached.lease, &course.found, worker.now());
            if let Some(asked) = upgrade::asked(&request.sheet.out) {
                Box::pin(tunnel::check(&reached, asked)).await?;
            }
            let way = Way { held, found: &course.found, choice, decline: &decline };
            let attempt = self.attempt(request, &mut reached, &way, buffer, told, from, to).await;
            self.witness(&attempt, &reached);
            let closed_unanswered = matches!(attempt, Attempt::Failed(Failed::Closed));
            // Nobody has looked at it: whatever it asks for, it can be sent again.
            let refused = closed_unanswered
                && held.is_some()
                && reached.stream.was_refused()
                && journey.may_ask_again(&worker, &view, &reached.lease);
            if closed_unanswered && !refused && repeatable && reached.reused {
                // The member closed an idle connection just then; it has not failed.
                let ticket = &self.downstream.ticket;
                let mut left = async || drop(watch(from, buffer, ticket).await);
                reached = journey.reach_again(&worker, &view, reached.lease, connect_ms, &mut left).await?;
                continue;
            }
            let moves =
                || repeatable && attempt.is_declined_or(told, |cause| journey.may_move_on(&worker, &view, cause));
            if refused || moves() {
                if !refused {
                    journey.move_on(&reached.lease);
                    told.any_byte.set(false);
                }
                drop(reached);
                let ticket = &self.downstream.ticket;
                let mut left = async || drop(watch(from, buffer, ticket).await);
                let reuse = if refused { reuse } else { Reuse::Never };
                reached = journey.reach(&worker, &view, reuse, connect_ms, &mut left).await?;
                continue;
            }
            let mut concluded = self.conclude(&attempt, &reached, buffer, held, told);
            if matches!(attempt, Attempt::Passed { passed: Passed { switched: true, .. }, .. }) {
                let ahead = std::mem::replace(buffer, worker.buffers.none());
                let ended = Box::pin(self.tunnel(&reached, ahead, told, from)).await;
                course.ended = Some(ended.ending);
                concluded = Ok(ended.after);
            }
            course.reached = Some(reached);
            return concluded;
        }
    }

    /// What live traffic tells of the member when an attempt was its failure.
    fn witness(&self, attempt: &Attempt, reached: &Reached) {
        let its_own = match attempt {
            // A kept connection that was closed just then says nothing.
            Attempt::Failed(Failed::Closed) => !reached.reused,
            Attempt::Failed(Failed::ClosedInHead | Failed::Bad(_)) => true,
            Attempt::Failed(Failed::Body(Broken::SourceClosed | Broken::Source(_) | Broken::Malformed)) => true,
            Attempt::Silent(side) => *side == Side::Member,
            _ => false,
        };
        if its_own {
            reached.lease.failed(&self.downstream.worker, ObservedLayer::Http);
        }
        if let Attempt::Failed(Failed::Declined(status)) = attempt {
            reached.lease.answered_badly(&self.downstream.worker);
            reached.lease.cell().responses.get(usize::from(*status / 100).wrapping_sub(1)).iter().for_each(|c| c.inc());
        }
    }

    fn conclude(
        &self,
        attempt: &Attempt,
        reached: &Reached,
        buffer: &mut Buffer,
        held: Option<usize>,
        told: &Told,
    ) -> Result<After, Ending> {
        let worker = &self.downstream.worker;
        let reused = reached.reused;
        let bad = |flags: &[u8; 2], reason| Ending { flags: *flags, status: 502, reason };
        match *attempt {
            Attempt::Passed { passed, uploaded } => {
                match ObservedLayer::is_good_status(told.status.get()) {
                    true => reached.lease.worked(worker),
                    false => reached.lease.answered_badly(worker),
                }
                if passed.surplus {
                    reached.lease.distrust(worker);
                }
                buffer.consume(held.unwrap_or(0));
                told.member_reusable.set(passed.member_reusable && uploaded);
                Ok(match (passed.client_reusable, uploaded) {
                    (true, true) => After::Next,
                    (false, true) => After::Close,
                    (_, false) => After::Linger,
                })
            }
            // What is declined is followed by another attempt.
            Attempt::Failed(Failed::Declined(_)) => Err(endings::NO_MEMBER),
            Attempt::Failed(Failed::Closed) if reused => Err(endings::MEMBER_CLOSED_KEPT),
            Attempt::Failed(Failed::Closed) => Err(endings::MEMBER_CLOSED),
            Attempt::Failed(Failed::ClosedInHead) => Err(endings::MEMBER_CLOSED_HEAD),
            Attempt::Failed(Failed::Bad(ref answer)) => Err(bad(b"PH", answer.reason())),
            Attempt::Failed(Failed::Body(Broken::SourceClosed | Broken::Source(_))) => Err(endings::MEMBER_CUT),
            Attempt::Failed(Failed::Body(Broken::Malformed)) if told.client_told.get() => Err(endings::MEMBER_BAD_BODY),
            Attempt::Failed(Failed::Body(Broken::Malformed)) => Err(endings::MEMBER_BAD_BEGINNING),
            Attempt::Failed(Failed::Body(Broken::Sink(_))) => Err(endings::CLIENT_LEFT),
            Attempt::Failed(Failed::Client) => Err(endings::CLIENT_LEFT_WAITING),
            Attempt::Upload(Broken::Malformed) => Err(endings::BAD_BODY),
            Attempt::Upload(_) => Err(endings::CLIENT_LEFT_BODY),
            Attempt::Cut if told.head_at.get().is_some() => Err(endings::MEMBER_DOWN_DATA),
            Attempt::Cut => Err(endings::MEMBER_DOWN),
            Attempt::Silent(_) if told.too_slow.get().is_some() => {
                self.downstream.view.listener_cell(self.listener()).limits().bodies_too_slow.inc();
                let reading = told.too_slow.get() == Some(Wait::ClientRead);
                Err(if reading { endings::BODY_TOO_SLOW } else { endings::ANSWER_TOO_SLOW })
            }
            Attempt::Silent(side) => Err(match (side, told.head_at.get().is_some()) {
                (Side::Client, true) => endings::CLIENT_TIMEOUT,
                (Side::Client, false) => endings::BODY_TIMEOUT,
                (Side::Member, true) => endings::MEMBER_STALLED,
                (Side::Member, false) if told.any_byte.get() => endings::MEMBER_HEAD_TIMEOUT,
                (Side::Member, false) => endings::MEMBER_TIMEOUT,
            }),
        }
    }

    /// Sends the request on one connection and passes the answer back.
    #[expect(clippy::too_many_arguments, reason = "one step of the walk: all of it is borrowed from the caller")]
    async fn attempt(
        &mut self,
        request: &Request,
        reached: &mut Reached,
        way: &Way<'_>,
        buffer: &mut Buffer,
        told: &Told,
        from: &Stream,
        to: &Stream,
    ) -> Attempt {
        let Way { held, found, choice, decline } = *way;
        let timeouts = self.listener().timeouts;
        let rate = self.listener().limits.body_rate;
        let paces = rate.map(|rate| Box::new(Paces::new(rate, request, told, to)));
        let judge = |wait| paces.as_ref().and_then(|paces| paces.judge(wait, told));
        let Self { timer, deadlines, downstream, last, .. } = self;
        let changed = downstream.changed(choice);
        let deadlines: &Deadlines = deadlines;
        let (wants_more, last) = (request.head.keep_alive, *last);
        // While the request is still on its way the member owes no answer, and one that comes all the same is
        // the last on the client's connection.
        let uploading = Cell::new(held.is_none());
        let keep_client = || wants_more && !last && !uploading.get() && !downstream.worker.draining();
        let from_member = Patience::new(deadlines, Wait::MemberRead, timeouts.member_data_ms);
        let to_member = Patience::new(deadlines, Wait::MemberWrite, timeouts.member_data_ms);
        let answer = Answer {
            request: &request.head,
            asked: upgrade::asked(&request.sheet.out),
            keep_client: &keep_client,
            changed: changed.as_ref(),
            decline,
            head_patience: Patience { excused: Some(&uploading), ..from_member },
            body_patience: from_member,
            client: Patience {
                pace: paces.as_ref().map(|paces| &paces.taking),
                ..Patience::new(deadlines, Wait::ClientWrite, timeouts.client_data_ms)
            },
            told,
            strict_transport: downstream.listener.strict_transport.as_deref(),
            buffers: &downstream.worker.buffers,
            remembered: (found.outcome != Outcome::Off).then_some(Remembered {
                found,
                lease: &reached.lease,
                now: downstream.worker.now(),
            }),
        };
        let introduced = proxy_header::before(&request.sheet.out, reached, downstream).map(Box::new);
        let head = introduced.as_ref().map_or(&request.sheet.out, |sheet| &sheet.out);
        let member = &reached.stream;
        let mut answering = pin!(answer.pass(member, to));
        let ended = match held {
            Some(body) => {
                let work = pin!(async {
                    let mut parts = [IoSlice::new(head), IoSlice::new(&buffer.filled()[..body])];
                    // A member may answer and close before it has read everything: the answer tells.
                    let _ = wire::write_all(member, &mut parts, to_member).await;
                    told.body_in.set(body as u64);
                    race(answering.as_mut(), pin!(watch(from, buffer, &downstream.ticket)), &uploading).await
                });
                reached.lease.unless_cut(downstream, pin!(timer.guard_judged(deadlines, work, judge))).await
            }
            None => {
                let mut framing = downstream.worker.buffers.lend_sheet();
                let unread = Cell::new(0);
                let pump = Pump {
                    framing: request.head.body,
                    chunked_out: true,
                    source: Patience {
                        pace: paces.as_ref().map(|paces| &paces.sending),
                        ..Patience::new(deadlines, Wait::ClientRead, timeouts.client_data_ms)
                    },
                    sink: to_member,
                    passed: &told.body_in,
                    turn_began: Cell::default(),
                    end_counted: &unread,
                    answers: None,
                };
                let client_side = pin!(async {
                    match pump.run(from, member, buffer, &mut framing, head).await {
                        Ok(()) => uploading.set(false),
                        // The member takes no more: its answer tells why.
                        Err(Broken::Sink(_)) => {}
                        Err(broken) => return Attempt::Upload(broken),
                    }
                    if told.head_at.get().is_none() {
                        from_member.deadlines.set(Wait::MemberRead, from_member.ms);
                    }
                    match uploading.get() {
                        false => watch(from, buffer, &downstream.ticket).await,
                        true => std::future::pending().await,
                    }
                });
                let work = pin!(race(answering.as_mut(), client_side, &uploading));
                reached.lease.unless_cut(downstream, pin!(timer.guard_judged(deadlines, work, judge))).await
            }
        };
        deadlines.clear_all();
        ended.map_or(Attempt::Cut, |ended| ended.unwrap_or_else(Attempt::Silent))
    }
}

impl Attempt {
    /// True if the answer was declined, or if it failed before a byte of an answer in a way that `may_move_on` allows.
    fn is_declined_or(&self, told: &Told, may_move_on: impl FnOnce(RetryOn) -> bool) -> bool {
        let cause = match self {
            Self::Failed(Failed::Declined(_)) => return true,
            Self::Failed(Failed::Closed) => RetryOn::EmptyResponse,
            Self::Silent(Side::Member) if !told.any_byte.get() => RetryOn::ResponseTimeout,
            _ => return false,
        };
        told.head_bytes.get() == 0 && may_move_on(cause)
    }
}

/// How fast the client of an exchange sends its body and takes its answer.
struct Paces<'a> {
    sending: Pace<'a>,
    taking: Pace<'a>,
}

impl<'a> Paces<'a> {
    fn new(rate: BodyRate, request: &Request, told: &'a Told, to: &'a Stream) -> Self {
        let sending = Pace::new(rate, Progress::Came(&told.body_in), request.head.expects_continue);
        Self { sending, taking: Pace::new(rate, Progress::Taken(to), false) }
    }

    /// Until when a wait whose time is over may go on; `None`: not at all, and if the client was too slow that is noted.
    fn judge(&self, wait: Wait, told: &Told) -> Option<tokio::time::Instant> {
        let judged = match wait {
            Wait::ClientRead => self.sending.judge(),
            Wait::ClientWrite => self.taking.judge(),
            Wait::MemberRead | Wait::MemberWrite => return None,
        };
        if judged == Err(TooLong::Slow) {
            told.too_slow.set(Some(wait));
        }
        judged.ok()
    }
}

/// The request line as the log gets it. `h2`: the request came on a stream of HTTP/2.
pub fn write_line(head: &RequestHead, bytes: &[u8], h2: bool, line: &mut Vec<u8>) {
    line.extend_from_slice(head.method_name.in_(bytes));
    line.push(b' ');
    let target = head.target.in_(bytes);
    line.extend_from_slice(&target[..target.len().min(LINE_MAX)]);
    line.extend_from_slice(match (h2, head.minor_version) {
        (true, _) => b" HTTP/2.0",
        (false, 0) => b" HTTP/1.0",
        (false, _) => b" HTTP/1.1",
    });
}

/// Bytes of the body that are all in `buffer` already and so can be sent again; `None`: the body is streamed.
pub(super) fn held_body(head: &RequestHead, buffer: &Buffer) -> Option<usize> {
    match head.body {
        Framing::None => Some(0),
        Framing::Length(n) if n <= buffer.len() as u64 => Some(n as usize),
        _ => None,
    }
}

/// Keeps an eye on a client that waits: requests it sends ahead are read into `buffer` as far as there is room.
/// Ends only when the client has reset the connection.
async fn watch(from: &Stream, buffer: &mut Buffer, ticket: &Ticket) -> Attempt {
    buffer.rest();
    if !from.is_watched() {
        // Most first requests of a connection are answered before it is worth telling the runtime of it.
        let mut asked = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut asked, true) || ticket.look_is_due() {
                ticket.wake_later(cx.waker());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
    let unused = Deadlines::default();
    let patience = Patience::new(&unused, Wait::ClientRead, 0);
    loop {
        let read = match buffer.is_empty() {
            true => wire::fill(from, buffer, usize::MAX, patience).await,
            // What was sent ahead stays where it is read next.
            false if buffer.room().is_empty() => std::future::pending().await,
            false => wire::read(from, buffer.room(), patience).await.inspect(|read| buffer.fill(*read)),
        };
        match read {
            // The client has sent all it will; it may still be waiting for the answer.
            Ok(0) => {
                buffer.rest();
                return std::future::pending().await;
            }
            Ok(_) => {}
            Err(_) => return Attempt::Failed(Failed::Client),
        }
    }
}

/// Runs both sides until the answer has been passed on or the client's side ends the exchange. The answer may
/// come, and even end, before the request is through.
async fn race(
    mut answer: Pin<&mut impl Future<Output = Result<Passed, Failed>>>,
    mut client_side: Pin<&mut impl Future<Output = Attempt>>,
    uploading: &Cell<bool>,
) -> Attempt {
    poll_fn(|cx| {
        // The request goes first while there is some of it, so that its end is known when the answer's head is.
        if uploading.get()
            && let Poll::Ready(ended) = client_side.as_mut().poll(cx)
        {
            return Poll::Ready(ended);
        }
        match answer.as_mut().poll(cx) {
            Poll::Ready(Ok(passed)) => Poll::Ready(Attempt::Passed { passed, uploaded: !uploading.get() }),
            Poll::Ready(Err(failed)) => Poll::Ready(Attempt::Failed(failed)),
            Poll::Pending if uploading.get() => Poll::Pending,
            Poll::Pending => client_side.as_mut().poll(cx),
        }
    })
    .await
}
