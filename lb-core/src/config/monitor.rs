//! Health monitors: what a member is asked, how often, and what counts as well. Names and defaults are Octavia's;
//! what Octavia does not have is marked as an extension.

use serde::{Deserialize, Serialize};

use crate::id::MonitorId;

/// One rule by which members of a pool are judged. A member is up only while every monitor of its pool that is
/// administratively up says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthMonitor {
    /// Identity.
    pub id: MonitorId,
    /// What people call it; may be empty.
    pub name: String,
    /// False: nobody is asked, and the monitor has no say.
    pub admin_state_up: bool,
    /// What is asked (Octavia's `type` and what belongs to it).
    pub probe: Probe,
    /// From one question to the next, in milliseconds. Octavia's `delay`.
    pub delay_ms: u64,
    /// The same while a member is neither surely up nor surely down. Extension; default: `delay_ms`.
    pub delay_fast_ms: u64,
    /// The same while a member is down. Extension; default: `delay_ms`.
    pub delay_down_ms: u64,
    /// How long one question may take, connecting included; at most `delay_ms`.
    pub timeout_ms: u64,
    /// Good answers in a row after which a member is up again (HAProxy's rise), 1..=10.
    pub max_retries: u8,
    /// Bad ones in a row after which it is down (HAProxy's fall), 1..=10; default 3.
    pub max_retries_down: u8,
    /// Every connection of a probe begins with a PROXY header. Extension.
    pub send_proxy: Option<ProxyVersion>,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
}

impl HealthMonitor {
    /// Its name, or its id when it has none.
    pub fn label(&self) -> String {
        super::label(&self.name, self.id)
    }
}

/// What a member is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Probe {
    /// `PING`: an ICMP echo.
    Ping,
    /// `TCP`: a connection that is made and closed.
    Tcp,
    /// `HTTP`: one request.
    Http(HttpProbe),
    /// `HTTPS`: the same over TLS.
    Https(HttpProbe, TlsProbe),
    /// `TLS-HELLO`: a TLS handshake, completed and closed.
    TlsHello(TlsProbe),
    /// `MYSQL`: the server's greeting is read; with a user, a login without a password is tried. Extension.
    Mysql(MysqlProbe),
}

impl Probe {
    /// The host that its request names, if it has a request that names one.
    pub fn domain_name(&self) -> Option<&str> {
        match self {
            Self::Http(http) | Self::Https(http, _) => http.domain_name.as_deref(),
            Self::Ping | Self::Tcp | Self::TlsHello(_) | Self::Mysql(_) => None,
        }
    }
}

/// A request and what its answer must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// Method, default `GET`.
    pub method: String,
    /// Request target in origin form, default `/`.
    pub url_path: String,
    /// HTTP/1.0 (default) or 1.1.
    pub version: HttpVersion,
    /// Value of the Host field; required by HTTP/1.1, where it defaults to the member's address.
    pub domain_name: Option<String>,
    /// Statuses that are good.
    pub expected_codes: ExpectedCodes,
    /// More fields of the request, ordered by name; no two share one. Extension.
    pub headers: Vec<(String, String)>,
    /// What the body must contain within its first [`BODY_LOOKED_AT_MAX`] bytes. Extension.
    pub expected_body: Option<ExpectedBody>,
}

/// Largest a regular expression of [`ExpectedBody::Regex`] may be once compiled, in bytes.
pub const BODY_REGEX_COMPILED_MAX: usize = 1 << 20;

/// Bytes of an answer's body that are searched for what is expected.
pub const BODY_LOOKED_AT_MAX: usize = 64 * 1024;

/// HTTP versions of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// `1.0`.
    #[serde(rename = "1.0")]
    V1_0,
    /// `1.1`.
    #[serde(rename = "1.1")]
    V1_1,
}

/// Statuses as Octavia writes them: `200`, `200,202`, `200-204`, or a mix. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedCodes(pub Vec<(u16, u16)>);

impl ExpectedCodes {
    /// True if `status` is one of them.
    pub fn contain(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl std::fmt::Display for ExpectedCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// What a body must contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpectedBody {
    /// This text.
    Text(String),
    /// Something this regular expression matches. It was compiled once, within limits.
    Regex(String),
}

/// A regular expression for bodies, compiled within [`BODY_REGEX_COMPILED_MAX`]. It matches in time linear in the
/// body; `^` and `$` are those of the whole body unless it says `(?m)`. Classes like `\w` and letters under `(?i)` are
/// ASCII's: Unicode's tables would weigh on every VIP, and bodies are bytes.
pub fn compile_body_regex(pattern: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(BODY_REGEX_COMPILED_MAX)
        .dfa_size_limit(BODY_REGEX_COMPILED_MAX)
        .build()
}

/// How a probe speaks TLS. Extensions but for what Octavia implies: nothing is verified unless asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsProbe {
    /// The certificate must be valid for the server name (SNI) or, without one, for the member's address.
    pub verify: bool,
    /// PEM file with the authorities to trust; `None`: the system's.
    pub ca_file: Option<std::path::PathBuf>,
    /// Server name that is asked for; `None`: the request's `domain_name` if it has one, else none.
    pub sni: Option<String>,
}

/// How a MySQL server is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlProbe {
    /// Who logs in, without a password; `None`: only the greeting is read.
    pub user: Option<String>,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Live traffic as a witness. Extension (HAProxy's `observe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What counts as a failure.
    pub layer: ObservedLayer,
    /// So many in a row make a member suspect, 1..=1000; default 10. A suspect member is asked at once and
    /// counts one failed probe.
    pub failures: u32,
}

/// What live traffic is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ObservedLayer {
    /// Connections that fail.
    Connection,
    /// Those, and answers that are missing, unreadable, or 500, 502 to 504 and above (good: 100-499, 501, 505).
    Http,
}

impl ObservedLayer {
    /// True if an answer of that status says that the member is well (HAProxy's list).
    pub fn is_good_status(status: u16) -> bool {
        matches!(status, 100..=499 | 501 | 505)
    }
}

/// A port on which the member tells its own weight and state (HAProxy's `agent-check`). Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCheck {
    /// Port on the member's (monitor) address.
    pub port: u16,
    /// From one question to the next, in milliseconds.
    pub delay_ms: u64,
    /// How long one may take.
    pub timeout_ms: u64,
    /// Sent before the line is read; may be empty.
    pub send: String,
}

/// What becomes of connections when their member is marked down. Extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnMarkedDown {
    /// They go on.
    #[default]
    KeepSessions,
    /// They are closed.
    ShutdownSessions,
}
