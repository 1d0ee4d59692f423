//! How large a request's head may be, to the byte.

use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::message::End;
use weir_tests::stage::Stage;
use weir_tests::wait::PATIENCE;

/// A head of exactly `len` bytes.
fn of_len(len: usize) -> String {
    let (before, after) = ("GET / HTTP/1.1\r\nHost: weir.test\r\nX: ", "\r\n\r\n");
    format!("{before}{}{after}", "y".repeat(len - before.len() - after.len()))
}

fn with_fields(count: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: weir.test\r\n{}\r\n", "A: b\r\n".repeat(count - 1))
}

fn with_target(len: usize) -> String {
    format!("GET /{} HTTP/1.1\r\nHost: weir.test\r\n\r\n", "t".repeat(len - 1))
}

fn status(stage: &Stage, head: &str) -> u16 {
    let mut client = Client::connect(stage.vip());
    client.send(head);
    client.answer().status()
}

#[test]
fn each_bound_holds_to_the_byte() {
    let own = json!({"max_head_size": 1000, "max_header_count": 10, "max_target_length": 200});
    for (keys, size, fields, target) in [(own, 1000, 10, 200), (json!({}), 15_360, 128, 12_288)] {
        let stage = Stage::http(1, |setup| setup.listener = keys.clone());
        for (head, expected) in [
            (of_len(size), 200),
            (of_len(size + 1), 431),
            (with_fields(fields), 200),
            (with_fields(fields + 1), 431),
            (with_target(target), 200),
            (with_target(target + 1), 414),
        ] {
            assert_eq!(status(&stage, &head), expected, "{keys}: a head of {} bytes", head.len());
        }
        let listener = stage.weir.control.listener();
        assert_eq!((listener.limits.heads_too_large, listener.refusals), (3, 3));
        assert_eq!(stage.weir.wait_log(6).iter().filter(|line| line.contains(" PR-- ")).count(), 3);
    }
}

/// What is too long is told by its name, in one piece or in many.
#[test]
fn a_target_that_is_too_long_is_414_however_it_comes() {
    let small = json!({"max_head_size": 2048, "max_target_length": 256});
    for (keys, lens) in
        [(small, &[257, 2000, 2047, 2048, 2900][..]), (json!({}), &[12_289, 15_350, 15_360, 20_000, 40_000])]
    {
        let stage = Stage::http(1, |setup| setup.listener = keys.clone());
        for len in lens {
            let head = with_target(*len);
            assert_eq!(status(&stage, &head), 414, "{keys}: {len} bytes at once");
            let mut client = Client::connect(stage.vip());
            let pieces: Vec<&[u8]> = head.as_bytes().chunks(1000).collect();
            client.send_pieces(&pieces, std::time::Duration::from_millis(1));
            assert_eq!(client.answer().status(), 414, "{keys}: {len} bytes in pieces");
        }
    }
}

/// More than the bound is refused before it ends, and never buffered.
#[test]
fn an_endless_head_is_refused_at_the_bound() {
    let stage = Stage::http(1, |setup| setup.listener = json!({"max_head_size": 1000}));
    let before = stage.weir.process.pss_kb();
    for (start, expected) in [("GET /", 414), ("GET / HTTP/1.1\r\nX: ", 431)] {
        let mut client = Client::connect(stage.vip());
        client.send(start);
        for _ in 0..256 {
            client.send("z".repeat(65_536));
        }
        if let Some(answer) = client.maybe_answer() {
            assert_eq!(answer.status(), expected);
        }
        assert_ne!(client.fate_if_open(PATIENCE), Some(End::Idle));
    }
    let grown = stage.weir.process.pss_kb().saturating_sub(before);
    assert!(grown < 1024, "{grown} kB for two endless heads");
    assert_eq!(get(stage.vip(), "/").status(), 200);
    assert_eq!(stage.weir.control.listener().limits.heads_too_large, 2);
}

/// The member's head has the built-in bound, whatever the listener says.
#[test]
fn answers_may_have_longer_heads() {
    let stage = Stage::with(
        weir_tests::setup::Mode::Http,
        1,
        |name, at| {
            weir_tests::member::Member::script(name, at, |conn| {
                conn.request()?;
                let long = "z".repeat(8000);
                conn.send(format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 0\r\n\r\n"))
            })
        },
        |setup| setup.listener = json!({"max_head_size": 200}),
    );
    assert_eq!(get(stage.vip(), "/").status(), 200);
}
