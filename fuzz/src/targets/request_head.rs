//! Whatever is taken for a request is forwarded in a form that reads the same and is its own canonical form; and it asks to go on in
//! another protocol if that can be seen in it, and only then.

use std::net::SocketAddr;

use lb_proxy::http::h1::request::{Additions, Malformed, check_beginning, parse, write};
use lb_proxy::http::h1::upgrade;
use lb_proxy::http::h1::{FIELDS_MAX, head_end};

pub(super) fn run(bytes: &[u8]) {
    if bytes.len() > lb_proxy::http::h1::HEAD_MAX {
        return;
    }
    let _ = check_beginning(bytes);
    let Some(len) = head_end(bytes, 0) else { return };
    let head = &bytes[..len];
    let mut table = Vec::new();
    let Ok(request) = parse(head, &mut table) else { return };
    let add = Additions {
        insert: Default::default(),
        told: None,
        client: [192, 0, 2, 7].into(),
        scheme: "http",
        local: SocketAddr::from(([198, 51, 100, 1], 80)),
        cookies: None,
        trailers: false,
    };
    let mut out = Vec::new();
    write(&request, head, &table, &add, None, &mut out);
    assert_eq!(head_end(&out, 0), Some(out.len()), "one head");
    let lower = out.to_ascii_lowercase();
    let lines = |begin: &str| lower.windows(begin.len()).filter(|window| *window == begin.as_bytes()).count();
    let asked = upgrade::asked(&out);
    assert!(asked.is_none_or(|asked| !asked.is_empty()));
    for begin in ["\r\nupgrade:", "\r\nconnection:", "\r\nconnection: upgrade\r\n"] {
        assert_eq!(lines(begin), usize::from(asked.is_some()), "{begin:?}");
    }
    let mut again = Vec::new();
    let second = match parse(&out, &mut again) {
        // At the limit of fields, the ones added here go over it.
        Err(Malformed::TooLarge) if table.len() + 4 > FIELDS_MAX => return,
        Err(Malformed::LastHop) if lines("\r\nmax-forwards: 0\r\n") > 0 => return,
        other => other.expect("what is forwarded is a request"),
    };
    assert_eq!(second.body, request.body);
    let mut twice = Vec::new();
    write(&second, &out, &again, &add, None, &mut twice);
    // Hops are counted.
    if lines("\r\nmax-forwards:") == 0 {
        assert_eq!(out, twice, "forwarding it again changes nothing");
    }
}
