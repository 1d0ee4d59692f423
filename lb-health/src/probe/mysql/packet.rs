//! The few packets of MySQL's client/server protocol that a probe reads and writes. Pure and bounded.
//!
//! Layouts are those of "Protocol::HandshakeV10", "Protocol::HandshakeResponse41", "ERR_Packet" and
//! "Protocol::AuthSwitchRequest" in MySQL's manual; MariaDB's are the same.

use crate::words::{quoted, words};

/// Largest packet that is read: greetings have about a hundred bytes, refusals at most 512 of words.
pub const PACKET_MAX: usize = 4096;

/// `COM_QUIT`.
pub(super) const QUIT: &[u8] = b"\x01\0\0\0\x01";

const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 0x0200;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x0008_0000;

/// utf8mb4_general_ci.
const CHARSET: u8 = 45;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number in the conversation.
    pub number: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// That it is one, and ready.
    Hello,
    /// Why it is not: code and words.
    Refusal(u16, Box<str>),
}

/// What a server says to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginReply {
    /// Yes.
    Welcome,
    /// No: code and words.
    Refusal(u16, Box<str>),
    /// To prove oneself in another way: with this, if there is no password.
    Switch(&'static [u8]),
    /// More is to come.
    GoOn,
}

/// The first packet of `said` and its length with its head; `None`: it is not complete.
pub fn first(said: &[u8]) -> Result<Option<(Packet, usize)>, Box<str>> {
    let &[a, b, c, number, ref rest @ ..] = said else { return Ok(None) };
    let len = u32::from_le_bytes([a, b, c, 0]) as usize;
    if len > PACKET_MAX {
        return Err(words(&format!("not MySQL: {}", quoted(said))));
    }
    Ok(rest.get(..len).map(|payload| (Packet { number, payload: payload.to_vec() }, 4 + len)))
}

/// `payload` as a packet.
pub(super) fn framed(payload: &[u8], number: u8) -> Vec<u8> {
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    [&[a, b, c, number], payload].concat()
}

/// Reads a server's first packet.
pub fn greeting(payload: &[u8]) -> Result<Greeting, Box<str>> {
    match payload {
        [0xff, rest @ ..] => refusal(rest).map(|(code, words)| Greeting::Refusal(code, words)),
        [10, rest @ ..] => {
            let version = rest.iter().position(|b| *b == 0);
            // Thread id, 8 bytes of challenge, a zero, the lower capabilities.
            match version {
                Some(end) if rest.len() >= end + 1 + 4 + 8 + 1 + 2 => Ok(Greeting::Hello),
                _ => Err("a MySQL greeting that is cut".into()),
            }
        }
        [version, ..] => Err(words(&format!("a greeting of MySQL's protocol {version}, which is not 10"))),
        [] => Err("an empty MySQL packet".into()),
    }
}

/// Reads a server's reply to a login.
pub fn login_reply(payload: &[u8]) -> Result<LoginReply, Box<str>> {
    match payload {
        [0, ..] => Ok(LoginReply::Welcome),
        [0xff, rest @ ..] => refusal(rest).map(|(code, words)| LoginReply::Refusal(code, words)),
        [0xfe] => Err("the server wants the password of before MySQL 4.1".into()),
        [0xfe, rest @ ..] => {
            let method = rest.split(|b| *b == 0).next().unwrap_or_default();
            // These methods take a single zero for "no password"; the others an empty packet.
            let sha = matches!(method, b"caching_sha2_password" | b"sha256_password");
            Ok(LoginReply::Switch(if sha { b"\0" } else { b"" }))
        }
        // caching_sha2_password: 3 is "fine, OK follows"; 4 asks for the password itself.
        [1, 3, ..] => Ok(LoginReply::GoOn),
        [1, ..] => Err("the user has a password".into()),
        [other, ..] => Err(words(&format!("a reply of kind {other} to a login"))),
        [] => Err("an empty reply to a login".into()),
    }
}

/// Code and words of an ERR packet. Before the login has told our capabilities the words may lack an SQL state.
fn refusal(rest: &[u8]) -> Result<(u16, Box<str>), Box<str>> {
    let &[low, high, ref text @ ..] = rest else { return Err("a MySQL error that is cut".into()) };
    let text = match text {
        [b'#', _, _, _, _, _, text @ ..] => text,
        text => text,
    };
    Ok((u16::from_le_bytes([low, high]), words(&String::from_utf8_lossy(text))))
}

/// A login as `user` with an empty answer to the challenge.
pub(super) fn login(user: &str, number: u8) -> Vec<u8> {
    let capabilities = LONG_PASSWORD | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
    let mut payload = Vec::with_capacity(64 + user.len());
    payload.extend_from_slice(&capabilities.to_le_bytes());
    payload.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    payload.push(CHARSET);
    payload.extend_from_slice(&[0; 23]);
    payload.extend(user.bytes().filter(|b| *b != 0));
    payload.push(0);
    payload.push(0);
    payload.extend_from_slice(b"mysql_native_password\0");
    framed(&payload, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_by_their_length_and_bounded() {
        assert_eq!(first(b"\x02\0\0\x05ab!"), Ok(Some((Packet { number: 5, payload: b"ab".to_vec() }, 6))));
        assert_eq!(first(b"\x02\0\0\x05a"), Ok(None));
        assert_eq!(first(b"\x02\0"), Ok(None));
        assert_eq!(&*first(b"SSH-2.0-x\r\n").unwrap_err(), "not MySQL: \"SSH-2.0-x\\r\\n\"");
    }

    #[test]
    fn greetings() {
        let hello = b"\x0a5.5.5-10.11\0\x01\0\0\0abcdefgh\0\xff\xf7";
        assert_eq!(greeting(hello), Ok(Greeting::Hello));
        assert!(greeting(&hello[..hello.len() - 1]).is_err());
        assert!(greeting(b"\x0a5.5.5").is_err());
        assert!(greeting(b"\x09x\0").is_err());
        assert!(greeting(b"").is_err());
        assert_eq!(
            greeting(b"\xff\x10\x04Too many connections"),
            Ok(Greeting::Refusal(1040, "Too many connections".into()))
        );
        assert_eq!(greeting(b"\xff\x10\x04#08004Too many"), Ok(Greeting::Refusal(1040, "Too many".into())));
        assert!(greeting(b"\xff\x10").is_err());
    }

    #[test]
    fn replies() {
        assert_eq!(login_reply(b"\0\0\0\x02\0\0\0"), Ok(LoginReply::Welcome));
        assert_eq!(login_reply(b"\xfemysql_native_password\0abc\0"), Ok(LoginReply::Switch(b"")));
        assert_eq!(login_reply(b"\xfecaching_sha2_password\0abc\0"), Ok(LoginReply::Switch(b"\0")));
        assert_eq!(login_reply(b"\x01\x03"), Ok(LoginReply::GoOn));
        assert_eq!(
            login_reply(b"\xff\x15\x04#28000Access denied"),
            Ok(LoginReply::Refusal(1045, "Access denied".into()))
        );
        assert!(login_reply(b"\x01\x04").is_err() && login_reply(b"\xfe").is_err() && login_reply(b"").is_err());
    }

    #[test]
    fn a_login_is_a_packet() {
        let bytes = login("weir", 1);
        let (packet, len) = first(&bytes).unwrap().unwrap();
        assert_eq!((packet.number, len), (1, bytes.len()));
        assert!(packet.payload[32..].starts_with(b"weir\0\0mysql_native_password\0"));
    }
}
