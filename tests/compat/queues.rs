//! Members at their limit, through HAProxy and through Weir: who is served in which order, who is told what, and what the
//! log says of it. Several clients take part, so these pages have a player of their own.

use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::haproxy::Haproxy;
use weir_tests::log_line::LogLine;
use weir_tests::member::{Member, ok};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until, until_true};
use weir_tests::weir::Weir;

const SIDES: [&str; 2] = ["HAProxy", "Weir"];

enum Proxy {
    Haproxy(Haproxy),
    Weir(Box<Weir>),
}

/// One of both before a member that takes one request at a time, and holds it until it is let go.
struct Play {
    proxy: Proxy,
    setup: Setup,
    doors: Arc<(Mutex<Doors>, Condvar)>,
    _member: Member,
    _place: Place,
}

#[derive(Default)]
struct Doors {
    open: bool,
    order: Vec<String>,
}

/// What there is to compare: who came to the member in which order, and the lines of the log, sorted.
type Seen = (Vec<String>, Vec<LogLine>);

impl Play {
    fn new(side: &str, mode: Mode, algorithm: &'static str, queue_ms: u64) -> Self {
        let place = Place::new();
        let doors = Arc::<(Mutex<Doors>, Condvar)>::default();
        let holding = Arc::clone(&doors);
        let member = Member::script("m1", place.socket(), move |conn| {
            loop {
                let (head, _) = conn.request()?;
                let (doors, changed) = &*holding;
                let mut doors = doors.lock().unwrap();
                doors.order.push(head.word(1).to_owned());
                drop(changed.wait_timeout_while(doors, 3 * PATIENCE, |doors| !doors.open).unwrap());
                conn.send(ok("x"))?;
            }
        });
        let mut setup = Setup::new(mode, place.socket(), [("m1", member.socket())])
            .algorithm(algorithm)
            .pool_keys(json!({"timeout_queue": queue_ms}));
        setup.members[0].more = json!({"max_connections": 1});
        setup.haproxy_server = "maxconn 1".to_owned();
        setup.haproxy_backend = format!("  timeout queue {queue_ms}\n");
        let proxy = match side {
            "HAProxy" => Proxy::Haproxy(Haproxy::start(&place, &setup)),
            _ => Proxy::Weir(Box::new(Weir::start(&place, &setup))),
        };
        Self { proxy, setup, doors, _member: member, _place: place }
    }

    fn open(&self) {
        self.doors.0.lock().unwrap().open = true;
        self.doors.1.notify_all();
    }

    fn waiting(&self) -> u64 {
        match &self.proxy {
            Proxy::Weir(weir) => weir.control.stats().pools[0].queue.waiting,
            Proxy::Haproxy(haproxy) => {
                let of = |name: &str| haproxy.server(name)["qcur"].parse::<u64>().unwrap_or(0);
                // The row of the backend counts what waits for its servers, too.
                of("BACKEND").max(of("m1"))
            }
        }
    }

    fn wait_waiting(&self, n: u64) {
        until_true(PATIENCE, &format!("{n} to wait"), || self.waiting() == n);
    }

    /// Asks, and waits until it is with the member (the first) or in the queue behind the others.
    fn ask(&self, target: &str) -> Client {
        let waiting = self.waiting();
        let first = self.doors.0.lock().unwrap().order.is_empty();
        let mut client = Client::connect(self.setup.vip);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\n\r\n"));
        match first {
            true => until_true(PATIENCE, "it to come", || !self.doors.0.lock().unwrap().order.is_empty()),
            false => self.wait_waiting(waiting + 1),
        }
        client
    }

    fn log(&self, lines: usize) -> Vec<String> {
        until(PATIENCE, &format!("{lines} lines"), || {
            let log = match &self.proxy {
                Proxy::Haproxy(haproxy) => haproxy.log(),
                Proxy::Weir(weir) => weir.log(),
            };
            Some(log).filter(|log| log.len() >= lines)
        })
    }

    fn seen(&self, lines: usize) -> Seen {
        let mut log: Vec<LogLine> = self.log(lines).iter().map(|line| LogLine::parse(line).unwrap()).collect();
        // An answer that was made here has a size of its own.
        log.iter_mut().filter(|line| !line.flags.ends_with("----")).for_each(|line| line.bytes.clear());
        // How many connections there still are is a matter of when others have been closed; pool and member count.
        for line in &mut log {
            line.counts = line.counts.splitn(3, '/').last().unwrap_or_default().to_owned();
        }
        log.sort_by_key(|line| (line.request.clone(), line.flags.clone()));
        (self.doors.0.lock().unwrap().order.clone(), log)
    }
}

/// Plays the same with both and compares.
fn same(play: impl Fn(&str) -> Seen) -> Seen {
    let [theirs, ours] = SIDES.map(play);
    assert_eq!(ours, theirs, "left: Weir, right: HAProxy");
    ours
}

/// `%Tw`, as far as a line has it.
fn queue_ms(line: &str) -> i64 {
    let timers = line.split(' ').nth(4).unwrap();
    let place = usize::from(line.contains('"'));
    timers.split('/').nth(place).unwrap().parse().unwrap()
}

#[test]
fn who_waits_is_served_in_turn() {
    for algorithm in ["ROUND_ROBIN", "LEAST_CONNECTIONS"] {
        let (order, log) = same(|side| {
            let play = Play::new(side, Mode::Http, algorithm, 20_000);
            let mut clients: Vec<Client> = ["/0", "/1", "/2", "/3"].map(|target| play.ask(target)).into();
            play.open();
            assert!(clients.iter_mut().all(|client| client.answer().status() == 200));
            play.seen(4)
        });
        assert_eq!(order, ["/0", "/1", "/2", "/3"]);
        let places: Vec<&str> = log.iter().map(|line| line.queues.as_str()).collect();
        assert_eq!(places, ["0/0", "0/1", "0/2", "0/3"]);
    }
}

#[test]
fn what_is_bound_to_a_member_waits_for_it() {
    let (_, log) = same(|side| {
        let play = Play::new(side, Mode::Http, "SOURCE_IP", 20_000);
        let mut clients: Vec<Client> = ["/0", "/1", "/2"].map(|target| play.ask(target)).into();
        play.open();
        assert!(clients.iter_mut().all(|client| client.answer().status() == 200));
        play.seen(3)
    });
    let places: Vec<&str> = log.iter().map(|line| line.queues.as_str()).collect();
    assert_eq!(places, ["0/0", "1/0", "2/0"]);
}

#[test]
fn who_waits_for_too_long_is_told() {
    for (algorithm, names, places) in
        [("ROUND_ROBIN", "front back/<NOSRV>", "0/1"), ("SOURCE_IP", "front back/m1", "1/0")]
    {
        let (_, log) = same(|side| {
            let play = Play::new(side, Mode::Http, algorithm, 300);
            let mut first = play.ask("/0");
            let mut late = play.ask("/1");
            assert_eq!(late.answer().status(), 503, "{side}");
            let waited = queue_ms(&play.log(1)[0]);
            assert!((300..5000).contains(&waited), "{side}: {waited} ms");
            play.open();
            assert_eq!(first.answer().status(), 200);
            play.seen(2)
        });
        assert_eq!((log[1].termination(), log[1].status.as_str()), ("sQ--", "503"));
        assert_eq!((log[1].names.as_str(), log[1].queues.as_str()), (names, places));
        assert_eq!(log[1].timers, "T/T/-1/-1/T");
    }
}

#[test]
fn a_tcp_client_that_waits_for_too_long_is_let_go() {
    let (_, log) = same(|side| {
        let play = Play::new(side, Mode::Tcp, "ROUND_ROBIN", 300);
        let first = play.ask("/0");
        let mut late = Client::connect(play.setup.vip);
        late.take_to_end();
        drop(late);
        let waited = queue_ms(&play.log(1)[0]);
        assert!((300..5000).contains(&waited), "{side}: {waited} ms");
        play.open();
        drop(first);
        let mut seen = play.seen(2);
        seen.1.retain(|line| line.termination() == "sQ");
        seen
    });
    assert_eq!((log[0].termination(), log[0].queues.as_str(), log[0].timers.as_str()), ("sQ", "0/1", "T/-1/T"));
}

#[test]
fn a_tcp_client_that_leaves_gives_up_its_place() {
    let (_, log) = same(|side| {
        let play = Play::new(side, Mode::Tcp, "ROUND_ROBIN", 20_000);
        let first = play.ask("/0");
        let gone = Client::connect(play.setup.vip);
        play.wait_waiting(1);
        pause_ms(50);
        drop(gone);
        play.wait_waiting(0);
        play.open();
        drop(first);
        let mut seen = play.seen(2);
        seen.1.retain(|line| line.termination() == "CQ");
        seen
    });
    assert_eq!((log.len(), log[0].names.as_str(), log[0].queues.as_str()), (1, "front back/<NOSRV>", "0/1"));
}

/// HAProxy notices a client that reset only once it has its slot, and asks the member for nobody.
#[test]
fn a_client_that_resets_is_noticed_at_once() {
    for (side, order, termination) in [("HAProxy", 2, "CD--"), ("Weir", 1, "CQ--")] {
        let play = Play::new(side, Mode::Http, "ROUND_ROBIN", 20_000);
        let mut first = play.ask("/0");
        let mut gone = play.ask("/1");
        gone.reset();
        if side == "Weir" {
            play.wait_waiting(0);
        } else {
            pause_ms(100);
            assert_eq!(play.waiting(), 1);
        }
        play.open();
        assert_eq!(first.answer().status(), 200);
        let (came, log) = play.seen(2);
        assert_eq!((came.len(), log[1].termination()), (order, termination), "{side}");
    }
}
