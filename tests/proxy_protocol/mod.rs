//! Promise: a PROXY header is believed from those who are trusted and from nobody else, and members learn whom a
//! connection is for.
//!
//! | file | what it proves |
//! |---|---|
//! | [`inbound`] | headers of clients, byte by byte: what is taken, what is refused, and what it changes |
//! | [`outbound`] | headers to members: when they go out, and that no connection is lent to another client |
//! | [`others`] | HAProxy, nginx and curl at either end |
//! | [`differential`] | the same bytes for HAProxy and Weir |

mod differential;
mod inbound;
mod others;
mod outbound;

use weir_tests::setup::Setup;

/// Every client of this machine is trusted to say who it is.
fn trusting(setup: &mut Setup, required: bool) {
    setup.listener = serde_json::json!({
        "proxy_protocol": {"trusted": ["127.0.0.0/8"], "required": required},
        "insert_headers": {"X-Forwarded-For": "true", "X-Forwarded-Port": "true"},
    });
    if setup.mode == weir_tests::setup::Mode::Tcp
        && let Some(listener) = setup.listener.as_object_mut()
    {
        listener.remove("insert_headers");
    }
}

/// A header of version 2 with this family and what follows its fixed part.
fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version_and_command, family][..], &len, rest].concat()
}

/// 192.0.2.1:12345 to 198.51.100.2:8080.
const V4_ENDS: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0x1f, 0x90];
/// The same in version 1.
const V1: &str = "PROXY TCP4 192.0.2.1 198.51.100.2 12345 8080\r\n";
const GET: &str = "GET /echo HTTP/1.1\r\nHost: weir.test\r\n\r\n";
