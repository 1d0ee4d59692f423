//! Clients that ask for much and do not read it: little is held for them, in the process and in the kernel, and who reads on
//! later gets all of it.

use std::process::Command;

use socket2::{Domain, Socket, Type};
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::message::pattern;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until, until_true};

const LONG: usize = 3_000_000;
const READERS: usize = 40;

/// A client with next to no room for what it does not read.
fn narrow(stage: &Stage) -> Client {
    let socket = Socket::new(Domain::for_address(stage.vip()), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&stage.vip().into()).unwrap();
    Client::over(socket.into())
}

/// Bytes the kernel holds for each connection of clients, on the proxy's side.
fn held_by_the_kernel(stage: &Stage) -> Vec<u64> {
    let vip = stage.vip().to_string();
    let text = run(Command::new("ss").args(["-tmnH", "src", &vip]));
    let written = |line: &str| line.split_once(",w")?.1.split(',').next()?.parse().ok();
    text.lines().filter_map(written).collect()
}

/// Waits until nothing moves any more; what is held then.
fn when_stuck(stage: &Stage) -> Vec<u64> {
    let mut last = Vec::new();
    until(PATIENCE * 2, "all to be stuck", || {
        let now = held_by_the_kernel(stage);
        let stuck = now == last && now.len() == READERS && now.iter().all(|held| *held > 0);
        last.clone_from(&now);
        weir_tests::wait::pause_ms(100);
        stuck.then_some(now)
    })
}

#[test]
fn who_does_not_read_holds_little() {
    let length = format!("/bytes/{LONG}");
    let chunked = format!("/chunked/{LONG}/100000");
    let closed = format!("/close-delimited/{LONG}");
    for (mode, path) in [(Mode::Http, &length), (Mode::Http, &chunked), (Mode::Http, &closed), (Mode::Tcp, &length)] {
        let stage = Stage::with(mode, 1, Member::http, |setup| setup.workers = 2);
        let before = stage.weir.process.pss_kb();
        let mut readers: Vec<Client> = (0..READERS).map(|_| narrow(&stage)).collect();
        for reader in &mut readers {
            reader.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        let held = when_stuck(&stage);
        let most = *held.iter().max().unwrap();
        assert!(most < 512 * 1024, "{mode:?} {path}: the kernel holds {most} bytes for one");
        // Buffers that nobody borrows are given back a moment later.
        until_true(PATIENCE, &format!("{mode:?} {path}: less than 72 kB for each"), || {
            stage.weir.process.pss_kb().saturating_sub(before) / (READERS as u64) < 72
        });
        // Who reads on gets all of it.
        for reader in &mut readers[..4] {
            let answer = reader.answer();
            assert!(
                answer.status() == 200 && answer.complete() && answer.body.data == pattern(LONG),
                "{mode:?} {path}"
            );
        }
    }
}
