//! Making room: when the process is short of descriptors or memory, the newest clients that have not asked for anything are closed,
//! so that those who ask are served. Whoever has sent a whole request is never closed for it. A worker that is short closes its part
//! and has all others close theirs.

use lb_core::limits::rate::Nanos;

use crate::listener::Downstream;
use crate::listener::door::{self, Knock};
use crate::observe::record::{Ending, endings};
use crate::room::Shortage;
use crate::worker::{Phase, Worker};

/// Of all its connections a worker closes one in so many at a time when descriptors are short: looking for the newest costs a
/// walk over all, so it is done for several at once.
const ONE_IN: usize = 128;
/// When memory is short.
const ONE_IN_FOR_MEMORY: usize = 16;

impl Shortage {
    /// How the line of whoever is closed because of it ends.
    pub fn ending(self) -> Ending {
        match self {
            Self::Descriptors => endings::SHED_DESCRIPTORS,
            Self::Memory => endings::SHED_MEMORY,
        }
    }
}

impl Worker {
    /// Closes some of those who have not asked for anything, if the process is short of something.
    pub fn make_room(&self) {
        match self.process.room.shortage() {
            // What those who were closed had is counted until it is given back.
            Some(Shortage::Memory) => {
                self.buffers.trim();
                crate::sys::trim_heap();
                if self.process.room.look() {
                    self.make_room_for(Shortage::Memory);
                }
            }
            Some(shortage) => self.make_room_for(shortage),
            None => {}
        }
    }

    fn make_room_for(&self, shortage: Shortage) {
        self.process.room.tell(shortage);
        self.close_newest(shortage);
        // Whoever hurts need not be one of ours.
        self.process.call_for_room(self.index, shortage);
    }

    /// Makes room whenever another worker is short of something.
    pub async fn heed_calls(&self) {
        loop {
            let shortage = self.process.called_for_room(self.index).await;
            self.close_newest(shortage);
        }
    }

    /// Closes this worker's part of those who have not asked for anything: while anywhere somebody has yet to send its first
    /// request, only such.
    fn close_newest(&self, shortage: Shortage) {
        let open = self.sessions() + self.parking.len();
        let most = match shortage {
            Shortage::Descriptors => (open / ONE_IN).max(1),
            Shortage::Memory => (open / ONE_IN_FOR_MEMORY).max(1),
        };
        if self.process.headless() > 0 {
            self.end_newest(Phase::Headless, most, shortage);
            return;
        }
        let left = most - self.end_newest(Phase::Idle, most, shortage);
        if left > 0 {
            self.parking.close_newest(self, left, shortage);
        }
    }

    /// The kernel refused something with this error. True if it may be worth asking again at once.
    pub fn short_of(&self, error: Option<i32>) -> bool {
        match error {
            Some(libc::EMFILE | libc::ENFILE) => {
                self.process.room.count_refused();
                self.make_room_for(Shortage::Descriptors);
                self.view().close_kept()
            }
            Some(libc::ENOMEM | libc::ENOBUFS) => {
                self.make_room_for(Shortage::Memory);
                false
            }
            _ => false,
        }
    }

    /// Looks whether memory is short, and closes some of those who wait if it is. True if it is.
    pub fn look_at_memory(&self) -> bool {
        let short = self.process.room.look();
        if short {
            self.make_room();
        }
        short
    }

    /// Forgets what is known of clients that are gone. True while clients are known.
    pub fn tidy_limits(&self) -> bool {
        let view = self.view();
        let limited = view.snapshot.listeners.iter().filter(|listener| listener.limits.clients.is_some());
        let Nanos(now) = self.process.nanos();
        limited.fold(false, |left, listener| {
            listener.clients.tidy(Nanos(now));
            left | !listener.clients.is_empty()
        })
    }

    /// Counts and notes a client that is closed because of `shortage`.
    pub fn note_shed(&self, knock: &Knock, shortage: Shortage, began: std::time::Instant) {
        self.process.room.count_shed(shortage, 1);
        knock.view.listener_cell(&knock.listener).limits().shed.inc();
        door::note(self, knock, shortage.ending(), began);
    }
}

impl Downstream {
    /// Counts and notes that it is closed because its place was needed, if it was.
    pub fn note_shed(&self) {
        if let Some(shortage) = self.ticket.shed() {
            self.worker.note_shed(&self.knock(), shortage, self.accepted);
        }
    }
}
