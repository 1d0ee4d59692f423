//! Whatever is taken for a request is forwarded in a form that reads the same and is its own canonical form.
#![no_main]

use std::net::SocketAddr;

use lb_proxy::http::h1::{FIELDS_MAX, head_end};
use lb_proxy::http::h1::request::{Additions, Malformed, check_beginning, parse, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
    };
    let mut out = Vec::new();
    write(&request, head, &table, &add, None, &mut out);
    assert_eq!(head_end(&out, 0), Some(out.len()), "one head");
    let mut again = Vec::new();
    let second = match parse(&out, &mut again) {
        // At the limit of fields, the ones added here go over it.
        Err(Malformed::TooLarge) if table.len() + 4 > FIELDS_MAX => return,
        other => other.expect("what is forwarded is a request"),
    };
    assert_eq!(second.body, request.body);
    let mut twice = Vec::new();
    write(&second, &out, &again, &add, None, &mut twice);
    assert_eq!(out, twice, "forwarding it again changes nothing");
});
