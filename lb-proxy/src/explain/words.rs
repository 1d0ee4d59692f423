//! Reasons in words.

use std::net::IpAddr;

use lb_control::explain::Named;
use lb_control::stats::MemberHealth;
use lb_core::balance::{Asks, MemberIndex};
use lb_core::client_hello::ServerName;
use lb_core::config::persistence::SessionPersistence;
use lb_core::config::{HashKey, Hashing, LbAlgorithm, ListenerProtocol, Pool};
use lb_core::explain::{Outcome, Standing, Unknown, Way};
use lb_core::persistence::Met;
use lb_core::snapshot::{MemberSlot, PoolSnapshot};

/// Octavia's word.
pub(super) fn protocol(protocol: ListenerProtocol) -> String {
    serde_json::to_value(protocol).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a client of passed-through TLS asks for.
pub(super) fn server_name(name: Option<&ServerName>) -> String {
    match name {
        Some(name) => format!("the client asks for {}", name.as_str()),
        None => "the client names no server: ask with --sni NAME for one that does".to_owned(),
    }
}

/// What a pool's algorithm goes by, for that flow.
pub(super) fn by(written: &Pool, pool: &PoolSnapshot, told: &Outcome) -> String {
    let hashing = written.hash.clone().or_else(|| Hashing::of(written.lb_algorithm));
    let what = match (written.lb_algorithm, hashing.map(|hashing| hashing.key)) {
        (_, Some(HashKey::Source)) => "the client's address".to_owned(),
        (_, Some(HashKey::SourcePort)) => "the client's address and port".to_owned(),
        (_, Some(HashKey::Uri { .. })) => "the request's target".to_owned(),
        (_, Some(HashKey::UrlParam { parameter })) => format!("the parameter {parameter}"),
        (_, Some(HashKey::Header { header, .. })) => format!("the field {header}"),
        (_, Some(HashKey::RdpCookie { cookie })) => format!("the cookie {cookie} in the first message"),
        (LbAlgorithm::RoundRobin | LbAlgorithm::StaticRr, None) => return "whose turn it is, by weight".to_owned(),
        (LbAlgorithm::LeastConnections, None) => return "who works on the least for its weight".to_owned(),
        (LbAlgorithm::First, None) => return "the first of the document that can".to_owned(),
        (LbAlgorithm::Random, None) => return "two drawn by weight, the less busy of them".to_owned(),
        (_, None) => return String::new(),
    };
    match &pool.asks {
        Asks::Request(_) | Asks::FirstBytes(_) if told.key.hash.is_none() => {
            format!("{what}, which is not there: it takes its turn")
        }
        _ => format!("a hash of {what}"),
    }
}

/// The member a flow belongs to, be it allowed to have it or not.
pub(super) fn belongs_to(told: &Outcome) -> Option<MemberIndex> {
    told.met.iter().rev().find_map(|met| match met {
        Met::Home(member) | Met::Barred(member) | Met::TooIdle(member) | Met::TooOld(member) => Some(*member),
        Met::NoToken | Met::BrokenSeal | Met::Stranger | Met::Unheard | Met::Away | Met::Gone => None,
    })
}

/// What a pool remembers of a client. `member`: one's name, and what is said of it beside.
pub(super) fn remembered<'w>(
    pool: &PoolSnapshot,
    written: Option<&Pool>,
    told: &Outcome,
    client: IpAddr,
    member: &dyn Fn(MemberIndex) -> (Named, &'w str),
) -> String {
    let persistence = written.and_then(|written| written.session_persistence.as_ref());
    let (by_address, cookie) = match persistence {
        Some(SessionPersistence::HttpCookie(by)) => (false, &*by.cookie_name),
        Some(SessionPersistence::AppCookie(by)) => (false, &*by.cookie_name),
        Some(SessionPersistence::SourceIp(_)) | None => (true, ""),
    };
    let label = |index: MemberIndex| {
        let (Named { id, name }, _) = member(index);
        if name.is_empty() { id } else { name }
    };
    let one = |met: &Met| match *met {
        Met::NoToken => format!("the value of {cookie} is none of ours: cut, or made by somebody else"),
        Met::BrokenSeal => format!("the dates in {cookie} were not sealed here: altered, or forged"),
        Met::Stranger => format!("the value of {cookie} names nobody: forged, or of a member that is gone"),
        Met::TooIdle(of) => format!("{cookie} is of {} and was not used for longer than max_idle", label(of)),
        Met::TooOld(of) => format!("{cookie} is of {} and was given out longer ago than max_life", label(of)),
        Met::Unheard if by_address => format!("{client} is not in the table: it never came, or was forgotten"),
        Met::Unheard => format!("the session in {cookie} is not in the table: it never began here, or was forgotten"),
        Met::Away => "it was away for longer than persistence_timeout".to_owned(),
        Met::Gone => "its member is not in the pool any more".to_owned(),
        Met::Barred(of) => match member(of).1 {
            "" => format!("its member {} may not have it", label(of)),
            words => format!("its member {} may not have it: {words}", label(of)),
        },
        Met::Home(of) if pool.member(of).state.fault.hangs() => {
            format!("it belongs to {}, but connections to that one hang: others come first", label(of))
        }
        Met::Home(of) => format!("it belongs to {}", label(of)),
    };
    match told.met.as_slice() {
        [] => format!("the request has no cookie {cookie}"),
        all => all.iter().map(one).collect::<Vec<_>>().join("; "),
    }
}

/// What a flow has to do with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It belongs to it.
    Own,
    /// It may come to it.
    Comes,
    /// Nothing.
    Never,
}

/// Why a member is left out, or what is peculiar about one that is not.
pub(super) fn standing(standing: Standing, slot: &MemberSlot, health: &MemberHealth, turn: Turn) -> String {
    let state = &slot.state;
    let known = |words: &str, reason: &str| match reason {
        "" => words.to_owned(),
        reason => format!("{words}: {reason}"),
    };
    let words = match standing {
        Standing::Ready => return String::new(),
        Standing::Nowhere => known("its name leads nowhere", &health.reason),
        Standing::Disabled => "disabled: admin_state_up is false, its own or its pool's".to_owned(),
        Standing::Down => known("down", &health.reason),
        Standing::Weightless if slot.weight == 0 => "draining: its weight is 0".to_owned(),
        Standing::Weightless => known("draining: it gets nothing of its weight", &health.agent),
        Standing::Hangs => "connections to it hang".to_owned(),
        Standing::Avoided => "it just failed, and is left alone for a moment".to_owned(),
        Standing::Backup => "a backup: ordinary members come first".to_owned(),
        Standing::Full => {
            format!("full: it works on {} of {}", state.in_flight(), state.slots.limit().unwrap_or_default())
        }
        Standing::WaitedFor => "others wait for it already".to_owned(),
    };
    match (standing, turn) {
        (Standing::Weightless, Turn::Own) => format!("{words}, and it keeps its own clients"),
        (Standing::Backup, Turn::Own) => "a backup, and it keeps its own clients".to_owned(),
        (Standing::Hangs | Standing::Avoided, Turn::Comes) => format!("{words}, unless nobody else is left"),
        _ => words,
    }
}

/// What is known of a way that leads to no certain member.
pub(super) fn open_end(way: Way, pool: &PoolSnapshot, connect_ms: u64) -> String {
    match way {
        Way::OneOf(Unknown::Draw) => "one of the candidates, drawn when it comes".to_owned(),
        Way::OneOf(Unknown::Port) => {
            "one of the candidates, by the client's port: ask --from IP:PORT to know which".to_owned()
        }
        Way::Waits(whom) => {
            let room = if whom.is_some() { "it has room" } else { "one has room: all that could serve are full" };
            let time = match pool.limits.timeout_ms.unwrap_or(connect_ms) {
                0 => "as long as it takes".to_owned(),
                ms => format!("for {ms} ms at most"),
            };
            format!("it waits until {room}, {time}; {} wait already", pool.limits.queue.waiting())
        }
        Way::To(_) | Way::QueueFull(_) | Way::Nobody => String::new(),
    }
}
