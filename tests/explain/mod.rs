//! Promise: `lbctl explain` says what would become of a request, the request then goes there, and nothing changed by asking.

mod memory;
mod node;
mod policies;
mod reasons;

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Output};

use lb_control::explain::{Candidate, Explanation, Outcome, Stands};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use weir_tests::binaries::bin;
use weir_tests::client::{Client, Response};
use weir_tests::member::{Member, sized};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::tools::output;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

/// A member that says who it is, and begins a session where it is told to.
fn app(name: &str, socket: SocketAddr) -> Member {
    let name_of = name.to_owned();
    Member::script(name, socket, move |conn| {
        loop {
            let (head, _) = conn.request()?;
            let set = head.get("x-set").map_or_else(String::new, |cookie| format!("Set-Cookie: {cookie}\r\n"));
            conn.send(sized(200, &format!("X-Member: {name_of}\r\n{set}"), b"", false))?;
        }
    })
}

/// Three such members, with these keys of their pool.
fn stage(mode: Mode, algorithm: &'static str, pool: &Value) -> Stage {
    Stage::with(mode, 3, app, |setup| {
        setup.workers = 2;
        setup.algorithm = algorithm;
        setup.pool = pool.clone();
    })
}

/// Client `n`: another address of this machine.
fn address(n: u8) -> IpAddr {
    IpAddr::from([127, 99, 8, n])
}

/// `lbctl explain` with these words, to the data plane itself.
fn lbctl(weir: &Weir, words: &[&str]) -> Output {
    output(Command::new(bin("lbctl")).arg("--socket").arg(&weir.control.socket).arg("explain").args(words))
}

/// What it says.
fn explained(weir: &Weir, words: &[&str]) -> Explanation {
    let said = lbctl(weir, &[words, &["--listener", "front", "--json"]].concat());
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

/// The same for people.
fn told(weir: &Weir, words: &[&str]) -> String {
    let said = lbctl(weir, &[words, &["--listener", "front"]].concat());
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// The member it would go to; panics if it would go nowhere.
fn picked(explanation: &Explanation) -> &str {
    assert_eq!(explanation.verdict.outcome, Outcome::Member, "{explanation:?}");
    &explanation.verdict.member.as_ref().unwrap().name
}

fn candidate<'e>(explanation: &'e Explanation, name: &str) -> &'e Candidate {
    explanation
        .members
        .iter()
        .find(|member| member.name == name)
        .unwrap_or_else(|| panic!("no {name}: {explanation:?}"))
}

/// One GET from there.
fn ask(client: &mut Client, target: &str, fields: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n{fields}\r\n"));
    client.answer().clone()
}

fn ask_from(from: IpAddr, to: SocketAddr, target: &str, fields: &str) -> Response {
    ask(&mut Client::connect_from(from, to), target, fields)
}

/// Who answered.
fn by(response: &Response) -> &str {
    response.header("x-member").unwrap_or_else(|| panic!("no member answered: {:?}", response.head))
}

/// Waits until nothing is under way: a connection ends a moment after its client has left.
fn quiet(weir: &Weir) {
    until_true(PATIENCE, "nothing to be under way", || {
        let stats = weir.control.stats();
        stats.active_connections == 0 && stats.pools.iter().all(|pool| pool.active_connections == 0)
    });
}

/// All figures but the time.
fn figures(weir: &Weir) -> Value {
    let mut stats = serde_json::to_value(weir.control.stats()).unwrap();
    stats["uptime_ms"] = json!(0);
    for pool in stats["pools"].as_array_mut().unwrap() {
        for member in pool["members"].as_array_mut().unwrap() {
            member["health"] = json!(null);
        }
    }
    stats
}

#[test]
fn a_request_goes_where_it_was_said_to() {
    for (algorithm, pool) in [
        ("ROUND_ROBIN", json!({})),
        ("STATIC_RR", json!({})),
        ("LEAST_CONNECTIONS", json!({})),
        ("FIRST", json!({})),
        ("SOURCE_IP", json!({})),
        ("SOURCE_IP", json!({"hash": {"table": "CONSISTENT", "balance_factor": 150}})),
        ("URI", json!({"hash": {"table": "MAGLEV"}})),
        ("URL_PARAM", json!({"hash": {"parameter": "id", "table": "MAP"}})),
        ("HEADER", json!({"hash": {"header": "X-Key"}})),
    ] {
        let stage = stage(Mode::Http, algorithm, &pool);
        for n in 0..8u8 {
            quiet(&stage.weir);
            let (from, target) = (address(n), format!("/p{n}?id={n}"));
            let fields = if n % 2 == 0 { format!("X-Key: {n}\r\n") } else { String::new() };
            let mut words = vec!["GET", target.as_str()];
            let (from_word, key) = (from.to_string(), format!("X-Key: {n}"));
            words.extend(["--from", &from_word]);
            if n % 2 == 0 {
                words.extend(["--header", &key]);
            }
            let before = figures(&stage.weir);
            let first = explained(&stage.weir, &words);
            assert_eq!(explained(&stage.weir, &words), first, "{algorithm}: asked again");
            assert_eq!(figures(&stage.weir), before, "{algorithm}: asking was counted");
            assert_eq!(first.pool.as_ref().unwrap().lb_algorithm, algorithm);
            let answer = ask_from(from, stage.vip(), &target, &fields);
            assert_eq!(by(&answer), picked(&first), "{algorithm} {pool}: {first:?}");
        }
    }
}

#[test]
fn who_comes_next_is_said_in_order() {
    let mut stage = stage(Mode::Http, "ROUND_ROBIN", &json!({}));
    let words = ["GET", "/", "--from", "127.99.8.1"];
    let order: Vec<String> = explained(&stage.weir, &words).members.into_iter().map(|member| member.name).collect();
    assert_eq!(order, ["m1", "m2", "m3"]);
    // The first two cannot be reached: the third has it.
    stage.members[..2].iter_mut().for_each(Member::kill);
    assert_eq!(by(&ask_from(address(1), stage.vip(), "/", "")), "m3");
    let text = told(&stage.weir, &words);
    assert!(text.starts_with("→ m3: ROUND_ROBIN: "), "{text}");
}

#[test]
fn a_relayed_connection_goes_where_it_was_said_to() {
    for algorithm in ["ROUND_ROBIN", "SOURCE_IP"] {
        let stage = stage(Mode::Tcp, algorithm, &json!({}));
        for n in 0..6 {
            quiet(&stage.weir);
            let said = explained(&stage.weir, &["--from", &address(n).to_string()]);
            assert_eq!(by(&ask_from(address(n), stage.vip(), "/", "")), picked(&said), "{said:?}");
        }
        let wrong = lbctl(&stage.weir, &["--listener", "front", "--from", "127.0.0.1", "GET", "/"]);
        let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert!(wrong.status.code() == Some(1) && words.contains("leave out METHOD and URL"), "{words}");
    }
}

#[test]
fn what_depends_on_a_port_is_known_with_it() {
    let stage = stage(Mode::Tcp, "SOURCE_IP_PORT", &json!({}));
    let open = explained(&stage.weir, &["--from", "127.99.8.1"]);
    assert_eq!(open.verdict.outcome, Outcome::OneOf);
    assert!(open.members.iter().all(|member| member.stands == Stands::Candidate && member.turn.is_none()), "{open:?}");
    for _ in 0..6 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(address(1), 0).into()).unwrap();
        let from = socket.local_addr().unwrap().as_socket().unwrap();
        let said = explained(&stage.weir, &["--from", &from.to_string()]);
        socket.connect(&stage.vip().into()).unwrap();
        assert_eq!(by(&ask(&mut Client::over(socket.into()), "/", "")), picked(&said));
    }
}

#[test]
fn what_is_drawn_is_not_foretold() {
    let mut stage = stage(Mode::Http, "RANDOM", &json!({}));
    let words = ["GET", "/", "--from", "127.99.8.1"];
    let said = explained(&stage.weir, &words);
    assert_eq!((said.verdict.outcome, said.verdict.member), (Outcome::OneOf, None));
    let text = told(&stage.weir, &words);
    assert!(text.starts_with("→ one of several: one of the candidates, drawn when it comes"), "{text}");
    stage.apply(|setup| setup.members[..2].iter_mut().for_each(|member| member.admin_state_up = false));
    assert_eq!(picked(&explained(&stage.weir, &words)), "m3", "there is no choice");
}
