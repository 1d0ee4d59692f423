//! `lbctl explain` names the policy, by the server's name or a URL's host, and the client then goes there.

use std::process::{Command, Output};

use lb_control::explain::{Explanation, Outcome};
use weir_tests::binaries::bin;
use weir_tests::tools::output;

use super::*;

fn lbctl(weir: &Weir, words: &[&str]) -> Output {
    let fixed = ["explain", "--listener", "front", "--from", "127.0.0.1"];
    output(Command::new(bin("lbctl")).arg("--socket").arg(&weir.control.socket).args(fixed).args(words))
}

fn explained(weir: &Weir, words: &[&str]) -> Explanation {
    let said = lbctl(weir, &[words, &["--json"]].concat());
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn the_policy_that_decides_is_named() {
    let play = Play::new(&policies());
    for (words, name, why) in [
        (&["--sni", "A.test."][..], "a.test", "policy exact: HOST_NAME EQUAL_TO A.test"),
        (&["GET", "https://www.b.test:8443/x"], "www.b.test", "policy below: HOST_NAME ENDS_WITH .b.test"),
        (&["GET", "https://www.b.test/", "--sni", "a.test"], "a.test", "policy exact: HOST_NAME EQUAL_TO A.test"),
        (&["--sni", "c.test"], "c.test", "the listener's default pool: no policy chooses another"),
    ] {
        let said = explained(&play.weir, words);
        let pool = said.pool.as_ref().unwrap();
        assert_eq!(pool.why, why, "{words:?}");
        assert_eq!(pool.name, pool_for(play.vip, name), "{words:?}");
        assert_eq!(said.verdict.outcome, Outcome::Member);
        let check = said.checks.iter().find(|check| check.check == "server_name").unwrap();
        assert_eq!(check.words, format!("the client asks for {name}"));
    }
    let matched: u64 = play.weir.control.listener().l7policies.iter().map(|policy| policy.matched).sum();
    assert_eq!(matched, 3, "asking is not counted");

    for words in [&[][..], &["GET", "https://192.0.2.7/"], &["GET", "/x"]] {
        let said = explained(&play.weir, words);
        assert_eq!(said.pool.as_ref().unwrap().name, "main");
        assert!(said.checks.iter().any(|check| check.words.starts_with("the client names no server")), "{said:?}");
    }
    let said = explained(&play.weir, &["--sni", "blocked.test"]);
    assert_eq!((said.verdict.outcome, said.verdict.status, said.pool), (Outcome::Refused, None, None));
    let text = String::from_utf8(lbctl(&play.weir, &["--sni", "blocked.test"]).stdout).unwrap();
    assert!(text.starts_with("refused: refused by the policy (policy no: HOST_NAME CONTAINS blocked)"), "{text}");
    assert!(text.contains("policy no (REJECT) matches: HOST_NAME CONTAINS blocked"), "{text}");
}

#[test]
fn names_that_are_none_are_refused_with_what_would_be_right() {
    let play = Play::new(&policies());
    for (words, right) in [
        (&["--sni", "*.test"][..], "letters, digits, hyphens and dots, as in www.example.org"),
        (&["--sni", "192.0.2.7"], "letters, digits, hyphens and dots"),
        (&["GET", "https://a_b.test/"], "letters, digits, hyphens and dots"),
    ] {
        let said = lbctl(&play.weir, words);
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(1) && told.contains(right), "{words:?}: {told}");
    }
    let mut http = play.document.clone();
    http["loadbalancer"]["listeners"][0]["protocol"] = json!("TCP");
    http["loadbalancer"]["listeners"][0]["l7policies"] = json!([]);
    play.weir.control.apply(&http);
    let said = lbctl(&play.weir, &["--sni", "a.test"]);
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(1) && told.contains("leave out --sni"), "{told}");
}
