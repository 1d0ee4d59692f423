//! The PROXY header of a client that is trusted to send one: read before anything else, and taken at its word.
//!
//! What came behind it in the same read goes to the session with the client, so a header that comes with the first
//! bytes costs no call of its own.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_core::proxy_protocol::{Ends, Parsed, V2_LEN_MAX, parse};

use super::{Downstream, serve};
use crate::buffer::Buffer;
use crate::clock;
use crate::observe::record::{Ending, Load, Record, Times, Words, endings};
use crate::persistence::Noted;
use crate::wire::Stream;
use crate::worker::millis_between;

/// How long the header may take, in milliseconds, where `timeout_http_request` does not say.
const HEADER_MS: u64 = 10_000;

/// Reads the header of a client and hands it to its session. A client whose header cannot be taken is not served.
pub(super) async fn receive(mut downstream: Downstream, stream: Stream) {
    let deadline = tokio::time::Instant::from_std(downstream.accepted) + patience(&downstream);
    let mut buffer = None;
    let came = {
        let reading = std::pin::pin!(tokio::time::timeout_at(deadline, read(&downstream, &stream, &mut buffer)));
        downstream.ticket.unless_shed(reading).await
    };
    let Some(came) = came else {
        stream.reset();
        return downstream.note_shed();
    };
    match came.unwrap_or(Ok(Came::Late)) {
        Ok(Came::Header(ends, len)) => {
            buffer.iter_mut().for_each(|buffer| buffer.consume(len));
            if let Some(Ends { source, destination }) = ends {
                downstream.peer = source;
                downstream.destination = Some(Box::new(destination));
            }
            serve(downstream, stream, buffer.filter(|buffer| !buffer.is_empty()));
        }
        Ok(Came::Nothing) => serve(downstream, stream, buffer),
        Ok(Came::Refused(reason)) => {
            // Nothing can be said in a protocol that was not understood.
            stream.reset();
            refuse(&downstream, Ending { flags: *b"PR", status: 0, reason });
        }
        Ok(Came::Late) => refuse(&downstream, endings::PROXY_HEADER_TIMEOUT),
        Ok(Came::Part) => {}
        // A health check that only connects is no fault; half a header is one.
        Err(_) if buffer.is_none() => {}
        Err(_) => refuse(&downstream, endings::CLIENT_LEFT_PROXY_HEADER),
    }
}

/// What came of waiting for a header.
enum Came {
    /// One of so many bytes.
    Header(Option<Ends>, usize),
    /// Something else, and that is allowed.
    Nothing,
    /// What cannot be taken for one.
    Refused(&'static str),
    /// Not all of it in time.
    Late,
    /// Nothing yet, and it is time to part: we are draining.
    Part,
}

fn patience(downstream: &Downstream) -> Duration {
    let listener = &downstream.listener;
    let ms = if listener.protocol.is_http() { listener.timeouts.http_request_ms } else { 0 };
    Duration::from_millis(if ms == 0 { HEADER_MS } else { ms })
}

/// Reads until it is clear what the first bytes are. An error: the client left before.
async fn read(downstream: &Downstream, stream: &Stream, buffer: &mut Option<Buffer>) -> io::Result<Came> {
    poll_fn(|cx| {
        loop {
            match poll_more(downstream, stream, cx, buffer) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if buffer.is_none() && downstream.worker.draining() => {
                    return Poll::Ready(Ok(Came::Part));
                }
                Poll::Pending => {
                    downstream.wake_on_change(cx.waker());
                    return Poll::Pending;
                }
            }
            let came = match parse(buffer.as_ref().map_or(&[], Buffer::filled)) {
                Parsed::Incomplete => continue,
                Parsed::Header(header) => Came::Header(header.ends, header.len),
                Parsed::Absent if is_optional(downstream) => Came::Nothing,
                Parsed::Absent => Came::Refused("the first bytes are no PROXY header"),
                Parsed::Refused(refusal) => Came::Refused(refusal.reason()),
            };
            return Poll::Ready(Ok(came));
        }
    })
    .await
}

fn is_optional(downstream: &Downstream) -> bool {
    downstream.listener.proxy_protocol.as_ref().is_some_and(|senders| !senders.required)
}

/// Reads once into the buffer.
fn poll_more(
    downstream: &Downstream,
    stream: &Stream,
    cx: &mut Context<'_>,
    buffer: &mut Option<Buffer>,
) -> Poll<io::Result<()>> {
    // Room enough: the parser has made up its mind before it is full.
    debug_assert!(buffer.as_ref().is_none_or(|buffer| buffer.len() < V2_LEN_MAX));
    match ready!(downstream.poll_first_bytes(stream, cx, buffer))? {
        0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        _ => Poll::Ready(Ok(())),
    }
}

/// Counts a client that is not served and writes its line.
fn refuse(downstream: &Downstream, ending: Ending) {
    downstream.view.listener_cell(&downstream.listener).proxy_header_errors.inc();
    let Some(sink) = downstream.view.sink(downstream.position) else { return };
    let record = Record {
        sink,
        http: downstream.listener.protocol.is_http(),
        began: downstream.accepted,
        client: downstream.peer,
        times: Times { total: millis_between(downstream.accepted, clock::now().into_std()), ..Times::NONE },
        status: 0,
        bytes_counted: 0,
        bytes_out: 0,
        bytes_in: 0,
        ending,
        unnamed: None,
        noted: Noted::NOTHING,
        load: Load::now(downstream, None, None),
        retries: 0,
        redispatched: false,
        queued: Default::default(),
    };
    let words = Words { listener: &downstream.listener.label, pool: None, member: None, policy: None, line: b"" };
    downstream.worker.process.log.note(downstream.worker.index, &record, words);
}
