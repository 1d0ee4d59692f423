//! L7 policies and their rules, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::pool::{DefaultPool, PoolReference};
use super::{Headers, Line, NodeId, Pool, Text};
use crate::config::l7::{EDITS_MAX, RULES_MAX, URL_MAX, VALUE_MAX};
use crate::id::{L7PolicyId, L7RuleId, PoolId};
use crate::spec::POLICY_POSITION_MAX;

/// What to do with requests that all rules hold of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct L7Policy {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Its UUID. Without one it is derived from the listener and the name, or its place among the listener's policies.
    pub(in crate::spec) id: Option<L7PolicyId>,
    /// What people call it.
    pub(in crate::spec) name: Option<Line>,
    /// Free text.
    pub(in crate::spec) description: Option<Text>,
    /// What is done.
    #[schemars(with = "PolicyAction")]
    pub(in crate::spec) action: Option<PolicyAction>,
    /// The id of one of `pools`. REDIRECT_TO_POOL only.
    pub(in crate::spec) redirect_pool_id: Option<PoolId>,
    /// A pool, or a reference to one of `pools` by `name` or `id`. REDIRECT_TO_POOL only.
    #[schemars(with = "Option<DefaultPool>")]
    pub(in crate::spec) redirect_pool: Option<Pool>,
    /// Where clients are sent. REDIRECT_TO_URL only.
    #[schemars(length(min = 1, max = URL_MAX))]
    pub(in crate::spec) redirect_url: Option<Line>,
    /// What clients are sent to, followed by path and query. REDIRECT_PREFIX only.
    #[schemars(length(min = 1, max = URL_MAX))]
    pub(in crate::spec) redirect_prefix: Option<Line>,
    /// 301, 302, 303, 307 or 308. Default: 302. REDIRECT_TO_URL and REDIRECT_PREFIX only.
    #[schemars(range(min = 301, max = 308))]
    pub(in crate::spec) redirect_http_code: Option<u16>,
    /// Its place among those with the same kind of action. Default: behind all that have one.
    #[schemars(range(min = 1, max = POLICY_POSITION_MAX))]
    pub(in crate::spec) position: Option<u32>,
    /// False: as if it were not there. Default: true.
    pub(in crate::spec) admin_state_up: Option<bool>,
    /// All must hold. Without one the policy matches nothing.
    #[schemars(length(max = RULES_MAX))]
    pub(in crate::spec) rules: Option<Vec<L7Rule>>,
    /// Labels; recorded, not interpreted.
    pub(in crate::spec) tags: Option<Vec<Line>>,
    /// Extension: fields a member does not get. PASS and REDIRECT_TO_POOL only, as all that follows.
    #[schemars(length(max = EDITS_MAX))]
    pub(in crate::spec) remove_request_headers: Option<Vec<Line>>,
    /// Extension: fields a member gets once, whatever the client sent.
    pub(in crate::spec) set_request_headers: Option<Headers>,
    /// Extension: fields a member gets in addition.
    pub(in crate::spec) append_request_headers: Option<Headers>,
    /// Extension: fields of the answer the client does not get.
    #[schemars(length(max = EDITS_MAX))]
    pub(in crate::spec) remove_response_headers: Option<Vec<Line>>,
    /// Extension: fields the client gets once, whatever the member sent.
    pub(in crate::spec) set_response_headers: Option<Headers>,
    /// Extension: fields the client gets in addition.
    pub(in crate::spec) append_response_headers: Option<Headers>,
    /// Extension: another beginning for paths.
    pub(in crate::spec) rewrite_path_prefix: Option<RewritePathPrefix>,
    /// Extension: copies of requests to another pool.
    pub(in crate::spec) mirror: Option<Mirror>,
}

/// What a policy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum PolicyAction {
    /// It is answered with 403; at an HTTPS listener the connection is reset.
    Reject,
    /// Members of another pool serve it.
    RedirectToPool,
    /// The client is sent to a URL.
    RedirectToUrl,
    /// The client is sent to a prefix followed by path and query.
    RedirectPrefix,
    /// Extension: nothing but what the policy changes.
    Pass,
}

/// One thing that must hold of a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct L7Rule {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Its UUID. Without one it is derived from the policy and its place among the policy's rules.
    pub(in crate::spec) id: Option<L7RuleId>,
    /// What is looked at.
    #[serde(rename = "type")]
    #[schemars(with = "RuleType")]
    pub(in crate::spec) kind: Option<RuleType>,
    /// How it is compared. May be left out where only EQUAL_TO makes sense.
    pub(in crate::spec) compare_type: Option<CompareType>,
    /// Which of them: the name of a field, a cookie, a parameter, a part of the certificate's subject.
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::spec) key: Option<Line>,
    /// What it is compared with.
    #[schemars(with = "RuleValue")]
    pub(in crate::spec) value: Option<RuleValue>,
    /// True: it holds when the comparison does not. Default: false.
    pub(in crate::spec) invert: Option<bool>,
    /// False: as if it were not there. Default: true.
    pub(in crate::spec) admin_state_up: Option<bool>,
    /// Labels; recorded, not interpreted.
    pub(in crate::spec) tags: Option<Vec<Line>>,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum RuleType {
    /// The host, with its port if it names one; at an HTTPS listener the server its client asks for. Without regard to case.
    HostName,
    /// The path, without the query.
    Path,
    /// What follows the last dot of the path's last segment.
    FileType,
    /// An element of a field.
    Header,
    /// A cookie.
    Cookie,
    /// The client showed a certificate.
    SslConnHasCert,
    /// What came of verifying it.
    SslVerifyResult,
    /// A field of its subject.
    SslDnField,
    /// Extension: the method.
    Method,
    /// Extension: a parameter of the query, or all of it.
    Query,
    /// Extension: the client's address is in one of these networks.
    SourceIp,
    /// Extension: so many of a hundred requests or clients.
    Percent,
}

impl RuleType {
    /// As it is written.
    pub(in crate::spec) fn word(self) -> &'static str {
        match self {
            Self::HostName => "HOST_NAME",
            Self::Path => "PATH",
            Self::FileType => "FILE_TYPE",
            Self::Header => "HEADER",
            Self::Cookie => "COOKIE",
            Self::SslConnHasCert => "SSL_CONN_HAS_CERT",
            Self::SslVerifyResult => "SSL_VERIFY_RESULT",
            Self::SslDnField => "SSL_DN_FIELD",
            Self::Method => "METHOD",
            Self::Query => "QUERY",
            Self::SourceIp => "SOURCE_IP",
            Self::Percent => "PERCENT",
        }
    }
}

/// How a rule compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::spec) enum CompareType {
    /// A regular expression matches somewhere in it.
    Regex,
    /// It begins with the value.
    StartsWith,
    /// It ends with the value.
    EndsWith,
    /// It contains the value.
    Contains,
    /// It is the value.
    EqualTo,
}

/// A value: text, or what text without quotes may look like.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::spec) enum RuleValue {
    Flag(bool),
    Number(#[schemars(range(min = 0, max = u32::MAX))] u32),
    Text(#[schemars(length(min = 1, max = VALUE_MAX))] Line),
}

impl RuleValue {
    /// As text.
    pub(in crate::spec) fn into_text(self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(line) => line.0,
        }
    }
}

/// Another beginning for paths that begin with whole segments `from`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct RewritePathPrefix {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// The beginning that is replaced: whole segments.
    #[schemars(with = "Line", length(max = VALUE_MAX))]
    pub(in crate::spec) from: Option<Line>,
    /// What replaces it.
    #[schemars(with = "Line", length(max = VALUE_MAX))]
    pub(in crate::spec) to: Option<Line>,
}

/// Copies of requests to another pool. Their answers are thrown away.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct Mirror {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    #[expect(dead_code, reason = "every mapping has it; nothing asks this one for its place")]
    pub(in crate::spec) at: NodeId,
    /// Where they go: one of `pools`.
    #[schemars(with = "PoolReference")]
    pub(in crate::spec) pool: Option<Pool>,
    /// Of how many of a hundred requests. Default: 100.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::spec) percent: Option<u8>,
}
