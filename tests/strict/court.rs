//! What a case is made of, how it is played, and what holds for every one of them.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use weir_tests::canon::{self, Message};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::strict_member::{Arrival, StrictMember};
use weir_tests::wait::PATIENCE;
use weir_tests::weir::Weir;

/// What an attacker wants to be served: it stands behind every request that must be refused.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// What must become of a case.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// One answer with one of these statuses, then the end; nothing of it at the member, nor of what follows.
    Refused(&'static [u16]),
    /// It breaks in its body: no good answer, then the end; what began at the member stays visibly incomplete.
    Broken,
    /// These arrive, each is answered in order, and the connection is in step afterwards.
    Served(Vec<Message>),
    /// Refused or served, but each answer 200 belongs to one canonical request at the member.
    Safe,
}

/// Bytes of a client, and what must become of them.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is odd about it.
    pub(crate) name: String,
    /// Where it says so.
    pub(crate) rule: &'static str,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
    /// What must become of it.
    pub(crate) want: Want,
}

/// Refused with 400, with a request behind it that must not be served.
pub(crate) fn refused(name: impl Into<String>, rule: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    refused_with(&[400], name, rule, bytes)
}

/// The same with one of these.
pub(crate) fn refused_with(
    statuses: &'static [u16],
    name: impl Into<String>,
    rule: &'static str,
    bytes: impl AsRef<[u8]>,
) -> Case {
    let bytes = [bytes.as_ref(), SMUGGLED.as_bytes()].concat();
    Case { name: name.into(), rule, bytes, want: Want::Refused(statuses) }
}

/// Broken in its body, with a request behind it that must not be served.
pub(crate) fn broken(name: impl Into<String>, rule: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    let bytes = [bytes.as_ref(), SMUGGLED.as_bytes()].concat();
    Case { name: name.into(), rule, bytes, want: Want::Broken }
}

/// Served as these requests.
pub(crate) fn served(
    name: impl Into<String>,
    rule: &'static str,
    bytes: impl AsRef<[u8]>,
    requests: impl IntoIterator<Item = Message>,
) -> Case {
    let want = Want::Served(requests.into_iter().collect());
    Case { name: name.into(), rule, bytes: bytes.as_ref().to_vec(), want }
}

/// Anything that is safe.
pub(crate) fn safe(name: impl Into<String>, rule: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case { name: name.into(), rule, bytes: bytes.as_ref().to_vec(), want: Want::Safe }
}

/// A request as it must arrive.
pub(crate) fn arrives(head: &str, body: &str) -> Message {
    Message { head: head.to_owned(), body: body.as_bytes().to_vec(), trailers: Vec::new() }
}

/// A GET of `/` with these lines behind its Host.
pub(crate) fn get(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: weir.test\r\n", fields.as_ref(), b"\r\n"].concat()
}

/// A POST to `/` with these lines behind its Host, and a body.
pub(crate) fn post(fields: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST / HTTP/1.1\r\nHost: weir.test\r\n", fields.as_ref(), b"\r\n", body.as_ref()].concat()
}

/// A data plane before a strict member.
pub(crate) struct Court {
    /// Who is judged.
    pub(crate) weir: Weir,
    /// Who judges.
    pub(crate) member: StrictMember,
    /// Where clients connect.
    pub(crate) vip: SocketAddr,
    _place: Place,
}

impl Court {
    /// With the usual setup.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// With another.
    pub(crate) fn with(tune: impl FnOnce(&mut Setup)) -> Self {
        let place = Place::new();
        let (vip, member_at) = (place.socket(), place.socket());
        let member = StrictMember::start(member_at);
        let mut setup = Setup::new(Mode::Http, vip, [("m1", member_at)]);
        tune(&mut setup);
        let weir = Weir::start(&place, &setup);
        Self { weir, member, vip, _place: place }
    }

    /// Plays all of them, in one piece and byte by byte, and fails with all that went wrong.
    #[track_caller]
    pub(crate) fn try_all(&self, cases: &[Case]) {
        let mut wrong = String::new();
        let mut failed = 0;
        // What breaks in its body is seen by the member a moment later than by the client: such cases come last, so that
        // they are nobody else's.
        let breaks = |case: &&Case| matches!(case.want, Want::Broken | Want::Safe);
        let in_order = cases.iter().filter(|case| !breaks(case)).chain(cases.iter().filter(breaks));
        for case in in_order {
            for cut in [Cut::Whole, Cut::Bytes] {
                // What is larger is about its size.
                if cut == Cut::Bytes && case.bytes.len() > 2000 {
                    continue;
                }
                if let Err(why) = self.play(case, cut) {
                    failed += 1;
                    let bytes = String::from_utf8_lossy(&case.bytes[..case.bytes.len().min(400)]).into_owned();
                    writeln!(wrong, "{} ({}, {cut:?}): {why}\n    {bytes:?}", case.name, case.rule).unwrap();
                }
            }
        }
        assert!(wrong.is_empty(), "{failed} of {} cases:\n{wrong}", cases.len() * 2);
    }

    fn play(&self, case: &Case, cut: Cut) -> Result<(), String> {
        let before = self.member.arrivals();
        if let Some(late) = before.iter().find(|a| !matches!(a, Arrival::Cut(_))) {
            return Err(format!("before it began there arrived: {late:?}"));
        }
        let mut client = TcpStream::connect(self.vip).unwrap();
        client.set_nodelay(true).unwrap();
        let sent = cut.send(&mut client, &case.bytes);
        let verdict = match &case.want {
            Want::Refused(statuses) => self.refused(&mut client, statuses, case.bytes.starts_with(b"HEAD ")),
            Want::Broken => self.broken(&mut client),
            Want::Served(requests) => self.served(&mut client, requests, sent),
            Want::Safe => self.safe(&mut client),
        };
        drop(client);
        verdict.map_err(|why| format!("{why}; then there arrived: {:?}", self.member.arrivals()))
    }

    fn refused(&self, client: &mut TcpStream, statuses: &[u16], bodiless: bool) -> Result<(), String> {
        let seen = Seen::read_to(client, 1, &|_| bodiless)?;
        let [only] = &seen.answers[..] else { return Err(format!("not one answer: {:?}", seen.statuses())) };
        if !statuses.contains(&only.status()) {
            return Err(format!("answered {} and not {statuses:?}", only.status()));
        }
        if only.field("connection") != Some("close") {
            return Err("the end was not announced".to_owned());
        }
        seen.and(Seen::read(client, usize::MAX)?).nothing_more()?;
        match &self.arrived()?[..] {
            [] => Ok(()),
            some => Err(format!("there arrived: {some:?}")),
        }
    }

    fn broken(&self, client: &mut TcpStream) -> Result<(), String> {
        let seen = Seen::read(client, usize::MAX)?;
        seen.is_over()?;
        if seen.answers.len() > 1 || seen.answers.iter().any(|a| a.status() < 400) {
            return Err(format!("answered {:?}", seen.statuses()));
        }
        match self.arrived()?.iter().find(|a| !matches!(a, Arrival::Cut(_))) {
            None => Ok(()),
            Some(some) => Err(format!("there arrived: {some:?}")),
        }
    }

    fn served(&self, client: &mut TcpStream, requests: &[Message], sent: Result<(), String>) -> Result<(), String> {
        let seen = Seen::read(client, requests.len())?;
        if seen.answers.len() != requests.len() {
            return Err(format!("{} answers for {}: {:?}", seen.answers.len(), requests.len(), seen.statuses()));
        }
        for (answer, request) in seen.answers.iter().zip(requests) {
            let text = format!("{} {} {}", request.word(0), request.word(1), request.body.len());
            if answer.status() != 200 || answer.body != text.as_bytes() {
                return Err(format!("{text} was answered {} {:?}", answer.status(), answer.body));
            }
        }
        let arrived = self.arrived()?;
        let wanted: Vec<Arrival> = requests.iter().cloned().map(Arrival::Request).collect();
        if arrived != wanted {
            return Err(format!("there arrived {arrived:?}\n  and not {wanted:?}"));
        }
        if seen.answers.last().and_then(|a| a.field("connection")) == Some("close") {
            return seen.and(Seen::read(client, usize::MAX)?).nothing_more();
        }
        // Only who was told that nothing more is read may meet an end while he is still sending.
        sent?;
        // Nothing is left over on either side.
        client.write_all(b"GET /sentinel HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").unwrap();
        let seen = Seen::read(client, usize::MAX)?;
        seen.is_over()?;
        match (&seen.answers[..], self.arrived()?.len()) {
            ([only], 1) if only.body == b"GET /sentinel 0" => Ok(()),
            (answers, n) => Err(format!("the connection is out of step: {n} arrived, {answers:?}")),
        }
    }

    fn safe(&self, client: &mut TcpStream) -> Result<(), String> {
        let _ = client.shutdown(Shutdown::Write);
        let seen = Seen::read(client, usize::MAX)?;
        seen.is_over()?;
        let good = seen.answers.iter().filter(|a| a.status() == 200).count();
        let arrived = self.arrived()?;
        let whole = arrived.iter().filter(|a| matches!(a, Arrival::Request(_))).count();
        let hidden = |a: &Arrival| matches!(a, Arrival::Request(request) if request.word(1) == "/hidden");
        if good != whole || arrived.iter().any(hidden) {
            return Err(format!("answered {:?}, and there arrived {arrived:?}", seen.statuses()));
        }
        Ok(())
    }

    /// What has arrived up to now; a request on a connection of its own goes behind whatever is under way.
    fn arrived(&self) -> Result<Vec<Arrival>, String> {
        let mut fence = TcpStream::connect(self.vip).unwrap();
        fence.write_all(b"GET /fence HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n").unwrap();
        let seen = Seen::read(&mut fence, 1)?;
        if seen.answers.first().is_none_or(|a| a.body != b"GET /fence 0") {
            return Err(format!("somebody else was answered {:?}", seen.answers));
        }
        let mut arrivals = self.member.arrivals();
        if let Some(fault) = arrivals.iter().find(|a| matches!(a, Arrival::Fault(_))) {
            return Err(format!("the member was sent {fault:?}"));
        }
        let fences = arrivals.iter().filter(|a| is_fence(a)).count();
        arrivals.retain(|a| !is_fence(a));
        if fences == 1 { Ok(arrivals) } else { Err(format!("{fences} fences")) }
    }
}

fn is_fence(arrival: &Arrival) -> bool {
    matches!(arrival, Arrival::Request(request) if request.word(1) == "/fence")
}

/// How a case is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Whole,
    Bytes,
}

impl Cut {
    fn send(self, client: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
        let pieces: Vec<&[u8]> = match self {
            Self::Whole => vec![bytes],
            Self::Bytes => bytes.chunks(1).collect(),
        };
        for piece in pieces {
            client.write_all(piece).map_err(|e| format!("it could not be sent: {e}"))?;
        }
        Ok(())
    }
}

/// What came back on a connection.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Answers, interim ones too.
    pub(crate) answers: Vec<Message>,
    /// What is no whole answer.
    pub(crate) rest: Vec<u8>,
    /// How it ended, if it did.
    pub(crate) end: Option<End>,
}

impl Seen {
    /// Reads until there are `finals` final answers, or the connection ends.
    pub(crate) fn read(client: &mut TcpStream, finals: usize) -> Result<Self, String> {
        Self::read_to(client, finals, &|_| false)
    }

    /// The same; `bodiless` says whether the `n`th final answer is one to HEAD.
    pub(crate) fn read_to(
        client: &mut TcpStream,
        finals: usize,
        bodiless: &dyn Fn(usize) -> bool,
    ) -> Result<Self, String> {
        let mut seen = Self::default();
        let deadline = Instant::now() + PATIENCE;
        let mut chunk = vec![0; 65536];
        loop {
            while !seen.rest.is_empty() && seen.finals() < finals {
                let parsed = canon::answer(&seen.rest, bodiless(seen.finals()), seen.end.is_some());
                let Some((answer, len)) = parsed.map_err(|fault| format!("the client was sent {fault}"))? else {
                    break;
                };
                seen.rest.drain(..len);
                seen.answers.push(answer);
            }
            if seen.end.is_some() || seen.finals() >= finals {
                return Ok(seen);
            }
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            client.set_read_timeout(Some(left)).unwrap();
            match client.read(&mut chunk) {
                Ok(0) => seen.end = Some(End::Closed),
                Ok(n) => seen.rest.extend_from_slice(&chunk[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(format!("waited in vain, after {:?} and {:?}", seen.statuses(), seen.rest));
                }
                Err(_) => seen.end = Some(End::Reset),
            }
        }
    }

    fn finals(&self) -> usize {
        self.answers.iter().filter(|a| a.status() >= 200).count()
    }

    /// Statuses in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(Message::status).collect()
    }

    /// Nothing is left but the end.
    pub(crate) fn is_over(&self) -> Result<(), String> {
        match (self.end, &self.rest[..]) {
            (Some(_), []) => Ok(()),
            (end, rest) => Err(format!("{end:?}, and left over was {:?}", String::from_utf8_lossy(rest))),
        }
    }

    /// What came after it on the same connection.
    fn and(self, mut later: Self) -> Self {
        later.rest.splice(0..0, self.rest);
        later
    }

    fn nothing_more(&self) -> Result<(), String> {
        self.is_over()?;
        if self.answers.is_empty() { Ok(()) } else { Err(format!("one more answer: {:?}", self.answers)) }
    }
}
