//! One moment to be woken at, kept by the kernel. The runtime's own timers go to sleep in steps and wake on the way,
//! up to three times for one sleep; with a thousand data planes on a node each of those costs.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// See the module.
#[derive(Debug)]
pub(super) struct Alarm {
    watch: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// Not set. Must be called inside a runtime.
    pub(super) fn new() -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { watch: sys::watch_descriptor(timer)? })
    }

    /// Sets it to go off after `pause`, and not at any other time it was set to before.
    pub(super) fn set(&self, pause: Duration) -> std::io::Result<()> {
        // All zeroes would switch it off.
        let pause = pause.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(pause).map_err(std::io::Error::other)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(self.watch.get_ref(), TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }

    /// Waits until it goes off. A word about an earlier setting may wake too early: look what is due.
    pub(super) async fn rings(&self) {
        if let Ok(mut ready) = self.watch.readable().await {
            let mut count = [0; 8];
            let _ = rustix::io::read(self.watch.get_ref(), &mut count);
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn rings_once_when_it_is_time() {
        let alarm = Alarm::new().unwrap();
        let began = Instant::now();
        alarm.set(Duration::from_secs(60)).unwrap();
        alarm.set(Duration::from_millis(30)).unwrap();
        alarm.rings().await;
        assert!((30..5_000).contains(&began.elapsed().as_millis()));
        assert!(tokio::time::timeout(Duration::from_millis(50), alarm.rings()).await.is_err(), "it rang twice");
    }
}
