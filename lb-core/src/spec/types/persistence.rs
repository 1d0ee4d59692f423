//! How a pool remembers its clients, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Line, NodeId};
use crate::config::persistence::{APP_COOKIE_LEN_MAX, DOMAINS_MAX, PERSISTENCE_S_MAX, TABLE_SIZE_MAX};

/// How a pool remembers its clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct SessionPersistence {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// By what.
    #[serde(rename = "type")]
    #[schemars(with = "PersistenceType")]
    pub(in crate::spec) kind: Option<PersistenceType>,
    /// Name of the cookie. APP_COOKIE needs it. Extension: HTTP_COOKIE may have it. Default there: `SRV`.
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::spec) cookie_name: Option<Line>,
    /// Seconds since the last use after which a client is forgotten. Default: never for SOURCE_IP, 10800 for APP_COOKIE.
    #[schemars(range(min = 1, max = PERSISTENCE_S_MAX))]
    pub(in crate::spec) persistence_timeout: Option<u32>,
    /// IPv4 netmask: clients that are equal under it are one. Default: `255.255.255.255`. SOURCE_IP only.
    pub(in crate::spec) persistence_granularity: Option<Line>,
    /// Extension: the same for IPv6, as the length of a prefix. Default: 128. SOURCE_IP only.
    #[schemars(range(min = 1, max = 128))]
    pub(in crate::spec) ipv6_prefix: Option<u8>,
    /// Extension: most clients remembered; then the one that was away for longest is forgotten. Default: 10240.
    #[schemars(range(min = 1, max = TABLE_SIZE_MAX))]
    pub(in crate::spec) table_size: Option<u32>,
    /// Extension: what is done with the cookie. Default: `INSERT`. HTTP_COOKIE only.
    pub(in crate::spec) mode: Option<CookieMode>,
    /// Extension: members never see the cookie. Default: true. INSERT only.
    pub(in crate::spec) indirect: Option<bool>,
    /// Extension: answers that get the cookie are kept out of shared caches. Default: true. INSERT only.
    pub(in crate::spec) nocache: Option<bool>,
    /// Extension: only answers to POST get the cookie. Default: false. INSERT only.
    pub(in crate::spec) post_only: Option<bool>,
    /// Extension: a member may set the cookie itself. Default: false. INSERT only.
    pub(in crate::spec) preserve: Option<bool>,
    /// Extension: attribute `HttpOnly`. Default: false. INSERT only.
    pub(in crate::spec) http_only: Option<bool>,
    /// Extension: attribute `Secure`. Default: false. INSERT only.
    pub(in crate::spec) secure: Option<bool>,
    /// Extension: attribute `SameSite`. Default: none. INSERT only.
    pub(in crate::spec) same_site: Option<SameSite>,
    /// Extension: an attribute `domain` for each. Default: none. INSERT only.
    #[schemars(length(max = DOMAINS_MAX))]
    #[expect(dead_code, reason = "read where they stand: the tree knows their places")]
    pub(in crate::spec) domains: Option<Vec<Line>>,
    /// Extension: attribute `Max-Age`, in seconds. Default: none. INSERT only.
    #[schemars(range(min = 1, max = PERSISTENCE_S_MAX))]
    pub(in crate::spec) max_age: Option<u32>,
    /// Extension: seconds since its last use after which the cookie counts no more. Default: none. INSERT only.
    #[schemars(range(min = 1, max = PERSISTENCE_S_MAX))]
    pub(in crate::spec) max_idle: Option<u32>,
    /// Extension: seconds since it was given out after which it counts no more. Default: none. INSERT only.
    #[schemars(range(min = 1, max = PERSISTENCE_S_MAX))]
    pub(in crate::spec) max_life: Option<u32>,
    /// Extension: bytes of the value that count. Default: 64. APP_COOKIE only.
    #[schemars(range(min = 1, max = APP_COOKIE_LEN_MAX))]
    pub(in crate::spec) length: Option<u16>,
    /// Extension: where in a target the session may stand too. Default: nowhere. APP_COOKIE only.
    pub(in crate::spec) in_url: Option<InUrl>,
    /// Extension: a value the client brings is learned when the member sets none. Default: false. APP_COOKIE only.
    pub(in crate::spec) request_learn: Option<bool>,
    /// Extension: names that only begin with `cookie_name` count, and what follows is the value. Default: false.
    /// APP_COOKIE only.
    pub(in crate::spec) prefix: Option<bool>,
}

/// By what a client is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum PersistenceType {
    /// Its address.
    SourceIp,
    /// A cookie that is made here.
    HttpCookie,
    /// A cookie that the application sets.
    AppCookie,
}

impl PersistenceType {
    /// As it is written.
    pub(in crate::spec) fn word(self) -> &'static str {
        match self {
            Self::SourceIp => "SOURCE_IP",
            Self::HttpCookie => "HTTP_COOKIE",
            Self::AppCookie => "APP_COOKIE",
        }
    }
}

/// What is done with a persistence cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum CookieMode {
    /// It is made here, and members need not know of it.
    Insert,
    /// Members set it, and its value is replaced.
    Rewrite,
    /// Members set it, and its value gets a prefix that they never see.
    Prefix,
}

impl CookieMode {
    /// As it is written.
    pub(in crate::spec) fn word(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Rewrite => "REWRITE",
            Self::Prefix => "PREFIX",
        }
    }
}

/// When a browser sends a cookie with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    Lax,
    /// Always; browsers want `secure` with it.
    None,
}

/// Where in a target a session may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum InUrl {
    /// `/path;name=value`
    PathParameter,
    /// `/path?name=value`
    Query,
}
