//! Tells of shortages: an event when one begins and one when it is over, however many clients it cost.

use std::sync::Arc;
use std::time::Duration;

use lb_control::events::{Event, EventKind, Subject};
use lb_control::stats::ShortageStats;

use crate::instance::Instance;
use crate::room::Shortage;

/// A shortage is over when none was met for this long.
const QUIET: Duration = Duration::from_secs(5);

/// Tells of every shortage of `instance` for as long as the process lives.
pub async fn tell(instance: Arc<Instance>) {
    let room = &instance.process.room;
    loop {
        room.news().await;
        let Some(shortage) = room.take_news() else { continue };
        let before = room.stats();
        instance.minder.timeline.tell(begun(shortage, before, room.taken()));
        loop {
            tokio::time::sleep(QUIET).await;
            if room.take_news().is_none() {
                break;
            }
        }
        instance.minder.timeline.tell(over(shortage, before, room.stats()));
    }
}

fn begun(shortage: Shortage, now: ShortageStats, open: u32) -> Event {
    let bound = |most: Option<u64>| most.map_or_else(|| "no bound".to_owned(), |most| most.to_string());
    let reason = match shortage {
        Shortage::Descriptors => {
            format!("{open} connections are open, {} may be", bound(now.connections_max.map(u64::from)))
        }
        Shortage::Memory => format!("memory is near its bound of {} bytes", bound(now.memory_max)),
    };
    Event {
        old: "enough".to_owned(),
        new: words(shortage).to_owned(),
        reason,
        effect: "the newest clients that have not asked for anything are closed, others wait".to_owned(),
        ..Event::new(EventKind::Shortage, this())
    }
}

fn over(shortage: Shortage, before: ShortageStats, now: ShortageStats) -> Event {
    let count = |stats: ShortageStats| stats.shed_for_descriptors + stats.shed_for_memory;
    Event {
        old: words(shortage).to_owned(),
        new: "enough".to_owned(),
        reason: format!("nobody was closed for {} s", QUIET.as_secs()),
        effect: format!("{} clients were closed meanwhile", count(now) - count(before)),
        ..Event::new(EventKind::Shortage, this())
    }
}

fn words(shortage: Shortage) -> &'static str {
    match shortage {
        Shortage::Descriptors => "short of descriptors",
        Shortage::Memory => "short of memory",
    }
}

fn this() -> Subject {
    Subject { kind: "data_plane".to_owned(), id: std::process::id().to_string(), name: String::new() }
}
