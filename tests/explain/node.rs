//! Asked of the agent, who passes it on to the data plane that has the listener.

use weir_tests::netns::allowed;
use weir_tests::node::Node;

use super::*;

#[test]
fn the_agent_finds_whose_listener_it_is() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let node = Node::new();
    let at = |port| SocketAddr::new("10.77.0.2".parse().unwrap(), port);
    let members: Vec<Member> =
        node.members.inside(|| (1..=2).map(|n| app(&format!("m{n}"), at(8000 + n)).only_counting()).collect());
    let document = |n: u32, listener: &str| {
        let mut document = node.document(n, &members.iter().collect::<Vec<_>>());
        document["loadbalancer"]["listeners"][0]["name"] = json!(listener);
        document
    };
    let explain = |words: &[&str]| node.lbctl(&[&["explain", "--from", "10.77.0.3", "GET", "/"], words].concat());
    let fails = |words: &[&str], why: &str| {
        let said = explain(words);
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(1) && error.contains(why), "{words:?}: {error}");
    };
    fails(&["--listener", "front"], "no listener called front; there are none");
    node.apply(&document(1, "front"));
    fails(&["--listener", "fornt"], "did you mean front?");
    for _ in 0..4 {
        let said = explain(&["--listener", "front", "--json"]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let said: Explanation = serde_json::from_slice(&said.stdout).unwrap();
        let answer = node.clients.inside(|| ask(&mut Client::connect(Node::vip(1)), "/", ""));
        assert_eq!(by(&answer), picked(&said));
    }
    node.apply(&document(2, "front"));
    fails(&["--listener", "front"], "say which with --loadbalancer (web1, web2)");
    fails(&["--listener", "front", "--loadbalancer", "web3"], "no load balancer called web3");
    let said = explain(&["--listener", "front", "--loadbalancer", "web2"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.starts_with("→ m1: ROUND_ROBIN"), "{text}{said:?}");
    assert!(
        text.contains("listener front (HTTP)") && text.contains("pool back: the listener's default pool"),
        "{text}"
    );
}
