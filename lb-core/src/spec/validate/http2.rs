//! Who may be spoken to in HTTP/2 without being asked first: the key `http2_prior_knowledge` of listeners and pools.

use super::{Border, NodeId};
use crate::config::{ListenerProtocol, PoolProtocol};

const KEY: &str = "http2_prior_knowledge";
const BY_ALPN: &str = "with TLS it is agreed on by ALPN: put h2 into `alpn_protocols`";

impl Border<'_> {
    /// Of a listener: clients may begin in HTTP/2.
    pub(super) fn listener_prior_knowledge(
        &mut self,
        at: NodeId,
        written: Option<bool>,
        protocol: Option<ListenerProtocol>,
    ) -> bool {
        let written = written.unwrap_or(false);
        if let Some(protocol) = protocol.filter(|p| written && *p != ListenerProtocol::Http) {
            let help = if protocol.is_http() { BY_ALPN } else { "leave it out" };
            self.only_for_http(at, "listeners", &protocol, help);
        }
        written
    }

    /// Of a pool: its members are spoken to in HTTP/2.
    pub(super) fn pool_prior_knowledge(
        &mut self,
        at: NodeId,
        written: Option<bool>,
        protocol: Option<PoolProtocol>,
        has_tls: bool,
    ) -> bool {
        let written = written.unwrap_or(false);
        match protocol {
            _ if !written => {}
            // What goes over a connection that names a client is that client's alone: many requests cannot share it.
            Some(protocol) if protocol != PoolProtocol::Http => {
                self.only_for_http(at, "pools", &protocol, "leave it out");
            }
            _ if has_tls => {
                let message = format!("both `{KEY}` and `tls_enabled` are given");
                self.mistake(self.tree.spot_of_key(at, KEY), message, BY_ALPN.to_owned());
            }
            _ => {}
        }
        written
    }

    fn only_for_http(&mut self, at: NodeId, whose: &str, protocol: &dyn std::fmt::Display, help: &str) {
        let message = format!("`{KEY}` is only for HTTP {whose}, and this one is {protocol}");
        self.mistake(self.tree.spot_of_key(at, KEY), message, help.to_owned());
    }
}
