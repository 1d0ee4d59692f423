//! What a policy changes, crossing the border: which fields may be touched, and what their values may be.

use super::{Border, NodeId, types};
use crate::config::InsertHeaders;
use crate::config::l7::{Changes, EDITS_MAX, Edits, Rewrite, VALUE_MAX};
use crate::l7::change::{VARIABLES, Value};
use crate::spec::mistake::shown;
use crate::spec::near::nearest;
use crate::spec::tree::{Kind, Spot};

/// Which message fields belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// What is done to a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Remove,
    Set,
    Append,
}

impl Border<'_> {
    pub(super) fn changes(&mut self, policy: &mut types::L7Policy, inserted: InsertHeaders) -> Changes {
        let at = policy.at;
        let request = Edits {
            remove: self.removed(at, "remove_request_headers", policy.remove_request_headers.take(), Side::Request),
            set: self.fields(policy.set_request_headers.as_ref(), Side::Request, Deed::Set, inserted),
            append: self.fields(policy.append_request_headers.as_ref(), Side::Request, Deed::Append, inserted),
        };
        let response = Edits {
            remove: self.removed(at, "remove_response_headers", policy.remove_response_headers.take(), Side::Response),
            set: self.fields(policy.set_response_headers.as_ref(), Side::Response, Deed::Set, inserted),
            append: self.fields(policy.append_response_headers.as_ref(), Side::Response, Deed::Append, inserted),
        };
        let rewrite = policy.rewrite_path_prefix.take().and_then(|written| self.rewrite(written));
        Changes { request, response, rewrite }
    }

    fn removed(&mut self, at: NodeId, key: &str, written: Option<Vec<types::Line>>, side: Side) -> Vec<String> {
        let list = self.tree.entry(at, key).map(|entry| entry.value);
        // What the check rejected was dropped from the list that was read.
        let places = list.map_or(&[][..], |list| self.tree.items(list));
        let places: Vec<NodeId> = places.iter().copied().filter(|place| !self.tree.is_rejected(*place)).collect();
        let mut names: Vec<String> = Vec::new();
        for (place, types::Line(name)) in places.into_iter().zip(written.unwrap_or_default()) {
            let spot = self.tree.spot(place);
            if !self.field_name(spot.clone(), &name) {
                continue;
            }
            if let Some((message, help)) = untouchable(&name, side, Deed::Remove) {
                self.mistake(spot, message, help);
            } else if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                names.push(name);
            }
        }
        names
    }

    /// Fields ordered by name.
    fn fields(
        &mut self,
        written: Option<&types::Headers>,
        side: Side,
        deed: Deed,
        inserted: InsertHeaders,
    ) -> Vec<(String, String)> {
        let Some(&types::Headers { at }) = written else {
            return Vec::new();
        };
        let mut fields: Vec<(String, String)> = Vec::new();
        let entries = self.tree.entries(at).to_vec();
        if let Some(over) = entries.get(EDITS_MAX) {
            let message = format!("{} fields are more than one policy may change", entries.len());
            let spot = Spot { span: over.key_span, path: self.tree.path(over.value) };
            self.mistake(spot, message, format!("at most {EDITS_MAX}"));
        }
        for entry in entries {
            let Kind::Scalar { text, .. } = &self.tree.node(entry.value).kind else { continue };
            if self.tree.is_rejected(entry.value) || self.tree.is_null(entry.value) {
                continue;
            }
            let (key, text) = (entry.key, text.clone());
            let spot = Spot { span: entry.key_span, path: self.tree.path(entry.value) };
            if !self.field_name(spot.clone(), &key) {
                continue;
            }
            let fault = untouchable(&key, side, deed).or_else(|| inserted_too(&key, side, inserted));
            if let Some((message, help)) = fault {
                self.mistake(spot, message, help);
            } else if fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(&key)) {
                let message = format!("the field {} is given twice", shown(&key));
                self.mistake(spot, message, "names differ by more than case".to_owned());
            } else if let Some((message, help)) = value_fault(&key, &text) {
                self.mistake(self.tree.spot(entry.value), message, help);
            }
            fields.push((key, text));
        }
        fields.sort();
        fields
    }

    fn rewrite(&mut self, written: types::RewritePathPrefix) -> Option<Rewrite> {
        for (key, path) in [("from", &written.from), ("to", &written.to)] {
            let Some(types::Line(path)) = path else { continue };
            let fault = if !path.starts_with('/') {
                Some(("a path begins with `/`", "write what follows the host, like `/api`"))
            } else if path.contains(['#', '?']) {
                Some(("a path has no query and no fragment", "leave out `?`, `#` and what follows"))
            } else if !path.bytes().all(|b| b.is_ascii_graphic()) {
                Some(("a path has no spaces and only ASCII characters", "write others like `%20`"))
            } else {
                None
            };
            if let Some((message, help)) = fault {
                self.mistake(self.tree.spot_of(written.at, key), message, help.to_owned());
            }
        }
        Some(Rewrite { from: written.from?.0, to: written.to?.0 })
    }
}

type Fault = (String, String);

fn untouchable(name: &str, side: Side, deed: Deed) -> Option<Fault> {
    let is = |word: &&str| name.eq_ignore_ascii_case(word);
    if FRAMING.iter().any(is) {
        let message = format!("{} is not the operator's: it frames a message or is meant for one hop", shown(name));
        return Some((message, "leave it out".to_owned()));
    }
    if !is(&"host") || (side, deed) == (Side::Request, Deed::Set) {
        return None;
    }
    let message = match side {
        Side::Request => "a request names one host: it can only be set",
        Side::Response => "answers have no `Host`",
    };
    Some((message.to_owned(), "use `set_request_headers`, or leave it out".to_owned()))
}

/// A field that `insert_headers` writes, whatever a policy does, would be there twice.
fn inserted_too(name: &str, side: Side, inserted: InsertHeaders) -> Option<Fault> {
    let own = [
        ("X-Forwarded-For", inserted.x_forwarded_for),
        ("X-Forwarded-Port", inserted.x_forwarded_port),
        ("X-Forwarded-Proto", inserted.x_forwarded_proto),
        ("X-SSL-Client-Verify", inserted.x_ssl_client_verify),
        ("X-SSL-Client-Has-Cert", inserted.x_ssl_client_has_cert),
        ("X-SSL-Client-DN", inserted.x_ssl_client_dn),
        ("X-SSL-Client-CN", inserted.x_ssl_client_cn),
        ("X-SSL-Issuer", inserted.x_ssl_issuer),
        ("X-SSL-Client-SHA1", inserted.x_ssl_client_sha1),
        ("X-SSL-Client-Not-Before", inserted.x_ssl_client_not_before),
        ("X-SSL-Client-Not-After", inserted.x_ssl_client_not_after),
    ];
    let twice = side == Side::Request && own.iter().any(|(own, set)| *set && name.eq_ignore_ascii_case(own));
    let message = || format!("`insert_headers` of this listener writes {}", shown(name));
    twice.then(|| (message(), "leave it out here or there".to_owned()))
}

fn value_fault(name: &str, value: &str) -> Option<Fault> {
    if value.trim() != value || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        let help = "printable ASCII characters, without spaces at either end".to_owned();
        return Some(("this is no value of a field".to_owned(), help));
    }
    if value.len() > VALUE_MAX {
        return Some((format!("{} characters are too many", value.len()), format!("at most {VALUE_MAX}")));
    }
    if let Err(variable) = Value::parse(value) {
        let help = match nearest(variable, VARIABLES) {
            Some(near) => format!("did you mean `%{{{near}}}`?"),
            None => format!("there are: {}", VARIABLES.map(|v| format!("`%{{{v}}}`")).join(", ")),
        };
        return Some((format!("{} is no variable", shown(&format!("%{{{variable}}}"))), help));
    }
    let host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if name.eq_ignore_ascii_case("host") && (value.is_empty() || !is_host(value) || !value.bytes().all(host)) {
        let help = "a host name or an address, and a port if need be: `www.example.org:8080`".to_owned();
        return Some((format!("{} is no host", shown(value)), help));
    }
    None
}

/// A name or an IPv4 address, or an IPv6 one in brackets, and a port if need be.
fn is_host(value: &str) -> bool {
    let port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let (host, rest) = match value.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((inside, rest)) if inside.parse::<std::net::Ipv6Addr>().is_ok() => ("", rest),
        Some(_) => return false,
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let named = value.starts_with('[') || (!host.is_empty() && !host.contains(['[', ']']));
    named && (rest.is_empty() || rest.strip_prefix(':').is_some_and(port))
}

/// Fields that say where a message ends, or that are meant for one hop.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
