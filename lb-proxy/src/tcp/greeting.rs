//! Which pool serves a client of TLS that is passed through: what its listener's policies make of the server name it asks for.
//!
//! The ClientHello is read, not looked at: it goes to the member before anything else, as what a client said ahead. Only policies
//! that look at the name wait for it, and a client that says nothing holds no memory meanwhile.

use std::future::poll_fn;
use std::pin::pin;

use lb_core::client_hello::{Hello, ServerName, read};
use lb_core::config::LogFormat;
use lb_core::l7::{Asked, Policy, TlsFacts, Way};
use lb_core::request::Greeted;
use lb_core::snapshot::PoolIndex;

use super::inspect::patience;
use super::session;
use crate::buffer::Buffer;
use crate::listener::Downstream;
use crate::observe::record::endings;
use crate::wire::Stream;

/// What becomes of one connection. Every relay has one: it is small.
#[derive(Debug, Default)]
pub struct Choice {
    /// Whose members serve it.
    pub pool: Option<PoolIndex>,
    /// The place of the policy that decided.
    policy: Option<u16>,
    /// What a line of JSON says of the name; `None`: nothing, or there is no such line.
    pub told: Option<Box<Told>>,
}

/// What is known of a name that was waited for.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "hardly any client names nobody, and only lines of JSON keep it")]
pub enum Told {
    /// It is this one.
    Name(ServerName),
    /// Why there is none.
    Unnamed(&'static str),
}

/// Why nothing becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
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
        downstream.listener.policies.as_ref()?.policies.get(usize::from(self.policy?))
    }
}

/// Serves one client of a listener with policies. `first`: what it said already.
pub async fn serve(downstream: Downstream, client: Stream, mut first: Option<Buffer>) {
    let heard = match &downstream.listener.policies {
        Some(policies) if policies.asks_host() => greeting(&downstream, &client, &mut first).await,
        _ => Ok(None),
    };
    match heard.map(|told| choose(&downstream, told)) {
        Ok((choice, Way::Pool(pool))) => session::serve(downstream, client, first, Choice { pool, ..choice }).await,
        // As for whoever is turned away, a reset is the clearest word there is.
        Ok((choice, Way::AnsweredHere)) => {
            client.reset();
            downstream.view.listener_cell(&downstream.listener).refusals.inc();
            session::end(&downstream, endings::REJECTED, &choice);
        }
        Err(Gone::Shed) => {
            client.reset();
            downstream.note_shed();
        }
        Err(Gone::Reset) => session::end(&downstream, endings::CLIENT_LEFT_HELLO, &Choice::default()),
    }
}

/// Asks the policies about a client.
fn choose(downstream: &Downstream, told: Option<Told>) -> (Choice, Way) {
    let Downstream { worker, listener, peer, .. } = downstream;
    let Some(policies) = &listener.policies else { return (Choice::default(), Way::Pool(listener.pool)) };
    let parts = Greeted(match &told {
        Some(Told::Name(name)) => Some(*name),
        Some(Told::Unnamed(_)) | None => None,
    });
    let draw = || u64::from(worker.draws.next()) << 32;
    let asked = Asked::new(&parts, peer.ip(), TlsFacts::default(), &draw);
    let decision = policies.decide(&asked, |i| policies.policies[i].cells.of(worker.index).matched.inc());
    let told = told.filter(|_| listener.log.format == Some(LogFormat::Json)).map(Box::new);
    // A listener has no more than this counts.
    let policy = decision.by.and_then(|by| u16::try_from(by).ok());
    (Choice { pool: None, policy, told }, policies.way(decision, listener.pool))
}

/// The server the client asks for, or why none is known.
async fn greeting(downstream: &Downstream, client: &Stream, first: &mut Option<Buffer>) -> Result<Option<Told>, Gone> {
    let listening = pin!(tokio::time::timeout(patience(downstream), listen(downstream, client, first)));
    let heard = downstream.ticket.unless_shed(listening).await.ok_or(Gone::Shed)?;
    heard.unwrap_or(Ok(Told::Unnamed(LATE))).map(Some)
}

async fn listen(downstream: &Downstream, client: &Stream, first: &mut Option<Buffer>) -> Result<Told, Gone> {
    loop {
        match read(first.as_ref().map_or(&[], Buffer::filled)) {
            Hello::Named(name) => return Ok(Told::Name(name)),
            Hello::Nameless(why) => return Ok(Told::Unnamed(why.reason())),
            Hello::Incomplete => {}
        }
        // There is room: what is not whole fills half of a buffer at most.
        let more = poll_fn(|cx| downstream.poll_first_bytes(client, cx, first)).await;
        if more.map_err(|_| Gone::Reset)? == 0 {
            return Ok(Told::Unnamed(CUT));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lb_core::snapshot::Snapshot;

    use super::*;
    use crate::sys::counted::asked_for;

    fn snapshot(policies: &str) -> Snapshot {
        let document = format!(
            "loadbalancer: {{vip_address: 198.51.100.1, listeners: [{{protocol: HTTPS, protocol_port: 443, l7policies: \
             [{policies}]}}]}}"
        );
        let config = lb_core::spec::read("test", &document).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Snapshot::build(Arc::new(config), &Snapshot::empty(), 1)
    }

    /// A ClientHello that asks for `x.a.test`, the name cut by a record's end.
    fn hello() -> Vec<u8> {
        let name = b"\x00\x00\x00\x0d\x00\x0b\x00\x00\x08x.A.test";
        let fixed = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, name.len() as u8], name].concat();
        let message = [&[1, 0, 0, fixed.len() as u8][..], &fixed].concat();
        let record = |bytes: &[u8]| [&[22, 3, 1, 0, bytes.len() as u8][..], bytes].concat();
        let (first, rest) = message.split_at(message.len() - 4);
        [record(first), record(rest)].concat()
    }

    #[test]
    fn a_name_is_read_and_judged_without_memory() {
        let rule = |compare: &str| {
            format!("{{action: REJECT, rules: [{{type: HOST_NAME, compare_type: {compare}, value: 'q.*'}}]}},")
        };
        let more = "{action: REJECT, rules: [{type: HOST_NAME, compare_type: ENDS_WITH, value: .A.test}, {type: PERCENT, value: 100}]}";
        let misses = ["EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS"].map(|c| rule(c).replace(".*", ""));
        let snapshot = snapshot(&format!("{}{}{more}", misses.concat(), rule("REGEX")));
        let policies = snapshot.listeners[0].policies.as_deref().expect("policies");
        let bytes = hello();
        let once = || {
            let name = match read(&bytes) {
                Hello::Named(name) => name,
                other => panic!("{other:?}"),
            };
            let parts = Greeted(Some(name));
            let asked = Asked::new(&parts, [192, 0, 2, 7].into(), TlsFacts::default(), &|| 0);
            assert_eq!(policies.decide(&asked, |_| ()).by, Some(5));
        };
        // Expressions build what they need when they are first asked.
        once();
        once();
        assert_eq!(asked_for(|| (0..100).for_each(|_| once())), 0);
    }

    #[test]
    fn only_rules_about_the_name_that_are_up_wait_for_it() {
        let asks = |policies: &str| snapshot(policies).listeners[0].policies.as_ref().is_some_and(|p| p.asks_host());
        let name = "{type: HOST_NAME, compare_type: EQUAL_TO, value: a";
        let source = "{type: SOURCE_IP, value: 10.0.0.0/8}";
        assert!(asks(&format!("{{action: REJECT, rules: [{source}, {name}}}]}}")));
        assert!(asks(&format!("{{action: PASS, rules: [{name}, invert: true}}]}}")));
        assert!(!asks(&format!("{{action: REJECT, rules: [{source}]}}")));
        assert!(!asks(&format!("{{action: REJECT, rules: [{name}}}], admin_state_up: false}}")));
        assert!(!asks(&format!("{{action: REJECT, rules: [{source}, {name}, admin_state_up: false}}]}}")));
        assert!(!asks(""));
    }

    #[test]
    fn what_a_relay_keeps_of_its_policies_is_small() {
        assert!(size_of::<Choice>() <= 32, "{}", size_of::<Choice>());
    }
}
