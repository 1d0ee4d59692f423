//! Which pool serves a client of TLS that is passed through: what its listener's policies make of the server name it asks for.
//!
//! The ClientHello is read, not looked at: it goes to the member before anything else, as what a client said ahead. Only policies
//! that look at the name wait for it, and a client that says nothing holds no memory meanwhile.

use std::future::poll_fn;
use std::pin::pin;

use lb_core::client_hello::{Hello, ServerName, read};
use lb_core::config::LogFormat;
use lb_core::l7::{Asked, Decision, ListenerPolicies, Policy, TlsFacts, Way};
use lb_core::request::Greeted;
use lb_core::snapshot::PoolIndex;

use super::inspect::patience;
use crate::buffer::Buffer;
use crate::listener::Downstream;
use crate::wire::Stream;

/// What becomes of one connection.
#[derive(Debug, Default)]
pub struct Choice {
    /// Whose members serve it.
    pub pool: Option<PoolIndex>,
    /// It is closed instead.
    pub rejected: bool,
    /// What the policies said.
    decision: Decision,
    /// What a log line says of the name.
    pub told: Told,
}

/// What a log line says of a name that was waited for.
#[derive(Debug, Default)]
pub struct Told {
    /// The name; kept only where lines show it.
    pub name: Option<Box<str>>,
    /// Why there is none.
    pub unnamed: Option<&'static str>,
}

/// Why nothing becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its place is needed.
    Shed,
    /// The client reset the connection.
    Reset,
}

/// The client said nothing more in time.
const LATE: &str = "the ClientHello did not come in time";
/// The client said nothing more at all.
const CUT: &str = "the client closed before its ClientHello was whole";

impl Choice {
    /// Of a listener without policies.
    pub fn of_default(downstream: &Downstream) -> Self {
        Self { pool: downstream.listener.pool, ..Self::default() }
    }

    /// The policy that decided, if one did.
    pub fn policy<'d>(&self, downstream: &'d Downstream) -> Option<&'d Policy> {
        downstream.listener.policies.as_ref()?.of(self.decision)
    }
}

/// Asks `policies` about a client, which has said `first` so far; that grows by what is read.
pub async fn choose(
    downstream: &Downstream,
    policies: &ListenerPolicies,
    client: &Stream,
    first: &mut Option<Buffer>,
) -> Result<Choice, Gone> {
    let hello = if policies.asks_host() { Some(greeting(downstream, client, first).await?) } else { None };
    let (name, unnamed) = match hello {
        Some(Ok(name)) => (Some(name), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let parts = Greeted(name);
    let worker = &downstream.worker;
    let draw = || u64::from(worker.draws.next()) << 32;
    let asked = Asked::new(&parts, downstream.peer.ip(), TlsFacts::default(), &draw);
    let matched = |i: usize| policies.policies[i].cells.of(worker.index).matched.inc();
    let decision = policies.decide(&asked, matched);
    let (pool, rejected) = match policies.way(decision, downstream.listener.pool) {
        Way::Pool(pool) => (pool, false),
        Way::AnsweredHere => (None, true),
    };
    let shown = downstream.listener.log.format == Some(LogFormat::Json);
    let name = name.filter(|_| shown).map(|name| name.as_str().into());
    Ok(Choice { pool, rejected, decision, told: Told { name, unnamed } })
}

/// The server the client asks for, or why none is known.
async fn greeting(
    downstream: &Downstream,
    client: &Stream,
    first: &mut Option<Buffer>,
) -> Result<Result<ServerName, &'static str>, Gone> {
    let heard = {
        let listening = pin!(tokio::time::timeout(patience(downstream), listen(downstream, client, first)));
        downstream.ticket.unless_shed(listening).await.ok_or(Gone::Shed)?
    };
    heard.unwrap_or(Ok(Err(LATE)))
}

async fn listen(
    downstream: &Downstream,
    client: &Stream,
    first: &mut Option<Buffer>,
) -> Result<Result<ServerName, &'static str>, Gone> {
    loop {
        match read(first.as_ref().map_or(&[], Buffer::filled)) {
            Hello::Named(name) => return Ok(Ok(name)),
            Hello::Nameless(why) => return Ok(Err(why.reason())),
            Hello::Incomplete => {}
        }
        // There is room: what is not whole fills half of a buffer at most.
        let more = poll_fn(|cx| downstream.poll_first_bytes(client, cx, first)).await;
        if more.map_err(|_| Gone::Reset)? == 0 {
            return Ok(Err(CUT));
        }
    }
}
