//! Passes events on to those who listen: a bounded number, each with a bounded backlog.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use lb_control::events::Events;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{News, Timeline, Timelines};

/// Pieces that wait for a reader; what comes then waits in the node's common backlog.
const PIECES_MAX: usize = 16;

/// What a reader is sent; dropping it ends the sending.
pub type Pieces = mpsc::Receiver<io::Result<Bytes>>;

/// Nobody else may follow now.
#[derive(Clone, Copy, Debug)]
pub struct TooMany;

impl Timelines {
    /// What happens to all load balancers from now on, as lines of JSON.
    pub fn follow(&self) -> Result<Pieces, TooMany> {
        let (place, mut news) = (self.place()?, self.news.subscribe());
        let (reader, pieces) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            let _place = place;
            while let Some(news) = next(&reader, &mut news).await {
                if !send(&reader, &[&news.told]).await {
                    return;
                }
            }
        });
        Ok(pieces)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, TooMany> {
        self.followers.clone().try_acquire_owned().map_err(|_| TooMany)
    }
}

impl Timeline {
    /// What is kept after number `after`, and what happens from now on, as lines of JSON, until the load balancer is
    /// gone.
    pub fn follow(self: &Arc<Self>, after: u64) -> Result<Pieces, TooMany> {
        // Before the first look, so that nothing falls between.
        let (place, mut news) = (self.shared.place()?, self.shared.news.subscribe());
        let (reader, pieces) = mpsc::channel(PIECES_MAX);
        let timeline = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let kept = timeline.after(0, after).await;
            if !send(&reader, &kept.events.iter().collect::<Vec<_>>()).await {
                return;
            }
            let (id, mut sent) = (timeline.id.to_string(), kept.last);
            drop((kept, timeline));
            while let Some(news) = next(&reader, &mut news).await {
                if news.told.loadbalancer.id != id || news.told.event.seq <= sent {
                    continue;
                }
                sent = news.told.event.seq;
                if !send(&reader, &[&news.told.event]).await || news.is_last {
                    return;
                }
            }
        });
        Ok(pieces)
    }

    /// Those after number `after` of row `row`; while there are none, waits up to `wait` for one.
    pub async fn wait(self: &Arc<Self>, row: u64, after: u64, wait: Duration) -> Result<Events, TooMany> {
        let mut news = self.shared.news.subscribe();
        let first = self.after(row, after).await;
        if !first.events.is_empty() || wait.is_zero() {
            return Ok(first);
        }
        let _place = self.shared.place()?;
        let id = self.id.to_string();
        let mine = async {
            // One that lags looks for itself.
            while news.recv().await.is_ok_and(|news| news.told.loadbalancer.id != id) {}
        };
        let _ = tokio::time::timeout(wait, mine).await;
        Ok(self.after(row, after).await)
    }
}

/// The next news; `None`: the reader is gone, or so slow that it missed some, which it is told by a cut.
async fn next(reader: &mpsc::Sender<io::Result<Bytes>>, news: &mut Receiver<Arc<News>>) -> Option<Arc<News>> {
    let told = tokio::select! {
        told = news.recv() => told,
        () = reader.closed() => return None,
    };
    match told {
        Ok(news) => Some(news),
        Err(RecvError::Closed) => None,
        Err(RecvError::Lagged(missed)) => {
            let _ = reader.send(Err(io::Error::other(format!("{missed} events were missed")))).await;
            None
        }
    }
}

/// Sends a line for each; false: the reader is gone. A reader that does not read is gone after a while, too: the
/// server sees to that.
async fn send<T: Serialize>(reader: &mpsc::Sender<io::Result<Bytes>>, all: &[&T]) -> bool {
    // Some at a time, so that what waits for a slow reader is small.
    for some in all.chunks(64) {
        let mut text = Vec::new();
        for one in some {
            if serde_json::to_writer(&mut text, one).is_ok() {
                text.push(b'\n');
            }
        }
        if reader.send(Ok(text.into())).await.is_err() {
            return false;
        }
    }
    true
}
