//! How a listening socket is made, so that every process makes the same.
//!
//! Sockets that share one address share its port with `SO_REUSEPORT`, and the kernel spreads connections over
//! them. The same option would let a second process of the same user share a port silently, so a port is probed
//! without it first, and a port somebody else serves is refused with their name.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait in the kernel's queue; the kernel lowers it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// Bytes that may wait in the kernel on one connection beside those that are on their way. The kernel's own bound is megabytes for
/// each client that does not read, and all it has for TCP is one sum for the whole machine: thousands of slow readers would take it
/// from every VIP of a node. What is on its way is not counted, so nobody who reads is slower for it.
pub const UNSENT_MAX: u32 = 128 * 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody serves it already.
    #[error("{addr} is in use{}", owner.as_deref().map(|who| format!(" by {who}")).unwrap_or_default())]
    InUse {
        /// What was asked for.
        addr: SocketAddr,
        /// `haproxy, pid 1234`, when it could be found out.
        owner: Option<String>,
    },
    /// The address is nobody's here.
    #[error("{addr}: the address {} is not on this machine (or not in this network namespace)", addr.ip())]
    NotHere {
        /// What was asked for.
        addr: SocketAddr,
    },
    /// A low port, and no right to it.
    #[error("{addr}: no permission; ports below net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE")]
    Denied {
        /// What was asked for.
        addr: SocketAddr,
    },
    /// Anything else.
    #[error("{addr}: cannot {step}: {source}")]
    Io {
        /// What was asked for.
        addr: SocketAddr,
        /// What was tried.
        step: &'static str,
        /// What the machine said.
        source: io::Error,
    },
}

/// Makes `sockets` (at least one) sockets that listen on exactly `addr`, after making sure that nobody else does.
/// They are non-blocking and closed on exec. Port 0: the kernel chooses one port for all of them.
///
/// Call it in the network namespace the address is in.
pub fn listen(addr: SocketAddr, sockets: usize) -> Result<Vec<TcpListener>, ListenError> {
    if addr.port() != 0 {
        probe(addr)?;
    }
    listen_more(addr, sockets)
}

/// As [`listen`], for a caller that owns sockets on `addr` already: no probe, the new ones share the port.
pub fn listen_more(addr: SocketAddr, sockets: usize) -> Result<Vec<TcpListener>, ListenError> {
    let first = listen_one(addr)?;
    let bound = first.local_addr().map_err(|e| explain(addr, "read the address", e))?;
    let mut all = vec![first];
    for _ in 1..sockets {
        all.push(listen_one(bound)?);
    }
    Ok(all)
}

/// Holds connections that will be accepted on `socket` to [`UNSENT_MAX`].
pub fn bound_unsent(socket: &TcpListener) -> io::Result<()> {
    // Inherited by accepted connections.
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_MAX)
}

fn listen_one(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let at = |step| move |error| explain(addr, step, error);
    let socket = open(addr).map_err(at("make a socket"))?;
    socket.set_reuse_port(true).map_err(at("set SO_REUSEPORT"))?;
    // Inherited by accepted connections, which saves two system calls for each.
    socket.set_tcp_nodelay(true).map_err(at("set TCP_NODELAY"))?;
    socket.set_keepalive(true).map_err(at("set SO_KEEPALIVE"))?;
    socket.set_nonblocking(true).map_err(at("set non-blocking"))?;
    socket.bind(&addr.into()).map_err(at("bind"))?;
    socket.listen(BACKLOG).map_err(at("listen"))?;
    Ok(socket.into())
}

/// Without `SO_REUSEPORT` the kernel lets nobody in beside a listening socket.
fn probe(addr: SocketAddr) -> Result<(), ListenError> {
    let socket = open(addr).map_err(|e| explain(addr, "make a socket", e))?;
    socket.bind(&addr.into()).map_err(|e| explain(addr, "bind", e))
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier life in TIME_WAIT do not count.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn explain(addr: SocketAddr, step: &'static str, source: io::Error) -> ListenError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { addr, owner: owner_of(addr) },
        io::ErrorKind::AddrNotAvailable => ListenError::NotHere { addr },
        io::ErrorKind::PermissionDenied => ListenError::Denied { addr },
        _ => ListenError::Io { addr, step, source },
    }
}

/// Who listens on `addr` in the calling thread's network namespace, as `name, pid N`.
fn owner_of(addr: SocketAddr) -> Option<String> {
    // Not /proc/net: that is the namespace of the process's first thread.
    let inodes: Vec<u64> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).ok())
        .flat_map(|table| table.lines().filter_map(|row| listening_inode(row, addr)).collect::<Vec<_>>())
        .collect();
    inodes.iter().find_map(|inode| process_with(*inode))
}

/// The inode of a row of `/proc/net/tcp{,6}` that listens where `addr` would collide with it.
fn listening_inode(row: &str, addr: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = row.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != LISTEN || u16::from_str_radix(port, 16).ok()? != addr.port() {
        return None;
    }
    let ip = table_ip(ip)?;
    let collides = ip == addr.ip() || ip.is_unspecified() || addr.ip().is_unspecified();
    if !collides {
        return None;
    }
    fields.nth(5)?.parse().ok()
}

/// Addresses stand there as 32-bit words in the machine's byte order.
fn table_ip(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| Some(u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0u8; 16];
    for (i, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(i)?);
    }
    let ip = Ipv6Addr::from(bytes);
    Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4))
}

fn process_with(inode: u64) -> Option<String> {
    let mut wanted = String::new();
    let _ = write!(wanted, "socket:[{inode}]");
    let holds = |pid: &Path| {
        let Ok(fds) = std::fs::read_dir(pid.join("fd")) else { return false };
        fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|link| link == Path::new(&wanted)))
    };
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else { continue };
        if holds(&entry.path()) {
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{}, pid {pid}", comm.trim_end()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
    }

    #[test]
    fn several_share_one_port() {
        let sockets = listen(loopback(0), 3).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|s| s.local_addr().unwrap() == addr));
        let more = listen_more(addr, 2).unwrap();
        assert_eq!(more.len(), 2);
        assert_eq!(sockets[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_served_port_is_refused_with_its_owner() {
        let sockets = listen(loopback(0), 1).unwrap();
        let addr = sockets[0].local_addr().unwrap();
        let error = listen(addr, 1).unwrap_err();
        let ListenError::InUse { owner: Some(owner), .. } = &error else { panic!("{error}") };
        assert!(owner.ends_with(&format!(", pid {}", std::process::id())), "{owner}");
    }

    #[test]
    fn a_wildcard_holds_every_address() {
        let wildcard = TcpListener::bind("0.0.0.0:0").unwrap();
        let error = listen(loopback(wildcard.local_addr().unwrap().port()), 1).unwrap_err();
        assert!(matches!(error, ListenError::InUse { owner: Some(_), .. }), "{error}");
    }

    #[test]
    fn ipv6_stays_off_ipv4() {
        let Ok(sockets) = listen("[::1]:0".parse().unwrap(), 2) else { return eprintln!("skipped: no IPv6 here") };
        let port = sockets[0].local_addr().unwrap().port();
        let error = listen(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port), 1).unwrap_err();
        assert!(matches!(error, ListenError::InUse { owner: Some(_), .. }), "{error}");
        listen(loopback(port), 1).unwrap();
    }

    #[test]
    fn an_address_of_others_is_explained() {
        let error = listen("192.0.2.1:8080".parse().unwrap(), 1).unwrap_err();
        assert!(error.to_string().contains("not on this machine"), "{error}");
    }

    #[test]
    fn rows_of_the_table() {
        let row = "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4711 1 0 100 0";
        if cfg!(target_endian = "little") {
            assert_eq!(listening_inode(row, loopback(8080)), Some(4711));
        }
        assert_eq!(listening_inode(row, loopback(8081)), None);
        assert_eq!(listening_inode("  sl  local_address rem_address   st", loopback(1)), None);
        assert_eq!(listening_inode("", loopback(1)), None);
    }
}
