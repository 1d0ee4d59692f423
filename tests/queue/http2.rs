//! Streams of HTTP/2 wait as requests of their own: each has a place in the queue, and gives it back when it is reset.

use serde_json::json;
use weir_tests::frames::{Outcome, Speaker, code, frame, kind};
use weir_tests::setup::Setup;
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

use super::gate::Gate;
use super::{queue, wait_waiting};

/// One member that takes `limit` at once; `pool`: more keys of its pool.
fn stage(gate: &Gate, limit: u32, workers: u16, pool: serde_json::Value) -> Stage {
    super::stage(gate, 1, limit, |setup: &mut Setup| {
        setup.workers = workers;
        setup.pool = pool;
        setup.listener = json!({"http2_prior_knowledge": true});
    })
}

fn reset(speaker: &mut Speaker, stream: u32) {
    speaker.send(frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes()));
}

/// Asks on one stream after the other, so that they stand in the queue in that order behind the `before`.
fn line_up(stage: &Stage, speaker: &mut Speaker, before: u64, streams: &[u32]) {
    for (n, stream) in streams.iter().enumerate() {
        speaker.ask(*stream, "GET", &format!("/{stream}"));
        wait_waiting(&stage.weir.control, before + n as u64 + 1);
    }
}

#[test]
fn a_stream_that_is_reset_gives_up_its_place() {
    for workers in [1, 2] {
        let gate = Gate::default();
        let stage = stage(&gate, 1, workers, json!({}));
        let (mut one, mut two) = (Speaker::connect(stage.vip()), Speaker::connect(stage.vip()));
        one.ask(1, "GET", "/first");
        gate.wait_inside(1);
        line_up(&stage, &mut one, 0, &[3, 5]);
        line_up(&stage, &mut two, 2, &[1, 3]);
        reset(&mut one, 3);
        wait_waiting(&stage.weir.control, 3);
        reset(&mut two, 1);
        wait_waiting(&stage.weir.control, 2);
        gate.open();
        let answers = [one.outcome(1), one.outcome(5), two.outcome(3)];
        assert!(answers.iter().all(|answer| answer.status() == Some(200)), "{answers:?}, {workers} workers");
        assert_eq!(gate.order(), ["/first", "/5", "/3"], "{workers} workers");
        assert_eq!(gate.most(), 1);
    }
}

/// What a member works on for a stream that is gone is worked on for nobody: its slot goes to the next.
#[test]
fn a_stream_that_is_reset_at_work_frees_its_slot() {
    let gate = Gate::default();
    let stage = stage(&gate, 1, 1, json!({}));
    let mut speaker = Speaker::connect(stage.vip());
    speaker.ask(1, "GET", "/first");
    gate.wait_inside(1);
    line_up(&stage, &mut speaker, 0, &[3]);
    reset(&mut speaker, 1);
    gate.wait_seen(2);
    wait_waiting(&stage.weir.control, 0);
    gate.open();
    assert_eq!(speaker.outcome(3).status(), Some(200));
    until_true(PATIENCE, "all slots to be free", || stage.weir.control.member("m1").active_connections == 0);
}

/// A connection that ends takes all its streams out of the queue.
#[test]
fn a_connection_that_ends_leaves_no_place_behind() {
    let gate = Gate::default();
    let stage = stage(&gate, 1, 2, json!({}));
    let mut stays = Speaker::connect(stage.vip());
    stays.ask(1, "GET", "/first");
    gate.wait_inside(1);
    let mut leaves = Speaker::connect(stage.vip());
    line_up(&stage, &mut leaves, 0, &[1, 3, 5]);
    line_up(&stage, &mut stays, 3, &[3]);
    drop(leaves);
    wait_waiting(&stage.weir.control, 1);
    gate.open();
    assert_eq!((stays.outcome(1).status(), stays.outcome(3).status()), (Some(200), Some(200)));
    assert_eq!(gate.order(), ["/first", "/3"]);
}

#[test]
fn a_stream_that_waits_for_too_long_is_told_and_others_go_on() {
    let gate = Gate::default();
    let stage = stage(&gate, 1, 1, json!({"timeout_queue": 300}));
    let mut speaker = Speaker::connect(stage.vip());
    speaker.ask(1, "GET", "/first");
    gate.wait_inside(1);
    speaker.ask(3, "GET", "/late");
    assert_eq!(speaker.outcome(3).status(), Some(503));
    let stats = queue(&stage.weir.control);
    assert_eq!((stats.waiting, stats.queued, stats.timeouts), (0, 1, 1));
    gate.open();
    assert_eq!(speaker.outcome(1).status(), Some(200));
    speaker.ask(5, "GET", "/after");
    assert_eq!(speaker.outcome(5).status(), Some(200), "the connection is still good");
}

#[test]
fn a_stream_too_many_is_refused_at_once() {
    let gate = Gate::default();
    let stage = stage(&gate, 1, 1, json!({"max_queue": 2}));
    let mut speaker = Speaker::connect(stage.vip());
    speaker.ask(1, "GET", "/first");
    gate.wait_inside(1);
    line_up(&stage, &mut speaker, 0, &[3, 5]);
    speaker.ask(7, "GET", "/too-many");
    assert_eq!(speaker.outcome(7).status(), Some(503));
    assert_eq!(queue(&stage.weir.control).refused, 1);
    gate.open();
    for stream in [1, 3, 5] {
        assert!(matches!(speaker.outcome(stream), Outcome::Answered(200, _)), "stream {stream}");
    }
}
