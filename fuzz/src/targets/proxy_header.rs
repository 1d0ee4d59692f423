//! Whatever a client sends first, a header is taken whole and within its bounds, and what follows it does not matter.

use lb_core::config::monitor::ProxyVersion;
use lb_core::proxy_protocol::{Parsed, V2_LEN_MAX, Written, parse};

pub(super) fn run(bytes: &[u8]) {
    let parsed = parse(bytes);
    assert!(parsed != Parsed::Incomplete || bytes.len() < V2_LEN_MAX, "nobody waits for ever");
    let Parsed::Header(header) = parsed else { return };
    assert!(header.len <= bytes.len().min(V2_LEN_MAX));
    let own = &bytes[..header.len];
    assert_eq!(parse(own), parsed, "what follows does not matter");
    assert_eq!(parse(&own[..header.len - 1]), Parsed::Incomplete, "all of it is needed");
    let Some(ends) = header.ends else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let written = Written::of(version, ends);
        match parse(&written) {
            Parsed::Header(again) => assert_eq!((again.ends, again.len), (Some(ends), written.len())),
            other => panic!("what we write is read as {other:?}"),
        }
    }
}
