//! What is foretold is what happens, for pools of every kind, and foretelling it leaves no trace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::balance::place;
use crate::limits::rate::Nanos;
use crate::limits::{Asking, Wait};
use crate::persistence::{Answer, Secret, answer, look_up, placed};
use crate::snapshot::Snapshot;
use crate::time::Millis;

/// Every algorithm, hashes with each table and each kind of key.
const ALGORITHMS: [&str; 13] = [
    "lb_algorithm: ROUND_ROBIN",
    "lb_algorithm: STATIC_RR",
    "lb_algorithm: LEAST_CONNECTIONS",
    "lb_algorithm: FIRST",
    "lb_algorithm: RANDOM",
    "lb_algorithm: SOURCE_IP",
    "lb_algorithm: SOURCE_IP_PORT, hash: {balance_factor: 150}",
    "lb_algorithm: SOURCE_IP_PORT, hash: {table: MAP}",
    "lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT}",
    "lb_algorithm: URI, hash: {table: MAGLEV}",
    "lb_algorithm: HEADER, hash: {header: X-Key}",
    "lb_algorithm: HEADER, hash: {header: X-Key, table: CONSISTENT, balance_factor: 120}",
    "lb_algorithm: URL_PARAM, hash: {parameter: id, table: MAP}",
];

const PERSISTENCE: [&str; 6] = [
    "",
    "session_persistence: {type: SOURCE_IP, persistence_timeout: 2}, ",
    "session_persistence: {type: HTTP_COOKIE}, ",
    "session_persistence: {type: HTTP_COOKIE, max_idle: 4, max_life: 12}, ",
    "session_persistence: {type: APP_COOKIE, cookie_name: sid, persistence_timeout: 2}, ",
    "session_persistence: {type: APP_COOKIE, cookie_name: sid, request_learn: true}, ",
];

/// A member of a document: weight, backup, its operator's word, its limit.
type Written = (u16, bool, bool, u32);

fn document(algorithm: &str, persistence: &str, members: &[Written], max_queue: i32) -> String {
    let member = |(i, (weight, backup, up, most)): (usize, &Written)| {
        format!(
            "{{name: m{i}, address: 10.0.0.{}, protocol_port: 80, weight: {weight}, backup: {backup}, \
             admin_state_up: {up}, max_connections: {most}}}",
            i + 2
        )
    };
    let members: Vec<String> = members.iter().enumerate().map(member).collect();
    format!(
        "loadbalancer: {{vip_address: 10.1.0.1, listeners: [{{protocol: HTTP, protocol_port: 80}}], \
         pools: [{{name: p, protocol: HTTP, {algorithm}, {persistence}max_queue: {max_queue}, members: [{}]}}]}}",
        members.join(", ")
    )
}

fn compiled(text: &str, previous: &Snapshot) -> Snapshot {
    let config = crate::spec::read("test", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Snapshot::build(Arc::new(config), previous, 1)
}

fn fresh() -> Snapshot {
    Snapshot::keyed(Secret::from_bytes(&[5; 32]).unwrap())
}

/// A request with a cookie and a key.
struct Request {
    target: String,
    cookie: Option<String>,
    key: Option<String>,
}

impl Parts for Request {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let value = match () {
            () if name == b"cookie" => self.cookie.as_ref(),
            () if name.eq_ignore_ascii_case(b"x-key") => self.key.as_ref(),
            () => None,
        };
        value.map(|value| value.as_bytes()).into_iter()
    }
}

/// An answer that begins a session, perhaps.
struct Sets(Option<String>);

impl Answer for Sets {
    fn status(&self) -> u16 {
        200
    }

    fn fields<'a>(&'a self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.as_ref().filter(|_| name == b"set-cookie").map(|value| value.as_bytes()).into_iter()
    }
}

fn client(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0xc000_0200 + n % 4)), (n / 4) as u16)
}

fn at(ms: u64) -> Moment {
    Moment { now: Millis(ms), wall_s: 1_790_000_000 + ms / 1000 }
}

/// What happens to a flow: as in `lb-proxy`, with one slot taken if it gets a member.
fn live(pool: &PoolSnapshot, flow: &Flow<'_, Request>) -> (Found, Pick) {
    let found = look_up(pool, flow.parts, flow.client.ip(), flow.moment, Touch::Refresh);
    let key = pool.asks.of_request(flow.client, flow.parts, || flow.draw.unwrap());
    let home = Home { member: found.member, first: found.member.is_some() };
    (found, place(pool, key, flow.moment.now, &Tried::default(), home))
}

/// One turn of a story.
#[derive(Clone, Debug)]
struct Turn {
    /// Milliseconds that pass.
    passed: u64,
    /// A member, and what becomes of it.
    member: usize,
    event: u8,
    /// A client, and what it brings.
    client: u32,
    cookie: u8,
    has_key: bool,
    /// Its slot is given back at once.
    leaves: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    let passed = prop::sample::select(vec![0u64, 1, 60, 700, 5000]);
    (passed, 0usize..6, 0u8..10, any::<u32>(), 0u8..6, any::<bool>(), any::<bool>()).prop_map(
        |(passed, member, event, client, cookie, has_key, leaves)| Turn {
            passed,
            member,
            event,
            client,
            cookie,
            has_key,
            leaves,
        },
    )
}

/// What the client brings: nothing, rubbish, a forged token, what it was given last, that with another byte, or a session.
fn cookie(kind: u8, given: &[String], n: u32) -> Option<String> {
    let last = given.get(n as usize % given.len().max(1));
    match kind {
        0 => None,
        1 => Some("SRV=x; sid=".to_owned()),
        2 => Some("SRV=AAAAAAAAAAAAAAAAAAAAAA; sid=never".to_owned()),
        3 => last.cloned(),
        4 => last.map(|last| last.replace(['A', 'b', 'Q'], "z")),
        _ => Some(format!("sid=s{}", n % 5)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn what_is_foretold_happens_and_nothing_else(
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        persistence in prop::sample::select(PERSISTENCE.to_vec()),
        members in prop::collection::vec((0u16..4, prop::bool::weighted(0.3), prop::bool::weighted(0.9), 0u32..4), 1..6),
        limited in any::<bool>(),
        max_queue in -1i32..3,
        turns in prop::collection::vec(turn(), 1..50),
    ) {
        let mut members = members;
        if !limited {
            members.iter_mut().for_each(|member| member.3 = 0);
        }
        let mut snapshot = compiled(&document(algorithm, persistence, &members, max_queue), &fresh());
        let (mut now, mut given, mut waits) = (1, Vec::<String>::new(), Vec::<Wait>::new());
        for (n, turn) in turns.iter().enumerate() {
            now += turn.passed;
            let which = turn.member % members.len();
            let state = &snapshot.pools[0].members[which].state;
            match turn.event {
                0 => state.set_up(false),
                1 | 2 => state.set_up(true),
                3 => state.fault.failed(Millis(now)),
                4 => state.set_share_permille([0, 300, 1000][n % 3]),
                5 => drop(state.fault.stuck()),
                6 => snapshot = snapshot.rebuilt().unwrap_or(snapshot),
                // Another document, without the last member: its clients lose it.
                7 if members.len() > 1 => {
                    let text = document(algorithm, persistence, &members[..members.len() - 1], max_queue);
                    snapshot = compiled(&text, &snapshot);
                    members.pop();
                    snapshot.arrange_queues();
                    snapshot.recheck_queues();
                }
                _ => {}
            }
            let pool = &snapshot.pools[0];
            let key = turn.has_key.then(|| format!("k{}", turn.client % 7));
            let target = format!("/p{}?{}", turn.client % 9, if turn.has_key { "id=3" } else { "" });
            let parts = Request { target, cookie: cookie(turn.cookie, &given, turn.client), key };
            let flow = Flow {
                client: client(turn.client),
                any_port: false,
                parts: &parts,
                first_bytes: None,
                draw: Some(turn.client),
                moment: at(now),
            };

            let before = format!("{pool:?}");
            let foretold = in_pool(pool, &flow);
            for _ in 0..if n == 0 { 100 } else { 1 } {
                prop_assert_eq!(&in_pool(pool, &flow), &foretold, "asked again");
            }
            prop_assert_eq!(format!("{pool:?}"), before, "asking left a trace");
            makes_sense(pool, &foretold)?;

            // Who does not know the draw or the port foretells no less than is certain.
            let blind = in_pool(pool, &Flow { any_port: true, draw: None, ..flow });
            match blind.way {
                Way::OneOf(_) => if let Way::To(member) = foretold.way {
                    let standing = blind.standings[usize::from(member.0)];
                    let last_resort = !blind.standings.contains(&Standing::Ready);
                    prop_assert!(standing == Standing::Ready || last_resort, "{:?} {:?}", standing, blind.standings);
                },
                way => prop_assert_eq!(way, foretold.way),
            }

            let (found, pick) = live(pool, &flow);
            prop_assert_eq!(found, foretold.found);
            match pick {
                Pick::Member(member) => {
                    prop_assert_eq!(foretold.way, Way::To(member), "{} {}", algorithm, persistence);
                    pool.cells.of(0).active.inc();
                    placed(pool, &found, member, Millis(now));
                    let sets = Sets((turn.cookie == 5).then(|| format!("sid=s{}", turn.client % 5)));
                    let mut out = Vec::new();
                    answer(pool, &found, member, &sets, at(now), &mut out);
                    let text = String::from_utf8(out).unwrap();
                    let value = text.strip_prefix("Set-Cookie: ").and_then(|text| text.split(';').next());
                    given.extend(value.map(str::to_owned));
                    let state = &pool.member(member).state;
                    if turn.leaves && state.leave() {
                        pool.limits.queue.freed(state);
                    }
                }
                Pick::Full(whom) => {
                    let member = whom.map(|member| &pool.member(member).state);
                    let asking = Asking { member, not: None, max: pool.limits.max_queue, now: Millis(now) };
                    match pool.limits.queue.join(asking) {
                        Ok(wait) => {
                            prop_assert_eq!(foretold.way, Way::Waits(whom));
                            waits.push(wait);
                        }
                        Err(_) => prop_assert_eq!(foretold.way, Way::QueueFull(whom)),
                    }
                    if turn.leaves {
                        waits.clear();
                    }
                }
                Pick::Nobody => prop_assert_eq!(foretold.way, Way::Nobody),
            }
        }
    }

    #[test]
    fn what_the_door_says_is_what_it_does(
        open in prop::collection::vec((0u32..6, 0u64..900_000_000, any::<bool>()), 1..60),
        table_size in prop::sample::select(vec![16u32, 1024]),
    ) {
        let text = "loadbalancer: {vip_address: 10.1.0.1, listeners: [{protocol: HTTP, protocol_port: 80, \
             allowed_cidrs: [192.0.2.0/30], client_limits: {connections: 2, connection_rate: 2, connection_burst: 3, \
             request_rate: 1, request_burst: 2, exempt: [192.0.2.3]}}]}";
        let mut snapshot = compiled(text, &fresh());
        // Fewer than a document may say.
        let listener = Arc::get_mut(&mut snapshot.listeners[0]).unwrap();
        listener.limits.clients.as_mut().unwrap().table_size = table_size;
        let (listener, seed) = (&snapshot.listeners[0], 7);
        let rules = listener.limits.clients.as_deref().unwrap();
        let (mut now, mut guests) = (0, Vec::new());
        for (n, passed, leaves) in open {
            now += passed;
            let who = IpAddr::V4(Ipv4Addr::from(0xc000_0200 + n));
            let before = format!("{listener:?}");
            let told = door(listener, who, seed, Nanos(now));
            prop_assert_eq!(door(listener, who, seed, Nanos(now)), told);
            prop_assert_eq!(format!("{listener:?}"), before, "asking left a trace");
            prop_assert_eq!(told.allowed, n < 4);
            let Some(key) = rules.key(who) else {
                prop_assert!(n == 3 && told.client.is_none());
                continue;
            };
            let client = told.client.unwrap();
            match listener.clients.enter(seed, key, rules, Nanos(now)) {
                Ok(Some(guest)) => {
                    prop_assert!(client.counted);
                    prop_assert_eq!(client.connection, Ok(()));
                    prop_assert_eq!(guest.ask(rules, Nanos(now)), client.request);
                    guests.push(guest);
                }
                Ok(None) => prop_assert!(!client.counted && client.connection.is_ok() && client.request.is_ok()),
                Err(refusal) => prop_assert_eq!(client.connection, Err(refusal)),
            }
            if leaves {
                guests.pop();
            }
        }
    }
}

/// What is told beside the way agrees with it.
fn makes_sense(pool: &PoolSnapshot, told: &Outcome) -> Result<(), TestCaseError> {
    let standing = |member: MemberIndex| told.standings[usize::from(member.0)];
    prop_assert_eq!(told.standings.len(), pool.members.len());
    match told.way {
        Way::To(member) => {
            prop_assert_eq!(told.order.first(), Some(&member));
            let own = told.found.member == Some(member);
            let last_resort = !told.standings.contains(&Standing::Ready);
            prop_assert!(own || last_resort || standing(member) == Standing::Ready, "{:?}", told);
            prop_assert!(told.order.iter().all(|member| pool.member(*member).state.up() || own));
        }
        Way::Waits(Some(member)) | Way::QueueFull(Some(member)) => {
            let waited_for = matches!(standing(member), Standing::Full | Standing::WaitedFor);
            let last_resort = !told.standings.contains(&Standing::Ready);
            prop_assert!(waited_for || last_resort || told.found.member == Some(member), "{:?}", told);
        }
        Way::Waits(None) | Way::QueueFull(None) => {
            prop_assert!(!told.standings.contains(&Standing::Ready), "{:?}", told)
        }
        Way::Nobody => prop_assert!(!told.standings.contains(&Standing::Ready), "{:?}", told),
        Way::OneOf(_) => prop_assert!(false, "all is known"),
    }
    // Who is met last in a look-up that found somebody is that one.
    if let Some(member) = told.found.member {
        prop_assert_eq!(told.met.last(), Some(&Met::Home(member)));
    }
    Ok(())
}

/// A pool of two members with that persistence, and the outcome for a request with that cookie at that second.
fn of_cookie(snapshot: &Snapshot, cookie: Option<&str>, second: u64) -> Outcome {
    let parts = Request { target: "/".to_owned(), cookie: cookie.map(str::to_owned), key: None };
    let flow = Flow {
        client: client(1),
        any_port: true,
        parts: &parts,
        first_bytes: None,
        draw: None,
        moment: at(second * 1000),
    };
    in_pool(&snapshot.pools[0], &flow)
}

#[test]
fn a_miss_has_its_reason() {
    let pool = |persistence| document(ALGORITHMS[0], persistence, &[(1, false, true, 0), (1, false, true, 0)], -1);
    let dated = compiled(&pool(PERSISTENCE[3]), &fresh());
    let met = |cookie: &str, second| of_cookie(&dated, Some(cookie), second).met;
    let mut out = Vec::new();
    let none = of_cookie(&dated, None, 1);
    assert_eq!((none.met.as_slice(), none.found.outcome), (&[][..], persistence::Outcome::None));
    answer(&dated.pools[0], &none.found, MemberIndex(1), &Sets(None), at(1000), &mut out);
    let text = String::from_utf8(out).unwrap();
    let cookie = text["Set-Cookie: ".len()..].split(';').next().unwrap();
    assert_eq!(met(cookie, 1), [Met::Home(MemberIndex(1))]);
    assert_eq!(met(cookie, 30), [Met::TooOld(MemberIndex(1))]);
    assert_eq!(met(cookie, 10), [Met::TooIdle(MemberIndex(1))]);
    let forged = format!("{}{}", &cookie[..cookie.len() - 1], if cookie.ends_with('A') { 'B' } else { 'A' });
    assert_eq!(met(&forged, 1), [Met::BrokenSeal]);
    assert_eq!(met("SRV=short", 1), [Met::NoToken]);
    assert_eq!(met("SRV=AAAAAAAAAAAAAAAAAAAAAA; a=b; SRV=x", 1), [Met::Stranger, Met::NoToken]);
    dated.pools[0].members[1].state.set_up(false);
    assert_eq!(met(cookie, 1), [Met::Barred(MemberIndex(1))]);
    assert_eq!(of_cookie(&dated, Some(cookie), 1).standings, [Standing::Ready, Standing::Down]);

    let by_address = compiled(&pool(PERSISTENCE[1]), &fresh());
    let of = |snapshot: &Snapshot, second| of_cookie(snapshot, None, second).met;
    assert_eq!(of(&by_address, 1), [Met::Unheard]);
    placed(&by_address.pools[0], &of_cookie(&by_address, None, 1).found, MemberIndex(1), Millis(1000));
    assert_eq!(of(&by_address, 2), [Met::Home(MemberIndex(1))]);
    assert_eq!(of(&by_address, 9), [Met::Away]);
    assert_eq!(of(&by_address, 2), [Met::Home(MemberIndex(1))], "what was away was not forgotten by asking");
    let without = document(ALGORITHMS[0], PERSISTENCE[1], &[(1, false, true, 0)], -1);
    assert_eq!(of(&compiled(&without, &by_address), 2), [Met::Gone]);

    let sessions = compiled(&pool(PERSISTENCE[4]), &fresh());
    assert_eq!(of_cookie(&sessions, Some("sid=never"), 1).met, [Met::Unheard]);
}

#[test]
fn who_is_left_out_has_a_reason() {
    let members =
        [(1, false, true, 1), (1, false, false, 1), (0, false, true, 1), (1, false, true, 1), (1, true, true, 0)];
    let snapshot = compiled(&document(ALGORITHMS[0], "", &members, 1), &fresh());
    let pool = &snapshot.pools[0];
    pool.members[3].state.fault.failed(Millis(1000));
    let told = |second| of_cookie(&snapshot, None, second);
    use Standing::{Avoided, Backup, Disabled, Down, Full, Ready, WaitedFor, Weightless};
    assert_eq!(told(1).standings, [Ready, Disabled, Weightless, Avoided, Backup]);
    assert_eq!(told(1).order, [0, 4, 3].map(MemberIndex), "who comes next if one cannot be reached");
    pool.members[0].state.enter();
    assert_eq!(told(1).standings[0], Full);
    assert_eq!(told(1).way, Way::Waits(None), "full is no reason for a backup");
    let asking = Asking { member: None, not: None, max: Some(1), now: Millis(1000) };
    let _waiting = pool.limits.queue.join(asking).unwrap();
    assert_eq!(told(1).way, Way::QueueFull(None));
    assert_eq!(told(2).standings[3], WaitedFor, "its time of being left alone is over");
    (0..4).for_each(|i| pool.members[i].state.set_up(false));
    assert_eq!(told(1).standings, [Down, Disabled, Down, Down, WaitedFor]);
    pool.members[4].state.set_up(false);
    assert_eq!(told(1).way, Way::Nobody);
}

#[test]
fn what_nobody_can_know_is_left_open() {
    let two = [(1, false, true, 0), (1, false, true, 0)];
    let by = |algorithm: &str| compiled(&document(algorithm, "", &two, -1), &fresh());
    let (drawn, by_port, by_address) = (by(ALGORITHMS[4]), by(ALGORITHMS[7]), by(ALGORITHMS[8]));
    assert_eq!(of_cookie(&drawn, None, 1).way, Way::OneOf(Unknown::Draw));
    assert_eq!(of_cookie(&by_port, None, 1).way, Way::OneOf(Unknown::Port));
    assert!(matches!(of_cookie(&by_address, None, 1).way, Way::To(_)));
    for snapshot in [drawn, by_port] {
        snapshot.pools[0].members[0].state.set_up(false);
        assert_eq!(of_cookie(&snapshot, None, 1).way, Way::To(MemberIndex(1)), "there is no choice");
    }
}

#[test]
fn policies_say_which_rule_does_not_hold_and_which_of_them_decides() {
    use crate::l7::{TlsFacts, Way as Goes};
    let policy =
        |name: &str, action: &str, rules: &str| format!("{{name: {name}, action: {action}, rules: [{rules}]}}");
    let path = |value: &str| format!("{{type: PATH, compare_type: STARTS_WITH, value: {value}}}");
    let (off, by_chance) = (path("/a, admin_state_up: false"), "{type: PERCENT, value: '50'}");
    let policies = [
        policy("pool", "REDIRECT_TO_POOL, redirect_pool: {name: q}", &path("/a")),
        policy("out", "REJECT", &format!("{off}, {}, {by_chance}", path("/b"))),
        policy("pass", "PASS", &path("/")),
    ];
    let text = format!(
        "loadbalancer: {{vip_address: 10.1.0.1, listeners: [{{protocol: HTTP, protocol_port: 80, default_pool: {{name: p}}, \
         l7policies: [{}]}}], pools: [{{name: p, protocol: HTTP, lb_algorithm: ROUND_ROBIN}}, \
         {{name: q, protocol: HTTP, lb_algorithm: ROUND_ROBIN}}]}}",
        policies.join(", ")
    );
    let snapshot = compiled(&text, &fresh());
    let of = |target: &str| {
        let parts = Request { target: target.to_owned(), cookie: None, key: None };
        route(&snapshot.listeners[0], &parts, client(1).ip(), TlsFacts::default())
    };
    let told = of("/a/x");
    assert_eq!((told.way, told.by, told.draws), (Goes::Pool(Some(1)), Some(0), false));
    assert_eq!(told.policies, [(1, Says::Fails(0)), (2, Says::Matches), (0, Says::Matches)], "in their turn");
    let told = of("/b");
    assert_eq!((told.way, told.by, told.draws), (Goes::Pool(Some(0)), None, true), "of one that is not drawn");
    assert_eq!(told.policies, [(1, Says::Fails(1)), (2, Says::Matches), (0, Says::Fails(0))]);
}
