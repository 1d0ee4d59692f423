//! Where a member is: an address, or a name that leads to one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes without the last dot (RFC 1035: 255 with the lengths of its labels).
const NAME_LEN_MAX: usize = 253;
/// Longest label, in bytes.
const LABEL_LEN_MAX: usize = 63;

/// Where a member is, as the document says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum MemberAddress {
    /// At this address, for as long as the document says so.
    Ip(IpAddr),
    /// Wherever this name leads. Extension.
    Name(HostName),
}

impl MemberAddress {
    /// The address, if the document has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Name(_) => None,
        }
    }

    /// The name, if the document has one instead of an address.
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Self::Ip(_) => None,
            Self::Name(name) => Some(name),
        }
    }

    /// With a port, as people write it.
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Self::Ip(address) => SocketAddr::new(*address, port).to_string(),
            Self::Name(name) => format!("{name}:{port}"),
        }
    }
}

impl From<IpAddr> for MemberAddress {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for MemberAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl From<MemberAddress> for String {
    fn from(address: MemberAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for MemberAddress {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl FromStr for MemberAddress {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        text.parse::<IpAddr>().map_or_else(|_| text.parse().map(Self::Name), |address| Ok(Self::Ip(address)))
    }
}

/// A host's name (RFC 1123, and underscores as in much of DNS), in lower case. A dot at its end means that no search
/// list is to complete it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// What is wrong with a text as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// Longer than DNS allows.
    #[error("a host name has at most {NAME_LEN_MAX} characters")]
    TooLong,
    /// A part between dots is empty or too long.
    #[error("every part of a host name, between its dots, has 1 to {LABEL_LEN_MAX} characters")]
    Label,
    /// A part begins or ends with a hyphen.
    #[error("no part of a host name begins or ends with a hyphen")]
    Hyphen,
    /// Something that stands in no name.
    #[error("a host name has letters, digits, hyphens, underscores and dots only")]
    Character,
    /// Its last part is a number: other programs would take it for an address.
    #[error("a host name does not end in a number")]
    Number,
}

impl HostName {
    /// As it is written, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it ends in a dot.
    pub fn is_absolute(&self) -> bool {
        self.0.ends_with('.')
    }

    /// The parts between its dots.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.strip_suffix('.').unwrap_or(&self.0).split('.')
    }
}

impl FromStr for HostName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.len() > NAME_LEN_MAX {
            return Err(NotAName::TooLong);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !bare.bytes().all(allowed) {
            return Err(NotAName::Character);
        }
        if !bare.split('.').all(|label| (1..=LABEL_LEN_MAX).contains(&label.len())) {
            return Err(NotAName::Label);
        }
        if bare.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
            return Err(NotAName::Hyphen);
        }
        let last = bare.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if hex || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAName::Number);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_looks_like_one() {
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        for good in
            ["app.example.com", "App.Example.COM.", "db", "_http._tcp.example.org", "3com.com", "1.2.3.x", &long]
        {
            let name: HostName = good.parse().unwrap();
            assert_eq!(name.as_str(), good.to_ascii_lowercase());
            assert_eq!(name.is_absolute(), good.ends_with('.'));
        }
        for (bad, why) in [
            ("", NotAName::Label),
            (".", NotAName::Label),
            ("a..b", NotAName::Label),
            (".a", NotAName::Label),
            ("a..", NotAName::Label),
            (&"a".repeat(64), NotAName::Label),
            (&format!("{long}e"), NotAName::TooLong),
            ("-a.example.org", NotAName::Hyphen),
            ("a-.example.org", NotAName::Hyphen),
            ("a b", NotAName::Character),
            ("a:80", NotAName::Character),
            ("münchen.example", NotAName::Character),
            ("http://a", NotAName::Character),
            ("10.0.0", NotAName::Number),
            ("10.0.0.256", NotAName::Number),
            ("1", NotAName::Number),
            ("127.0x1", NotAName::Number),
            ("a.0X7F.", NotAName::Number),
        ] {
            assert_eq!(bad.parse::<HostName>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn both_kinds_of_addresses_are_kept_as_text() {
        for text in ["10.0.0.1", "2001:db8::1", "app.example.com", "app.example.com."] {
            let address: MemberAddress = text.parse().unwrap();
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<MemberAddress>(&json).unwrap(), address);
            assert_eq!(address.ip().is_some(), address.name().is_none());
        }
        assert!(serde_json::from_str::<MemberAddress>("\"10.0.0\"").is_err());
        assert_eq!("::1".parse::<MemberAddress>().unwrap().with_port(80), "[::1]:80");
        assert_eq!("a.b".parse::<MemberAddress>().unwrap().with_port(80), "a.b:80");
    }
}
