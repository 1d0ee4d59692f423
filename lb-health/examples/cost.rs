//! What one question of each kind costs in CPU: `cargo run --release -p lb-health --example cost`.
//!
//! Members are on loopback in a thread of their own, which is not counted; the kernel's work for both ends of a
//! connection is done where it is caused, so a part of theirs is counted with ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::config::monitor::{
    ExpectedBody, ExpectedCodes, HealthMonitor, HttpProbe, HttpVersion, MysqlProbe, Probe, TlsProbe,
};
use lb_core::health::Outcome;
use lb_core::id::{LoadBalancerId, MonitorId};
use lb_health::{Pinger, Prober, Shared, Target};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const QUESTIONS: u32 = 4_000;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: member\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const GREETING: &[u8] = b"\x1c\0\0\0\x0a5.5.5-10.11\0\x01\0\0\0abcdefgh\0\xff\xf7";

fn main() {
    let (plain, tls, mysql) = std::thread::spawn(members).join().unwrap();
    let tls_probe = TlsProbe::default();
    let body = |expected| HttpProbe { expected_body: Some(expected), ..http() };
    let kinds = [
        ("TCP", Probe::Tcp, plain),
        ("HTTP", Probe::Http(http()), plain),
        ("HTTP, text", Probe::Http(body(ExpectedBody::Text("hello".to_owned()))), plain),
        ("HTTP, regex", Probe::Http(body(ExpectedBody::Regex("h.l+o".to_owned()))), plain),
        ("MYSQL", Probe::Mysql(MysqlProbe { user: None }), mysql),
        ("TLS-HELLO", Probe::TlsHello(tls_probe.clone()), tls),
        ("HTTPS", Probe::Https(http(), tls_probe), tls),
        ("PING", Probe::Ping, plain),
        ("TCP, refused", Probe::Tcp, SocketAddr::from(([127, 0, 0, 1], 1))),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{:14} {:>10} {:>10} {:>14}", "kind", "CPU µs", "wall µs", "1000 each 2 s");
    for (name, probe, address) in kinds {
        runtime.block_on(measure(name, probe, address));
    }
}

async fn measure(name: &str, probe: Probe, address: SocketAddr) {
    let prober = Prober::new(&monitor(probe), &Shared::new(Pinger::open_ahead())).unwrap();
    let target = Target { address, source: None, send_proxy: None, over_tls: false };
    let passed = matches!(prober.ask(target).await.outcome, Outcome::Passed(_));
    let (began, cpu) = (Instant::now(), cpu_us());
    for n in 0..QUESTIONS {
        // Connections are made faster than the member takes them: its queue must not overflow.
        if n % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let result = prober.ask(target).await;
        assert_eq!(matches!(result.outcome, Outcome::Passed(_)), passed, "{result:?}");
    }
    let cpu = (cpu_us() - cpu) / f64::from(QUESTIONS);
    let wall = began.elapsed().as_micros() as f64 / f64::from(QUESTIONS);
    println!("{name:14} {cpu:10.1} {wall:10.1} {:12.2} %", cpu * 500.0 / 1e6 * 100.0);
}

fn cpu_us() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64
}

fn http() -> HttpProbe {
    HttpProbe {
        method: "GET".to_owned(),
        url_path: "/".to_owned(),
        version: HttpVersion::V1_1,
        domain_name: Some("weir.test".to_owned()),
        expected_codes: ExpectedCodes(vec![(200, 200)]),
        headers: Vec::new(),
        expected_body: None,
    }
}

fn monitor(probe: Probe) -> HealthMonitor {
    HealthMonitor {
        id: MonitorId::derived(LoadBalancerId::for_name("cost").0, "monitor"),
        name: String::new(),
        admin_state_up: true,
        probe,
        delay_ms: 2000,
        delay_fast_ms: 2000,
        delay_down_ms: 2000,
        timeout_ms: 1000,
        max_retries: 2,
        max_retries_down: 3,
        send_proxy: None,
        tags: Vec::new(),
    }
}

/// Starts the members; where they are: plain, TLS, MySQL.
fn members() -> (SocketAddr, SocketAddr, SocketAddr) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let [plain, tls, mysql] = [bind().await, bind().await, bind().await];
            let addresses = [&plain, &tls, &mysql].map(|listener| listener.local_addr().unwrap());
            tell.send((addresses[0], addresses[1], addresses[2])).unwrap();
            tokio::join!(serve_plain(plain), serve_tls(tls), serve_mysql(mysql));
        });
    });
    told.recv_timeout(Duration::from_secs(5)).unwrap()
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve_plain(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            if stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {
                let _ = stream.write_all(ANSWER).await;
            }
        });
    }
}

async fn serve_tls(listener: TcpListener) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["weir.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {
                let _ = stream.write_all(ANSWER).await;
            }
        });
    }
}

async fn serve_mysql(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.write_all(GREETING).await;
            let _ = stream.read(&mut [0; 64]).await;
        });
    }
}
