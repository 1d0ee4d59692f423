//! Whose PROXY headers are read, as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Line, NodeId};
use crate::spec::TRUSTED_MAX;

/// Who may say, by a PROXY header (version 1 or 2), who its clients are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ProxyProtocol {
    #[serde(rename = "\u{0}at")]
    #[schemars(skip)]
    pub(in crate::spec) at: NodeId,
    /// Networks of those that are believed, like `192.0.2.0/24`. What others send is never read as a header.
    #[schemars(with = "Vec<Line>", length(min = 1, max = TRUSTED_MAX))]
    pub(in crate::spec) trusted: Option<Vec<Line>>,
    /// True: they must send one. False: they may, and are served as they are if they do not. Default: true.
    pub(in crate::spec) required: Option<bool>,
}
