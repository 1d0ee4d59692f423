//! One relayed connection: from admission to its log line.

use std::pin::pin;

use lb_core::config::ListenerProtocol;
use lb_core::persistence::{Answered, Found};
use lb_core::request::Unread;
use lb_core::snapshot::PoolSnapshot;

use super::greeting::{Choice, Told};
use super::inspect;
use super::relay::{Moved, Silence, relay};
use crate::buffer::Buffer;
use crate::clock;
use crate::dispatch::{Journey, Lease, Reached, Reuse};
use crate::listener::Downstream;
use crate::observe::record::{Ending, Load, Record, Times, Words, endings};
use crate::persistence::{self, Noted};
use crate::timer::Timer;
use crate::upstream::proxy_header::Opening;
use crate::wire::{self, Closing, Stream};
use crate::worker::millis_between;

/// Serves one client of a TCP (or passed-through HTTPS) listener. `first`: what it said already.
pub async fn serve(downstream: Downstream, mut client: Stream, first: Option<Buffer>, choice: Choice) {
    let pool = choice.pool;
    let hash = match downstream.first_bytes_rule(pool) {
        // Boxed: hardly any session does this, and each would be as large as one that does.
        Some(rule) => Box::pin(inspect::hash(&downstream, rule, &mut client, first.as_ref())).await,
        None => None,
    };
    let key = downstream.flow_of_connection(pool, hash);
    // What it asks for is not known here: it is served from the beginning.
    downstream.ticket.works();
    let (source, now) = (downstream.peer.ip(), downstream.worker.now());
    let found = pool.map_or(Found::OFF, |p| persistence::look_up(downstream.view.pool(p), &Unread, source, now));
    let mut journey = pool.map(|pool| Journey::new(pool, key).homeward(found.member));
    let connect_ms = downstream.listener.timeouts.member_connect_ms;
    let reached = match &mut journey {
        None => Err(endings::NO_MEMBER),
        Some(journey) => {
            // A TLS client that closes has given up; another may have said all it has to say.
            let closing = match (downstream.listener.protocol, &first) {
                (ListenerProtocol::Https, _) => Closing::Leaves,
                (_, Some(_)) => Closing::Stays,
                (_, None) => Closing::LeavesIfSilent,
            };
            let (worker, view) = (&downstream.worker, &downstream.view);
            let mut left = async || wire::left(&client, closing).await;
            let reached = journey.reach(worker, view, Reuse::Never, connect_ms, &mut left).await;
            if journey.queued().stood {
                client.unwatch();
            }
            reached
        }
    };
    let mut outcome = Outcome::of(endings::SERVED);
    match reached {
        Err(ending) => {
            // Nothing can be said in a protocol we do not speak: a reset is the clearest word there is.
            client.reset();
            outcome.ending = ending;
        }
        Ok(reached) => {
            persistence::placed(&reached.lease, &found, downstream.worker.now());
            outcome.connect_ms = millis_between(downstream.accepted, clock::now().into_std());
            let opening = Opening::of(&reached, &downstream, first);
            outcome.ending = run(&downstream, &client, &reached, opening, &outcome.moved).await;
            outcome.reached = Some(reached);
        }
    }
    drop(client);
    if let (Some(pool), Some(journey)) = (pool, &journey) {
        persistence::count(downstream.view.pool_cell(pool), &found, journey.member_id(&downstream.view));
    }
    finish(
        &downstream,
        &choice,
        journey.as_ref(),
        &outcome,
        Noted::new(pool.map(|p| downstream.view.pool(p)), &found, Answered::Off),
    );
}

struct Outcome {
    ending: Ending,
    connect_ms: i32,
    reached: Option<Reached>,
    moved: Moved,
}

impl Outcome {
    fn of(ending: Ending) -> Self {
        Self { ending, connect_ms: -1, reached: None, moved: Moved::default() }
    }
}

/// Ends a client that no member is looked for.
pub fn end(downstream: &Downstream, ending: Ending, choice: &Choice) {
    finish(downstream, choice, None, &Outcome::of(ending), Noted::NOTHING);
}

async fn run(
    downstream: &Downstream,
    client: &Stream,
    reached: &Reached,
    opening: Option<Opening>,
    moved: &Moved,
) -> Ending {
    let timeouts = downstream.listener.timeouts;
    let silence = Silence {
        client_ms: timeouts.tunnel_ms.unwrap_or(timeouts.client_data_ms),
        member_ms: timeouts.tunnel_ms.unwrap_or(timeouts.member_data_ms),
    };
    let mut timer = Timer::new(silence.client_ms);
    let buffers = &downstream.worker.buffers;
    let relaying = pin!(relay(client, &reached.stream, opening, silence, buffers, &mut timer, moved));
    let ended = reached.lease.unless_cut(downstream, relaying).await;
    match ended.unwrap_or(endings::MEMBER_DOWN_DATA) {
        ending @ endings::MEMBER_RESET => {
            client.reset();
            ending
        }
        ending @ endings::CLIENT_RESET => {
            reached.stream.reset();
            ending
        }
        ending @ endings::MEMBER_DOWN_DATA => {
            client.reset();
            reached.stream.reset();
            ending
        }
        ending => ending,
    }
}

fn finish(downstream: &Downstream, choice: &Choice, journey: Option<&Journey>, outcome: &Outcome, noted: Noted) {
    let worker = &downstream.worker;
    let (up, down) = (outcome.moved.up.get(), outcome.moved.down.get());
    let cell = downstream.view.listener_cell(&downstream.listener);
    cell.bytes_in.add(up);
    cell.bytes_out.add(down);
    if outcome.ending.flags[0].eq_ignore_ascii_case(&b'c') {
        cell.request_errors.inc();
    }
    if let Some(reached) = &outcome.reached {
        reached.lease.cell().bytes_in.add(up);
        reached.lease.cell().bytes_out.add(down);
        if outcome.ending == endings::MEMBER_RESET {
            reached.lease.cell().response_errors.inc();
        }
    }
    let Some(sink) = downstream.view.sink(downstream.position) else { return };
    let lease = outcome.reached.as_ref().map(|r| &r.lease);
    let pool = choice.pool.map(|p| downstream.view.pool(p));
    let record = Record {
        sink,
        http: false,
        began: downstream.accepted,
        client: downstream.peer,
        times: Times {
            request: -1,
            queue: journey.map_or(-1, Journey::queue_ms),
            connect: journey.map_or(-1, |journey| journey.without_queue(outcome.connect_ms)),
            response: -1,
            total: millis_between(downstream.accepted, clock::now().into_std()),
        },
        status: 0,
        bytes_counted: down,
        bytes_out: down,
        bytes_in: up,
        ending: outcome.ending,
        unnamed: match choice.told.as_deref() {
            Some(Told::Unnamed(why)) => Some(why),
            Some(Told::Name(_)) | None => None,
        },
        noted,
        load: Load::now(downstream, lease, journey),
        retries: journey.map_or(0, Journey::failed_attempts),
        redispatched: journey.is_some_and(|j| j.redispatched),
        queued: journey.map_or_else(Default::default, Journey::queued),
    };
    let words = Words {
        listener: &downstream.listener.label,
        pool: pool.map(|p| &*p.label),
        member: journey.and_then(|journey| journey.member_label(&downstream.view)),
        policy: choice.policy(downstream).map(|policy| &*policy.label),
        line: match choice.told.as_deref() {
            Some(Told::Name(name)) => name.as_bytes(),
            Some(Told::Unnamed(_)) | None => b"",
        },
    };
    worker.process.log.note(worker.index, &record, words);
}

impl Load {
    /// What is going on now. As in HAProxy's lines, this session still counts for process and listener, and no
    /// longer for pool and member. Those that wait in the pool's queue count for it.
    pub fn now(downstream: &Downstream, lease: Option<&Lease>, journey: Option<&Journey>) -> Self {
        let queued = journey.filter(|journey| journey.queued().stood);
        let (pool, member) = match (lease, queued) {
            (Some(l), _) => (in_pool(l.pool()).saturating_sub(1), l.slot().state.in_flight().saturating_sub(1)),
            (None, Some(journey)) => {
                let view = &downstream.view;
                (in_pool(journey.pool(view)), journey.member_in_flight(view))
            }
            (None, None) => (0, 0),
        };
        Self {
            process: downstream.worker.process.connections(),
            listener: downstream.listener.cells.sum(|c| c.open.get()) as u32,
            pool,
            member,
        }
    }
}

/// Requests or connections of a pool: on its members, and in its queue.
fn in_pool(pool: &PoolSnapshot) -> u32 {
    (pool.cells.sum(|cell| cell.active.get()) as u32).saturating_add(pool.limits.queue.waiting())
}
