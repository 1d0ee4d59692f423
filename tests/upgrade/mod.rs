//! Promise: what asks to become a WebSocket becomes one when its member says so, and nothing else ever gets past HTTP.
//!
//! | file | what it proves |
//! |---|---|
//! | [`asking`] | what members are asked for, and what becomes of answers that fit and of those that do not |
//! | [`streams`] | tunnels on streams of HTTP/2, on either side, and over TLS |
//! | [`life`] | what a tunnel counts for while it lasts, and what ends it |
//! | [`programs`] | a WebSocket client and server made by others; curl |

mod asking;
mod life;
mod programs;
mod streams;

use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::websocket::{ask, echo};

/// One member that gives what is asked for, and sends back what it gets.
fn stage(tune: impl FnOnce(&mut Setup)) -> Stage {
    Stage::with(
        Mode::Http,
        1,
        |name, at| Member::script(name, at, echo),
        |setup| {
            setup.log_format = Some("json");
            tune(setup);
        },
    )
}

/// A client whose tunnel stands.
fn tunnel(stage: &Stage) -> Client {
    let mut client = Client::connect(stage.vip());
    client.send(ask("/ws"));
    assert_eq!(client.answer().status(), 101);
    says(&mut client, b"hello");
    client
}

/// What is sent comes back.
fn says(client: &mut Client, bytes: &[u8]) {
    client.send(bytes);
    assert_eq!(client.take(bytes.len()), bytes);
}

/// The `n`th line of the log, once it is there.
fn line(stage: &Stage, n: usize) -> serde_json::Value {
    serde_json::from_str(&stage.weir.wait_log(n + 1)[n]).unwrap()
}
