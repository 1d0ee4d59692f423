//! What a verdict does: workers are told by a member's state, operators by the timeline.

use lb_control::events::{Event, EventKind};
use lb_core::config::monitor::OnMarkedDown;
use lb_core::config::{LoadBalancer, Pool};
use lb_core::health::slow_start::WHOLE_PERMILLE;
use lb_core::health::{Administrative, Change, Turn};
use lb_core::names::Addresses;
use lb_core::snapshot::{MemberSlot, Snapshot};

use super::minder::{Book, Minder, member_of};
use super::timeline::unix_ms;
use super::ward::Ward;
use super::{network, words};

impl Minder {
    /// A member's state turned: traffic, the timeline and everybody who waits are told.
    pub(super) fn turned(&self, book: &mut Book, place: usize, turn: &Turn) {
        let Some(config) = book.config.clone() else { return };
        let ward = &mut book.wards[place];
        ward.since_ms = unix_ms();
        ward.state.set_up(ward.judgement.is_up());
        if ward.judgement.is_up() {
            // What live traffic noticed before is out of date.
            ward.state.fault.works(self.process.now());
        }
        // Whoever waits for it alone, or for the first one that is up, is told at once.
        self.process.snapshot.load().recheck_queues();
        let Some((pool, member)) = member_of(&config, ward) else { return };
        let in_flight = ward.state.in_flight();
        let cut = turn.change == Change::WentDown && pool.on_marked_down == OnMarkedDown::ShutdownSessions;
        if cut {
            ward.state.cut();
            self.process.cut_wanted();
        }
        let up = book.working(pool.id);
        let (kind, old, new) = match turn.change {
            Change::WentDown => (EventKind::MemberDown, "UP", "DOWN"),
            Change::CameUp => (EventKind::MemberUp, "DOWN", "UP"),
        };
        self.timeline.tell(Event {
            old: old.to_owned(),
            new: new.to_owned(),
            reason: turn.cause.words(&pool.monitors),
            by: words::by(&turn.cause, pool),
            effect: words::effect(turn.change, cut, in_flight, up, pool.members.len()),
            ..Event::new(kind, words::member(pool, member))
        });
        self.survey(book, pool, &words::by(&turn.cause, pool));
    }

    fn pool_down(&self, book: &mut Book, pool: &Pool, by: &str) {
        let subject = words::pool(pool);
        self.timeline.tell(Event {
            old: "UP".to_owned(),
            new: "DOWN".to_owned(),
            reason: "no member can take work".to_owned(),
            by: by.to_owned(),
            effect: "new requests are answered 503, new TCP connections are reset".to_owned(),
            ..Event::new(EventKind::PoolDown, subject.clone())
        });
        let now = self.process.now();
        let within_ms = pool.monitors.iter().map(|m| m.delay_ms * u64::from(m.max_retries_down) + m.timeout_ms).max();
        // Who was down before is no witness.
        let fell: Vec<&Ward> = book
            .wards
            .iter()
            .filter(|ward| ward.pool == pool.id && ward.is_minded() && !ward.judgement.is_up())
            .filter(|ward| now.since(ward.judgement.since()) <= within_ms.unwrap_or(0))
            .collect();
        if fell.len() < 2 || !fell.iter().all(|ward| ward.judgement.cause().is_some_and(network::is_silence)) {
            return;
        }
        let here = network::wrong_here();
        let reason = format!(
            "{} members, all that worked, fell silent within one interval{}",
            fell.len(),
            if here.is_empty() { String::new() } else { format!(", and here: {here}") }
        );
        let sure =
            if here.is_empty() { "this node's network is the likely cause" } else { "this node lost its network" };
        book.dark.insert(pool.id);
        self.timeline.tell(Event {
            new: sure.to_owned(),
            reason,
            by: "the health monitors".to_owned(),
            ..Event::new(EventKind::NetworkLost, subject)
        });
    }

    fn pool_up(&self, book: &mut Book, pool: &Pool, by: &str) {
        let subject = words::pool(pool);
        if book.dark.remove(&pool.id) {
            self.timeline.tell(Event {
                new: "members are heard again".to_owned(),
                by: "the health monitors".to_owned(),
                ..Event::new(EventKind::NetworkBack, subject.clone())
            });
        }
        self.timeline.tell(Event {
            old: "DOWN".to_owned(),
            new: "UP".to_owned(),
            reason: "a member can take work again".to_owned(),
            by: by.to_owned(),
            ..Event::new(EventKind::PoolUp, subject)
        });
    }

    /// Tells when a member was moved along the operator's axis, and by whom.
    pub(super) fn tell_administrative(&self, book: &mut Book, place: usize, before: Administrative, by: &str) {
        let Some(config) = book.config.clone() else { return };
        let ward = &book.wards[place];
        let Some((pool, member)) = member_of(&config, ward) else { return };
        if before == ward.administrative {
            return;
        }
        let operator = by == words::OPERATOR;
        self.timeline.tell(Event {
            old: words::axis(before).to_owned(),
            new: words::axis(ward.administrative).to_owned(),
            reason: if operator { String::new() } else { ward.judgement.agent().reason.to_string() },
            by: by.to_owned(),
            ..Event::new(EventKind::MemberAdministrative, words::member(pool, member))
        });
        if !operator {
            self.survey(book, pool, by);
        }
    }

    /// Nobody minds this one any more: if it is still there it counts as well.
    pub(super) fn let_go(&self, book: &Book, ward: &Ward, by: &str) {
        ward.state.set_up(true);
        ward.state.set_share_permille(WHOLE_PERMILLE);
        ward.state.slots.set_asked(None, WHOLE_PERMILLE);
        let Some((pool, member)) = book.config.as_deref().and_then(|config| member_of(config, ward)) else { return };
        if ward.judgement.is_up() {
            return;
        }
        let moved = book.wards.iter().any(|known| known.pool == pool.id && known.member == member.id);
        self.timeline.tell(Event {
            old: "DOWN".to_owned(),
            new: "UP".to_owned(),
            reason: if moved {
                "it is somewhere else now, and nothing is known of it".to_owned()
            } else {
                "nobody asks it any more".to_owned()
            },
            by: by.to_owned(),
            ..Event::new(EventKind::MemberUp, words::member(pool, member))
        });
    }

    /// Tells who moved because its name leads elsewhere.
    pub(super) fn tell_moves(&self, before: &Snapshot, after: &Snapshot, addresses: &Addresses) {
        let Some(config) = &after.config else { return };
        let pools = config.pools.iter().zip(&before.pools).zip(&after.pools);
        for ((pool, before), after) in pools {
            for ((member, old), new) in pool.members.iter().zip(&before.members).zip(&after.members) {
                let Some(name) = member.address.name().filter(|_| old.socket() != new.socket()) else { continue };
                let socket = |slot: &MemberSlot| slot.socket().map_or_else(String::new, |socket| socket.to_string());
                let (reason, new) = match addresses.fault(member) {
                    Some(fault) => (fault.to_owned(), "nowhere".to_owned()),
                    None => (format!("{name} leads there"), socket(new)),
                };
                let effect = match old.state.in_flight() {
                    0 => String::new(),
                    n => format!("{n} in flight go on at the old address"),
                };
                self.timeline.tell(Event {
                    old: socket(old),
                    new,
                    reason,
                    by: words::DNS.to_owned(),
                    effect,
                    ..Event::new(EventKind::MemberAddress, words::member(pool, member))
                });
            }
        }
    }

    /// Tells of pools that another document took down or brought back; says nothing of one it is the first to have.
    pub(super) fn survey_all(&self, book: &mut Book, before: Option<&LoadBalancer>, by: &str) {
        let Some(config) = book.config.clone() else { return };
        book.out.retain(|pool| config.pool(*pool).is_some());
        book.dark.retain(|pool| config.pool(*pool).is_some());
        for pool in &config.pools {
            let known = before.is_some_and(|before| before.pool(pool.id).is_some());
            match (Ward::needed(pool), known) {
                (true, true) => self.survey(book, pool, by),
                (true, false) if book.working(pool.id) == 0 => {
                    book.out.insert(pool.id);
                }
                (true, false) => {}
                (false, _) if book.out.remove(&pool.id) => self.pool_up(book, pool, by),
                (false, _) => {}
            }
        }
    }

    /// Tells when a pool lost its last working member, or has one again.
    fn survey(&self, book: &mut Book, pool: &Pool, by: &str) {
        match (book.working(pool.id) > 0, book.out.contains(&pool.id)) {
            (false, false) => {
                book.out.insert(pool.id);
                self.pool_down(book, pool, by);
            }
            (true, true) => {
                book.out.remove(&pool.id);
                self.pool_up(book, pool, by);
            }
            _ => {}
        }
    }
}
