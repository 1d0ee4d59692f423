//! Promise: what is under way when a member is marked down goes on, or is ended where the document says so, and the
//! log says which.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::{MemberDown, MemberUp};
use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::health::{Moody, fast_http, monitor, with};
use weir_tests::member::{Conn, Member, sized};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms};
use weir_tests::weir::Weir;

/// A member that works, whatever its monitor is told elsewhere.
struct Play {
    weir: Weir,
    member: Member,
    health: Moody,
    setup: Setup,
    _place: Place,
}

impl Play {
    fn new(
        mode: Mode,
        on_marked_down: &str,
        script: impl Fn(&mut Conn) -> Result<(), End> + Send + Sync + 'static,
    ) -> Self {
        let place = Place::new();
        let member = Member::script("m1", place.socket(), script);
        let health = Moody::http("health", place.socket());
        let mut setup = Setup::new(mode, place.socket(), [("m1", member.socket())])
            .monitor(fast_http())
            .pool_keys(json!({"on_marked_down": on_marked_down}));
        setup.members[0].more = json!({"monitor_port": health.member.socket().port()});
        let weir = Weir::start(&place, &setup);
        weir.control.wait_asked();
        Self { weir, member, health, setup, _place: place }
    }

    fn fell(&self) -> String {
        self.health.mood(1);
        self.weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE).effect
    }
}

fn echo(conn: &mut Conn) -> Result<(), End> {
    loop {
        let byte = conn.take(1)?;
        conn.send(byte)?;
    }
}

fn says(client: &mut Client, byte: &str) {
    client.send(byte);
    assert_eq!(client.take(1), byte.as_bytes());
}

#[test]
fn an_established_relay_goes_on() {
    let play = Play::new(Mode::Tcp, "KEEP_SESSIONS", echo);
    let mut client = Client::connect(play.setup.vip);
    says(&mut client, "a");
    let effect = play.fell();
    assert!(effect.starts_with("1 in flight go on; 0 of 1"), "{effect}");
    pause_ms(300);
    says(&mut client, "b");
    assert_eq!(Client::connect(play.setup.vip).take_to_end(), End::Reset, "new ones are not let in");
    client.half_close();
    assert_eq!(client.take_to_end(), End::Closed);
}

#[test]
fn an_established_relay_is_reset_if_wanted() {
    let play = Play::new(Mode::Tcp, "SHUTDOWN_SESSIONS", echo);
    let mut client = Client::connect(play.setup.vip);
    says(&mut client, "a");
    let effect = play.fell();
    assert!(effect.starts_with("1 in flight are closed; 0 of 1"), "{effect}");
    assert_eq!(client.take_to_end(), End::Reset);
    let line = play.weir.wait_log(1).remove(0);
    assert!(line.contains(" DD "), "{line}");
    weir_tests::wait::until_true(PATIENCE, "the member to see the end, too", || play.member.visits()[0].end.is_some());
    assert_eq!(play.member.visits()[0].end, Some(End::Reset));
}

/// Answers slowly: a head after `wait_ms`, its second half as much later.
fn slowly(wait_ms: u64) -> impl Fn(&mut Conn) -> Result<(), End> + Send + Sync + 'static {
    move |conn| {
        conn.request()?;
        pause_ms(wait_ms);
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        pause_ms(wait_ms);
        conn.send("world")
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";

#[test]
fn a_request_in_flight_is_answered() {
    let play = Play::new(Mode::Http, "KEEP_SESSIONS", slowly(700));
    let mut client = Client::connect(play.setup.vip);
    client.send(GET);
    play.member.wait_requests(1);
    let effect = play.fell();
    assert!(effect.starts_with("1 in flight go on"), "{effect}");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "helloworld"));
    assert!(play.weir.wait_log(1)[0].contains(" ---- "));
    assert_eq!(client.get("/").status(), 503, "the next one on the same connection finds nobody");
}

#[test]
fn a_request_that_waits_for_its_answer_gets_503_if_wanted() {
    let play = Play::new(Mode::Http, "SHUTDOWN_SESSIONS", slowly(20_000));
    let mut client = Client::connect(play.setup.vip);
    client.send(GET);
    play.member.wait_requests(1);
    play.fell();
    assert_eq!(client.answer().status(), 503);
    let line = play.weir.wait_log(1).remove(0);
    assert!(line.contains(" 503 ") && line.contains(" DH-- "), "{line}");
}

#[test]
fn an_answer_that_has_begun_is_visibly_cut_if_wanted() {
    let play = Play::new(Mode::Http, "SHUTDOWN_SESSIONS", |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        conn.take_to_end();
        Ok(())
    });
    let mut client = Client::connect(play.setup.vip);
    client.send(GET);
    play.member.wait_requests(1);
    pause_ms(100);
    play.fell();
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert!(!answer.complete(), "what is missing shows");
    let line = play.weir.wait_log(1).remove(0);
    assert!(line.contains(" 200 ") && line.contains(" DD-- "), "{line}");
}

/// A client that only waits between two requests has nothing under way.
#[test]
fn a_client_between_two_requests_is_left_alone() {
    let play = Play::new(Mode::Http, "SHUTDOWN_SESSIONS", |conn| {
        loop {
            conn.request()?;
            conn.send(weir_tests::member::ok("ok"))?;
        }
    });
    let mut client = Client::connect(play.setup.vip);
    assert_eq!(client.get("/").status(), 200);
    play.fell();
    play.health.mood(0);
    play.weir.control.wait_event(MemberUp, "back/m1", 0, PATIENCE);
    assert_eq!(client.get("/").status(), 200, "on the same connection");
}

/// A member that was restarted: connections kept from its former life are dead, and nobody pays for them.
#[test]
fn kept_connections_of_a_former_life_are_not_used() {
    let place = Place::new();
    let mut m1 = Member::http("m1", place.socket()).only_counting();
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.socket())])
        .monitor(weir_tests::health::monitor("TCP", 100, 100));
    let weir = Weir::start(&place, &setup);
    weir.control.wait_asked();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(setup.vip)).collect();
    let post = "POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\nhi";
    for round in 0..3 {
        for client in &mut clients {
            client.send(post);
            assert_eq!(client.answer().text(), "hi", "round {round}: a POST is not repeated, and need not be");
        }
        let after = weir.control.events().last;
        m1.kill();
        weir.control.wait_event(MemberDown, "back/m1", after, PATIENCE);
        m1.start();
        weir.control.wait_event(MemberUp, "back/m1", after, PATIENCE);
    }
    weir_tests::wait::until_true(Duration::from_secs(5), "nothing to be kept", || {
        weir.control.member("m1").idle_connections == 0
    });
}

/// The verdict is live traffic's, and nothing else happens for half a minute: its monitor waits for an answer.
#[test]
fn a_verdict_of_live_traffic_cuts_at_once_while_the_monitor_hangs() {
    let place = Place::new();
    let m1 = Member::script("m1", place.socket(), |conn| {
        let (head, _) = conn.request()?;
        if head.word(1) == "/bad" {
            conn.send(sized(500, "Connection: close\r\n", b"bad", false))?;
            conn.close();
        } else {
            conn.take_to_end();
        }
        Ok(())
    });
    let health = Member::script("health", place.socket(), |conn| {
        conn.take_to_end();
        Ok(())
    });
    let slow = monitor("HTTP", 30_000, 30_000);
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.socket())])
        .monitor(with(slow, &json!({"max_retries_down": 1})))
        .pool_keys(json!({"on_marked_down": "SHUTDOWN_SESSIONS", "observe": {"layer": "HTTP", "failures": 3}}));
    setup.members[0].more = json!({"monitor_port": health.socket().port()});
    let weir = Weir::start(&place, &setup);
    let mut client = Client::connect(setup.vip);
    client.send(GET);
    m1.wait_requests(1);
    // A session looks around once, soon after it began to wait: this one has done so.
    pause_ms(100);
    for _ in 0..2 {
        assert_eq!(get(setup.vip, "/bad").status(), 500);
    }
    // It may be under way still when its answer is judged, and is cut, too.
    assert!(matches!(get(setup.vip, "/bad").status(), 500 | 503));
    let began = Instant::now();
    assert_eq!(client.answer().status(), 503);
    assert!(began.elapsed() < PATIENCE, "cut after {:?}", began.elapsed());
    let told = weir.control.event(MemberDown, "back/m1", 0).unwrap();
    assert_eq!(told.by, "live traffic");
    assert!(told.effect.contains(" in flight are closed; 0 of 1"), "{}", told.effect);
    weir_tests::wait::until_true(PATIENCE, "the monitor to ask", || health.connections() == 1);
    assert_eq!(weir.control.count(MemberDown), 1);
    assert!(weir.control.health_of("m1").monitors[0].last.is_empty(), "it has heard nothing yet");
    let cut = weir.wait_log(4).into_iter().find(|line| line.contains("\"GET / HTTP/1.1\"")).unwrap();
    assert!(cut.contains(" 503 ") && cut.contains(" DH-- "), "{cut}");
}
