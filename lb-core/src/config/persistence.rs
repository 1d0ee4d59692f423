//! What makes a client's next request go where its last one went: Octavia's `session_persistence`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Name of a persistence cookie that a document leaves out (Octavia's and HAProxy's habit).
pub const COOKIE_NAME: &str = "SRV";
/// Entries of a table whose document says nothing: HAProxy's `size 10k`.
pub const TABLE_SIZE: u32 = 10 * 1024;
/// Most entries of a table.
pub const TABLE_SIZE_MAX: u32 = 1 << 20;
/// Seconds since its last use after which an application's session is forgotten: three hours, as OpenStack's agents set it.
pub const APP_COOKIE_TIMEOUT_S: u32 = 3 * 3600;
/// Bytes of an application's cookie that tell sessions apart: HAProxy's `len 64`.
pub const APP_COOKIE_LEN: u16 = 64;
/// Most bytes of it.
pub const APP_COOKIE_LEN_MAX: u16 = 1024;
/// Longest time any kind of persistence counts, in seconds: a year.
pub const PERSISTENCE_S_MAX: u32 = 365 * 86_400;
/// Most domains of a cookie.
pub const DOMAINS_MAX: usize = 16;

/// How a pool remembers its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SessionPersistence {
    /// By address, in a table.
    SourceIp(SourceIp),
    /// By a cookie of our own; no table.
    HttpCookie(HttpCookie),
    /// By a cookie of the application's, in a table.
    AppCookie(AppCookie),
}

impl SessionPersistence {
    /// True if requests must be read for it.
    pub fn needs_http(&self) -> bool {
        !matches!(self, Self::SourceIp(_))
    }
}

impl fmt::Display for SessionPersistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceIp(_) => "SOURCE_IP",
            Self::HttpCookie(_) => "HTTP_COOKIE",
            Self::AppCookie(_) => "APP_COOKIE",
        })
    }
}

/// Clients are told apart by their address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIp {
    /// Seconds since a client's last visit after which it is forgotten; `None`: only when the table is full.
    pub timeout_s: Option<u32>,
    /// Leading bits of an IPv4 address that tell clients apart, 0..=32.
    pub ipv4_prefix: u8,
    /// The same for IPv6, 1..=128. Extension.
    pub ipv6_prefix: u8,
    /// Most clients remembered, 1..=[`TABLE_SIZE_MAX`]. Extension.
    pub table_size: u32,
}

/// A member is named in a cookie that nobody but us can make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCookie {
    /// A token; compared with upper and lower case.
    pub cookie_name: String,
    /// Whose cookie it is, and what becomes of it. Extension.
    pub mode: CookieMode,
}

/// What a data plane does with the cookie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CookieMode {
    /// It is ours.
    Insert(Insert),
    /// It is the member's: its value is replaced.
    Rewrite,
    /// It is the member's: its value gets a prefix, which members never see.
    Prefix,
}

/// A cookie of our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insert {
    /// Members never see it.
    pub indirect: bool,
    /// Answers that get the cookie and that a shared cache could keep are marked private.
    pub nocache: bool,
    /// Only answers to POST get it.
    pub post_only: bool,
    /// A member may set the cookie itself; then its own goes to the client.
    pub preserve: bool,
    /// Attribute `HttpOnly`.
    pub http_only: bool,
    /// Attribute `Secure`.
    pub secure: bool,
    /// Attribute `SameSite`.
    pub same_site: Option<SameSite>,
    /// An attribute `domain` for each: host names, maybe with a dot before.
    pub domains: Vec<String>,
    /// Attribute `Max-Age`, in seconds.
    pub max_age_s: Option<u32>,
    /// Seconds since its last use after which it counts no more.
    pub max_idle_s: Option<u32>,
    /// Seconds since it was given out after which it counts no more.
    pub max_life_s: Option<u32>,
}

/// When a browser sends the cookie with requests from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    Lax,
    /// Always.
    None,
}

impl SameSite {
    /// As the attribute has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// Sessions are told apart by a cookie that the application sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCookie {
    /// A token; compared with upper and lower case.
    pub cookie_name: String,
    /// Seconds since its last use after which a session is forgotten.
    pub timeout_s: u32,
    /// Bytes of the value that count, 1..=[`APP_COOKIE_LEN_MAX`]. Extension.
    pub length: u16,
    /// Where in a target the session may stand too. Extension.
    pub in_url: Option<InUrl>,
    /// A value that a client brings is learned when the member sets none. Extension.
    pub request_learn: bool,
    /// Cookies whose name only begins with `cookie_name` count, and what follows it is the value. Extension.
    pub prefix: bool,
    /// Most sessions remembered, 1..=[`TABLE_SIZE_MAX`]. Extension.
    pub table_size: u32,
}

/// Where in a target a session may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InUrl {
    /// `/path;name=value`
    PathParameter,
    /// `/path?name=value`
    Query,
}
