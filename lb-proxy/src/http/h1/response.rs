//! Response heads: read from a member, judged, and written for a client.

use std::mem::MaybeUninit;

use super::fields::{self, Ambiguous, Field, Kind, Span};
use super::request::Method;
use super::{FIELDS_MAX, Framing, lines_end_in_crlf};
use crate::http::date;
use crate::http::policy::Changed;

/// A response head that is safe to pass on.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead {
    /// Bytes of the head, with its empty line.
    pub len: usize,
    /// 100..=999
    pub status: u16,
    reason: Span,
    /// How its body ends.
    pub body: Framing,
    /// It announces chunks, whether a body follows (GET) or not (HEAD).
    pub announces_chunks: bool,
    /// The member would take another request on this connection.
    pub keep_alive: bool,
}

/// Why a member's answer is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// Not HTTP, or characters no field may have.
    Syntax,
    /// A line that ends in a bare LF.
    BareLineFeed,
    /// More fields or bytes than a head may have.
    TooLarge,
    /// The body's length can be read in two ways.
    Framing(Ambiguous),
    /// `101 Switching Protocols`, which nobody asked for, or to something else than was asked for.
    UnsolicitedSwitch,
    /// The same, without the answer to the key that only who speaks WebSocket has.
    UnprovenSwitch,
    /// Another answer that says that all is well, where the client can only take one for a switch.
    NotSwitched,
    /// More interim answers than a request may get.
    TooManyInterim,
}

impl BadAnswer {
    /// In words, for the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "the member's answer is not HTTP",
            Self::BareLineFeed => "a line of the member's answer ends in a bare LF",
            Self::TooLarge => "the head of the member's answer is too large",
            Self::Framing(_) => "the length of the member's answer can be read in two ways",
            Self::UnsolicitedSwitch => "the member switched protocols unasked",
            Self::UnprovenSwitch => "the member switched protocols with a wrong Sec-WebSocket-Accept",
            Self::NotSwitched => "the member did not switch protocols",
            Self::TooManyInterim => "the member sent interim answers without end",
        }
    }
}

/// Judges what has come of a head that is not whole yet.
pub fn check_beginning(bytes: &[u8]) -> Result<(), BadAnswer> {
    let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut table)
        .map(|_| ())
        .map_err(from_httparse)
}

fn from_httparse(error: httparse::Error) -> BadAnswer {
    if error == httparse::Error::TooManyHeaders { BadAnswer::TooLarge } else { BadAnswer::Syntax }
}

/// Reads a whole head. `method` is that of the request it answers. `table` is cleared and filled.
pub fn parse(head: &[u8], method: Method, table: &mut Vec<Field>) -> Result<ResponseHead, BadAnswer> {
    table.clear();
    if !lines_end_in_crlf(head) {
        return Err(BadAnswer::BareLineFeed);
    }
    let mut raw = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let parsing = httparse::ParserConfig::default();
    let complete = parsing.parse_response_with_uninit_headers(&mut parsed, head, &mut raw).map_err(from_httparse)?;
    let (Some(status), Some(minor_version)) = (parsed.code, parsed.version) else {
        return Err(BadAnswer::Syntax);
    };
    if complete != httparse::Status::Complete(head.len()) || status < 100 {
        return Err(BadAnswer::Syntax);
    }
    let reason = parsed.reason.unwrap_or_default();
    let reason = if reason.is_empty() { Span::default() } else { Span::of(reason.as_bytes(), head) };
    for field in parsed.headers.iter() {
        let kind = Kind::of(field.name.as_bytes());
        table.push(Field {
            name: Span::of(field.name.as_bytes(), head),
            value: Span::of(field.value.trim_ascii(), head),
            kind,
            forward: !matches!(kind, Kind::Connection | Kind::HopByHop | Kind::Upgrade | Kind::TransferEncoding),
        });
    }
    let said = fields::framing(head, table, minor_version).map_err(BadAnswer::Framing)?;
    fields::settle_lengths(head, table);
    let words = fields::apply_connection(head, table);
    let body = body_framing(status, method, said);
    let keep_alive = minor_version == 1 && !words.close && body != Framing::UntilClose;
    let announces_chunks = said == Some(Framing::Chunked) && status >= 200 && status != 204;
    Ok(ResponseHead { len: head.len(), status, reason, body, announces_chunks, keep_alive })
}

/// RFC 9112 section 6.3: what method and status say goes before what the fields say.
fn body_framing(status: u16, method: Method, said: Option<Framing>) -> Framing {
    if method == Method::Head || status < 200 || status == 204 || status == 304 {
        return Framing::None;
    }
    match said {
        Some(Framing::Length(0)) => Framing::None,
        Some(framing) => framing,
        None => Framing::UntilClose,
    }
}

/// A head together with the bytes it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// What was understood.
    pub response: &'a ResponseHead,
    /// The bytes its spans point into.
    pub head: &'a [u8],
    /// Its fields.
    pub table: &'a [Field],
}

impl lb_core::persistence::Answer for Parts<'_> {
    fn status(&self) -> u16 {
        self.response.status
    }

    fn fields<'a>(&'a self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
        let of_name = |field: &&Field| field.forward && field.name.in_(self.head).eq_ignore_ascii_case(name);
        self.table.iter().filter(of_name).map(|field| field.value.in_(self.head))
    }
}

/// What a head gets beyond the member's fields, or in place of some. HAProxy counts messages as members sent them: of
/// the lines only those count that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// Whole lines, each with its end: one for each field that is [`Kind::Replaced`], then what stands at the end.
    pub lines: &'a [u8],
    /// Bytes of the names and values that are gone.
    pub gone: usize,
    /// The value of `Strict-Transport-Security`, whatever the member said.
    pub strict_transport: Option<&'a str>,
    /// The value of `Date`, which the member did not say.
    pub date: Option<date::Written>,
    /// What policies add.
    pub changed: Option<&'a Changed<'a>>,
}

/// What the client is told about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionWord {
    /// Nothing: HTTP/1.1 and it stays open.
    Implied,
    /// `close`
    Close,
    /// `keep-alive`, for an HTTP/1.0 client that asked.
    KeepAlive,
    /// It goes on in that protocol; the span is of the member's head.
    Switches(Span),
}

const STRICT_TRANSPORT: &[u8] = b"Strict-Transport-Security";

/// Writes the head a client gets. `chunked`: the body will go out in chunks. Returns its size as HAProxy counts it for a
/// log line: 20, the words of the status line, names and values of the fields, 1.
pub fn write(
    response: &ResponseHead,
    head: &[u8],
    table: &[Field],
    added: Added<'_>,
    connection: ConnectionWord,
    chunked: bool,
    out: &mut Vec<u8>,
) -> u64 {
    let mut counted = 20 + "HTTP/1.1".len() + 3 + response.reason.in_(head).len() + 1;
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(response.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(response.reason.in_(head));
    out.extend_from_slice(b"\r\n");
    // A 1xx or 204 may not carry a length (RFC 9110 section 8.6).
    let no_length = response.status < 200 || response.status == 204;
    let Added { lines, gone, strict_transport, changed, date } = added;
    let mut lines = lines.split_inclusive(|b| *b == b'\n');
    for field in table {
        let replaced = strict_transport.is_some() && field.name.in_(head).eq_ignore_ascii_case(STRICT_TRANSPORT);
        if field.kind == Kind::Replaced {
            out.extend_from_slice(lines.next().unwrap_or_default());
        } else if field.forward && !replaced && !(no_length && field.kind == Kind::ContentLength) {
            let (name, value) = (field.name.in_(head), field.value.in_(head));
            fields::write_field(out, name, value);
            counted += name.len() + value.len();
        }
    }
    lines.for_each(|line| out.extend_from_slice(line));
    counted += gone;
    if let Some(changed) = changed {
        counted += changed.add_to_response(out);
    }
    if let Some(value) = strict_transport {
        fields::write_field(out, STRICT_TRANSPORT, value.as_bytes());
        counted += STRICT_TRANSPORT.len() + value.len();
    }
    if let Some(date) = date {
        fields::write_field(out, b"Date", &date);
    }
    if chunked {
        counted += "transfer-encoding".len() + "chunked".len();
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match connection {
        ConnectionWord::Implied => {}
        ConnectionWord::Close => out.extend_from_slice(b"Connection: close\r\n"),
        ConnectionWord::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        ConnectionWord::Switches(to) => {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            fields::write_field(out, b"Upgrade", to.in_(head));
            counted += "connectionupgradeupgrade".len() + to.len();
        }
    }
    out.extend_from_slice(b"\r\n");
    counted as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str, method: Method) -> Result<ResponseHead, BadAnswer> {
        parse(head.as_bytes(), method, &mut Vec::new())
    }

    #[test]
    fn the_end_of_a_body_is_known_by_status_method_and_fields() {
        let ok = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let get = Method::Idempotent;
        let body = |head: &str, method| judged(head, method).map(|h| (h.body, h.keep_alive));
        assert_eq!(body(&ok("Content-Length: 5\r\n"), get), Ok((Framing::Length(5), true)));
        assert_eq!(body(&ok("Content-Length: 5\r\n"), Method::Head), Ok((Framing::None, true)));
        assert_eq!(body(&ok("Transfer-Encoding: chunked\r\n"), get), Ok((Framing::Chunked, true)));
        assert_eq!(body(&ok(""), get), Ok((Framing::UntilClose, false)));
        assert_eq!(body(&ok("Connection: close\r\nContent-Length: 0\r\n"), get), Ok((Framing::None, false)));
        assert_eq!(body("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", get), Ok((Framing::Length(5), false)));
        for status in [204, 304] {
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(body(&head, get), Ok((Framing::None, true)));
        }
    }

    #[test]
    fn refuses_what_a_client_could_read_differently() {
        let get = Method::Idempotent;
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            assert!(judged(head, get).is_err(), "{head:?}");
        }
    }
}
