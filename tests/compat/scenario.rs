//! What a page of the differential suite is made of, how it is played, and how two plays are compared.
//!
//! A page has a member (a script or the well-behaved one), a client, and an expectation that both programs must
//! meet ([`Scenario::same`]) or one for each with the reason ([`Scenario::differs`]). With `WEIR_COMPAT=haproxy` in
//! the environment only HAProxy plays: for writing pages.

use std::sync::Arc;
use std::time::Duration;

use weir_tests::client::{Client, Response};
use weir_tests::haproxy::Haproxy;
use weir_tests::log_line::LogLine;
use weir_tests::member::{Conn, Member, Received, Visit, behave};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

/// How long a connection must stand still to count as kept. Both programs close within a millisecond of deciding.
const FATE_PATIENCE: Duration = Duration::from_millis(200);

/// How the client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Open and silent.
    Kept,
    /// FIN from the proxy.
    Closed,
    /// RST from the proxy.
    Reset,
    /// The client left first.
    Left,
}

/// All that could be seen of one play.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    side: &'static str,
    /// Answers the client got, interim ones too.
    pub(crate) responses: Vec<Response>,
    /// What became of the client's connection.
    pub(crate) fate: Fate,
    /// Bytes the client got outside of answers.
    pub(crate) stray: Vec<u8>,
    /// Requests the member got.
    pub(crate) requests: Vec<Received>,
    /// Connections the member got.
    pub(crate) visits: Vec<Visit>,
    /// Lines logged.
    pub(crate) log: Vec<String>,
}

impl Seen {
    /// Status codes in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.responses.iter().map(Response::status).collect()
    }

    /// The last answer.
    pub(crate) fn last(&self) -> &Response {
        self.responses.last().expect("an answer")
    }

    /// The only request the member got.
    pub(crate) fn request(&self) -> &Received {
        assert_eq!(self.requests.len(), 1, "requests at the member");
        &self.requests[0]
    }

    /// True if the client's connection is gone.
    pub(crate) fn gone(&self) -> bool {
        matches!(self.fate, Fate::Closed | Fate::Reset)
    }

    /// Refused with this status, nothing of it at the member, connection closed.
    pub(crate) fn refused_with(&self, status: u16) {
        assert_eq!(self.statuses(), [status]);
        assert!(self.requests.is_empty(), "a request that should have been refused reached the member");
        assert!(self.gone(), "the connection stayed open");
    }

    /// Termination state of the only log line.
    pub(crate) fn termination(&self) -> String {
        assert_eq!(self.log.len(), 1, "log lines");
        LogLine::parse(&self.log[0]).unwrap().termination().to_owned()
    }

    fn facts(&self, log: bool, fate: bool) -> Vec<String> {
        let mut facts: Vec<String> = self.responses.iter().map(response_fact).collect();
        facts.extend(self.requests.iter().map(request_fact));
        facts.push(format!("stray bytes: {}", short(&self.stray)));
        // After a failure of a member's it is good to keep the client's connection, and harmless not to.
        let failed = self.responses.last().is_some_and(|r| made_here(r) && r.status() >= 500);
        if fate && !failed {
            facts.push(format!("connection: {}", if self.gone() { "gone" } else { "open or left" }));
        }
        if log {
            facts.extend(self.log.iter().map(|line| match LogLine::parse(line) {
                Ok(mut parsed) => {
                    if !parsed.termination().starts_with("--") {
                        parsed.bytes = "B".to_owned();
                    }
                    format!("log: {parsed:?}")
                }
                Err(why) => format!("log: {why}"),
            }));
        }
        facts
    }
}

/// A page under construction.
pub(crate) struct Scenario {
    mode: Mode,
    tune: Box<dyn Fn(&mut Setup)>,
    script: Option<Arc<Script>>,
    client: Box<dyn Fn(&mut Client)>,
    compare_log: bool,
    compare_fate: bool,
    log_lines: Option<usize>,
    member_end: bool,
    mask: fn(&str) -> String,
}

type Script = dyn Fn(&mut Conn) -> Result<(), End> + Send + Sync;

impl Scenario {
    /// HTTP before a member that behaves.
    pub(crate) fn http() -> Self {
        Self::new(
            Mode::Http,
            Arc::new(|conn: &mut Conn| {
                loop {
                    let (head, body) = conn.request()?;
                    if !behave(conn, "m1", &head, &body)? {
                        conn.close();
                        return Ok(());
                    }
                }
            }),
        )
    }

    /// TCP before a member that sends back what it gets.
    pub(crate) fn tcp() -> Self {
        Self::new(
            Mode::Tcp,
            Arc::new(|conn: &mut Conn| {
                loop {
                    let byte = conn.take(1)?;
                    conn.send(byte)?;
                }
            }),
        )
    }

    fn new(mode: Mode, script: Arc<Script>) -> Self {
        Self {
            mode,
            tune: Box::new(|_| ()),
            script: Some(script),
            client: Box::new(|_| ()),
            compare_log: true,
            compare_fate: true,
            log_lines: None,
            member_end: false,
            mask: str::to_owned,
        }
    }

    /// The member does this on each connection.
    pub(crate) fn member(mut self, script: impl Fn(&mut Conn) -> Result<(), End> + Send + Sync + 'static) -> Self {
        self.script = Some(Arc::new(script));
        self
    }

    /// The member reads one request and answers with these bytes; then as the script goes on.
    pub(crate) fn member_answers(self, answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.member(move |conn| {
            loop {
                conn.request()?;
                conn.send(&answer)?;
            }
        })
    }

    /// The member reads one request, answers with these bytes and closes.
    pub(crate) fn member_answers_and_closes(self, answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        self.member(move |conn| {
            conn.request()?;
            conn.send(&answer)?;
            conn.close();
            Ok(())
        })
    }

    /// Nobody listens at the member's address.
    pub(crate) fn no_member(mut self) -> Self {
        self.script = None;
        self
    }

    /// Changes to timeouts and options.
    pub(crate) fn tune(mut self, tune: impl Fn(&mut Setup) + 'static) -> Self {
        self.tune = Box::new(tune);
        self
    }

    /// What the client does.
    pub(crate) fn client(mut self, client: impl Fn(&mut Client) + 'static) -> Self {
        self.client = Box::new(client);
        self
    }

    /// The client sends these bytes and reads one answer, if one comes.
    pub(crate) fn client_sends(self, bytes: impl AsRef<[u8]> + 'static) -> Self {
        self.client(move |c| {
            c.send(&bytes);
            c.maybe_answer();
        })
    }

    /// The log line may differ, for the reason given.
    pub(crate) fn log_differs(mut self, why: &str) -> Self {
        assert!(!why.is_empty(), "say why");
        self.compare_log = false;
        self
    }

    /// The connection's fate may differ, for the reason given.
    pub(crate) fn fate_differs(mut self, why: &str) -> Self {
        assert!(!why.is_empty(), "say why");
        self.compare_fate = false;
        self
    }

    /// What must differ is made the same in all that is compared.
    pub(crate) fn masks(mut self, mask: fn(&str) -> String) -> Self {
        self.mask = mask;
        self
    }

    /// How many lines are logged; by default one for each final answer and at least one.
    pub(crate) fn log_lines(mut self, n: usize) -> Self {
        self.log_lines = Some(n);
        self
    }

    /// What the member saw is complete only once all its connections have ended.
    pub(crate) fn member_sees_the_end(mut self) -> Self {
        self.member_end = true;
        self
    }

    /// Both must do this, and the same in all that is compared.
    #[track_caller]
    pub(crate) fn same(self, check: impl Fn(&Seen)) {
        let haproxy = self.play(Side::Haproxy);
        haproxy.with_context(&check);
        if only_haproxy() {
            return;
        }
        let weir = self.play(Side::Weir);
        weir.with_context(&check);
        let log = self.compare_log;
        let facts = |seen: &Seen| -> Vec<String> {
            seen.facts(log, self.compare_fate).iter().map(|fact| (self.mask)(fact)).collect()
        };
        let (theirs, ours) = (facts(&haproxy), facts(&weir));
        if theirs != ours {
            panic!("HAProxy and Weir differ\n--- HAProxy\n{}\n--- Weir\n{}", theirs.join("\n"), ours.join("\n"));
        }
    }

    /// They differ on purpose, for the reason given; each must do what is said of it.
    #[track_caller]
    pub(crate) fn differs(self, why: &str, haproxy: impl Fn(&Seen), weir: impl Fn(&Seen)) {
        assert!(!why.is_empty(), "say why");
        self.play(Side::Haproxy).with_context(&haproxy);
        if !only_haproxy() {
            self.play(Side::Weir).with_context(&weir);
        }
    }

    fn play(&self, side: Side) -> Seen {
        let place = Place::new();
        let (vip, member_at) = (place.socket(), place.socket());
        let member = self.script.clone().map(|script| Member::script("m1", member_at, move |conn| script(conn)));
        let mut setup = Setup::new(self.mode, vip, [("m1", member_at)]);
        (self.tune)(&mut setup);
        let proxy = Proxy::start(side, &place, &setup);

        let mut client = Client::connect(vip);
        let guard = Context(side.name());
        (self.client)(&mut client);
        let fate = match client.fate_if_open(FATE_PATIENCE) {
            None => Fate::Left,
            Some(End::Idle) => Fate::Kept,
            Some(End::Closed) => Fate::Closed,
            Some(End::Reset) => Fate::Reset,
        };
        let (responses, stray) = (std::mem::take(&mut client.responses), std::mem::take(&mut client.stray));
        drop(client);
        drop(guard);

        let finals = responses.iter().filter(|r| r.status() >= 200 || r.status() == 101).count();
        let lines = self.log_lines.unwrap_or(finals.max(1));
        let log = proxy.wait_log(lines);
        if let (true, Some(member)) = (self.member_end, &member) {
            let what = format!("all connections of the member to end ({})", side.name());
            until_true(PATIENCE, &what, || member.visits().iter().all(|v| v.end.is_some()));
        }
        let requests = member.as_ref().map(Member::seen).unwrap_or_default();
        let visits = member.as_ref().map(Member::visits).unwrap_or_default();
        Seen { side: side.name(), responses, fate, stray, requests, visits, log }
    }
}

impl Seen {
    #[track_caller]
    fn with_context(&self, check: &impl Fn(&Self)) {
        struct Show<'a>(&'a Seen);
        impl Drop for Show<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    let seen = self.0;
                    eprintln!("--- on {}\n{}", seen.side, seen.facts(true, true).join("\n"));
                    eprintln!("fate: {:?}\nlines:\n{}", seen.fate, seen.log.join("\n"));
                }
            }
        }
        let _show = Show(self);
        check(self);
    }
}

struct Context(&'static str);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- while the client talked to {}", self.0);
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Haproxy,
    Weir,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "HAProxy",
            Self::Weir => "Weir",
        }
    }
}

enum Proxy {
    Haproxy(Haproxy),
    Weir(Box<Weir>),
}

impl Proxy {
    fn start(side: Side, place: &Place, setup: &Setup) -> Self {
        match side {
            Side::Haproxy => Self::Haproxy(Haproxy::start(place, setup)),
            Side::Weir => Self::Weir(Box::new(Weir::start(place, setup))),
        }
    }

    fn log(&self) -> Vec<String> {
        match self {
            Self::Haproxy(haproxy) => haproxy.log(),
            Self::Weir(weir) => weir.log(),
        }
    }

    /// Waits for `n` lines, but takes what there is when they do not come: the comparison tells it better.
    fn wait_log(&self, n: usize) -> Vec<String> {
        for _ in 0..1500 {
            let log = self.log();
            if log.len() >= n {
                return log;
            }
            pause_ms(2);
        }
        self.log()
    }
}

fn only_haproxy() -> bool {
    std::env::var("WEIR_COMPAT").is_ok_and(|side| side == "haproxy")
}

/// Answers made by the proxy itself are compared by their status only: the pages are each program's own. A member
/// of this suite that answers 4xx or 5xx says `X-Member`.
fn made_here(response: &Response) -> bool {
    response.status() >= 400 && response.header("x-member").is_none()
}

fn response_fact(response: &Response) -> String {
    if made_here(response) {
        return format!("answer made by the proxy: {}", response.status());
    }
    let fields = comparable(&response.head.fields);
    let Response { body, framing, .. } = response;
    format!(
        "answer {:?} {fields:?} {framing:?} body {} trailers {:?} cut: {}",
        response.head.start,
        short(&body.data),
        comparable(&body.trailers),
        body.cut.is_some()
    )
}

fn request_fact(request: &Received) -> String {
    format!(
        "request at the member: {:?} {:?} body {} trailers {:?} cut: {}",
        request.head.start,
        comparable(&request.head.fields),
        short(&request.body.data),
        comparable(&request.body.trailers),
        request.body.cut.is_some()
    )
}

/// Names in lower case (HAProxy's way) and sorted, fields of one connection left out, and the date, which HAProxy does not
/// add (RFC 9110 6.6.1 asks for it).
fn comparable(fields: &[(String, String)]) -> Vec<(String, String)> {
    let mut fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !["connection", "keep-alive", "date"].contains(&name.as_str()))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

fn short(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    let sum = bytes.iter().fold(0u32, |sum, b| sum.rotate_left(5) ^ u32::from(*b));
    format!("{} bytes {shown:?} sum {sum:08x}", bytes.len())
}
