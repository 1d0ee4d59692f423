//! What is taken from a member and passed on is read by hyper as the same answer: by a hyper in the client's place that gets what is
//! passed on, and as far as it goes along, by one in our own place. What is cut short looks so to both.

use super::request_judged::length;
use super::response_stream::ASKED;
use crate::drive::answer;
use crate::judge::{self, Heard};
use crate::reference::{self, How, Message, Sizes};

pub(super) fn run(bytes: &[u8]) {
    for (asked, to_head) in ASKED {
        let answered = answer(asked, bytes, &[]);
        let method = if to_head { "HEAD" } else { "GET" };
        let theirs = judge::answer(method, &answered.to_client);
        if answered.whole.is_ok() {
            let ours = last(&answered.to_client, to_head, Sizes::Plain);
            let theirs = theirs.expect("a client sees an answer");
            same(&ours, &theirs);
            if let Some(hypers) = judge::answer(method, bytes) {
                same(&last(bytes, to_head, Sizes::Padded), &hypers);
            }
        } else if let Some(theirs) = theirs {
            let closes = theirs.values("content-length").is_empty() && theirs.values("transfer-encoding").is_empty();
            assert!(!theirs.is_whole || closes, "what broke off looks whole: {theirs:?}");
        }
    }
}

/// The final answer, as the reference reads it.
fn last(bytes: &[u8], to_head: bool, sizes: Sizes) -> Message {
    let mut rest = bytes;
    loop {
        rest = reference::without_blank_lines(rest);
        let message = reference::answer(rest, to_head, sizes);
        let message = message.unwrap_or_else(|fault| panic!("what is taken is no answer: {fault:?}"));
        if message.start[1][0] != b'1' {
            return message;
        }
        rest = &rest[message.len..];
    }
}

fn same(ours: &Message, hypers: &Heard) {
    assert_eq!(ours.start[1], hypers.status.to_string().as_bytes(), "the status");
    assert!(hypers.is_whole, "a body that has no end");
    assert_eq!(ours.body, hypers.body);
    for name in ["set-cookie", "location", "content-type"] {
        assert_eq!(ours.values(name).collect::<Vec<_>>(), hypers.values(name), "{name}");
    }
    if ours.how == How::Length {
        assert_eq!(length(ours.values("content-length")), length(hypers.values("content-length")), "the length");
    }
}
