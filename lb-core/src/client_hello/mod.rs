//! The first message of a TLS client, read for the server name in it and nothing else: where TLS is passed through, it is all that
//! tells which pool a connection is for.
//!
//! Bytes come as they come: cut over segments, and over records. A message is read in one pass in the order of its bytes and
//! judged by its end, so what is said of a beginning is either [`Hello::Incomplete`] or what is said of the whole. Nothing is
//! kept but the name. Sources: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3.

mod name;
mod reader;

#[cfg(test)]
mod tests;

pub use name::{NAME_MAX, ServerName};
use reader::{Reader, Stop};

/// Longest beginning of a connection that is looked at, in bytes, heads of records included. A client with keys of every kind, a
/// ticket and padding sends 2 KiB.
pub const HELLO_MAX: usize = 16 << 10;

/// What a beginning of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it stands on the stack for a moment, and is never kept")]
pub enum Hello {
    /// It may become a ClientHello.
    Incomplete,
    /// A whole one that asks for this server.
    Named(ServerName),
    /// There is no name in it, whatever follows.
    Nameless(Nameless),
}

/// Why there is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nameless {
    /// It does not begin as a ClientHello does.
    NotTls,
    /// It begins as one, and then breaks the rules of its own lengths.
    Broken,
    /// It does not end within [`HELLO_MAX`].
    TooLong,
    /// A whole one that names no host.
    Silent,
    /// A whole one, and what it names is no host: an address, or other than letters, digits and hyphens.
    NoHost,
}

impl Nameless {
    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotTls => "the client does not speak TLS",
            Self::Broken => "the ClientHello is malformed",
            Self::TooLong => "the ClientHello is too long",
            Self::Silent => "the ClientHello names no server",
            Self::NoHost => "what the ClientHello names is no host name",
        }
    }
}

/// What `bytes`, the first of a connection, are. Once there are [`HELLO_MAX`] of them it is never [`Hello::Incomplete`], and bytes
/// behind a ClientHello do not change it.
pub fn read(bytes: &[u8]) -> Hello {
    let within = &bytes[..bytes.len().min(HELLO_MAX)];
    match client_hello(Reader::new(within)) {
        Ok(Some(Some(name))) => Hello::Named(name),
        Ok(Some(None)) => Hello::Nameless(Nameless::NoHost),
        Ok(None) => Hello::Nameless(Nameless::Silent),
        Err(Stop::Over) if within.len() == HELLO_MAX => Hello::Nameless(Nameless::TooLong),
        Err(Stop::Over) => Hello::Incomplete,
        Err(Stop::Fault(why)) => Hello::Nameless(why),
    }
}

/// What a ClientHello names: nothing, something that is no host, or a host.
type Named = Option<Option<ServerName>>;

const CLIENT_HELLO: u8 = 1;
/// Version and random.
const FIXED_LEN: usize = 2 + 32;
const SESSION_ID_MAX: usize = 32;
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;

fn client_hello(mut reader: Reader<'_>) -> Result<Named, Stop> {
    if reader.byte()? != CLIENT_HELLO {
        return Err(Stop::Fault(Nameless::NotTls));
    }
    let len = reader.number(3)?;
    if len > HELLO_MAX {
        return Err(Stop::Fault(Nameless::TooLong));
    }
    reader.ends_in(len);
    reader.skip(FIXED_LEN)?;
    let session_id = reader.number(1)?;
    reader.holds(session_id <= SESSION_ID_MAX)?;
    reader.skip(session_id)?;
    let suites = reader.number(2)?;
    reader.holds(suites >= 2 && suites.is_multiple_of(2))?;
    reader.skip(suites)?;
    let compressions = reader.number(1)?;
    reader.holds(compressions > 0)?;
    reader.skip(compressions)?;
    // Clients of TLS 1.2 may have nothing to add.
    if reader.left() == 0 {
        return Ok(None);
    }
    let extensions = reader.number(2)?;
    reader.holds(extensions == reader.left())?;
    let mut named = None;
    while reader.left() > 0 {
        let (kind, len) = (reader.number(2)?, reader.number(2)?);
        reader.holds(len <= reader.left())?;
        if kind == SERVER_NAME {
            reader.holds(named.is_none())?;
            named = Some(server_names(&mut reader, len)?);
        } else {
            reader.skip(len)?;
        }
    }
    Ok(named.flatten())
}

/// The host in a `server_name` extension of `len` bytes. How names of other kinds are written nobody knows, so the list ends with
/// the first of them, as servers have it.
fn server_names(reader: &mut Reader<'_>, len: usize) -> Result<Named, Stop> {
    reader.holds(len > 2)?;
    let list = reader.number(2)?;
    reader.holds(list == len - 2)?;
    let end = reader.left() - list;
    let mut host = None;
    while reader.left() > end {
        if reader.byte()? != HOST_NAME {
            reader.skip(reader.left() - end)?;
            break;
        }
        // Two names of one kind are none.
        reader.holds(host.is_none() && reader.left() - end >= 2)?;
        let len = reader.number(2)?;
        reader.holds(len > 0 && len <= reader.left() - end)?;
        host = Some(reader.name(len)?);
    }
    Ok(host)
}
