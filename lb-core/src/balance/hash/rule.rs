//! What is hashed of a request, compiled: which part of it, and how a number is made of that. Nothing is allocated.

use super::functions::{avalanche, number};
use super::rdp_cookie::{self, Sought};
use crate::config::{HashFunction, HashKey, Hashing};
use crate::request::Parts;

/// See the module.
#[derive(Debug)]
pub struct HashRule {
    part: Part,
    function: HashFunction,
    avalanche: bool,
}

#[derive(Debug)]
enum Part {
    Target { len_max: usize, slashes_max: usize, whole: bool, path_only: bool },
    Parameter(Box<[u8]>),
    Field { name: Box<[u8]>, domain_only: bool },
    RdpCookie(Box<[u8]>),
}

impl HashRule {
    /// `None`: what is hashed is no part of a request.
    pub(crate) fn compile(hashing: &Hashing) -> Option<Self> {
        let part = match &hashing.key {
            HashKey::Source | HashKey::SourcePort => return None,
            HashKey::Uri { length, depth, whole, path_only } => Part::Target {
                len_max: length.map_or(usize::MAX, usize::from),
                slashes_max: depth.map_or(usize::MAX, usize::from),
                whole: *whole,
                path_only: *path_only,
            },
            HashKey::UrlParam { parameter } => Part::Parameter(parameter.as_bytes().into()),
            HashKey::Header { header, domain_only } => {
                Part::Field { name: header.as_bytes().into(), domain_only: *domain_only }
            }
            HashKey::RdpCookie { cookie } => Part::RdpCookie(cookie.as_bytes().into()),
        };
        Some(Self { part, function: hashing.function, avalanche: hashing.avalanche })
    }

    /// The key of a request. `None`: it has no value there.
    pub fn of_request(&self, parts: &impl Parts) -> Option<u32> {
        match &self.part {
            Part::Target { len_max, slashes_max, whole, path_only } => {
                let target = if *path_only { parts.target() } else { parts.target_as_sent() };
                Some(self.of_text(beginning(target, *len_max, *slashes_max, *whole)))
            }
            Part::Parameter(name) => parameter(parts.target(), name).map(|value| self.of_text(value)),
            Part::Field { name, domain_only } => {
                let value = parts.field(name).map(first_value).filter(|value| !value.is_empty())?;
                Some(self.of_text(if *domain_only { domain(value) } else { value }))
            }
            Part::RdpCookie(_) => None,
        }
    }

    /// The key of a connection that begins with `bytes`. `Err`: the next bytes may tell.
    pub fn of_first_bytes(&self, bytes: &[u8]) -> Result<Option<u32>, rdp_cookie::Incomplete> {
        let Part::RdpCookie(name) = &self.part else { return Ok(None) };
        match rdp_cookie::find(bytes, name) {
            Sought::Found(value) => Ok(Some(self.of_text(value))),
            Sought::Absent => Ok(None),
            Sought::Incomplete => Err(rdp_cookie::Incomplete),
        }
    }

    fn of_text(&self, text: &[u8]) -> u32 {
        let number = number(self.function, text);
        if self.avalanche { avalanche(number) } else { number }
    }
}

/// The target up to its query (or with it), but no more than `len_max` bytes and nothing from the slash after
/// `slashes_max` others on.
fn beginning(target: &[u8], len_max: usize, slashes_max: usize, whole: bool) -> &[u8] {
    let target = &target[..target.len().min(len_max)];
    let mut slashes = 0;
    let end = target.iter().position(|byte| match byte {
        b'/' => {
            slashes += 1;
            slashes > slashes_max
        }
        b'?' => !whole,
        _ => false,
    });
    &target[..end.unwrap_or(target.len())]
}

/// The value of the first parameter of that name; an empty one is a value.
fn parameter<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let query = target.iter().position(|byte| *byte == b'?')? + 1;
    let mut pairs = target[query..].split(|byte| *byte == b'&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// The first of a field's values that are parted by commas; commas in quotes part nothing.
fn first_value(field: &[u8]) -> &[u8] {
    let (mut quoted, mut escaped) = (false, false);
    let end = field.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    });
    field[..end.unwrap_or(field.len())].trim_ascii()
}

/// The label before the last dot; all of it if there is no dot after the first character.
fn domain(host: &[u8]) -> &[u8] {
    let Some(end) = host.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0) else { return host };
    let label = &host[..end - 1];
    let start = label.iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
    &host[start..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_target_is_cut_where_the_rule_says() {
        let all = usize::MAX;
        for (target, len, depth, whole, expected) in [
            ("/a/b?c", all, all, false, "/a/b"),
            ("/a/b?c", all, all, true, "/a/b?c"),
            ("/a/b?c", 3, all, true, "/a/"),
            ("/a/b/c", all, 1, false, "/a"),
            ("/a/b/c", all, 2, false, "/a/b"),
            ("/a/b/c", all, 9, false, "/a/b/c"),
            ("/?c", all, 1, false, "/"),
            ("*", all, 1, false, "*"),
            ("", all, 1, false, ""),
        ] {
            assert_eq!(beginning(target.as_bytes(), len, depth, whole), expected.as_bytes(), "{target}");
        }
    }

    #[test]
    fn a_parameter_is_found_by_its_exact_name() {
        for (target, expected) in [
            ("/?id=1", Some("1")),
            ("/?x=0&id=1&id=2", Some("1")),
            ("/?id=", Some("")),
            ("/?xid=0&idx=0&ID=0", None),
            ("/?id", None),
            ("/?x=id=3&id=4", Some("4")),
            ("/?id=a?b/c", Some("a?b/c")),
            ("/id=1", None),
            ("/?", None),
        ] {
            assert_eq!(parameter(target.as_bytes(), b"id"), expected.map(str::as_bytes), "{target}");
        }
    }

    #[test]
    fn a_field_has_a_first_value_and_a_host_a_domain() {
        for (field, expected) in
            [("a, b", "a"), ("\"a,b\" ,c", "\"a,b\""), ("\"a\\\",b\",c", "\"a\\\",b\""), (" ,b", ""), ("a", "a")]
        {
            assert_eq!(first_value(field.as_bytes()), expected.as_bytes(), "{field}");
        }
        for (host, expected) in [
            ("www.example.org", "example"),
            ("example.org", "example"),
            ("a.b.example.org:80", "example"),
            ("localhost", "localhost"),
            (".org", ".org"),
            ("", ""),
            ("a..b", "a."),
        ] {
            assert_eq!(domain(host.as_bytes()), expected.as_bytes(), "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(prop::sample::select(b"./,?&=\"\\ab ".to_vec()), 0..40)) {
            domain(&bytes);
            first_value(&bytes);
            parameter(&bytes, b"a");
            prop_assert!(beginning(&bytes, 20, 2, false).len() <= 20);
        }
    }
}
