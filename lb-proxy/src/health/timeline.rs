//! What happened in this data plane's life, for whoever asks: a bounded ring, and a way to wait for more.
//! Written by the control thread.

use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lb_control::events::{Event, Events, Ring};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub struct Timeline {
    ring: Mutex<Ring>,
    more: Notify,
}

impl Timeline {
    /// A row of its own for this process: named by when it began.
    pub fn new() -> Self {
        Self { ring: Mutex::new(Ring::new(unix_ms())), more: Notify::new() }
    }

    /// Adds one that happened now, and says it on standard error.
    pub fn tell(&self, event: Event) {
        let event = Event { at_ms: unix_ms(), ..event };
        // A pipe that nobody empties must not hold up whoever minds the members.
        if takes_a_line(&std::io::stderr()) {
            eprintln!("lb-proxy: {event}");
        }
        self.lock().push(event);
        self.more.notify_waiters();
    }

    /// Those after number `after` of row `row`; waits up to `wait` while there is none.
    pub async fn after(&self, row: u64, after: u64, wait: Duration) -> Events {
        let told = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                let events = self.lock().after(row, after);
                if !events.events.is_empty() {
                    return events;
                }
                more.await;
            }
        };
        match tokio::time::timeout(wait, told).await {
            Ok(events) => events,
            Err(_) => self.lock().after(row, after),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

/// True if writing a line will not block: a pipe that can be written to has room for one.
fn takes_a_line(stream: &impl AsFd) -> bool {
    let mut ready = [PollFd::new(stream, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut ready, Some(&at_once)), Ok(n) if n > 0)
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
