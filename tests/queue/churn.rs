//! Ten thousand clients for ten slots: all are served, nobody is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weir_tests::member::{Member, ok};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

use super::{limits, queue};

const CLIENTS: usize = 10_000;
const LIMIT: u32 = 5;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n";

/// One request; true if it was answered 200.
async fn visit(to: std::net::SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

#[test]
fn ten_thousand_clients_share_ten_slots() {
    // Each member counts for itself.
    let counts: Arc<[[AtomicUsize; 2]; 2]> = Arc::default();
    let member = {
        let counts = Arc::clone(&counts);
        move |name: &str, at| {
            let (counts, which) = (Arc::clone(&counts), usize::from(name == "m2"));
            Member::script(name, at, move |conn| {
                loop {
                    conn.request()?;
                    let [inside, most] = &counts[which];
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    conn.send(ok("x"))?;
                }
            })
        }
    };
    let stage = Stage::with(Mode::Http, 2, member, |setup| {
        limits(setup, LIMIT);
        setup.workers = 2;
        setup.pool = json!({"timeout_queue": 300_000});
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let began = Instant::now();
    let good = runtime.block_on(async {
        let visits: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(visit(stage.vip()))).collect();
        let mut good = 0;
        for visit in visits {
            good += usize::from(tokio::time::timeout(Duration::from_secs(120), visit).await.unwrap().unwrap().unwrap());
        }
        good
    });
    let took = began.elapsed();
    assert_eq!(good, CLIENTS);
    for [inside, most] in &*counts {
        let most = most.load(Ordering::SeqCst);
        assert!(most <= LIMIT as usize && inside.load(Ordering::SeqCst) == 0, "{most} at once");
    }
    until_true(PATIENCE, "all to be done", || {
        stage.weir.control.stats().pools[0].members.iter().all(|m| m.active_connections == 0)
    });
    let stats = queue(&stage.weir.control);
    assert_eq!((stats.waiting, stats.timeouts, stats.refused, stats.oldest_ms), (0, 0, 0, 0));
    assert!(stats.queued > 0 && u128::from(stats.longest_wait_ms) <= took.as_millis(), "{stats:?} in {took:?}");
}
