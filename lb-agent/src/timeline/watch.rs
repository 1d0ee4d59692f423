//! Fetches what one data plane tells, for as long as it runs.
//!
//! One question waits at the data plane at any time; it costs a socket on each side and no buffer here. Every answer
//! is followed by a pause, and trouble by a longer one, so neither a chatty nor a broken data plane keeps the agent
//! busy. After news of it, and whenever its keeper says so, it is asked how it is: that is what lists show. What turns
//! without an event (a listener at its connection limit) is in a list at the next event only; `status` always asks.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use lb_control::client::ClientError;
use lb_control::instance::{EVENTS_WAIT_MAX, InstanceClient};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Known, Timeline};
use crate::log;

/// For a data plane's figures.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// After an answer: what happens meanwhile comes with the next one.
const PAUSE: Duration = Duration::from_millis(100);
/// After trouble, doubling up to [`TROUBLE_PAUSE_MAX`].
const TROUBLE_PAUSE: Duration = Duration::from_millis(250);
const TROUBLE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Trouble that has lasted so long is told; shorter is a data plane that starts or ends.
const TROUBLE_TOLD: Duration = Duration::from_secs(4);
/// After an answer without news that came although it should have waited.
const HASTE_PAUSE: Duration = Duration::from_secs(1);

/// A data plane that is listened to until this is dropped.
#[derive(Debug)]
pub struct Watching {
    /// Its process.
    pub pid: u32,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watching {
    /// Listens to the data plane behind `control`.
    pub fn start(pid: u32, control: InstanceClient, timeline: Arc<Timeline>) -> Self {
        let changed = Arc::new(Notify::new());
        let watch = Watch { control: control.with_timeout(LOOK_TIMEOUT), timeline, changed: changed.clone() };
        Self { pid, changed, task: tokio::spawn(watch.run()) }
    }

    /// Another document is served: it is asked how it is.
    pub fn changed(&self) {
        self.changed.notify_one();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watch {
    control: InstanceClient,
    timeline: Arc<Timeline>,
    changed: Arc<Notify>,
}

impl Watch {
    async fn run(self) {
        let mut trouble = TROUBLE_PAUSE;
        loop {
            let began = Instant::now();
            let pause = match self.poll().await {
                Ok(any) => {
                    trouble = TROUBLE_PAUSE;
                    // One that answers nothing at once, and should have waited, must not be asked in a circle.
                    if any || began.elapsed() > EVENTS_WAIT_MAX / 2 { PAUSE } else { HASTE_PAUSE }
                }
                Err(ClientError::Status { status: StatusCode::NOT_FOUND, .. }) => {
                    // Of a version that keeps no events.
                    self.timeline.know(Known::Nothing);
                    return;
                }
                Err(error) => {
                    // Told once; when it has ended, its keeper says so and ends this.
                    if trouble == TROUBLE_TOLD {
                        log::warn("agent", format_args!("no events can be had: {error}"));
                    }
                    self.timeline.know(Known::Silent);
                    trouble = (trouble * 2).min(TROUBLE_PAUSE_MAX);
                    trouble
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for news and takes them. True if there were any.
    async fn poll(&self) -> Result<bool, ClientError> {
        let at = self.timeline.plane();
        let mut told = pin!(self.control.events(at.row, at.seq, EVENTS_WAIT_MAX));
        let told = loop {
            tokio::select! {
                told = &mut told => break told?,
                () = self.changed.notified() => self.look().await,
            }
        };
        let any = self.timeline.take(told);
        if any || self.timeline.known() == Known::Silent {
            self.look().await;
        }
        Ok(any)
    }

    async fn look(&self) {
        // Boxed: it is seldom, and the task would hold room for it for ever.
        let known = match Box::pin(self.control.stats()).await {
            Ok(stats) => stats.operating_status.map_or(Known::Nothing, Known::Says),
            Err(_) => Known::Silent,
        };
        self.timeline.know(known);
    }
}
