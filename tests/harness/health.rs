//! Monitors for documents, and what became of the members they ask: events, verdicts, members whose mood changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_control::events::{Event, EventKind, Events};
use lb_control::stats::MemberHealth;
use serde_json::{Value, json};

use crate::member::{Conn, Member, behave, ok};
use crate::message::End;
use crate::wait::{PATIENCE, until};
use crate::weir::Control;

/// A monitor that asks `type` every `delay_ms`; rise 2, fall 3.
pub fn monitor(kind: &str, delay_ms: u64, timeout_ms: u64) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
    let seconds = |ms: u64| ms as f64 / 1000.0;
    json!({
        "name": kind.to_lowercase(), "type": kind, "delay": seconds(delay_ms), "timeout": seconds(timeout_ms),
        "max_retries": 2, "max_retries_down": 3,
    })
}

/// `monitor` with more keys.
pub fn with(mut monitor: Value, keys: &Value) -> Value {
    for (key, value) in keys.as_object().into_iter().flatten() {
        monitor[key] = value.clone();
    }
    monitor
}

/// The longest a verdict may take on a machine that has nothing else to do, and what a busy one adds.
pub fn soon(in_a_row: u64, delay_ms: u64, timeout_ms: u64) -> Duration {
    Duration::from_millis(in_a_row * delay_ms + timeout_ms) + BUSY
}

/// What a busy machine adds to anything.
pub const BUSY: Duration = Duration::from_millis(2500);

impl Control {
    /// What happened so far.
    pub fn events(&self) -> Events {
        self.must("GET", "/v1/events", b"").json()
    }

    /// How many events of a kind there were.
    pub fn count(&self, kind: EventKind) -> usize {
        self.events().events.iter().filter(|event| event.kind == kind).count()
    }

    /// The first event of a kind after number `after`, of a subject whose name ends in `name`.
    pub fn event(&self, kind: EventKind, name: &str, after: u64) -> Option<Event> {
        let fits = |event: &Event| event.kind == kind && event.seq > after && event.subject.name.ends_with(name);
        self.events().events.into_iter().find(fits)
    }

    /// Waits for that.
    pub fn wait_event(&self, kind: EventKind, name: &str, after: u64, patience: Duration) -> Event {
        until(patience, &format!("{kind:?} of {name}"), || self.event(kind, name, after))
    }

    /// What is known of a member's health.
    pub fn health_of(&self, member: &str) -> MemberHealth {
        self.member(member).health.unwrap_or_else(|| panic!("nothing is known of {member}"))
    }

    /// Waits until all members were asked by all their monitors.
    pub fn wait_asked(&self) {
        until(PATIENCE, "everybody to be asked", || {
            let members = self.stats().pools.into_iter().flat_map(|pool| pool.members);
            let mut views = members.filter_map(|m| m.health).flat_map(|health| health.monitors);
            views.all(|view| !view.last.is_empty()).then_some(())
        });
    }
}

/// A member that listens and behaves as its mood says; moods are scripts, the first one is to begin with.
pub struct Moody {
    /// The server.
    pub member: Member,
    mood: Arc<AtomicUsize>,
}

/// What a moody member does with a connection.
pub type Mood = Box<dyn Fn(&mut Conn) -> Result<(), End> + Send + Sync>;

impl Moody {
    /// One with these moods.
    pub fn new(name: &str, socket: SocketAddr, moods: Vec<Mood>) -> Self {
        let mood = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&mood);
        let member = Member::script(name, socket, move |conn| moods[now.load(Ordering::SeqCst)](conn));
        Self { member, mood }
    }

    /// Requests it got other than those of a monitor.
    pub fn served(&self) -> usize {
        self.member.seen().iter().filter(|request| !request.head.word(1).starts_with("/health")).count()
    }

    /// Requests of monitors.
    pub fn asked(&self) -> usize {
        self.member.requests() - self.served()
    }

    /// One that answers `/health` with 200, or in the second mood with 500; and all else well.
    pub fn http(name: &str, socket: SocketAddr) -> Self {
        let serve = |name: String, health: usize| -> Mood {
            Box::new(move |conn| {
                loop {
                    let (head, body) = conn.request()?;
                    let go_on = if head.word(1) == "/health" {
                        conn.send(crate::member::sized(health, "", b"health", false))?;
                        head.word(2) == "HTTP/1.1"
                    } else {
                        behave(conn, &name, &head, &body)?
                    };
                    if !go_on {
                        conn.close();
                        return Ok(());
                    }
                }
            })
        };
        Self::new(name, socket, vec![serve(name.to_owned(), 200), serve(name.to_owned(), 500)])
    }

    /// Changes it.
    pub fn mood(&self, mood: usize) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

/// A mood: reads a request and answers 200 with `body`, then closes.
pub fn answers_ok(body: &'static str) -> Mood {
    Box::new(move |conn| {
        conn.head()?;
        conn.send(ok(body))?;
        conn.close();
        Ok(())
    })
}

/// A monitor that asks a moody member over HTTP, often.
pub fn fast_http() -> Value {
    with(monitor("HTTP", 150, 150), &json!({"url_path": "/health"}))
}
