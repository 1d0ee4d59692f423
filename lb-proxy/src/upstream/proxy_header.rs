//! The PROXY header that a connection to a member begins with: whom it is made for.

use lb_core::proxy_protocol::{Ends, Written};

use crate::buffer::{Buffer, LentSheet};
use crate::dispatch::Reached;
use crate::listener::Downstream;

/// The header for the connection in `reached`, if it is one that begins with a header and has not begun.
fn header(reached: &Reached, downstream: &Downstream) -> Option<Written> {
    between(reached, Ends { source: downstream.peer, destination: downstream.local() })
}

/// The same for a client's connection with these ends.
pub fn between(reached: &Reached, ends: Ends) -> Option<Written> {
    let version = reached.lease.pool().send_proxy.filter(|_| !reached.reused)?;
    Some(Written::of(version, ends))
}

/// `head` with the header before it, to go out in one write; `None`: it goes out as it is.
pub fn before(head: &[u8], reached: &Reached, downstream: &Downstream) -> Option<LentSheet> {
    let header = header(reached, downstream)?;
    let mut sheet = downstream.worker.buffers.lend_sheet();
    sheet.out.extend_from_slice(&header);
    sheet.out.extend_from_slice(head);
    Some(sheet)
}

/// What goes to a member before anything is read from the client of a relay.
#[derive(Debug)]
pub struct Opening {
    /// The header, and what the client said already.
    pub buffer: Buffer,
    /// Bytes of the header: they are none of the client's.
    pub header_len: usize,
}

impl Opening {
    /// The opening of a relay whose client said `first`; `None`: there is nothing to say.
    pub fn of(reached: &Reached, downstream: &Downstream, first: Option<Buffer>) -> Option<Self> {
        let Some(header) = header(reached, downstream) else {
            return first.map(|buffer| Self { buffer, header_len: 0 });
        };
        let buffers = &downstream.worker.buffers;
        // A full buffer and a header fit into a large one.
        let mut buffer = if first.is_some() { buffers.lend_large() } else { buffers.lend() };
        for bytes in [&header[..], first.as_ref().map_or(&[], Buffer::filled)] {
            buffer.room()[..bytes.len()].copy_from_slice(bytes);
            buffer.fill(bytes.len());
        }
        Some(Self { buffer, header_len: header.len() })
    }
}
