//! What a client still sends on a stream that has its answer: thrown away for a while, its room given back, so that a client
//! that sends all of its request before it looks at the answer gets to see that.
//!
//! What is more than that is told that nobody reads it (RFC 9113 section 8.1): by whoever drops the stream.

use std::future::poll_fn;

use tokio::time::timeout;

use crate::http::session::{LINGER_FOR, LINGER_SILENCE};
use crate::wire::Stream;

/// Bytes that are thrown away of one request. Beyond that it costs the client less to be stopped, and a connection that is
/// shared has other streams to carry.
const DISCARDED_MAX: u64 = 1024 * 1024;

/// Waits for the end of the request that `stream` was opened for, as long as a client of HTTP/1.1 is waited for. Returns at
/// once if it has come, or the answer is not whole. No buffer is held.
pub async fn stream(stream: &Stream) {
    let rest = async {
        let mut discarded = 0;
        while discarded < DISCARDED_MAX {
            match timeout(LINGER_SILENCE, poll_fn(|cx| stream.poll_discard(cx, &mut []))).await {
                Ok(Some(n)) => discarded += n as u64,
                _ => return,
            }
        }
    };
    let _ = timeout(LINGER_FOR, rest).await;
}
