//! Clients that mean harm: each is cut off, costs a bounded amount of work and memory, and no other client notices.

use std::time::Duration;

use weir_tests::frames::{END_HEADERS, END_STREAM, Outcome, Speaker, fields, frame, kind, request_fields};
use weir_tests::member::Member;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

use super::{knowing, others_are_served, stage};

/// Sends sixteen times `bytes(n)`, and again, until the other side has had enough; says how often that was.
fn flood(stage: &Stage, begin: &[u8], most: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut speaker = Speaker::connect(stage.vip());
    speaker.send(begin);
    speaker.patience(Duration::from_millis(1));
    for n in 0..most {
        let more: Vec<u8> = (0..16).flat_map(|k| bytes(16 * n + k)).collect();
        if speaker.try_send(more).is_err() {
            return n;
        }
        // What comes back is read, so that it is not the reason why nothing goes on.
        if n % 16 == 0 {
            while speaker.hear().is_ok() {}
        }
    }
    speaker.patience(PATIENCE);
    let outcome = speaker.outcome(u32::MAX);
    assert!(!matches!(outcome, Outcome::Silent), "{most} were taken");
    most
}

fn cut_off(what: &str, stage: &Stage, begin: &[u8], bytes: impl FnMut(u32) -> Vec<u8>) {
    let before = stage.weir.process.memory_kib();
    let n = flood(stage, begin, 20_000, bytes);
    assert!(n < 20_000, "{what}");
    let grown = stage.weir.process.memory_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{what}: {grown} KiB more");
    others_are_served(stage);
}

#[test]
fn floods_of_frames_that_mean_nothing() {
    let stage = stage();
    let open = frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/x", &[]));
    let none: &[u8] = &[];
    cut_off("PING", &stage, none, |_| frame(kind::PING, 0, 0, &[0; 8]));
    cut_off("SETTINGS", &stage, none, |n| frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 1, n as u8]));
    cut_off("empty SETTINGS", &stage, none, |_| frame(kind::SETTINGS, 0, 0, &[]));
    cut_off("PRIORITY", &stage, none, |n| frame(kind::PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]));
    cut_off("empty DATA", &stage, &open, |_| frame(kind::DATA, 0, 1, &[]));
    cut_off("padding", &stage, &open, |_| frame(kind::DATA, 8, 1, &[200; 201]));
    cut_off("small windows", &stage, &open, |_| frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    cut_off("unknown frames", &stage, none, |_| frame(0xee, 0, 0, &[0; 100]));
}

#[test]
fn heads_without_end() {
    let stage = stage();
    let begin = frame(kind::HEADERS, END_STREAM, 1, &request_fields("GET", "/", &[]));
    cut_off("CONTINUATION", &stage, &begin, |n| {
        frame(kind::CONTINUATION, 0, 1, &fields(&[(&format!("x-{n}"), &[b'a'; 1000])]))
    });
    cut_off("empty CONTINUATION", &stage, &begin, |_| frame(kind::CONTINUATION, 0, 1, &[]));
    assert_eq!(stage.counts(), [2], "only the other clients'");
}

/// A small head on the wire that is a large one when it is unpacked.
#[test]
fn bombs_are_not_unpacked() {
    let stage = stage();
    let before = stage.weir.process.memory_kib();
    let mut block = request_fields("GET", "/", &[]);
    // A value of 3000 bytes, remembered, and then meant a thousand times.
    block.extend([0x40, 1, b'x', 127]);
    block.extend([0xb9, 0x16]);
    block.extend([b'a'; 3000]);
    block.extend([0x80 | 62; 12_000]);
    let mut speaker = Speaker::connect(stage.vip());
    speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let outcome = speaker.outcome(1);
    assert!(outcome.is_refused() || outcome.status() == Some(431), "{outcome:?}");
    assert!(stage.weir.process.memory_kib().saturating_sub(before) < 8 * 1024);
    assert_eq!(stage.counts(), [0]);
    others_are_served(&stage);
}

/// A member that never answers, and says how many requests it has at once.
fn stuck() -> Stage {
    Stage::with(
        Mode::Http,
        1,
        |name, socket| {
            Member::script(name, socket, |conn| {
                conn.head()?;
                conn.take_to_end();
                Ok(())
            })
        },
        knowing,
    )
}

#[test]
fn rapid_reset() {
    let stage = stuck();
    let block = request_fields("GET", "/", &[]);
    let n = flood(&stage, &[], 5_000, |n| {
        let stream = 2 * n + 1;
        let mut both = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block);
        both.extend(frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        both
    });
    assert!(n < 5_000, "it was let go on");
    until_true(PATIENCE, "all work for it to end", || stage.weir.control.member("m1").active_connections == 0);
    assert!(stage.members[0].requests() < 1000, "{} requests at the member", stage.members[0].requests());
}

#[test]
fn a_server_made_to_reset() {
    let stage = stuck();
    let block = request_fields("POST", "/", &[]);
    let n = flood(&stage, &[], 5_000, |n| {
        let stream = 2 * n + 1;
        let mut both = frame(kind::HEADERS, END_HEADERS, stream, &block);
        both.extend(frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4]));
        both
    });
    assert!(n < 5_000, "it was let go on");
    until_true(PATIENCE, "all work for it to end", || stage.weir.control.member("m1").active_connections == 0);
    assert!(stage.members[0].requests() < 1000, "{} requests at the member", stage.members[0].requests());
}

/// Clients that ask for much and take nothing hold little, and others are served meanwhile.
#[test]
fn windows_that_stay_closed() {
    let stage = stage();
    let before = stage.weir.process.memory_kib();
    let mut stalled: Vec<Speaker> = (0..5)
        .map(|_| {
            let mut speaker = Speaker::connect(stage.vip());
            speaker.gives_room = false;
            for n in 0..100 {
                speaker.ask(2 * n + 1, "GET", "/bytes/200000");
            }
            speaker
        })
        .collect();
    for speaker in &mut stalled {
        speaker.until(|f| f.kind == kind::DATA).unwrap();
    }
    others_are_served(&stage);
    let grown = stage.weir.process.memory_kib().saturating_sub(before);
    assert!(grown < 128 * 1024, "{grown} KiB for 500 streams");
    drop(stalled);
    until_true(PATIENCE, "all work for them to end", || stage.weir.control.member("m1").active_connections == 0);
}

/// Nor do those who have room for nothing at all: what was read beside the head of their answer is all that is held.
#[test]
fn windows_that_never_open() {
    let stage = stage();
    let before = stage.weir.process.memory_kib();
    let mut stalled: Vec<Speaker> = (0..5)
        .map(|_| {
            let mut speaker = Speaker::connect(stage.vip());
            // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2).
            speaker.send(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
            for n in 0..100 {
                speaker.ask(2 * n + 1, "GET", "/bytes/200000");
            }
            speaker
        })
        .collect();
    for speaker in &mut stalled {
        for _ in 0..100 {
            speaker.until(|f| f.kind == kind::HEADERS).unwrap();
        }
    }
    others_are_served(&stage);
    let grown = stage.weir.process.memory_kib().saturating_sub(before);
    assert!(grown < 14 * 1024, "{grown} KiB for 500 streams");
}
