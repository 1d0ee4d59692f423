//! Every legal configuration can be written as a document that is read as the same configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use uuid::Uuid;

use super::hashings::choices;
use super::round_trip_l7::{of_protocol, policies, retries};
use super::round_trip_limits::listener_limits;
use super::round_trip_monitors::{agent_checks, marked_down, monitors, observations};
use super::round_trip_persistence::persistence;
use super::round_trip_tls::{certificate_headers, listener_tls, pool_tls};
use crate::config::proxy_protocol::ProxyProtocol;
use crate::config::*;
use crate::id::{ListenerId, LoadBalancerId, MemberId, PoolId};
use crate::limits::cidr::Cidr;
use crate::spec::{ERROR_PAGE_STATUSES, TIMEOUT_MS_MAX, example, read, write};

fn same_again(config: &LoadBalancer) -> Result<(), TestCaseError> {
    let text = write(config).to_string();
    let again = read("written", &text).map_err(|mistakes| TestCaseError::fail(mistakes.to_string()))?;
    prop_assert_eq!(&again, config);
    let json = serde_json::to_string(config).unwrap();
    prop_assert_eq!(&serde_json::from_str::<LoadBalancer>(&json).unwrap(), config);
    Ok(())
}

#[test]
fn the_example_survives() {
    same_again(&super::legal(example())).unwrap();
}

#[test]
fn every_facility_survives() {
    let mut config = super::legal(example());
    for number in 0..24 {
        config.listeners[0].log.facility = SyslogFacility(number);
        same_again(&config).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn legal_configurations_survive(config in load_balancers()) {
        same_again(&config)?;
    }
}

pub(super) fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\\p{Cc}]{0,20}",
        prop::sample::select(vec!["", "null", "true", "80", "1e3", "# x", "a: b", "\"", "'", "\\", "\u{1F600}", "---"])
            .prop_map(str::to_owned),
    ]
}

pub(super) fn paragraphs() -> impl Strategy<Value = String> {
    prop::collection::vec(words(), 0..4).prop_map(|lines| lines.join("\n\t"))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1u8..=223, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        any::<[u16; 7]>().prop_map(|s| IpAddr::V6(Ipv6Addr::new(0x2001, s[0], s[1], s[2], s[3], s[4], s[5], s[6]))),
    ]
}

fn member_addresses() -> impl Strategy<Value = MemberAddress> {
    let name = "([a-z0-9_]([a-z0-9_-]{0,9}[a-z0-9_])?\\.){0,3}[a-z]{1,9}\\.?";
    prop_oneof![addresses().prop_map(MemberAddress::Ip), name.prop_map(|name| name.parse().unwrap())]
}

fn resolvers() -> impl Strategy<Value = Vec<SocketAddr>> {
    let socket = (addresses(), 1u16..).prop_map(|(address, port)| SocketAddr::new(address, port));
    prop::collection::btree_set(socket, 0..3).prop_map(|all| all.into_iter().collect())
}

fn limits() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(TIMEOUT_MS_MAX), 0..=TIMEOUT_MS_MAX]
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let of_listener = (limits(), limits(), prop::option::of(limits()));
    ((limits(), limits(), limits(), limits()), of_listener).prop_map(
        |(
            (client_data_ms, member_connect_ms, member_data_ms, tcp_inspect_ms),
            (http_request_ms, http_keep_alive_ms, tunnel_ms),
        )| {
            Timeouts {
                client_data_ms,
                member_connect_ms,
                member_data_ms,
                http_request_ms,
                http_keep_alive_ms,
                tunnel_ms,
                tcp_inspect_ms,
            }
        },
    )
}

fn logs(http: bool) -> impl Strategy<Value = LogSettings> {
    let mut formats = vec![None, Some(LogFormat::Tcplog), Some(LogFormat::Json)];
    formats.extend(http.then_some(Some(LogFormat::Httplog)));
    let target = prop_oneof![
        Just(LogTarget::Stderr),
        "(/[a-zé .]{1,9}){1,3}".prop_map(|path| LogTarget::File(path.into())),
        "(/[a-z:]{1,9}){1,3}".prop_map(|path| LogTarget::Syslog(path.into())),
    ];
    (prop::sample::select(formats), target, 0u8..24, "[!-~]{1,32}").prop_map(|(format, target, facility, tag)| {
        LogSettings { format, target, facility: SyslogFacility(facility), tag }
    })
}

fn members() -> impl Strategy<Value = Member> {
    let identity = (any::<u128>(), words(), prop::collection::vec(words(), 0..3));
    let place = (member_addresses(), 1u16.., 0..=WEIGHT_MAX, any::<bool>(), any::<bool>());
    let monitor = (prop::option::of(addresses()), prop::option::of(1u16..));
    let limit = prop::option::of(1..=MAX_CONNECTIONS_MAX);
    (identity, place, monitor, limit).prop_map(|((id, name, tags), place, monitor, max_connections)| {
        let (address, protocol_port, weight, backup, admin_state_up) = place;
        let (monitor_address, monitor_port) = monitor;
        Member {
            id: MemberId(Uuid::from_u128(id)),
            name,
            address,
            protocol_port,
            weight,
            max_connections,
            backup,
            admin_state_up,
            monitor_address,
            monitor_port,
            tags,
        }
    })
}

fn pools() -> impl Strategy<Value = Pool> {
    let identity = (any::<u128>(), words(), paragraphs(), prop::collection::vec(words(), 0..3));
    let rules = (choices(), any::<[bool; 2]>());
    let slow_start = prop_oneof![Just(0), 0..=crate::spec::SECONDS_MAX * 1000];
    let health = (monitors(), observations(), slow_start, agent_checks(), marked_down(), prop::option::of(pool_tls()));
    let queue = (prop::option::of(0..=MAX_QUEUE_MAX), prop::option::of(limits()));
    let members = prop::collection::vec(members(), 0..6);
    let more = (queue, (persistence(true), persistence(false)), retries());
    (identity, rules, members, health, more).prop_map(|(identity, rules, members, health, more)| {
        let ((max_queue, timeout_queue_ms), (any, by_address), retry) = more;
        let (id, name, description, tags) = identity;
        let ((protocol, lb_algorithm, hash), [admin_state_up, prior_knowledge]) = rules;
        let (monitors, mut observation, slow_start_ms, agent_check, on_marked_down, tls) = health;
        // Only what reads answers can look at them, and only what is asked can come back.
        observation = observation.filter(|_| !monitors.is_empty());
        if let Some(observation) =
            observation.as_mut().filter(|_| matches!(protocol, PoolProtocol::Tcp | PoolProtocol::Https))
        {
            observation.layer = monitor::ObservedLayer::Connection;
        }
        let tls = tls.filter(|_| protocol != PoolProtocol::Https);
        Pool {
            http2_prior_knowledge: prior_knowledge && protocol == PoolProtocol::Http && tls.is_none(),
            id: PoolId(Uuid::from_u128(id)),
            name,
            description,
            protocol,
            lb_algorithm,
            hash,
            admin_state_up,
            members,
            monitors,
            observation,
            slow_start_ms,
            agent_check,
            on_marked_down,
            retry: retry.filter(|_| protocol == PoolProtocol::Http),
            session_persistence: if protocol == PoolProtocol::Http { any } else { by_address },
            max_queue,
            timeout_queue_ms,
            tls,
            tags,
        }
    })
}

fn proxy_protocols() -> impl Strategy<Value = Option<ProxyProtocol>> {
    let network = (addresses(), 0u8..=128).prop_map(|(address, len)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        Cidr::new(address, len.min(most)).unwrap()
    });
    let written = (prop::collection::vec(network, 1..4), any::<bool>());
    prop::option::of(written.prop_map(|(trusted, required)| ProxyProtocol { trusted, required }))
}

/// What only a listener that ends TLS has.
fn tls(protocol: ListenerProtocol) -> BoxedStrategy<(InsertHeaders, Option<tls::ListenerTls>)> {
    match protocol {
        ListenerProtocol::TerminatedHttps => (certificate_headers(), listener_tls().prop_map(Some)).boxed(),
        _ => Just((InsertHeaders::default(), None)).boxed(),
    }
}

/// A listener whose pool is still a number to draw among those it may use.
fn listeners() -> impl Strategy<Value = (Listener, usize)> {
    let protocols =
        vec![ListenerProtocol::Tcp, ListenerProtocol::Http, ListenerProtocol::Https, ListenerProtocol::TerminatedHttps];
    prop::sample::select(protocols).prop_flat_map(|protocol| {
        let http = protocol.is_http();
        let pages = prop::collection::btree_map(prop::sample::select(ERROR_PAGE_STATUSES.to_vec()), paragraphs(), 0..3);
        let identity = (any::<u128>(), words(), paragraphs(), prop::collection::vec(words(), 0..3));
        let limits = (1u16.., any::<bool>(), prop::option::of(1u32..), timeouts());
        let extras = (
            any::<[bool; 4]>(),
            logs(http),
            pages,
            proxy_protocols(),
            any::<usize>(),
            tls(protocol),
            (listener_limits(http), policies()),
        );
        (identity, limits, extras).prop_map(move |(identity, limits, extras)| {
            let (id, name, description, tags) = identity;
            let (protocol_port, admin_state_up, connection_limit, timeouts) = limits;
            let (
                [x_forwarded_for, x_forwarded_port, x_forwarded_proto, prior_knowledge],
                log,
                error_pages,
                proxy_protocol,
                draw,
                (certificate_headers, tls),
                (limits, l7policies),
            ) = extras;
            let insert_headers =
                InsertHeaders { x_forwarded_for, x_forwarded_port, x_forwarded_proto, ..certificate_headers };
            let listener = Listener {
                id: ListenerId(Uuid::from_u128(id)),
                name,
                description,
                protocol,
                protocol_port,
                admin_state_up,
                connection_limit,
                default_pool: None,
                l7policies: of_protocol(l7policies, protocol),
                timeouts,
                insert_headers: if http { insert_headers } else { InsertHeaders::default() },
                log,
                error_pages: if http { error_pages } else { BTreeMap::new() },
                limits,
                proxy_protocol,
                tls,
                http2_prior_knowledge: prior_knowledge && protocol == ListenerProtocol::Http,
                tags,
            };
            (listener, draw)
        })
    })
}

fn load_balancers() -> impl Strategy<Value = LoadBalancer> {
    let identity = (any::<u128>(), words(), paragraphs(), prop::option::of(words()), prop::option::of("[a-z]{1,9}"));
    let tags = prop::collection::vec(words(), 0..3);
    let rest = (addresses(), any::<bool>(), prop::option::of(1..=WORKERS_MAX), tags, resolvers());
    let parts = (prop::collection::vec(listeners(), 0..5), prop::collection::vec(pools(), 0..4));
    (identity, rest, parts).prop_map(|(identity, rest, (listeners, pools))| {
        let (id, name, description, project_id, vip_network) = identity;
        let (vip_address, admin_state_up, workers, tags, resolvers) = rest;
        let mut config = LoadBalancer {
            id: LoadBalancerId(Uuid::from_u128(id)),
            name,
            description,
            project_id,
            vip_address,
            vip_network,
            admin_state_up,
            tags,
            workers,
            resolvers,
            listeners: Vec::new(),
            pools,
        };
        make_legal(&mut config, listeners);
        config
    })
}

/// Drops what would be doubled, and gives each listener a pool it may use.
fn make_legal(config: &mut LoadBalancer, listeners: Vec<(Listener, usize)>) {
    let mut names = BTreeSet::new();
    config.pools.retain(|pool| pool.name.is_empty() || names.insert(pool.name.clone()));
    let vip = config.vip_address;
    for pool in &mut config.pools {
        let (mut names, mut sockets) = (BTreeSet::new(), BTreeSet::new());
        pool.members.retain(|member| {
            member.address != MemberAddress::Ip(vip)
                && (member.socket().is_none_or(|socket| sockets.insert(socket)))
                && (member.name.is_empty() || names.insert(member.name.clone()))
        });
    }
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (mut listener, draw) in listeners {
        if !ports.insert(listener.protocol_port) || !(listener.name.is_empty() || names.insert(listener.name.clone())) {
            continue;
        }
        let allowed = |pool: &&Pool| match listener.protocol {
            ListenerProtocol::Tcp => {
                !pool.lb_algorithm.reads_requests()
                    && pool.session_persistence.as_ref().is_none_or(|by| !by.needs_http())
            }
            ListenerProtocol::Http | ListenerProtocol::TerminatedHttps => {
                !matches!(pool.protocol, PoolProtocol::Tcp | PoolProtocol::Https)
                    && pool.lb_algorithm != LbAlgorithm::RdpCookie
            }
            ListenerProtocol::Https => {
                pool.protocol != PoolProtocol::Http
                    && !pool.lb_algorithm.reads_requests()
                    && pool.lb_algorithm != LbAlgorithm::RdpCookie
            }
        };
        let candidates: Vec<PoolId> = config.pools.iter().filter(allowed).map(|pool| pool.id).collect();
        // What no client of the VIP's kind can come from would be refused.
        listener.limits.allowed_cidrs.retain(|network| network.is_ipv6() == vip.is_ipv6());
        listener.default_pool = candidates.get(draw % (candidates.len() + 1)).copied();
        super::round_trip_l7::give_pools(&mut listener.l7policies, &candidates);
        config.listeners.push(listener);
    }
}
