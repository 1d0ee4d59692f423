//! A listener, as written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::pool::DefaultPool;
use super::{
    AlpnProtocol, ClientAuthentication, ClientLimits, L7Policy, Line, NodeId, OnConnectionLimit, Pool, ProxyProtocol,
    Seconds, Text, TlsVersion,
};
use crate::config::l7::POLICIES_MAX;
use crate::config::limits::{CIDRS_MAX, HEAD_SIZE_MAX, HEAD_SIZE_MIN, HEADER_COUNT_MAX, TARGET_LENGTH_MAX};
use crate::id::{ListenerId, PoolId};
use crate::spec::{ERROR_PAGE_LEN_MAX, ERROR_PAGE_STATUSES, SNI_CONTAINERS_MAX, TIMEOUT_MS_MAX, TLS_CIPHERS_LEN_MAX};

/// Protocol and port on the VIP, with its limits and its default pool.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Listener {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Its UUID. Without one it is derived from the load balancer and the name, or the port.
    pub(in crate::spec) id: Option<ListenerId>,
    /// What people call it.
    pub(in crate::spec) name: Option<Line>,
    /// Free text.
    pub(in crate::spec) description: Option<Text>,
    /// What it speaks to clients.
    #[schemars(with = "ListenerProtocol")]
    pub(in crate::spec) protocol: Option<ListenerProtocol>,
    /// Its port on the VIP.
    #[schemars(with = "u16", range(min = 1, max = 65535))]
    pub(in crate::spec) protocol_port: Option<u16>,
    /// False: the port is not bound. Default: true.
    pub(in crate::spec) admin_state_up: Option<bool>,
    /// Connections at once; -1: no limit. Default: -1.
    #[schemars(range(min = -1, max = u32::MAX), extend("not" = {"const": 0}))]
    pub(in crate::spec) connection_limit: Option<i64>,
    /// Networks clients may come from (`192.0.2.0/24`); others are reset as soon as they have connected. Default: all.
    #[schemars(length(max = CIDRS_MAX))]
    pub(in crate::spec) allowed_cidrs: Option<Vec<Line>>,
    /// Extension: what becomes of a client that comes while `connection_limit` is reached. Default: `WAIT`.
    pub(in crate::spec) on_connection_limit: Option<OnConnectionLimit>,
    /// Extension: what one client may take. Default: anything.
    pub(in crate::spec) client_limits: Option<ClientLimits>,
    /// Extension: bytes of a request's head, else 431. Default: 15360. HTTP only.
    #[schemars(range(min = HEAD_SIZE_MIN, max = HEAD_SIZE_MAX))]
    pub(in crate::spec) max_head_size: Option<u16>,
    /// Extension: fields of a request's head, else 431. Default: 128. HTTP only.
    #[schemars(range(min = 1, max = HEADER_COUNT_MAX))]
    pub(in crate::spec) max_header_count: Option<u16>,
    /// Extension: bytes of a request's target, else 414. Default: 12288. HTTP only.
    #[schemars(range(min = HEAD_SIZE_MIN, max = TARGET_LENGTH_MAX))]
    pub(in crate::spec) max_target_length: Option<u16>,
    /// Extension: bytes a second that a client has to send, or to take, of a body; 0: at any pace. Default: 0. HTTP only.
    #[schemars(range(min = 0, max = u32::MAX))]
    pub(in crate::spec) min_body_rate: Option<u32>,
    /// Extension: seconds of waiting for a client over which `min_body_rate` is an average. Default: 10. HTTP only.
    pub(in crate::spec) min_body_rate_grace: Option<Seconds<100>>,
    /// Where its traffic goes: a pool, or a reference to one of `pools` by `name` or `id`.
    #[schemars(with = "Option<DefaultPool>")]
    pub(in crate::spec) default_pool: Option<Pool>,
    /// Where its traffic goes: the id of one of `pools`. Not together with `default_pool`.
    pub(in crate::spec) default_pool_id: Option<PoolId>,
    /// What else becomes of requests, by what they look like; Extension: at an HTTPS listener of connections, by the server
    /// their client asks for. Not for TCP.
    #[schemars(length(max = POLICIES_MAX))]
    pub(in crate::spec) l7policies: Option<Vec<L7Policy>>,
    /// Milliseconds a client may be silent; 0: no limit. Default: 50000.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_client_data: Option<u64>,
    /// Milliseconds to connect to a member; 0: no limit. Default: 5000.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_member_connect: Option<u64>,
    /// Milliseconds a member may be silent; 0: no limit. Default: 50000.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_member_data: Option<u64>,
    /// Milliseconds to wait for a client's first bytes where its pool chooses by them (RDP_COOKIE), or policies of an HTTPS
    /// listener by the server name; 0, the default: 5000.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_tcp_inspect: Option<u64>,
    /// Headers to add to requests (HTTP and TERMINATED_HTTPS only).
    pub(in crate::spec) insert_headers: Option<InsertHeaders>,
    /// Labels; recorded, not interpreted.
    pub(in crate::spec) tags: Option<Vec<Line>>,
    /// Extension: milliseconds for a whole request head; 0: no limit. Default: 10000. HTTP and TERMINATED_HTTPS only.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_http_request: Option<u64>,
    /// Extension: milliseconds between two requests of a connection; 0: no limit. Default: `timeout_client_data`.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_http_keep_alive: Option<u64>,
    /// Extension: milliseconds both sides of a relay may be silent; 0: no limit. Default: client's and member's.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_tunnel: Option<u64>,
    /// Extension: one line for each request or connection; `false`: none.
    pub(in crate::spec) log: Option<LogSetting>,
    /// Extension: bodies that replace the built-in page of a status (HTTP and TERMINATED_HTTPS only).
    pub(in crate::spec) error_pages: Option<ErrorPages>,
    /// Extension: who may say, by a PROXY header, who its clients are. Default: nobody.
    pub(in crate::spec) proxy_protocol: Option<ProxyProtocol>,
    /// Extension: clients may begin in HTTP/2 without asking (HTTP only). Default: false.
    pub(in crate::spec) http2_prior_knowledge: Option<bool>,
    /// Certificate, chain and key for clients that name no host, or one that no other is for: `file:/absolute/path` of a
    /// PEM file. Default: the first of `sni_container_refs`. TERMINATED_HTTPS only, like every key that follows.
    pub(in crate::spec) default_tls_container_ref: Option<Line>,
    /// More of them, for the hosts they name: PEM files, or folders of PEM files.
    #[schemars(length(max = SNI_CONTAINERS_MAX))]
    pub(in crate::spec) sni_container_refs: Option<Vec<Line>>,
    /// Whether clients show a certificate. Default: `NONE`.
    pub(in crate::spec) client_authentication: Option<ClientAuthentication>,
    /// PEM file of those who may sign clients' certificates.
    pub(in crate::spec) client_ca_tls_container_ref: Option<Line>,
    /// PEM file of clients' certificates that are revoked.
    pub(in crate::spec) client_crl_container_ref: Option<Line>,
    /// Cipher suites in the order preferred, by OpenSSL's or IANA's names, with `:` between. Default: all that are spoken.
    #[schemars(length(min = 1, max = TLS_CIPHERS_LEN_MAX))]
    pub(in crate::spec) tls_ciphers: Option<Line>,
    /// Versions of TLS. Default: `TLSv1.2` and `TLSv1.3`.
    pub(in crate::spec) tls_versions: Option<Vec<TlsVersion>>,
    /// What is offered by ALPN, in the order preferred; empty: nothing. Default: `h2`, `http/1.1`, `http/1.0`.
    pub(in crate::spec) alpn_protocols: Option<Vec<AlpnProtocol>>,
    /// Seconds for which browsers come by HTTPS only (`Strict-Transport-Security`). Default: they are not told.
    #[schemars(range(min = 0, max = u32::MAX))]
    pub(in crate::spec) hsts_max_age: Option<u32>,
    /// That holds for names below the host's too. Default: false.
    pub(in crate::spec) hsts_include_subdomains: Option<bool>,
    /// Browsers' lists may take the host up. Default: false.
    pub(in crate::spec) hsts_preload: Option<bool>,
    /// Extension: a client that names a host no certificate is for is refused. Default: false.
    pub(in crate::spec) strict_sni: Option<bool>,
    /// Extension: DER file with an OCSP answer for the default certificate.
    pub(in crate::spec) ocsp_response_ref: Option<Line>,
    /// Extension: milliseconds for a whole handshake; 0: no limit. Default: 5000.
    #[schemars(range(min = 0, max = TIMEOUT_MS_MAX))]
    pub(in crate::spec) timeout_tls_handshake: Option<u64>,
}

/// What a listener speaks to clients.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum ListenerProtocol {
    /// Bytes, relayed.
    Tcp,
    /// HTTP/1.0 and 1.1.
    Http,
    /// TLS, passed through untouched.
    Https,
    /// TLS that ends here, and HTTP inside it.
    #[serde(rename = "TERMINATED_HTTPS")]
    TerminatedHttps,
}

/// Headers added to requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct InsertHeaders {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Adds the client's address as one more `X-Forwarded-For`.
    #[serde(rename = "X-Forwarded-For")]
    pub(in crate::spec) x_forwarded_for: Option<Flag>,
    /// Sets `X-Forwarded-Port` to the listener's port.
    #[serde(rename = "X-Forwarded-Port")]
    pub(in crate::spec) x_forwarded_port: Option<Flag>,
    /// Sets `X-Forwarded-Proto` to the listener's scheme.
    #[serde(rename = "X-Forwarded-Proto")]
    pub(in crate::spec) x_forwarded_proto: Option<Flag>,
    /// Sets `X-SSL-Client-Verify` to 0, or to what is wrong with the client's certificate. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-Verify")]
    pub(in crate::spec) x_ssl_client_verify: Option<Flag>,
    /// Sets `X-SSL-Client-Has-Cert` to 1 if the client showed a certificate, else to 0. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-Has-Cert")]
    pub(in crate::spec) x_ssl_client_has_cert: Option<Flag>,
    /// Sets `X-SSL-Client-DN` to the subject of the client's certificate. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-DN")]
    pub(in crate::spec) x_ssl_client_dn: Option<Flag>,
    /// Sets `X-SSL-Client-CN` to the common name of that subject. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-CN")]
    pub(in crate::spec) x_ssl_client_cn: Option<Flag>,
    /// Sets `X-SSL-Issuer` to who signed the client's certificate. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Issuer")]
    pub(in crate::spec) x_ssl_issuer: Option<Flag>,
    /// Sets `X-SSL-Client-SHA1` to the fingerprint of the client's certificate. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-SHA1")]
    pub(in crate::spec) x_ssl_client_sha1: Option<Flag>,
    /// Sets `X-SSL-Client-Not-Before` to when the client's certificate begins to be valid. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-Not-Before")]
    pub(in crate::spec) x_ssl_client_not_before: Option<Flag>,
    /// Sets `X-SSL-Client-Not-After` to when it ends to be valid. TERMINATED_HTTPS only.
    #[serde(rename = "X-SSL-Client-Not-After")]
    pub(in crate::spec) x_ssl_client_not_after: Option<Flag>,
}

/// True or false, bare or in quotes (Octavia writes quotes).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::spec) enum Flag {
    Bare(bool),
    Quoted(Quoted),
}

impl Flag {
    pub(in crate::spec) fn is_set(self) -> bool {
        matches!(self, Self::Bare(true) | Self::Quoted(Quoted::True))
    }
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::spec) enum Quoted {
    True,
    False,
}

/// The shape and target of log lines, or `false` for none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::spec) enum LogSetting {
    Off(Off),
    Settings(Log),
}

/// `false`, and nothing else: the check lets no `true` through.
#[derive(Debug, Deserialize)]
#[serde(from = "bool")]
pub(in crate::spec) struct Off;

impl From<bool> for Off {
    fn from(_: bool) -> Self {
        Self
    }
}

impl JsonSchema for Off {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Off".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": false })
    }
}

/// Where log lines go and what they look like.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Log {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// The shape of a line. Default: `httplog` for HTTP listeners, `tcplog` for others.
    pub(in crate::spec) format: Option<LogFormat>,
    /// `stderr`, `file:/absolute/path`, or `syslog:/absolute/path/of/a/socket`. Default: `stderr`.
    pub(in crate::spec) target: Option<Line>,
    /// Syslog facility. Default: `local0`.
    pub(in crate::spec) facility: Option<Facility>,
    /// Program name in a syslog line, 1 to 32 printable ASCII characters without spaces. Default: `weir`.
    #[schemars(length(min = 1, max = 32))]
    pub(in crate::spec) tag: Option<Line>,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::spec) enum LogFormat {
    /// HAProxy's `option httplog` (HTTP listeners only).
    Httplog,
    /// HAProxy's `option tcplog`.
    Tcplog,
    /// One JSON object with a `reason` in words.
    Json,
    /// No line at all.
    None,
}

/// A syslog facility, RFC 5424 section 6.2.1; its place in the list is its number.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[rustfmt::skip]
pub(in crate::spec) enum Facility {
    Kern, User, Mail, Daemon, Auth, Syslog, Lpr, News, Uucp, Cron, Authpriv, Ftp, Ntp, Audit, Alert, Clock,
    Local0, Local1, Local2, Local3, Local4, Local5, Local6, Local7,
}

/// Bodies by status.
#[derive(Debug, Deserialize)]
#[serde(from = "BTreeMap<String, Value>")]
pub(in crate::spec) struct ErrorPages(pub(in crate::spec) BTreeMap<u16, String>);

impl From<BTreeMap<String, Value>> for ErrorPages {
    /// Keeps what is a page: the check has refused the rest, and the node's id is not one.
    fn from(pages: BTreeMap<String, Value>) -> Self {
        let page = |(status, body): (String, Value)| match (status.parse(), body) {
            (Ok(status), Value::String(body)) => Some((status, body)),
            _ => None,
        };
        Self(pages.into_iter().filter_map(page).collect())
    }
}

impl JsonSchema for ErrorPages {
    fn schema_name() -> Cow<'static, str> {
        "ErrorPages".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let page = |status: &u16| {
            let description = format!("The body sent with status {status}.");
            let body = serde_json::json!({
                "description": description,
                "type": ["string", "null"],
                "maxLength": ERROR_PAGE_LEN_MAX,
            });
            (status.to_string(), body)
        };
        let pages: serde_json::Map<String, Value> = ERROR_PAGE_STATUSES.iter().map(page).collect();
        json_schema!({
            "description": "Bodies that replace the built-in page of a status, each at most 16 KiB.",
            "type": "object",
            "properties": pages,
            "additionalProperties": false,
        })
    }
}
