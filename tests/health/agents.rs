//! Promise: a member's own agent is understood as HAProxy understands it, and one that cannot be reached says nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_control::events::EventKind::{MemberAdministrative, MemberDown, MemberUp};
use lb_core::health::{Administrative, Operational};
use serde_json::json;
use weir_tests::client::get;
use weir_tests::haproxy::Haproxy;
use weir_tests::health::monitor;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until, until_true};
use weir_tests::weir::Weir;

/// An agent that says the same to everybody.
struct Agent {
    server: Member,
    line: Arc<Mutex<String>>,
}

impl Agent {
    fn new(at: SocketAddr) -> Self {
        let line = Arc::new(Mutex::new("\n".to_owned()));
        let says = Arc::clone(&line);
        let server = Member::script("agent", at, move |conn| {
            let line = says.lock().unwrap().clone();
            conn.send(line)?;
            conn.close();
            Ok(())
        });
        Self { server: server.only_counting(), line }
    }

    /// Says something else, and waits until it was heard a few times.
    fn says(&self, line: &str) {
        *self.line.lock().unwrap() = line.to_owned();
        self.heard();
    }

    fn heard(&self) {
        let before = self.server.connections();
        until_true(PATIENCE, "the agent to be asked", || self.server.connections() >= before + 4);
        pause_ms(30);
    }
}

/// Weir and HAProxy before one member with an agent, and another without.
struct Play {
    weir: Weir,
    haproxy: Haproxy,
    agent: Agent,
    setup: Setup,
    _members: [Member; 2],
    _place: Place,
}

/// What a balancer makes of a member: up, administrative word, weight of 100.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    up: bool,
    axis: &'static str,
    weight: u32,
}

impl Play {
    fn new() -> Self {
        let place = Place::new();
        let agent = Agent::new(place.socket());
        let members = ["m1", "m2"].map(|name| Member::http(name, place.socket()).only_counting());
        let named = members.iter().map(|m| (m.name(), m.socket()));
        let port = agent.server.socket().port();
        let mut setup = Setup::new(Mode::Http, place.socket(), named)
            .weights(&[100, 100])
            .pool_keys(json!({"agent_check": {"port": port, "delay": 0.1}}));
        setup.haproxy_server = format!("agent-check agent-port {port} agent-inter 100ms");
        // The second has an agent nobody can reach.
        setup.members[1].more = json!({"monitor_address": "127.255.255.1"});
        let other = Setup { vip: place.socket(), ..setup.clone() };
        let haproxy = Haproxy::start(&place, &other);
        let weir = Weir::start(&place, &setup);
        agent.heard();
        Self { weir, haproxy, agent, setup, _members: members, _place: place }
    }

    fn here(&self) -> Seen {
        let health = self.weir.control.health_of("m1");
        let axis = match health.administrative {
            Administrative::Ready => "READY",
            Administrative::Drain => "DRAIN",
            Administrative::Maint => "MAINT",
        };
        // From a share of all: m2 has 100.
        let share = health.share_permille;
        let weight = if share >= 1000 { 0 } else { (share * 100 + (1000 - share) / 2) / (1000 - share) };
        Seen { up: health.operational != Operational::Down, axis, weight }
    }

    fn haproxy(&self) -> Seen {
        let server = self.haproxy.server("m1");
        let axis = match server["status"].as_str() {
            status if status.starts_with("MAINT") => "MAINT",
            status if status.starts_with("DRAIN") => "DRAIN",
            _ => "READY",
        };
        let up = !server["status"].starts_with("DOWN");
        // A member that takes no work has no share to tell its weight by.
        let weight = if up && axis == "READY" { server["weight"].parse().unwrap() } else { 0 };
        let axis = if up && axis == "READY" && weight == 0 { "DRAIN" } else { axis };
        Seen { up, axis, weight }
    }
}

/// Each line after the one before it, as an agent would say them.
#[test]
fn words_mean_what_they_mean_to_haproxy() {
    let play = Play::new();
    for line in [
        "50%\n",
        "garbage\n",
        "100%\r\n",
        "\n",
        "drain\n",
        "50%\n",
        "ready\n",
        "down # disk full\n",
        "100%\n",
        "UP 80%\n",
        "maint\n",
        "READY\n",
        "fail\n",
        "up\n",
        "stopped # by hand\n",
        "up, ready\t100%\n",
        "0%\n",
        "100%\n",
        "up garbage\n",
        "drain up 75%\n",
        "ready 100% up\n",
    ] {
        play.agent.says(line);
        let same = || (play.here(), play.haproxy());
        until(Duration::from_secs(3), &format!("agreement after {line:?}: {:?}", same()), || {
            let (here, there) = same();
            let near = here.weight.abs_diff(there.weight) <= 1;
            (near && (here.up, here.axis) == (there.up, there.axis)).then_some(())
        });
    }
    // Words that HAProxy 2.6 passes over, and we know.
    for (line, here) in [
        ("weight:30%\n", Seen { up: true, axis: "READY", weight: 30 }),
        ("failed\n", Seen { up: false, axis: "READY", weight: 0 }),
    ] {
        let before = play.haproxy();
        play.agent.says(line);
        assert_eq!((play.here(), play.haproxy()), (here, before), "{line:?}");
    }
    let events = play.weir.control.events().events;
    let told: Vec<_> = events.iter().filter(|e| e.kind == MemberDown).map(|e| e.reason.as_str()).collect();
    let reasons = [
        "its agent says down: disk full",
        "its agent says failed",
        "its agent says stopped: by hand",
        "its agent says failed",
    ];
    assert_eq!(told, reasons);
    assert!(events.iter().filter(|e| e.kind == MemberUp).all(|e| e.by == "the member's agent"), "{events:?}");
    assert!(events.iter().any(|e| e.kind == MemberAdministrative && e.new == "MAINT"), "{events:?}");
    assert!(events.iter().all(|e| !e.subject.name.ends_with("m2")), "an agent out of reach says nothing");
    assert_eq!(play.weir.control.health_of("m2").operational, Operational::NoCheck);
}

#[test]
fn an_agent_that_leaves_changes_nothing_and_traffic_follows_its_words() {
    let mut play = Play::new();
    let ask = |play: &Play| -> usize {
        (0..40).filter(|_| get(play.setup.vip, "/").header("x-member") == Some("m1")).count()
    };
    assert_eq!(ask(&play), 20);
    play.agent.says("25%\n");
    let part = ask(&play);
    assert!((6..=10).contains(&part), "{part} of 40 at a quarter of the weight");
    play.agent.server.kill();
    pause_ms(400);
    assert!(play.weir.control.health_of("m1").agent.contains("25"), "what it said last still holds");
    let part = ask(&play);
    assert!((6..=10).contains(&part), "{part} of 40");
    assert_eq!(play.weir.control.count(MemberDown), 0);
    play.agent.server.start();
    play.agent.says("drain\n");
    assert_eq!(ask(&play), 0);
    play.agent.says("ready 100%\n");
    assert_eq!(ask(&play), 20);
    play.agent.says("down\n");
    assert_eq!(ask(&play), 0);
    // Without an agent nobody says no.
    play.setup.pool = json!({});
    let document = play.setup.document(&play._place.path("access.log"));
    play.weir.control.apply(&document);
    assert_eq!(ask(&play), 20);
}

/// Whoever watches the log in a terminal is not steered by a member, and finds a line for each event.
#[test]
fn what_a_member_says_cannot_steer_a_terminal_nor_break_a_line() {
    let place = Place::new();
    let agent = Agent::new(place.socket());
    // A database that says no, in colours and on two lines.
    let database = Member::script("database", place.socket(), |conn| {
        let text = b"\xff\x10\x04#08004no \x1b[31mroom\x07\nlb-proxy: member back/m2: all is well\r\x9b2J";
        let length = u8::try_from(text.len()).unwrap();
        conn.send([&[length, 0, 0, 0], &text[..]].concat())?;
        conn.close();
        Ok(())
    });
    let m1 = Member::http("m1", place.socket()).only_counting();
    let m2 = Member::http("m2", place.socket()).only_counting();
    let port = agent.server.socket().port();
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", m1.socket()), ("m2", m2.socket())])
        .monitor(monitor("MYSQL", 1000, 1000))
        .pool_keys(json!({"agent_check": {"port": port, "delay": 0.1}}));
    let health = database.socket().port();
    for member in &mut setup.members {
        member.more = json!({"monitor_port": health});
    }
    let weir = Weir::start(&place, &setup);
    weir.control.wait_event(MemberDown, "back/m2", 0, PATIENCE);
    weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
    agent.says("maint # \u{1b}[31mdisk\u{9b}5m full\u{7}\u{8}\t\u{b}lb-proxy: \u{85}done\u{1b}[0m\n");
    weir.control.wait_event(MemberAdministrative, "back/m1", 0, PATIENCE);
    weir.control.wait_event(MemberAdministrative, "back/m2", 0, PATIENCE);
    let events = weir.control.events().events.len();
    let lines = until(PATIENCE, "a line for each event", || {
        let text = weir.process.stderr();
        (text.lines().count() >= events && text.ends_with('\n')).then_some(text)
    });
    assert!(!lines.contains(|c: char| c.is_control() && c != '\n'), "{lines:?}");
    assert_eq!(lines.lines().count(), events, "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("lb-proxy: ") && !line.starts_with("lb-proxy: done")), "{lines}");
    assert_eq!(lines.matches("READY → MAINT:  [31mdisk 5m full ").count(), 2, "{lines}");
    assert!(lines.contains("MySQL error 1040: no .[31mroom.."), "{lines}");
}
