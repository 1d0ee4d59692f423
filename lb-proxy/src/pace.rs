//! How fast a client moves a body: a byte now and then keeps every timeout of silence away, and a connection with it for ever.
//!
//! Only time in which the client is waited for counts, so nobody is blamed for a slow member. After so much waiting in all what
//! has moved meanwhile is looked at: enough, and another stretch begins; too little, and the exchange is cut. A deadline that is set
//! so never comes nearer, which is what the session's lazy timer wants: no timer is armed, and no system call made, for a read or
//! a write.

use std::cell::Cell;
use std::time::Duration;

use lb_core::config::limits::BodyRate;
use tokio::time::Instant;

use crate::clock;
use crate::wire::Stream;

/// What has moved so far.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Bytes of a body that came from the client.
    Came(&'a Cell<u64>),
    /// What the client's side has acknowledged: bytes that were written may wait here in the kernel for long.
    Taken(&'a Stream),
}

impl Progress<'_> {
    fn bytes(self) -> u64 {
        match self {
            Self::Came(bytes) => bytes.get(),
            // A connection that cannot be asked ends by itself.
            Self::Taken(stream) => stream.acknowledged().unwrap_or(u64::MAX),
        }
    }
}

/// One way of one exchange.
#[derive(Debug)]
pub struct Pace<'a> {
    rate: BodyRate,
    progress: Progress<'a>,
    /// The client was asked to wait for a word before it sends: it is not waited for before it has begun.
    begins_late: bool,
    /// Where this stretch began; `None`: nobody has waited yet.
    from: Cell<Option<u64>>,
    /// Waited in this stretch, but for the wait under way.
    waited: Cell<Duration>,
    /// The wait under way, and when the client has been silent for too long in it.
    since: Cell<Option<Instant>>,
    silent_at: Cell<Option<Instant>>,
}

impl<'a> Pace<'a> {
    /// Nothing has moved, nobody has waited.
    pub fn new(rate: BodyRate, progress: Progress<'a>, begins_late: bool) -> Self {
        let (from, waited) = (Cell::new(None), Cell::new(Duration::ZERO));
        let (since, silent_at) = (Cell::new(None), Cell::new(None));
        Self { rate, progress, begins_late, from, waited, since, silent_at }
    }

    /// The client is waited for from now on, until `silent_at` at most. Returns until when before anything is decided.
    pub fn start(&self, silent_at: Option<Instant>) -> Option<Instant> {
        if self.begins_late && self.progress.bytes() == 0 {
            return silent_at;
        }
        if self.from.get().is_none() {
            self.from.set(Some(self.progress.bytes()));
        }
        let now = clock::now();
        self.since.set(Some(now));
        self.silent_at.set(silent_at);
        self.until(now)
    }

    /// It did something.
    pub fn stop(&self) {
        if let Some(since) = self.since.take() {
            self.waited.set(self.waited.get() + (clock::now() - since));
        }
    }

    /// The time is over: until when it may be waited for now. `None`: no longer.
    pub fn judge(&self) -> Result<Instant, TooLong> {
        let now = clock::now();
        let since = self.since.get().ok_or(TooLong::Silent)?;
        if self.silent_at.get().is_some_and(|at| at <= now) {
            return Err(TooLong::Silent);
        }
        let waited = self.waited.get() + (now - since);
        if waited >= self.grace() {
            let bytes = self.progress.bytes();
            let moved = bytes.saturating_sub(self.from.get().unwrap_or(0));
            if u128::from(moved) * 1000 < u128::from(self.rate.per_second) * waited.as_millis() {
                return Err(TooLong::Slow);
            }
            self.from.set(Some(bytes));
            self.waited.set(Duration::ZERO);
            self.since.set(Some(now));
        }
        // Not before now: either the stretch is not over or a new one began.
        self.until(self.since.get().unwrap_or(now)).ok_or(TooLong::Silent)
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.rate.grace_ms)
    }

    fn until(&self, since: Instant) -> Option<Instant> {
        let judged_at = since + self.grace().saturating_sub(self.waited.get());
        Some(self.silent_at.get().map_or(judged_at, |silent_at| silent_at.min(judged_at)))
    }
}

/// Why a client is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// Nothing came for too long.
    Silent,
    /// Too little did.
    Slow,
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::timer::{Deadlines, Patience, Side, Timer, Wait};

    const RATE: BodyRate = BodyRate { per_second: 1000, grace_ms: 10_000 };

    /// Waits for a client that sends `bytes` every `every_ms`, while a member takes `member_ms` for each. Returns when it was
    /// cut, in milliseconds; `None`: not within ten minutes.
    async fn cut_after(bytes: u64, every_ms: u64, member_ms: u64) -> (Option<u64>, Option<TooLong>) {
        let (deadlines, came, why) = (Deadlines::default(), Cell::new(0), Cell::new(None));
        let mut timer = Timer::new(60_000);
        let pace = Pace::new(RATE, Progress::Came(&came), false);
        let patience = Patience { pace: Some(&pace), ..Patience::new(&deadlines, Wait::ClientRead, 50_000) };
        let began = Instant::now();
        let work = pin!(async {
            while began.elapsed() < Duration::from_secs(600) {
                patience.start();
                tokio::time::sleep(Duration::from_millis(every_ms)).await;
                patience.clear();
                came.set(came.get() + bytes);
                tokio::time::sleep(Duration::from_millis(member_ms)).await;
            }
        });
        let judge = |wait| {
            assert_eq!(wait, Wait::ClientRead);
            pace.judge().map_err(|too_long| why.set(Some(too_long))).ok()
        };
        match timer.guard_judged(&deadlines, work, judge).await {
            Ok(()) => (None, None),
            Err(side) => {
                assert_eq!(side, Side::Client);
                (Some(began.elapsed().as_millis() as u64), why.get())
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_dribbles_is_cut_within_two_stretches() {
        for (bytes, every_ms) in [(1, 100), (1, 9_900), (1, 49_000), (999, 1_000), (0, 40)] {
            let (cut, why) = cut_after(bytes, every_ms, 0).await;
            assert!(cut.is_some_and(|ms| ms <= 20_001), "{bytes} bytes every {every_ms} ms: {cut:?}");
            assert_eq!(why, Some(TooLong::Slow));
        }
        for (bytes, every_ms) in [(1000, 1_000), (100, 99), (20_000, 9_000), (1_000_000, 9_999)] {
            assert_eq!(cut_after(bytes, every_ms, 0).await, (None, None), "{bytes} bytes every {every_ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_buys_no_more_than_a_stretch() {
        let came = Cell::new(0);
        let pace = Pace::new(RATE, Progress::Came(&came), false);
        came.set(1 << 30);
        pace.start(None);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(pace.judge(), Err(TooLong::Slow), "what came before anybody waited is no excuse");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_member_is_not_the_clients_fault() {
        assert_eq!(cut_after(1_000, 900, 60_000).await, (None, None));
        let (cut, _) = cut_after(1_000, 2_000, 60_000).await;
        assert!(cut.is_some_and(|ms| (300_000..400_000).contains(&ms)), "{cut:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_called_silence_and_nobody_is_rushed_who_was_told_to_wait() {
        let (deadlines, came) = (Deadlines::default(), Cell::new(0));
        let pace = Pace::new(BodyRate { grace_ms: 60_000, ..RATE }, Progress::Came(&came), false);
        let patience = Patience { pace: Some(&pace), ..Patience::new(&deadlines, Wait::ClientRead, 50_000) };
        patience.start();
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(pace.judge(), Err(TooLong::Silent));
        let late = Pace::new(RATE, Progress::Came(&came), true);
        assert_eq!(late.start(None), None);
        assert_eq!(late.judge(), Err(TooLong::Silent));
        came.set(1);
        assert!(late.start(None).is_some());
    }
}
