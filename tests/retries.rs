//! Promise: a pool's requests are sent again after what it says, as often as it says, within its budget, and only if that is
//! safe.

use serde_json::{Value, json};
use weir_tests::client::{Client, get};
use weir_tests::member::{Conn, Member, behave, sized};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::weir::Weir;

struct Play {
    weir: Weir,
    setup: Setup,
    _place: Place,
}

/// These members behind a pool with these keys.
fn play(members: &[&Member], retry: &Value, tune: impl FnOnce(&mut Setup)) -> Play {
    let place = Place::new();
    let members: Vec<_> = members.iter().map(|member| (member.name(), member.socket())).collect();
    let mut setup = Setup::new(Mode::Http, place.socket(), members);
    if !retry.is_null() {
        setup = setup.pool_keys(json!({"retry": retry}));
    }
    tune(&mut setup);
    let weir = Weir::start(&place, &setup);
    Play { weir, setup, _place: place }
}

impl Play {
    /// Statuses of so many GETs. What fails here costs the connection, so each has its own.
    fn gets(&self, n: usize) -> Vec<u16> {
        (0..n).map(|_| get(self.setup.vip, "/").status()).collect()
    }

    fn denied(&self) -> u64 {
        self.weir.control.stats().pools[0].retries_denied
    }
}

/// A member that answers every request with this status and keeps the connection.
fn answering(name: &str, place: &Place, status: usize) -> Member {
    Member::script(name, place.socket(), move |conn| {
        loop {
            conn.request()?;
            conn.send(sized(status, "X-Member: m1\r\n", b"no", false))?;
        }
    })
}

fn closing(conn: &mut Conn) -> Result<(), End> {
    conn.request()?;
    conn.close();
    Ok(())
}

#[test]
fn a_status_is_an_answer_unless_the_pool_says_otherwise() {
    let place = Place::new();
    let (bad, good) = (answering("bad", &place, 503), Member::http("good", place.socket()));
    let plain = play(&[&bad, &good], &json!(null), |_| ());
    let statuses = plain.gets(10);
    assert!(statuses.contains(&503) && statuses.contains(&200), "{statuses:?}");
    for status in [502, 503, 504] {
        let bad = answering("bad", &place, status);
        let retry = json!({"on": [format!("STATUS_{status}")], "budget_percent": 100});
        let play = play(&[&bad, &good], &retry, |_| ());
        assert_eq!(play.gets(20), [200; 20], "{status}");
        assert!(bad.requests() > 0 && play.weir.control.member("bad").retries > 0);
        let lines = play.weir.wait_log(20);
        assert!(lines.iter().any(|line| line.contains("/+1 ")), "the log tells of retries: {lines:?}");
        assert!(play.weir.control.member("bad").responses[4] > 0, "what it answered is counted");
    }
    let bad = answering("bad", &place, 500);
    let other = play(&[&bad, &good], &json!({"on": ["STATUS_502", "STATUS_503"]}), |_| ());
    assert!(other.gets(10).contains(&500), "only what is said");
}

#[test]
fn what_must_not_be_repeated_is_not() {
    let place = Place::new();
    let (bad, good) = (answering("bad", &place, 503), Member::http("good", place.socket()));
    let play = play(&[&bad, &good], &json!({"on": ["STATUS_503"], "budget_percent": 100}), |_| ());
    let mut client = Client::connect(play.setup.vip);
    let posts: Vec<u16> = (0..10)
        .map(|_| {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
            client.answer().status()
        })
        .collect();
    assert!(posts.contains(&503), "{posts:?}");
    // A body that streams cannot be sent again.
    let puts: Vec<u16> = (0..10)
        .map(|_| {
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
            client.answer().status()
        })
        .collect();
    assert!(puts.contains(&503), "{puts:?}");
    // One that came with its head can.
    for _ in 0..10 {
        client.send("PUT /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.answer().text(), "hi");
    }
}

#[test]
fn the_last_answer_is_passed_on_when_attempts_are_used_up() {
    let place = Place::new();
    let members: Vec<Member> = ["m1", "m2", "m3", "m4"].map(|name| answering(name, &place, 503)).into();
    let of: Vec<&Member> = members.iter().collect();
    let play = play(&of, &json!({"on": ["STATUS_503"], "attempts": 2, "budget_percent": 100}), |_| ());
    let answer = get(play.setup.vip, "/");
    assert_eq!((answer.status(), answer.text().as_str(), answer.header("x-member")), (503, "no", Some("m1")));
    assert_eq!(members.iter().map(Member::requests).sum::<usize>(), 3);
    assert!(members.iter().all(|member| member.requests() <= 1), "each attempt goes to another member");
}

#[test]
fn a_silent_member_is_left_when_the_pool_says_so() {
    let place = Place::new();
    let silent = Member::script("silent", place.socket(), |conn| {
        loop {
            conn.head()?;
        }
    });
    let good = Member::http("good", place.socket());
    let quick = |setup: &mut Setup| setup.timeouts.member = 300;
    let plain = play(&[&silent, &good], &json!(null), quick);
    assert!(plain.gets(4).contains(&504));
    let retrying = play(&[&silent, &good], &json!({"on": ["RESPONSE_TIMEOUT"], "budget_percent": 100}), quick);
    assert_eq!(retrying.gets(4), [200; 4]);
}

#[test]
fn an_answer_that_began_is_not_asked_for_again() {
    let place = Place::new();
    let half = Member::script("half", place.socket(), |conn| {
        loop {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Le")?;
        }
    });
    let hinting = Member::script("hinting", place.socket(), |conn| {
        loop {
            conn.request()?;
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
            conn.send(sized(503, "", b"no", false))?;
        }
    });
    let good = Member::http("good", place.socket());
    let on = json!({"on": ["RESPONSE_TIMEOUT", "EMPTY_RESPONSE", "STATUS_503"], "budget_percent": 100});
    let cut = play(&[&half, &good], &on, |setup| setup.timeouts.member = 300);
    assert!(cut.gets(2).contains(&504), "half a head is the beginning of an answer");
    // The client has seen an interim answer of the first member: it gets that one's answer.
    let hinted = play(&[&hinting, &good], &on, |_| ());
    assert!(hinted.gets(4).contains(&503));
}

#[test]
fn members_that_close_are_left_as_often_as_the_pool_says() {
    let place = Place::new();
    let bad: Vec<Member> = ["m1", "m2", "m3"].map(|name| Member::script(name, place.socket(), closing)).into();
    let good = Member::http("good", place.socket());
    let members: Vec<&Member> = bad.iter().chain([&good]).collect();
    let plain = play(&members, &json!(null), |_| ());
    assert_eq!(get(plain.setup.vip, "/").status(), 502, "by itself it is sent once more and no oftener");
    let often = play(&members, &json!({"on": ["EMPTY_RESPONSE"], "attempts": 3, "budget_percent": 100}), |_| ());
    assert_eq!(get(often.setup.vip, "/").status(), 200);
    let never = play(&members, &json!({"on": []}), |_| ());
    let before = bad[0].requests();
    assert_eq!(get(never.setup.vip, "/").status(), 502);
    assert_eq!(bad[0].requests(), before + 1);
}

#[test]
fn connections_that_fail_are_tried_again_unless_the_pool_says_never() {
    let place = Place::new();
    let mut gone = Member::http("gone", place.socket());
    gone.kill();
    let good = Member::http("good", place.socket());
    for (retry, expected) in [
        (json!(null), 200),
        (json!({}), 200),
        (json!({"on": ["CONNECT_FAILURE"], "attempts": 1}), 200),
        (json!({"on": ["EMPTY_RESPONSE"]}), 503),
    ] {
        let play = play(&[&gone, &good], &retry, |_| ());
        assert_eq!(get(play.setup.vip, "/").status(), expected, "{retry}");
    }
}

#[test]
fn retries_stay_within_their_budget() {
    let place = Place::new();
    let bad: Vec<Member> = ["m1", "m2"].map(|name| answering(name, &place, 503)).into();
    let play = play(&[&bad[0], &bad[1]], &json!({"on": ["STATUS_503"], "attempts": 1, "budget_percent": 10}), |_| ());
    assert_eq!(play.gets(200), [503; 200], "an answer that cannot be bettered is passed on");
    let more = bad.iter().map(Member::requests).sum::<usize>() - 200;
    // Windows may turn while this runs: each has its floor.
    assert!((10..=40).contains(&more), "{more} retries of 200 requests at 10 percent");
    assert!(play.denied() >= 150, "{} denied", play.denied());
}

#[test]
fn a_member_that_behaves_costs_no_retry() {
    let place = Place::new();
    let member = Member::script("m1", place.socket(), |conn| {
        loop {
            let (head, body) = conn.request()?;
            behave(conn, "m1", &head, &body)?;
        }
    });
    let on = json!(["CONNECT_FAILURE", "EMPTY_RESPONSE", "STATUS_502", "STATUS_503", "STATUS_504", "RESPONSE_TIMEOUT"]);
    let play = play(&[&member], &json!({"on": on}), |_| ());
    assert_eq!(play.gets(50), [200; 50]);
    assert_eq!((member.requests(), play.weir.control.member("m1").retries), (50, 0));
}

#[test]
fn a_retry_gives_back_the_slot_it_had() {
    let place = Place::new();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let moody = Member::script("moody", place.socket(), move |conn| {
        loop {
            conn.request()?;
            let odd = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
            conn.send(sized(if odd { 503 } else { 200 }, "", b"x", false))?;
        }
    });
    let retry = json!({"on": ["STATUS_503"], "attempts": 1, "budget_percent": 100});
    let play = play(&[&moody], &retry, |setup| {
        setup.members[0].more = json!({"max_connections": 1});
        setup.pool["timeout_queue"] = json!(60_000);
    });
    let began = std::time::Instant::now();
    assert_eq!(play.gets(20), [200; 20], "were the slot kept, the retry would wait for itself");
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
    // A slot is given back a moment after the answer's last byte.
    let idle = || play.weir.control.member("moody").active_connections == 0;
    weir_tests::wait::until_true(weir_tests::wait::PATIENCE, "the slot to be free", idle);
}
