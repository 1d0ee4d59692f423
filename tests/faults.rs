//! Promise: a member that dies costs its own requests that must not be repeated, and nothing else.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use weir_tests::client::{Client, get};
use weir_tests::load::Plan;
use weir_tests::member::{Member, listen, ok};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup, backend};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until, until_true};
use weir_tests::weir::Weir;

/// Generous for a busy machine and far from a second, which is what waiting between attempts would cost.
const SLOWEST: Duration = Duration::from_millis(500);

const MS: Duration = Duration::from_millis(1);

#[test]
fn member_killed_and_restarted_under_load_is_not_seen() {
    let mut stage = Stage::http(3, |setup| setup.workers = 2);
    let load = Plan::gets(stage.vip(), 8).gap(MS).start();
    load.wait_for(300);
    stage.members[1].kill();
    load.wait_for(600);
    stage.members[1].start();
    let before = stage.members[1].requests();
    stage.members[1].wait_requests(before + 20);
    let outcome = load.stop();
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert_eq!(outcome.reopened, 0, "a member's death cost a client its connection");
    assert!(outcome.slowest < SLOWEST, "the slowest request took {:?}", outcome.slowest);
}

#[test]
fn only_what_must_not_be_repeated_fails_and_the_log_says_why() {
    let connections = 8;
    let mut stage = Stage::http(3, |setup| setup.workers = 2);
    let load = Plan::gets(stage.vip(), connections).posts().gap(MS).start();
    load.wait_for(300);
    stage.members[1].kill();
    load.wait_for(600);
    stage.members[1].start();
    let before = stage.members[1].requests();
    stage.members[1].wait_requests(before + 20);
    let outcome = load.stop();
    assert!(outcome.failures.iter().all(|f| f == "status 502"), "{:?}", outcome.failures);
    assert!(outcome.failures.len() <= connections, "more failed than were in flight: {:?}", outcome.failures);
    let lines = stage.weir.wait_log(outcome.good + outcome.failures.len());
    let told = lines.iter().filter(|line| line.contains(" 502 ") && line.contains(" SH-- ")).count();
    assert_eq!(told, outcome.failures.len(), "each failed request has its line");
    assert!(outcome.slowest < SLOWEST, "the slowest request took {:?}", outcome.slowest);
}

#[test]
fn member_that_refuses_is_passed_over() {
    let place = Place::new();
    let (good, refusing) = (Member::http("m1", place.socket()).only_counting(), place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", good.socket()), ("gone", refusing)]).workers(2);
    let weir = Weir::start(&place, &setup);
    let outcome = Plan::gets(setup.vip, 4).exactly(400);
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert_eq!(good.requests(), 400);
    assert!(outcome.slowest < SLOWEST, "the slowest request took {:?}", outcome.slowest);
    let gone = weir.control.member("gone");
    assert!(gone.connect_errors > 0 && gone.redispatches > 0, "{gone:?}");
    assert!(gone.connect_errors < 100, "a member that refuses was asked {} times", gone.connect_errors);
}

#[test]
fn posts_too_when_the_connection_was_never_made() {
    let place = Place::new();
    let (good, refusing) = (Member::http("m1", place.socket()).only_counting(), place.socket());
    let setup = Setup::new(Mode::Http, place.socket(), [("gone", refusing), ("m1", good.socket())]);
    let _weir = Weir::start(&place, &setup);
    let outcome = Plan::gets(setup.vip, 2).posts().exactly(50);
    assert_eq!(outcome.failures, Vec::<String>::new());
}

#[test]
fn tcp_connection_goes_to_another_member_when_one_refuses() {
    let place = Place::new();
    let echo = Member::script("m1", place.socket(), |conn| {
        let byte = conn.take(1)?;
        conn.send(byte)
    });
    let setup = Setup::new(Mode::Tcp, place.socket(), [("gone", place.socket()), ("m1", echo.socket())]);
    let weir = Weir::start(&place, &setup);
    for _ in 0..10 {
        let mut client = Client::connect(setup.vip);
        client.send("x");
        client.take(1);
    }
    let lines = weir.wait_log(10);
    assert!(lines.iter().all(|line| line.contains(" back/m1 ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("/+1 ") || line.contains("/+")), "a redispatch shows: {lines:?}");
}

/// A listener whose queue is full drops every SYN: a black hole without a network of its own.
struct BlackHole {
    socket: std::net::SocketAddr,
    _listener: std::net::TcpListener,
    _fillers: Vec<Socket>,
}

impl BlackHole {
    fn new(socket: std::net::SocketAddr) -> Self {
        let listener = listen(socket, 0);
        let mut fillers = Vec::new();
        // Until one is not answered any more, twice over: the queue holds one more than it says.
        until(PATIENCE, "the queue to be full", || {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let taken = filler.connect_timeout(&socket.into(), Duration::from_millis(100)).is_ok();
            fillers.push(filler);
            (!taken).then_some(())
        });
        Self { socket, _listener: listener, _fillers: fillers }
    }
}

#[test]
fn black_hole_is_paid_for_by_five_requests_at_most() {
    let place = Place::new();
    let hole = BlackHole::new(place.socket());
    let good = Member::http("m1", place.socket()).only_counting();
    let mut setup = Setup::new(Mode::Http, place.socket(), [("hole", hole.socket), ("m1", good.socket())]).workers(2);
    setup.timeouts.connect = 400;
    let weir = Weir::start(&place, &setup);
    let load = Plan::gets(setup.vip, 16).gap(MS * 2).start();
    load.wait_for(1500);
    let outcome = load.stop();
    assert_eq!(outcome.failures, Vec::<String>::new());
    // A connection to a living member on the same machine takes no tenth of this.
    let slow = outcome.times.iter().filter(|t| **t >= Duration::from_millis(200)).count();
    assert!(slow <= 5, "{slow} requests paid for the black hole");
    // 400 ms, and what a busy machine adds.
    assert!(outcome.slowest < Duration::from_millis(400) + SLOWEST, "{:?}", outcome.slowest);
    assert!(weir.control.member("hole").connect_errors > 0, "the black hole was never tried");
    assert!(weir.control.member("hole").avoided, "the black hole is not avoided");
}

#[test]
fn all_members_down_is_said_at_once_and_recovers_at_once() {
    let mut stage = Stage::http(2, |setup| setup.workers = 2);
    assert_eq!(get(stage.vip(), "/").status(), 200);
    stage.members[0].kill();
    stage.members[1].kill();
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(get(stage.vip(), "/").status(), 503);
        assert!(began.elapsed() < Duration::from_secs(2), "503 took {:?}", began.elapsed());
    }
    stage.members[0].start();
    let began = Instant::now();
    until_true(PATIENCE, "traffic to be served again", || get(stage.vip(), "/").status() == 200);
    assert!(began.elapsed() < Duration::from_secs(2), "recovery took {:?}", began.elapsed());
}

/// One member's silence is its own clients' trouble only.
#[test]
fn silent_member_does_not_hold_up_the_others() {
    let place = Place::new();
    let silent = Member::script("silent", place.socket(), |conn| {
        conn.request()?;
        conn.take_to_end();
        Ok(())
    });
    let good = Member::http("m1", place.socket());
    let mut setup = Setup::new(Mode::Http, place.socket(), [("silent", silent.socket())]);
    setup.timeouts.member = 1500;
    let weir = Weir::start(&place, &setup);
    let mut waiting = Client::connect(setup.vip);
    waiting.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    silent.wait_requests(1);
    setup.members = vec![backend("m1", good.socket())];
    weir.control.apply(&setup.document(&place.path("access.log")));
    let began = Instant::now();
    assert_eq!(get(setup.vip, "/").status(), 200);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(waiting.answer().status(), 504);
}

/// Flapping: up for a moment, down for a moment, under load that may be repeated.
#[test]
fn flapping_member_costs_nothing_that_can_be_repeated() {
    let mut stage = Stage::http(2, |setup| setup.workers = 2);
    let load = Plan::gets(stage.vip(), 4).gap(MS).start();
    for _ in 0..10 {
        load.wait_for(60);
        stage.members[1].kill();
        load.wait_for(30);
        stage.members[1].start();
    }
    let outcome = load.stop();
    assert_eq!(outcome.failures, Vec::<String>::new());
}

/// A member that takes connections and drops them all.
#[test]
fn member_that_closes_every_connection() {
    let place = Place::new();
    let bad = Member::script("bad", place.socket(), |conn| {
        conn.request()?;
        conn.reset();
        Ok(())
    });
    let good = Member::script("m1", place.socket(), |conn| {
        loop {
            conn.request()?;
            conn.send(ok("ok"))?;
        }
    });
    let setup = Setup::new(Mode::Http, place.socket(), [("bad", bad.socket()), ("m1", good.socket())]);
    let _weir = Weir::start(&place, &setup);
    let outcome = Plan::gets(setup.vip, 2).exactly(100);
    assert_eq!(outcome.failures, Vec::<String>::new(), "a GET may be repeated elsewhere");
}

/// Descriptors come back after a flood of clients that reset.
#[test]
fn flood_of_resets_leaves_nothing_behind() {
    let stage = Stage::http(1, |setup| setup.workers = 2);
    get(stage.vip(), "/");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", stage.weir.process.pid())).map_or(0, Iterator::count);
    let before = descriptors();
    for n in 0..500 {
        let mut client = Client::over(TcpStream::connect(stage.vip()).unwrap());
        if n % 2 == 0 {
            client.send("GET / HTTP/1.1\r\nHost: w");
        }
        client.reset();
    }
    until_true(PATIENCE, "the descriptors to come back", || descriptors() <= before + 3);
    assert_eq!(stage.weir.control.stats().sessions_panicked, 0);
    pause_ms(1);
    assert_eq!(get(stage.vip(), "/").status(), 200);
}
