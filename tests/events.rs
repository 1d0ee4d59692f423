//! Promise: what happened to a load balancer can be read afterwards, whoever died in between.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use weir_tests::binaries::bin;
use weir_tests::netns::allowed;
use weir_tests::node::Node;
use weir_tests::process::Process;
use weir_tests::wait::{PATIENCE, until, until_true};

/// A node with one load balancer whose member's weight was changed and whose data plane was killed.
fn eventful() -> Option<Node> {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return None;
    }
    let node = Node::new();
    let member = node.member("m1", 8001);
    let mut document = node.document(1, &[&member]);
    node.apply(&document);
    document["loadbalancer"]["listeners"][0]["default_pool"]["members"][0]["weight"] = json!(5);
    node.apply(&document);
    let killed = node.kill_data_plane(1);
    until_true(PATIENCE, "another data plane", || node.data_plane(1) != killed);
    Some(node)
}

fn told(node: &Node, words: &[&str]) -> String {
    let output = node.lbctl(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn events(node: &Node) -> Vec<Value> {
    serde_json::from_str::<Vec<Value>>(&told(node, &["events", "web1", "-o", "json"])).unwrap()
}

fn kinds(node: &Node) -> Vec<String> {
    events(node).iter().map(|told| told["event"]["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lbctl_tells_what_happened_across_ends_of_the_agent() {
    let Some(mut node) = eventful() else { return };
    let expected =
        ["load_balancer", "data_plane_started", "document", "document", "data_plane_ended", "data_plane_started"];
    until_true(PATIENCE, "all events", || kinds(&node) == expected);
    let before = events(&node);
    assert_eq!(before[3]["event"]["reason"], "weight of member back/m1 1 → 5");
    assert_eq!(before[3]["event"]["by"], "the operator (uid 0)");
    assert_eq!(before[4]["event"]["new"], "killed by signal 9 (KILL)");

    let file = node.place.path("state/loadbalancers").join(format!("{}.events", node.id(1)));
    let written = || std::fs::read_to_string(&file).is_ok_and(|text| text.lines().count() == before.len() + 1);
    until_true(PATIENCE, "all events to be written", written);
    node.end_agent(Signal::KILL);
    // Torn by the same accident.
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"crc32\":\"0123");
    std::fs::write(&file, text).unwrap();
    node.start_agent();
    let after = until(PATIENCE, "the adoption", || {
        let after = events(&node);
        (after.len() > before.len()).then_some(after)
    });
    assert_eq!(after[..before.len()], before[..], "told otherwise than before");
    let adopted = &after[before.len()]["event"];
    assert_eq!(adopted["new"], "adopted");
    assert!(adopted["seq"].as_u64() > before.last().unwrap()["event"]["seq"].as_u64(), "a number was given twice");

    let table = told(&node, &["events"]);
    let head = table.lines().next().unwrap();
    assert!(head.starts_with("LOADBALANCER  TIME") && head.contains("SUBJECT") && head.ends_with("EFFECT"), "{table}");
    assert!(table.contains("web1") && table.contains("generation 1 → generation 2"), "{table}");
    assert_eq!(told(&node, &["events", "web1", "--since", "1d"]).lines().count(), after.len() + 1);
    assert!(told(&node, &["events", "web1", "-o", "yaml"]).contains("by: the operator"));
    for wrong in [vec!["events", "nobody"], vec!["events", "nobody", "--follow"]] {
        assert_eq!(node.lbctl(&wrong).status.code(), Some(1), "{wrong:?}");
    }
    assert_eq!(node.lbctl(&["events", "--since", "soon"]).status.code(), Some(2));
}

fn following(node: &Node, words: &[&str]) -> Process {
    let mut command = Command::new(bin("lbctl"));
    command.arg("--socket").arg(&node.control.socket).arg("events").args(words).arg("--follow");
    let at = node.place.path(if words.is_empty() { "follow-all" } else { "follow-one" });
    Process::start("lbctl", command, at)
}

#[test]
fn lbctl_follows_what_happens() {
    let Some(node) = eventful() else { return };
    let (mut one, mut all) = (following(&node, &["web1"]), following(&node, &[]));
    for process in [&one, &all] {
        until_true(PATIENCE, "what is kept", || process.stdout().contains("weight of member back/m1"));
    }
    node.apply(&node.document(2, &[]));
    until_true(PATIENCE, "the other load balancer", || all.stdout().contains("web2"));
    assert!(!one.stdout().contains("web2"));
    told(&node, &["delete", "web1"]);
    // The stream of one ends with it; that of all goes on.
    assert!(one.wait(PATIENCE).success());
    assert!(one.stdout().contains("removed"), "{}", one.stdout());
    until_true(PATIENCE, "the removal", || all.stdout().contains("removed"));
    assert_eq!(all.stdout().matches("weight of member").count(), 1, "told twice: {}", all.stdout());
    let file = format!("{}.events", node.id(1));
    assert!(!Path::new(&node.place.path("state/loadbalancers")).join(file).exists());
    all.signal(Signal::INT);
    all.wait(PATIENCE);
}

/// The document's event says it, and the data plane's own is not shown beside it.
#[test]
fn an_operators_change_of_a_member_is_told_once() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let node = Node::new();
    let mut members = [node.member("m1", 8001), node.member("m2", 8002)];
    let mut document = node.document(1, &members.each_ref());
    let pool = &mut document["loadbalancer"]["listeners"][0]["default_pool"];
    pool["healthmonitor"] =
        json!({"type": "TCP", "delay": 0.2, "timeout": 0.2, "max_retries": 1, "max_retries_down": 1});
    node.apply(&document);
    document["loadbalancer"]["listeners"][0]["default_pool"]["members"][0]["admin_state_up"] = json!(false);
    node.apply(&document);
    // What comes after it has been fetched, so it has been, too.
    members[1].kill();
    until_true(PATIENCE, "a member that is down", || kinds(&node).contains(&"member_down".to_owned()));
    let all = events(&node);
    let about: Vec<&Value> = all.iter().filter(|told| told.to_string().contains("back/m1")).collect();
    assert_eq!(about.len(), 1, "{about:#?}");
    let event = &about[0]["event"];
    assert_eq!(
        (&event["kind"], &event["reason"]),
        (&json!("document"), &json!("member back/m1 administratively down"))
    );
    assert_eq!(event["by"], "the operator (uid 0)");
}
