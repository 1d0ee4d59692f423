//! On a node: the secret outlives everybody, and tables can be kept and given back.

use std::net::SocketAddr;
use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};
use weir_tests::member::Member;
use weir_tests::netns::allowed;
use weir_tests::node::Node;
use weir_tests::wait::{PATIENCE, until_true};

use super::{Known, app, ask, by};

/// Load balancer 1 before three members, with this persistence.
fn document(node: &Node, members: &[Member], persistence: &Value) -> Value {
    let members: Vec<&Member> = members.iter().collect();
    let mut document = node.document(1, &members);
    document["loadbalancer"]["listeners"][0]["default_pool"]["session_persistence"] = persistence.clone();
    document
}

fn members(node: &Node) -> Vec<Member> {
    let at = |port| SocketAddr::new("10.77.0.2".parse().unwrap(), port);
    node.members.inside(|| (1..=3).map(|n| app(&format!("m{n}"), at(8000 + n)).only_counting()).collect())
}

/// Kills the data plane and waits for the next one.
fn renew_data_plane(node: &Node) {
    let before = node.kill_data_plane(1);
    until_true(PATIENCE, "another data plane", || node.data_plane(1) != before);
    until_true(PATIENCE, "it to serve", || node.clients.inside(|| ask(Node::vip(1), "").status() == 200));
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn cookies_count_after_every_end() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let mut node = Node::new();
    let members = members(&node);
    node.apply(&document(&node, &members, &json!({"type": "HTTP_COOKIE"})));
    let vip = Node::vip(1);
    let mut clients: Vec<Known> = node.clients.inside(|| (0..9).map(|_| Known::new(vip)).collect());
    let mut all_stay = |node: &Node| node.clients.inside(|| clients.iter_mut().all(|client| client.stays(vip)));
    renew_data_plane(&node);
    assert!(all_stay(&node), "kill -9 of the data plane");
    node.end_agent(Signal::KILL);
    assert!(all_stay(&node));
    node.start_agent();
    renew_data_plane(&node);
    assert!(all_stay(&node), "kill -9 of the agent, and of the data plane that the next one found");
    let secret = std::fs::metadata(node.place.path("state/persistence-secret")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&secret.permissions()) & 0o777, 0o600);
}

#[test]
fn tables_are_shown_saved_and_given_back() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let node = Node::new();
    let members = members(&node);
    node.apply(&document(&node, &members, &json!({"type": "APP_COOKIE", "cookie_name": "sid"})));
    let vip = Node::vip(1);
    let open = |n| by(&ask(vip, &format!("X-Set: sid=session-{n}\r\n")));
    let again = |n| by(&ask(vip, &format!("Cookie: sid=session-{n}\r\n")));
    let whose: Vec<String> = node.clients.inside(|| (0..20).map(open).collect());

    let shown = said(&node.lbctl(&["persistence", "show", "web1"]));
    assert_eq!(shown.lines().filter(|line| line.starts_with("back ")).count(), 20, "{shown}");
    assert!(!shown.contains("session-") && shown.contains(" m1 ") && shown.contains(" m3 "), "{shown}");
    let status = said(&node.lbctl(&["status", "web1"]));
    assert!(status.contains("persistence APP_COOKIE: 20 of 10240 clients"), "{status}");

    let file = node.place.path("tables");
    said(&node.lbctl(&["persistence", "save", "web1", file.to_str().unwrap()]));
    renew_data_plane(&node);
    let loaded = said(&node.lbctl(&["persistence", "load", "web1", file.to_str().unwrap()]));
    assert!(loaded.contains("20 clients are known, 0 were skipped"), "{loaded}");
    assert_eq!(node.clients.inside(|| (0..20).map(again).collect::<Vec<_>>()), whose);

    // Damaged on the way: nothing is taken up.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = node.lbctl(&["persistence", "load", "web1", file.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("damaged"), "{refused:?}");
    let direct = node.control.must("PUT", &format!("/v1/loadbalancers/{}/persistence", node.id(1)), b"hello");
    assert_eq!(direct.status, 409, "{}", direct.body);
}
