//! A member's bytes, cut anywhere, lead to the same answer for a client; it is the one that RFC 9112 says was given, less what is for
//! one hop; and one that broke off is not taken for whole by anybody who counts.

use crate::drive::{Answered, answer};
use crate::forwarded;
use crate::reference::{self, Fault, How, Message};

/// Whoever asked: a client of today, one that wants no body, and an old one.
pub(crate) const ASKED: [(&str, bool); 3] = [
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ("GET / HTTP/1.0\r\n\r\n", false),
];

pub(super) fn run(bytes: &[u8]) {
    for (turn, (asked, to_head)) in ASKED.into_iter().enumerate() {
        let whole = answer(asked, bytes, &[]);
        let got = client_got(&whole, to_head);
        if whole.whole.is_ok() {
            let old = asked.contains("HTTP/1.0");
            assert_eq!(got.as_ref(), Some(&given(bytes, to_head, old)), "what the client gets is what was given");
        }
        // Each input is cut in one way for each of them.
        for (way, cuts) in forwarded::cuts(bytes).into_iter().skip(turn).take(1) {
            let cut = answer(asked, bytes, &cuts);
            assert_eq!(cut.whole.is_ok(), whole.whole.is_ok(), "cut {way}");
            assert_eq!(client_got(&cut, to_head), got, "cut {way}");
        }
    }
}

/// The final answer a client gets, if it gets a whole one.
fn client_got(answered: &Answered, to_head: bool) -> Option<Message> {
    let mut rest = &answered.to_client[..];
    while !rest.is_empty() {
        match reference::answer(rest, to_head) {
            Ok(message) if message.start[1][0] == b'1' => rest = &rest[message.len..],
            // Then the connection is reset, which is how a client knows.
            Ok(message) if message.how == How::Close && answered.whole.is_err() => return None,
            Ok(message) => {
                assert_eq!(message.len, rest.len(), "one answer and no more");
                assert!(answered.whole.is_ok(), "what broke off looks whole");
                return Some(without_reason(forwarded::normal(message)));
            }
            Err(Fault::Cut) if answered.whole == Err(true) => return None,
            Err(fault) => panic!("what is passed on is no answer: {fault:?}"),
        }
    }
    assert!(answered.whole.is_err(), "an answer of nothing");
    None
}

/// The final answer of a member, as it is to be passed on.
fn given(bytes: &[u8], to_head: bool, old: bool) -> Message {
    let mut rest = bytes;
    loop {
        rest = reference::without_blank_lines(rest);
        let message = reference::answer(rest, to_head);
        let message = message.unwrap_or_else(|fault| panic!("what is taken is no answer: {fault:?}"));
        if message.start[1][0] == b'1' {
            rest = &rest[message.len..];
            continue;
        }
        let mut message = without_reason(forwarded::answer(message));
        message.start[0] = b"HTTP/1.1".to_vec();
        if old && message.how == How::Chunks {
            // To whoever knows no chunks the body goes until the end, and nothing behind it.
            message.how = How::Close;
            message.trailers.clear();
        }
        return message;
    }
}

/// A reason says nothing to a program, and one with characters nobody agrees on is left out.
fn without_reason(mut message: Message) -> Message {
    message.start[2].clear();
    message
}
