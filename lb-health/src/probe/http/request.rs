//! The request of a probe: rendered once, but for a Host that is the member's own address.

use std::borrow::Cow;
use std::net::SocketAddr;

use lb_core::config::monitor::{HttpProbe, HttpVersion};

/// A rendered request.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the Host field belongs that is the member's address; `None`: there is one, or none is wanted.
    host_at: Option<usize>,
    /// Port that is left out of such a Host.
    default_port: u16,
}

impl Request {
    pub(super) fn new(probe: &HttpProbe, default_port: u16) -> Self {
        let (version, is_v1_1) = match probe.version {
            HttpVersion::V1_0 => ("1.0", false),
            HttpVersion::V1_1 => ("1.1", true),
        };
        let given = |name: &str| probe.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let mut text = format!("{} {} HTTP/{version}\r\n", probe.method, probe.url_path);
        let mut host_at = None;
        match &probe.domain_name {
            _ if given("host") => {}
            Some(name) => text.extend(["Host: ", name, "\r\n"]),
            None if is_v1_1 => host_at = Some(text.len()),
            None => {}
        }
        for (name, value) in &probe.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if is_v1_1 && !given("connection") {
            text.push_str("Connection: close\r\n");
        }
        // As HAProxy: a method that may have a body says that it has none, or some servers answer 411.
        if matches!(probe.method.as_str(), "POST" | "PUT" | "PATCH") && !given("content-length") {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str("\r\n");
        Self { bytes: text.into_bytes(), host_at, default_port }
    }

    /// What is written to `member`, after `before`.
    pub(super) fn bytes(&self, before: &[u8], member: SocketAddr) -> Cow<'_, [u8]> {
        if before.is_empty() && self.host_at.is_none() {
            return Cow::Borrowed(&self.bytes);
        }
        let (line, rest) = self.bytes.split_at(self.host_at.unwrap_or(0));
        let host = if self.host_at.is_some() { host(member, self.default_port) } else { String::new() };
        Cow::Owned([before, line, host.as_bytes(), rest].concat())
    }
}

fn host(member: SocketAddr, default_port: u16) -> String {
    let address = match member {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    if member.port() == default_port {
        format!("Host: {address}\r\n")
    } else {
        format!("Host: {address}:{}\r\n", member.port())
    }
}

#[cfg(test)]
mod tests {
    use lb_core::config::monitor::ExpectedCodes;

    use super::*;

    fn rendered(member: &str, change: impl FnOnce(&mut HttpProbe)) -> String {
        let mut probe = HttpProbe {
            method: "GET".to_owned(),
            url_path: "/live?x=1".to_owned(),
            version: HttpVersion::V1_0,
            domain_name: None,
            expected_codes: ExpectedCodes(vec![(200, 200)]),
            headers: Vec::new(),
            expected_body: None,
        };
        change(&mut probe);
        String::from_utf8(Request::new(&probe, 80).bytes(b"", member.parse().unwrap()).into_owned()).unwrap()
    }

    #[test]
    fn version_1_0_has_no_host_unless_given() {
        assert_eq!(rendered("10.0.0.1:80", |_| {}), "GET /live?x=1 HTTP/1.0\r\n\r\n");
        assert_eq!(
            rendered("10.0.0.1:80", |p| p.domain_name = Some("a.test".to_owned())),
            "GET /live?x=1 HTTP/1.0\r\nHost: a.test\r\n\r\n"
        );
    }

    #[test]
    fn version_1_1_names_the_member_and_closes() {
        let v1_1 = |p: &mut HttpProbe| p.version = HttpVersion::V1_1;
        let with = |host: &str| format!("GET /live?x=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(rendered("10.0.0.1:80", v1_1), with("10.0.0.1"));
        assert_eq!(rendered("10.0.0.1:8080", v1_1), with("10.0.0.1:8080"));
        assert_eq!(rendered("[fd00::1]:8080", v1_1), with("[fd00::1]:8080"));
    }

    #[test]
    fn own_fields_win_and_a_body_is_said_to_be_missing() {
        let text = rendered("10.0.0.1:80", |p| {
            p.version = HttpVersion::V1_1;
            p.method = "POST".to_owned();
            p.domain_name = Some("a.test".to_owned());
            p.headers = vec![("HOST".to_owned(), "b.test".to_owned()), ("X-A".to_owned(), "1".to_owned())];
        });
        assert_eq!(
            text,
            "POST /live?x=1 HTTP/1.1\r\nHOST: b.test\r\nX-A: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
