//! Members that speak HTTP/2: a connection carries many requests; what one of them does wrong is its own.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use weir_tests::client::{Client, get};
use weir_tests::frames::{
    ACK, END_HEADERS, END_STREAM, Frame, Outcome, PREFACE, Speaker, code, fields, frame, kind, request_fields,
};
use weir_tests::member::{Conn, Member};
use weir_tests::message::{End, pattern};
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::knowing;

/// Members are spoken to in HTTP/2, and clients may begin in it.
fn both(setup: &mut Setup) {
    knowing(setup);
    setup.pool["http2_prior_knowledge"] = json!(true);
}

/// A frame on its way to a scripted member. SETTINGS and PING are acknowledged.
fn next(conn: &mut Conn) -> Result<Frame, End> {
    loop {
        let head = conn.take(9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let read = Frame { kind: head[3], flags: head[4], stream, payload: conn.take(len)? };
        match read.kind {
            kind::SETTINGS if read.flags & ACK == 0 => conn.send(frame(kind::SETTINGS, ACK, 0, &[]))?,
            kind::SETTINGS | kind::WINDOW_UPDATE => {}
            _ => return Ok(read),
        }
    }
}

/// Begins as a server, with these settings.
fn begin(conn: &mut Conn, settings: &[u8]) -> Result<(), End> {
    assert_eq!(conn.take(PREFACE.len())?, PREFACE);
    conn.send(frame(kind::SETTINGS, 0, 0, settings))
}

/// An answer of status 200 with a body.
fn ok(stream: u32, body: &[u8]) -> Vec<u8> {
    [frame(kind::HEADERS, END_HEADERS, stream, &[0x88]), frame(kind::DATA, END_STREAM, stream, body)].concat()
}

/// The next stream that was opened.
fn opened(conn: &mut Conn) -> Result<Frame, End> {
    loop {
        let read = next(conn)?;
        if read.kind == kind::HEADERS {
            return Ok(read);
        }
    }
}

/// One member that does what `script` says on each connection.
fn stage(script: impl Fn(&mut Conn) -> Result<(), End> + Send + Sync + Clone + 'static) -> Stage {
    Stage::with(Mode::Http, 1, move |name, socket| Member::script(name, socket, script.clone()), both)
}

#[test]
fn nginx_is_spoken_to_in_http2() {
    let place = Place::new();
    let nginx = Nginx::start_http2(&place, "n1", place.socket());
    let mut setup = Setup::new(Mode::Http, place.socket(), [("n1", nginx.socket)]);
    both(&mut setup);
    let weir = Weir::start(&place, &setup);
    let mut client = Client::connect(setup.vip);
    for target in ["/", "/a?b=c", "/<odd>"] {
        let answer = client.get(target);
        assert_eq!(answer.status(), 200, "{target}");
        assert!(answer.text().starts_with("n1 HTTP/2.0 GET /"), "{}", answer.text());
    }
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        client
            .answer_to("HEAD")
            .is_some_and(|answer| answer.status() == 200 && answer.header("content-length").is_some())
    );
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        assert!(client.answer().text().starts_with("n1 HTTP/2.0 POST"));
    }
    assert_eq!(weir.control.member("n1").connects, 1, "one connection for all of it");
    assert!(weir.log().iter().all(|line| line.ends_with("HTTP/1.1\"")));
}

/// Requests of many clients share a connection; a big answer whose client takes nothing keeps nobody waiting.
#[test]
fn a_connection_is_shared() {
    let stage = stage(|conn| {
        begin(conn, &[])?;
        let mut streams = Vec::new();
        while streams.len() < 20 {
            streams.push(opened(conn)?.stream);
        }
        // In another order than asked.
        for stream in streams.into_iter().rev() {
            conn.send(ok(stream, format!("{stream}").as_bytes()))?;
        }
        loop {
            let stream = opened(conn)?.stream;
            conn.send(ok(stream, b"more"))?;
        }
    });
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut bodies: Vec<u32> = clients.iter_mut().map(|client| client.answer().text().parse().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..20).map(|n| 2 * n + 1).collect::<Vec<u32>>());
    assert_eq!(get(stage.vip(), "/").text(), "more");
    assert_eq!(stage.members[0].connections(), 1);
}

#[test]
fn no_more_streams_than_the_member_takes() {
    // Two at once: it answers when it has two.
    let stage = stage(|conn| {
        begin(conn, &[0, 3, 0, 0, 0, 2])?;
        loop {
            let (one, two) = (opened(conn)?.stream, opened(conn)?.stream);
            conn.send([ok(one, b"x"), ok(two, b"x")].concat())?;
        }
    });
    // The first connection has told its limit once these are answered.
    let pair = |vip| {
        let mut clients = [Client::connect(vip), Client::connect(vip)];
        clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(clients.iter_mut().all(|client| client.answer().status() == 200));
    };
    pair(stage.vip());
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(stage.vip())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients.iter_mut().all(|client| client.answer().status() == 200));
    assert!(stage.members[0].connections() >= 2, "{}", stage.members[0].connections());
}

/// What a member says it has not looked at is asked again, whatever it is; what it may have looked at is not.
#[test]
fn refused_is_not_failed() {
    let refusals: [fn(u32) -> Vec<u8>; 2] = [
        |stream| frame(kind::RST_STREAM, 0, stream, &code::REFUSED_STREAM.to_be_bytes()),
        |_| frame(kind::GOAWAY, 0, 0, &[0; 8]),
    ];
    for refuse in refusals {
        let refused = std::sync::Arc::new(Mutex::new(0));
        let stage = stage(move |conn| {
            begin(conn, &[])?;
            loop {
                let stream = opened(conn)?.stream;
                let mut times = refused.lock().unwrap();
                *times += 1;
                if *times == 1 {
                    conn.send(refuse(stream))?;
                } else {
                    conn.send(ok(stream, b"now"))?;
                }
            }
        });
        let mut client = Client::connect(stage.vip());
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text()), (200, "now".to_owned()));
    }
    let stage = stage(|conn| {
        begin(conn, &[])?;
        let stream = opened(conn)?.stream;
        conn.send(frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes()))
    });
    let mut client = Client::connect(stage.vip());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status(), 502);
    assert_eq!(stage.members[0].connections(), 1);
}

#[test]
fn a_connection_that_breaks_fails_its_streams_and_a_new_one_serves() {
    let stage = stage(|conn| {
        begin(conn, &[])?;
        if conn.number == 0 {
            let stream = opened(conn)?.stream;
            conn.send(ok(stream, b"first"))?;
            opened(conn)?;
            conn.reset();
            return Ok(());
        }
        loop {
            let stream = opened(conn)?.stream;
            conn.send(ok(stream, b"again"))?;
        }
    });
    assert_eq!(get(stage.vip(), "/").text(), "first");
    // It could be sent again, and was.
    assert_eq!(get(stage.vip(), "/").text(), "again");
    assert_eq!(stage.members[0].connections(), 2);
}

/// Cut answers are seen to be cut by clients of either version.
#[test]
fn an_answer_that_breaks_off_is_not_whole() {
    let stage = stage(|conn| {
        begin(conn, &[])?;
        loop {
            let stream = opened(conn)?.stream;
            conn.send(frame(kind::HEADERS, END_HEADERS, stream, &[0x88]))?;
            conn.send(frame(kind::DATA, 0, stream, b"half"))?;
            conn.send(frame(kind::RST_STREAM, 0, stream, &code::CANCEL.to_be_bytes()))?;
        }
    });
    let mut old = Client::connect(stage.vip());
    old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(old.maybe_answer().is_none_or(|answer| !answer.complete()));
    let mut new = Speaker::connect(stage.vip());
    new.ask(1, "GET", "/");
    assert!(new.outcome(1).is_refused());
}

/// A client that gives up has its request given up at the member, by itself.
#[test]
fn giving_up_is_passed_on() {
    let given_up = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&given_up);
    let stage = stage(move |conn| {
        begin(conn, &[])?;
        loop {
            let read = next(conn)?;
            if read.kind == kind::RST_STREAM {
                seen.lock().unwrap().push((read.stream, read.number(0)));
            }
        }
    });
    let mut client = Speaker::connect(stage.vip());
    client.ask(1, "GET", "/");
    client.ask(3, "GET", "/");
    until_true(PATIENCE, "both to be asked", || stage.weir.control.member("m1").active_connections == 2);
    client.send(frame(kind::RST_STREAM, 0, 1, &code::CANCEL.to_be_bytes()));
    until_true(PATIENCE, "one to be given up", || given_up.lock().unwrap().len() == 1);
    assert_eq!(given_up.lock().unwrap()[0].1, code::CANCEL);
    assert_eq!(stage.weir.control.member("m1").active_connections, 1);
}

/// A member that owes an answer and is silent is asked whether it is there, and given up if it is not.
#[test]
fn silence_is_not_waited_for() {
    let stage = stage(|conn| {
        begin(conn, &[])?;
        // It reads, and says nothing more: not even to a PING.
        conn.take_to_end();
        Ok(())
    });
    let mut client = Client::connect(stage.vip());
    client.wire().patience = Duration::from_secs(40);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 502);
}

#[test]
fn connections_that_nobody_needs_are_closed() {
    let stage = stage(|conn| {
        begin(conn, &[])?;
        loop {
            let stream = opened(conn)?.stream;
            conn.send(ok(stream, b"x"))?;
        }
    });
    assert_eq!(get(stage.vip(), "/").text(), "x");
    until_true(Duration::from_secs(20), "its end", || stage.members[0].visits()[0].end.is_some());
    assert_eq!(get(stage.vip(), "/").text(), "x");
    assert_eq!(stage.members[0].connections(), 2);
}

/// Both ways and both versions: bodies much larger than any window, trailers, and answers without a body.
#[test]
fn bodies_of_all_kinds_through_two_of_us() {
    // Behind the second Weir, which speaks HTTP/2 to the first, is a member that behaves.
    let inner = Stage::http(1, knowing);
    let place = Place::new();
    let mut setup = Setup::new(Mode::Http, place.socket(), [("inner", inner.vip())]);
    both(&mut setup);
    let outer = Weir::start(&place, &setup);
    let mut client = Client::connect(setup.vip);
    for n in [0, 1, 1000, 70_000, 3_000_000] {
        for path in [format!("/bytes/{n}"), format!("/chunked/{n}/5000"), format!("/close-delimited/{n}")] {
            let answer = client.get(&path);
            assert!(answer.complete(), "{path}");
            assert_eq!(answer.body.data, pattern(n), "{path}");
        }
        let body = pattern(n);
        client.send(
            [format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n").as_bytes(), &body].concat(),
        );
        assert_eq!(client.answer().body.data, body, "{n}");
    }
    let trailers = client.get("/trailers").body.trailers.clone();
    let trailers: Vec<(String, String)> = trailers.into_iter().map(|(n, v)| (n.to_ascii_lowercase(), v)).collect();
    assert_eq!(trailers, [("x-sum".to_owned(), "42".to_owned()), ("x-other".to_owned(), "y".to_owned())]);
    for status in [204, 304] {
        assert_eq!(client.get(&format!("/status/{status}")).status(), status);
    }
    let mut new = Speaker::connect(setup.vip);
    new.ask(1, "GET", "/bytes/3000000");
    assert_eq!(new.outcome(1), Outcome::Answered(200, pattern(3_000_000)));
    // Between two requests so much time may pass that a POST gets a connection of its own.
    let connects = outer.control.member("inner").connects;
    assert!((1..6).contains(&connects), "{connects} connections for 26 requests");
    assert!(inner.weir.log().iter().all(|line| line.ends_with("HTTP/2.0\"")));
}

/// What is agreed on by ALPN is spoken, to clients and to members alike.
#[test]
fn tls_agrees_on_the_version() {
    let place = Place::new();
    let (pem, key) = (place.path("both.pem"), place.path("key.pem"));
    let (certificate, key) = (place.path("cert.pem").display().to_string(), key.display().to_string());
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=example.org"])
        .args(["-addext", "subjectAltName=DNS:example.org", "-keyout", &key, "-out", &certificate]));
    let text = [std::fs::read(&certificate).unwrap(), std::fs::read(&key).unwrap()].concat();
    std::fs::write(&pem, text).unwrap();
    let one = Nginx::start_tls_http2(&place, "one", place.socket(), &certificate, &key);
    let two = Nginx::start_tls_http2(&place, "two", place.socket(), &certificate, &key);
    for (alpn, spoken) in
        [(json!(["h2", "http/1.1"]), "HTTP/2.0"), (json!(["http/1.1"]), "HTTP/1.1"), (json!([]), "HTTP/1.1")]
    {
        let members = [("one", one.socket), ("two", two.socket)];
        let mut setup = Setup::new(Mode::Http, place.socket(), members);
        setup.listener["protocol"] = json!("TERMINATED_HTTPS");
        setup.listener["default_tls_container_ref"] = json!(format!("file:{}", pem.display()));
        setup.pool["tls_enabled"] = json!(true);
        setup.pool["alpn_protocols"] = alpn;
        let weir = Weir::start(&place, &setup);
        for (version, logged) in [("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")] {
            let url = format!("https://{}/", setup.vip);
            for _ in 0..4 {
                let said = run(Command::new("curl").args(["-sSk", "--max-time", "20", version, &url]));
                assert!(said.contains(&format!(" {spoken} GET /")), "{version}: {said}");
            }
            until_true(PATIENCE, "its line", || {
                weir.log().last().is_some_and(|line| line.ends_with(&format!("{logged}\"")))
            });
        }
        if spoken == "HTTP/2.0" {
            assert_eq!(weir.control.member("one").connects, 1);
        }
    }
}

/// Downloads that are given up in their middle cost those who share the connection nothing.
#[test]
fn giving_up_much_leaves_the_shared_connection_alone() {
    let inner = Stage::http(1, knowing);
    let place = Place::new();
    let mut setup = Setup::new(Mode::Http, place.socket(), [("inner", inner.vip())]);
    both(&mut setup);
    let outer = Weir::start(&place, &setup);
    let mut client = Speaker::connect(setup.vip);
    client.gives_room = false;
    // Room for all of it on the connection, 64 KiB on each stream.
    client.send(frame(kind::WINDOW_UPDATE, 0, 0, &[0x10, 0, 0, 0]));
    for n in 0..150 {
        client.ask(2 * n + 1, "GET", "/bytes/200000");
        client.until(|f| f.kind == kind::DATA && f.stream == 2 * n + 1).unwrap();
        client.send(frame(kind::RST_STREAM, 0, 2 * n + 1, &code::CANCEL.to_be_bytes()));
    }
    client.ask(301, "GET", "/x");
    assert_eq!(client.outcome(301).status(), Some(200));
    assert_eq!(outer.control.member("inner").connects, 1);
}

/// A member need not read a request to answer it; the client hears the answer, and what it still sends is thrown away.
#[test]
fn answers_may_come_before_the_request_is_through() {
    let place = Place::new();
    let member = Member::script("m1", place.socket(), |conn| {
        conn.head()?;
        conn.send("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nless")?;
        conn.half_close();
        Ok(())
    });
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
    knowing(&mut setup);
    let _weir = Weir::start(&place, &setup);
    let mut client = Speaker::connect(setup.vip);
    for n in 0..20 {
        let stream = 4 * n + 1;
        client.send(frame(kind::HEADERS, END_HEADERS, stream, &request_fields("POST", "/x", &[])));
        for _ in 0..3 {
            client.send(frame(kind::DATA, 0, stream, &[7; 10_000]));
        }
        let answered = Outcome::Answered(413, b"less".to_vec());
        assert_eq!(client.outcome(stream), answered, "{n}");
        client.send(frame(kind::DATA, 0, stream, &[7; 10_000]));
        client.send(frame(kind::DATA, END_STREAM, stream, &[]));
        client.ask(stream + 2, "GET", "/x");
        assert_eq!(client.outcome(stream + 2), answered, "{n}");
        assert!(client.heard.iter().all(|told| told.kind != kind::RST_STREAM), "{n}: {:?}", client.heard);
    }
}

/// The same of a member that speaks HTTP/2: what it does not want to hear any more is the client's to send, and ours to drop.
#[test]
fn early_answers_end_the_stream_at_the_member_alone() {
    let (told, hears) = std::sync::mpsc::channel();
    let told = std::sync::Arc::new(Mutex::new(told));
    let stage = stage(move |conn| {
        begin(conn, &[])?;
        loop {
            let read = next(conn)?;
            match read.kind {
                kind::HEADERS => {
                    let head = fields(&[(":status", b"413")]);
                    conn.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, read.stream, &head))?;
                }
                kind::RST_STREAM => told.lock().unwrap().send(read.stream).unwrap(),
                _ => {}
            }
        }
    });
    let mut client = Speaker::connect(stage.vip());
    for n in 0..10 {
        let stream = 2 * n + 1;
        client.send(frame(kind::HEADERS, END_HEADERS, stream, &request_fields("POST", "/x", &[])));
        assert_eq!(client.outcome(stream).status(), Some(413), "{n}");
        // The member is told, long before the client is.
        assert_eq!(hears.recv_timeout(PATIENCE), Ok(stream));
        client.send(frame(kind::DATA, 0, stream, &[7; 10_000]));
        client.send(frame(kind::DATA, END_STREAM, stream, &[]));
        client.send(frame(kind::PING, 0, 0, &[b'0' + n as u8; 8]));
        client.until(|f| f.kind == kind::PING && f.payload == [b'0' + n as u8; 8]).unwrap();
        assert!(client.heard.iter().all(|told| told.kind != kind::RST_STREAM), "{n}: {:?}", client.heard);
    }
    assert_eq!(stage.members[0].connections(), 1);
}

/// Interim answers in frames of their own are passed on, and bounded as those of HTTP/1.1 are.
#[test]
fn interim_answers_have_an_end() {
    let interim = |stream| frame(kind::HEADERS, END_HEADERS, stream, &fields(&[(":status", b"103")]));
    let stage = stage(move |conn| {
        begin(conn, &[])?;
        for count in [3, 40] {
            let stream = opened(conn)?.stream;
            for _ in 0..count {
                conn.send(interim(stream))?;
            }
            conn.send(ok(stream, b"done"))?;
        }
        conn.take(1).map(|_| ())
    });
    for (interims, last) in [(3, 200), (33, 502)] {
        let mut client = Client::connect(stage.vip());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status(), last);
        assert_eq!(client.responses.iter().filter(|answer| answer.status() == 103).count(), interims);
    }
}
