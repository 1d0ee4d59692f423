//! Single fields of a health monitor: which texts are a path, a host, codes, a header, an expression.

use super::{Border, NodeId, types};
use crate::config::monitor::{BODY_REGEX_COMPILED_MAX, ExpectedBody, ExpectedCodes, compile_body_regex};
use crate::spec::mistake::shown;
use crate::spec::tree::Kind;
use crate::spec::{REGEXES_MAX, types::MonitorType};

/// Fields that only some types of monitors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Http,
    Tls,
    Mysql,
    Connection,
}

impl Section {
    /// `None`: every monitor uses that key.
    pub(super) fn of(key: &str) -> Option<Self> {
        match key {
            "http_method"
            | "url_path"
            | "http_version"
            | "domain_name"
            | "expected_codes"
            | "headers"
            | "expected_body"
            | "expected_body_regex" => Some(Self::Http),
            "tls_verify" | "ca_tls_container_ref" | "sni" => Some(Self::Tls),
            "mysql_user" => Some(Self::Mysql),
            "send_proxy" => Some(Self::Connection),
            _ => None,
        }
    }

    pub(super) fn fits(self, kind: MonitorType) -> bool {
        match self {
            Self::Http => matches!(kind, MonitorType::Http | MonitorType::Https),
            Self::Tls => matches!(kind, MonitorType::Https | MonitorType::TlsHello),
            Self::Mysql => kind == MonitorType::Mysql,
            Self::Connection => kind != MonitorType::Ping,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Http => "HTTP and HTTPS",
            Self::Tls => "HTTPS and TLS-HELLO",
            Self::Mysql => "MYSQL",
            Self::Connection => "TCP, HTTP, HTTPS, TLS-HELLO and MYSQL",
        }
    }
}

impl Border<'_> {
    pub(super) fn url_path(&mut self, at: NodeId, written: Option<types::Line>) -> String {
        let Some(types::Line(path)) = written else {
            return "/".to_owned();
        };
        let fault = if !path.starts_with('/') {
            Some(("a path begins with `/`", "write what follows the host, like `/health`"))
        } else if path.contains('#') {
            Some(("a fragment is never sent to a server", "leave out `#` and what follows"))
        } else if !path.bytes().all(|b| b.is_ascii_graphic()) {
            Some(("a path has no spaces and only ASCII characters", "write others like `%20`"))
        } else {
            None
        };
        if let Some((message, help)) = fault {
            self.mistake(self.tree.spot_of(at, "url_path"), message, help.to_owned());
        }
        path
    }

    pub(super) fn expected_codes(&mut self, at: NodeId, written: &str) -> ExpectedCodes {
        let mut codes = Vec::new();
        for part in written.split(',').map(str::trim) {
            match range_of_codes(part) {
                Ok(range) => codes.push(range),
                Err((message, help)) => {
                    self.mistake(self.tree.spot_of(at, "expected_codes"), message, help);
                    break;
                }
            }
        }
        ExpectedCodes(codes)
    }

    pub(super) fn host_name(&mut self, at: NodeId, key: &str, name: &str) {
        if !is_host_name(name) {
            let help = "letters, digits, hyphens and dots, like `www.example.org`; no port".to_owned();
            self.mistake(self.tree.spot_of(at, key), format!("{} is no host name", shown(name)), help);
        }
    }

    pub(super) fn server_name(&mut self, at: NodeId, key: &str, name: &str) {
        if name.parse::<std::net::IpAddr>().is_ok() {
            let message = format!("{} is an address, and TLS asks for names only", shown(name));
            self.mistake(self.tree.spot_of(at, key), message, "leave it out, or give a host name".to_owned());
        } else {
            self.host_name(at, key, name);
        }
    }

    /// Fields ordered by name.
    pub(super) fn headers(&mut self, written: Option<&types::Headers>) -> Vec<(String, String)> {
        let Some(&types::Headers { at }) = written else {
            return Vec::new();
        };
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut faults = Vec::new();
        for entry in self.tree.entries(at) {
            let Kind::Scalar { text, .. } = &self.tree.node(entry.value).kind else { continue };
            if self.tree.is_rejected(entry.value) || self.tree.is_null(entry.value) {
                continue;
            }
            let key = &entry.key;
            if let Some((message, help)) = header_name_fault(key) {
                faults.push((self.tree.spot_of_key(at, key), message, help));
            } else if fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(key)) {
                let message = format!("the field {} is given twice", shown(key));
                faults.push((self.tree.spot_of_key(at, key), message, "names differ by more than case".to_owned()));
            } else if text.trim() != text || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
                let message = "this is no value of a field".to_owned();
                let help = "printable ASCII characters, without spaces at either end".to_owned();
                faults.push((self.tree.spot(entry.value), message, help));
            }
            fields.push((key.clone(), text.clone()));
        }
        for (spot, message, help) in faults {
            self.mistake(spot, message, help);
        }
        fields.sort();
        fields
    }

    pub(super) fn expected_body(
        &mut self,
        at: NodeId,
        plain: Option<types::Text>,
        regex: Option<types::Line>,
    ) -> Option<ExpectedBody> {
        if plain.is_some() && regex.is_some() {
            let spot = self.tree.spot_of_key(at, "expected_body_regex");
            let message = "both `expected_body` and `expected_body_regex` are given";
            self.mistake(spot, message, "keep one".to_owned());
        }
        if let Some(types::Line(pattern)) = regex {
            self.body_regex(at, &pattern);
            return Some(ExpectedBody::Regex(pattern));
        }
        plain.map(|text| ExpectedBody::Text(text.0))
    }

    fn body_regex(&mut self, at: NodeId, pattern: &str) {
        if self.unique.regexes.contains(pattern) {
            return;
        }
        let fault = if self.unique.regexes.len() >= REGEXES_MAX {
            Some(("too many regular expressions".to_owned(), format!("at most {REGEXES_MAX} different ones")))
        } else {
            compile_body_regex(pattern).err().map(|error| regex_fault(&error))
        };
        self.unique.regexes.insert(pattern.to_owned());
        if let Some((message, help)) = fault {
            self.mistake(self.tree.spot_of(at, "expected_body_regex"), message, help);
        }
    }
}

fn regex_fault(error: &regex::Error) -> (String, String) {
    if let regex::Error::CompiledTooBig(_) = error {
        let message = "this regular expression explodes: compiled it is too large".to_owned();
        return (message, format!("at most {} KiB; repeat less", BODY_REGEX_COMPILED_MAX / 1024));
    }
    // The library draws the pattern over several lines; the last one is the reason.
    let words = error.to_string();
    let reason = words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let message = format!("this regular expression does not compile: {reason}");
    (message, "the syntax is RE2's: without look-around and back-references".to_owned())
}

fn range_of_codes(part: &str) -> Result<(u16, u16), (String, String)> {
    let help = || "`200`, `200,202`, `200-204` or a mix, each from 100 to 599".to_owned();
    let code = |text: &str| match text.parse::<u16>() {
        Ok(code) if text.len() == 3 && (100..=599).contains(&code) => Ok(code),
        _ => Err((format!("{} is no status", shown(text)), help())),
    };
    let (first, last) = match part.split_once('-') {
        Some((first, last)) => (code(first.trim())?, code(last.trim())?),
        None => (code(part)?, code(part)?),
    };
    if first > last {
        return Err((format!("the range {} runs backwards", shown(part)), format!("write {last}-{first}")));
    }
    Ok((first, last))
}

/// Letters, digits, hyphens and underscores between dots (RFC 1123, and what is found in practice).
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn header_name_fault(name: &str) -> Option<(String, String)> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > HEADER_NAME_MAX || !name.bytes().all(token) {
        let help = "letters, digits and hyphens, like `X-Probe`".to_owned();
        return Some((format!("{} is no name of a field", shown(name)), help));
    }
    if name.eq_ignore_ascii_case("host") {
        return Some(("`Host` has a key of its own".to_owned(), "use `domain_name`".to_owned()));
    }
    if FRAMING.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        let message = format!("{} is not the operator's: it frames the request", shown(name));
        return Some((message, "leave it out".to_owned()));
    }
    None
}

/// Longest name of a field, in bytes.
const HEADER_NAME_MAX: usize = 128;
/// Fields that say where a request ends and what becomes of its connection.
const FRAMING: [&str; 8] =
    ["connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect", "keep-alive"];
