//! Any legal limits of a listener.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::config::limits::*;
use crate::limits::cidr::Cidr;
use crate::limits::rate::{RATE_MAX, Rate};
use crate::spec::SECONDS_MAX;

pub(super) fn networks() -> impl Strategy<Value = Cidr> {
    prop_oneof![
        (any::<[u8; 4]>(), 0u8..=32).prop_map(|(address, len)| Cidr::new(IpAddr::from(address), len).unwrap()),
        // Not in IPv4's clothes: that would be read as what it is.
        (any::<[u16; 7]>(), 0u8..=128).prop_map(|(s, len)| {
            let address = [0x2001, s[0], s[1], s[2], s[3], s[4], s[5], s[6]];
            Cidr::new(IpAddr::from(address), len).unwrap()
        }),
    ]
}

fn rates() -> impl Strategy<Value = Option<Rate>> {
    prop::option::of((1..=RATE_MAX, 1..=RATE_MAX).prop_map(|(per_second, burst)| Rate { per_second, burst }))
}

fn clients(http: bool) -> impl Strategy<Value = Option<ClientLimits>> {
    let rules = (prop::option::of(1u32..), rates(), rates());
    let rest = (1u8..=128, prop::collection::vec(networks(), 0..4), TABLE_SIZE_MIN..=TABLE_SIZE_MAX);
    (rules, rest).prop_map(move |((connections, connection_rate, request_rate), (ipv6_prefix, exempt, table_size))| {
        let request_rate = request_rate.filter(|_| http);
        let limited = connections.is_some() || connection_rate.is_some() || request_rate.is_some();
        limited.then_some(ClientLimits { connections, connection_rate, request_rate, ipv6_prefix, exempt, table_size })
    })
}

pub(super) fn listener_limits(http: bool) -> impl Strategy<Value = ListenerLimits> {
    let heads = (HEAD_SIZE_MIN..=HEAD_SIZE_MAX, 1..=HEADER_COUNT_MAX, HEAD_SIZE_MIN..=TARGET_LENGTH_MAX);
    let body = prop::option::of((1u32.., 100..=SECONDS_MAX * 1000));
    let full = prop::sample::select(vec![OnConnectionLimit::Wait, OnConnectionLimit::Refuse]);
    (prop::collection::vec(networks(), 0..5), full, clients(http), heads, body).prop_map(
        move |(allowed_cidrs, on_connection_limit, clients, (size, fields, target), body)| ListenerLimits {
            allowed_cidrs,
            on_connection_limit,
            clients,
            heads: if http { HeadLimits { size, fields, target } } else { HeadLimits::default() },
            body_rate: body.filter(|_| http).map(|(per_second, grace_ms)| BodyRate { per_second, grace_ms }),
        },
    )
}
