//! WebSocket's handshake by hand (RFC 6455 section 4), and a member that sends back whatever comes through a tunnel.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::member::Conn;
use crate::message::{End, Head};

/// The standard's own example of a key, and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// See [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's request.
pub fn ask(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// What a server has to answer to a key.
pub fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// A server's answer to a request that asks for what `head` asks for.
pub fn switching(head: &Head) -> String {
    let proof = head.get("sec-websocket-key").map(|key| format!("Sec-WebSocket-Accept: {}\r\n", accept(key)));
    let upgrade = head.get("upgrade").unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n{}X-Member: m\r\n\r\n",
        proof.unwrap_or_default()
    )
}

/// Serves requests; one that asks for another protocol gets it, and then everything it sends comes back.
pub fn echo(conn: &mut Conn) -> Result<(), End> {
    loop {
        let (head, body) = conn.request()?;
        if head.get("upgrade").is_none() {
            crate::member::behave(conn, "m1", &head, &body)?;
            continue;
        }
        conn.send(switching(&head))?;
        return echo_bytes(conn);
    }
}

/// Sends back whatever comes, and ends when the other side has.
pub fn echo_bytes(conn: &mut Conn) -> Result<(), End> {
    loop {
        match conn.take_some() {
            Ok(bytes) => conn.send(bytes)?,
            Err(End::Closed) => {
                conn.ended(End::Closed);
                conn.close();
                return Ok(());
            }
            Err(end) => return Err(end),
        }
    }
}
