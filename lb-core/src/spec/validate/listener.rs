//! A listener crossing the border.

use std::collections::BTreeMap;

use super::l7::Home;
use super::l7_change::Own;
use super::pool::Standing;
use super::unique::Identity;
use super::{Border, NodeId, line, lines, text, types};
use crate::config::{self, ListenerProtocol, PoolProtocol};
use crate::id::{ListenerId, LoadBalancerId, PoolId};
use crate::spec::ERROR_PAGE_LEN_MAX;
use crate::spec::tree::Spot;

/// What a listener is known by: its name, else its port.
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    pub(super) text: &'k str,
    /// Another listener has the same, and that has been reported.
    pub(super) doubled: bool,
}

impl Border<'_> {
    /// Reads a listener and the pool inside it. `None` if it lacks what every listener needs, which is reported.
    pub(super) fn listener(
        &mut self,
        parent: LoadBalancerId,
        mut listener: types::Listener,
    ) -> Option<config::Listener> {
        let at = listener.at;
        let name = line(listener.name.take());
        let key = match listener.protocol_port {
            Some(port) if name.is_empty() => port.to_string(),
            _ => name.clone(),
        };
        let mut doubled = self.doubled_name("listener", at, &name, |b| &mut b.unique.listener_names);
        doubled |= self.doubled_port(&listener);
        let explicit = listener.id.is_some();
        let id = listener.id.unwrap_or_else(|| ListenerId::derived(parent.0, &key));
        // Without name and port there is nothing to derive from; that is reported, a doubled id is not news.
        doubled |= key.is_empty();
        let identity = Identity { kind: "listener", at, id: id.0, explicit, doubled };
        doubled = self.doubled_id(&identity, |b| &mut b.unique.listener_ids);

        let protocol = listener.protocol.map(protocol);
        let default_pool = self.default_pool(parent, &mut listener, Key { text: &key, doubled });
        let timeouts = timeouts(&listener);
        let connection_limit = self.connection_limit(at, listener.connection_limit);
        let limits = self.limits(&mut listener, protocol);
        let tls = self.listener_tls(&listener, protocol);
        let insert_headers = self.insert_headers(at, listener.insert_headers, protocol);
        let strict_transport = tls.as_ref().is_some_and(|tls| tls.hsts.is_some());
        let own = Own { insert_headers, strict_transport };
        let home = Home { load_balancer: parent, listener: id, key: Key { text: &key, doubled }, protocol, own };
        let l7policies = self.l7policies(at, listener.l7policies.take(), home);
        let log = self.log(listener.log, protocol);
        let error_pages = self.error_pages(at, listener.error_pages, protocol);
        let proxy_protocol = self.proxy_protocol(listener.proxy_protocol);
        let http2_prior_knowledge = self.listener_prior_knowledge(at, listener.http2_prior_knowledge, protocol);
        Some(config::Listener {
            id,
            name,
            description: text(listener.description),
            protocol: protocol?,
            protocol_port: listener.protocol_port?,
            admin_state_up: listener.admin_state_up.unwrap_or(true),
            connection_limit,
            default_pool,
            l7policies: l7policies?,
            timeouts,
            insert_headers,
            log,
            error_pages,
            limits,
            proxy_protocol,
            tls,
            http2_prior_knowledge,
            tags: lines(listener.tags),
        })
    }

    fn doubled_port(&mut self, listener: &types::Listener) -> bool {
        let Some(port) = listener.protocol_port else {
            return false;
        };
        let line = self.tree.spot_of(listener.at, "protocol_port").line();
        let Some(first) = self.unique.listener_ports.before(port, line) else {
            return false;
        };
        let help = "every listener of a VIP needs a port of its own";
        self.doubled_value(listener.at, "protocol_port", format_args!("port {port}"), first, help);
        true
    }

    fn default_pool(&mut self, parent: LoadBalancerId, listener: &mut types::Listener, key: Key<'_>) -> Option<PoolId> {
        let at = listener.at;
        let (index, spot) = match (listener.default_pool.take(), listener.default_pool_id) {
            (Some(pool), by_id) => {
                if by_id.is_some() {
                    let spot = self.tree.spot_of_key(at, "default_pool_id");
                    self.mistake(spot, "both `default_pool` and `default_pool_id` are given", "keep one".to_owned());
                }
                if self.is_reference(pool.at) {
                    self.reference(&pool)?
                } else {
                    let inner = pool.at;
                    let text = format!("default of {}", key.text);
                    let standing = Standing { shared: false, key: &text, doubled: key.doubled };
                    let index = self.pool(parent, pool, standing);
                    (index, self.tree.spot_of(inner, "protocol"))
                }
            }
            (None, Some(id)) => {
                let spot = self.tree.spot_of(at, "default_pool_id");
                (self.shared(spot.clone(), Some(id), "")?, spot)
            }
            (None, None) => return None,
        };
        let pool = &self.pools[index];
        let id = pool.id;
        if let (Some(listener), Some(pool)) = (listener.protocol.map(protocol), pool.protocol)
            && self.pair(listener, pool, spot.clone())
        {
            self.cookies_are_read(listener, index, spot.clone());
            self.sees_what_is_hashed(listener, index, spot);
        }
        Some(id)
    }

    /// Only `name` and `id` are written: the pool stands elsewhere.
    pub(super) fn is_reference(&self, pool: NodeId) -> bool {
        let mut written = self.tree.entries(pool).iter().filter(|entry| !self.tree.is_null(entry.value));
        written.all(|entry| matches!(entry.key.as_str(), "name" | "id"))
    }

    pub(super) fn reference(&mut self, pool: &types::Pool) -> Option<(usize, Spot)> {
        let name = pool.name.as_ref().map_or("", |name| &name.0);
        if self.tree.is_lost(pool.at, "name") || self.tree.is_lost(pool.at, "id") {
            return None;
        }
        if name.is_empty() && pool.id.is_none() {
            let help = "give the `name` or `id` of one of `pools`, or a pool with `protocol` and `lb_algorithm`";
            self.mistake(self.tree.spot(pool.at), "this names no pool and is none", help.to_owned());
            return None;
        }
        let spot = self.tree.spot_of(pool.at, if name.is_empty() { "id" } else { "name" });
        Some((self.shared(spot.clone(), pool.id, name)?, spot))
    }

    /// A pool that knows its clients by a cookie needs a listener that reads requests.
    pub(super) fn cookies_are_read(&mut self, listener: ListenerProtocol, pool: usize, spot: Spot) {
        let pool = &self.pools[pool];
        // Where the pool cannot read them either, that is reported already.
        let may_read = !matches!(pool.protocol, Some(PoolProtocol::Tcp | PoolProtocol::Https));
        if pool.reads_cookies && may_read && !listener.is_http() {
            let message = format!(
                "the `session_persistence` of this pool needs cookies, which a {listener} listener does not read"
            );
            self.mistake(spot, message, "use `SOURCE_IP`, or a listener of protocol HTTP".to_owned());
        }
    }

    /// Octavia's table of what a listener may send to which pool. False if it says no, which is reported.
    pub(super) fn pair(&mut self, listener: ListenerProtocol, pool: PoolProtocol, spot: Spot) -> bool {
        let allowed: &[PoolProtocol] = match listener {
            ListenerProtocol::Tcp => &[PoolProtocol::Tcp, PoolProtocol::Http, PoolProtocol::Https],
            ListenerProtocol::Http => &[PoolProtocol::Http],
            ListenerProtocol::Https => &[PoolProtocol::Https, PoolProtocol::Tcp],
            ListenerProtocol::TerminatedHttps => &[PoolProtocol::Http],
        };
        // Those follow their listener.
        let follow = [PoolProtocol::Proxy, PoolProtocol::ProxyV2];
        let fits = allowed.contains(&pool) || follow.contains(&pool);
        if !fits {
            let words: Vec<String> = allowed.iter().chain(&follow).map(PoolProtocol::to_string).collect();
            let message = format!("a listener of protocol {listener} cannot use a pool of protocol {pool}");
            self.mistake(spot, message, format!("its pool may be: {}", words.join(", ")));
        }
        fits
    }

    fn connection_limit(&mut self, at: NodeId, written: Option<i64>) -> Option<u32> {
        if written == Some(0) {
            let help = "-1 means no limit; `admin_state_up: false` closes the listener".to_owned();
            self.mistake(self.tree.spot_of(at, "connection_limit"), "a limit of 0 would refuse everybody", help);
        }
        written.and_then(|limit| u32::try_from(limit).ok())
    }

    fn insert_headers(
        &mut self,
        at: NodeId,
        written: Option<types::InsertHeaders>,
        protocol: Option<ListenerProtocol>,
    ) -> config::InsertHeaders {
        let Some(headers) = written else {
            return config::InsertHeaders::default();
        };
        self.only_http(at, "insert_headers", !self.tree.entries(headers.at).is_empty(), protocol);
        let is_set = |flag: Option<types::Flag>| flag.is_some_and(types::Flag::is_set);
        let mut insert = config::InsertHeaders {
            x_forwarded_for: is_set(headers.x_forwarded_for),
            x_forwarded_port: is_set(headers.x_forwarded_port),
            x_forwarded_proto: is_set(headers.x_forwarded_proto),
            ..config::InsertHeaders::default()
        };
        self.certificate_headers(&headers, protocol, &mut insert);
        insert
    }

    fn error_pages(
        &mut self,
        at: NodeId,
        written: Option<types::ErrorPages>,
        protocol: Option<ListenerProtocol>,
    ) -> BTreeMap<u16, String> {
        let Some(types::ErrorPages(pages)) = written else {
            return BTreeMap::new();
        };
        self.only_http(at, "error_pages", !pages.is_empty(), protocol);
        let map = self.tree.entry(at, "error_pages").map(|entry| entry.value);
        for (status, body) in &pages {
            if let (true, Some(map)) = (body.len() > ERROR_PAGE_LEN_MAX, map) {
                let message = format!("{} bytes are too many for an error page", body.len());
                let spot = self.tree.spot_of(map, &status.to_string());
                self.mistake(spot, message, format!("at most {ERROR_PAGE_LEN_MAX} bytes"));
            }
        }
        pages
    }

    /// Reports a key that does nothing where requests are not read.
    pub(super) fn only_http(&mut self, at: NodeId, key: &str, used: bool, protocol: Option<ListenerProtocol>) {
        if let Some(protocol) = protocol
            && used
            && !protocol.is_http()
        {
            let message = format!("`{key}` is only for HTTP listeners, and this one is {protocol}");
            self.mistake(self.tree.spot_of_key(at, key), message, "leave it out".to_owned());
        }
    }
}

fn timeouts(listener: &types::Listener) -> config::Timeouts {
    let client_data_ms = listener.timeout_client_data.unwrap_or(CLIENT_DATA_MS);
    config::Timeouts {
        client_data_ms,
        member_connect_ms: listener.timeout_member_connect.unwrap_or(MEMBER_CONNECT_MS),
        member_data_ms: listener.timeout_member_data.unwrap_or(MEMBER_DATA_MS),
        http_request_ms: listener.timeout_http_request.unwrap_or(HTTP_REQUEST_MS),
        http_keep_alive_ms: listener.timeout_http_keep_alive.unwrap_or(client_data_ms),
        tunnel_ms: listener.timeout_tunnel,
        tcp_inspect_ms: listener.timeout_tcp_inspect.unwrap_or(0),
    }
}

fn protocol(written: types::ListenerProtocol) -> ListenerProtocol {
    match written {
        types::ListenerProtocol::Tcp => ListenerProtocol::Tcp,
        types::ListenerProtocol::Http => ListenerProtocol::Http,
        types::ListenerProtocol::Https => ListenerProtocol::Https,
        types::ListenerProtocol::TerminatedHttps => ListenerProtocol::TerminatedHttps,
    }
}

const CLIENT_DATA_MS: u64 = 50_000;
const MEMBER_CONNECT_MS: u64 = 5_000;
const MEMBER_DATA_MS: u64 = 50_000;
const HTTP_REQUEST_MS: u64 = 10_000;
