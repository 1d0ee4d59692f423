//! Steady load from a few keep-alive connections, every outcome accounted for.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::message::{End, Wire};
use crate::wait::{PATIENCE, pause, until_true};

/// What became of one load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests answered 200 in full.
    pub good: usize,
    /// Everything else, in words.
    pub failures: Vec<String>,
    /// The slowest good request.
    pub slowest: Duration,
    /// Connections that had to be opened again although nothing failed (the proxy closed after an answer).
    pub reopened: usize,
    /// All good requests' durations, sorted.
    pub times: Vec<Duration>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failures.extend(other.failures);
        self.slowest = self.slowest.max(other.slowest);
        self.reopened += other.reopened;
        self.times.extend(other.times);
        self.times.sort_unstable();
    }

    /// The duration that this share of good requests stayed under.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        #[allow(clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a small count")]
        let n = (last as f64 * share) as usize;
        self.times.get(n).copied().unwrap_or_default()
    }
}

/// What each connection sends.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub to: SocketAddr,
    /// The request, over and over.
    pub request: Vec<u8>,
    /// Connections at once.
    pub connections: usize,
    /// Wait between an answer and the next request.
    pub gap: Duration,
}

impl Plan {
    /// GETs without pause.
    pub fn gets(to: SocketAddr, connections: usize) -> Self {
        let request = b"GET /load HTTP/1.1\r\nHost: weir.test\r\n\r\n".to_vec();
        Self { to, request, connections, gap: Duration::ZERO }
    }

    /// As it is, with a wait between requests.
    #[must_use]
    pub fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// POSTs with a small body instead.
    #[must_use]
    pub fn posts(mut self) -> Self {
        self.request = b"POST /load HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\nhello".to_vec();
        self
    }

    /// Sends exactly `count` requests in all and returns when all are accounted for.
    pub fn exactly(&self, count: usize) -> Outcome {
        let budget = Arc::new(AtomicUsize::new(count));
        let load = self.start_with(move || {
            budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        });
        load.join()
    }

    /// Starts the load; [`Load::stop`] ends it.
    pub fn start(&self) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let mut load = self.start_with(move || !seen.load(Ordering::Relaxed));
        load.stop = stop;
        load
    }

    fn start_with(&self, go_on: impl Fn() -> bool + Clone + Send + 'static) -> Load {
        let done = Arc::new(AtomicUsize::new(0));
        let threads = (0..self.connections)
            .map(|_| {
                let (plan, go_on, done) = (self.clone(), go_on.clone(), Arc::clone(&done));
                std::thread::spawn(move || plan.drive(go_on, &done))
            })
            .collect();
        Load { threads, stop: Arc::new(AtomicBool::new(false)), done }
    }

    fn drive(&self, go_on: impl Fn() -> bool, done: &AtomicUsize) -> Outcome {
        let mut outcome = Outcome::default();
        let mut wire: Option<Wire> = None;
        while go_on() {
            let began = Instant::now();
            let fresh = wire.is_none();
            let answer = self.ask(&mut wire);
            match answer {
                Ok((200, close)) => {
                    let took = began.elapsed();
                    outcome.good += 1;
                    outcome.slowest = outcome.slowest.max(took);
                    outcome.times.push(took);
                    if close {
                        outcome.reopened += 1;
                        wire = None;
                    }
                }
                Ok((status, _)) => {
                    outcome.failures.push(format!("status {status}"));
                    wire = None;
                }
                Err(what) => {
                    outcome.failures.push(format!("{what} on a {} connection", if fresh { "new" } else { "kept" }));
                    wire = None;
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
            if !self.gap.is_zero() {
                pause(self.gap);
            }
        }
        outcome
    }

    fn ask(&self, slot: &mut Option<Wire>) -> Result<(u16, bool), String> {
        if slot.is_none() {
            let stream = TcpStream::connect(self.to).map_err(|e| format!("connect: {e}"))?;
            *slot = Some(Wire::new(stream, Duration::from_secs(15)));
        }
        let wire = slot.as_mut().unwrap();
        let say = |end: End| format!("{end:?}");
        wire.send(&self.request).map_err(say)?;
        let head = wire.head().map_err(say)?;
        let body = if head.chunked() { wire.body_in_chunks() } else { wire.body_of_length(head.length().unwrap_or(0)) };
        if let Some(end) = body.cut {
            return Err(format!("{end:?} in the body"));
        }
        wire.received.clear();
        let close = head.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        Ok((head.word(1).parse().unwrap_or(0), close))
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    threads: Vec<JoinHandle<Outcome>>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
}

impl Load {
    /// Requests accounted for so far.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until `more` further requests are accounted for.
    pub fn wait_for(&self, more: usize) {
        let goal = self.done() + more;
        until_true(PATIENCE * 3, &format!("{more} more requests under load"), || self.done() >= goal);
    }

    /// Ends it and tells what became of it.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(self) -> Outcome {
        let mut all = Outcome::default();
        for thread in self.threads {
            all.add(thread.join().expect("a load thread"));
        }
        all
    }
}
