//! The time as a session sees it: read once each time the session is woken, however often it is asked for.
//!
//! A session works for microseconds and waits for milliseconds; the clock is worth reading only after a wait.
//! Owned by the thread, written by whichever session it is running.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

#[derive(Clone, Copy)]
enum Reading {
    /// No session is running: whoever asks reads the clock.
    Always,
    /// A session was woken and has not asked yet.
    NotYet,
    /// When it asked first.
    At(Instant),
}

thread_local! {
    static READING: Cell<Reading> = const { Cell::new(Reading::Always) };
}

/// The time now, or for [`scoped`] work, when it first asked after it was woken.
pub fn now() -> Instant {
    match READING.get() {
        Reading::At(instant) => instant,
        Reading::NotYet => refresh(),
        Reading::Always => Instant::now(),
    }
}

/// Reads the clock again: for work that goes on for long without having to wait.
pub fn refresh() -> Instant {
    let instant = Instant::now();
    if !matches!(READING.get(), Reading::Always) {
        READING.set(Reading::At(instant));
    }
    instant
}

/// Seconds since 1970, by the machine's clock, which may jump: only for dates that leave the process.
pub fn unix_seconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or(0)
}

pin_project! {
    /// Runs `work` with one reading of the clock each time it is woken.
    #[derive(Debug)]
    pub struct Scoped<F> {
        #[pin]
        work: F,
    }
}

/// See [`Scoped`].
pub fn scoped<F: Future>(work: F) -> Scoped<F> {
    Scoped { work }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        READING.set(Reading::NotYet);
        let _over = Over;
        self.project().work.poll(cx)
    }
}

/// Also when `work` panics.
struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        READING.set(Reading::Always);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn time_stands_while_a_session_works_and_moves_while_it_waits() {
        let (first, second, third) = scoped(async {
            let first = now();
            let real = Instant::now();
            while real.elapsed() < Duration::from_millis(2) {}
            let second = now();
            tokio::time::sleep(Duration::from_millis(7)).await;
            (first, second, now())
        })
        .await;
        assert_eq!(second, first);
        assert!((third - second).as_millis() >= 7);
        assert!(now() < now(), "nobody is running");
    }
}
