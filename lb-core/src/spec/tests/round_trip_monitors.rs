//! Legal health monitors, generated.

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::round_trip::{paragraphs, words};
use crate::config::monitor::*;
use crate::id::MonitorId;
use crate::spec::{HEADERS_MAX, MONITORS_MAX, SECONDS_MAX};

/// A pool's monitors, names distinct.
pub(super) fn monitors() -> impl Strategy<Value = Vec<HealthMonitor>> {
    prop::collection::vec(monitor(), 0..=MONITORS_MAX).prop_map(|mut monitors| {
        let mut names = BTreeSet::new();
        monitors.retain(|monitor| monitor.name.is_empty() || names.insert(monitor.name.clone()));
        monitors
    })
}

fn lengths() -> impl Strategy<Value = u64> {
    prop_oneof![Just(100), Just(SECONDS_MAX * 1000), (1u64..=60).prop_map(|s| s * 1000), 100..=SECONDS_MAX * 1000]
}

fn monitor() -> impl Strategy<Value = HealthMonitor> {
    let identity = (any::<u128>(), words(), any::<bool>(), prop::collection::vec(words(), 0..3));
    let times = (lengths(), lengths(), lengths(), lengths());
    let counts = (1u8..=10, 1u8..=10, prop::option::of(any::<bool>()));
    (identity, times, counts, probes()).prop_map(|(identity, times, counts, probe)| {
        let (id, name, admin_state_up, tags) = identity;
        let (delay_ms, fast, delay_down_ms, timeout) = times;
        let (max_retries, max_retries_down, send_proxy) = counts;
        let version = |second| if second { ProxyVersion::V2 } else { ProxyVersion::V1 };
        HealthMonitor {
            id: MonitorId(Uuid::from_u128(id)),
            name,
            admin_state_up,
            send_proxy: send_proxy.filter(|_| probe != Probe::Ping).map(version),
            probe,
            delay_ms,
            delay_fast_ms: fast.min(delay_ms),
            delay_down_ms,
            timeout_ms: timeout.min(delay_ms),
            max_retries,
            max_retries_down,
            tags,
        }
    })
}

fn probes() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Ping),
        Just(Probe::Tcp),
        http().prop_map(Probe::Http),
        (http(), tls()).prop_map(|(http, tls)| Probe::Https(http, tls)),
        tls().prop_map(Probe::TlsHello),
        prop::option::of("[!-~]([ -~]{0,30}[!-~])?").prop_map(|user| Probe::Mysql(MysqlProbe { user })),
    ]
}

pub(super) fn hosts() -> impl Strategy<Value = String> {
    "[a-zA-Z]([a-z0-9_-]{0,20}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?){0,4}"
}

fn http() -> impl Strategy<Value = HttpProbe> {
    let methods = vec!["GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "CONNECT"];
    let request = (prop::sample::select(methods), "/[!-\"$-~]{0,40}", any::<bool>(), prop::option::of(hosts()));
    let codes = prop::collection::vec((100u16..=599, 0u16..20), 1..5);
    let fields = prop::collection::btree_map("x-[a-z!#~]{1,9}", "[!-~]([ -~]{0,20}[!-~])?", 0..=HEADERS_MAX / 16);
    let body = prop_oneof![
        Just(None),
        paragraphs().prop_map(|text| (!text.is_empty()).then_some(ExpectedBody::Text(text))),
        "[a-z]{1,5}(\\.\\*|\\[0-9\\]\\+|\\(a\\|b\\))?".prop_map(|pattern| Some(ExpectedBody::Regex(pattern))),
    ];
    (request, codes, fields, body).prop_map(|((method, url_path, newer, host), codes, headers, expected_body)| {
        HttpProbe {
            method: method.to_owned(),
            url_path,
            version: if newer { HttpVersion::V1_1 } else { HttpVersion::V1_0 },
            domain_name: host.filter(|_| newer),
            expected_codes: ExpectedCodes(codes.into_iter().map(|(first, n)| (first, (first + n).min(599))).collect()),
            headers: headers.into_iter().collect(),
            expected_body,
        }
    })
}

fn tls() -> impl Strategy<Value = TlsProbe> {
    let file = prop::option::of("(/[a-zé .]{1,9}){1,3}");
    (any::<bool>(), file, prop::option::of(hosts())).prop_map(|(verify, file, sni)| TlsProbe {
        verify,
        ca_file: file.filter(|_| verify).map(Into::into),
        sni,
    })
}

pub(super) fn observations() -> impl Strategy<Value = Option<Observation>> {
    let layer = prop_oneof![Just(ObservedLayer::Connection), Just(ObservedLayer::Http)];
    prop::option::of((layer, 1u32..=1000).prop_map(|(layer, failures)| Observation { layer, failures }))
}

pub(super) fn agent_checks() -> impl Strategy<Value = Option<AgentCheck>> {
    prop::option::of((1u16.., lengths(), lengths(), paragraphs()).prop_map(|(port, delay_ms, timeout, send)| {
        AgentCheck { port, delay_ms, timeout_ms: timeout.min(delay_ms), send }
    }))
}

pub(super) fn marked_down() -> impl Strategy<Value = OnMarkedDown> {
    prop_oneof![Just(OnMarkedDown::KeepSessions), Just(OnMarkedDown::ShutdownSessions)]
}
