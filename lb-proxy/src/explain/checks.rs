//! What a client meets before a member is chosen, in the order it meets it.

use lb_control::explain::{Check, Says};
use lb_core::config::ListenerProtocol;
use lb_core::config::limits::OnConnectionLimit;
use lb_core::explain::door;
use lb_core::limits::clients::{Outlook, Refusal};

use super::Case;
use crate::listener::door::Reason;
use crate::observe::record::{Ending, endings};
use crate::room::{Shortage, is_full};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Checks(pub(super) Vec<Check>);

impl Checks {
    pub(super) fn note(&mut self, check: &str, says: Says, words: impl Into<String>) {
        self.0.push(Check { check: check.to_owned(), says, words: words.into() });
    }
}

impl Case<'_> {
    /// All that is asked before a byte of a client is read; what it is refused by, if it is.
    pub(super) fn door(&self, checks: &mut Checks) -> Option<Ending> {
        let Self { instance, listener, client, .. } = *self;
        let (process, address, from) = (&instance.process, listener.address, client.ip());
        if !listener.up || process.draining() {
            let why = if listener.up { "the data plane is about to end" } else { "it is administratively down" };
            checks.note("listener", Says::Refuse, format!("{why}: nobody accepts at {address}"));
            return Some(endings::NOBODY_ACCEPTS);
        }
        let told = door(listener, from, process.seed, process.nanos());
        let limits = &listener.limits;
        let refuse = |checks: &mut Checks, check: &str, reason: Reason, words: String| {
            checks.note(check, Says::Refuse, words);
            let mut ending = reason.ending();
            if listener.protocol == ListenerProtocol::TerminatedHttps {
                // Nothing can be said before a handshake.
                ending.status = 0;
            }
            Some(ending)
        };
        if limits.allowed.is_some() {
            if !told.allowed {
                let words = format!("{from} is in none of its networks: reset as soon as it has connected");
                return refuse(checks, "allowed_cidrs", Reason::NotAllowed, words);
            }
            checks.note("allowed_cidrs", Says::Pass, format!("{from} is in one of its networks"));
        }
        if let Some(limit) = listener.connection_limit {
            let open = format!("{} of {limit} connections are open", told.open);
            match (is_full(told.open, Some(limit)), limits.on_connection_limit) {
                (false, _) => checks.note("connection_limit", Says::Pass, open),
                (true, OnConnectionLimit::Wait) => {
                    checks.note("connection_limit", Says::Wait, format!("{open}: it waits until one ends"));
                }
                (true, OnConnectionLimit::Refuse) => {
                    return refuse(checks, "connection_limit", Reason::Full, open);
                }
            }
        }
        if let Some(shortage) = process.room.shortage() {
            let what = match shortage {
                Shortage::Descriptors => "descriptors",
                Shortage::Memory => "memory",
            };
            let words =
                format!("the data plane is short of {what}: it waits until somebody leaves, or is closed for it");
            checks.note("room", Says::Wait, words);
        }
        if listener.proxy_protocol.as_ref().is_some_and(|senders| senders.trust(from)) {
            let words = format!(
                "{from} may name its client in a PROXY header: ask --from that one; this is told of {from} itself"
            );
            checks.note("proxy_protocol", Says::Pass, words);
        }
        let refused = self.client_limits(checks, told.client);
        if let Some((check, refusal, words)) = refused {
            return refuse(checks, check, Reason::Client(refusal), words);
        }
        if listener.protocol == ListenerProtocol::TerminatedHttps {
            checks.note("tls", Says::Pass, "taken for granted: a handshake is not tried");
        }
        None
    }

    fn client_limits(&self, checks: &mut Checks, client: Option<Outlook>) -> Option<(&'static str, Refusal, String)> {
        let rules = self.listener.limits.clients.as_deref()?;
        let from = self.client.ip();
        let Some(client) = client else {
            checks.note("client_limits", Says::Pass, format!("{from} is exempt"));
            return None;
        };
        if !client.counted {
            checks.note(
                "client_limits",
                Says::Pass,
                "the table is full of clients that are here: not held to any of it",
            );
            return None;
        }
        if let Some(most) = rules.connections {
            let words = format!("{} of {most} connections of this client are open", client.open);
            if client.connection == Err(Refusal::Connections) {
                return Some(("client_limits.connections", Refusal::Connections, words));
            }
            checks.note("client_limits.connections", Says::Pass, words);
        }
        if let Some(rate) = rules.connection_rate {
            let (each, burst) = (rate.per_second, rate.burst);
            if client.connection == Err(Refusal::ConnectionRate) {
                let words = format!("more than {each} new connections a second, {burst} at once");
                return Some(("client_limits.connection_rate", Refusal::ConnectionRate, words));
            }
            let words = format!("below {each} new connections a second, {burst} at once");
            checks.note("client_limits.connection_rate", Says::Pass, words);
        }
        None
    }

    /// What is asked once a request is there.
    pub(super) fn request_rate(&self, checks: &mut Checks) -> Option<Ending> {
        let rate = self.listener.limits.clients.as_deref()?.request_rate?;
        let process = &self.instance.process;
        let client = door(self.listener, self.client.ip(), process.seed, process.nanos()).client?;
        let (each, burst) = (rate.per_second, rate.burst);
        match client.request {
            Ok(()) => {
                let words = format!("below {each} requests a second, {burst} at once");
                checks.note("client_limits.request_rate", Says::Pass, words);
                None
            }
            Err(nanos) => {
                let ms = nanos.div_ceil(1_000_000);
                let words = format!("more than {each} requests a second, {burst} at once; it may ask again in {ms} ms");
                checks.note("client_limits.request_rate", Says::Refuse, words);
                Some(endings::TOO_MANY_REQUESTS)
            }
        }
    }
}
