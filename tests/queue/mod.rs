//! Promise: a member never gets more at once than it may, and who waits for it is served in the order it came.

mod changes;
mod churn;
mod gate;
mod http2;
mod leaving;
mod limit;

use serde_json::{Value, json};
use weir_tests::client::Client;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Control;

use gate::Gate;
use lb_control::stats::QueueStats;

/// Sends a GET on a connection of its own.
fn ask(stage: &Stage, target: &str) -> Client {
    let mut client = Client::connect(stage.vip());
    client.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n"));
    client
}

/// What the pool says of its queue.
fn queue(control: &Control) -> QueueStats {
    control.stats().pools[0].queue
}

fn wait_waiting(control: &Control, n: u64) {
    until_true(PATIENCE, &format!("{n} to wait"), || queue(control).waiting == n);
}

/// Asks one after the other, so that they stand in the queue in that order.
fn line_up(stage: &Stage, targets: &[&str]) -> Vec<Client> {
    let before = queue(&stage.weir.control).waiting;
    let one = |(n, target): (usize, &&str)| {
        let client = ask(stage, target);
        wait_waiting(&stage.weir.control, before + n as u64 + 1);
        client
    };
    targets.iter().enumerate().map(one).collect()
}

/// HTTP members that hold requests until they are let go, `limit` at once on each.
fn stage(gate: &Gate, members: usize, limit: u32, tune: impl FnOnce(&mut Setup)) -> Stage {
    Stage::with(
        Mode::Http,
        members,
        |name, at| gate.http(name, at),
        |setup| {
            limits(setup, limit);
            tune(setup);
        },
    )
}

fn limits(setup: &mut Setup, limit: u32) {
    setup.members.iter_mut().for_each(|member| member.more = json!({"max_connections": limit}));
}

/// The reason of the last line of a JSON log that has this status.
fn reason(stage: &Stage, lines: usize, status: u16) -> Value {
    let log: Vec<Value> = stage.weir.wait_log(lines).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    log.into_iter().rev().find(|line| line["status"] == status).expect("a line of that status")
}
