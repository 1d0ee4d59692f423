//! A listener's limits crossing the border.

use super::{Border, Line, NodeId, types};
use crate::config::ListenerProtocol;
use crate::config::limits::{
    BODY_GRACE_MS, BodyRate, ClientLimits, HeadLimits, IPV6_PREFIX, ListenerLimits, OnConnectionLimit, TABLE_SIZE,
};
use crate::limits::cidr::Cidr;
use crate::limits::rate::Rate;
use crate::spec::mistake::shown;

impl Border<'_> {
    pub(super) fn limits(
        &mut self,
        listener: &mut types::Listener,
        protocol: Option<ListenerProtocol>,
    ) -> ListenerLimits {
        let at = listener.at;
        let allowed_cidrs = self.networks(at, "allowed_cidrs", listener.allowed_cidrs.take());
        self.networks_fit_the_vip(&allowed_cidrs);
        for (key, used) in [
            ("max_head_size", listener.max_head_size.is_some()),
            ("max_header_count", listener.max_header_count.is_some()),
            ("max_target_length", listener.max_target_length.is_some()),
            ("min_body_rate", listener.min_body_rate.is_some_and(|rate| rate > 0)),
            ("min_body_rate_grace", listener.min_body_rate_grace.is_some()),
        ] {
            self.only_http(at, key, used, protocol);
        }
        let most = HeadLimits::default();
        let heads = HeadLimits {
            size: listener.max_head_size.unwrap_or(most.size),
            fields: listener.max_header_count.unwrap_or(most.fields),
            target: listener.max_target_length.unwrap_or(most.target),
        };
        let grace_ms = listener.min_body_rate_grace.map(|grace| grace.ms);
        let body_rate = listener.min_body_rate.filter(|rate| *rate > 0);
        if let (None, Some(_)) = (body_rate, grace_ms)
            && !self.tree.is_lost(at, "min_body_rate")
        {
            let help = "give `min_body_rate`, or leave this out".to_owned();
            self.mistake(self.tree.spot_of_key(at, "min_body_rate_grace"), "there is no rate to average", help);
        }
        ListenerLimits {
            allowed_cidrs: allowed_cidrs.into_iter().map(|(_, network)| network).collect(),
            on_connection_limit: match listener.on_connection_limit {
                None | Some(types::OnConnectionLimit::Wait) => OnConnectionLimit::Wait,
                Some(types::OnConnectionLimit::Refuse) => OnConnectionLimit::Refuse,
            },
            clients: listener.client_limits.take().and_then(|written| self.client_limits(written, protocol)),
            heads,
            body_rate: body_rate.map(|per_second| BodyRate { per_second, grace_ms: grace_ms.unwrap_or(BODY_GRACE_MS) }),
        }
    }

    fn client_limits(
        &mut self,
        written: types::ClientLimits,
        protocol: Option<ListenerProtocol>,
    ) -> Option<ClientLimits> {
        let at = written.at;
        self.only_http(at, "request_rate", written.request_rate.is_some(), protocol);
        let connection_rate =
            self.rate(at, ["connection_rate", "connection_burst"], written.connection_rate, written.connection_burst);
        let request_rate =
            self.rate(at, ["request_rate", "request_burst"], written.request_rate, written.request_burst);
        let exempt = self.networks(at, "exempt", written.exempt);
        let limited = written.connections.is_some() || connection_rate.is_some() || request_rate.is_some();
        if !limited {
            let lost = self.tree.entries(at).iter().any(|entry| self.tree.is_rejected(entry.value));
            let bursts = written.connection_burst.is_some() || written.request_burst.is_some();
            if !lost && !bursts && !self.tree.entries(at).is_empty() {
                let help = "give `connections`, `connection_rate` or `request_rate`, or leave `client_limits` out";
                self.mistake(self.tree.spot(at), "these limits limit nothing", help.to_owned());
            }
            return None;
        }
        Some(ClientLimits {
            connections: written.connections,
            connection_rate,
            request_rate,
            ipv6_prefix: written.ipv6_prefix.unwrap_or(IPV6_PREFIX),
            exempt: exempt.into_iter().map(|(_, network)| network).collect(),
            table_size: written.table_size.unwrap_or(TABLE_SIZE),
        })
    }

    fn rate(&mut self, at: NodeId, [key, burst_key]: [&str; 2], rate: Option<u32>, burst: Option<u32>) -> Option<Rate> {
        if rate.is_none() && burst.is_some() && !self.tree.is_lost(at, key) {
            let message = format!("there is no `{key}` that this could exceed");
            self.mistake(self.tree.spot_of_key(at, burst_key), message, format!("give `{key}`, or leave this out"));
        }
        rate.map(|per_second| Rate { per_second, burst: burst.unwrap_or(per_second) })
    }

    /// The networks of the list at `key`, each with where it is written. Those that are none are reported.
    fn networks(&mut self, at: NodeId, key: &str, written: Option<Vec<Line>>) -> Vec<(NodeId, Cidr)> {
        let list = self.tree.entry(at, key).map(|entry| entry.value);
        // What the check rejected was dropped from the list that was read.
        let places = list.map_or(&[][..], |list| self.tree.items(list));
        let places: Vec<NodeId> = places.iter().copied().filter(|place| !self.tree.is_rejected(*place)).collect();
        let mut networks = Vec::new();
        for (place, line) in places.into_iter().zip(written.unwrap_or_default()) {
            match line.0.parse::<Cidr>() {
                Ok(network) => networks.push((place, network)),
                Err(why) => {
                    let message = format!("{} is not a network", shown(&line.0));
                    self.mistake(self.tree.spot(place), message, why.to_string());
                }
            }
        }
        networks
    }

    /// As Octavia has it: a client's address is of the VIP's kind, so a network of the other kind is a mistake.
    fn networks_fit_the_vip(&mut self, networks: &[(NodeId, Cidr)]) {
        let Some(ipv6) = self.vip_is_ipv6 else { return };
        for (place, network) in networks.iter().filter(|(_, network)| network.is_ipv6() != ipv6) {
            let kind = |ipv6| if ipv6 { "IPv6" } else { "IPv4" };
            let message = format!("{network} is an {} network, and the VIP is {}", kind(!ipv6), kind(ipv6));
            self.mistake(self.tree.spot(*place), message, "no client can come from there".to_owned());
        }
    }
}
