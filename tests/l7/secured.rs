//! Policies for clients that speak HTTP/2: what each action does, on streams of one connection.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use weir_tests::certificates::Authority;
use weir_tests::client::Client;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::{Play, starts_with, to_pool};

/// The host of the certificate.
pub(super) const HOST: &str = "weir.test";

/// An answer as curl writes it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) start: String,
    fields: Vec<(String, String)>,
    pub(super) body: String,
}

impl Heard {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
    }
}

/// One HTTP/2 connection of curl's on which all `targets` are asked for, one after the other, with the same `words`.
pub(super) fn curl(place: &Place, to: SocketAddr, trusted: &Authority, words: &[&str], targets: &[&str]) -> Vec<Heard> {
    const MARK: &str = "\u{1}end of an answer\u{1}";
    let ca = trusted.write(place, "curl-ca.pem");
    let mut command = Command::new("curl");
    command.args(["-sS", "--http2", "-i", "--max-time", "30", "-w", MARK, "--cacert"]).arg(ca).args(words);
    command.args(["--resolve", &format!("{HOST}:{}:{}", to.port(), to.ip())]);
    command.args(targets.iter().map(|target| format!("https://{HOST}:{}{target}", to.port())));
    let text = weir_tests::tools::run(&mut command);
    let answers: Vec<Heard> = text.split_terminator(MARK).map(heard).collect();
    assert_eq!(answers.len(), targets.len(), "{text}");
    answers
}

fn heard(text: &str) -> Heard {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let answer = Heard { start, fields: lines.filter_map(field).collect(), body: body.to_owned() };
    assert!(answer.start.starts_with("HTTP/2 "), "not HTTP/2: {answer:?}");
    answer
}

/// The same stage with TLS in front, so that clients may speak HTTP/2.
struct Secured {
    play: Play,
    authority: Authority,
}

impl Secured {
    fn new(policies: &Value) -> Self {
        Self::tuned(policies, |_| ())
    }

    fn tuned(policies: &Value, tune: impl FnOnce(&mut Value)) -> Self {
        let authority = Authority::new("authority");
        let own = authority.sign(&[HOST]).bundle();
        let play = Play::tuned_in(Place::new(), policies, |lb, place| {
            let own = place.write("own.pem", &own);
            let listener = &mut lb["listeners"][0];
            listener["protocol"] = json!("TERMINATED_HTTPS");
            listener["default_tls_container_ref"] = json!(format!("file:{}", own.display()));
            tune(lb);
        });
        Self { play, authority }
    }

    fn ask(&self, words: &[&str], targets: &[&str]) -> Vec<Heard> {
        curl(&self.play.place, self.play.vip, &self.authority, words, targets)
    }

    fn member(&self, pool: &str) -> &Member {
        self.play.on(pool)
    }
}

#[test]
fn refusals_and_redirects_are_streams_of_a_connection_that_goes_on() {
    let codes = [301, 302, 303, 307, 308];
    let redirects = codes.iter().map(|code| {
        json!({"name": format!("to-{code}"), "action": "REDIRECT_PREFIX", "redirect_prefix": "https://b.test",
               "redirect_http_code": code, "rules": [starts_with(&format!("/{code}"))]})
    });
    let reject = json!({"name": "no", "action": "REJECT", "rules": [starts_with("/no")]});
    let url =
        json!({"action": "REDIRECT_TO_URL", "redirect_url": "https://c.test/x?y", "rules": [starts_with("/url")]});
    let secured = Secured::new(&json!(redirects.chain([reject, url]).collect::<Vec<_>>()));
    let targets = ["/no", "/301/a%2Fb?c=d", "/302", "/303?x", "/307/", "/308/y", "/url?z", "/fine"];
    let answers = secured.ask(&[], &targets);
    let statuses: Vec<u16> = answers.iter().map(Heard::status).collect();
    assert_eq!(statuses, [403, 301, 302, 303, 307, 308, 302, 200]);
    assert!(answers[0].body.contains("forbidden"));
    for (answer, target) in answers.iter().zip(targets).skip(1).take(5) {
        assert_eq!(answer.field("location"), Some(format!("https://b.test{target}").as_str()));
        assert_eq!((answer.field("connection"), answer.field("content-length")), (None, Some("0")));
    }
    assert_eq!(answers[6].field("location"), Some("https://c.test/x?y"));
    assert_eq!(answers[7].field("x-member"), Some("on-main"));
    assert_eq!(secured.ask(&["-I"], &["/no"])[0].status(), 403);
    let lines = secured.play.lines(9);
    assert_eq!((&lines[0]["flags"], &lines[0]["policy"]), (&json!("PR"), &json!("no")));
    assert_eq!((&lines[1]["flags"], &lines[1]["policy"]), (&json!("LR"), &json!("to-301")));
    assert_eq!(secured.play.weir.control.listener().tls_handshakes, 2, "one connection each");
}

#[test]
fn pools_fields_and_paths_are_chosen_for_each_stream() {
    let secured = Secured::new(&json!([
        {"name": "all", "action": "PASS", "rules": [starts_with("/")],
         "remove_request_headers": ["X-Secret", "cookie"],
         "set_request_headers": {"X-Client": "%{client_ip}", "Host": "inside.test:81"},
         "remove_response_headers": ["Content-Type"], "set_response_headers": {"X-Frame-Options": "DENY"}},
        {"name": "api", "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "a"}, "rules": [starts_with("/api")],
         "rewrite_path_prefix": {"from": "/api", "to": "/v2"}, "append_response_headers": {"Set-Cookie": "a=b"}},
        to_pool("b", "/b", "b"),
    ]));
    let words = ["-H", "X-Secret: 1", "-H", "X-Client: lie", "-b", "c=d", "-H", "X-Kept: k"];
    let answers = secured.ask(&words, &["/api/x?y=z", "/b", "/api", "/"]);
    let by: Vec<_> = answers.iter().map(|answer| answer.field("x-member").unwrap_or_default()).collect();
    assert_eq!(by, ["on-a", "on-b", "on-a", "on-main"]);
    assert!(answers.iter().all(|answer| answer.field("x-frame-options") == Some("DENY")));
    let cookies: Vec<bool> = answers.iter().map(|answer| answer.field("set-cookie") == Some("a=b")).collect();
    assert_eq!(cookies, [true, false, true, false]);
    let seen = secured.member("a").seen();
    assert_eq!(
        (seen[0].head.start.as_str(), seen[1].head.start.as_str()),
        ("GET /v2/x?y=z HTTP/1.1", "GET /v2 HTTP/1.1")
    );
    for (name, expected) in [
        ("host", vec!["inside.test:81"]),
        ("x-secret", vec![]),
        ("x-client", vec!["127.0.0.1"]),
        ("cookie", vec![]),
        ("x-kept", vec!["k"]),
    ] {
        assert_eq!(seen[0].head.all(name), expected, "{name}");
    }
}

/// An answer with nearly as many fields as may be, and as many again from policies.
#[test]
fn answers_may_have_all_their_fields_and_those_of_policies() {
    let fields: serde_json::Map<_, _> = (0..32).map(|n| (format!("X-Ours-{n}"), json!("o"))).collect();
    let pass = json!({"action": "PASS", "rules": [starts_with("/")], "append_response_headers": fields});
    let secured = Secured::tuned(&json!([pass, pass]), |lb| lb["pools"][0]["members"] = json!([]));
    let place = Place::new();
    let many: String = (0..90).map(|n| format!("X-Theirs-{n}: t\r\n")).collect();
    let member = Member::script("many", place.socket(), move |conn| {
        loop {
            conn.request()?;
            conn.send(weir_tests::member::sized(200, &many, b"many", false))?;
        }
    });
    let mut document = secured.play.document.clone();
    document["loadbalancer"]["pools"][0]["members"] =
        json!([{"name": "many", "address": member.socket().ip(), "protocol_port": member.socket().port()}]);
    secured.play.weir.control.apply(&document);
    let answers = secured.ask(&[], &["/", "/"]);
    for answer in answers {
        let count = |start: &str| answer.fields.iter().filter(|(name, _)| name.starts_with(start)).count();
        assert_eq!((answer.status(), answer.body.as_str()), (200, "many"));
        assert_eq!((count("x-theirs-"), count("x-ours-")), (90, 64));
    }
}

#[test]
fn shares_and_copies_of_streams() {
    let split = json!([
        {"name": "copy", "action": "PASS", "rules": [starts_with("/")], "mirror": {"pool": {"name": "b"}},
         "set_request_headers": {"X-Copied": "yes"}},
        {"name": "canary", "action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "a"},
         "rules": [{"type": "PERCENT", "value": 40, "key": "COOKIE:user"}]},
    ]);
    let secured = Secured::new(&split);
    let targets: Vec<String> = (0..40).map(|n| format!("/{n}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut sides = Vec::new();
    for user in 0..8 {
        let answers = secured.ask(&["-b", &format!("x=y; user={user}")], &targets);
        let inside = answers.iter().filter(|answer| answer.field("x-member") == Some("on-a")).count();
        assert!(inside == 0 || inside == targets.len(), "user {user} was on both sides");
        sides.push(inside > 0);
    }
    assert!(sides.contains(&true) && sides.contains(&false), "{sides:?}");
    let figures = || secured.play.weir.control.listener().l7policies.remove(0);
    until_true(PATIENCE, "copies to come", || {
        let figures = figures();
        figures.mirrored + figures.mirrors_lost >= 320
            && secured.member("b").requests() as u64 >= figures.mirrored - figures.mirrors_lost
    });
    let copy = secured.member("b").seen().remove(0).head;
    assert_eq!((copy.get("x-copied"), copy.get("host").map(|host| host.starts_with(HOST))), (Some("yes"), Some(true)));
}

/// Whoever speaks nothing but HTTP/2 gets copies in it.
#[test]
fn copies_reach_members_that_speak_http2() {
    let place = Place::new();
    let member = Member::http("behind", place.socket());
    let mut second = Setup::new(Mode::Http, place.socket(), [("behind", member.socket())]);
    second.listener["http2_prior_knowledge"] = json!(true);
    let weir = Weir::start(&place, &second);
    let copy = json!([{"action": "PASS", "rules": [starts_with("/")], "mirror": {"pool": {"name": "a"}}}]);
    let play = Play::tuned(&copy, |lb| {
        lb["pools"][1]["http2_prior_knowledge"] = json!(true);
        lb["pools"][1]["members"][0]["address"] = json!(second.vip.ip());
        lb["pools"][1]["members"][0]["protocol_port"] = json!(second.vip.port());
    });
    let mut client = Client::connect(play.vip);
    for n in 0..10 {
        client.send(format!("PUT /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"));
        assert_eq!(client.answer().status(), 200);
    }
    member.wait_requests(10);
    let lines = weir.wait_log(10);
    assert!(lines.iter().all(|line| line.contains("HTTP/2.0")), "{lines:?}");
    assert!(member.seen().iter().all(|copy| copy.body.data == b"hello"));
    assert_eq!(play.weir.control.listener().l7policies[0].mirrors_lost, 0);
}
