//! What policies change of requests and answers.

use serde_json::json;
use weir_tests::client::Client;

use super::{Play, starts_with};

#[test]
fn members_and_clients_get_what_policies_make_of_a_message() {
    let play = Play::new(&json!([
        {"name": "all", "action": "PASS", "rules": [starts_with("/")],
         "remove_request_headers": ["X-Secret", "accept"],
         "set_request_headers": {"X-Client": "%{client_ip}", "Host": "inside.test:81", "X-Env": "one"},
         "append_request_headers": {"Via": "1.1 weir"},
         "remove_response_headers": ["content-TYPE"],
         "set_response_headers": {"X-Frame-Options": "DENY", "X-Member": "hidden"}},
        {"name": "api", "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "a"}, "rules": [starts_with("/api")],
         "rewrite_path_prefix": {"from": "/api", "to": "/v2"},
         "set_request_headers": {"x-env": "two"},
         "append_response_headers": {"Set-Cookie": "a=b"}},
    ]));
    let mut client = Client::connect(play.vip);
    client.send(
        "GET /api/x?y=z HTTP/1.1\r\nHost: outside.test\r\nX-Secret: 1\r\nx-secret: 2\r\nAccept: a\r\nX-Client: lie\r\n\
         Via: 1.0 before\r\nX-Kept: k\r\n\r\n",
    );
    let answer = client.answer().clone();
    let seen = play.on("a").seen().remove(0).head;
    assert_eq!(seen.start, "GET /v2/x?y=z HTTP/1.1");
    let fields = |name: &str| -> Vec<&str> {
        let named = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        seen.fields.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    };
    for (name, expected) in [
        ("host", vec!["inside.test:81"]),
        ("x-secret", vec![]),
        ("accept", vec![]),
        ("x-client", vec!["127.0.0.1"]),
        ("x-env", vec!["two"]),
        ("via", vec!["1.0 before", "1.1 weir"]),
        ("x-kept", vec!["k"]),
    ] {
        assert_eq!(fields(name), expected, "{name}");
    }
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!((answer.header("content-type"), answer.header("set-cookie")), (None, Some("a=b")));
    assert_eq!(answer.header("x-member"), Some("hidden"));
    assert!(answer.complete() && answer.text().contains("on-a"));
    // The other requests of the connection are changed by what matches them.
    let answer = client.get("/else");
    assert_eq!((answer.header("x-frame-options"), answer.header("set-cookie")), (Some("DENY"), None));
    assert_eq!(play.on("main").seen().remove(0).head.start, "GET /else HTTP/1.1");
    assert_eq!(play.lines(1)[0]["target"], "/api/x?y=z", "the log tells what was asked for");
}

#[test]
fn fields_that_clients_could_forge_are_taken_away_before_ours_are_added() {
    let pass = json!([{"action": "PASS", "rules": [starts_with("/")], "remove_request_headers": ["X-Forwarded-For"]}]);
    let play = Play::tuned(&pass, |lb| lb["listeners"][0]["insert_headers"] = json!({"X-Forwarded-For": "true"}));
    let mut client = Client::connect(play.vip);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n");
    client.answer();
    let seen = play.on("main").seen().remove(0).head;
    let told: Vec<_> = seen.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for")).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, "127.0.0.1");
}

#[test]
fn bodies_of_every_kind_pass_changed_heads() {
    let play = Play::new(&json!([{
        "action": "PASS", "rules": [starts_with("/")],
        "set_request_headers": {"X-A": "b"}, "set_response_headers": {"X-B": "c"},
    }]));
    let mut client = Client::connect(play.vip);
    for target in ["/bytes/100000", "/chunked/50000/999", "/status/204", "/trailers"] {
        let answer = client.get(target);
        assert!(answer.complete() && answer.header("x-b") == Some("c"), "{target}");
    }
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.answer().text(), "hello");
    client.send("HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer_to("HEAD").expect("an answer");
    assert_eq!((answer.header("content-length"), answer.header("x-b")), (Some("9"), Some("c")));
}
