//! When descriptors or memory run short: who asks is served, the newest who have not asked make room, operators are answered.

use std::process::Command;
use std::time::{Duration, Instant};

use lb_control::events::EventKind;
use lb_control::stats::Stats;
use weir_tests::client::{Client, get};
use weir_tests::member::Member;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tools::{connections_possible, run};
use weir_tests::wait::{PATIENCE, pause_ms, until_true};
use weir_tests::weir::Weir;

const GET: &str = "GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// A data plane that may open `descriptors`.
pub(super) fn poor(descriptors: u64, tune: impl FnOnce(&mut Setup)) -> Stage {
    let limit = format!("--nofile={descriptors}:{descriptors}");
    Stage::started(Mode::Http, 1, Member::http, tune, |place, setup| {
        Weir::start_by(&["prlimit", &limit], place, setup, &[])
    })
}

fn shed(stats: &Stats) -> u64 {
    stats.shortage.shed_for_descriptors
}

#[test]
fn clients_that_have_not_asked_make_room_for_those_who_do() {
    let stage = poor(200, |_| ());
    let most = stage.weir.control.stats().shortage.connections_max.expect("a bound");
    assert!((20..=100).contains(&most), "{most}: one for each client, one for its member, some for itself");
    let silent: Vec<Client> = (0..300).map(|_| Client::connect(stage.vip())).collect();
    let mut half: Vec<Client> = (0..100).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut half {
        client.send("GET / HT");
    }
    let slowest = (0..30).map(|_| {
        let began = Instant::now();
        assert_eq!(get(stage.vip(), "/").status(), 200);
        began.elapsed()
    });
    assert!(slowest.max().unwrap() < Duration::from_secs(2), "others waited");
    until_true(PATIENCE, "everybody to be let in or out", || {
        let stats = stage.weir.control.stats();
        stats.listeners[0].total_connections == 430 && stats.active_connections <= u64::from(most)
    });
    let stats = stage.weir.control.stats();
    let listener = &stats.listeners[0];
    assert_eq!(listener.limits.shed, shed(&stats));
    assert_eq!(shed(&stats), 400 - stats.active_connections, "each one is accounted for");
    assert_eq!(stats.shortage.descriptors_refused, 0, "the kernel was never asked in vain");
    let noted = usize::try_from(shed(&stats) - listener.limits.lines_withheld).unwrap();
    let lines = stage.weir.wait_log(30 + noted);
    assert_eq!(lines.iter().filter(|line| line.contains(" RR")).count(), noted);
    let event = stage.weir.control.wait_event(EventKind::Shortage, "", 0, PATIENCE);
    assert_eq!((event.old.as_str(), event.new.as_str()), ("enough", "short of descriptors"));
    drop((silent, half));
    until_true(PATIENCE, "all to be gone", || stage.weir.control.stats().active_connections == 0);
    assert_eq!(get(stage.vip(), "/").status(), 200);
    let over = stage.weir.control.wait_event(EventKind::Shortage, "", event.seq, Duration::from_secs(20));
    assert_eq!((over.old.as_str(), over.new.as_str()), ("short of descriptors", "enough"));
}

/// Between two requests a client has not asked for anything either; whoever waits for an answer is not touched.
#[test]
fn work_goes_on_while_idle_clients_are_closed() {
    let stage = poor(200, |setup| setup.workers = 2);
    let most = stage.weir.control.stats().shortage.connections_max.unwrap() as usize;
    let mut idle: Vec<Client> = (0..most - 12).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status(), 200);
    }
    let mut busy: Vec<Client> = (0..10).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut busy {
        client.send("GET /delay/1500 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    stage.members[0].wait_requests(most - 12 + 10);
    for _ in 0..40 {
        let mut client = Client::connect(stage.vip());
        assert_eq!(client.get("/").status(), 200);
        idle.push(client);
    }
    for client in &mut busy {
        assert_eq!(client.answer().status(), 200, "work was cut");
    }
    assert!(shed(&stage.weir.control.stats()) >= 30);
}

/// Who has yet to ask is on one worker, who comes on the other: there everybody is at work.
#[test]
fn all_workers_make_room_for_one() {
    let stage = poor(300, |setup| setup.workers = 2);
    let most = stage.weir.control.stats().shortage.connections_max.unwrap() as usize;
    let taken = |worker: usize| stage.weir.control.stats().workers[worker].total_connections;
    // Which worker somebody came to is told by its figures.
    let come = || {
        let before = taken(0) + taken(1);
        let first = taken(0);
        let client = Client::connect(stage.vip());
        until_true(PATIENCE, "it to be let in", || taken(0) + taken(1) > before);
        (client, usize::from(taken(0) == first))
    };
    let (mut silent, mut busy) = (Vec::new(), Vec::new());
    while silent.len() + busy.len() < most {
        let (mut client, worker) = come();
        if worker == 0 {
            silent.push(client);
        } else {
            client.send("GET /delay/20000 HTTP/1.1\r\nHost: a\r\n\r\n");
            busy.push(client);
        }
    }
    stage.members[0].wait_requests(busy.len());
    let before = taken(1);
    let mut served: Vec<Client> = Vec::new();
    while taken(1) < before + 5 {
        assert!(served.len() < silent.len(), "nobody came to the second worker");
        let began = Instant::now();
        let mut client = Client::connect(stage.vip());
        assert_eq!(client.get("/").status(), 200);
        assert!(began.elapsed() < Duration::from_secs(5), "one waited {:?}", began.elapsed());
        served.push(client);
    }
    let closed = shed(&stage.weir.control.stats()) as usize;
    assert!(closed >= served.len(), "{closed} for {}", served.len());
    let left =
        |client: &mut Client| client.fate_if_open(Duration::from_millis(1)) != Some(weir_tests::message::End::Idle);
    let gone: Vec<bool> = silent.iter_mut().map(left).collect();
    let kept = gone.iter().position(|gone| *gone).unwrap();
    assert!(gone[kept..].iter().all(|gone| *gone), "not the newest: {gone:?}");
    assert!(busy.iter_mut().all(|client| !left(client)), "work was cut");
}

/// Everybody works: newcomers wait, in next to no processor time, and are served as soon as somebody leaves.
#[test]
fn nobody_is_thrown_out_of_work_and_nobody_spins() {
    let stage = poor(120, |_| ());
    let most = stage.weir.control.stats().shortage.connections_max.unwrap() as usize;
    let mut busy: Vec<Client> = (0..most).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut busy {
        client.send("GET /delay/2500 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    stage.members[0].wait_requests(most);
    let (cpu, began) = (stage.weir.process.cpu_ms(), Instant::now());
    let mut waiting: Vec<Client> = (0..50).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut waiting {
        client.send(GET);
    }
    pause_ms(1000);
    let spent = stage.weir.process.cpu_ms() - cpu;
    assert_eq!(shed(&stage.weir.control.stats()), 0, "somebody at work was closed");
    assert!(u128::from(spent) < began.elapsed().as_millis() / 4, "{spent} ms in {:?}", began.elapsed());
    for client in busy.iter_mut().chain(&mut waiting) {
        assert_eq!(client.answer().status(), 200);
    }
}

/// The kernel has none left although there should be: no spin, somebody makes room, and all is well once there are.
#[test]
fn a_kernel_without_descriptors_is_survived() {
    // As whoever tests: else its limit could not be changed.
    let start = |place: &_, setup: &_| Weir::start_by(&["env"], place, setup, &["--user", "root"]);
    let stage = Stage::started(Mode::Http, 1, Member::http, |_| (), start);
    let mut idle: Vec<Client> = (0..50).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status(), 200);
    }
    let pid = stage.weir.process.pid().to_string();
    let set = |limit: usize| run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:20000")]));
    let cpu = stage.weir.process.cpu_ms();
    set(stage.weir.process.descriptors() + 2);
    let mut more: Vec<Client> = (0..20).map(|_| Client::connect(stage.vip())).collect();
    pause_ms(500);
    let spent = stage.weir.process.cpu_ms() - cpu;
    assert!(spent < 250, "{spent} ms in half a second");
    for client in &mut more {
        client.send(GET);
    }
    let mut served = 0;
    for client in &mut more {
        served += usize::from(client.maybe_answer().is_some_and(|answer| answer.status() == 200));
    }
    let stats = stage.weir.control.stats();
    assert!(stats.shortage.descriptors_refused > 0 && served > 0, "{served} served, {:?}", stats.shortage);
    set(20_000);
    assert_eq!(get(stage.vip(), "/").status(), 200);
    drop((idle, more));
    until_true(PATIENCE, "all to be gone", || stage.weir.control.stats().active_connections == 0);
}

/// Thousands who never finish their first line take little memory and nobody's time.
#[test]
fn thousands_of_headless_clients_weigh_little() {
    let count = 5000.min(connections_possible() / 2);
    let stage = Stage::http(1, |setup| setup.workers = 2);
    let before = stage.weir.process.pss_kb();
    let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(stage.vip())).collect();
    until_true(PATIENCE * 3, "all to be there", || stage.weir.control.stats().active_connections == count as u64);
    let silent = stage.weir.process.pss_kb().saturating_sub(before);
    for client in &mut clients {
        client.send("G");
    }
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(stage.vip(), "/").status(), 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "twenty others took {:?}", began.elapsed());
    let headless = stage.weir.process.pss_kb().saturating_sub(before);
    assert!(silent < 4 * count as u64, "{silent} kB for {count} silent clients");
    assert!(headless < 5 * count as u64, "{headless} kB for {count} beginnings of heads");
    drop(clients);
    until_true(PATIENCE * 3, "all to be gone", || stage.weir.control.stats().active_connections == 0);
    until_true(PATIENCE, "their memory to be given back", || stage.weir.process.pss_kb().saturating_sub(before) < 4096);
}

/// With a bound on memory clients are held to it, however much they say of a head.
#[test]
fn memory_stays_within_its_bound() {
    let count = 4000.min(connections_possible() / 2);
    let stage = Stage::started(
        Mode::Http,
        1,
        Member::http,
        |_| (),
        |place, setup| Weir::start_by(&["env"], place, setup, &["--memory-limit", "12"]),
    );
    assert_eq!(stage.weir.control.stats().shortage.memory_max, Some(12 << 20));
    let begun = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(8000));
    let mut clients = Vec::new();
    for n in 0..count {
        let mut client = Client::connect(stage.vip());
        client.send(&begun);
        clients.push(client);
        if n % 500 == 499 {
            assert_eq!(get(stage.vip(), "/").status(), 200, "after {n}");
            let resident = stage.weir.process.status_field("RssAnon").unwrap();
            let kb: u64 = resident.trim_end_matches(" kB").parse().unwrap();
            assert!(kb < 12 << 10, "{kb} kB");
        }
    }
    let stats = stage.weir.control.stats();
    assert!(stats.shortage.shed_for_memory > 0, "{:?}", stats.shortage);
    assert_eq!(stats.listeners[0].limits.shed, stats.shortage.shed_for_memory);
    drop(clients);
    until_true(PATIENCE, "all to be gone", || stage.weir.control.stats().active_connections == 0);
    assert_eq!(get(stage.vip(), "/").status(), 200);
}
