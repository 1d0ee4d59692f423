//! Bodies: chunks decoded in the buffer they were read into.

use std::hint::black_box;

use anyhow::ensure;
use lb_proxy::http::h1::chunked::Decoder;

use super::{CALLS_ALL, Scenario};

/// What one full buffer holds.
const BUFFER: usize = 16 * 1024;
/// What an application writes at once.
const CHUNK: usize = 1024;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("chunked-decode/16-KiB-of-1-KiB", || {
        let mut buffer = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK)).repeat(BUFFER / CHUNK).into_bytes();
        buffer.truncate(BUFFER);
        let decoded = Decoder::default().decode(&mut buffer.clone(), 0..BUFFER);
        ensure!(decoded.is_ok_and(|decoded| decoded.consumed == BUFFER && decoded.payload.len() > 15 * CHUNK));
        // Decoding moves the payload together, so each call has a buffer of its own.
        let mut buffers = vec![buffer; CALLS_ALL].into_iter();
        Ok(Box::new(move || {
            let Some(buffer) = buffers.as_mut_slice().first_mut() else { return };
            let _ = black_box(&Decoder::default().decode(black_box(buffer), 0..BUFFER));
            // Not dropped: freeing is not what is counted.
            std::mem::forget(buffers.next());
        }))
    })]
}
