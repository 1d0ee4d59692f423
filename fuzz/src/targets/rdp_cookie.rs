//! Whatever a client begins with, it is decided within the longest message that is waited for, and what was decided of a
//! beginning stays so when more comes.

use lb_core::balance::rdp_cookie::{MESSAGE_MAX, Sought, find};

pub(super) fn run(said: &[u8]) {
    let whole = find(said, b"mstshash");
    if let Sought::Found(value) = whole {
        assert!(!value.is_empty() && value.len() < MESSAGE_MAX && !value.contains(&b'\r'));
    }
    assert!(whole != Sought::Incomplete || said.len() < MESSAGE_MAX);
    let beginning = find(&said[..said.len() / 2], b"mstshash");
    assert!(beginning == Sought::Incomplete || beginning == whole);
}
