//! `Upgrade`: which protocols a client may be given instead of HTTP, and whether a member gave it one of them.
//!
//! What is asked for goes to the member as the last line of its head, written from the names that were understood. Whether
//! a 101 was asked for is read there and nowhere else.

use aws_lc_rs::digest;

use super::fields::{self, Field, Kind, Span};

/// What RFC 6455 calls it.
pub const WEBSOCKET: &[u8] = b"websocket";
/// Bytes of a `Sec-WebSocket-Accept`.
pub const ACCEPT_LEN: usize = 28;
/// Bytes of a `Sec-WebSocket-Key`.
pub const KEY_LEN: usize = 24;

/// Answers to the keys of WebSockets, see RFC 6455 section 1.3.
pub type Accept = [u8; ACCEPT_LEN];

const LINE: &[u8] = b"Upgrade: ";

/// Names of protocols (RFC 9110 section 7.8) that are never passed on: HTTP itself, whose requests would reach the member
/// without being looked at, and TLS, which may hide them.
const NEVER: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

/// Lets those `Upgrade` fields through that name a protocol which may be asked for. Only called for a request of HTTP/1.1 that
/// has no body, and says `Connection: upgrade`.
pub fn admit(head: &[u8], table: &mut [Field], method: &str) {
    for field in table.iter_mut().filter(|field| field.kind == Kind::Upgrade) {
        field.forward = method != "HEAD" && protocols(field.value.in_(head)).any(|p| may_be_asked(p, method == "GET"));
    }
}

/// Writes what is asked for: the last lines of the head.
pub fn write(method: &[u8], head: &[u8], table: &[Field], out: &mut Vec<u8>) {
    let is_get = method == b"GET";
    let before = out.len();
    let asking = table.iter().filter(|field| field.kind == Kind::Upgrade && field.forward);
    for protocol in asking.flat_map(|field| protocols(field.value.in_(head))).filter(|p| may_be_asked(p, is_get)) {
        out.extend_from_slice(if out.len() == before { b"Connection: upgrade\r\nUpgrade: " } else { b", " });
        out.extend_from_slice(protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// What the head of a request, as it was written, asks for: names with commas between them.
pub fn asked(written: &[u8]) -> Option<&[u8]> {
    let lines = written.strip_suffix(b"\r\n\r\n")?;
    let last = memchr::memrchr(b'\n', lines)? + 1;
    lines[last..].strip_prefix(LINE)
}

/// True if what is asked for has WebSocket in it.
pub fn has_websocket(asked: &[u8]) -> bool {
    fields::list(asked).any(|protocol| protocol.eq_ignore_ascii_case(WEBSOCKET))
}

/// The protocol that the head of a 101 names, if it is exactly one, and one of those that were asked for. Whoever switches has to
/// say so in `Connection` too (RFC 9110 section 7.8): an `Upgrade` alone was left standing, or added, by somebody on the way.
pub fn agreed(asked: &[u8], head: &[u8], table: &[Field]) -> Option<Span> {
    let connection = table.iter().filter(|field| field.kind == Kind::Connection);
    if !connection
        .flat_map(|field| fields::list(field.value.in_(head)))
        .any(|word| word.eq_ignore_ascii_case(b"upgrade"))
    {
        return None;
    }
    let mut named = table.iter().filter(|field| field.kind == Kind::Upgrade).map(|field| field.value);
    let (only, None) = (named.next()?, named.next()) else { return None };
    fields::list(asked).any(|protocol| protocol.eq_ignore_ascii_case(only.in_(head))).then_some(only)
}

/// True if the head of a 101 has the answer to a key.
pub fn proves(accept: &Accept, head: &[u8], table: &[Field]) -> bool {
    let mut told = table.iter().filter(|f| f.name.in_(head).eq_ignore_ascii_case(b"sec-websocket-accept"));
    told.next().is_some_and(|field| field.value.in_(head) == accept) && told.next().is_none()
}

/// The answer to a key.
pub fn accept(key: &[u8]) -> Accept {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut accept = [0; ACCEPT_LEN];
    base64(hash.finish().as_ref(), &mut accept);
    accept
}

/// A key that nobody can guess.
pub fn key() -> Result<[u8; KEY_LEN], aws_lc_rs::error::Unspecified> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random)?;
    let mut key = [0; KEY_LEN];
    base64(&random, &mut key);
    Ok(key)
}

/// `bytes` in base 64, with padding, as far as there is room for it.
fn base64(bytes: &[u8], into: &mut [u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (three, four) in bytes.chunks(3).zip(into.chunks_mut(4)) {
        let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (n, digit) in four.iter_mut().enumerate() {
            *digit = if n > three.len() { b'=' } else { DIGITS[(bits >> (18 - 6 * n) & 63) as usize] };
        }
    }
}

/// The elements of a list that are names of protocols, with or without a version.
fn protocols(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields::list(value).filter(|element| {
        let mut parts = element.split(|b| *b == b'/');
        let is_whole = |part: Option<&[u8]>| part.is_none_or(|part| !part.is_empty() && part.iter().all(is_of_token));
        is_whole(parts.next()) && is_whole(parts.next()) && parts.next().is_none()
    })
}

fn may_be_asked(protocol: &[u8], is_get: bool) -> bool {
    let name = protocol.split(|b| *b == b'/').next().unwrap_or_default();
    let is_never = NEVER.iter().any(|never| name.eq_ignore_ascii_case(never));
    !is_never && (is_get || !name.eq_ignore_ascii_case(WEBSOCKET))
}

/// RFC 9110 section 5.6.2.
fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::request;
    use super::*;

    /// What a member is asked for by a head with these fields.
    fn asks(method: &str, fields: &str) -> Option<String> {
        asks_of(&format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    fn asks_of(head: &str) -> Option<String> {
        let (mut table, mut out) = (Vec::new(), Vec::new());
        let read = request::parse(head.as_bytes(), &mut table).unwrap();
        let add = request::Additions {
            insert: Default::default(),
            told: None,
            client: [192, 0, 2, 7].into(),
            scheme: "http",
            local: std::net::SocketAddr::from(([198, 51, 100, 1], 80)),
            cookies: None,
            trailers: false,
        };
        request::write(&read, head.as_bytes(), &table, &add, None, &mut out);
        let asked = asked(&out).map(|asked| String::from_utf8(asked.to_vec()).unwrap());
        let text = String::from_utf8(out).unwrap().to_ascii_lowercase();
        assert_eq!(text.matches("\r\nupgrade:").count(), usize::from(asked.is_some()), "{text}");
        assert_eq!(text.matches("\r\nconnection: upgrade\r\n").count(), usize::from(asked.is_some()), "{text}");
        assert!(!text.contains("http2-settings"), "{text}");
        asked
    }

    #[test]
    fn what_may_be_asked_for_is_asked_for() {
        let get = |upgrade: &str| asks("GET", &format!("Connection: x, Upgrade\r\nUpgrade: {upgrade}\r\n"));
        assert_eq!(get("websocket").as_deref(), Some("websocket"));
        assert_eq!(get("WebSocket").as_deref(), Some("WebSocket"));
        assert_eq!(get("SPDY/3.1, ,foo").as_deref(), Some("SPDY/3.1, foo"));
        assert_eq!(get("h2c, websocket").as_deref(), Some("websocket"));
        assert_eq!(get("foo\r\nUpgrade: H2C, websocket").as_deref(), Some("foo, websocket"));
        for never in [
            "h2c",
            "H2C",
            "h2c/1",
            "h2",
            "HTTP/2.0",
            "TLS/1.0",
            "h2c, HTTP/1.1",
            "",
            ",",
            "a b",
            "a/b/c",
            "/x",
            "x/",
            "\"x\"",
        ] {
            assert_eq!(get(never), None, "{never}");
        }
        assert_eq!(
            asks("POST", "Connection: upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n").as_deref(),
            Some("SPDY/3.1")
        );
        let versions = "Connection: upgrade\r\nUpgrade: websocket/13, x/1\r\n";
        assert_eq!(asks("GET", versions).as_deref(), Some("websocket/13, x/1"));
        assert_eq!(asks("POST", versions).as_deref(), Some("x/1"));
    }

    #[test]
    fn there_is_no_switch_where_two_could_differ_about_it() {
        let websocket = "Upgrade: websocket\r\n";
        for (method, fields) in [
            ("GET", ""),
            ("GET", "Connection: keep-alive\r\n"),
            ("GET", "Connection: websocket\r\n"),
            ("GET", "Connection: upgrade\r\nContent-Length: 3\r\n"),
            ("GET", "Connection: upgrade\r\nTransfer-Encoding: chunked\r\n"),
            ("POST", "Connection: upgrade\r\n"),
            ("HEAD", "Connection: upgrade\r\n"),
        ] {
            assert_eq!(asks(method, &format!("{fields}{websocket}")), None, "{method} {fields}");
        }
        assert_eq!(asks_of("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), None);
        assert_eq!(asks("GET", "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), None);
    }

    #[test]
    fn a_member_may_only_switch_to_one_thing_that_was_asked_for() {
        let told = |fields: &str| {
            let head = format!("HTTP/1.1 101 x\r\n{fields}\r\n");
            let mut table = Vec::new();
            super::super::response::parse(head.as_bytes(), request::Method::Idempotent, &mut table).unwrap();
            agreed(b"foo/2, websocket", head.as_bytes(), &table)
                .map(|span| String::from_utf8(span.in_(head.as_bytes()).to_vec()).unwrap())
        };
        assert_eq!(told("Upgrade: WebSocket\r\nConnection: upgrade\r\n").as_deref(), Some("WebSocket"));
        assert_eq!(told("Connection: x\r\nUpgrade: foo/2\r\nConnection: y, Upgrade\r\n").as_deref(), Some("foo/2"));
        for fields in [
            "",
            "Upgrade:\r\n",
            "Upgrade: h2c\r\n",
            "Upgrade: foo\r\n",
            "Upgrade: foo/2, websocket\r\n",
            "Upgrade: websocket\r\nUpgrade: websocket\r\n",
        ] {
            assert_eq!(told(&format!("Connection: upgrade\r\n{fields}")), None, "{fields}");
        }
        for connection in ["", "Connection: close\r\n", "Connection: upgrades\r\n", "X-Connection: upgrade\r\n"] {
            assert_eq!(told(&format!("{connection}Upgrade: foo/2\r\n")), None, "{connection}");
        }
    }

    #[test]
    fn keys_are_answered_as_the_standard_shows() {
        assert_eq!(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_ne!(key().unwrap(), key().unwrap());
        assert!(key().unwrap().ends_with(b"=="));
        let head = |fields: &str| {
            let head = format!("HTTP/1.1 101 x\r\n{fields}\r\n");
            let mut table = Vec::new();
            super::super::response::parse(head.as_bytes(), request::Method::Idempotent, &mut table).unwrap();
            proves(&accept(b"dGhlIHNhbXBsZSBub25jZQ=="), head.as_bytes(), &table)
        };
        let right = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert!(head(right));
        assert!(!head("") && !head(&right.replace("s3", "S3")) && !head(&right.repeat(2)));
    }

    proptest! {
        /// Whatever stands in the fields: a member is asked for nothing that the client did not name, and never for HTTP.
        #[test]
        fn nothing_but_what_was_named_is_asked_for(upgrade in "[ -~]{0,60}", connection in "[ -~]{0,30}") {
            let asked = asks("GET", &format!("Connection: {connection}, upgrade\r\nUpgrade: {upgrade}\r\n"));
            for protocol in asked.iter().flat_map(|asked| asked.split(", ")) {
                prop_assert!(upgrade.contains(protocol));
                prop_assert!(!["h2c", "h2", "http", "tls"].contains(&protocol.to_ascii_lowercase().split('/').next().unwrap()));
            }
        }
    }
}
