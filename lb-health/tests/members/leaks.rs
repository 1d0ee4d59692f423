//! Ten thousand probes, many of them dropped halfway, and not a descriptor more than before. All in one test: it counts
//! the descriptors of its process.

use std::time::Duration;

use lb_core::config::monitor::Probe;
use lb_core::health::{Bad, Outcome};
use lb_health::{Prober, Target};
use tokio::time::timeout;

use crate::script::{at, http, member, monitor, prober, to_end};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn many(prober: &Prober, target: Target, times: usize, patience: Duration) {
    let asked: Vec<_> = (0..times).map(|_| timeout(patience, prober.ask(target))).collect();
    for one in asked {
        if let Ok(result) = one.await {
            assert!(!matches!(result.outcome, Outcome::Failed(Bad::Ours(_))), "{result:?}");
        }
    }
}

#[test]
fn the_future_is_small_and_may_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let prober = prober(&monitor(Probe::Tcp));
    let future = is_send(prober.ask(at("127.0.0.1:1".parse().unwrap())));
    let len = std::mem::size_of_val(&future);
    assert!(len <= 2048, "{len} bytes for each question");
}

/// Other tests run beside this one in the same process, so the count may be theirs for a while: it must come back.
#[tokio::test]
async fn no_descriptor_is_left_behind() {
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hanging = member(|mut stream| async move { drop(to_end(&mut stream).await) }).await;
    let (tcp, http) = (prober(&monitor(Probe::Tcp)), prober(&monitor(Probe::Http(http()))));
    many(&http, at(hanging), 1, Duration::from_millis(1)).await;
    let before = descriptors();
    for _ in 0..10 {
        many(&tcp, at(refusing), 500, Duration::from_secs(1)).await;
        many(&http, at(hanging), 500, Duration::from_micros(200)).await;
    }
    let mut now = descriptors();
    for _ in 0..100 {
        if now <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        now = descriptors();
    }
    panic!("{before} descriptors before, {now} after");
}
