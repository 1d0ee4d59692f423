//! Promise: what once went wrong between a client and a member does not come back.

use std::fs::OpenOptions;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use weir_tests::client::{Client, Response, get};
use weir_tests::load::Plan;
use weir_tests::member::{Conn, Member, ok};
use weir_tests::message::End;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, pause, pause_ms, until_true};
use weir_tests::weir::Weir;

const MS: Duration = Duration::from_millis(1);

/// One member that does what `script` says behind one Weir.
fn scripted(
    mode: Mode,
    tune: impl FnOnce(&mut Setup),
    script: impl Fn(&mut Conn) -> Result<(), End> + Clone + Send + Sync + 'static,
) -> Stage {
    Stage::with(mode, 1, |name, at| Member::script(name, at, script.clone()), tune)
}

/// A POST whose body leaves only when its head has reached the member: it is streamed, not held.
fn streamed_post(stage: &Stage, fields: &str, body: impl AsRef<[u8]>) -> Client {
    let so_far = stage.members[0].requests();
    let mut client = Client::connect(stage.vip());
    let length = body.as_ref().len();
    client.send(format!("POST / HTTP/1.1\r\nHost: weir.test\r\n{fields}Content-Length: {length}\r\n\r\n"));
    stage.members[0].wait_requests(so_far + 1);
    client.send(body);
    client
}

fn wait_nobody_inside(stage: &Stage) {
    until_true(PATIENCE / 2, "the session to be gone", || {
        let stats = stage.weir.control.stats();
        stats.active_connections == 0 && stats.listeners.iter().all(|l| l.active_connections == 0)
    });
}

/// The time to connect limited how long a connected member may leave its window closed.
#[test]
fn member_that_pauses_reading_keeps_its_connection() {
    const LENGTH: usize = 12 << 20;
    for mode in [Mode::Http, Mode::Tcp] {
        let short = |setup: &mut Setup| setup.timeouts.connect = 300;
        let stage = scripted(mode, short, |conn| {
            pause_ms(2500);
            let (_, body) = conn.request()?;
            conn.send(ok(body.data.len().to_string()))
        });
        let mut client = Client::connect(stage.vip());
        client.send(format!("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {LENGTH}\r\n\r\n"));
        client.send(vec![b'x'; LENGTH]);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text()), (200, LENGTH.to_string()), "{mode:?}");
    }
}

/// What came after the upload put its deadline out, and none took its place.
#[test]
fn silence_after_half_an_answer_to_an_upload_is_cut() {
    for said in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 2"] {
        let short = |setup: &mut Setup| setup.timeouts.member = 700;
        let stage = scripted(Mode::Http, short, move |conn| {
            conn.request()?;
            pause_ms(100);
            conn.send(said)?;
            conn.take_to_end();
            Ok(())
        });
        let mut client = streamed_post(&stage, "", "hello");
        let began = Instant::now();
        let status = client.maybe_answer().map(Response::status);
        // An interim answer is followed by the end alone.
        let cut = matches!(client.end, Some(End::Closed | End::Reset));
        assert!(status == Some(504) || cut, "{status:?} after {said:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?} after {said:?}", began.elapsed());
        client.leave();
        wait_nobody_inside(&stage);
    }
}

/// One byte of an answer put out the deadline of an upload that the member does not take.
#[test]
fn upload_stalled_by_a_member_that_says_one_byte_is_cut() {
    let short = |setup: &mut Setup| {
        setup.timeouts.connect = 0;
        setup.timeouts.member = 1000;
        setup.timeouts.client = 1000;
    };
    let stage = scripted(Mode::Http, short, |conn| {
        pause_ms(500);
        conn.send("H")?;
        pause_ms(8000);
        Ok(())
    });
    let mut client = Client::connect(stage.vip());
    client.wire().stream().set_write_timeout(Some(MS * 200)).unwrap();
    client.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 60000000\r\n\r\n");
    client.send(vec![b'x'; 60_000_000]);
    assert!(client.send_failed, "a member that reads nothing took all of it");
    until_true(PATIENCE / 2, "the session to be cut", || stage.weir.control.listener().active_connections == 0);
    assert_ne!(client.take_to_end(), End::Idle);
}

/// Answers on kept connections did not clear a member's name.
#[test]
fn member_that_closed_unanswered_once_has_its_share_again() {
    let crashes = Arc::new(AtomicUsize::new(0));
    let member = |name: &str, at| {
        let (crashes, bad) = (Arc::clone(&crashes), name == "m1");
        Member::script(name, at, move |conn| {
            loop {
                let head = conn.head()?;
                if bad && head.word(1) == "/crash" {
                    conn.close();
                    crashes.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                conn.send(ok("ok"))?;
            }
        })
    };
    let stage = Stage::with(Mode::Http, 2, member, |_| ());
    let load = Plan::gets(stage.vip(), 8).gap(MS * 2).start();
    load.wait_for(400);
    until_true(PATIENCE, "m1 to be asked", || {
        assert_eq!(get(stage.vip(), "/crash").status(), 200, "the other member answers");
        crashes.load(Ordering::Relaxed) > 0
    });
    until_true(PATIENCE / 3, "both to be used", || ["m1", "m2"].iter().all(|m| !stage.weir.control.member(m).avoided));
    let before = stage.counts();
    load.wait_for(1000);
    let shares: Vec<usize> = stage.counts().iter().zip(before).map(|(now, before)| now - before).collect();
    assert!(shares.iter().all(|share| *share > 400), "{shares:?} of 1000");
    assert_eq!(load.stop().failures, Vec::<String>::new());
}

/// Every request that failed at once counted as a failure of its own, and the member was left alone for seconds.
#[test]
fn burst_of_failures_is_one_failure() {
    let member = |name: &str, at| {
        Member::script(name, at, |conn| {
            loop {
                conn.head()?;
                pause_ms(5);
                conn.send(ok("ok"))?;
            }
        })
    };
    let mut stage = Stage::with(Mode::Http, 2, member, |_| ());
    let load = Plan::gets(stage.vip(), 64).start();
    load.wait_for(1000);
    stage.members[1].kill();
    pause_ms(100);
    let before = stage.members[1].requests();
    stage.members[1].start();
    let began = Instant::now();
    stage.members[1].wait_requests(before + 1);
    let took = began.elapsed();
    assert_eq!(load.stop().failures, Vec::<String>::new());
    // 150 ms, and what a busy machine adds.
    assert!(took < MS * 400, "the member was left alone for {took:?} after it came back");
}

/// Only a connection whose whole answer came in one piece was kept.
#[test]
fn connection_is_kept_whenever_the_body_comes() {
    let stage = scripted(
        Mode::Http,
        |_| (),
        |conn| {
            loop {
                let head = conn.head()?;
                if head.word(1) == "/big" {
                    conn.send(ok(vec![b'x'; 100_000]))?;
                    continue;
                }
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
                pause_ms(10);
                conn.send("hello")?;
            }
        },
    );
    let mut client = Client::connect(stage.vip());
    for target in ["/late", "/big"] {
        for _ in 0..20 {
            assert_eq!(client.get(target).status(), 200);
        }
        assert_eq!(stage.members[0].connections(), 1, "for 20 requests of {target}");
    }
}

/// The second answer to one request went to whoever asked next.
#[test]
fn surplus_answer_reaches_nobody() {
    for gap in [Duration::ZERO, MS] {
        let stage = scripted(
            Mode::Http,
            |_| (),
            move |conn| {
                loop {
                    let target = conn.head()?.word(1).to_owned();
                    conn.send(ok(&target))?;
                    if target == "/odd" {
                        if !gap.is_zero() {
                            pause(gap);
                        }
                        conn.send(ok("surplus"))?;
                    }
                }
            },
        );
        let mut wrong = 0;
        let mut judge = |answer: Option<&Response>, target: &str| {
            wrong += usize::from(answer.is_some_and(|a| a.status() == 200 && a.text() != target));
        };
        for n in 0..50 {
            let mut client = Client::connect(stage.vip());
            client.send("GET /odd HTTP/1.1\r\nHost: w\r\n\r\nGET /next HTTP/1.1\r\nHost: w\r\n\r\n");
            judge(client.maybe_answer(), "/odd");
            judge(client.maybe_answer(), "/next");
            let target = format!("/other-{n}");
            let mut other = Client::connect(stage.vip());
            other.send(format!("GET {target} HTTP/1.1\r\nHost: w\r\n\r\n"));
            judge(other.maybe_answer(), &target);
        }
        // With a gap, requests may be on their way to the member already, until the first surplus is noticed.
        let allowed = if gap.is_zero() { 0 } else { 8 };
        assert!(wrong <= allowed, "{wrong} wrong answers of 50 with a gap of {gap:?}");
    }
}

/// After a streamed upload the session read a head instead of being idle.
#[test]
fn idle_client_is_not_told_408_after_a_streamed_upload() {
    let stage = Stage::http(1, |setup| setup.timeouts.request = 500);
    let mut client = streamed_post_to_http(&stage);
    assert_eq!(client.fate_if_open(MS * 1500), Some(End::Idle), "{}", String::from_utf8_lossy(&client.stray));
    assert_eq!(client.get("/again").status(), 200);
}

#[test]
fn idle_client_does_not_hold_up_a_drain_after_a_streamed_upload() {
    let mut stage = Stage::http(1, |_| ());
    let mut client = streamed_post_to_http(&stage);
    let began = Instant::now();
    stage.weir.process.signal(Signal::TERM);
    assert!(stage.weir.process.wait(PATIENCE).success());
    assert!(began.elapsed() < Duration::from_secs(2), "the drain took {:?}", began.elapsed());
    assert_eq!(client.fate_if_open(MS * 100), Some(End::Closed));
}

fn streamed_post_to_http(stage: &Stage) -> Client {
    let mut client = streamed_post(stage, "", "hello");
    assert_eq!(client.answer().status(), 200);
    // Whatever the session turns to next, it has by then.
    pause_ms(100);
    client
}

/// Closing with bytes unread reset the connection below an answer still on its way.
#[test]
fn unread_bytes_of_a_client_do_not_truncate_its_answer() {
    const LENGTH: usize = 3_000_000;
    let place = Place::new();
    let member = Member::script("m1", place.socket(), |conn| {
        conn.request()?;
        pause_ms(200);
        conn.send(ok(vec![b'x'; LENGTH]))
    });
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    let _weir = Weir::start(&place, &setup);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    socket.connect(&setup.vip.into()).unwrap();
    let mut client = Client::over(socket.into());
    client.send("POST / HTTP/1.1\r\nHost: weir.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\n");
    member.wait_requests(1);
    client.send("hello\r\n");
    pause_ms(1000);
    let answer = client.answer();
    assert_eq!((answer.body.data.len(), answer.complete()), (LENGTH, true));
}

/// A final answer ahead of the body's end said nothing of the connection's end, or was lost in a reset.
#[test]
fn answer_ahead_of_an_upload_says_close_and_can_be_read() {
    let stage = scripted(
        Mode::Http,
        |_| (),
        |conn| {
            conn.head()?;
            conn.send("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")?;
            conn.take_to_end();
            Ok(())
        },
    );
    for n in 0..8 {
        let mut client = Client::connect(stage.vip());
        client.send("POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5000000\r\n\r\n");
        for _ in 0..50 {
            client.send(vec![b'x'; 100_000]);
            pause(MS);
        }
        let answer = client.maybe_answer().unwrap_or_else(|| panic!("the answer was lost in round {n}"));
        assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")));
    }
    let mut client = Client::connect(stage.vip());
    client.send("POST / HTTP/1.1\r\nHost: weir.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")));
    assert_eq!(client.fate_if_open(PATIENCE / 2), Some(End::Closed));
}

/// Nobody listened to the client any more once its body was streamed.
#[test]
fn reset_is_noticed_after_a_streamed_upload() {
    let whole = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&whole);
    let stage = scripted(
        Mode::Http,
        |_| (),
        move |conn| {
            conn.request()?;
            told.store(true, Ordering::Relaxed);
            conn.take_to_end();
            Ok(())
        },
    );
    let mut client = streamed_post(&stage, "", "hello");
    until_true(PATIENCE, "the member to have it all", || whole.load(Ordering::Relaxed));
    client.reset();
    wait_nobody_inside(&stage);
}

/// Only the words of waiting lines were limited, not the lines.
#[test]
fn log_that_nobody_reads_takes_bounded_memory() {
    let place = Place::new();
    let pipe = place.path("pipe");
    run(Command::new("mkfifo").args(["-m", "666"]).arg(&pipe));
    let _never_read = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let member = Member::http("m1", place.socket()).only_counting();
    let setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    let weir = Weir::start_with(&place, &setup.document(&pipe), &[]);
    let resident_kb = || -> u64 {
        let field = weir.process.status_field("VmRSS").unwrap();
        field.split(' ').next().unwrap().parse().unwrap()
    };
    let plan = Plan::gets(setup.vip, 4);
    plan.exactly(1000);
    let before = resident_kb();
    assert_eq!(plan.exactly(60_000).failures, Vec::<String>::new());
    let grown = resident_kb().saturating_sub(before);
    assert!(grown < 5120, "{grown} kB of lines wait to be written");
    assert!(weir.control.stats().log_lines_dropped > 0, "every line found room");
}
