//! A client's bytes, cut anywhere, lead to the same requests for a member; and each of those is the request that RFC 9112 says was
//! sent, less what is for one hop, byte for byte, read by a parser that shares nothing with the one under test.

use crate::drive::{End, Forwarded, requests};
use crate::forwarded;
use crate::reference::{self, Fault, Message};

pub(super) fn run(bytes: &[u8]) {
    let whole = requests(bytes, &[]);
    let got = member_got(&whole);
    assert_eq!(got, sent(bytes, whole.whole), "what the member gets is what was sent");
    for (way, cuts) in forwarded::cuts(bytes) {
        let cut = requests(bytes, &cuts);
        assert_eq!((cut.whole, cut.end), (whole.whole, whole.end), "cut {way}");
        assert_eq!(member_got(&cut), got, "cut {way}");
    }
}

/// The requests a member gets. Those that were taken whole, and of one that broke off nothing that looks whole.
fn member_got(forwarded: &Forwarded) -> Vec<Message> {
    let mut rest = &forwarded.to_member[..];
    let mut messages = Vec::new();
    while !rest.is_empty() {
        match reference::request(rest) {
            Ok(message) => {
                rest = &rest[message.len..];
                messages.push(forwarded::normal(message));
            }
            Err(Fault::Cut) if forwarded.end == End::BrokenBody => break,
            Err(fault) => panic!("what is forwarded is no request: {fault:?}"),
        }
    }
    assert_eq!(messages.len(), forwarded.whole, "as many requests as were taken, and none by half");
    messages
}

/// The first `count` requests of a client, as they are to be forwarded.
fn sent(bytes: &[u8], count: usize) -> Vec<Message> {
    let mut rest = bytes;
    let next = |_| {
        rest = reference::without_blank_lines(rest);
        let message = reference::request(rest).unwrap_or_else(|fault| panic!("what is taken is no request: {fault:?}"));
        rest = &rest[message.len..];
        forwarded::request(message)
    };
    (0..count).map(next).collect()
}
