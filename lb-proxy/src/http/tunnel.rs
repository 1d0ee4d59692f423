//! What begins when a member has switched protocols: bytes both ways, nothing read into them, until both sides have ended.
//!
//! It is the relay of TCP sessions, over whatever the two sides are: TCP, TLS, a stream of HTTP/2. While it lasts it is one
//! request: it counts on its member, and its line is written when it ends.

use std::pin::pin;

use lb_core::member::ListenerCell;

use super::answer::Told;
use super::h1::upgrade;
use super::session::{After, Session};
use crate::buffer::Buffer;
use crate::dispatch::Reached;
use crate::observe::record::{Ending, endings};
use crate::tcp::relay::{Moved, Silence, relay};
use crate::upstream::proxy_header::Opening;
use crate::wire::Stream;

/// Refuses what cannot be carried on the connection that was got, before anything is sent on it. `asked`: what the request
/// asks for instead of HTTP.
pub async fn check(reached: &Reached, asked: &[u8]) -> Result<(), Ending> {
    match upgrade::has_websocket(asked) && !reached.stream.carries_websockets().await {
        true => Err(endings::NO_WEBSOCKET),
        false => Ok(()),
    }
}

/// How it ended, and what becomes of the client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// For the log.
    pub ending: Ending,
    /// For the client.
    pub after: After,
}

impl Session {
    /// Serves a tunnel between `client` and the member. `ahead`: what the client said before it knew that there is one.
    pub async fn tunnel(&mut self, reached: &Reached, ahead: Buffer, told: &Told, client: &Stream) -> Ended {
        // Nobody reads what follows as a request.
        self.client_ends = true;
        let timeouts = self.listener().timeouts;
        let silence = Silence {
            client_ms: timeouts.tunnel_ms.unwrap_or(timeouts.client_data_ms),
            member_ms: timeouts.tunnel_ms.unwrap_or(timeouts.member_data_ms),
        };
        let Self { downstream, timer, .. } = self;
        let _counted = Counted::new(downstream.view.listener_cell(&downstream.listener));
        let opening = (!ahead.is_empty()).then_some(Opening { buffer: ahead, header_len: 0 });
        let (moved, buffers) = (Moved::default(), &downstream.worker.buffers);
        let relaying = pin!(relay(client, &reached.stream, opening, silence, buffers, timer, &moved));
        let ended = reached.lease.unless_cut(downstream, relaying).await;
        told.body_in.set(told.body_in.get() + moved.up.get());
        told.body_out.set(told.body_out.get() + moved.down.get());
        let ending = match ended.unwrap_or(endings::MEMBER_DOWN_DATA) {
            endings::CLIENT_IDLE | endings::MEMBER_IDLE if timeouts.tunnel_ms.is_some() => endings::TUNNEL_IDLE,
            ending => ending,
        };
        if matches!(ending, endings::CLIENT_RESET | endings::MEMBER_DOWN_DATA) {
            reached.stream.reset();
        }
        let after = match ending {
            endings::MEMBER_RESET | endings::MEMBER_DOWN_DATA => After::Reset,
            _ => After::Close,
        };
        Ended { ending, after }
    }
}

/// One tunnel in the figures of its listener.
struct Counted<'a>(&'a ListenerCell);

impl<'a> Counted<'a> {
    fn new(cell: &'a ListenerCell) -> Self {
        cell.tunnels.inc();
        cell.tunnels_open.inc();
        Self(cell)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.tunnels_open.dec();
    }
}
