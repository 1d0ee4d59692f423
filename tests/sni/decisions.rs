//! Who comes where, what log and figures say, and how long is waited for what.

use std::time::Duration;

use weir_tests::hello::{place_of, split};
use weir_tests::wait::until_true;

use super::*;

#[test]
fn a_name_chooses_the_pool_and_is_logged() {
    let play = Play::new(&policies());
    for (name, pool) in [
        ("a.test", "a"),
        ("A.TEST.", "a"),
        ("www.b.test", "b"),
        ("x.y.B.test", "b"),
        ("b.test", "main"),
        ("a.test.example", "main"),
    ] {
        assert_eq!(pool_for(play.vip, name), pool, "{name}");
    }
    let lines = play.lines(6);
    let told: Vec<[&str; 4]> = lines
        .iter()
        .map(|line| ["policy", "pool", "server_name", "reason"].map(|key| line[key].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(told[0], ["exact", "a", "a.test", "served"]);
    assert_eq!(told[1], ["exact", "a", "a.test", "served"]);
    assert_eq!(told[2], ["below", "b", "www.b.test", "served"]);
    assert_eq!(told[4], ["-", "main", "b.test", "served"]);
    assert!(lines.iter().all(|line| line.get("no_server_name").is_none() && line["method"].is_null()), "{lines:?}");

    let stats = play.weir.control.listener();
    let matched: Vec<(&str, u64)> = stats.l7policies.iter().map(|policy| (&*policy.name, policy.matched)).collect();
    assert_eq!(matched, [("exact", 2), ("below", 2), ("no", 0)]);
}

#[test]
fn whom_a_policy_rejects_reaches_nobody() {
    let play = Play::new(&policies());
    let mut client = Client::connect(play.vip);
    client.send(hello(Some("x.blocked.b.test")));
    assert!(matches!(answered(&mut client), Err(End::Reset | End::Closed)));
    let line = &play.lines(1)[0];
    assert_eq!((&line["policy"], &line["flags"], &line["pool"]), (&json!("no"), &json!("PR"), &Value::Null));
    assert_eq!(line["reason"], "refused by the policy no");
    assert_eq!((&line["server_name"], &line["bytes_out"]), (&json!("x.blocked.b.test"), &json!(0)));
    assert!(play.members.iter().all(|member| member.connections() == 0));
    assert_eq!(play.weir.control.listener().refusals, 1);
}

#[test]
fn who_names_nobody_comes_to_the_default_pool_at_once() {
    let play = Play::new(&policies());
    let broken = {
        let mut bytes = hello(Some("a.test"));
        let at = place_of(&bytes, "a.test");
        // The length of the name.
        bytes[at - 1] = 200;
        bytes
    };
    for (bytes, why) in [
        (hello(None), "the ClientHello names no server"),
        (hello(Some("192.0.2.7")), "what the ClientHello names is no host name"),
        (hello(Some("a_a.test")), "what the ClientHello names is no host name"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "the client does not speak TLS"),
        (broken, "the ClientHello is malformed"),
        (b"\x16\x03\x01\x40\x00\x01\x00\x40\x01".to_vec(), "the ClientHello is too long"),
    ] {
        let before = play.on("main").connections();
        assert_eq!(pool_of(play.vip, &bytes), "main", "{why}");
        let line = &play.lines(before + 1)[before];
        assert_eq!((&line["no_server_name"], &line["policy"]), (&json!(why), &Value::Null));
        assert!(line.get("server_name").is_none());
    }
}

#[test]
fn a_rule_that_is_inverted_holds_of_whoever_names_nobody() {
    let mut other = named("ENDS_WITH", ".test");
    other["invert"] = json!(true);
    let play = Play::new(&json!([to_pool("others", "b", &[other])]));
    assert_eq!(pool_for(play.vip, "x.example"), "b");
    assert_eq!(pool_of(play.vip, &hello(None)), "b");
    assert_eq!(pool_for(play.vip, "x.test"), "main");
}

#[test]
fn members_get_every_byte_however_it_was_cut() {
    let play = Play::new(&policies());
    for (bytes, gap) in [
        (hello(Some("a.test")), 0),
        (split(Some("a.test"), 100), 0),
        (split(Some("a.test"), 3), 0),
        (split(Some("a.test"), 100), 2),
    ] {
        let early = [&bytes[..], b"and what follows"].concat();
        let before = play.on("a").connections();
        let mut client = Client::connect(play.vip);
        match gap {
            0 => client.send(&early),
            gap => client.send_pieces(&early.chunks(40).collect::<Vec<_>>(), Duration::from_millis(gap)),
        }
        assert_eq!(answered(&mut client), Ok("a"));
        client.send("later");
        client.half_close();
        let expected = [&early[..], b"later"].concat();
        let visit = || play.on("a").visits().get(before).filter(|visit| visit.end.is_some()).cloned();
        let visit = until(PATIENCE, "the member to have seen the end", visit);
        assert!(visit.bytes == expected, "{} bytes instead of {}", visit.bytes.len(), expected.len());
    }
    let bytes_in: Vec<u64> = play.lines(4).iter().map(|line| line["bytes_in"].as_u64().unwrap()).collect();
    let len = |bytes: Vec<u8>| (bytes.len() + "and what followslater".len()) as u64;
    assert_eq!(bytes_in[0], len(hello(Some("a.test"))));
    assert_eq!(bytes_in[2], len(split(Some("a.test"), 3)));
}

#[test]
fn half_a_hello_is_waited_for_no_longer_than_said() {
    let play = Play::tuned(&policies(), |lb| lb["listeners"][0]["timeout_tcp_inspect"] = json!(300));
    let whole = hello(Some("a.test"));
    let half = &whole[..whole.len() - 1];
    let mut client = Client::connect(play.vip);
    client.send(half);
    assert_eq!(answered(&mut client), Ok("main"));
    client.send(&whole[half.len()..]);
    client.half_close();
    let visit = || play.on("main").visits().first().filter(|visit| visit.end.is_some()).cloned();
    assert!(until(PATIENCE, "the end", visit).bytes == whole, "what came late follows");
    let line = &play.lines(1)[0];
    assert_eq!(line["no_server_name"], "the ClientHello did not come in time");
    assert!(line["connect_ms"].as_u64().unwrap() >= 300, "{line}");

    // Who says nothing is waited for as long.
    let _silent = Client::connect(play.vip);
    until_true(PATIENCE, "a member to be connected to", || play.on("main").connections() == 2);
}

#[test]
fn who_leaves_meanwhile_is_told_apart() {
    let play = Play::new(&policies());
    let whole = hello(Some("a.test"));
    let mut client = Client::connect(play.vip);
    client.send(&whole[..100]);
    until_true(PATIENCE, "its bytes to be read", || play.weir.control.listener().active_connections == 1);
    client.reset();
    let line = &play.lines(1)[0];
    assert_eq!((&line["flags"], &line["pool"]), (&json!("CR"), &Value::Null));
    assert_eq!(line["reason"], "the client left before its ClientHello was whole");

    // Who only ends its half is passed on as it is, as without policies.
    let mut client = Client::connect(play.vip);
    client.send(&whole[..100]);
    client.half_close();
    client.take_to_end();
    let line = &play.lines(2)[1];
    assert_eq!(line["no_server_name"], "the client closed before its ClientHello was whole");
}

#[test]
fn who_does_not_need_the_name_waits_for_nothing() {
    let (place, vip) = (Place::new(), Place::new().socket());
    let speaks = Member::script("speaks", place.socket(), |conn| {
        conn.send("220 hello\r\n")?;
        conn.take_to_end();
        Ok(())
    });
    let listener = |policies: Value| {
        let mut document = document(&place, vip, &[], &policies);
        document["loadbalancer"]["pools"] = json!([{
            "name": "main", "protocol": "TCP", "lb_algorithm": "ROUND_ROBIN",
            "members": [{"address": speaks.socket().ip(), "protocol_port": speaks.socket().port()}],
        }]);
        document
    };
    let heard = || Client::connect(vip).take(11);
    let weir = Weir::start_with(&place, &listener(json!([])), &[]);
    assert_eq!(heard(), b"220 hello\r\n");
    // Rules that look at the client alone.
    let everybody = json!({"type": "SOURCE_IP", "value": "0.0.0.0/0"});
    weir.control.apply(&listener(json!([
        to_pool("here", "main", std::slice::from_ref(&everybody)),
        {"action": "REJECT", "rules": [{"type": "SOURCE_IP", "value": "203.0.113.0/24"}]},
        {"action": "REJECT", "rules": [named("EQUAL_TO", "a.test")], "admin_state_up": false},
    ])));
    assert_eq!(heard(), b"220 hello\r\n");
    let stats = weir.control.listener();
    assert_eq!(stats.l7policies[0].matched, 1);
    weir.control.apply(&listener(json!([{"action": "REJECT", "rules": [everybody]}])));
    let mut client = Client::connect(vip);
    assert!(matches!(client.take_to_end(), End::Reset | End::Closed));
}

#[test]
fn shares_and_networks_choose_connections() {
    let share = json!({"type": "PERCENT", "value": 50});
    let steady = json!({"type": "PERCENT", "value": 50, "key": "SOURCE_IP"});
    let play = Play::new(&json!([
        to_pool("share", "a", &[named("EQUAL_TO", "drawn.test"), share]),
        to_pool("steady", "b", &[named("EQUAL_TO", "steady.test"), steady]),
    ]));
    let drawn: Vec<&str> = (0..40).map(|_| pool_for(play.vip, "drawn.test")).collect();
    assert!(drawn.contains(&"a") && drawn.contains(&"main"), "{drawn:?}");
    let first = pool_for(play.vip, "steady.test");
    assert!((0..10).all(|_| pool_for(play.vip, "steady.test") == first), "a client keeps its side");
}

#[test]
fn a_pool_that_was_chosen_keeps_its_own_promises() {
    let play = Play::tuned(&policies(), |lb| {
        lb["pools"][1]["members"][0]["max_connections"] = json!(1);
        lb["pools"][1]["timeout_queue"] = json!(20_000);
        lb["pools"][2]["session_persistence"] = json!({"type": "SOURCE_IP"});
        let twin = lb["pools"][2]["members"][0].clone();
        lb["pools"][2]["members"].as_array_mut().unwrap().push(twin);
        lb["pools"][2]["members"][1]["name"] = json!("twin");
        let port = lb["pools"][0]["members"][0]["protocol_port"].clone();
        lb["pools"][2]["members"][1]["protocol_port"] = port;
    });
    // Its queue: the second waits for the first, with a ClientHello that was read already.
    let mut first = Client::connect(play.vip);
    first.send(hello(Some("a.test")));
    assert_eq!(answered(&mut first), Ok("a"));
    let mut second = Client::connect(play.vip);
    second.send(hello(Some("a.test")));
    let queued = || play.weir.control.stats().pools.iter().find(|pool| pool.name == "a").map(|pool| pool.queue.waiting);
    until_true(PATIENCE, "somebody to wait", || queued() == Some(1));
    assert_eq!(pool_for(play.vip, "other.test"), "main", "other pools have room");
    first.leave();
    assert_eq!(answered(&mut second), Ok("a"));
    second.leave();
    let lines = play.lines(3);
    assert!(lines.iter().any(|line| line["pool"] == "a" && line["queue_place"] == 1), "{lines:?}");
    // Its memory: two members, and a client that stays with one.
    let home = pool_for(play.vip, "x.b.test");
    assert!((0..6).all(|_| pool_for(play.vip, "x.b.test") == home));
    let lines = play.lines(10);
    let known = lines.iter().filter(|line| line["persistence"] == "known" && line["policy"] == "below");
    assert_eq!(known.count(), 6, "{lines:?}");
}

#[test]
fn proxy_headers_stand_before_the_hello() {
    let play = Play::tuned(&policies(), |lb| {
        lb["listeners"][0]["proxy_protocol"] = json!({"trusted": ["127.0.0.0/8"]});
        lb["pools"][1]["protocol"] = json!("PROXY");
    });
    let bytes = hello(Some("a.test"));
    let sent = [&b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"[..], &bytes].concat();
    // In one piece, and the header with half of what follows.
    for cut in [sent.len(), 60] {
        let before = play.on("a").connections();
        let mut client = Client::connect(play.vip);
        client.send_pieces(&[&sent[..cut], &sent[cut..]], Duration::from_millis(20));
        assert_eq!(answered(&mut client), Ok("a"));
        client.half_close();
        let visit = || play.on("a").visits().get(before).filter(|visit| visit.end.is_some()).cloned();
        assert!(until(PATIENCE, "the end", visit).bytes == sent);
    }
    assert!(play.lines(2).iter().all(|line| line["client"] == "192.0.2.1:4711"));
}

#[test]
fn policies_may_be_replaced_while_clients_are_read() {
    let mut play = Play::new(&policies());
    let bytes = hello(Some("a.test"));
    let mut client = Client::connect(play.vip);
    client.send(&bytes[..50]);
    until_true(PATIENCE, "the client to be there", || play.weir.control.listener().active_connections == 1);
    play.document["loadbalancer"]["listeners"][0]["l7policies"] =
        json!([to_pool("new", "b", &[named("EQUAL_TO", "a.test")])]);
    play.weir.control.apply(&play.document);
    // Who came before is served by what was true then.
    client.send(&bytes[50..]);
    assert_eq!(answered(&mut client), Ok("a"));
    assert_eq!(pool_for(play.vip, "a.test"), "b");
}
