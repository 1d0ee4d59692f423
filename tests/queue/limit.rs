//! The edge itself, the order, and how long and how many may wait.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, pause_ms, until_true};

use super::gate::Gate;
use super::{ask, limits, line_up, queue, reason, stage, wait_waiting};

#[test]
fn requests_stay_at_the_limit_exactly() {
    for (limit, workers) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let gate = Gate::default();
        let stage = stage(&gate, 1, limit, |setup| setup.workers = workers);
        let mut clients: Vec<Client> = (0..6).map(|i| ask(&stage, &format!("/{i}"))).collect();
        wait_waiting(&stage.weir.control, 6 - u64::from(limit));
        gate.wait_inside(limit as usize);
        let member = stage.weir.control.member("m1");
        assert_eq!((member.max_connections, member.active_connections), (Some(limit), u64::from(limit)));
        // Time for a mistake to show.
        pause_ms(50);
        for left in (0..6).rev() {
            // The one that was let go last leaves in its own time, and the next comes in its place.
            let expected = (limit as usize).min(left + 1);
            until_true(PATIENCE, &format!("{expected} inside of {limit}, {workers} workers"), || {
                gate.inside() == expected
            });
            gate.release(1);
            gate.wait_inside((limit as usize).min(left));
        }
        assert!(clients.iter_mut().all(|client| client.answer().status() == 200));
        assert_eq!(gate.most(), limit as usize, "{workers} workers");
        let stats = queue(&stage.weir.control);
        assert_eq!((stats.waiting, stats.queued, stats.timeouts, stats.refused), (0, 6 - u64::from(limit), 0, 0));
        assert!(stats.longest_wait_ms >= 50, "{stats:?}");
    }
}

#[test]
fn connections_stay_at_the_limit_exactly() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let member = |name: &str, at| gate.tcp(name, at);
        let stage = Stage::with(Mode::Tcp, 1, member, |setup| {
            limits(setup, 2);
            setup.workers = workers;
        });
        let clients: Vec<Client> = (0..5).map(|_| Client::connect(stage.vip())).collect();
        wait_waiting(&stage.weir.control, 3);
        gate.wait_inside(2);
        pause_ms(50);
        gate.open();
        // A connection ends when both sides have: who has its byte leaves, and another gets its turn.
        std::thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || {
                    assert_eq!((client.take_to_end(), client.stray.as_slice()), (End::Closed, b"x".as_slice()));
                });
            }
        });
        assert_eq!(gate.most(), 2, "{workers} workers");
    }
}

/// Kept connections that serve nothing take no slot, and a slot is free as soon as an answer is through.
#[test]
fn kept_connections_take_no_slot() {
    let stage = Stage::http(1, |setup| limits(setup, 1));
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(stage.vip())).collect();
    for _ in 0..5 {
        for client in &mut clients {
            assert_eq!(client.get("/").status(), 200);
        }
    }
    assert_eq!(queue(&stage.weir.control).timeouts, 0);
}

#[test]
fn who_waits_is_served_in_the_order_it_came() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let stage = stage(&gate, 1, 1, |setup| setup.workers = workers);
        let _first = ask(&stage, "/first");
        gate.wait_inside(1);
        let targets: Vec<String> = (0..12).map(|i| format!("/{i}")).collect();
        let mut waiting = line_up(&stage, &targets.iter().map(String::as_str).collect::<Vec<_>>());
        for n in 0..12 {
            gate.release(1);
            gate.wait_seen(n + 2);
            // Whoever comes now is behind them all.
            waiting.push(ask(&stage, "/late"));
        }
        gate.open();
        gate.wait_seen(25);
        let order = gate.order();
        assert_eq!(order[1..13], targets, "{workers} workers");
        assert!(waiting.iter_mut().all(|client| client.answer().status() == 200));
    }
}

#[test]
fn who_waits_for_too_long_is_told_why() {
    let gate = Gate::default();
    let stage = stage(&gate, 2, 3, |setup| {
        setup.log_format = Some("json");
        setup.pool = json!({"timeout_queue": 300});
    });
    let _inside: Vec<Client> = (0..6).map(|_| ask(&stage, "/")).collect();
    gate.wait_inside(6);
    let began = Instant::now();
    let mut late = ask(&stage, "/late");
    assert_eq!(late.answer().status(), 503);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    let line = reason(&stage, 1, 503);
    assert_eq!(line["flags"], "sQ");
    assert_eq!(line["reason"], "no member had room in time: all members of pool back together take 6 at once");
    assert!(line["queue_ms"].as_u64().unwrap() >= 300 && line["connect_ms"].is_null(), "{line}");
    assert_eq!((&line["queue_place"], &line["member"]), (&json!(1), &json!(null)));
    let stats = queue(&stage.weir.control);
    assert_eq!((stats.waiting, stats.queued, stats.timeouts), (0, 1, 1));
    gate.open();
}

#[test]
fn without_a_word_one_waits_for_as_long_as_connecting_may_take() {
    let gate = Gate::default();
    let stage = stage(&gate, 1, 1, |setup| setup.timeouts.connect = 250);
    let _inside = ask(&stage, "/");
    gate.wait_inside(1);
    let began = Instant::now();
    assert_eq!(ask(&stage, "/late").answer().status(), 503);
    assert!((250..4000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    gate.open();
}

#[test]
fn who_is_one_too_many_is_refused_at_once() {
    for most in [0, 2] {
        let gate = Gate::default();
        let stage = stage(&gate, 1, 1, |setup| {
            setup.log_format = Some("json");
            setup.workers = 2;
            setup.pool = json!({"max_queue": most, "timeout_queue": 60_000});
        });
        let _inside = ask(&stage, "/");
        gate.wait_inside(1);
        let waiting = line_up(&stage, &vec!["/waiting"; most]);
        assert_eq!(ask(&stage, "/late").answer().status(), 503);
        let line = reason(&stage, 1, 503);
        assert_eq!(line["flags"], "SQ");
        let expected = format!("no member has room and as many wait as may: pool back lets {most} wait");
        assert_eq!(line["reason"], expected);
        let stats = queue(&stage.weir.control);
        assert_eq!((stats.waiting, stats.refused), (most as u64, 1));
        gate.open();
        for mut client in waiting {
            assert_eq!(client.answer().status(), 200);
        }
    }
}

/// SOURCE_IP keeps to its member and waits there, though another has nothing to do; when the time is over it goes there.
#[test]
fn who_is_bound_to_a_member_waits_for_it_and_then_goes_elsewhere() {
    let gate = Gate::default();
    let stage = stage(&gate, 2, 1, |setup| {
        setup.algorithm = "SOURCE_IP";
        setup.log_format = Some("json");
        setup.pool = json!({"timeout_queue": 1500});
    });
    let mut first = ask(&stage, "/first");
    gate.wait_inside(1);
    let mut second = ask(&stage, "/second");
    wait_waiting(&stage.weir.control, 1);
    let full = stage.weir.control.stats().pools[0].members.iter().position(|m| m.waiting == 1).expect("bound to one");
    assert_eq!(stage.counts()[1 - full], 0, "the other has nothing to do");
    // Its slot comes in time: it is served there.
    gate.release(1);
    assert_eq!(first.answer().status(), 200);
    gate.wait_seen(2);
    // The next waits in vain.
    let mut third = ask(&stage, "/third");
    wait_waiting(&stage.weir.control, 1);
    until_true(PATIENCE, "it to go elsewhere", || stage.counts()[1 - full] == 1);
    gate.open();
    assert_eq!((second.answer().status(), third.answer().status()), (200, 200));
    let lines: Vec<serde_json::Value> =
        stage.weir.wait_log(3).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |target: &str| lines.iter().find(|line| line["target"] == target).unwrap();
    let member = |target: &str| of(target)["member"].clone();
    assert_eq!(member("/first"), member("/second"));
    assert_ne!(member("/first"), member("/third"));
    assert_eq!((&of("/second")["redispatched"], &of("/third")["redispatched"]), (&json!(false), &json!(true)));
    assert!(of("/third")["queue_ms"].as_u64().unwrap() >= 1500, "{:?}", of("/third"));
}

/// A slot of a member that refuses is given back before another member is tried.
#[test]
fn a_retry_elsewhere_gives_its_slot_back_first() {
    let gate = Gate::default();
    let mut stage = stage(&gate, 2, 1, |_| ());
    stage.members[0].kill();
    let mut clients: Vec<Client> = (0..2).map(|_| ask(&stage, "/")).collect();
    gate.wait_inside(1);
    wait_waiting(&stage.weir.control, 1);
    let figures = |name| stage.weir.control.member(name);
    until_true(PATIENCE, "the slot to be given back", || figures("m1").active_connections == 0);
    assert_eq!(figures("m2").active_connections, 1);
    gate.open();
    assert!(clients.iter_mut().all(|client| client.answer().status() == 200));
    until_true(PATIENCE, "all slots to be given back", || figures("m2").active_connections == 0);
    assert_eq!((gate.most(), queue(&stage.weir.control).waiting), (1, 0));
}

/// A member that just failed has room, and is tried again by one who waits though nothing else happens.
#[test]
fn who_waits_finds_a_member_that_is_back() {
    let gate = Gate::default();
    let mut stage = stage(&gate, 2, 1, |setup| setup.pool = json!({"timeout_queue": 20_000}));
    stage.members[0].kill();
    // Found out, and left alone.
    let _inside = ask(&stage, "/held");
    gate.wait_inside(1);
    let mut waiting = line_up(&stage, &["/waiting"]);
    stage.members[0].start();
    gate.wait_inside(2);
    gate.open();
    assert_eq!(waiting[0].answer().status(), 200);
}

/// An agent's word is a limit as good as the document's.
#[test]
fn an_agent_lowers_the_limit_and_takes_it_back() {
    let gate = Gate::default();
    let line = std::sync::Arc::new(std::sync::Mutex::new("up maxconn:1\n".to_owned()));
    let says = std::sync::Arc::clone(&line);
    let place = weir_tests::place::Place::new();
    let agent = Member::script("agent", place.socket(), move |conn| {
        let line = says.lock().unwrap().clone();
        conn.send(line)?;
        conn.close();
        Ok(())
    });
    let stage = stage(&gate, 1, 3, |setup| {
        let port = agent.socket().port();
        setup.pool = json!({"agent_check": {"port": port, "delay": 0.1}, "timeout_queue": 20_000});
        setup.members[0].more = json!({"max_connections": 3, "monitor_address": agent.socket().ip()});
    });
    let limit = |n| {
        let what = format!("a limit of {n}");
        until_true(PATIENCE, &what, || stage.weir.control.member("m1").max_connections == Some(n));
    };
    limit(1);
    let _inside = ask(&stage, "/");
    gate.wait_inside(1);
    let _waiting = line_up(&stage, &["/", "/", "/"]);
    *line.lock().unwrap() = "maxconn:2\n".to_owned();
    gate.wait_inside(2);
    // More than the document allows is no more than that.
    *line.lock().unwrap() = "maxconn:9\n".to_owned();
    gate.wait_inside(3);
    limit(3);
    *line.lock().unwrap() = "maxconn:2\n".to_owned();
    limit(2);
    *line.lock().unwrap() = "maxconn:0\n".to_owned();
    limit(3);
    assert_eq!((gate.most(), queue(&stage.weir.control).waiting), (3, 1));
    gate.open();
}
