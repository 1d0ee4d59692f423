//! One message with fields that none may have is the fault of its stream: whatever else is under way on the same connection, of a client
//! or to a member, goes on.

use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::frames::{
    END_HEADERS, END_STREAM, Outcome, PREFACE, Speaker, code, fields, frame, kind, request_fields,
};
use weir_tests::member::{Conn, Member};
use weir_tests::message::End;
use weir_tests::setup::{Mode, Setup};
use weir_tests::stage::Stage;
use weir_tests::wait::{PATIENCE, until_true};

use super::{knowing, stage};

const RESET: Outcome = Outcome::Reset(code::PROTOCOL_ERROR);

/// Blocks that no request may have, each with what is to be seen of it.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let request = |more: &[(&str, &[u8])]| request_fields("GET", "/evil", more);
    let pseudo = |method: &[u8], path: &[u8]| {
        fields(&[(":method", method), (":scheme", b"http"), (":authority", b"a"), (":path", path)])
    };
    let remembered = |name: &[u8], value: &[u8]| {
        let literal = [&[0x40, name.len() as u8][..], name, &[value.len() as u8], value].concat();
        [request(&[]), literal].concat()
    };
    vec![
        ("upper case", request(&[("Bad", b"x")])),
        ("a space in a name", request(&[("a b", b"x")])),
        ("a colon in a name", request(&[("a:b", b"x")])),
        ("no name", request(&[("", b"x")])),
        ("CR", request(&[("a", b"a\rb")])),
        ("LF", request(&[("a", b"a\nb")])),
        ("NUL", request(&[("a", b"\0")])),
        ("another control", request(&[("a", b"\x1b")])),
        ("a pseudo-field nobody knows", request(&[(":foo", b"x")])),
        ("an empty method", pseudo(b"", b"/evil")),
        ("a space in the method", pseudo(b"G T", b"/evil")),
        ("a path that is no text", pseudo(b"GET", b"/\xff")),
        ("a status", request(&[(":status", b"200")])),
        ("connection", request(&[("connection", b"x")])),
        ("what is remembered", remembered(b"Bad", b"x")),
        ("what is remembered without a name", remembered(b"", b"x")),
    ]
}

/// A request that waits for its answer while others do what they should not, and then for whether it comes.
fn neighbours(of: &Stage, release: &dyn Fn()) {
    let mut speaker = Speaker::connect(of.vip());
    speaker.ask(1, "GET", "/slow");
    let mut stream = 1;
    for (what, block) in malformed() {
        for cut in [block.len(), block.len() / 2] {
            stream += 2;
            let (begin, end) = block.split_at(cut);
            if end.is_empty() {
                speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, begin));
            } else {
                speaker.send(frame(kind::HEADERS, END_STREAM, stream, begin));
                speaker.send(frame(kind::CONTINUATION, END_HEADERS, stream, end));
            }
            assert_eq!(speaker.outcome(stream), RESET, "{what}");
        }
    }
    // In trailers, too; and a window that is opened by nothing.
    for trailers in [&[("Bad", &b"x"[..])][..], &[(":path", b"/")], &[("a", b"\0")]] {
        stream += 2;
        speaker.send(frame(kind::HEADERS, END_HEADERS, stream, &request_fields("POST", "/evil", &[])));
        speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields(trailers)));
        assert_eq!(speaker.outcome(stream), RESET, "{trailers:?}");
    }
    stream += 2;
    speaker.send(frame(kind::HEADERS, END_HEADERS, stream, &request_fields("POST", "/evil", &[])));
    speaker.send(frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4]));
    assert_eq!(speaker.outcome(stream), RESET);
    // What was remembered is still what it was on both sides.
    stream += 2;
    let block = [request_fields("GET", "/good", &[]), b"\x40\x03x-a\x01b".to_vec()].concat();
    speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block));
    assert_eq!(speaker.outcome(stream).status(), Some(200));
    stream += 2;
    let again = [request_fields("GET", "/good", &[]), vec![0xbe]].concat();
    speaker.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &again));
    assert_eq!(speaker.outcome(stream).status(), Some(200));
    release();
    assert_eq!(speaker.outcome(1).status(), Some(200));
}

/// Something is waited for until it is let go.
#[derive(Clone, Default)]
struct Held(Arc<(Mutex<bool>, Condvar)>);

impl Held {
    fn wait(&self) {
        let (is_free, told) = &*self.0;
        drop(told.wait_while(is_free.lock().unwrap(), |is_free| !*is_free).unwrap());
    }

    fn release(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[test]
fn a_malformed_request_leaves_its_neighbours_alone() {
    let held = Held::default();
    let waits = held.clone();
    let script = move |conn: &mut Conn| loop {
        let head = conn.head()?;
        match head.word(1) {
            "/slow" => waits.wait(),
            "/good" => {}
            // The beginning of what breaks off.
            _ => {
                assert_eq!(head.word(0), "POST");
                conn.take_to_end();
                return Ok(());
            }
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    };
    let of = Stage::with(Mode::Http, 1, |name, socket| Member::script(name, socket, script.clone()), knowing);
    neighbours(&of, &|| held.release());
}

/// Members are spoken to in HTTP/2, and clients may begin in it.
fn both(setup: &mut Setup) {
    knowing(setup);
    setup.pool["http2_prior_knowledge"] = json!(true);
}

/// The stream of the next request that is heard, and whether it has no body.
fn asked(conn: &mut Conn) -> Result<(u32, bool), End> {
    loop {
        let head = conn.take(9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = conn.take(len)?;
        match head[3] {
            kind::SETTINGS if head[4] == 0 => conn.send(frame(kind::SETTINGS, 1, 0, &[]))?,
            kind::PING if head[4] == 0 => conn.send(frame(kind::PING, 1, 0, &payload))?,
            kind::HEADERS => {
                let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
                return Ok((stream, head[4] & END_STREAM > 0));
            }
            _ => {}
        }
    }
}

/// A member that answers the first request last, and each other with the next of `answers`.
fn member(answers: Vec<Vec<u8>>) -> Stage {
    let script = move |conn: &mut Conn| {
        assert_eq!(conn.take(PREFACE.len())?, PREFACE);
        // No table for what we are told.
        conn.send(frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]))?;
        let (slow, _) = asked(conn)?;
        for answer in &answers {
            let (stream, _) = asked(conn)?;
            conn.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, answer))?;
        }
        conn.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, slow, &[0x88]))?;
        conn.take_to_end();
        Ok(())
    };
    Stage::with(Mode::Http, 1, move |name, socket| Member::script(name, socket, script.clone()), both)
}

#[test]
fn a_malformed_answer_leaves_its_neighbours_alone() {
    let bad: Vec<Vec<u8>> = vec![
        [vec![0x88], fields(&[("Bad", b"x")])].concat(),
        [vec![0x88], fields(&[("a", b"\0")])].concat(),
        [vec![0x88], fields(&[("", b"x")])].concat(),
        [vec![0x88], fields(&[(":path", b"/")])].concat(),
        [vec![0x88], fields(&[(":foo", b"/")])].concat(),
        [vec![0x88], fields(&[("connection", b"close")])].concat(),
        [vec![0x88], b"\x40\x03Bad\x01x".to_vec()].concat(),
        vec![0x88, 0xbe],
        fields(&[("x", b"no status")]),
        fields(&[(":status", b"600")]),
        fields(&[(":status", b"101")]),
        fields(&[(":status", b"20")]),
        fields(&[(":status", b"103")]),
    ];
    let n = bad.len();
    let of = member([bad, vec![vec![0x88]]].concat());
    let mut slow = Client::connect(of.vip());
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    until_true(PATIENCE, "it to be asked", || of.weir.control.member("m1").active_connections == 1);
    for place in 0..n {
        let mut client = Client::connect(of.vip());
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status(), 502, "{place}");
    }
    let mut client = Client::connect(of.vip());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(slow.answer().status(), 200);
    assert_eq!(of.members[0].connections(), 1, "no request was repeated elsewhere");
    until_true(PATIENCE, "all lines of the log", || {
        of.weir.log().iter().filter(|line| line.contains(" PH-- ")).count() == n
    });
}

#[test]
fn a_member_of_http2_is_shared_by_those_who_keep_the_law() {
    let held = Held::default();
    let waits = held.clone();
    let script = move |conn: &mut Conn| {
        assert_eq!(conn.take(PREFACE.len())?, PREFACE);
        conn.send(frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]))?;
        let (slow, _) = asked(conn)?;
        let mut good = 0;
        while good < 2 {
            let (stream, is_whole) = asked(conn)?;
            // What breaks off is given up.
            if is_whole {
                good += 1;
                conn.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]))?;
            }
        }
        waits.wait();
        conn.send(frame(kind::HEADERS, END_HEADERS | END_STREAM, slow, &[0x88]))?;
        conn.take_to_end();
        Ok(())
    };
    let of = Stage::with(Mode::Http, 1, move |name, socket| Member::script(name, socket, script.clone()), both);
    neighbours(&of, &|| held.release());
    assert_eq!(of.members[0].connections(), 1);
}

#[test]
fn settings_come_first() {
    let of = stage();
    for first in [
        frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &request_fields("GET", "/", &[])),
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(kind::SETTINGS, 1, 0, &[]),
    ] {
        let mut speaker = Speaker::silent(of.vip());
        speaker.send([PREFACE, &first].concat());
        assert_eq!(speaker.outcome(1), Outcome::GoAway(code::PROTOCOL_ERROR));
    }
    assert_eq!(of.counts(), [0]);
}

/// A member that begins with something else, or would push, is not spoken to.
#[test]
fn a_member_begins_with_settings_and_does_not_push() {
    for begin in [frame(kind::PING, 0, 0, &[0; 8]), frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1])] {
        let told = Arc::new(Mutex::new(None));
        let hears = Arc::clone(&told);
        let script = move |conn: &mut Conn| {
            assert_eq!(conn.take(PREFACE.len())?, PREFACE);
            conn.send(&begin)?;
            loop {
                let head = conn.take(9)?;
                let payload = conn.take(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize)?;
                if head[3] == kind::GOAWAY {
                    *hears.lock().unwrap() = Some(payload[4..8].to_vec());
                }
            }
        };
        let of = Stage::with(Mode::Http, 1, move |name, socket| Member::script(name, socket, script.clone()), both);
        let mut client = Client::connect(of.vip());
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status(), 502);
        until_true(PATIENCE, "the member to be told", || told.lock().unwrap().is_some());
        assert_eq!(told.lock().unwrap().as_deref(), Some(&[0, 0, 0, 1][..]));
    }
}
