//! Sockets for ICMP: a datagram one where `net.ipv4.ping_group_range` allows it, else a raw one that was opened while
//! we were root. The kernel filters for us what the raw one gets.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvfrom, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::echo::{self, Ask, Heard};

/// Bytes that may wait on a raw socket: some hundred echoes.
const RECEIVE_BUFFER: usize = 128 * 1024;

/// Of one packet: an error with what it quotes has at most 144 bytes that matter.
const PACKET_MAX: usize = 512;

/// A filter that lets nothing pass, until the first question.
const DROP_ALL: [SockFilter; 1] = [SockFilter::new(RETURN, 0, 0, 0)];

// Instructions of classic BPF (linux/filter.h).
const RETURN: u16 = 0x06;
const JUMP_IF_EQUAL: u16 = 0x15;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AFTER_HEAD: u16 = 0x48;
const LOAD_BYTE_AFTER_HEAD: u16 = 0x50;
const SKIP_IPV4_HEAD: u16 = 0xb1;

/// What a socket is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) is_v6: bool,
    pub(super) is_raw: bool,
}

/// A socket for one family, not in use yet.
#[derive(Debug)]
pub(super) struct IcmpSocket {
    socket: Socket,
    pub(super) kind: Kind,
}

impl IcmpSocket {
    pub(super) fn datagram(is_v6: bool) -> io::Result<Self> {
        let socket = open(is_v6, Type::DGRAM)?;
        // Errors of the network come over the error queue.
        if is_v6 {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        }
        Ok(Self { socket, kind: Kind { is_v6, is_raw: false } })
    }

    /// Takes root, or CAP_NET_RAW. Deaf until [`IcmpSocket::into_used`].
    pub(super) fn raw(is_v6: bool) -> io::Result<Self> {
        let socket = open(is_v6, Type::RAW)?;
        socket.attach_filter(&DROP_ALL)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        Ok(Self { socket, kind: Kind { is_v6, is_raw: true } })
    }

    /// From now on, echoes with this id and errors are let through, and the runtime waits for them.
    ///
    /// tokio's type for UDP serves any socket of messages; all that is used of it is waiting.
    pub(super) fn into_used(self, id: u16) -> io::Result<UdpSocket> {
        if self.kind.is_raw {
            self.filter(id)?;
        }
        UdpSocket::from_std(self.socket.into())
    }

    /// A filter stands in for ICMP_FILTER and ICMP6_FILTER, which no crate offers safely, and is sharper: a raw socket
    /// sees the echoes of the whole namespace.
    fn filter(&self, id: u16) -> io::Result<()> {
        let (kind, id_at, reply, errors) = if self.kind.is_v6 {
            (LOAD_BYTE, LOAD_HALF, 129, [1, 3])
        } else {
            (LOAD_BYTE_AFTER_HEAD, LOAD_HALF_AFTER_HEAD, 0, [3, 11])
        };
        let program = [
            SockFilter::new(SKIP_IPV4_HEAD, 0, 0, 0), // harmless for IPv6: what it finds is not used
            SockFilter::new(kind, 0, 0, 0),
            SockFilter::new(JUMP_IF_EQUAL, 0, 2, reply),
            SockFilter::new(id_at, 0, 0, 4),
            SockFilter::new(JUMP_IF_EQUAL, 2, 3, u32::from(id)),
            SockFilter::new(JUMP_IF_EQUAL, 1, 0, errors[0]),
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, errors[1]),
            SockFilter::new(RETURN, 0, 0, PACKET_MAX as u32),
            SockFilter::new(RETURN, 0, 0, 0),
        ];
        self.socket.attach_filter(&program)
    }
}

impl Kind {
    /// Sends an echo request, from `source` if one is given.
    pub(super) fn send(
        self,
        fd: BorrowedFd<'_>,
        ask: Ask,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> Result<(), Errno> {
        let packet = echo::request(self.is_v6, ask);
        let (v4, v6) = (source.and_then(info_v4), source.and_then(info_v6));
        let control = match (&v4, &v6) {
            (Some(info), _) => Some(ControlMessage::Ipv4PacketInfo(info)),
            (_, Some(info)) => Some(ControlMessage::Ipv6PacketInfo(info)),
            _ => None,
        };
        let to = match to {
            // A raw socket would take the port for a protocol.
            SocketAddr::V4(v4) => SockaddrStorage::from(std::net::SocketAddrV4::new(*v4.ip(), 0)),
            SocketAddr::V6(v6) => SockaddrStorage::from(std::net::SocketAddrV6::new(*v6.ip(), 0, 0, v6.scope_id())),
        };
        let data = [IoSlice::new(&packet)];
        sendmsg(fd.as_raw_fd(), &data, control.as_slice(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL, Some(&to))
            .map(drop)
    }

    /// The next thing heard and who said it (for errors: anybody); `None`: a packet that says nothing to us.
    /// An error EAGAIN means that there is nothing more.
    pub(super) fn hear(self, fd: BorrowedFd<'_>) -> Result<Option<(Heard, Option<IpAddr>)>, Errno> {
        let mut packet = [0; PACKET_MAX];
        match recvfrom::<SockaddrStorage>(fd.as_raw_fd(), &mut packet) {
            Ok((len, from)) => {
                Ok(echo::hear(self.is_v6, self.is_raw, &packet[..len]).map(|heard| (heard, from.and_then(ip))))
            }
            Err(Errno::EAGAIN) if self.is_raw => Err(Errno::EAGAIN),
            Err(Errno::EAGAIN) => self.hear_error(fd).map(|heard| heard.map(|heard| (heard, None))),
            // An error of the network, which is told once more in the error queue.
            Err(_) => Ok(None),
        }
    }

    fn hear_error(self, fd: BorrowedFd<'_>) -> Result<Option<Heard>, Errno> {
        let mut quoted = [0; PACKET_MAX];
        let mut control = nix::cmsg_space!([u8; 128]);
        let mut data = [IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut data, Some(&mut control), flags)?;
        let asked = message.address.and_then(ip);
        let kind = message.cmsgs()?.find_map(|one| match one {
            ControlMessageOwned::Ipv4RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => Some(error),
            ControlMessageOwned::Ipv6RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => Some(error),
            _ => None,
        });
        let (Some(asked), Some(error), len) = (asked, kind, message.bytes) else { return Ok(None) };
        let kind = i32::from(error.ee_type) << 8 | i32::from(error.ee_code);
        Ok(echo::hear_error(self.is_v6, &quoted[..len], asked, kind))
    }
}

fn open(is_v6: bool, kind: Type) -> io::Result<Socket> {
    let (domain, protocol) = if is_v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    Socket::new(domain, kind.nonblocking(), Some(protocol))
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4: &SockaddrIn| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6: &SockaddrIn6| IpAddr::V6(v6.ip())))
}

fn info_v4(source: IpAddr) -> Option<libc::in_pktinfo> {
    let IpAddr::V4(source) = source else { return None };
    let of = |octets| libc::in_addr { s_addr: u32::from_ne_bytes(octets) };
    Some(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: of(source.octets()), ipi_addr: of([0; 4]) })
}

fn info_v6(source: IpAddr) -> Option<libc::in6_pktinfo> {
    let IpAddr::V6(source) = source else { return None };
    Some(libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: 0 })
}
