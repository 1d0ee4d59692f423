//! What is taken and forwarded is read by hyper as the same requests: by a hyper in the member's place that gets what is forwarded, and
//! as far as it goes along, by one in our own place.
//!
//! What hyper takes and we refuse is no fault: it is the more lenient of the two. It may also refuse what we take, in our place: only
//! when both take the same bytes they must take them for the same requests.

use crate::drive::requests;
use crate::judge::{self, Heard};
use crate::reference::{self, Message};

pub(super) fn run(bytes: &[u8]) {
    let forwarded = requests(bytes, &[]);
    let ours = read(bytes, forwarded.whole);
    let (hypers, _) = judge::requests(bytes);
    for (mine, theirs) in ours.iter().zip(&hypers) {
        same(mine, theirs);
    }
    let members = read(&forwarded.to_member, forwarded.whole);
    let (theirs, _) = judge::requests(&forwarded.to_member);
    for (place, mine) in members.iter().enumerate() {
        match theirs.get(place) {
            Some(theirs) => same(mine, theirs),
            None => return assert!(is_beyond_hyper(mine), "a member does not see request {place}"),
        }
    }
    for more in &theirs[members.len()..] {
        assert!(!more.is_whole, "a member sees a request that nobody took: {more:?}");
    }
}

fn read(bytes: &[u8], count: usize) -> Vec<Message> {
    let mut rest = bytes;
    let next = |_| {
        rest = reference::without_blank_lines(rest);
        let message = reference::request(rest).unwrap_or_else(|fault| panic!("what is taken is no request: {fault:?}"));
        rest = &rest[message.len..];
        message
    };
    (0..count).map(next).collect()
}

fn same(ours: &Message, hypers: &Heard) {
    assert_eq!(ours.start[0], hypers.method.as_bytes(), "the method");
    assert!(is_same_target(&ours.start[1], hypers), "{:?} and {:?}", ours.start[1], hypers.target);
    for name in ["host", "transfer-encoding", "cookie"] {
        assert_eq!(ours.values(name).collect::<Vec<_>>(), hypers.values(name), "{name}");
    }
    assert_eq!(length(ours.values("content-length")), length(hypers.values("content-length")), "the length");
    assert!(hypers.is_whole, "a body that has no end");
    assert_eq!(ours.body, hypers.body);
}

/// Equal lengths are one, and zeros before them mean nothing.
pub(super) fn length<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<u64> {
    let numbers = values.into_iter().map(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let numbers: Vec<Option<u64>> = numbers.collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "lengths that differ");
    numbers.first().map(|length| length.expect("a number"))
}

/// hyper writes a target anew: a scheme in lower case, and a path that is none as `/`.
fn is_same_target(target: &[u8], hypers: &Heard) -> bool {
    let target = String::from_utf8_lossy(target).into_owned();
    target == hypers.target || target.parse::<hyper::Uri>().is_ok_and(|uri| uri.to_string() == hypers.target)
}

/// Requests that hyper refuses though nobody could read them in two ways: targets that `http::Uri` does not know.
fn is_beyond_hyper(message: &Message) -> bool {
    !std::str::from_utf8(&message.start[1]).is_ok_and(|target| target.parse::<hyper::Uri>().is_ok())
}
