//! As many clients as a table holds, over real sockets and through an agent: each stays with its member whichever worker takes it, when
//! another member dies, while documents change and while the agent is away. What counts is what the members saw.
//!
//! `WEIR_CLIENTS=200000` says how many; 10,000 if nobody says. Rates and memory are told, not held against anything.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use weir_tests::client::{Client, Response};
use weir_tests::member::{Member, sized};
use weir_tests::netns::{all, allowed};
use weir_tests::node::Node;
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until, until_true};

/// Clients at work at once.
const THREADS: u32 = 12;
/// Requests of different clients on one connection, where a client is more than its address.
const TURNS: u32 = 40;
/// Documents put in force while clients ask.
const APPLIES: usize = 100;
const MEMBERS: u8 = 3;

fn clients() -> u32 {
    std::env::var("WEIR_CLIENTS").map_or(10_000, |count| count.parse().expect("a number of clients"))
}

/// What the members saw in one round: for each client the members it came to, one bit each.
#[derive(Clone)]
struct Seen(Arc<[AtomicU8]>);

impl Seen {
    fn new(clients: u32) -> Self {
        Self((0..clients).map(|_| AtomicU8::new(0)).collect())
    }

    fn note(&self, client: usize, member: u8) {
        self.0[client].fetch_or(1 << member, Ordering::Relaxed);
    }

    /// Ends a round: where each client was.
    fn take(&self) -> Vec<u8> {
        self.0.iter().map(|seen| seen.swap(0, Ordering::Relaxed)).collect()
    }
}

/// One member: it notes who came, and opens a session for whoever brings none.
fn member(n: u8, socket: SocketAddr, seen: &Seen) -> Member {
    let seen = seen.clone();
    let member = Member::script(&format!("m{}", n + 1), socket, move |conn| {
        loop {
            let head = conn.head()?;
            let client = head.get("x-client").and_then(|client| client.parse().ok()).expect("a client's number");
            seen.note(client, n);
            let known = head.get("cookie").is_some_and(|cookies| cookies.contains("sid="));
            let opened = if known { String::new() } else { format!("Set-Cookie: sid=s{client:x}; Path=/\r\n") };
            conn.send(sized(200, &opened, b"ok", false))?;
        }
    });
    member.only_counting()
}

/// What makes a client known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Address,
    OurCookie,
    Session,
}

/// All of it: a node, members, and clients with what they were told to bring.
struct Crowd {
    kind: Kind,
    node: Node,
    members: Vec<Member>,
    seen: Seen,
    document: Value,
    /// The cookie each client has.
    cookies: Vec<String>,
}

impl Crowd {
    fn new(kind: Kind, clients: u32) -> Self {
        let node = Node::new();
        let seen = Seen::new(clients);
        let at = |n: u8| SocketAddr::new("10.77.0.2".parse().unwrap(), 8000 + u16::from(n));
        let members: Vec<Member> = node.members.inside(|| (0..MEMBERS).map(|n| member(n, at(n), &seen)).collect());
        let mut document = node.document(1, &members.iter().collect::<Vec<_>>());
        let pool = &mut document["loadbalancer"]["listeners"][0]["default_pool"];
        pool["session_persistence"] = match kind {
            Kind::Address => json!({"type": "SOURCE_IP", "table_size": clients}),
            Kind::OurCookie => json!({"type": "HTTP_COOKIE"}),
            Kind::Session => json!({"type": "APP_COOKIE", "cookie_name": "sid", "table_size": clients}),
        };
        node.apply(&document);
        node.data_plane(1);
        let crowd =
            Self { kind, node, members, seen, document, cookies: (0..clients).map(|_| String::new()).collect() };
        crowd.let_addresses_in();
        crowd
    }

    /// All of 172.16.0.0/12 is at home where clients are, and the VIP knows the way.
    fn let_addresses_in(&self) {
        self.node.clients.ip("route add local 172.16.0.0/12 dev lo");
        let vip =
            until(PATIENCE, "the VIP's namespace", || all().into_iter().find(|name| name.contains(&self.node.id(1))));
        let words = ["-n", &vip, "route", "replace", "172.16.0.0/12", "via", "10.77.0.3"];
        run(std::process::Command::new("ip").args(words));
    }

    fn persistence(&self) -> Value {
        let pools = self.node.get(&format!("/v1/loadbalancers/{}/stats", self.node.id(1)));
        pools["pools"][0]["persistence"].clone()
    }

    /// Every client asks once. Returns where each was, by what members saw.
    fn round(&mut self) -> Vec<u8> {
        self.ask_all();
        let seen = self.seen.take();
        let lost: Vec<usize> = (0..seen.len()).filter(|n| seen[*n].count_ones() != 1).collect();
        assert!(lost.is_empty(), "{} clients were at none or several, as {:?}", lost.len(), &lost[..lost.len().min(9)]);
        seen
    }

    /// Every client asks once.
    fn ask_all(&mut self) {
        let kind = self.kind;
        let clients = u32::try_from(self.cookies.len()).unwrap();
        let piece = clients.div_ceil(THREADS) as usize;
        let (node, cookies) = (&self.node, &mut self.cookies);
        node.clients.inside(|| {
            std::thread::scope(|scope| {
                for (part, cookies) in cookies.chunks_mut(piece).enumerate() {
                    let first = u32::try_from(part * piece).unwrap();
                    scope.spawn(move || ask_in_turn(kind, first, cookies));
                }
            });
        });
    }
}

/// Clients from number `first` on, one after the other.
fn ask_in_turn(kind: Kind, first: u32, cookies: &mut [String]) {
    let mut connection: Option<(Client, u32)> = None;
    for (n, cookie) in (first..).zip(cookies) {
        let (mut client, turns) = match connection.take() {
            Some(open) => open,
            None => (Client::connect_from(address(kind, n), Node::vip(1)), 0),
        };
        client.send(format!("GET / HTTP/1.1\r\nHost: weir.test\r\nX-Client: {n}\r\n{cookie}\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status(), 200, "client {n}: {:?}", answer.head);
        if let Some(given) = given(kind, answer) {
            *cookie = given;
        }
        client.responses.clear();
        if kind != Kind::Address && turns + 1 < TURNS {
            connection = Some((client, turns + 1));
        }
    }
}

/// Where client `n` is: each at an address of its own, where that matters.
fn address(kind: Kind, n: u32) -> IpAddr {
    let n = if kind == Kind::Address { n } else { 0 };
    IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + n))
}

/// The `Cookie` field that a client brings from now on, if this answer changes it.
fn given(kind: Kind, answer: &Response) -> Option<String> {
    let name = match kind {
        Kind::Address => return None,
        Kind::OurCookie => "SRV=",
        Kind::Session => "sid=",
    };
    let set = answer.head.all("set-cookie").into_iter().find(|set| set.starts_with(name))?;
    Some(format!("Cookie: {}\r\n", set.split(';').next().unwrap_or_default()))
}

/// Memory of a process, in kilobytes.
fn anonymous_kb(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its memory");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn all_stay(kind: Kind) {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let clients = clients();
    let mut crowd = Crowd::new(kind, clients);
    let pid = crowd.node.data_plane(1);
    let before = anonymous_kb(pid);
    let began = Instant::now();
    let first = crowd.round();
    let rate = f64::from(clients) / began.elapsed().as_secs_f64();
    for n in 0..MEMBERS {
        let its = first.iter().filter(|seen| **seen == 1 << n).count();
        assert!(its.abs_diff(clients as usize / 3) <= 2, "m{} got {its} of {clients}", n + 1);
    }
    let known = crowd.persistence();
    if kind != Kind::OurCookie {
        assert_eq!((&known["entries"], &known["evicted"]), (&json!(clients), &json!(0)), "{known}");
    }
    assert!(crowd.round() == first, "a client moved although nothing had happened");
    // What connections took is given back a while after they ended.
    let mut least = u64::MAX;
    let began = Instant::now();
    until_true(PATIENCE, "memory to come to rest", || {
        least = least.min(anonymous_kb(pid).saturating_sub(before));
        began.elapsed().as_secs() >= 3
    });
    let each = least * 1024 / u64::from(clients);
    eprintln!(
        "{kind:?}: {clients} clients, {rate:.0} new a second; {least} kB more, {each} bytes a client; figures: {known}"
    );

    crowd.members[1].kill();
    let moved = crowd.round();
    for (n, (before, after)) in first.iter().zip(&moved).enumerate() {
        assert_eq!(before == after, *before != 1 << 1, "client {n}: only whose member is gone moves");
    }
    let members = &mut crowd.members;
    crowd.node.members.inside(|| members[1].start());
    assert!(crowd.round() == moved, "who moved stays where it is");

    while_documents_change(&mut crowd, &moved);
    crowd.node.end_agent(Signal::TERM);
    assert!(crowd.round() == moved, "without an agent");
    crowd.node.start_agent();
    assert!(crowd.round() == moved, "with another agent");
    assert_eq!(crowd.node.data_plane(1), pid, "the data plane is the same");
    let known = crowd.persistence();
    let its = first.iter().filter(|seen| **seen == 1 << 1).count();
    assert_eq!(known["moved"], json!(its), "{known}");
}

/// Clients go on asking while a hundred documents are put in force, which change weights and the order of members.
fn while_documents_change(crowd: &mut Crowd, home: &[u8]) {
    let control = crowd.node.control.clone();
    let document = crowd.document.clone();
    let change = move || {
        for n in 0..APPLIES {
            let mut document = document.clone();
            let pool = &mut document["loadbalancer"]["listeners"][0]["default_pool"];
            let members = pool["members"].as_array_mut().unwrap();
            members.rotate_left(n % 3);
            // Drained ones keep whom they have.
            members[0]["weight"] = json!(n % 4);
            let reply = control.must("PUT", "/v1/loadbalancers", document.to_string().as_bytes());
            assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.body);
        }
    };
    let changes = std::thread::spawn(change);
    while !changes.is_finished() {
        crowd.ask_all();
    }
    changes.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(crowd.seen.take() == home, "a client moved while documents changed");
    // The last document may have drained one: the first is in force again.
    crowd.node.apply(&crowd.document);
}

#[test]
fn by_their_addresses() {
    all_stay(Kind::Address);
}

#[test]
fn by_our_cookie() {
    all_stay(Kind::OurCookie);
}

#[test]
fn by_their_sessions() {
    all_stay(Kind::Session);
}
