//! What a proxy may pass on of a message, said once more and apart from the proxy (RFC 9110 sections 7.6 and 6.5, RFC 9112 section 3.2).

use crate::reference::{self, Fields, How, Message, authority, is, is_token, number};

/// Fields that are for one hop by their names.
const ONE_HOP: [&str; 7] =
    ["close", "connection", "http2-settings", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
/// Protocols that nobody may change to through us: HTTP itself, and what may hide it.
const NEVER: [&[u8]; 4] = [b"h2", b"h2c", b"http", b"tls"];

/// What is left of a request for the next hop.
pub(crate) fn request(mut message: Message) -> Message {
    let mut host = None;
    let target = message.start[1].clone();
    if let Some((authority, path)) = authority(&target) {
        host = Some(authority.to_vec());
        let nothing = if message.start[0] == b"OPTIONS" { b"*" } else { b"/" };
        message.start[1] = if path.is_empty() { nothing.to_vec() } else { path.to_vec() };
    }
    let changes_to = changes_to(&message);
    count_hops(&mut message);
    stop_one_hop(&mut message);
    message.fields.retain(|(name, _)| !(is(name, "te") || host.is_some() && is(name, "host")));
    let told = host.or_else(|| message.values("host").next().is_none().then(|| b"198.51.100.1:80".to_vec()));
    message.fields.extend(told.map(|host| (b"Host".to_vec(), host)));
    if !changes_to.is_empty() {
        message.fields.push((b"Connection".to_vec(), b"upgrade".to_vec()));
        message.fields.push((b"Upgrade".to_vec(), changes_to.join(&b", "[..])));
    }
    message.start[2] = b"HTTP/1.1".to_vec();
    normal(message)
}

/// The protocols a request may ask to go on in (RFC 9110 section 7.8), as it names them: only where nothing else follows its head, and the
/// answer to it may have a body. A WebSocket begins with GET (RFC 6455 section 4.1).
fn changes_to(message: &Message) -> Vec<Vec<u8>> {
    let [method, _, version] = &message.start;
    let is_bare = message.how == How::Nothing || message.how == How::Length && message.body.is_empty();
    let is_asked = message.words("connection").contains(&b"upgrade".to_vec());
    if version != b"HTTP/1.1" || !is_bare || !is_asked || method == b"HEAD" {
        return Vec::new();
    }
    let names = message.values("upgrade").flat_map(|value| value.split(|byte| *byte == b','));
    let may_be = |protocol: &&[u8]| {
        let parts: Vec<&[u8]> = protocol.split(|byte| *byte == b'/').collect();
        let name = parts[0].to_ascii_lowercase();
        let is_protocol = parts.len() <= 2 && parts.iter().all(|part| is_token(part));
        is_protocol && !NEVER.contains(&&*name) && (method == b"GET" || name != b"websocket")
    };
    names.map(<[u8]>::trim_ascii).filter(may_be).map(<[u8]>::to_vec).collect()
}

/// One hop less for whoever looks at the way itself (RFC 9110 section 7.6.2).
fn count_hops(message: &mut Message) {
    if !matches!(&message.start[0][..], b"OPTIONS" | b"TRACE") {
        return;
    }
    for (_, value) in message.fields.iter_mut().filter(|(name, _)| is(name, "max-forwards")) {
        if let Some(hops) = number(value) {
            assert!(hops > 0, "it went further than it may");
            *value = (hops - 1).to_string().into();
        }
    }
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
    // However often and with however many zeros it came, a length is one.
    let length = message.values("content-length").next().and_then(number);
    message.fields.retain(|(name, _)| !is(name, "content-length"));
    message.fields.extend(length.map(|n| (b"Content-Length".to_vec(), n.to_string().into())));
}

/// Without what may differ between two ways of writing the same: where fields of different names stand, and how long it is; and without
/// what an answer says of its client's connection, which was asked for.
pub(crate) fn normal(mut message: Message) -> Message {
    let mut fields: Fields =
        message.fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let is_answer = message.start[0].starts_with(b"HTTP/");
    fields.retain(|(name, _)| name != b"transfer-encoding" && !(is_answer && name == b"connection"));
    fields.sort_by(|one, other| one.0.cmp(&other.0));
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
