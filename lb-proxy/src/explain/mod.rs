//! `POST /v1/explain`: what would become of a request, answered from the control thread without a trace.
//!
//! What is asked about takes the way a request takes: the door, its head's rules, its listener's pool, the pool's memory, the
//! balancer. Each is asked by the code that is on that way; here is only who is asked in which order, and the words.

mod checks;
mod policies;
mod sketch;
mod words;

use std::net::SocketAddr;

use lb_control::explain::{
    Candidate, Explanation, Outcome, PolicyView, PoolChoice, Question, Remembered, Says, Stands, Verdict,
};
use lb_control::node::NotFound;
use lb_core::balance::MemberIndex;
use lb_core::config::{self, Listener, ListenerProtocol};
use lb_core::explain::{self, Flow, Route, Way};
use lb_core::l7::policy::Action;
use lb_core::l7::{TlsFacts, Way as Goes};
use lb_core::request::{Greeted, Parts};
use lb_core::snapshot::{ListenerSnapshot, PoolIndex, Snapshot};

use crate::http::h1::request;
use crate::http::head;
use crate::instance::Instance;
use crate::observe::record::{Ending, endings};
use crate::observe::stats::named;
use crate::{health, persistence};
use checks::Checks;
use words::Turn;

/// Why there is no explanation.
#[derive(Debug)]
pub enum NoAnswer {
    /// The question makes no sense: why not, and what would.
    Senseless(String),
    /// There is no such listener.
    NotFound(NotFound),
}

/// What is asked about, and of whom.
struct Case<'q> {
    instance: &'q Instance,
    question: &'q Question,
    snapshot: &'q Snapshot,
    listener: &'q ListenerSnapshot,
    /// What the listener was compiled from.
    written: &'q Listener,
    client: SocketAddr,
}

/// What a pool makes of it.
struct InPool {
    choice: PoolChoice,
    remembered: Option<Remembered>,
    members: Vec<Candidate>,
    verdict: Verdict,
}

/// Answers a question.
pub fn explain(instance: &Instance, question: &Question) -> Result<Explanation, NoAnswer> {
    let snapshot = instance.process.snapshot.load();
    let listeners = || snapshot.config.iter().flat_map(|config| &config.listeners).zip(&snapshot.listeners);
    let is_meant =
        |listener: &Listener| listener.id.to_string() == question.listener || listener.name == question.listener;
    let Some((written, listener)) = listeners().find(|(written, _)| is_meant(written)) else {
        let known = listeners().map(|(written, _)| written.label()).collect();
        return Err(NoAnswer::NotFound(NotFound::of("listener", &question.listener, known)));
    };
    let client = SocketAddr::new(question.from, question.port.unwrap_or_default());
    let case = Case { instance, question, snapshot: &snapshot, listener, written, client };
    case.check()?;
    if listener.protocol.is_http() { case.of_request() } else { case.of_connection() }
}

impl Case<'_> {
    fn check(&self) -> Result<(), NoAnswer> {
        let Self { question, listener, .. } = self;
        let (label, protocol) = (&listener.label, words::protocol(listener.protocol));
        let senseless = |words: String| Err(NoAnswer::Senseless(words));
        if listener.address.is_ipv4() != question.from.to_canonical().is_ipv4() {
            let (vip, kind) = (listener.address, if listener.address.is_ipv4() { "IPv4" } else { "IPv6" });
            return senseless(format!(
                "{label} listens on {vip}: its clients have {kind} addresses, unlike {}",
                question.from
            ));
        }
        let passes_tls = listener.protocol == ListenerProtocol::Https;
        match (listener.protocol.is_http(), &question.request) {
            _ if question.server_name.is_some() && !passes_tls => senseless(format!(
                "{label} is {protocol}: a server name chooses nothing there; leave out --sni, it is for HTTPS listeners"
            )),
            (false, Some(_)) if passes_tls => Ok(()),
            (true, None) => senseless(format!("{label} reads requests ({protocol}): give METHOD and URL, as in GET /")),
            (false, Some(_)) => senseless(format!("{label} relays bytes ({protocol}): leave out METHOD and URL")),
            _ => Ok(()),
        }
    }

    fn of_connection(&self) -> Result<Explanation, NoAnswer> {
        let greeted = match self.listener.protocol {
            ListenerProtocol::Https => Greeted(sketch::server_name(self.question).map_err(NoAnswer::Senseless)?),
            _ => Greeted(None),
        };
        let mut checks = Checks::default();
        let refused = self.door(&mut checks);
        if refused.is_none() && self.listener.policies.as_ref().is_some_and(|policies| policies.asks_host()) {
            checks.note("server_name", Says::Pass, words::server_name(greeted.0.as_ref()));
        }
        let first_bytes = sketch::first_bytes(&self.question.fields);
        Ok(self.go_on(checks, refused, &greeted, Some(&first_bytes)))
    }

    fn of_request(&self) -> Result<Explanation, NoAnswer> {
        let mut checks = Checks::default();
        let bytes = sketch::head(self.question, self.listener.address).map_err(NoAnswer::Senseless)?;
        let mut table = Vec::new();
        let refused = self.door(&mut checks);
        let judged = head::judge(&bytes, &mut table, self.listener.limits.heads);
        let (request, refused) = match (judged, refused) {
            (_, Some(refused)) => return Ok(self.turned_away(checks, &refused)),
            (Err(bad), None) => {
                let ending = Ending { flags: *b"PR", status: bad.status(), reason: bad.reason() };
                checks.note("request", Says::Refuse, ending.reason);
                return Ok(self.turned_away(checks, &ending));
            }
            (Ok(request), None) => (request, self.request_rate(&mut checks)),
        };
        let parts = request::Parts { request: &request, head: &bytes, table: &table };
        Ok(self.go_on(checks, refused, &parts, None))
    }

    fn go_on(
        &self,
        checks: Checks,
        refused: Option<Ending>,
        parts: &impl Parts,
        first_bytes: Option<&[u8]>,
    ) -> Explanation {
        if let Some(refused) = refused {
            return self.turned_away(checks, &refused);
        }
        let tls = match self.listener.protocol {
            // Of a client that shows no certificate.
            ListenerProtocol::TerminatedHttps => TlsFacts { verify_result: Some(0), ..TlsFacts::default() },
            _ => TlsFacts::default(),
        };
        let route = explain::route(self.listener, parts, self.client.ip(), tls);
        let mut checks = checks;
        if route.draws {
            checks.note("l7policies", Says::Pass, policies::DRAWS);
        }
        let views = policies::views(self.written, &route);
        let explanation = match route.way {
            Goes::Pool(Some(pool)) => {
                let made = self.in_pool(pool, policies::why(self.written, &route), parts, first_bytes);
                let InPool { choice, remembered, members, verdict } = made;
                self.explanation(checks, (Some(choice), remembered, members), verdict)
            }
            Goes::Pool(None) => {
                let words = "the listener has no pool".to_owned();
                let verdict = Verdict { outcome: Outcome::NoMember, member: None, status: self.status(503), words };
                self.explanation(checks, (None, None, Vec::new()), verdict)
            }
            Goes::AnsweredHere => self.explanation(checks, (None, None, Vec::new()), self.answered(&route)),
        };
        Explanation { policies: views, ..explanation }
    }

    /// What the policy that decided answers.
    fn answered(&self, route: &Route) -> Verdict {
        let by = route.by.and_then(|by| self.listener.policies.as_ref()?.policies.get(by));
        let (status, reason) = match by.map(|policy| &policy.action) {
            Some(Action::ToUrl(_, status) | Action::ToPrefix(_, status)) => (*status, endings::REDIRECTED.reason),
            _ => (endings::REJECTED.status, endings::REJECTED.reason),
        };
        let words = format!("{reason} ({})", policies::why(self.written, route));
        // Where bytes are relayed, nothing can be said.
        let outcome = if self.listener.protocol.is_http() { Outcome::Answered } else { Outcome::Refused };
        Verdict { outcome, member: None, status: self.status(status), words }
    }

    fn in_pool(&self, index: PoolIndex, why: String, parts: &impl Parts, first_bytes: Option<&[u8]>) -> InPool {
        let Self { instance, question, snapshot, client, .. } = *self;
        let pool = &snapshot.pools[index];
        let now = instance.process.now();
        let any_port = question.port.is_none();
        let moment = persistence::moment(pool, now);
        let told = explain::in_pool(pool, &Flow { client, any_port, parts, first_bytes, draw: None, moment });
        let members = self.members(index, &told);
        // A pool in force was compiled from one of this document.
        let written = snapshot.config.as_ref().and_then(|config| config.pools.get(index));
        let member_words = |member: MemberIndex| {
            let slot = pool.member(member);
            let candidate = members.iter().find(|candidate| candidate.id == slot.id.to_string());
            (named(slot.id, &slot.label), candidate.map_or("", |candidate| &*candidate.words))
        };
        let remembered = pool.persistence.as_ref().map(|known| {
            let sentence = words::remembered(pool, written, &told, client.ip(), &member_words);
            let member = words::belongs_to(&told).map(|member| member_words(member).0);
            Remembered { kind: known.word().to_owned(), hit: told.found.member.is_some(), member, words: sentence }
        });
        let by = written.map_or_else(String::new, |written| words::by(written, pool, &told));
        let named_pool = named(pool.id, &pool.label);
        let choice = PoolChoice {
            id: named_pool.id,
            name: named_pool.name,
            lb_algorithm: written.map_or_else(String::new, |written| written.lb_algorithm.word().to_owned()),
            why,
            by,
        };
        let verdict = self.verdict(pool, &told, &choice, remembered.as_ref());
        InPool { choice, remembered, members, verdict }
    }

    /// All members, in the order they are told.
    fn members(&self, index: PoolIndex, told: &explain::Outcome) -> Vec<Candidate> {
        let Self { instance, snapshot, .. } = *self;
        let pool = &snapshot.pools[index];
        let Some(written) = snapshot.config.as_ref().and_then(|config| config.pools.get(index)) else {
            return Vec::new();
        };
        let look = instance.minder.look(instance.process.now());
        let shares = health::view::Shares::of(pool);
        let candidate = |place: usize, member: &config::Member| {
            let (at, slot) = (MemberIndex(place as u16), &pool.members[place]);
            let health = look.member(written, member, &shares, slot);
            let turn = told.order.iter().position(|known| *known == at);
            let standing = told.standings[place];
            let stands = match (turn, standing) {
                (Some(0), _) => Stands::Picked,
                (Some(_), _) | (None, explain::Standing::Ready) => Stands::Candidate,
                (None, _) => Stands::LeftOut,
            };
            let comes = match turn {
                _ if told.found.member == Some(at) => Turn::Own,
                Some(_) => Turn::Comes,
                None => Turn::Never,
            };
            let name = named(slot.id, &slot.label);
            Candidate {
                id: name.id,
                name: name.name,
                address: slot.socket().map_or_else(String::new, |socket| socket.to_string()),
                weight: slot.weight,
                share_permille: slot.state.share_permille(),
                backup: slot.backup,
                operating_status: health.operating_status,
                active_connections: slot.state.in_flight(),
                max_connections: slot.state.slots.limit(),
                stands,
                turn: turn.map(|turn| turn as u32 + 1),
                words: words::standing(standing, slot, &health, comes),
            }
        };
        let mut all: Vec<Candidate> =
            written.members.iter().enumerate().map(|(place, m)| candidate(place, m)).collect();
        let rank = |candidate: &Candidate| match (candidate.turn, candidate.stands) {
            (Some(turn), _) => turn,
            (None, Stands::LeftOut) => u32::MAX,
            (None, _) => u32::MAX - 1,
        };
        all.sort_by_key(rank);
        all
    }

    fn verdict(
        &self,
        pool: &lb_core::snapshot::PoolSnapshot,
        told: &explain::Outcome,
        choice: &PoolChoice,
        remembered: Option<&Remembered>,
    ) -> Verdict {
        let name = |member: MemberIndex| named(pool.member(member).id, &pool.member(member).label);
        let (outcome, member, ending) = match told.way {
            Way::To(member) => (Outcome::Member, Some(name(member)), None),
            Way::OneOf(_) => (Outcome::OneOf, None, None),
            Way::Waits(whom) => (Outcome::Waits, whom.map(name), None),
            Way::QueueFull(whom) => (Outcome::Refused, whom.map(name), Some(endings::QUEUE_FULL)),
            Way::Nobody => (Outcome::NoMember, None, Some(endings::NO_MEMBER)),
        };
        let words = match (ending, told.way) {
            (Some(ending), _) => ending.reason.to_owned(),
            (None, Way::To(member)) if told.found.member == Some(member) => {
                let kind = remembered.map_or("", |remembered| &*remembered.kind);
                format!("the client belongs to it ({kind})")
            }
            (None, Way::To(_)) => format!("{}: {}", choice.lb_algorithm, choice.by),
            (None, way) => words::open_end(way, pool, self.listener.timeouts.member_connect_ms),
        };
        Verdict { outcome, member, status: ending.and_then(|ending| self.status(ending.status)), words }
    }

    fn turned_away(&self, checks: Checks, ending: &Ending) -> Explanation {
        let words = ending.reason.to_owned();
        let verdict = Verdict { outcome: Outcome::Refused, member: None, status: self.status(ending.status), words };
        self.explanation(checks, (None, None, Vec::new()), verdict)
    }

    fn explanation(
        &self,
        checks: Checks,
        (pool, persistence, members): (Option<PoolChoice>, Option<Remembered>, Vec<Candidate>),
        verdict: Verdict,
    ) -> Explanation {
        Explanation {
            listener: named(self.listener.id, &self.listener.label),
            protocol: words::protocol(self.listener.protocol),
            checks: checks.0,
            policies: Vec::<PolicyView>::new(),
            pool,
            persistence,
            members,
            verdict,
        }
    }

    /// What a client is answered; where bytes are relayed nothing can be said.
    fn status(&self, status: u16) -> Option<u16> {
        Some(status).filter(|status| *status > 0 && self.listener.protocol.is_http())
    }
}
