//! Promise: a member that is down gets no work, not even as a last resort; when nobody is left, clients are told at
//! once; backups stand in, and several monitors must agree.

use std::time::{Duration, Instant};

use lb_control::events::EventKind::{MemberDown, MemberUp, PoolDown, PoolUp};
use lb_core::health::OperatingStatus;
use serde_json::{Value, json};
use weir_tests::client::{Client, get};
use weir_tests::health::{Moody, fast_http, with};
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

/// Members `m1`, `m2`, … that can be told to answer their monitor badly, behind a Weir with `keys` in its pool.
struct Play {
    weir: Weir,
    members: Vec<Moody>,
    setup: Setup,
    place: Place,
}

impl Play {
    fn new(count: usize, keys: &Value, tune: impl FnOnce(&mut Setup)) -> Self {
        let place = Place::new();
        let members: Vec<Moody> = (1..=count).map(|n| Moody::http(&format!("m{n}"), place.socket())).collect();
        let named = members.iter().map(|m| (m.member.name(), m.member.socket()));
        let mut setup = Setup::new(Mode::Http, place.socket(), named).pool_keys(keys.clone()).workers(2);
        tune(&mut setup);
        let weir = Weir::start(&place, &setup);
        weir.control.wait_asked();
        Self { weir, members, setup, place }
    }

    /// Has `m{n}` judged down.
    fn fell(&self, n: usize) {
        self.turned(n, true);
    }

    /// Has it judged up.
    fn rose(&self, n: usize) {
        self.turned(n, false);
    }

    fn turned(&self, n: usize, down: bool) {
        let after = self.weir.control.events().last;
        self.members[n - 1].mood(usize::from(down));
        let kind = if down { MemberDown } else { MemberUp };
        self.weir.control.wait_event(kind, &format!("back/m{n}"), after, PATIENCE);
    }

    /// Who answered each of `count` requests; 0: nobody did.
    fn answered_by(&self, count: usize) -> Vec<usize> {
        let who = |_| {
            let answer = get(self.setup.vip, "/");
            let name = answer.header("x-member").map_or("m0", |name| name);
            name[1..].parse().unwrap()
        };
        (0..count).map(who).collect()
    }
}

fn one() -> Value {
    json!({"healthmonitor": fast_http()})
}

#[test]
fn all_down_is_503_at_once_and_back_at_once() {
    let play = Play::new(2, &one(), |_| {});
    play.fell(1);
    assert_eq!(play.answered_by(10), [2; 10]);
    play.fell(2);
    let down = play.weir.control.wait_event(PoolDown, "back", 0, PATIENCE);
    assert!(down.by.starts_with("monitor "), "{down:?}");
    let served: Vec<usize> = play.members.iter().map(Moody::served).collect();
    let mut times: Vec<Duration> = (0..40)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(get(play.setup.vip, "/").status(), 503);
            began.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[20] < Duration::from_millis(20), "503 takes {times:?}");
    assert_eq!(served, play.members.iter().map(Moody::served).collect::<Vec<_>>(), "they answer, and are not asked");
    let stats = play.weir.control.stats();
    let status = [stats.operating_status, stats.listeners[0].operating_status, stats.pools[0].operating_status];
    assert_eq!(status, [Some(OperatingStatus::Error); 3]);
    let line = play.weir.wait_log(50).pop().unwrap();
    assert!(line.contains(" 503 ") && line.contains(" SC-- ") && line.contains(" back/<NOSRV> "), "{line}");

    play.rose(1);
    play.weir.control.wait_event(PoolUp, "back", down.seq, PATIENCE);
    assert_eq!(play.answered_by(10), [1; 10], "from the next request on");
    assert_eq!(play.weir.control.count(PoolUp), 1);
    play.rose(2);
    assert_eq!(play.weir.control.count(PoolUp), 1, "said once");
}

#[test]
fn all_down_is_a_reset_at_once() {
    let place = Place::new();
    let echo = Member::script("m1", place.socket(), |conn| {
        let byte = conn.take(1)?;
        conn.send(byte)
    });
    let health = Moody::http("health", place.socket());
    let mut setup = Setup::new(Mode::Tcp, place.socket(), [("m1", echo.socket())]).monitor(fast_http());
    setup.members[0].more = json!({"monitor_port": health.member.socket().port()});
    let weir = Weir::start(&place, &setup);
    weir.control.wait_asked();
    let mut client = Client::connect(setup.vip);
    client.send("x");
    client.take(1);
    health.mood(1);
    weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
    let connections = echo.connections();
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let mut client = Client::connect(setup.vip);
        assert_eq!(client.take_to_end(), End::Reset);
        times.push(began.elapsed());
    }
    times.sort();
    assert!(times[10] < Duration::from_millis(20), "a reset takes {times:?}");
    assert_eq!(echo.connections(), connections, "a member that is down gets nothing, though it would answer");
    health.mood(0);
    weir.control.wait_event(MemberUp, "back/m1", 0, PATIENCE);
    let mut client = Client::connect(setup.vip);
    client.send("y");
    assert_eq!(client.take(1), b"y");
}

#[test]
fn backups_stand_in_and_step_back() {
    let play = Play::new(3, &one(), |setup| setup.members[2].backup = true);
    assert!(!play.answered_by(10).contains(&3));
    play.fell(1);
    assert_eq!(play.answered_by(10), [2; 10], "a backup waits until all are down");
    play.fell(2);
    assert_eq!(play.weir.control.count(PoolDown), 0, "the pool still serves");
    assert_eq!(play.answered_by(10), [3; 10]);
    assert_eq!(play.weir.control.health_of("m3").share_permille, 1000);
    play.rose(1);
    assert_eq!(play.answered_by(10), [1; 10]);
    play.fell(1);
    play.fell(3);
    assert_eq!(play.answered_by(3), [0; 3]);
    assert_eq!(play.weir.control.count(PoolDown), 1);
}

/// An address stays with its member, leaves it when it is down, and comes back to it.
#[test]
fn addresses_leave_a_member_that_is_down_and_come_back() {
    for algorithm in ["SOURCE_IP", "LEAST_CONNECTIONS"] {
        let play = Play::new(3, &one(), |setup| setup.algorithm = algorithm);
        let home = play.answered_by(1)[0];
        if algorithm == "SOURCE_IP" {
            assert_eq!(play.answered_by(5), [home; 5]);
        }
        play.fell(home);
        let away = play.answered_by(12);
        assert!(!away.contains(&home) && !away.contains(&0), "{algorithm}: {away:?}");
        for n in (1..=3).filter(|n| *n != home) {
            play.fell(n);
        }
        assert_eq!(play.answered_by(3), [0; 3], "{algorithm}: nobody is left, and nobody is asked");
        play.rose(home);
        assert_eq!(play.answered_by(5), [home; 5]);
    }
}

/// A drained member that comes and goes changes nothing for the pool.
#[test]
fn a_pool_is_down_once_whoever_else_goes_down() {
    let play = Play::new(2, &one(), |setup| setup.members[1].weight = 0);
    assert_eq!(play.weir.control.health_of("m2").operating_status, OperatingStatus::Draining);
    play.fell(2);
    play.rose(2);
    let told = || (play.weir.control.count(PoolDown), play.weir.control.count(PoolUp));
    assert_eq!(told(), (0, 0), "{:?}", play.weir.control.events());
    play.fell(1);
    assert_eq!(told(), (1, 0));
    play.fell(2);
    assert_eq!(told(), (1, 0));
    play.rose(2);
    assert_eq!(told(), (1, 0), "a drained member serves nobody");
    play.rose(1);
    assert_eq!(told(), (1, 1));
}

/// A document that takes the last working member out of service, or puts one in, is told like any other turn.
#[test]
fn a_document_takes_a_pool_down_and_up() {
    let mut play = Play::new(2, &one(), |_| {});
    play.fell(1);
    play.setup.members[1].admin_state_up = false;
    let apply = |play: &Play| {
        let document = play.setup.document(&play.place.path("access.log"));
        play.weir.control.apply(&document);
    };
    apply(&play);
    let down = play.weir.control.wait_event(PoolDown, "back", 0, PATIENCE);
    assert_eq!(down.by, "the operator");
    assert_eq!(play.answered_by(2), [0; 2]);
    play.setup.members[1].admin_state_up = true;
    apply(&play);
    play.weir.control.wait_event(PoolUp, "back", down.seq, PATIENCE);
    assert_eq!(play.answered_by(4), [2; 4]);
}

/// Two monitors on two paths of a member: one no is enough, and only what has a say is heard.
#[test]
fn all_monitors_must_agree() {
    let place = Place::new();
    let answer = |bad: &'static str| -> weir_tests::health::Mood {
        Box::new(move |conn| {
            let head = conn.head()?;
            let status = if head.word(1).ends_with(bad) { 500 } else { 200 };
            conn.send(weir_tests::member::sized(status, "", b"ok", false))?;
            conn.close();
            Ok(())
        })
    };
    let m1 = Moody::new("m1", place.socket(), vec![answer("none"), answer("/a"), answer("/b"), answer("/c")]);
    let on = |name: &str, up: bool| {
        with(fast_http(), &json!({"name": name, "url_path": format!("/health/{name}"), "admin_state_up": up}))
    };
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.member.socket())])
        .pool_keys(json!({"healthmonitors": [on("a", true), on("b", true), on("c", false)]}));
    let weir = Weir::start(&place, &setup);
    until_true(PATIENCE, "two to be asked", || {
        weir.control.health_of("m1").monitors.iter().filter(|view| !view.last.is_empty()).count() == 2
    });
    m1.mood(3);
    pause_ms(600);
    assert_eq!(weir.control.count(MemberDown), 0, "whoever has no say is not asked");
    assert!(m1.member.seen().iter().all(|request| request.head.word(1) != "/health/c"));
    let mut after = 0;
    for (mood, name) in [(1, "a"), (2, "b")] {
        m1.mood(mood);
        let down = weir.control.wait_event(MemberDown, "back/m1", after, PATIENCE);
        assert_eq!(down.by, format!("monitor {name}"));
        assert!(down.reason.starts_with(&format!("{name}: HTTP 500, expected 200, ")), "{down:?}");
        assert_eq!(get(setup.vip, "/").status(), 503);
        m1.mood(0);
        after = weir.control.wait_event(MemberUp, "back/m1", down.seq, PATIENCE).seq;
    }
}
