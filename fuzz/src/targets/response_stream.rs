//! A member's bytes, cut anywhere, lead to the same answer for a client; it is the one that RFC 9112 says was given, less what is for
//! one hop; and one that broke off is not taken for whole by anybody who counts. Whoever asked for another protocol gets that one, and
//! all that is said in it, or an answer in HTTP.

use crate::drive::{Answered, answer};
use crate::forwarded;
use crate::reference::{self, Fault, How, Message, Sizes, is};

/// Whoever asked: a client of today, one that wants no body, and an old one.
pub(crate) const ASKED: [(&str, bool); 3] = [
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ("GET / HTTP/1.0\r\n\r\n", false),
];

/// Whoever wants to go on in another protocol, and in which.
const SWITCHING: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, h2c, x/1\r\n\r\n";
const SWITCHING_TO: [&str; 2] = ["websocket", "x/1"];

pub(super) fn run(bytes: &[u8]) {
    held(bytes);
    switched(bytes);
}

/// Of requests that ask for HTTP alone.
fn held(bytes: &[u8]) {
    for (turn, (asked, to_head)) in ASKED.into_iter().enumerate() {
        let whole = answer(asked, bytes, &[]);
        let given = whole.whole.is_ok().then(|| given(bytes, to_head, asked.contains("HTTP/1.0")));
        let got = client_got(&whole, to_head, given.as_ref());
        assert_eq!(got, given, "what the client gets is what was given");
        // Each input is cut in one way for each of them.
        for (way, cuts) in forwarded::cuts(bytes).into_iter().skip(turn).take(1) {
            let cut = answer(asked, bytes, &cuts);
            assert_eq!(cut.whole.is_ok(), whole.whole.is_ok(), "cut {way}");
            assert_eq!(client_got(&cut, to_head, given.as_ref()), given, "cut {way}");
        }
    }
}

/// Of one that asks for something else.
fn switched(bytes: &[u8]) {
    let whole = answer(SWITCHING, bytes, &[]);
    let Some((message, said)) = whole.whole.is_ok().then(|| switch(bytes)).flatten() else {
        let got = switch(&whole.to_client);
        return assert!(got.is_none(), "nobody agreed to go on in another protocol: {got:?}");
    };
    let names: Vec<_> = message.values("upgrade").map(<[u8]>::to_vec).collect();
    let [name] = &names[..] else { panic!("another protocol, but not which: {names:?}") };
    assert!(SWITCHING_TO.iter().any(|asked| is(name, asked)), "a protocol that nobody asked for");
    let mut given = forwarded::answer(message);
    given.start = [b"HTTP/1.1".to_vec(), given.start[1].clone(), Vec::new()];
    given.fields.push((b"upgrade".to_vec(), name.clone()));
    given.fields.sort_by(|one, other| one.0.cmp(&other.0));
    for cuts in forwarded::cuts(bytes).iter().map(|way| &way.1[..]).chain([&[][..]]) {
        let answered = answer(SWITCHING, bytes, cuts);
        let (message, heard) = switch(&answered.to_client).expect("the client is told of it");
        assert_eq!(message.words("connection"), [b"upgrade"]);
        let got = without_our_date(without_reason(forwarded::normal(message)), Some(&given));
        assert_eq!((got, heard), (given.clone(), said), "what is said after it is what was said");
    }
}

/// The answer that changes to another protocol, and what follows it; `None`: another answer is final.
fn switch(bytes: &[u8]) -> Option<(Message, &[u8])> {
    let mut rest = bytes;
    loop {
        rest = reference::without_blank_lines(rest);
        let message =
            reference::answer(rest, false, Sizes::Plain).ok().filter(|message| message.start[1][0] == b'1')?;
        rest = &rest[message.len..];
        if message.start[1] == b"101" {
            return Some((message, rest));
        }
    }
}

/// The final answer a client gets, if it gets a whole one. `given`: what it should be.
fn client_got(answered: &Answered, to_head: bool, given: Option<&Message>) -> Option<Message> {
    let mut rest = &answered.to_client[..];
    while !rest.is_empty() {
        match reference::answer(rest, to_head, Sizes::Plain) {
            Ok(message) if message.start[1][0] == b'1' => rest = &rest[message.len..],
            // Then the connection is reset, which is how a client knows.
            Ok(message) if message.how == How::Close && answered.whole.is_err() => return None,
            Ok(message) => {
                assert_eq!(message.len, rest.len(), "one answer and no more");
                assert!(answered.whole.is_ok(), "what broke off looks whole");
                return Some(without_our_date(without_reason(forwarded::normal(message)), given));
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
        let message = reference::answer(rest, to_head, Sizes::Padded);
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

/// An answer that did not say when it was made is told when it came (RFC 9110 section 6.6.1).
fn without_our_date(mut message: Message, given: Option<&Message>) -> Message {
    if given.is_some_and(|given| given.values("date").next().is_none()) {
        let shape: Vec<_> = message.values("date").map(date_shape).collect();
        assert_eq!(shape, ["Aaa, 00 Aaa 0000 00:00:00 AAA"], "one date of ours");
        message.fields.retain(|field| field.0 != b"date");
    }
    message
}

/// Letters and digits for what they are.
fn date_shape(value: &[u8]) -> String {
    let kind = |byte: &u8| match byte {
        b'A'..=b'Z' => 'A',
        b'a'..=b'z' => 'a',
        b'0'..=b'9' => '0',
        other => char::from(*other),
    };
    value.iter().map(kind).collect()
}

/// A reason says nothing to a program, and one with characters nobody agrees on is left out.
fn without_reason(mut message: Message) -> Message {
    message.start[2].clear();
    message
}
