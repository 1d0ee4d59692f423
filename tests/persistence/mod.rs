//! Promise: a client's next request goes where its last one went, whichever worker takes it, whatever document is put in
//! force and whichever process ends, until its member cannot have it any more; then it moves once.

mod agent;
mod app_cookie;
mod http_cookie;
mod many;
mod source_ip;

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_tests::client::{Client, Response};
use weir_tests::member::{Member, sized};
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;

/// A member that sets a cookie for each `X-Set` it is sent, says what it got, and is known by its `X-Member`.
fn app(name: &str, socket: SocketAddr) -> Member {
    let name_of = name.to_owned();
    Member::script(name, socket, move |conn| {
        loop {
            let (head, _) = conn.request()?;
            let sets = head.all("x-set");
            let sets: String = sets.iter().map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
            conn.send(sized(200, &format!("X-Member: {name_of}\r\n{sets}"), &head.raw, false))?;
        }
    })
}

/// `count` such members behind two workers, with this persistence.
fn stage(count: usize, persistence: Value) -> Stage {
    stage_of(Mode::Http, count, persistence)
}

#[allow(clippy::needless_pass_by_value, reason = "what is written at the call is a value")]
fn stage_of(mode: Mode, count: usize, persistence: Value) -> Stage {
    Stage::with(mode, count, app, |setup| {
        setup.workers = 2;
        setup.pool = json!({ "session_persistence": persistence });
    })
}

/// One GET with these fields, on a connection of its own.
fn ask(to: SocketAddr, fields: &str) -> Response {
    ask_on(&mut Client::connect(to), "/", fields)
}

fn ask_on(client: &mut Client, target: &str, fields: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n{fields}\r\n"));
    client.answer().clone()
}

/// Who answered.
fn by(response: &Response) -> String {
    response.header("x-member").unwrap_or_else(|| panic!("no member answered: {:?}", response.head)).to_owned()
}

/// The `Cookie` field that a client sends after this answer.
fn cookie_of(response: &Response) -> Option<String> {
    let set = response.head.all("set-cookie").into_iter().find(|set| set.starts_with("SRV="))?;
    Some(format!("Cookie: {}\r\n", set.split(';').next().unwrap_or_default()))
}

/// A client that has been given a cookie: what it sends, and whose it is.
struct Known {
    cookie: String,
    member: String,
}

impl Known {
    fn new(to: SocketAddr) -> Self {
        let first = ask(to, "");
        Self { cookie: cookie_of(&first).expect("a cookie"), member: by(&first) }
    }

    /// Asks again and takes the cookie it is given, if it is given one; true if it stayed.
    fn stays(&mut self, to: SocketAddr) -> bool {
        let answer = ask(to, &self.cookie);
        let before = std::mem::replace(&mut self.member, by(&answer));
        let stayed = before == self.member;
        match cookie_of(&answer) {
            Some(cookie) => self.cookie = cookie,
            None => assert!(stayed, "it moved and was not told"),
        }
        stayed
    }
}

/// Both workers took part.
fn both_worked(stage: &Stage) {
    let workers = stage.weir.control.stats().workers;
    assert!(workers.len() == 2 && workers.iter().all(|w| w.total_connections > 0), "{workers:?}");
}
