//! What a proxy may pass on of a message, said once more and apart from the proxy (RFC 9110 sections 7.6 and 6.5, RFC 9112 section 3.2).

use crate::reference::{self, Fields, How, Message, is};

/// Fields that are for one hop by their names.
const ONE_HOP: [&str; 6] =
    ["connection", "http2-settings", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// What is left of a request for the next hop.
pub(crate) fn request(mut message: Message) -> Message {
    let target = String::from_utf8(message.start[1].clone()).expect("a target of visible characters");
    let mut host = None;
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    if let Some(scheme) = scheme {
        let rest = &target[scheme.len()..];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        host = Some(authority.as_bytes().to_vec());
        let nothing = if message.start[0] == b"OPTIONS" { "*" } else { "/" };
        message.start[1] = if path.is_empty() { nothing } else { path }.into();
    }
    let trailers = message.words("te").contains(&b"trailers".to_vec());
    stop_one_hop(&mut message);
    message.fields.retain(|(name, _)| !(is(name, "te") || host.is_some() && is(name, "host")));
    if trailers {
        message.fields.push((b"TE".to_vec(), b"trailers".to_vec()));
    }
    let told = host.or_else(|| message.values("host").next().is_none().then(|| b"198.51.100.1:80".to_vec()));
    message.fields.extend(told.map(|host| (b"Host".to_vec(), host)));
    message.start[2] = b"HTTP/1.1".to_vec();
    normal(message)
}

/// What is left of an answer.
pub(crate) fn answer(mut message: Message) -> Message {
    stop_one_hop(&mut message);
    let status = &message.start[1];
    if status[0] == b'1' || status == b"204" {
        message.fields.retain(|(name, _)| !is(name, "content-length"));
    }
    normal(message)
}

fn stop_one_hop(message: &mut Message) {
    let named = message.words("connection");
    message.fields.retain(|(name, _)| {
        let kept = is(name, "content-length") || is(name, "host");
        kept || !named.contains(&name.to_ascii_lowercase()) && !ONE_HOP.iter().any(|stop| is(name, stop))
    });
    message.trailers.retain(|(name, _)| reference::may_trail(name));
}

/// Without what may differ between two ways of writing the same: where fields of different names stand, how often equal lengths and wishes for trailers do, and
/// how long it is.
pub(crate) fn normal(mut message: Message) -> Message {
    let mut fields: Fields =
        message.fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    fields.retain(|(name, _)| name != b"transfer-encoding" && name != b"connection");
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields.dedup_by(|one, other| one.0 == b"content-length" && one.0 == other.0);
    fields.dedup_by(|one, other| one.0 == b"te" && one == other);
    if message.how == How::Length && message.body.is_empty() {
        message.how = How::Nothing;
    }
    Message { fields, len: 0, ..message }
}

/// Ways to cut `bytes`: every byte by itself, in two halves, and in two places that depend on the bytes and so come to be anywhere.
pub(crate) fn cuts(bytes: &[u8]) -> [(&'static str, Vec<usize>); 3] {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let len = bytes.len().max(1) as u64;
    let mut somewhere = [(hash >> 32) % len, (hash & 0xffff_ffff) % len].map(|place| place as usize);
    somewhere.sort_unstable();
    // Of a long input, the bytes at its beginning and its end.
    let each = (1..bytes.len()).filter(|place| *place < 256 || bytes.len() - *place < 64).collect();
    [("byte by byte", each), ("in halves", vec![bytes.len() / 2]), ("somewhere", somewhere.to_vec())]
}
