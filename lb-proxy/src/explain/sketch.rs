//! A question's words as the bytes a client would send.

use std::net::{IpAddr, SocketAddr};

use lb_control::explain::{Question, Sketch};
use lb_core::client_hello::ServerName;

/// The head of the request that is asked about. `host`: what it names if the question does not. `Err`: it could not be written
/// without becoming another one, and what would be right.
pub(super) fn head(question: &Question, host: SocketAddr) -> Result<Vec<u8>, String> {
    let Some(Sketch { method, target }) = &question.request else { return Ok(Vec::new()) };
    if !is_token(method) {
        return Err(format!("{method:?} is no method: a word such as GET"));
    }
    if target.is_empty() || target.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return Err(format!("{target:?} is no target: a path such as /index.html, without spaces"));
    }
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !question.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    for (name, value) in &question.fields {
        if !is_token(name) {
            return Err(format!("{name:?} is no name of a field: letters, digits and hyphens, as in X-Forwarded-For"));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(format!("the value of {name} has control characters: a field is one line"));
        }
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// The server that a client of passed-through TLS asks for: the one that is named, else the host of what it asks for. `None`: it
/// names none, or an address, which a ClientHello has no place for.
pub(super) fn server_name(question: &Question) -> Result<Option<ServerName>, String> {
    let host = question.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let (text, is_host) = match (&question.server_name, host) {
        (Some(name), _) => (&**name, false),
        (None, Some((_, host))) => (without_port(host), true),
        (None, None) => return Ok(None),
    };
    let is_address = text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match ServerName::parse(text) {
        None if is_host && is_address => Ok(None),
        None => Err(format!("{text:?} is no server name: letters, digits, hyphens and dots, as in www.example.org")),
        name => Ok(name),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What a remote desktop client with that cookie says first: an X.224 connection request in a TPKT. Empty without a cookie.
pub(super) fn first_bytes(fields: &[(String, String)]) -> Vec<u8> {
    let cookie = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let Some((_, cookie)) = cookie else { return Vec::new() };
    let line = format!("Cookie: {cookie}\r\n");
    let len = TPKT_LEN + X224_LEN + line.len();
    let indicator = X224_LEN - 1 + line.len();
    let (Ok(len), Ok(indicator)) = (u16::try_from(len), u8::try_from(indicator)) else { return Vec::new() };
    let [high, low] = len.to_be_bytes();
    let mut bytes = vec![3, 0, high, low, indicator, 0xe0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(line.as_bytes());
    bytes
}

const TPKT_LEN: usize = 4;
const X224_LEN: usize = 7;

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use lb_core::balance::rdp_cookie::{Sought, find};

    use super::*;

    fn question(method: &str, target: &str, fields: &[(&str, &str)]) -> Question {
        Question {
            loadbalancer: None,
            listener: "web".into(),
            from: [192, 0, 2, 1].into(),
            port: None,
            request: Some(Sketch { method: method.into(), target: target.into() }),
            server_name: None,
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn a_sketch_is_one_request() {
        let host = SocketAddr::from(([198, 51, 100, 1], 80));
        let of = |method, target, fields: &[_]| {
            head(&question(method, target, fields), host).map(|head| String::from_utf8(head).unwrap())
        };
        let plain = of("GET", "/a?b", &[("X", "1")]);
        assert_eq!(plain.as_deref(), Ok("GET /a?b HTTP/1.1\r\nHost: 198.51.100.1:80\r\nX: 1\r\n\r\n"));
        let named = of("GET", "/", &[("hOST", "a")]);
        assert_eq!(named.as_deref(), Ok("GET / HTTP/1.1\r\nhOST: a\r\n\r\n"));
        for (method, target, name, value) in [
            ("G T", "/", "X", ""),
            ("", "/", "X", ""),
            ("GET", "/ HTTP/1.1\r\nX: y", "X", ""),
            ("GET", "", "X", ""),
            ("GET", "/", "X: y\r\nZ", ""),
            ("GET", "/", "X", "y\r\n\r\nGET"),
            ("GET", "/", "X", "y\n"),
            ("GET", "/", "", "y"),
        ] {
            assert!(of(method, target, &[(name, value)]).is_err(), "{method} {target} {name} {value}");
        }
    }

    #[test]
    fn a_server_is_named_or_follows_from_the_url() {
        let of = |sni: Option<&str>, host: &str| {
            let fields = [("Host", host)];
            let named = Question {
                server_name: sni.map(str::to_owned),
                ..question("GET", "/", &fields[..usize::from(!host.is_empty())])
            };
            server_name(&named).map(|name| name.map(|name| name.as_str().to_owned()))
        };
        assert_eq!(of(None, ""), Ok(None));
        for (sni, host) in [(Some("A.test."), "b.test"), (None, "a.TEST"), (None, "a.test:8443")] {
            assert_eq!(of(sni, host), Ok(Some("a.test".to_owned())), "{sni:?} {host}");
        }
        for address in ["192.0.2.7", "192.0.2.7:443", "[2001:db8::7]", "[2001:db8::7]:443"] {
            assert_eq!(of(None, address), Ok(None), "{address}");
        }
        for wrong in ["*.test", "a.test:443", "192.0.2.7", "", "a b"] {
            assert!(of(Some(wrong), "a.test").is_err(), "{wrong}");
        }
        assert!(of(None, "a_b").is_err());
    }

    #[test]
    fn a_desktop_client_is_understood() {
        let fields = [("Cookie".to_owned(), "mstshash=alice".to_owned())];
        assert_eq!(find(&first_bytes(&fields), b"mstshash"), Sought::Found(b"alice"));
        assert_eq!(find(&first_bytes(&fields), b"other"), Sought::Absent);
        assert!(first_bytes(&[]).is_empty());
        assert!(first_bytes(&[("cookie".to_owned(), "x".repeat(300))]).is_empty());
    }
}
