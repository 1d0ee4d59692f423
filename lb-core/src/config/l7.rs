//! L7 policies: what becomes of a request, by what it looks like. Names and defaults are Octavia's; what Octavia does
//! not have is marked as an extension.

use serde::{Deserialize, Serialize};

use crate::id::{L7PolicyId, L7RuleId, PoolId};
use crate::limits::cidr::Cidr;

/// Most policies of one listener.
pub const POLICIES_MAX: usize = 1024;
/// Most rules of one policy (Octavia: 50).
pub const RULES_MAX: usize = 50;
/// Most policies of one listener that change requests or answers, or copy requests.
pub const CHANGING_MAX: usize = 64;
/// Most fields that one policy removes, sets or appends, each on its own.
pub const EDITS_MAX: usize = 32;
/// Longest value of a rule, and longest value of a field, in characters.
pub const VALUE_MAX: usize = 1024;
/// Longest URL or prefix of a redirect, in characters.
pub const URL_MAX: usize = 2048;
/// Largest a regular expression may be once compiled, in bytes.
pub const REGEX_COMPILED_MAX: usize = 128 << 10;

/// What to do with requests that all rules hold of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L7Policy {
    /// Identity.
    pub id: L7PolicyId,
    /// What people call it; may be empty.
    pub name: String,
    /// Free text.
    pub description: String,
    /// False: as if it were not there.
    pub admin_state_up: bool,
    /// What is done.
    pub action: Action,
    /// All that are administratively up must hold; a policy without one matches nothing. At most [`RULES_MAX`].
    pub rules: Vec<L7Rule>,
    /// What it changes of the request and its answer; only with [`Action::Pass`] and [`Action::ToPool`]. Extension.
    #[serde(default)]
    pub changes: Changes,
    /// Where copies of requests go; likewise. Extension.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
}

impl L7Policy {
    /// Its name, or its id when it has none.
    pub fn label(&self) -> String {
        super::label(&self.name, self.id)
    }

    /// True if it does more than to choose.
    pub fn is_changing(&self) -> bool {
        self.changes != Changes::default() || self.mirror.is_some()
    }
}

/// What a policy does with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// `REJECT`: 403; of a relayed connection a reset.
    Reject,
    /// `REDIRECT_TO_URL`: a redirect to this URL.
    ToUrl {
        /// Absolute, printable ASCII.
        url: String,
        /// Its status.
        code: RedirectCode,
    },
    /// `REDIRECT_PREFIX`: a redirect to this, followed by path and query of the request.
    ToPrefix {
        /// An absolute URL, printable ASCII.
        prefix: String,
        /// Its status.
        code: RedirectCode,
    },
    /// `REDIRECT_TO_POOL`: members of this pool serve it.
    ToPool(PoolId),
    /// `PASS`: nothing but what the policy changes. Extension.
    Pass,
}

impl Action {
    /// Octavia's word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Reject => "REJECT",
            Self::ToUrl { .. } => "REDIRECT_TO_URL",
            Self::ToPrefix { .. } => "REDIRECT_PREFIX",
            Self::ToPool(_) => "REDIRECT_TO_POOL",
            Self::Pass => "PASS",
        }
    }
}

/// Status of a redirect: 301, 302, 303, 307 or 308.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectCode {
    /// 301
    MovedPermanently,
    /// 302
    Found,
    /// 303
    SeeOther,
    /// 307
    TemporaryRedirect,
    /// 308
    PermanentRedirect,
}

impl RedirectCode {
    /// As a number.
    pub fn status(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

impl From<RedirectCode> for u16 {
    fn from(code: RedirectCode) -> Self {
        code.status()
    }
}

impl TryFrom<u16> for RedirectCode {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            301 => Ok(Self::MovedPermanently),
            302 => Ok(Self::Found),
            303 => Ok(Self::SeeOther),
            307 => Ok(Self::TemporaryRedirect),
            308 => Ok(Self::PermanentRedirect),
            _ => Err("a redirect is 301, 302, 303, 307 or 308"),
        }
    }
}

/// One thing that must hold of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct L7Rule {
    /// Identity.
    pub id: L7RuleId,
    /// False: as if it were not there.
    pub admin_state_up: bool,
    /// True: it holds when the test does not.
    pub invert: bool,
    /// What is looked at, and what it must be.
    pub test: Test,
    /// Labels; recorded, not interpreted.
    pub tags: Vec<String>,
}

/// What is looked at, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// `HOST_NAME`: the host the request is for, with its port if it names one, or the server a client of passed-through TLS
    /// asks for; without regard to case.
    HostName(Comparison),
    /// `PATH`: the path, without the query.
    Path(Comparison),
    /// `FILE_TYPE`: what follows the last dot of the path's last segment. EQUAL_TO or REGEX.
    FileType(Comparison),
    /// `HEADER`: an element of a field of this name.
    Header(String, Comparison),
    /// `COOKIE`: a cookie of this name.
    Cookie(String, Comparison),
    /// `SSL_CONN_HAS_CERT`: the client showed a certificate.
    SslConnHasCert,
    /// `SSL_VERIFY_RESULT`: what came of verifying it, OpenSSL's number.
    SslVerifyResult(u32),
    /// `SSL_DN_FIELD`: a field of its subject.
    SslDnField(String, Comparison),
    /// `METHOD`: the method. Extension.
    Method(Comparison),
    /// `QUERY`: a parameter of this name, or the whole query. Extension.
    Query(Option<String>, Comparison),
    /// `SOURCE_IP`: the client's address is in one of these networks. Extension.
    SourceIp(Vec<Cidr>),
    /// `PERCENT`: so many of a hundred, 0..=100. Extension.
    Percent(u8, PercentKey),
}

/// A text held against another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// In which way.
    pub compare: CompareType,
    /// With what. Never empty; a regular expression was compiled once.
    pub value: String,
}

/// Ways to compare texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CompareType {
    /// The expression matches somewhere.
    Regex,
    /// It begins with it.
    StartsWith,
    /// It ends with it.
    EndsWith,
    /// It contains it.
    Contains,
    /// It is it.
    EqualTo,
}

/// What decides on which side of a percentage a request is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PercentKey {
    /// Chance, for each request anew.
    Draw,
    /// The client's address.
    SourceIp,
    /// The cookie of that name; the client's address if there is none.
    Cookie(String),
    /// The field of that name; the client's address if there is none.
    Header(String),
}

/// What a policy changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Fields of the request that a member gets.
    pub request: Edits,
    /// Fields of the answer that the client gets.
    pub response: Edits,
    /// The beginning of the path that a member gets.
    pub rewrite: Option<Rewrite>,
}

/// What becomes of fields: first some are removed, then some set, then some appended. None of them frames a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edits {
    /// Names of fields that are taken away.
    pub remove: Vec<String>,
    /// Name and value of fields that are there once, whatever was there before; ordered by name.
    pub set: Vec<(String, String)>,
    /// Name and value of fields that are added; ordered by name.
    pub append: Vec<(String, String)>,
}

/// Another beginning for paths that begin with whole segments `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// Begins with `/`.
    pub from: String,
    /// Begins with `/`.
    pub to: String,
}

/// Copies of requests to another pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Where they go.
    pub pool: PoolId,
    /// Of how many of a hundred requests, 1..=100.
    pub percent: u8,
}

/// A regular expression, compiled within [`REGEX_COMPILED_MAX`]. It is searched for, in time linear in the text; `^` and
/// `$` are the text's ends. Classes like `\w`, and letters when case does not matter, are ASCII's.
pub fn compile_regex(pattern: &str, any_case: bool) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(any_case)
        .size_limit(REGEX_COMPILED_MAX)
        .dfa_size_limit(2 * REGEX_COMPILED_MAX)
        .build()
}
