//! What is noted of one request or connection when it ends.

use std::net::SocketAddr;
use std::time::Instant;

use crate::persistence::Noted;
use crate::waiting::Queued;

/// How it ended: HAProxy's two flags (who, in which phase), the status a client gets if there is still time to
/// send one, and the reason in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// HAProxy's first two termination flags.
    pub flags: [u8; 2],
    /// Of the refusal; 0 where none can be sent.
    pub status: u16,
    /// In words.
    pub reason: &'static str,
}

/// All endings but those of a malformed head or answer, which carry their own words.
pub mod endings {
    use super::Ending;

    const fn ending(flags: &[u8; 2], status: u16, reason: &'static str) -> Ending {
        Ending { flags: *flags, status, reason }
    }

    /// All went well.
    pub const SERVED: Ending = ending(b"--", 0, "served");
    /// It waited for a member with room for as long as it may.
    pub const QUEUE_TIMEOUT: Ending = ending(b"sQ", 503, "no member had room in time");
    /// So many wait already as may.
    pub const QUEUE_FULL: Ending = ending(b"SQ", 503, "no member has room and as many wait as may");
    /// The client left while it waited for a member with room.
    pub const CLIENT_LEFT_QUEUE: Ending = ending(b"CQ", 0, "the client left while it waited for a member with room");
    /// The last member went down while it waited for one with room.
    pub const QUEUE_NOBODY: Ending = ending(b"SQ", 503, "no member of the pool is up any more, and it waited for one");
    /// The listener has no pool, or the pool nobody who may take traffic.
    pub const NO_MEMBER: Ending = ending(b"SC", 503, "no member of the pool can take traffic");
    /// Every attempt was refused.
    pub const MEMBER_REFUSED: Ending = ending(b"SC", 503, "the member refused the connection");
    /// The last attempt was not answered in time.
    pub const CONNECT_TIMEOUT: Ending = ending(b"sC", 503, "the member did not answer the connection in time");
    /// A policy refused it.
    pub const REJECTED: Ending = ending(b"PR", 403, "refused by the policy");
    /// A policy sent the client elsewhere.
    pub const REDIRECTED: Ending = ending(b"LR", 0, "redirected by the policy");
    /// We are out of descriptors, ports or memory.
    pub const NO_RESOURCES: Ending = ending(b"RC", 503, "no descriptor or local port left for a connection");
    /// A head that dripped too slowly, or never came.
    pub const HEAD_TIMEOUT: Ending = ending(b"cR", 408, "the request head did not come in time");
    /// A PROXY header that dripped too slowly, or never came.
    pub const PROXY_HEADER_TIMEOUT: Ending = ending(b"cR", 0, "the PROXY header did not come in time");
    /// The client left in the middle of its PROXY header.
    pub const CLIENT_LEFT_PROXY_HEADER: Ending = ending(b"CR", 0, "the client left before its PROXY header was whole");
    /// The client reset the connection before its ClientHello was whole.
    pub const CLIENT_LEFT_HELLO: Ending = ending(b"CR", 0, "the client left before its ClientHello was whole");
    /// The client left before its head was whole.
    pub const CLIENT_LEFT_HEAD: Ending = ending(b"CR", 400, "the client left before its request was whole");
    /// The client sent a body that is not chunked coding although it said so.
    pub const BAD_BODY: Ending = ending(b"PR", 400, "the request body is not valid chunked coding");
    /// The client stopped sending its body.
    pub const BODY_TIMEOUT: Ending = ending(b"cD", 408, "the client stopped sending its body");
    /// The client left while it sent its body.
    pub const CLIENT_LEFT_BODY: Ending = ending(b"CD", 400, "the client left before its body was whole");
    /// The client reset the connection while the member worked.
    pub const CLIENT_LEFT_WAITING: Ending = ending(b"CH", 0, "the client left before the answer came");
    /// The client would not take the answer.
    pub const CLIENT_LEFT: Ending = ending(b"CD", 0, "the client left before the answer was whole");
    /// The client stopped taking bytes.
    pub const CLIENT_TIMEOUT: Ending = ending(b"cD", 0, "the client stopped taking the answer");
    /// The member closed or reset before any byte of an answer.
    pub const MEMBER_CLOSED: Ending = ending(b"SH", 502, "the member closed without an answer");
    /// The same on a kept connection, with a request that may not be sent twice.
    pub const MEMBER_CLOSED_KEPT: Ending =
        ending(b"SH", 502, "the member closed a kept connection and the request is not safe to repeat");
    /// The member closed or reset inside the head of its answer.
    pub const MEMBER_CLOSED_HEAD: Ending = ending(b"SH", 502, "the member closed in the middle of its head");
    /// The member said nothing in time.
    pub const MEMBER_TIMEOUT: Ending = ending(b"sH", 504, "the member did not answer in time");
    /// It said something, but not the whole head of its answer, in time.
    pub const MEMBER_HEAD_TIMEOUT: Ending = ending(b"sH", 504, "the head of the member's answer was not whole in time");
    /// The member closed inside the body.
    pub const MEMBER_CUT: Ending = ending(b"SD", 0, "the member closed before its answer was whole");
    /// The member stopped sending its body.
    pub const MEMBER_STALLED: Ending = ending(b"sD", 0, "the member stopped in the middle of its answer");
    /// The body of the answer is not chunked coding, and that was seen before anything of it went out.
    pub const MEMBER_BAD_BEGINNING: Ending = ending(b"PH", 502, "the member's body is not valid chunked coding");
    /// The same after that.
    pub const MEMBER_BAD_BODY: Ending = ending(b"SD", 0, "the member's body is not valid chunked coding");
    /// The member was marked down before its answer came, and its pool asks that its connections are closed then.
    pub const MEMBER_DOWN: Ending = ending(b"DH", 503, "the member was marked down and its connections are closed");
    /// The same in the middle of an answer, or of a relay.
    pub const MEMBER_DOWN_DATA: Ending = ending(b"DD", 0, "the member was marked down and its connections are closed");
    /// The client sent its body a little at a time.
    pub const BODY_TOO_SLOW: Ending = ending(b"cD", 408, "the client sent its body too slowly");
    /// The client took the answer a little at a time.
    pub const ANSWER_TOO_SLOW: Ending = ending(b"cD", 0, "the client took the answer too slowly");
    /// The client sent requests too fast.
    pub const TOO_MANY_REQUESTS: Ending = ending(b"PR", 429, "the client sent too many requests");
    /// It cannot connect.
    pub const NOBODY_ACCEPTS: Ending = ending(b"PR", 0, "nobody accepts connections there");
    /// Turned away at the door: the client's address.
    pub const NOT_ALLOWED: Ending = ending(b"PR", 0, "the client's address is not allowed here");
    /// Turned away at the door: the listener is full.
    pub const LISTENER_FULL: Ending = ending(b"PR", 503, "the listener has as many connections as it may");
    /// Turned away at the door: the client has too many connections.
    pub const CLIENT_CONNECTIONS: Ending = ending(b"PR", 0, "the client has as many connections as it may");
    /// Turned away at the door: the client opened connections too fast.
    pub const CLIENT_CONNECTION_RATE: Ending = ending(b"PR", 0, "the client opened connections too fast");
    /// Closed before it asked for anything, for others to be served.
    pub const SHED_DESCRIPTORS: Ending = ending(b"RR", 0, "closed before it asked for anything: descriptors run short");
    /// The same.
    pub const SHED_MEMORY: Ending = ending(b"RR", 0, "closed before it asked for anything: memory runs short");
    /// The member speaks HTTP/2 and takes no WebSocket in it.
    pub const NO_WEBSOCKET: Ending = ending(b"PH", 501, "the member takes no WebSocket over HTTP/2");
    /// Nothing came through a tunnel, from either side, for as long as it may.
    pub const TUNNEL_IDLE: Ending = ending(b"cD", 0, "nothing came through the tunnel for too long");
    /// Relay: the client reset.
    pub const CLIENT_RESET: Ending = ending(b"CD", 0, "the client reset the connection");
    /// Relay: the member reset.
    pub const MEMBER_RESET: Ending = ending(b"SD", 0, "the member reset the connection");
    /// Relay: the client was silent for too long.
    pub const CLIENT_IDLE: Ending = ending(b"cD", 0, "the client was silent for too long");
    /// Relay: the member was silent for too long.
    pub const MEMBER_IDLE: Ending = ending(b"sD", 0, "the member was silent for too long");
}

/// Which sink a line goes to; `observe::queue::Log::register` gives it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkId(pub u16);

/// Figures of one line. Its words (names, request line) are kept beside it, in the queue's text.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Where the line goes.
    pub sink: SinkId,
    /// True for a request, false for a relayed connection.
    pub http: bool,
    /// Accepted (TCP) or first byte of the request (HTTP).
    pub began: Instant,
    /// Who came.
    pub client: SocketAddr,
    /// Times.
    pub times: Times,
    /// HTTP status sent, 0 for none.
    pub status: u16,
    /// As HAProxy's `%B` counts: see [`super::format`].
    pub bytes_counted: u64,
    /// To the client, on the wire.
    pub bytes_out: u64,
    /// From the client, on the wire.
    pub bytes_in: u64,
    /// How it ended.
    pub ending: Ending,
    /// Why no server name is known of it, where one was waited for.
    pub unnamed: Option<&'static str>,
    /// Whether its client was remembered.
    pub noted: Noted,
    /// Connections or requests when it ended.
    pub load: Load,
    /// Failed attempts before.
    pub retries: u32,
    /// It left a member for another.
    pub redispatched: bool,
    /// The queues it stood in.
    pub queued: Queued,
}

/// Milliseconds of each phase; -1: it was never reached.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the first byte of the head to its last.
    pub request: i32,
    /// In queues.
    pub queue: i32,
    /// To a connection, retries included.
    pub connect: i32,
    /// To the answer's head.
    pub response: i32,
    /// All of it.
    pub total: i32,
}

impl Times {
    /// Nothing reached yet.
    pub const NONE: Self = Self { request: -1, queue: -1, connect: -1, response: -1, total: 0 };
}

/// HAProxy's `%ac/%fc/%bc/%sc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Connections of the process.
    pub process: u32,
    /// Of the listener.
    pub listener: u32,
    /// Of the pool.
    pub pool: u32,
    /// Of the member.
    pub member: u32,
}

/// The words of one line.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The listener.
    pub listener: &'a str,
    /// The pool, if one was chosen.
    pub pool: Option<&'a str>,
    /// The member, if one was chosen.
    pub member: Option<&'a str>,
    /// The L7 policy that decided, if one did.
    pub policy: Option<&'a str>,
    /// The request line; of a relayed connection the server name, if it is known.
    pub line: &'a [u8],
}
