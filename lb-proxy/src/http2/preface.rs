//! Clients that begin in HTTP/2 without asking, where a listener allows that (RFC 9113 section 3.3): told from those of
//! HTTP/1 by their first bytes.

use std::time::Duration;

use super::connection;
use crate::buffer::Buffer;
use crate::clock;
use crate::http::session;
use crate::listener::Downstream;
use crate::timer::{Deadlines, Patience, Wait};
use crate::wire::{self, Stream};

/// What HTTP/2 begins with (RFC 9113 section 3.4). No request of HTTP/1 can.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a client as what it turns out to be. `first`: what it said already.
pub async fn serve(downstream: Downstream, stream: Stream, first: Option<Buffer>) {
    let (first, begins) = look(&downstream, &stream, first).await;
    if begins {
        let first = first.map(|buffer| buffer.filled().to_vec()).unwrap_or_default();
        Box::pin(connection::serve(downstream, stream, first)).await;
    } else {
        session::serve(downstream, stream, first).await;
    }
}

/// Reads until it is clear whether the client begins in HTTP/2. One that leaves, or takes too long, is left to the session
/// of HTTP/1, which knows what is due to it.
async fn look(downstream: &Downstream, stream: &Stream, first: Option<Buffer>) -> (Option<Buffer>, bool) {
    let unused = Deadlines::default();
    let patience = Patience::new(&unused, Wait::ClientRead, 0);
    let ms = downstream.listener.timeouts.http_request_ms;
    let until = (ms > 0).then(|| downstream.accepted + Duration::from_millis(ms));
    let mut buffer = first;
    let reading = async {
        loop {
            if let Some(begins) = judge(buffer.as_ref().map_or(&[], Buffer::filled)) {
                return begins;
            }
            if buffer.is_none() && wire::readable(stream, patience).await.is_err() {
                return false;
            }
            let room = buffer.get_or_insert_with(|| downstream.worker.buffers.lend());
            match wire::read(stream, room.room(), patience).await {
                Ok(n) if n > 0 => room.fill(n),
                _ => return false,
            }
        }
    };
    let draining = std::future::poll_fn(|cx| {
        downstream.wake_on_change(cx.waker());
        if downstream.worker.draining() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    let deadline = until.map_or_else(|| clock::now() + Duration::from_secs(86_400), tokio::time::Instant::from_std);
    let begins = tokio::select! {
        begins = reading => begins,
        () = draining => false,
        () = tokio::time::sleep_until(deadline) => false,
    };
    (buffer.filter(|buffer| !buffer.is_empty()), begins)
}

/// `None`: it is not clear yet.
fn judge(bytes: &[u8]) -> Option<bool> {
    let n = bytes.len().min(PREFACE.len());
    match (bytes[..n] == PREFACE[..n], n == PREFACE.len()) {
        (false, _) => Some(false),
        (true, true) => Some(true),
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_clear_as_soon_as_it_can_be() {
        for n in 0..PREFACE.len() {
            assert_eq!(judge(&PREFACE[..n]), None, "{n}");
            let other: Vec<u8> = PREFACE[..n].iter().chain(b"?").copied().collect();
            assert_eq!(judge(&other), Some(false), "{n}");
        }
        assert_eq!(judge(&[PREFACE, b"more"].concat()), Some(true));
        assert_eq!(judge(b"GET / HTTP/1.1\r\n"), Some(false));
    }
}
