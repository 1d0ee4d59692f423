//! The first floor: what an operator wrote, with the place of every word.
//!
//! A document is read in four steps, each in a file of its own:
//!
//! 1. `yaml` or `json` turn text into a `tree` of nodes with their places; `build` keeps its limits.
//! 2. `check` holds the tree against the `shape` compiled from the JSON Schema of `types`: unknown keys,
//!    wrong kinds, ranges, missing keys. What is wrong is reported and marked as rejected.
//! 3. What is left deserialises into `types`, each mapping with its node's id.
//! 4. `validate` is the border to [`crate::config`]: it looks at what only several values together can get
//!    wrong, says where by those ids, and builds the second floor.
//!
//! So the types are the only description of the document, every mistake is found in one pass at its own place,
//! and a value already reported cannot cause a second mistake: later steps do not see it.

mod build;
mod check;
mod json;
mod later;
mod mistake;
mod near;
mod scalar;
mod shape;
mod tree;
mod types;
mod validate;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

pub use mistake::{Mistake, Mistakes};
pub use write::write;

use build::Builder;
use mistake::Findings;
use tree::{Place, Span, Spot, Tree};

use crate::config::LoadBalancer;

/// Longest document, in bytes.
pub const TEXT_LEN_MAX: usize = 4 << 20;
/// Deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 64;
/// Most values in one document.
pub const NODES_MAX: usize = 1_000_000;
/// Most mistakes listed for one document.
pub const MISTAKES_MAX: usize = 1000;
/// Most mistakes drawn with their line.
pub const DRAWN_MAX: usize = 100;
/// Most listeners of a load balancer.
pub const LISTENERS_MAX: usize = 256;
/// Most pools of a load balancer, inline and shared together.
pub const POOLS_MAX: usize = 1024;
/// Most DNS servers of a load balancer.
pub const RESOLVERS_MAX: usize = 8;
/// Most members of one pool.
pub const MEMBERS_MAX: usize = 4096;
/// Most health monitors of one pool.
pub const MONITORS_MAX: usize = 8;
/// Most networks whose PROXY headers a listener reads.
pub const TRUSTED_MAX: usize = 256;
/// Most fields a monitor adds to its request.
pub const HEADERS_MAX: usize = 64;
/// Longest value of such a field, in characters.
pub const HEADER_VALUE_MAX: usize = 4096;
/// Longest text or regular expression that a monitor looks for in a body, in characters.
pub const BODY_PATTERN_MAX: usize = 1024;
/// Most different regular expressions in one document: each takes milliseconds to compile.
pub const REGEXES_MAX: usize = 256;
/// Most different regular expressions in rules of L7 policies of one document.
pub const L7_REGEXES_MAX: usize = 256;
/// Highest position of an L7 policy (Octavia: that of a signed 32-bit number).
pub const POLICY_POSITION_MAX: u32 = 2_147_483_647;
/// Longest delay or timeout of a health check, and longest slow start, in seconds: a day.
pub const SECONDS_MAX: u64 = 86_400;
/// Most files or folders of certificates of one listener, beside its default.
pub const SNI_CONTAINERS_MAX: usize = 1024;
/// Longest list of cipher suites, in characters (Octavia: 2048).
pub const TLS_CIPHERS_LEN_MAX: usize = 2048;
/// Longest name, description, tag or foreign id, in characters (Octavia: 255).
pub const TEXT_MAX: usize = 255;
/// Longest timeout in milliseconds: 24 days (Octavia).
pub const TIMEOUT_MS_MAX: u64 = 2_073_600_000;
/// Longest body of an error page, in bytes.
pub const ERROR_PAGE_LEN_MAX: usize = 16 << 10;
/// Statuses whose page a listener may replace: those a data plane answers by itself.
pub const ERROR_PAGE_STATUSES: [u16; 16] =
    [400, 403, 404, 405, 408, 413, 414, 417, 429, 431, 500, 501, 502, 503, 504, 505];

/// Reads and validates a document, YAML or JSON. `origin` names it in messages: a file's path, or `<request>`.
pub fn read(origin: &str, text: &str) -> Result<LoadBalancer, Mistakes> {
    let mut findings = Findings::default();
    match understand(text, &mut findings) {
        Some(config) if findings.is_empty() => Ok(config),
        _ => Err(findings.into_mistakes(origin, if text.len() > TEXT_LEN_MAX { "" } else { text })),
    }
}

/// JSON Schema (draft 2020-12) of the document, generated from the types of this floor.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(types::Document).to_value()
}

/// The founding document: the VIP of the first example, with every key most people need.
pub fn example() -> &'static str {
    include_str!("example.yaml")
}

/// `None` only with at least one finding.
fn understand(text: &str, findings: &mut Findings) -> Option<LoadBalancer> {
    let mut tree = parse(text, findings)?;
    check::check(&mut tree, &shape::document(), findings);
    if tree.is_rejected(Tree::ROOT) {
        return None;
    }
    match serde_json::from_value::<types::Document>(tree.value(Tree::ROOT)) {
        Ok(document) => validate::validate(&tree, document.loadbalancer?, findings),
        Err(error) => {
            // Our fault, not the operator's: the check let through what the types do not take.
            let message = format!("this document could not be understood: {error}");
            findings.push(tree.spot(Tree::ROOT), message, None);
            None
        }
    }
}

/// Text to tree. `None` if reading stopped, with a finding that says where.
fn parse(text: &str, findings: &mut Findings) -> Option<Tree> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if let Some((place, message)) = unreadable(text) {
        findings.push(Spot { span: Span::point(place), path: String::new() }, message, None);
        return None;
    }
    if !text.trim_start().starts_with('{') {
        let mut builder = Builder::default();
        let done = yaml::read(text, &mut builder);
        return finish(builder, done.is_ok(), findings);
    }
    // Either JSON or YAML in flow style. What neither takes is explained by the one that understood more of it.
    let mut builder = Builder::default();
    let fault = match json::read(text, &mut builder) {
        Ok(()) => return finish(builder, true, findings),
        Err(json::Failure::Stop) => return finish(builder, false, findings),
        Err(json::Failure::Fault(fault)) => fault,
    };
    let mut flow = Builder::default();
    let done = yaml::read(text, &mut flow);
    if done.is_err() && flow.findings.last_place() <= Some(fault.place) {
        builder.mistake(Span::point(fault.place), format!("this is not JSON: {}", fault.message), None);
        return finish(builder, false, findings);
    }
    finish(flow, done.is_ok(), findings)
}

/// What makes a text no document at all, before anybody looks at its structure.
fn unreadable(text: &str) -> Option<(Place, String)> {
    if text.len() > TEXT_LEN_MAX {
        return Some((Place::START, format!("the document is longer than {TEXT_LEN_MAX} bytes")));
    }
    let mut place = Place::START;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => place = Place { line: place.line + 1, column: 0 },
            // YAML would start a new line here and editors would not: line numbers would lie.
            '\r' if chars.peek() != Some(&'\n') => {
                return Some((place, "a carriage return without a line feed".to_owned()));
            }
            _ if build::forbidden(c) => {
                return Some((place, format!("the control character U+{:04X} is not allowed", u32::from(c))));
            }
            _ => {}
        }
        place.column += 1;
    }
    None
}

fn finish(builder: Builder, done: bool, findings: &mut Findings) -> Option<Tree> {
    let (tree, found) = builder.finish();
    *findings = found;
    done.then_some(tree)
}
