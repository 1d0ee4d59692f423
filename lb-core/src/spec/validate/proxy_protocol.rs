//! A listener's `proxy_protocol` crossing the border.

use super::{Border, NodeId, types};
use crate::config::proxy_protocol::ProxyProtocol;
use crate::limits::cidr::Cidr;
use crate::spec::mistake::shown;

impl Border<'_> {
    pub(super) fn proxy_protocol(&mut self, written: Option<types::ProxyProtocol>) -> Option<ProxyProtocol> {
        let written = written?;
        let networks = written.trusted?;
        let list = self.tree.entry(written.at, "trusted")?.value;
        if self.tree.items(list).is_empty() {
            let help = "name at least one network, or leave out `proxy_protocol`".to_owned();
            self.mistake(self.tree.spot(list), "an empty list trusts nobody", help);
        }
        // What was reported already is not among those that were read.
        let places: Vec<NodeId> =
            self.tree.items(list).iter().copied().filter(|item| !self.tree.is_rejected(*item)).collect();
        let mut trusted = Vec::with_capacity(places.len());
        for (network, place) in networks.into_iter().zip(places) {
            match network.0.parse::<Cidr>() {
                Ok(network) => trusted.push(network),
                Err(fault) => {
                    let message = format!("{} is not a network", shown(&network.0));
                    self.mistake(self.tree.spot(place), message, fault.to_string());
                }
            }
        }
        Some(ProxyProtocol { trusted, required: written.required.unwrap_or(true) })
    }
}
