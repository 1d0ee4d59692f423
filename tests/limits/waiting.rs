//! Whoever waits, or is waited for, holds little: what it said, a task and a place, but no buffer.

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

const CLIENTS: usize = 300;

/// A member that reads what it is asked and says nothing until the other side ends.
fn mute(name: &str, at: std::net::SocketAddr) -> Member {
    Member::script(name, at, |conn| {
        conn.take_to_end();
        Ok(())
    })
}

fn grown(stage: &Stage, before: u64) -> u64 {
    stage.weir.process.pss_kb().saturating_sub(before)
}

#[test]
fn who_waits_holds_no_buffer() {
    let begun = "GET /";
    let sending = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na";
    let chunking = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na";
    let asking = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    for (what, word, at_members, kb) in [
        ("a head that has begun", begun, false, 5),
        ("a body that has begun", sending, true, 13),
        ("a chunk that has begun", chunking, true, 14),
        ("an answer that does not come", asking, true, 14),
    ] {
        let stage = Stage::with(Mode::Http, 1, mute, |setup| setup.listener = json!({}));
        let before = stage.weir.process.pss_kb();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(stage.vip())).collect();
        clients.iter_mut().for_each(|client| client.send(word));
        until_true(PATIENCE, "all to be there", || {
            let members = if at_members { stage.members[0].visits().len() } else { CLIENTS };
            stage.weir.control.stats().active_connections == CLIENTS as u64 && members == CLIENTS
        });
        // Spare buffers are given back a moment later.
        until_true(PATIENCE, &format!("{what}: less than {kb} kB for each"), || {
            grown(&stage, before) < kb * CLIENTS as u64
        });
    }
}

/// Whoever was refused and may not have read it is waited for, without a buffer, and not with all the others.
#[test]
fn a_flood_of_garbage_takes_no_memory() {
    let stage = Stage::http(1, |setup| setup.workers = 1);
    let before = stage.weir.process.pss_kb();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut some: Vec<Client> = (0..100).map(|_| Client::connect(stage.vip())).collect();
        some.iter_mut().for_each(|client| client.send("BAD\r\n\r\n"));
        some.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 400));
        clients.append(&mut some);
        let grown = grown(&stage, before);
        assert!(grown < 4096, "{grown} kB after {} of them", clients.len());
    }
    let waited_for = stage.weir.control.stats().active_connections;
    assert!(waited_for <= 256, "{waited_for} are still waited for");
    assert_eq!(weir_tests::client::get(stage.vip(), "/").status(), 200);
}
