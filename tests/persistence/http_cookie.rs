//! HTTP_COOKIE over real sockets.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::{Known, app, ask, both_worked, by, cookie_of, stage};

#[test]
fn clients_stay_whichever_worker_takes_them() {
    let stage = stage(3, json!({"type": "HTTP_COOKIE"}));
    let mut clients: Vec<Known> = (0..30).map(|_| Known::new(stage.vip())).collect();
    for member in ["m1", "m2", "m3"] {
        assert_eq!(clients.iter().filter(|client| client.member == member).count(), 10);
    }
    for _ in 0..5 {
        assert!(clients.iter_mut().all(|client| client.stays(stage.vip())));
    }
    both_worked(&stage);
    // Counted before its line is written.
    let lines = stage.weir.wait_log(180);
    let stats = stage.weir.control.stats().pools[0].persistence.clone().unwrap();
    assert_eq!((stats.kind.as_str(), stats.hits, stats.misses, stats.moved), ("HTTP_COOKIE", 150, 30, 0));
    let flagged = |flags: &str| lines.iter().filter(|line| line.contains(flags)).count();
    assert_eq!((flagged(" - - --NI "), flagged(" - - --VN ")), (30, 150));
}

#[test]
fn clients_of_a_member_that_dies_move_once_and_all_others_stay() {
    let mut stage = stage(3, json!({"type": "HTTP_COOKIE"}));
    let mut clients: Vec<Known> = (0..30).map(|_| Known::new(stage.vip())).collect();
    stage.members[1].kill();
    for client in &mut clients {
        let was_its = client.member == "m2";
        assert_eq!(client.stays(stage.vip()), !was_its, "minimal movement");
    }
    stage.members[1].start();
    assert!(clients.iter_mut().all(|client| client.stays(stage.vip())), "and there they stay");
    let stats = stage.weir.control.stats().pools[0].persistence.clone().unwrap();
    assert_eq!(stats.moved, 10);
}

#[test]
fn a_member_that_just_failed_is_tried_for_its_own() {
    let mut stage = stage(2, json!({"type": "HTTP_COOKIE"}));
    let mut clients: Vec<Known> = (0..8).map(|_| Known::new(stage.vip())).collect();
    let its: Vec<usize> = (0..8).filter(|n| clients[*n].member == "m1").collect();
    stage.members[0].kill();
    assert!(!clients[its[0]].stays(stage.vip()));
    assert!(stage.weir.control.member("m1").avoided);
    stage.members[0].start();
    for n in &its[1..] {
        assert!(clients[*n].stays(stage.vip()), "others are kept away from it; those who belong there are not");
    }
}

#[test]
fn draining_keeps_clients_and_disabling_does_not() {
    let mut stage = stage(3, json!({"type": "HTTP_COOKIE"}));
    let mut clients: Vec<Known> = (0..9).map(|_| Known::new(stage.vip())).collect();
    stage.apply(|setup| setup.members[0].weight = 0);
    assert!(clients.iter_mut().all(|client| client.stays(stage.vip())));
    assert!((0..6).all(|_| Known::new(stage.vip()).member != "m1"), "a new client came");
    stage.apply(|setup| setup.members[0].admin_state_up = false);
    for client in &mut clients {
        let was_its = client.member == "m1";
        assert_eq!(client.stays(stage.vip()), !was_its);
    }
    let lines = stage.weir.wait_log(33);
    assert_eq!(lines.iter().filter(|line| line.contains(" --DI ")).count(), 3);
}

#[test]
fn a_draining_member_that_is_alone_keeps_its_own() {
    let mut stage = stage(1, json!({"type": "HTTP_COOKIE"}));
    let mut client = Known::new(stage.vip());
    stage.apply(|setup| setup.members[0].weight = 0);
    assert!(client.stays(stage.vip()));
    assert_eq!(ask(stage.vip(), "").status(), 503);
    stage.members[0].kill();
    assert_eq!(ask(stage.vip(), &client.cookie).status(), 503);
    stage.members[0].start();
    until_true(PATIENCE, "it to be found again", || ask(stage.vip(), &client.cookie).status() == 200);
}

#[test]
fn a_client_waits_for_its_member_while_others_have_room() {
    let mut stage = stage(2, json!({"type": "HTTP_COOKIE"}));
    let known = Known::new(stage.vip());
    let its = stage.members.iter().position(|member| member.name() == known.member).unwrap();
    stage.apply(|setup| {
        setup.members.iter_mut().for_each(|member| member.more = json!({"max_connections": 1}));
        setup.pool = json!({"session_persistence": {"type": "HTTP_COOKIE"}, "timeout_queue": 60_000});
    });
    // Its place is taken by a request whose body is still to come.
    let mut first = Client::connect(stage.vip());
    let upload = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{}\r\n", known.cookie);
    first.send(upload);
    stage.members[its].wait_requests(2);
    let mut second = Client::connect(stage.vip());
    second.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", known.cookie));
    until_true(PATIENCE, "it to wait", || stage.weir.control.stats().pools[0].queue.waiting == 1);
    first.send("12345");
    assert_eq!(by(first.answer()), known.member);
    assert_eq!(by(second.answer()), known.member);
    assert_eq!(stage.weir.control.stats().pools[0].persistence.as_ref().unwrap().hits, 2);
}

#[test]
fn a_hundred_documents_move_nobody() {
    let mut stage = stage(4, json!({"type": "HTTP_COOKIE"}));
    let vip = stage.vip();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let traffic: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut clients: Vec<Known> = (0..8).map(|_| Known::new(vip)).collect();
                    while !stop.load(Ordering::Relaxed) {
                        assert!(clients.iter_mut().all(|client| client.stays(vip)));
                        asked.fetch_add(clients.len(), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for n in 0..100u16 {
            let before = asked.load(Ordering::Relaxed);
            stage.apply(|setup| {
                setup.members.rotate_left(1);
                setup.members[0].weight = n % 3;
                setup.pool = json!({"session_persistence": {"type": "HTTP_COOKIE", "http_only": n % 2 == 0}});
            });
            let alive = |t: &std::thread::ScopedJoinHandle<'_, ()>| !t.is_finished();
            until_true(PATIENCE, "traffic", || asked.load(Ordering::Relaxed) > before || !traffic.iter().all(alive));
        }
        stop.store(true, Ordering::Relaxed);
        traffic.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(stage.weir.control.stats().pools[0].persistence.as_ref().unwrap().moved, 0);
}

#[test]
fn values_outlive_the_process_that_made_them_where_the_secret_does() {
    let place = Place::new();
    let members = [app("m1", place.socket()), app("m2", place.socket())];
    let mut setup = Setup::new(Mode::Http, place.socket(), members.iter().map(|m| (m.name(), m.socket())));
    setup.pool = json!({"session_persistence": {"type": "HTTP_COOKIE"}});
    let document = setup.document(&place.path("access.log"));
    let secret = place.write("secret", [7u8; 32]);
    let start = |arguments: &[&str]| Weir::start_with(&place, &document, arguments);
    let with_secret = ["--persistence-secret", secret.to_str().unwrap()];
    let mut clients: Vec<Known> = {
        let _weir = start(&with_secret);
        (0..6).map(|_| Known::new(setup.vip)).collect()
    };
    {
        let _weir = start(&with_secret);
        assert!(clients.iter_mut().all(|client| client.stays(setup.vip)));
    }
    // Without one each process has its own: nobody's value counts, and nobody is refused.
    let weir = start(&[]);
    for client in &mut clients {
        client.stays(setup.vip);
    }
    // A request is counted once its answer is through.
    let stats = || weir.control.stats().pools[0].persistence.clone().unwrap();
    until_true(PATIENCE, "all to be counted", || stats().misses == 6);
    assert_eq!(stats().hits, 0);
}

#[test]
fn a_secret_that_is_none_is_told() {
    let place = Place::new();
    let short = place.write("short", b"fifteen bytes..");
    for (path, words) in [(short, "fewer than 16 bytes"), (place.path("none"), "cannot read")] {
        let mut command = Command::new(weir_tests::binaries::bin("lb-proxy"));
        command.arg("--control").arg(place.path("c.sock")).arg("--persistence-secret").arg(path);
        let output = weir_tests::tools::output(&mut command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{said}");
    }
}

#[test]
fn curl_keeps_the_cookie_as_browsers_do() {
    let keys = json!({"type": "HTTP_COOKIE", "http_only": true, "same_site": "LAX", "max_age": 60, "max_idle": 60});
    let stage = stage(3, keys);
    let jar = stage.place.path("jar");
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%header{x-member}"]).arg("-c").arg(&jar).arg("-b").arg(&jar);
    curl.arg(format!("http://{}/", stage.vip()));
    let answers: Vec<String> = (0..5).map(|_| run(&mut curl)).collect();
    assert!(answers[0].starts_with('m') && answers.iter().all(|by| *by == answers[0]), "{answers:?}");
}

#[test]
fn what_is_not_ours_passes_byte_for_byte() {
    let stage = stage(2, json!({"type": "HTTP_COOKIE"}));
    let known = Known::new(stage.vip());
    let value = known.cookie.trim_start_matches("Cookie: SRV=").trim_end().to_owned();
    let seen = |fields: &str| {
        let answer = ask(stage.vip(), fields);
        assert_eq!(by(&answer), known.member, "{fields}");
        let text = answer.text();
        text.lines().filter(|line| line.starts_with("Cookie:")).map(str::to_owned).collect::<Vec<_>>()
    };
    let long = format!("k={}", "v".repeat(8000));
    for (sent, left) in [
        (format!("SRV={value}"), None),
        (format!("SRV=\"{value}\""), None),
        (format!("a=1; SRV={value}; b=\"x y\""), Some("a=1; b=\"x y\"".to_owned())),
        (format!("SRV=forged; SRV={value};SRV=late; c==;;d"), Some("c==;;d".to_owned())),
        (format!("{long}; SRV={value}"), Some(long.clone())),
        (format!("{}SRV={value}", "a;".repeat(3000)), Some("a;".repeat(3000).trim_end_matches(';').to_owned())),
    ] {
        let expected: Vec<String> = left.iter().map(|left| format!("Cookie: {left}")).collect();
        assert_eq!(seen(&format!("Cookie: {sent}\r\n")), expected, "{}", &sent[..sent.len().min(60)]);
    }
    let two = format!("Cookie: a=1\r\nCookie: SRV={value}\r\nCookie: b=2\r\n");
    assert_eq!(seen(&two), ["Cookie: a=1", "Cookie: b=2"]);
    // And back: the member's own are all there, but the one that has our name.
    let answer = ask(stage.vip(), "X-Set: a=1; Path=/x\r\nX-Set: SRV=mine\r\nX-Set: b=2\r\n");
    let sets = answer.head.all("set-cookie");
    assert_eq!((&sets[..2], sets.len()), (&["a=1; Path=/x", "b=2"][..], 3));
    assert!(cookie_of(&answer).is_some_and(|cookie| !cookie.contains("mine")));
}

#[test]
fn malformed_values_are_nobodys_and_harm_nobody() {
    let stage = stage(2, json!({"type": "HTTP_COOKIE", "max_idle": 60}));
    let huge = "A".repeat(8000);
    let forged = [
        "",
        "m1",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA|AAAAA|AAAAAAAAAAAAAAAAAAAAAA",
        "||||||",
        "\"",
        "%00%00",
        huge.as_str(),
    ];
    for value in forged {
        let answer = ask(stage.vip(), &format!("Cookie: SRV={value}\r\n"));
        assert!(cookie_of(&answer).is_some(), "it is given a good one: {value}");
    }
    let lines = stage.weir.wait_log(forged.len());
    assert!(lines.iter().all(|line| line.contains(" --II ")), "{lines:?}");
}

#[test]
fn lines_in_json_say_it_in_words() {
    let stage = weir_tests::stage::Stage::with(Mode::Http, 1, app, |setup| {
        setup.pool = json!({"session_persistence": {"type": "HTTP_COOKIE"}});
        setup.log_format = Some("json");
    });
    let known = Known::new(stage.vip());
    ask(stage.vip(), &known.cookie);
    let words: Vec<String> = stage
        .weir
        .wait_log(2)
        .iter()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{}, {}", line["persistence"].as_str().unwrap(), line["cookie"].as_str().unwrap())
        })
        .collect();
    assert_eq!(words, ["nothing to go by, inserted", "known, nothing"]);
}
