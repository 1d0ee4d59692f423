//! Waiting for conditions, never for time: every wait has a deadline and says what it was for.

use std::time::{Duration, Instant};

/// Long enough for anything that happens at all on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `ready` until it answers, and panics naming `what` when `patience` has run out.
pub fn until<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for: {what}");
        pause(Duration::from_millis(2));
    }
}

/// As [`until`], for a plain condition.
pub fn until_true(patience: Duration, what: &str, mut ready: impl FnMut() -> bool) {
    until(patience, what, || ready().then_some(()));
}

/// Does nothing for a while. For pacing what is sent, or for giving a mistake time to show; never for waiting.
#[allow(clippy::disallowed_methods, reason = "the one place of the tests that sleeps")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// [`pause`] in milliseconds.
pub fn pause_ms(ms: u64) {
    pause(Duration::from_millis(ms));
}
