//! Promise: HTTP/2 on both sides, by the rules of RFC 9113, also against those who break them.

mod attacks;
mod conformance;
mod early;
mod fields;
mod forms;
mod grpc;
mod members;
mod rules;
mod times;
mod tools;

use serde_json::json;
use weir_tests::frames::{Outcome, Speaker};
use weir_tests::setup::Setup;
use weir_tests::stage::Stage;

/// Clients may begin in HTTP/2.
fn knowing(setup: &mut Setup) {
    setup.listener["http2_prior_knowledge"] = json!(true);
}

/// One member that behaves, and clients that may begin in HTTP/2.
fn stage() -> Stage {
    Stage::http(1, knowing)
}

/// What becomes of a connection that sends `bytes` after it began, and then asks on `stream`.
fn after(stage: &Stage, bytes: &[u8], stream: u32) -> Outcome {
    let mut speaker = Speaker::connect(stage.vip());
    speaker.send(bytes);
    speaker.outcome(stream)
}

/// Another client is served as if nothing had happened.
fn others_are_served(stage: &Stage) {
    let mut other = Speaker::connect(stage.vip());
    other.ask(1, "GET", "/other");
    assert_eq!(other.outcome(1).status(), Some(200));
}
