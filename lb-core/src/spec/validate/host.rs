//! Members by name, and who is asked where names lead.

use std::net::{IpAddr, SocketAddr};

use super::address::{self, Fault};
use super::{Border, NodeId};
use crate::config::MemberAddress;
use crate::config::address::NotAName;
use crate::spec::mistake::shown;
use crate::spec::types::Line;

/// The port of DNS.
const DNS_PORT: u16 = 53;

impl Border<'_> {
    /// Where a member is. What looks like an address is judged as one.
    pub(super) fn member_address(&mut self, at: NodeId, written: Option<&Line>) -> Option<MemberAddress> {
        let written = &written?.0;
        match member(written) {
            Ok(address) => Some(address),
            Err(fault) => {
                self.mistake(self.tree.spot_of(at, "address"), fault.message, fault.help);
                None
            }
        }
    }

    /// The DNS servers of a document; `None` if one of them is none.
    pub(super) fn resolvers(&mut self, at: NodeId, written: &[Line]) -> Option<Vec<SocketAddr>> {
        let mut resolvers: Vec<SocketAddr> = Vec::with_capacity(written.len());
        let items = self.tree.entry(at, "resolvers").map_or(&[][..], |entry| self.tree.items(entry.value));
        let items: Vec<NodeId> = items.iter().copied().filter(|item| !self.tree.is_rejected(*item)).collect();
        let mut sound = true;
        for (line, item) in written.iter().zip(items) {
            match resolver(&line.0) {
                Ok(resolver) if resolvers.contains(&resolver) => {
                    let message = format!("{resolver} is written twice");
                    self.mistake(self.tree.spot(item), message, "once is enough".to_owned());
                    sound = false;
                }
                Ok(resolver) => resolvers.push(resolver),
                Err(fault) => {
                    self.mistake(self.tree.spot(item), fault.message, fault.help);
                    sound = false;
                }
            }
        }
        sound.then_some(resolvers)
    }
}

fn member(written: &str) -> Result<MemberAddress, Fault> {
    let fault = match written.parse() {
        Ok(MemberAddress::Ip(_)) => return address::parse(written).map(MemberAddress::Ip),
        Ok(name) => return Ok(name),
        Err(fault) => fault,
    };
    let help = match (host_and_port(written), fault) {
        (Some(host), _) => format!("write {host}; ports have the key `protocol_port`"),
        (None, NotAName::Number) | (None, NotAName::Character) if meant_as_address(written) => {
            return address::parse(written).map(MemberAddress::Ip);
        }
        (None, _) if written.is_empty() => "write an IPv4 or IPv6 address, or a host name".to_owned(),
        (None, _) if !written.is_ascii() => "write it as DNS has it, in ASCII: `xn--mnchen-3ya.example`".to_owned(),
        (None, fault) => fault.to_string(),
    };
    Err(Fault { message: format!("{} is neither an IP address nor a host name", shown(written)), help: Some(help) })
}

/// The host of `host:80` or `http://host/`.
fn host_and_port(written: &str) -> Option<&str> {
    let bare = written.split_once("://").map_or(written, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    let (host, port) = bare.split_once(':').unwrap_or((bare, "0"));
    let is_host = matches!(host.parse(), Ok(MemberAddress::Name(_)));
    (host != written && is_host && port.parse::<u16>().is_ok()).then_some(host)
}

/// True for what an operator meant as an address: only what stands in one.
fn meant_as_address(written: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().is_ok();
    written.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        || written.contains(['[', ':', '%'])
        || written.split_once('/').is_some_and(|(before, _)| address(before))
        || address(written.trim())
}

fn resolver(written: &str) -> Result<SocketAddr, Fault> {
    if let Ok(socket) = written.parse::<SocketAddr>() {
        let address = address::parse(&socket.ip().to_string())?;
        if socket.port() == 0 {
            let message = format!("{} has no port", shown(written));
            return Err(Fault { message, help: Some("from 1 to 65535, or none for 53".to_owned()) });
        }
        return Ok(SocketAddr::new(address, socket.port()));
    }
    let help = "the address of a DNS server, like `10.0.0.53`, `10.0.0.53:5353` or `[2001:db8::53]:5353`".to_owned();
    let fault =
        |fault: Fault| if written.parse::<IpAddr>().is_ok() { fault } else { Fault { help: Some(help), ..fault } };
    Ok(SocketAddr::new(address::parse(written).map_err(fault)?, DNS_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_addresses_or_names() {
        for good in ["10.0.0.2", "2001:db8::2", "app.example.com", "app.example.com.", "db_1", "lb-1"] {
            assert_eq!(member(good).unwrap().to_string(), good);
        }
        for (bad, message, help) in [
            ("10.0.0", "`10.0.0` is not an IP address", "IPv4 or IPv6"),
            ("10.0.0.256", "not an IP address", "0 to 255"),
            ("0.0.0.0", "unspecified", "one host"),
            ("10.0.0.2:80", "not an IP address", "write 10.0.0.2; ports"),
            ("10.0.0.0/24", "not an IP address", "without the length"),
            ("app.example.com:80", "neither", "write app.example.com; ports"),
            ("http://app.example.com/x", "neither", "write app.example.com; ports"),
            ("-app.example.com", "neither", "hyphen"),
            ("app..com", "neither", "between its dots"),
            ("app example", "neither", "letters, digits"),
            ("münchen.example", "neither", "xn--"),
            ("a.10", "neither", "end in a number"),
            ("", "neither", "or a host name"),
        ] {
            let fault = member(bad).unwrap_err();
            assert!(fault.message.contains(message), "{bad}: {fault:?}");
            assert!(fault.help.as_deref().unwrap_or_default().contains(help), "{bad}: {fault:?}");
        }
    }

    #[test]
    fn resolvers_have_a_port_or_that_of_dns() {
        let of = |text: &str| resolver(text).map(|socket| socket.to_string());
        assert_eq!(of("10.0.0.53").unwrap(), "10.0.0.53:53");
        assert_eq!(of("2001:db8::53").unwrap(), "[2001:db8::53]:53");
        assert_eq!(of("127.0.0.1:5353").unwrap(), "127.0.0.1:5353");
        for bad in ["dns.example.org", "10.0.0.53:0", "10.0.0.53:99999", "0.0.0.0", "", "224.0.0.1:53"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
