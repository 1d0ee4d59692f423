//! One rule of a policy, compiled: whether it holds of a request.

use std::cell::OnceCell;
use std::net::IpAddr;

use memchr::memmem::Finder;

use super::cookie;
use super::percent::{address_within, drawn, mixed, within};
use super::text::{Case, Compare, elements};
use crate::config::l7::{L7Rule, PercentKey, Test as Written};
use crate::limits::cidr::CidrSet;
use crate::request::Parts;

/// What is known of a client's TLS. The default is a connection without TLS: no rule about it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts<'t> {
    /// The client showed a certificate.
    pub has_cert: bool,
    /// What came of verifying it, OpenSSL's number; `None`: no TLS. 0 also where there was none to verify.
    pub verify_result: Option<u32>,
    /// Fields of its subject, in order: `("CN", "client.example.org")`.
    pub dn_fields: &'t [(Box<str>, Box<str>)],
}

/// A request that rules are asked about.
pub struct Asked<'r, P> {
    parts: &'r P,
    client: IpAddr,
    tls: TlsFacts<'r>,
    draw: &'r dyn Fn() -> u64,
    /// `None` for `*`, which is no path.
    path: Option<&'r [u8]>,
    query: Option<&'r [u8]>,
    host: OnceCell<Option<&'r [u8]>>,
}

impl<'r, P: Parts> Asked<'r, P> {
    /// `draw` gives a random number; it is called only for a percentage by chance.
    pub fn new(parts: &'r P, client: IpAddr, tls: TlsFacts<'r>, draw: &'r dyn Fn() -> u64) -> Self {
        let target = parts.target();
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        let path = path.starts_with(b"/").then_some(path);
        Self { parts, client, tls, draw, path, query, host: OnceCell::new() }
    }

    /// The client's address.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// True for `percent` of a hundred requests, by chance.
    pub(super) fn drawn(&self, percent: u8) -> bool {
        percent >= 100 || drawn(percent, (self.draw)())
    }

    fn host(&self) -> Option<&'r [u8]> {
        *self.host.get_or_init(|| self.parts.field(b"host"))
    }
}

/// A rule, compiled.
#[derive(Debug)]
pub struct Rule {
    test: Test,
    invert: bool,
}

#[derive(Debug)]
enum Test {
    Host(Compare),
    Path(Compare),
    FileType(Compare),
    Field(Box<[u8]>, Compare),
    /// Taking a field apart costs more than seeing that the name is not in it.
    Cookie(Box<Finder<'static>>, Compare),
    HasCert,
    VerifyResult(u32),
    DnField(Box<str>, Compare),
    Method(Compare),
    Query(Compare),
    Parameter(Box<[u8]>, Compare),
    Source(CidrSet),
    Percent {
        percent: u8,
        seed: u64,
        key: PercentKey,
    },
}

impl Rule {
    /// `None`: an expression does not compile, which the border to the configuration has refused.
    pub(super) fn build(rule: &L7Rule) -> Option<Self> {
        let plain = |comparison| Compare::build(comparison, Case::Matters);
        let name = |key: &String| key.as_bytes().into();
        let test = match &rule.test {
            Written::HostName(comparison) => Test::Host(Compare::build(comparison, Case::Any)?),
            Written::Path(comparison) => Test::Path(plain(comparison)?),
            Written::FileType(comparison) => Test::FileType(plain(comparison)?),
            Written::Header(key, comparison) => Test::Field(name(key), plain(comparison)?),
            Written::Cookie(key, comparison) => {
                Test::Cookie(Box::new(Finder::new(key).into_owned()), plain(comparison)?)
            }
            Written::SslConnHasCert => Test::HasCert,
            Written::SslVerifyResult(number) => Test::VerifyResult(*number),
            Written::SslDnField(key, comparison) => Test::DnField(key.as_str().into(), plain(comparison)?),
            Written::Method(comparison) => Test::Method(plain(comparison)?),
            Written::Query(None, comparison) => Test::Query(plain(comparison)?),
            Written::Query(Some(key), comparison) => Test::Parameter(name(key), plain(comparison)?),
            Written::SourceIp(networks) => Test::Source(CidrSet::new(networks)),
            Written::Percent(percent, key) => {
                let (high, low) = rule.id.0.as_u64_pair();
                Test::Percent { percent: *percent, seed: mixed(high ^ low.rotate_left(32)), key: key.clone() }
            }
        };
        Some(Self { test, invert: rule.invert })
    }

    /// True if it looks at the host.
    pub(super) fn asks_host(&self) -> bool {
        matches!(self.test, Test::Host(_))
    }

    /// What is not there compares to nothing, so a rule about it holds only if it is inverted.
    pub(super) fn holds<P: Parts>(&self, asked: &Asked<'_, P>) -> bool {
        self.test.holds(asked) != self.invert
    }
}

impl Test {
    fn holds<P: Parts>(&self, asked: &Asked<'_, P>) -> bool {
        match self {
            Self::Host(compare) => {
                asked.host().is_some_and(|host| elements(host).any(|element| compare.holds(element)))
            }
            Self::Path(compare) => asked.path.is_some_and(|path| compare.holds(path)),
            Self::FileType(compare) => asked.path.and_then(file_type).is_some_and(|kind| compare.holds(kind)),
            Self::Field(name, compare) => {
                asked.parts.fields(name).any(|value| elements(value).any(|element| compare.holds(element)))
            }
            Self::Cookie(name, compare) => {
                let mut fields = asked.parts.fields(b"cookie").filter(|field| name.find(field).is_some());
                fields.any(|field| cookie::values(field, name.needle()).any(|value| compare.holds(value)))
            }
            Self::HasCert => asked.tls.has_cert,
            Self::VerifyResult(number) => asked.tls.verify_result == Some(*number),
            Self::DnField(name, compare) => {
                let first = asked.tls.dn_fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                first.is_some_and(|(_, value)| compare.holds(value.as_bytes()))
            }
            Self::Method(compare) => compare.holds(asked.parts.method()),
            Self::Query(compare) => asked.query.is_some_and(|query| compare.holds(query)),
            Self::Parameter(name, compare) => {
                asked.query.is_some_and(|query| parameters(query, name).any(|value| compare.holds(value)))
            }
            Self::Source(networks) => networks.contains(asked.client),
            Self::Percent { percent, seed, key } => by_percent(*percent, *seed, key, asked),
        }
    }
}

fn by_percent<P: Parts>(percent: u8, seed: u64, key: &PercentKey, asked: &Asked<'_, P>) -> bool {
    let of_key = match key {
        PercentKey::Draw => return asked.drawn(percent),
        PercentKey::SourceIp => None,
        PercentKey::Cookie(name) => {
            asked.parts.fields(b"cookie").find_map(|field| cookie::values(field, name.as_bytes()).next())
        }
        PercentKey::Header(name) => asked.parts.field(name.as_bytes()),
    };
    match of_key {
        Some(value) => within(percent, seed, value),
        None => address_within(percent, seed, asked.client),
    }
}

/// What follows the last dot of the last segment.
fn file_type(path: &[u8]) -> Option<&[u8]> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let dot = memchr::memrchr(b'.', name)?;
    Some(&name[dot + 1..])
}

/// The values of all parameters of that name; empty where there is no `=`. Nothing is decoded.
fn parameters<'q>(query: &'q [u8], name: &'q [u8]) -> impl Iterator<Item = &'q [u8]> {
    query.split(|byte| *byte == b'&').filter_map(move |parameter| match memchr::memchr(b'=', parameter) {
        Some(at) => (&parameter[..at] == name).then_some(&parameter[at + 1..]),
        None => (parameter == name).then_some(&[][..]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_type_is_what_follows_the_last_dot() {
        for (path, kind) in [
            ("/a.jpg", Some("jpg")),
            ("/a.tar.gz", Some("gz")),
            ("/a.b/c", None),
            ("/", None),
            ("/.htaccess", Some("htaccess")),
            ("/a.", Some("")),
            ("/a.jpg/", None),
        ] {
            assert_eq!(file_type(path.as_bytes()), kind.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        let of =
            |query: &'static str| parameters(query.as_bytes(), b"a").map(String::from_utf8_lossy).collect::<Vec<_>>();
        assert_eq!(of("a=1&b=2&a=3&aa=4"), ["1", "3"]);
        assert_eq!(of("a"), [""]);
        assert_eq!(of("a=b=c&"), ["b=c"]);
        assert_eq!(of(""), [""; 0]);
    }
}
