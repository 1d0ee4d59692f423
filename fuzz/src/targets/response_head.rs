//! Whatever is taken for an answer is passed on as one head that is read with the same status and framing.

use lb_proxy::http::h1::Framing;
use lb_proxy::http::h1::head_end;
use lb_proxy::http::h1::request::Method;
use lb_proxy::http::h1::response::{Added, ConnectionWord, check_beginning, parse, write};

pub(super) fn run(bytes: &[u8]) {
    if bytes.len() > lb_proxy::http::h1::HEAD_MAX {
        return;
    }
    let _ = check_beginning(bytes);
    let Some(len) = head_end(bytes, 0) else { return };
    let mut table = Vec::new();
    for method in [Method::Head, Method::Idempotent, Method::Other] {
        let Ok(answer) = parse(&bytes[..len], method, &mut table) else { return };
        let mut out = Vec::new();
        let chunked = answer.body == Framing::Chunked;
        write(&answer, &bytes[..len], &table, Added::default(), ConnectionWord::Implied, chunked, &mut out);
        assert_eq!(head_end(&out, 0), Some(out.len()), "one head");
        let second = parse(&out, method, &mut Vec::new()).expect("what is passed on is an answer");
        assert_eq!((second.status, second.body), (answer.status, answer.body));
    }
}
