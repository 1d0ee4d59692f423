//! Clients that say nothing, too little, or nothing more; and data planes that end.

use rustix::process::Signal;
use weir_tests::frames::{ACK, END_HEADERS, Outcome, Speaker, code, frame, kind, request_fields};
use weir_tests::setup::Setup;
use weir_tests::stage::Stage;
use weir_tests::wait::PATIENCE;

use super::{knowing, stage};

fn impatient(setup: &mut Setup) {
    knowing(setup);
    setup.timeouts.request = 300;
    setup.timeouts.keep_alive = 300;
    setup.timeouts.client = 400;
}

#[test]
fn whoever_says_nothing_is_let_go() {
    let stage = Stage::http(1, impatient);
    let served = |speaker: &mut Speaker| {
        speaker.ask(1, "GET", "/x");
        assert_eq!(speaker.outcome(1).status(), Some(200));
    };
    // A preface and nothing else; a head without an end; nothing after an answer.
    type Opening<'a> = (&'a str, &'a dyn Fn(&mut Speaker));
    let openings: [Opening<'_>; 3] = [
        ("preface", &|_| {}),
        ("head", &|speaker| speaker.send(frame(kind::HEADERS, 0, 1, &request_fields("GET", "/", &[])))),
        ("idle", &served),
    ];
    for (what, open) in openings {
        let mut speaker = Speaker::connect(stage.vip());
        // Nothing of ours is to stand among its fields.
        speaker.until(|f| f.kind == kind::SETTINGS && f.flags == ACK).unwrap();
        open(&mut speaker);
        let goaway = speaker.until(|f| f.kind == kind::GOAWAY);
        assert_eq!(goaway.map(|f| f.number(4)), Ok(code::NO_ERROR), "{what}");
        assert!(speaker.until(|_| false).is_err(), "{what}: it stays");
    }
}

/// Fields have their time to end, whatever else is under way.
#[test]
fn a_head_without_an_end_is_not_waited_for() {
    let stage = Stage::http(1, impatient);
    let mut speaker = Speaker::connect(stage.vip());
    speaker.until(|f| f.kind == kind::SETTINGS && f.flags == ACK).unwrap();
    // Longer under way than a head may take.
    speaker.ask(1, "GET", "/delay/60000");
    speaker.send(frame(kind::HEADERS, 1, 3, &request_fields("GET", "/", &[])));
    let goaway = speaker.until(|f| f.kind == kind::GOAWAY);
    assert_eq!(goaway.map(|f| f.number(4)), Ok(code::ENHANCE_YOUR_CALM));
    assert!(speaker.until(|_| false).is_err(), "it stays");
}

#[test]
fn a_body_that_stops_ends_its_stream_only() {
    let stage = Stage::http(1, impatient);
    let mut speaker = Speaker::connect(stage.vip());
    speaker.send(frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/body", &[("content-length", b"9")])));
    speaker.send(frame(kind::DATA, 0, 1, b"abc"));
    let outcome = speaker.outcome(1);
    assert!(outcome.status() == Some(408) || matches!(outcome, Outcome::Reset(_)), "{outcome:?}");
    speaker.ask(3, "GET", "/x");
    assert_eq!(speaker.outcome(3).status(), Some(200));
}

/// What was begun is finished, and the client is told in time not to begin more.
#[test]
fn an_end_is_announced() {
    for listener_goes in [false, true] {
        let mut stage = stage();
        let mut speaker = Speaker::connect(stage.vip());
        speaker.send(frame(kind::HEADERS, END_HEADERS, 1, &request_fields("POST", "/body", &[])));
        speaker.send(frame(kind::PING, 0, 0, &[7; 8]));
        speaker.until(|f| f.kind == kind::PING && f.payload == [7; 8]).unwrap();
        if listener_goes {
            let other = stage.place.socket();
            stage.apply(|setup| {
                setup.vip = other;
                setup.listener["name"] = serde_json::json!("another");
            });
        } else {
            stage.weir.process.signal(Signal::TERM);
        }
        let goaway = speaker.until(|f| f.kind == kind::GOAWAY).unwrap();
        assert_eq!(goaway.number(4), code::NO_ERROR);
        speaker.send(frame(kind::DATA, 1, 1, b"the rest"));
        assert_eq!(speaker.outcome(1), Outcome::Answered(200, b"the rest".to_vec()), "{listener_goes}");
        assert!(speaker.until(|_| false).is_err(), "it stays");
        if !listener_goes {
            assert!(stage.weir.process.wait(PATIENCE).success());
        }
    }
}
