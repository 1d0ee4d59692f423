//! The first bytes of a client, looked at without being taken, where its pool chooses a member by them.

use std::time::Duration;

use lb_core::balance::HashRule;
use lb_core::balance::rdp_cookie::MESSAGE_MAX;

use crate::buffer::Buffer;
use crate::listener::Downstream;
use crate::wire::{self, Stream};

/// How long they are waited for unless the listener says. Clients that say what is looked for say it at once.
const PATIENCE_MS: u64 = 5_000;

/// What `rule` makes of them; `None` if they are something else, or do not come in time. `first` was read already, what
/// follows is still in the stream.
pub async fn hash(
    downstream: &Downstream,
    rule: &HashRule,
    client: &mut Stream,
    first: Option<&Buffer>,
) -> Option<u32> {
    let first = first.map_or(&[][..], Buffer::filled);
    let looked = tokio::time::timeout(patience(downstream), look(client, rule, first)).await;
    looked.unwrap_or_else(|_| {
        // The runtime may have been told that there is nothing more to read. There is: what was looked at.
        client.unwatch();
        None
    })
}

/// How long the first bytes of this client are waited for.
pub(super) fn patience(downstream: &Downstream) -> Duration {
    Duration::from_millis(match downstream.listener.timeouts.tcp_inspect_ms {
        0 => PATIENCE_MS,
        ms => ms,
    })
}

async fn look(client: &Stream, rule: &HashRule, first: &[u8]) -> Option<u32> {
    let mut bytes = [0; MESSAGE_MAX];
    let taken = first.len().min(MESSAGE_MAX);
    bytes[..taken].copy_from_slice(&first[..taken]);
    let mut seen = 0;
    loop {
        // So many bytes always decide.
        if let Ok(decided) = rule.of_first_bytes(&bytes[..taken + seen]) {
            return decided;
        }
        let count = wire::peek_more(client, &mut bytes[taken..], seen).await.ok()?;
        if count <= seen {
            // The client has sent all it will.
            return None;
        }
        seen = count;
    }
}
