//! The PROXY header of a probe, as HAProxy 2.6 writes it: version 1 tells the connection's own two ends, version 2 is
//! LOCAL, without addresses.

use std::net::SocketAddr;

use lb_core::config::monitor::ProxyVersion;

const V2_LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The header for a connection from `local` to `member`.
pub fn render(version: ProxyVersion, local: SocketAddr, member: SocketAddr) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => {
            let family = if local.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (local.ip(), member.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", local.port(), member.port()).into_bytes()
        }
        ProxyVersion::V2 => V2_LOCAL.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from HAProxy 2.6 with `check-send-proxy`.
    #[test]
    fn as_haproxy_writes_it() {
        let header = |version, local: &str, member: &str| {
            String::from_utf8(render(version, local.parse().unwrap(), member.parse().unwrap())).unwrap()
        };
        assert_eq!(
            header(ProxyVersion::V1, "127.0.0.1:46186", "127.0.0.1:43389"),
            "PROXY TCP4 127.0.0.1 127.0.0.1 46186 43389\r\n"
        );
        assert_eq!(header(ProxyVersion::V1, "[::1]:38762", "[::1]:35533"), "PROXY TCP6 ::1 ::1 38762 35533\r\n");
        assert_eq!(header(ProxyVersion::V2, "127.0.0.1:1", "127.0.0.1:2"), "\r\n\r\n\0\r\nQUIT\n\u{20}\0\0\0");
    }
}
