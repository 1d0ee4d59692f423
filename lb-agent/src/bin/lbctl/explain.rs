//! `lbctl explain`: what would become of a request, and why.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use lb_control::events::visible;
use lb_control::explain::{Candidate, Explanation, Named, Outcome, Question, Says, Sketch, Stands};
use lb_control::node::NodeClient;

use crate::output::{self, Format};
use crate::tree::label;

/// Members that are drawn at most; JSON has all.
const MEMBERS_SHOWN: usize = 64;

/// What is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainOptions {
    /// Name or id of the listener
    #[arg(long, value_name = "NAME")]
    listener: String,
    /// Name or id of its load balancer, where several have such a listener
    #[arg(long, value_name = "NAME")]
    loadbalancer: Option<String>,
    /// Where the client comes from; the port matters where a pool chooses by it
    #[arg(long, value_name = "IP[:PORT]", value_parser = client)]
    from: Client,
    /// A cookie it sends
    #[arg(long = "cookie", value_name = "NAME=VALUE", value_parser = cookie)]
    cookies: Vec<String>,
    /// A field it sends
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// The server its TLS asks for, at a listener that passes TLS through; without it the host of URL
    #[arg(long = "sni", value_name = "NAME")]
    server_name: Option<String>,
    /// The same as --output json
    #[arg(long)]
    json: bool,
    /// What it asks with; left out for listeners that relay bytes
    #[arg(value_name = "METHOD", requires = "url", value_parser = method)]
    method: Option<String>,
    /// What it asks for: /path?query, or http://host/path
    #[arg(value_name = "URL", value_parser = url)]
    url: Option<Url>,
}

/// An address, with a port or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    ip: IpAddr,
    port: Option<u16>,
}

/// A target, and the host before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    host: Option<String>,
    target: String,
}

/// Asks and shows what is answered.
pub(crate) async fn explain(node: &NodeClient, options: ExplainOptions, format: Format) -> anyhow::Result<()> {
    let format = if options.json { Format::Json } else { format };
    let explanation = node.explain(&options.question()).await?;
    output::value(format, &explanation, drawn)
}

impl ExplainOptions {
    fn question(self) -> Question {
        let Self { listener, loadbalancer, from, cookies, mut fields, server_name, method, url, .. } = self;
        let sets_host = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = url.as_ref().and_then(|url| url.host.clone()).filter(|_| !sets_host);
        fields.extend(host.map(|host| ("Host".to_owned(), host)));
        if !cookies.is_empty() {
            fields.push(("Cookie".to_owned(), cookies.join("; ")));
        }
        let request = method.zip(url).map(|(method, url)| Sketch { method, target: url.target });
        Question { loadbalancer, listener, from: from.ip, port: from.port, request, server_name, fields }
    }
}

fn client(text: &str) -> Result<Client, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().map(|ip| Client { ip, port: None });
    let socket = text.parse().map(|socket: SocketAddr| Client { ip: socket.ip(), port: Some(socket.port()) });
    ip.or(socket)
        .map_err(|_| "an address, with a port if it matters: 192.0.2.7, 192.0.2.7:4711 or [2001:db8::7]:4711".into())
}

fn cookie(text: &str) -> Result<String, String> {
    let is_one = |byte: u8| byte.is_ascii_control() || byte == b';';
    match text.split_once('=') {
        Some((name, _)) if !name.trim().is_empty() && !text.bytes().any(is_one) => Ok(text.to_owned()),
        _ => Err("one cookie, as in SRV=abc".into()),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let right = "a name, a colon and a value of one line, as in 'X-Tenant: blue'";
    let (name, value) = text.split_once(':').ok_or(right)?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    let is_value = !value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t');
    if is_name && is_value { Ok((name.to_owned(), value.trim().to_owned())) } else { Err(right.into()) }
}

fn method(text: &str) -> Result<String, String> {
    match text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err("a word such as GET, and then the URL".into()),
    }
}

fn url(text: &str) -> Result<Url, String> {
    let right = "a path, or http:// or https:// with a host before it: /index.html, http://example.org/index.html";
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!("{right}; spaces and what is not ASCII are percent-encoded"));
    }
    // What follows a hash is never sent.
    let text = text.split('#').next().unwrap_or_default();
    if text.starts_with('/') || text == "*" {
        return Ok(Url { host: None, target: text.to_owned() });
    }
    let beginning = ["http://", "https://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme)));
    let rest = beginning.map(|scheme| &text[scheme.len()..]).ok_or(right)?;
    let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if host.is_empty() {
        return Err(right.into());
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(Url { host: Some(host.to_owned()), target: format!("{slash}{target}") })
}

/// An explanation for people: the verdict, then how it came about.
fn drawn(explanation: &Explanation) -> String {
    let Explanation { listener, protocol, checks, policies, pool, persistence, members, verdict } = explanation;
    let mut out = String::new();
    let status = verdict.status.map_or_else(String::new, |status| format!(" {status}"));
    let whom = verdict.member.as_ref().map_or_else(String::new, name);
    let headline = match verdict.outcome {
        Outcome::Member => format!("→ {whom}"),
        Outcome::OneOf => "→ one of several".to_owned(),
        Outcome::Waits if whom.is_empty() => "waits".to_owned(),
        Outcome::Waits => format!("waits for {whom}"),
        Outcome::Answered => format!("answered{status}"),
        Outcome::Refused => format!("refused{status}"),
        Outcome::NoMember => format!("no member{status}"),
    };
    let _ = writeln!(out, "{headline}: {}", visible(&verdict.words));
    let _ = writeln!(out, "listener {} ({protocol})", name(listener));
    for check in checks {
        let says = match check.says {
            Says::Pass => "pass",
            Says::Wait => "wait",
            Says::Refuse => "refuse",
        };
        let _ = writeln!(out, "  {} {says}: {}", check.check, visible(&check.words));
    }
    for policy in policies {
        let says = if policy.matches { "matches" } else { "passed over" };
        let label = visible(&label(&policy.name, &policy.id)).into_owned();
        let _ = writeln!(out, "  policy {label} ({}) {says}: {}", policy.action, visible(&policy.words));
    }
    if let Some(pool) = pool {
        let label = visible(&label(&pool.name, &pool.id)).into_owned();
        let _ = writeln!(out, "pool {label}: {}; {} ({})", visible(&pool.why), pool.lb_algorithm, visible(&pool.by));
    }
    if let Some(persistence) = persistence {
        let hit = if persistence.hit { "hit" } else { "miss" };
        let _ = writeln!(out, "persistence {} {hit}: {}", persistence.kind, visible(&persistence.words));
    }
    if !members.is_empty() {
        let rows: Vec<Vec<String>> = members.iter().take(MEMBERS_SHOWN).map(row).collect();
        out.push_str(&output::table(&["TURN", "MEMBER", "ADDRESS", "WEIGHT", "STATE", "OPEN", "WHY NOT"], &rows));
    }
    if let Some(more) = members.len().checked_sub(MEMBERS_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(out, "and {more} more");
    }
    out
}

fn row(member: &Candidate) -> Vec<String> {
    let turn = match (member.turn, member.stands) {
        (Some(turn), _) => turn.to_string(),
        (None, Stands::Picked | Stands::Candidate) => "?".to_owned(),
        (None, Stands::LeftOut) => "-".to_owned(),
    };
    let share = match member.share_permille {
        1000 => String::new(),
        permille => format!(" ({}.{} %)", permille / 10, permille % 10),
    };
    let open = match member.max_connections {
        Some(most) => format!("{} of {most}", member.active_connections),
        None => member.active_connections.to_string(),
    };
    let backup = if member.backup { " backup" } else { "" };
    vec![
        turn,
        visible(&label(&member.name, &member.id)).into_owned(),
        member.address.clone(),
        format!("{}{share}{backup}", member.weight),
        member.operating_status.to_string(),
        open,
        visible(&member.words).into_owned(),
    ]
}

fn name(named: &Named) -> String {
    visible(&label(&named.name, &named.id)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_a_port_or_not() {
        let of = |text| client(text).map(|client| (client.ip.to_string(), client.port));
        assert_eq!(of("192.0.2.7"), Ok(("192.0.2.7".to_owned(), None)));
        assert_eq!(of("192.0.2.7:80"), Ok(("192.0.2.7".to_owned(), Some(80))));
        assert_eq!(of("2001:db8::7"), Ok(("2001:db8::7".to_owned(), None)));
        assert_eq!(of("[2001:db8::7]"), Ok(("2001:db8::7".to_owned(), None)));
        assert_eq!(of("[2001:db8::7]:80"), Ok(("2001:db8::7".to_owned(), Some(80))));
        for wrong in ["", "192.0.2", "192.0.2.7:", "192.0.2.7:x", "192.0.2.7/24", "example.org", "192.0.2.7:99999"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_are_a_host_and_what_is_sent() {
        let of = |text| url(text).map(|url| (url.host, url.target));
        let at = |host: &str, target: &str| Ok((Some(host.to_owned()), target.to_owned()));
        assert_eq!(of("/a?b#c"), Ok((None, "/a?b".to_owned())));
        assert_eq!(of("*"), Ok((None, "*".to_owned())));
        assert_eq!(of("http://example.org"), at("example.org", "/"));
        assert_eq!(of("HTTPS://example.org:8443/a/b?c=/d"), at("example.org:8443", "/a/b?c=/d"));
        assert_eq!(of("http://[2001:db8::7]?a"), at("[2001:db8::7]", "/?a"));
        for wrong in ["", "index.html", "ftp://example.org/", "http://", "http:///a", "/a b", "/ü", "éa", "héé://x"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_sent_beside_is_one_line_each() {
        assert_eq!(field("X-A:  b: c "), Ok(("X-A".to_owned(), "b: c".to_owned())));
        assert_eq!(field("X-A:"), Ok(("X-A".to_owned(), String::new())));
        for wrong in ["X-A", ": b", "X A: b", "X: a\r\nY: b", ""] {
            assert!(field(wrong).is_err(), "{wrong}");
        }
        assert_eq!(cookie("a=b=c"), Ok("a=b=c".to_owned()));
        for wrong in ["a", "=b", "a=b; c=d", "a=b\n", ""] {
            assert!(cookie(wrong).is_err(), "{wrong}");
        }
        assert!(method("GET").is_ok() && method("M-SEARCH").is_ok());
        assert!(method("/").is_err() && method("").is_err() && method("G T").is_err());
    }
}
