//! Making a connection, saying who it is from, and closing it.

use std::net::{IpAddr, SocketAddr};

use lb_core::config::monitor::{Probe, ProxyVersion};
use lb_core::health::{Bad, Good, Outcome, Step};
use lb_health::Target;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::script::{ask_with, at, http, member, monitor, prober, to_end};

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let address = member(|mut stream| async move { drop(to_end(&mut stream).await) }).await;
    assert_eq!(ask_with(Probe::Tcp, address).await, Outcome::Passed(Good::Connected));
}

/// As HAProxy's checks: no TIME_WAIT is left behind.
#[tokio::test]
async fn connections_are_closed_by_a_reset() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let address = member(move |mut stream| {
        let tell = tell.clone();
        async move {
            // The reset may have come before anybody looked.
            tell.send(to_end(&mut stream).await.map_err(|error| error.raw_os_error())).unwrap();
        }
    })
    .await;
    ask_with(Probe::Tcp, address).await;
    assert_eq!(told.recv().await.unwrap(), Err(Some(Errno::ECONNRESET as i32)));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_errno() {
    let refused = Outcome::Failed(Bad::Connect(Errno::ECONNREFUSED as i32));
    for probe in [Probe::Tcp, Probe::Http(http())] {
        assert_eq!(ask_with(probe, nobody()).await, refused);
    }
}

/// A queue for one connection that is never taken: the kernel drops every SYN after that.
#[tokio::test]
async fn a_member_that_drops_everything_is_a_timeout_of_connecting() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _inside: Vec<Socket> = (0..2)
        .map(|_| {
            let filler = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let _ = filler.connect(&address.into());
            filler
        })
        .collect();
    for probe in [Probe::Tcp, Probe::Http(http())] {
        assert_eq!(ask_with(probe, address).await, Outcome::Failed(Bad::Timeout(Step::Connect)));
    }
}

/// The kernel may give a local port where nobody listens to our own end, which then is connected to itself.
#[tokio::test]
async fn nobody_is_not_taken_for_a_member() {
    let monitor = monitor(Probe::Tcp);
    let prober = prober(&monitor);
    for _ in 0..2000 {
        let result = prober.ask(at(nobody())).await;
        assert_eq!(result.outcome, Outcome::Failed(Bad::Connect(Errno::ECONNREFUSED as i32)));
    }
}

#[tokio::test]
async fn the_source_is_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let source: IpAddr = "127.0.0.9".parse().unwrap();
    let prober = prober(&monitor(Probe::Tcp));
    let result = prober.ask(Target { address, source: Some(source), send_proxy: None, over_tls: false }).await;
    assert_eq!(result.outcome, Outcome::Passed(Good::Connected));
    assert_eq!(listener.accept().await.unwrap().1.ip(), source);
    let foreign = "192.0.2.1".parse().ok();
    let result = prober.ask(Target { address, source: foreign, send_proxy: None, over_tls: false }).await;
    assert_eq!(result.outcome, Outcome::Failed(Bad::Ours(Errno::EADDRNOTAVAIL as i32)), "ours, not the member's");
}

/// What a member reads first of a probe with a PROXY header, and its two ports.
async fn first_bytes(probe: Probe, version: Option<ProxyVersion>, pool: Option<ProxyVersion>) -> (String, u16, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut monitor = monitor(probe);
    monitor.send_proxy = version;
    let prober = prober(&monitor);
    let member = async {
        let (mut stream, from) = listener.accept().await.unwrap();
        let mut said = vec![0; 512];
        let n = stream.read(&mut said).await.unwrap();
        (String::from_utf8(said[..n].to_vec()).unwrap(), from.port(), address.port())
    };
    tokio::join!(prober.ask(Target { address, source: None, send_proxy: pool, over_tls: false }), member).1
}

#[tokio::test]
async fn probes_begin_with_a_proxy_header_if_asked() {
    let (said, from, to) = first_bytes(Probe::Tcp, Some(ProxyVersion::V1), None).await;
    assert_eq!(said, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n"));
    let (said, ..) = first_bytes(Probe::Http(http()), Some(ProxyVersion::V2), None).await;
    assert_eq!(said, "\r\n\r\n\0\r\nQUIT\n\u{20}\0\0\0GET / HTTP/1.0\r\n\r\n");
}

/// The pool's header, unless the monitor names one.
#[tokio::test]
async fn probes_begin_with_the_header_of_their_pool() {
    let (said, from, to) = first_bytes(Probe::Tcp, None, Some(ProxyVersion::V1)).await;
    assert_eq!(said, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n"));
    let (said, ..) = first_bytes(Probe::Http(http()), Some(ProxyVersion::V2), Some(ProxyVersion::V1)).await;
    assert_eq!(said, "\r\n\r\n\0\r\nQUIT\n\u{20}\0\0\0GET / HTTP/1.0\r\n\r\n");
}
