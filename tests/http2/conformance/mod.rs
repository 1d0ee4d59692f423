//! RFC 9113 and RFC 7541 as a table of cases: what a client says, frame by frame, and what must become of it, with the
//! section that says so and the very error code.
//!
//! Each case has a connection of its own, and all of them are played before each kind of member and on both ways in: the
//! rules of frames are the library's, but what a stream is worth in between depends on who answers and when.
//!
//! | file | what it proves |
//! |---|---|
//! | [`accepted`] | what every server must take |
//! | [`frames`] | frames that are wrong by themselves |
//! | [`streams`] | frames that are wrong where they come, in the life of a stream |
//! | [`messages`] | requests that are malformed |
//! | [`compression`] | fields that cannot be unpacked |

mod accepted;
mod compression;
mod frames;
mod messages;
mod streams;

use std::net::SocketAddr;
use std::time::Duration;

use weir_tests::certificates::Authority;
use weir_tests::frames::{
    ACK, END_HEADERS, END_STREAM, Frame, Speaker, code, fields, frame, kind, request_fields, status,
};
use weir_tests::haproxy::Haproxy;
use weir_tests::member::Member;
use weir_tests::message::End;
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::PATIENCE;
use weir_tests::weir::Weir;

use serde_json::json;

/// How long nothing must happen where nothing may.
const SILENCE: Duration = Duration::from_millis(100);

/// What becomes of the connection, or of its first stream.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// GOAWAY with one of these codes, and then the end.
    EndAll(&'static [u32]),
    /// RST_STREAM of the stream with one of these codes, or GOAWAY with one of them and the end.
    End(&'static [u32]),
    /// RST_STREAM of the first stream with this code, and no other has to suffer.
    Reset(u32),
    /// The connection ends, with or without a word.
    Close,
    /// An answer of status 200 on that stream, whole.
    Answer(u32),
    /// An answer on that stream that begins, with whatever status.
    Begin(u32),
    /// PING comes back, with the eight bytes `conforms`.
    Pong,
    /// DATA of exactly one byte on the first stream.
    OneByte,
    /// SETTINGS, as the first frame.
    Settings,
    /// Nothing at all for a while, and then an answer to a PING.
    Nothing,
}

/// One step of a client.
enum Play {
    /// These bytes.
    Say(Vec<u8>),
    /// Its settings, and the wait until they are acknowledged.
    Agree(Vec<u8>),
    /// The wait for the end of its first stream.
    Ended,
    /// The wait for DATA on its first stream.
    Data,
}

struct Case {
    section: &'static str,
    what: &'static str,
    play: Vec<Play>,
    must: Must,
}

fn play(section: &'static str, what: &'static str, play: Vec<Play>, must: Must) -> Case {
    Case { section, what, play, must }
}

fn case(section: &'static str, what: &'static str, frames: &[Vec<u8>], must: Must) -> Case {
    play(section, what, vec![Play::Say(frames.concat())], must)
}

/// HEADERS of a whole request on `stream`.
fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block("GET"))
}

/// HEADERS of a request whose body follows.
fn post(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &block("POST"))
}

fn block(method: &str) -> Vec<u8> {
    request_fields(method, "/", &[])
}

/// A sound field, packed.
fn more(name: &str, len: usize) -> Vec<u8> {
    fields(&[(name, &vec![b'x'; len])])
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, bytes)
}

fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, b"conforms")
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn window(stream: u32, room: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &room.to_be_bytes())
}

/// That `stream` depends on `on`.
fn priority(stream: u32, on: u32) -> Vec<u8> {
    frame(kind::PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[255]].concat())
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// That the client's streams begin with so much room.
fn initial_window(room: u32) -> Vec<u8> {
    setting(4, room)
}

/// Where cases are played.
struct Ground<'a> {
    name: &'a str,
    to: SocketAddr,
}

impl Ground<'_> {
    /// Plays `cases` and tells all that went otherwise.
    fn all(&self, cases: &[Case]) {
        let wrong: Vec<String> = cases.iter().filter_map(|case| self.one(case).err()).collect();
        assert!(wrong.is_empty(), "{}: {} of {}:\n{}", self.name, wrong.len(), cases.len(), wrong.join("\n"));
    }

    fn one(&self, case: &Case) -> Result<(), String> {
        let mut speaker = Speaker::connect(self.to);
        // Room is given by cases that mean to.
        speaker.gives_room = false;
        for step in &case.play {
            match step {
                Play::Say(bytes) => speaker.send(bytes),
                Play::Agree(bytes) => {
                    // Its own settings are acknowledged first.
                    let _ = speaker.until(is_agreed);
                    speaker.send(bytes);
                    let _ = speaker.until(is_agreed);
                }
                Play::Ended => drop(speaker.until(|f| f.stream == 1 && f.ends())),
                Play::Data => drop(speaker.until(|f| f.stream == 1 && f.kind == kind::DATA)),
            }
        }
        judge(&mut speaker, case.must).map_err(|saw| {
            let Case { section, what, must, .. } = case;
            format!("{section} {what}: {must:?}, but {saw}; before: {:?}", brief(&speaker.heard))
        })
    }
}

fn is_agreed(frame: &Frame) -> bool {
    frame.kind == kind::SETTINGS && frame.flags & ACK > 0
}

fn brief(heard: &[Frame]) -> Vec<(u8, u8, u32, usize)> {
    heard.iter().map(|f| (f.kind, f.flags, f.stream, f.payload.len())).collect()
}

/// Reads until it is clear whether that happens; else says what happened.
fn judge(speaker: &mut Speaker, must: Must) -> Result<(), String> {
    let heard = |end: End| format!("{end:?}");
    match must {
        Must::EndAll(codes) => {
            let goaway = speaker.until(|f| f.kind == kind::GOAWAY).map_err(heard)?;
            ended(speaker, &goaway, codes)
        }
        Must::End(codes) => {
            let last = speaker.until(|f| matches!(f.kind, kind::GOAWAY | kind::RST_STREAM)).map_err(heard)?;
            match last.kind {
                kind::GOAWAY => ended(speaker, &last, codes),
                _ if codes.contains(&last.number(0)) => Ok(()),
                _ => Err(format!("RST_STREAM {}", last.number(0))),
            }
        }
        Must::Reset(code) => {
            let last = speaker.until(|f| matches!(f.kind, kind::GOAWAY | kind::RST_STREAM)).map_err(heard)?;
            if (last.kind, last.number(0)) != (kind::RST_STREAM, code) {
                return Err(format!("{last:?}"));
            }
            speaker.send(ping());
            judge(speaker, Must::Pong)
        }
        Must::Close => match speaker.until(|_| false) {
            Err(End::Idle) => Err("the connection stays".into()),
            _ => Ok(()),
        },
        Must::Answer(stream) => match speaker.outcome(stream) {
            outcome if outcome.status() == Some(200) => Ok(()),
            outcome => Err(format!("{outcome:?}")),
        },
        Must::Begin(stream) => {
            let is_it = |f: &Frame| f.stream == stream && matches!(f.kind, kind::HEADERS | kind::RST_STREAM);
            let first = speaker.until(is_it).map_err(heard)?;
            let is_answer = first.kind == kind::HEADERS && status(&first.payload).is_some();
            if is_answer { Ok(()) } else { Err(format!("{first:?}")) }
        }
        Must::Pong => {
            speaker.until(|f| f.kind == kind::PING && f.flags == ACK && f.payload == b"conforms").map_err(heard)?;
            Ok(())
        }
        Must::OneByte => {
            let next = speaker.until(|f| f.kind == kind::DATA).map_err(heard)?;
            if next.payload.len() == 1 { Ok(()) } else { Err(format!("{} bytes", next.payload.len())) }
        }
        Must::Settings => {
            let first = speaker.hear().map_err(heard)?;
            if first.kind == kind::SETTINGS && first.flags == 0 { Ok(()) } else { Err(format!("{first:?}")) }
        }
        Must::Nothing => {
            speaker.patience(SILENCE);
            let is_said = |f: &Frame| f.kind != kind::SETTINGS && f.kind != kind::WINDOW_UPDATE;
            match speaker.until(is_said) {
                Err(End::Idle) => {}
                other => return Err(format!("{other:?}")),
            }
            speaker.patience(PATIENCE);
            speaker.send(ping());
            judge(speaker, Must::Pong)
        }
    }
}

/// After `goaway` with one of `codes` nothing is served any more.
fn ended(speaker: &mut Speaker, goaway: &Frame, codes: &[u32]) -> Result<(), String> {
    let told = goaway.number(4);
    if !codes.contains(&told) {
        return Err(format!("GOAWAY {told}"));
    }
    match speaker.until(|_| false) {
        Err(End::Idle) => Err("the connection stays".into()),
        _ => Ok(()),
    }
}

/// Plays the cases on every ground.
fn everywhere(cases: &dyn Fn() -> Vec<Case>) {
    let place = Place::new();
    let member = Member::http("m1", place.socket()).only_counting();
    let one = Nginx::start(&place, "one", place.socket());
    let two = Nginx::start_http2(&place, "two", place.socket());
    for (name, to, both) in
        [("a member", member.socket(), false), ("nginx", one.socket, false), ("nginx in HTTP/2", two.socket, true)]
    {
        let place = Place::new();
        let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", to)]);
        setup.listener["http2_prior_knowledge"] = json!(true);
        setup.pool["http2_prior_knowledge"] = json!(both);
        let _weir = Weir::start(&place, &setup);
        Ground { name, to: setup.vip }.all(&cases());
    }
    // Over TLS, taken off by HAProxy on the client's side, so that frames can be read.
    let place = Place::new();
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", two.socket)]);
    let own = Authority::new("authority").sign(&["weir.test"]).write(&place, "own.pem");
    setup.listener["protocol"] = json!("TERMINATED_HTTPS");
    setup.listener["default_tls_container_ref"] = json!(format!("file:{}", own.display()));
    setup.pool["http2_prior_knowledge"] = json!(true);
    let _weir = Weir::start(&place, &setup);
    let clear = place.socket();
    let config = format!(
        "global\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen l\n  bind {clear}\n  server weir {} ssl verify none alpn h2\n",
        setup.vip
    );
    let _haproxy = Haproxy::start_with(&place, &config, clear);
    Ground { name: "TLS", to: clear }.all(&cases());
}

#[test]
fn what_must_be_taken_is_taken() {
    everywhere(&accepted::cases);
}

#[test]
fn frames_that_are_wrong_are_answered_with_their_code() {
    everywhere(&frames::cases);
}

#[test]
fn streams_are_held_to_their_states() {
    everywhere(&streams::cases);
}

#[test]
fn malformed_requests_end_their_streams() {
    everywhere(&messages::cases);
}

#[test]
fn fields_that_cannot_be_unpacked_end_the_connection() {
    everywhere(&compression::cases);
}
