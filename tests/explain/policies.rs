//! Which policy sends a request where, and by which rule.

use super::*;

#[test]
fn the_policy_that_decides_is_named_with_its_rules() {
    let mut stage = stage(Mode::Http, "ROUND_ROBIN", &json!({}));
    let api = stage.members[2].socket();
    stage.apply(|setup| {
        setup.members.pop();
        let path = |value: &str| json!({"type": "PATH", "compare_type": "STARTS_WITH", "value": value});
        let post = json!({"type": "METHOD", "compare_type": "EQUAL_TO", "value": "POST"});
        setup.listener = json!({"l7policies": [
            {"name": "api", "action": "REDIRECT_TO_POOL", "rules": [path("/api"), {"type": "HEADER", "key": "X-Beta",
              "compare_type": "EQUAL_TO", "value": "no", "invert": true}], "redirect_pool": {
                "name": "api", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
                "members": [{"name": "m3", "address": api.ip(), "protocol_port": api.port()}]}},
            {"name": "secret", "action": "REJECT", "rules": [path("/secret"), post]},
            {"name": "old", "action": "REDIRECT_TO_URL", "redirect_url": "http://example.org/", "redirect_http_code": 308,
             "rules": [path("/old")]},
        ]});
    });
    let words = |target: &'static str| ["GET", target, "--from", "127.99.8.1"];
    let figures_before = figures(&stage.weir);

    let said = explained(&stage.weir, &words("/api/x"));
    let pool = said.pool.as_ref().unwrap();
    assert_eq!(pool.why, "policy api: PATH STARTS_WITH /api and not HEADER X-Beta EQUAL_TO no");
    let told_of: Vec<(&str, bool)> = said.policies.iter().map(|policy| (&*policy.name, policy.matches)).collect();
    assert_eq!(told_of, [("secret", false), ("old", false), ("api", true)]);
    assert_eq!(said.policies[0].words, "not so: PATH STARTS_WITH /secret");
    assert_eq!(figures(&stage.weir), figures_before, "no match is counted");
    assert_eq!(by(&ask_from(address(1), stage.vip(), "/api/x", "")), picked(&said));

    let beta = explained(&stage.weir, &[&words("/api/x")[..], &["--header", "X-Beta: no"]].concat());
    assert_eq!(beta.pool.as_ref().unwrap().why, "the listener's default pool: no policy chooses another");
    assert_eq!(beta.policies[2].words, "not so: not HEADER X-Beta EQUAL_TO no");
    assert_eq!(by(&ask_from(address(1), stage.vip(), "/api/x", "X-Beta: no\r\n")), picked(&beta));

    let said = explained(&stage.weir, &words("/old/x"));
    assert_eq!((said.verdict.outcome, said.verdict.status), (Outcome::Answered, Some(308)), "{said:?}");
    assert_eq!(ask_from(address(1), stage.vip(), "/old/x", "").status(), 308);
    let said = explained(&stage.weir, &["POST", "/secret", "--from", "127.99.8.1"]);
    assert_eq!((said.verdict.outcome, said.verdict.status), (Outcome::Answered, Some(403)));
    let text = told(&stage.weir, &["POST", "/secret", "--from", "127.99.8.1"]);
    assert!(
        text.contains("policy secret (REJECT) matches: PATH STARTS_WITH /secret and METHOD EQUAL_TO POST"),
        "{text}"
    );
}
