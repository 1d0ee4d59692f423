//! Members that follow a script, monitors to ask them with, and how results are checked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_core::config::monitor::{ExpectedBody, ExpectedCodes, HealthMonitor, HttpProbe, HttpVersion, Probe};
use lb_core::health::{Bad, Outcome, ProbeResult};
use lb_core::id::{LoadBalancerId, MonitorId};
use lb_health::{Pinger, Prober, Shared, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Timeout of most monitors here, in milliseconds.
pub(crate) const TIMEOUT_MS: u64 = 300;

/// What a busy machine may add to a timeout.
const LATE: Duration = Duration::from_millis(500);

/// A member that does `script` with each connection.
pub(crate) async fn member<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// A member that reads a request head, says each piece after its pause in milliseconds, and then ends its side (`close`)
/// or keeps silent.
pub(crate) async fn says(pieces: Vec<(u64, Vec<u8>)>, close: bool) -> SocketAddr {
    member(move |mut stream| {
        let pieces = pieces.clone();
        async move {
            read_head(&mut stream).await;
            for (pause, piece) in pieces {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
            }
            if close {
                let _ = stream.shutdown().await;
            }
            let _ = to_end(&mut stream).await;
        }
    })
    .await
}

/// Reads up to an empty line.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    while !said.windows(4).any(|w| w == b"\r\n\r\n") {
        if stream.read_buf(&mut said).await.unwrap_or(0) == 0 {
            break;
        }
    }
    said
}

/// Reads until the other side has ended; how it did.
pub(crate) async fn to_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.map(|_| said)
}

/// An HTTP/1.0 probe for `/` that expects 200.
pub(crate) fn http() -> HttpProbe {
    HttpProbe {
        method: "GET".to_owned(),
        url_path: "/".to_owned(),
        version: HttpVersion::V1_0,
        domain_name: None,
        expected_codes: ExpectedCodes(vec![(200, 200)]),
        headers: Vec::new(),
        expected_body: None,
    }
}

/// The same that expects a text in the body.
pub(crate) fn http_with(text: &str) -> HttpProbe {
    HttpProbe { expected_body: Some(ExpectedBody::Text(text.to_owned())), ..http() }
}

/// A monitor with this probe.
pub(crate) fn monitor(probe: Probe) -> HealthMonitor {
    let parent = LoadBalancerId::for_name("members");
    HealthMonitor {
        id: MonitorId::derived(parent.0, "monitor"),
        name: String::new(),
        admin_state_up: true,
        probe,
        delay_ms: 1000,
        delay_fast_ms: 1000,
        delay_down_ms: 1000,
        timeout_ms: TIMEOUT_MS,
        max_retries: 2,
        max_retries_down: 3,
        send_proxy: None,
        tags: Vec::new(),
    }
}

/// A prober of this monitor, alone.
pub(crate) fn prober(monitor: &HealthMonitor) -> Prober {
    Prober::new(monitor, &Shared::new(Pinger::new())).unwrap()
}

/// The target at `address`.
pub(crate) fn at(address: SocketAddr) -> Target {
    Target { address, source: None, send_proxy: None, over_tls: false }
}

/// Asks once and holds the result against the clock.
pub(crate) async fn ask(monitor: &HealthMonitor, address: SocketAddr) -> Outcome {
    let timeout = Duration::from_millis(monitor.timeout_ms);
    let began = Instant::now();
    let ProbeResult { outcome, took_us } = prober(monitor).ask(at(address)).await;
    let took = began.elapsed();
    assert!(took < timeout + LATE, "{outcome:?} took {took:?} of {timeout:?}");
    assert!(u128::from(took_us) <= took.as_micros());
    if let Outcome::Failed(Bad::Timeout(_)) = outcome {
        assert!(took >= timeout, "{outcome:?} after {took:?} of {timeout:?}");
    }
    outcome
}

/// Asks once with a monitor of this probe.
pub(crate) async fn ask_with(probe: Probe, address: SocketAddr) -> Outcome {
    ask(&monitor(probe), address).await
}
