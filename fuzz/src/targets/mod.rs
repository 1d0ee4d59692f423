//! The targets, a file for each.

mod agent_line;
mod chunked;
mod client_hello;
mod control;
mod cookies;
mod dns_answer;
mod document;
mod h2_fields;
mod h2_frames;
mod h2_request;
mod hash_rule;
mod l7_policies;
mod probe_answer;
mod proxy_header;
mod rdp_cookie;
mod request_head;
mod request_judged;
mod request_stream;
mod response_head;
mod response_judged;
mod response_stream;
mod tables;

use crate::Target;

/// A head of the longest kind and more behind it than one buffer takes.
const STREAM_LEN_MAX: usize = 48 * 1024;

const fn target(name: &'static str, run: fn(&[u8]), len_max: usize) -> Target {
    Target { name, run, len_max, words: "", also: &[] }
}

/// One that reads HTTP/1, beside others of the same kind.
const fn http(name: &'static str, run: fn(&[u8]), len_max: usize, also: &'static [&'static str]) -> Target {
    Target { name, run, len_max, words: "http", also }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("agent_line", agent_line::run, 512),
    http("chunked", chunked::run, 4096, &[]),
    target("client_hello", client_hello::run, 4096),
    target("control", control::run, 4096),
    target("cookies", cookies::run, 4096),
    target("dns_answer", dns_answer::run, 1024),
    Target { words: "document", ..target("document", document::run, 8192) },
    Target { words: "h2", ..target("h2_fields", h2_fields::run, 4096) },
    Target { words: "h2", ..target("h2_frames", h2_frames::run, 4096) },
    Target { words: "h2", ..target("h2_request", h2_request::run, 4096) },
    target("hash_rule", hash_rule::run, 4096),
    http("l7_policies", l7_policies::run, 4096, &["request_head", "request_stream"]),
    http("probe_answer", probe_answer::run, 4096, &[]),
    target("proxy_header", proxy_header::run, 1024),
    target("rdp_cookie", rdp_cookie::run, 1024),
    http("request_head", request_head::run, 4096, &["request_stream"]),
    http("request_stream", request_stream::run, STREAM_LEN_MAX, &["request_head", "request_judged"]),
    http("request_judged", request_judged::run, 4096, &["request_head", "request_stream"]),
    http("response_head", response_head::run, 4096, &["response_stream"]),
    http("response_stream", response_stream::run, STREAM_LEN_MAX, &["response_head", "response_judged"]),
    http("response_judged", response_judged::run, 4096, &["response_head", "response_stream"]),
    target("tables", tables::run, 4096),
];
