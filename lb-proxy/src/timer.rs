//! Patience: how long a step waits for whom, at the price of no clock reading while nobody waits.
//!
//! Reading from and writing to each side has a deadline, set when it cannot go on and cleared when it can. One
//! timer per session guards all; it is re-armed only when it fires too early or a nearer deadline comes, so a busy
//! session re-arms it about once per timeout, not once per request.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::clock;
use crate::pace::Pace;

/// Who is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Downstream.
    Client,
    /// Upstream.
    Member,
}

/// What is being waited for. Each has a deadline of its own: reading from and writing to the same side go on at
/// the same time while a body streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Bytes from the client.
    ClientRead,
    /// Room for bytes to the client.
    ClientWrite,
    /// Bytes from the member.
    MemberRead,
    /// Room for bytes to the member.
    MemberWrite,
}

impl Wait {
    const ALL: [Self; 4] = [Self::ClientRead, Self::ClientWrite, Self::MemberRead, Self::MemberWrite];

    fn side(self) -> Side {
        match self {
            Self::ClientRead | Self::ClientWrite => Side::Client,
            Self::MemberRead | Self::MemberWrite => Side::Member,
        }
    }
}

/// Until when each thing is waited for.
#[derive(Debug, Default)]
pub struct Deadlines {
    cells: [Cell<Option<Instant>>; 4],
}

impl Deadlines {
    /// Waits until `ms` from now at most; 0: for ever.
    pub fn set(&self, wait: Wait, ms: u64) {
        let deadline = (ms > 0).then(|| clock::now() + Duration::from_millis(ms));
        self.set_at(wait, deadline);
    }

    /// Waits until `deadline` at most.
    pub fn set_at(&self, wait: Wait, deadline: Option<Instant>) {
        self.cells[wait as usize].set(deadline);
    }

    /// Nobody waits for that any more.
    pub fn clear(&self, wait: Wait) {
        self.cells[wait as usize].set(None);
    }

    /// Nobody waits for anything any more.
    pub fn clear_all(&self) {
        self.cells.iter().for_each(|cell| cell.set(None));
    }

    fn earliest(&self) -> Option<(Instant, Wait)> {
        let waits = Wait::ALL.iter().filter_map(|wait| Some((self.cells[*wait as usize].get()?, *wait)));
        waits.min_by_key(|(deadline, _)| *deadline)
    }
}

/// What an operation waits for, and how long at a stretch.
#[derive(Clone, Copy, Debug)]
pub struct Patience<'a> {
    /// Where the deadline is noted.
    pub deadlines: &'a Deadlines,
    /// What is waited for.
    pub wait: Wait,
    /// Milliseconds without progress; 0: no limit.
    pub ms: u64,
    /// While this is true nothing is due and no deadline is set.
    pub excused: Option<&'a Cell<bool>>,
    /// How much has to move meanwhile, if that matters. Who has such a patience runs under [`Timer::guard_judged`].
    pub pace: Option<&'a Pace<'a>>,
}

impl<'a> Patience<'a> {
    /// Patience of `ms` at a stretch.
    pub fn new(deadlines: &'a Deadlines, wait: Wait, ms: u64) -> Self {
        Self { deadlines, wait, ms, excused: None, pace: None }
    }

    /// True if nothing is due yet.
    pub fn is_excused(&self) -> bool {
        self.excused.is_some_and(Cell::get)
    }

    /// The operation cannot go on for now.
    pub fn start(&self) {
        if self.is_excused() {
            return;
        }
        match self.pace {
            None => self.deadlines.set(self.wait, self.ms),
            Some(pace) => {
                let silent_at = (self.ms > 0).then(|| clock::now() + Duration::from_millis(self.ms));
                self.deadlines.set_at(self.wait, pace.start(silent_at));
            }
        }
    }

    /// It went on.
    pub fn clear(&self) {
        self.deadlines.clear(self.wait);
        if let Some(pace) = self.pace {
            pace.stop();
        }
    }
}

/// Milliseconds as a duration; 0: as good as for ever.
pub fn duration(ms: u64) -> Duration {
    Duration::from_millis(if ms == 0 { 86_400_000 } else { ms })
}

/// The timer of one session.
#[derive(Debug)]
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
}

impl Timer {
    /// A timer that is first armed for `ms` from now; 0: for a day, and then again.
    pub fn new(ms: u64) -> Self {
        let ms = if ms == 0 { 86_400_000 } else { ms };
        let armed = clock::now() + Duration::from_millis(ms);
        Self { sleep: Box::pin(tokio::time::sleep_until(armed)), armed }
    }

    /// Ready once `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline < self.armed {
            self.arm(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if clock::refresh() >= deadline {
                return Poll::Ready(());
            }
            self.arm(deadline);
        }
        Poll::Pending
    }

    fn arm(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.armed = at;
    }

    /// Runs `work` until it is done or one of `deadlines` passes; then says whose.
    ///
    /// Takes a pinned reference: a future handed over by value is kept twice, and these are the large ones.
    pub async fn guard<F: Future>(&mut self, deadlines: &Deadlines, work: Pin<&mut F>) -> Result<F::Output, Side> {
        self.guard_judged(deadlines, work, |_| None).await
    }

    /// The same, but `judge` is asked first: the wait may go on until the instant it names, which is later than now.
    pub async fn guard_judged<F: Future>(
        &mut self,
        deadlines: &Deadlines,
        mut work: Pin<&mut F>,
        judge: impl Fn(Wait) -> Option<Instant>,
    ) -> Result<F::Output, Side> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            while let Some((deadline, wait)) = deadlines.earliest()
                && self.poll(cx, deadline).is_ready()
            {
                match judge(wait) {
                    Some(until) => deadlines.set_at(wait, Some(until)),
                    None => return Poll::Ready(Err(wait.side())),
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_nearest_deadline_ends_the_wait_and_is_named() {
        let deadlines = Deadlines::default();
        let mut timer = Timer::new(60_000);
        deadlines.set(Wait::ClientRead, 5_000);
        deadlines.set(Wait::MemberWrite, 2_000);
        let began = Instant::now();
        let end = timer.guard(&deadlines, pin!(std::future::pending::<()>())).await;
        assert_eq!(end, Err(Side::Member));
        assert_eq!(began.elapsed().as_millis(), 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_on_is_kept_lazily() {
        let deadlines = Deadlines::default();
        let mut timer = Timer::new(1_000);
        let began = Instant::now();
        for _ in 0..10 {
            deadlines.set(Wait::ClientRead, 1_000);
            let pause = pin!(tokio::time::sleep(Duration::from_millis(900)));
            assert_eq!(timer.guard(&deadlines, pause).await, Ok(()));
        }
        deadlines.set(Wait::ClientRead, 1_000);
        assert_eq!(timer.guard(&deadlines, pin!(std::future::pending::<()>())).await, Err(Side::Client));
        assert_eq!(began.elapsed().as_millis(), 10_000);
    }
}
