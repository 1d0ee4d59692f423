//! Whatever a client of TLS begins with, it is decided within the bound, what was decided of a beginning stays so when more comes, how
//! records cut it does not matter, and what rustls takes for a ClientHello asks for the same server here.

use std::io::Cursor;

use lb_core::client_hello::{HELLO_MAX, Hello, NAME_MAX, Nameless, read};
use rustls::server::Acceptor;

const RECORD_HEAD_LEN: usize = 5;

pub(super) fn run(said: &[u8]) {
    let whole = read(said);
    assert!(whole != Hello::Incomplete || said.len() < HELLO_MAX);
    if let Hello::Named(name) = whole {
        let name = name.as_str();
        assert!((1..=NAME_MAX).contains(&name.len()) && !name.ends_with('.'));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'), "{name}");
    }
    // Every beginning of a short one, and some of a long one.
    for end in (0..said.len()).step_by(said.len() / 64 + 1) {
        let beginning = read(&said[..end]);
        assert!(beginning == Hello::Incomplete || beginning == whole, "{end} of {}: {beginning:?}", said.len());
    }
    if matches!(whole, Hello::Named(_) | Hello::Nameless(Nameless::Silent | Nameless::NoHost)) {
        let again = read(&cut_anew(said));
        assert!(again == whole || again == Hello::Nameless(Nameless::TooLong), "in other records: {again:?}");
    }
    if let Some(theirs) = named_by_rustls(said) {
        let ours = match &whole {
            Hello::Named(name) => Some(name.as_str()),
            Hello::Nameless(Nameless::Silent | Nameless::NoHost) => None,
            Hello::Nameless(_) | Hello::Incomplete => panic!("rustls takes what is {whole:?}"),
        };
        // Underscores are no part of a host's name; rustls lets them pass.
        let theirs = theirs.as_deref().map(|name| name.trim_end_matches('.')).filter(|name| !name.contains('_'));
        assert_eq!(ours, theirs);
    }
}

/// The same bytes in records of 7 bytes, as far as there are whole records.
fn cut_anew(said: &[u8]) -> Vec<u8> {
    let (mut rest, mut message) = (said, Vec::new());
    while let Some((head, behind)) = rest.split_at_checked(RECORD_HEAD_LEN) {
        let len = usize::from(u16::from_be_bytes([head[3], head[4]])).min(behind.len());
        if head[0] != 22 {
            break;
        }
        message.extend_from_slice(&behind[..len]);
        rest = &behind[len..];
    }
    message.chunks(7).flat_map(|piece| [&[22, 3, 1, 0, piece.len() as u8][..], piece].concat()).collect()
}

/// The name that rustls finds; `None`: it takes no ClientHello of this, or not yet.
fn named_by_rustls(said: &[u8]) -> Option<Option<String>> {
    let (mut acceptor, mut source) = (Acceptor::default(), Cursor::new(said));
    loop {
        match acceptor.read_tls(&mut source) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Some(accepted.client_hello().server_name().map(str::to_ascii_lowercase)),
            Ok(None) => {}
            Err(_) => return None,
        }
    }
}
