//! Floods: from one address, and from tens of thousands. Others are served meanwhile, and memory stays where it was.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::load::{Outcome, Plan};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

/// Two threads that connect without end, from the addresses that `from` names, and say `word`.
struct Flood {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU32>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(to: SocketAddr, word: &'static str, from: impl Fn(u32) -> IpAddr + Send + Clone + 'static) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let threads = (0..2)
            .map(|_| {
                let (stop, made, from) = (Arc::clone(&stop), Arc::clone(&made), from.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let n = made.fetch_add(1, Ordering::Relaxed);
                        if let Some(mut client) = Client::try_from(from(n), to) {
                            client.send(word);
                            client.reset();
                        }
                    }
                })
            })
            .collect();
        Self { stop, made, threads }
    }

    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.made.load(Ordering::Relaxed)
    }
}

/// Others are served: coarsely, since the flood's own threads share the machine with them.
fn served(outcome: &Outcome) {
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(outcome.quantile(0.5) < Duration::from_millis(100), "half took {:?}", outcome.quantile(0.5));
    assert!(outcome.slowest < Duration::from_secs(3), "one took {:?}", outcome.slowest);
}

/// What a flood borrowed goes back when it is over, and was little: a table, and whoever was there at once.
fn no_memory_taken(stage: &Stage, before: u64) {
    let grown = stage.weir.process.pss_kb().saturating_sub(before);
    assert!(grown < 16_384, "{grown} kB right after the flood");
    until_true(PATIENCE, "its memory to be given back", || stage.weir.process.pss_kb().saturating_sub(before) < 2048);
}

fn under_flood(stage: &Stage, flood: Flood) -> (u32, Outcome) {
    let others = Plan::gets(stage.vip(), 4).gap(Duration::from_millis(5)).start();
    others.wait_for(400);
    until_true(PATIENCE, "a flood", || flood.made.load(Ordering::Relaxed) > 2000);
    let made = flood.end();
    (made, others.stop())
}

#[test]
fn one_address_floods_and_others_are_served() {
    let stage = Stage::http(1, |setup| {
        setup.listener = json!({"client_limits": {"connections": 20, "connection_rate": 50}});
        setup.workers = 2;
    });
    let before = stage.weir.process.pss_kb();
    let one = IpAddr::V4(Ipv4Addr::new(127, 66, 6, 6));
    let flood = Flood::start(stage.vip(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", move |_| one);
    let (made, outcome) = under_flood(&stage, flood);
    served(&outcome);
    let limits = stage.weir.control.listener().limits;
    let refused = limits.client_connections + limits.client_connection_rate;
    assert!(refused > u64::from(made) / 4, "{refused} of {made} were refused");
    no_memory_taken(&stage, before);
    until_true(PATIENCE, "no connection of it to be left", || stage.weir.control.stats().active_connections == 0);
}

#[test]
fn a_whole_network_floods_and_others_are_served() {
    let stage = Stage::http(1, |setup| {
        setup.listener = json!({"client_limits": {"connections": 20, "connection_rate": 50, "table_size": 8192}});
        setup.workers = 2;
    });
    let before = stage.weir.process.pss_kb();
    let any = |n: u32| {
        let spot = n.wrapping_mul(40_503);
        IpAddr::V4(Ipv4Addr::new(127, 65, (spot >> 8) as u8, spot as u8))
    };
    let (_, outcome) = under_flood(&stage, Flood::start(stage.vip(), "G", any));
    served(&outcome);
    let limits = stage.weir.control.listener().limits;
    assert!(limits.clients <= 8192 && limits.clients_bytes <= 8192 * 64 + 4096, "{limits:?}");
    no_memory_taken(&stage, before);
    until_true(PATIENCE * 2, "them to be forgotten", || stage.weir.control.listener().limits.clients == 0);
}
