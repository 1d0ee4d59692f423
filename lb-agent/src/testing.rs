//! Documents for tests of this crate.

use lb_core::config::{
    InsertHeaders, LbAlgorithm, Listener, ListenerProtocol, LoadBalancer, LogSettings, LogTarget, Member, Pool,
    PoolProtocol, SyslogFacility, Timeouts,
};
use lb_core::id::{ListenerId, LoadBalancerId, MemberId, PoolId};

/// One HTTP listener on each port, all before one pool of one member.
pub(crate) fn document(name: &str, vip: &str, ports: &[u16]) -> LoadBalancer {
    let id = LoadBalancerId::for_name(name);
    let pool = PoolId::derived(id.0, "pool");
    let listener = |port: &u16| Listener {
        id: ListenerId::derived(id.0, &port.to_string()),
        name: format!("l{port}"),
        description: String::new(),
        protocol: ListenerProtocol::Http,
        protocol_port: *port,
        admin_state_up: true,
        connection_limit: None,
        default_pool: Some(pool),
        l7policies: Vec::new(),
        timeouts: Timeouts {
            client_data_ms: 50_000,
            member_connect_ms: 5_000,
            member_data_ms: 50_000,
            http_request_ms: 10_000,
            http_keep_alive_ms: 50_000,
            tunnel_ms: None,
            tcp_inspect_ms: 0,
        },
        insert_headers: InsertHeaders::default(),
        log: LogSettings {
            format: None,
            target: LogTarget::Stderr,
            facility: SyslogFacility::LOCAL0,
            tag: "weir".into(),
        },
        error_pages: std::collections::BTreeMap::new(),
        proxy_protocol: None,
        limits: lb_core::config::limits::ListenerLimits::default(),
        tls: None,
        http2_prior_knowledge: false,
        tags: Vec::new(),
    };
    LoadBalancer {
        id,
        name: name.into(),
        description: String::new(),
        project_id: None,
        vip_address: vip.parse().unwrap(),
        vip_network: None,
        admin_state_up: true,
        tags: Vec::new(),
        workers: Some(2),
        resolvers: Vec::new(),
        listeners: ports.iter().map(listener).collect(),
        pools: vec![Pool {
            id: pool,
            name: "pool".into(),
            description: String::new(),
            protocol: PoolProtocol::Http,
            lb_algorithm: LbAlgorithm::RoundRobin,
            hash: None,
            admin_state_up: true,
            members: vec![Member {
                id: MemberId::derived(pool.0, "m1"),
                name: "m1".into(),
                address: "127.0.0.1".parse().unwrap(),
                protocol_port: 8080,
                weight: 1,
                max_connections: None,
                backup: false,
                admin_state_up: true,
                monitor_address: None,
                monitor_port: None,
                tags: Vec::new(),
            }],
            monitors: Vec::new(),
            observation: None,
            slow_start_ms: 0,
            agent_check: None,
            on_marked_down: lb_core::config::monitor::OnMarkedDown::KeepSessions,
            retry: None,
            session_persistence: None,
            max_queue: None,
            timeout_queue_ms: None,
            tls: None,
            http2_prior_knowledge: false,
            tags: Vec::new(),
        }],
    }
}
