//! Which texts are an address that a VIP or a member can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::spec::mistake::shown;

/// Why a text is not such an address.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

pub(super) fn parse(written: &str) -> Result<IpAddr, Fault> {
    let Ok(address) = written.parse::<IpAddr>() else {
        return Err(not_an_address(written));
    };
    match address {
        IpAddr::V4(v4) => usable_v4(v4),
        IpAddr::V6(v6) => usable_v6(v6),
    }
    .map_or(Ok(address), Err)
}

fn usable_v4(address: Ipv4Addr) -> Option<Fault> {
    let what = if address.is_unspecified() {
        "the unspecified address"
    } else if address.is_broadcast() {
        "the broadcast address"
    } else if address.is_multicast() {
        "a multicast address"
    } else {
        return None;
    };
    fault(format!("{address} is {what}"), "give the address of one host")
}

fn usable_v6(address: Ipv6Addr) -> Option<Fault> {
    if let Some(v4) = address.to_ipv4_mapped() {
        return fault(format!("{address} is an IPv4 address in IPv6 clothes"), &format!("write {v4}"));
    }
    let what = if address.is_unspecified() {
        "the unspecified address"
    } else if address.is_multicast() {
        "a multicast address"
    } else if address.is_unicast_link_local() {
        "a link-local address, which means nothing without an interface"
    } else {
        return None;
    };
    fault(format!("{address} is {what}"), "give the address of one host")
}

fn fault(message: String, help: &str) -> Option<Fault> {
    Some(Fault { message, help: Some(help.to_owned()) })
}

/// Says what the text is instead.
fn not_an_address(written: &str) -> Fault {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let bare = written.trim().trim_start_matches('[').trim_end_matches(']');
    let help = if written.is_empty() {
        "write an IPv4 or IPv6 address".to_owned()
    } else if let Ok(socket) = written.parse::<SocketAddr>() {
        format!("write {}; ports have the key `protocol_port`", socket.ip())
    } else if let Some((Some(address), _)) = written.split_once('/').map(|(a, rest)| (address(a), rest)) {
        format!("write {address}, without the length of the network")
    } else if written.split_once('%').is_some_and(|(a, _)| address(a).is_some()) {
        "an address with an interface (`%`) is not supported: use one that is reachable without".to_owned()
    } else if let Some(address) = address(bare) {
        format!("write {address}")
    } else if written.split('.').count() == 4 && written.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        "an IPv4 address has four numbers from 0 to 255, without leading zeros".to_owned()
    } else {
        "write an IPv4 or IPv6 address; host names are for members only".to_owned()
    };
    Fault { message: format!("{} is not an IP address", shown(written)), help: Some(help) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_host_pass() {
        for good in ["20.20.20.2", "127.0.0.1", "10.255.255.255", "::1", "2001:db8::1", "fd00::1"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for (bad, help) in [
            ("0.0.0.0", "one host"),
            ("::", "one host"),
            ("255.255.255.255", "one host"),
            ("224.0.0.1", "one host"),
            ("ff02::1", "one host"),
            ("fe80::1", "one host"),
            ("::ffff:10.0.0.1", "write 10.0.0.1"),
            ("10.0.0.1:80", "write 10.0.0.1; ports"),
            ("[::1]:80", "write ::1; ports"),
            ("[::1]", "write ::1"),
            (" 10.0.0.1", "write 10.0.0.1"),
            ("10.0.0.0/24", "write 10.0.0.0, without"),
            ("fe80::1%eth0", "interface"),
            ("010.0.0.1", "leading zeros"),
            ("10.0.0.256", "0 to 255"),
            ("lb-1.example.org", "host names"),
            ("", "IPv4 or IPv6"),
        ] {
            let fault = parse(bad).unwrap_err();
            assert!(fault.help.as_deref().unwrap_or_default().contains(help), "{bad}: {fault:?}");
        }
    }
}
