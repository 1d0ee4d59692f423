//! A health monitor and what stands beside it in a pool, as written.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{Line, NodeId, Seconds, Text};
use crate::id::MonitorId;
use crate::spec::shape::ONE_LINE;
use crate::spec::{BODY_PATTERN_MAX, HEADER_VALUE_MAX, HEADERS_MAX};

/// How the members of a pool are judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct HealthMonitor {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Its UUID. Without one it is derived from the pool and the name, or its place among the pool's monitors.
    pub(in crate::spec) id: Option<MonitorId>,
    /// What people call it.
    pub(in crate::spec) name: Option<Line>,
    /// What a member is asked.
    #[serde(rename = "type")]
    #[schemars(with = "MonitorType")]
    pub(in crate::spec) kind: Option<MonitorType>,
    /// Seconds from one question to the next.
    #[schemars(with = "Seconds<100>")]
    pub(in crate::spec) delay: Option<Seconds<100>>,
    /// Seconds one question may take, connecting included; at most `delay`.
    #[schemars(with = "Seconds<100>")]
    pub(in crate::spec) timeout: Option<Seconds<100>>,
    /// Good answers in a row after which a member is up again.
    #[schemars(with = "u8", range(min = 1, max = 10))]
    pub(in crate::spec) max_retries: Option<u8>,
    /// Bad ones in a row after which it is down. Default: 3.
    #[schemars(range(min = 1, max = 10))]
    pub(in crate::spec) max_retries_down: Option<u8>,
    /// Method of the request. Default: `GET`. HTTP and HTTPS only.
    pub(in crate::spec) http_method: Option<HttpMethod>,
    /// Path of the request. Default: `/`. HTTP and HTTPS only.
    pub(in crate::spec) url_path: Option<Line>,
    /// Version of the request. Default: `1.0`. HTTP and HTTPS only.
    pub(in crate::spec) http_version: Option<HttpVersion>,
    /// Host the request names; needs `http_version: 1.1`. Default: the member's address. HTTP and HTTPS only.
    pub(in crate::spec) domain_name: Option<Line>,
    /// Statuses that are good: `200`, `200,202`, `200-204`, or a mix. Default: `200`. HTTP and HTTPS only.
    pub(in crate::spec) expected_codes: Option<Codes>,
    /// False: nobody is asked, and it has no say. Default: true.
    pub(in crate::spec) admin_state_up: Option<bool>,
    /// Labels; recorded, not interpreted.
    pub(in crate::spec) tags: Option<Vec<Line>>,
    /// Extension: seconds between questions while a member is neither surely up nor surely down; at most `delay`,
    /// which is the default.
    pub(in crate::spec) delay_fast: Option<Seconds<100>>,
    /// Extension: seconds between questions while a member is down. Default: `delay`.
    pub(in crate::spec) delay_down: Option<Seconds<100>>,
    /// Extension: more fields of the request, by name. HTTP and HTTPS only.
    pub(in crate::spec) headers: Option<Headers>,
    /// Extension: text that the first 64 KiB of the body must contain. HTTP and HTTPS only.
    #[schemars(length(min = 1, max = BODY_PATTERN_MAX))]
    pub(in crate::spec) expected_body: Option<Text>,
    /// Extension: a regular expression that must match within them. HTTP and HTTPS only.
    #[schemars(length(min = 1, max = BODY_PATTERN_MAX))]
    pub(in crate::spec) expected_body_regex: Option<Line>,
    /// Extension: the member's certificate must be valid. Default: false. HTTPS and TLS-HELLO only.
    pub(in crate::spec) tls_verify: Option<bool>,
    /// Extension: `file:/absolute/path` of a PEM file with the authorities to trust. Default: the system's.
    pub(in crate::spec) ca_tls_container_ref: Option<Line>,
    /// Extension: server name that is asked for (SNI). Default: `domain_name`, or none. HTTPS and TLS-HELLO only.
    pub(in crate::spec) sni: Option<Line>,
    /// Extension: every connection begins with this PROXY header. Default: none. Not for PING.
    pub(in crate::spec) send_proxy: Option<ProxyVersion>,
    /// Extension: who logs in, without a password. Default: only the greeting is read. MYSQL only.
    #[schemars(length(min = 1, max = 32))]
    pub(in crate::spec) mysql_user: Option<Line>,
}

/// What a member is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub(in crate::spec) enum MonitorType {
    /// An ICMP echo.
    Ping,
    /// A connection that is made and closed.
    Tcp,
    /// One request.
    Http,
    /// One request over TLS.
    Https,
    /// A TLS handshake.
    TlsHello,
    /// Extension: a MySQL server's greeting, or a login.
    Mysql,
}

impl MonitorType {
    /// As it is written.
    pub(in crate::spec) fn word(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::TlsHello => "TLS-HELLO",
            Self::Mysql => "MYSQL",
        }
    }
}

/// Methods a monitor may use: Octavia's.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[rustfmt::skip]
pub(in crate::spec) enum HttpMethod {
    Get, Head, Post, Put, Delete, Trace, Options, Patch, Connect,
}

impl HttpMethod {
    /// As it is written.
    pub(in crate::spec) fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Trace => "TRACE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Connect => "CONNECT",
        }
    }
}

/// HTTP versions of a monitor, bare (as Octavia writes them) or in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::spec) enum HttpVersion {
    #[serde(rename = "1.0")]
    V1_0,
    #[serde(rename = "1.1")]
    V1_1,
}

impl JsonSchema for HttpVersion {
    fn schema_name() -> Cow<'static, str> {
        "HttpVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A version of HTTP.", "enum": [1.0, 1.1, "1.0", "1.1"] })
    }
}

/// Statuses: one as a number, or several in a text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::spec) enum Codes {
    One(#[schemars(range(min = 100, max = 599))] u16),
    Several(Line),
}

/// Fields of a request. Names and values are read where they stand: the tree knows their places.
#[derive(Debug, Deserialize)]
pub(in crate::spec) struct Headers {
    #[serde(rename = "\u{0}at")]
    pub(in crate::spec) at: NodeId,
}

impl JsonSchema for Headers {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Fields of a request, by name.",
            "type": "object",
            "additionalProperties": { "type": ["string", "null"], "maxLength": HEADER_VALUE_MAX, "pattern": ONE_LINE },
            "maxProperties": HEADERS_MAX,
        })
    }
}

/// A PROXY protocol header.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum ProxyVersion {
    /// Version 1, text.
    Proxy,
    /// Version 2, binary.
    #[serde(rename = "PROXYV2")]
    ProxyV2,
}

/// Live traffic as a witness.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Observe {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// What counts as a failure.
    #[schemars(with = "ObservedLayer")]
    pub(in crate::spec) layer: Option<ObservedLayer>,
    /// So many in a row make a member suspect. Default: 10.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::spec) failures: Option<u32>,
}

/// What live traffic is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum ObservedLayer {
    /// Connections that fail.
    Connection,
    /// Those, and answers that are missing, unreadable or bad. Pools of protocol HTTP only.
    Http,
}

/// A port on which members tell their own weight and state.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct AgentCheck {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Port on the member's address, or its `monitor_address`.
    #[schemars(with = "u16", range(min = 1, max = 65535))]
    pub(in crate::spec) port: Option<u16>,
    /// Seconds from one question to the next. Default: 2.
    pub(in crate::spec) delay: Option<Seconds<100>>,
    /// Seconds one may take; at most `delay`, which is the default.
    pub(in crate::spec) timeout: Option<Seconds<100>>,
    /// Sent before the line is read. Default: nothing.
    pub(in crate::spec) send: Option<Text>,
}

/// What becomes of connections when their member is marked down.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum OnMarkedDown {
    /// They go on.
    KeepSessions,
    /// They are closed.
    ShutdownSessions,
}
