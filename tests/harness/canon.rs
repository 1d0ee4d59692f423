//! What may arrive at a member, and at a client: one spelling of every message, judged byte by byte by somebody who
//! forgives nothing.
//!
//! Written from RFC 9112 and on its own, not with the product's parser. Whatever is not the one spelling is told as a
//! [`Fault`] with the rule it breaks.

use std::fmt;

/// A message that is not canonical: the rule, and the bytes it was seen in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault<T>(rule: &str, bytes: &[u8]) -> Result<T, Fault> {
    Err(Fault(format!("{rule}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)]))))
}

/// A whole message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its head with the empty line, as received.
    pub head: String,
    /// Its body, chunks taken apart.
    pub body: Vec<u8>,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The `n`th word of the first line.
    pub fn word(&self, n: usize) -> &str {
        self.head.lines().next().unwrap_or_default().split(' ').nth(n).unwrap_or_default()
    }

    /// Value of a field, its name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The status of an answer; 0 for none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimited {
    Length(u64),
    Chunks,
    Nothing,
    End,
}

/// The first request in `bytes` and how many they are; `None` while it is not whole.
pub fn request(bytes: &[u8]) -> Result<Option<(Message, usize)>, Fault> {
    let Some((start, fields, at)) = head(bytes)? else { return Ok(None) };
    let words: Vec<&str> = start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return fault("not METHOD SP TARGET SP HTTP/1.1", bytes) };
    if !is_token(method) {
        return fault("the method is no token", bytes);
    }
    let whole_server = target == "*" && method == "OPTIONS";
    if !(target.starts_with('/') || whole_server) || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return fault("the target is not in origin form", bytes);
    }
    let hosts: Vec<&str> = values(&fields, "host").collect();
    let host_bytes = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&b);
    if hosts.len() != 1 || !hosts[0].bytes().all(host_bytes) {
        return fault("not exactly one sound Host", bytes);
    }
    let delimited = framing(&fields, bytes)?.unwrap_or(Delimited::Nothing);
    finish(bytes, at, delimited, false)
}

/// The first answer in `bytes` (interim ones count) and how many they are; `None` while it is not whole. `bodiless`: it
/// answers HEAD. `ended`: no more bytes come.
pub fn answer(bytes: &[u8], bodiless: bool, ended: bool) -> Result<Option<(Message, usize)>, Fault> {
    let Some((start, fields, at)) = head(bytes)? else { return Ok(None) };
    let mut words = start.splitn(3, ' ');
    let (version, status, reason) = (words.next(), words.next().unwrap_or_default(), words.next());
    let digits = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    if version != Some("HTTP/1.1") || !digits || status < "100" || reason.is_none() {
        return fault("not HTTP/1.1 SP 3DIGIT SP reason", bytes);
    }
    let said = framing(&fields, bytes)?;
    let none = status < "200" || status == "204";
    if none && said.is_some() {
        return fault("1xx and 204 carry no framing (RFC 9112 6.1, RFC 9110 8.6)", bytes);
    }
    let delimited = match said {
        _ if none || bodiless || status == "304" => Delimited::Nothing,
        Some(said) => said,
        None => Delimited::End,
    };
    finish(bytes, at, delimited, ended)
}

type Fields = Vec<(String, String)>;

/// First line, fields, and where the body begins.
fn head(bytes: &[u8]) -> Result<Option<(String, Fields, usize)>, Fault> {
    let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        let sound =
            bytes.iter().zip(bytes.iter().skip(1).chain([&b'\n'])).all(|(b, next)| *b != b'\r' || *next == b'\n');
        return if sound && no_bare_lf(bytes) { Ok(None) } else { fault("a bare CR or LF in a head", bytes) };
    };
    let mut lines = Vec::new();
    for line in split_crlf(&bytes[..at]) {
        if !line.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..)) {
            return fault("a control character in a head", line);
        }
        lines.push(line);
    }
    let start = String::from_utf8_lossy(lines[0]).into_owned();
    if start.contains('\t') || !lines[0].is_ascii() && start.split(' ').count() < 3 {
        return fault("a first line with other than spaces", lines[0]);
    }
    let fields = lines[1..].iter().map(|line| field(line)).collect::<Result<_, _>>()?;
    Ok(Some((start, fields, at + 4)))
}

fn no_bare_lf(bytes: &[u8]) -> bool {
    bytes.first() != Some(&b'\n') && bytes.windows(2).all(|pair| pair[1] != b'\n' || pair[0] == b'\r')
}

fn split_crlf(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        lines.push(&bytes[..end]);
        bytes = &bytes[end + 2..];
    }
    lines.push(bytes);
    lines
}

/// `Name: value`: a token, a colon, one space, a value without white space around it. So nothing is folded.
fn field(line: &[u8]) -> Result<(String, String), Fault> {
    let text = String::from_utf8_lossy(line).into_owned();
    let Some((name, value)) = text.split_once(':') else { return fault("a field without a colon", line) };
    let Some(value) = value.strip_prefix(' ') else { return fault("no single space behind a colon", line) };
    if !is_token(name) {
        return fault("a field's name is no token", line);
    }
    if value.trim_matches([' ', '\t']) != value {
        return fault("white space around a value", line);
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn is_token(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn values<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Fields that belong to the sender's own connection, and ones that some readers take for framing.
const NEVER: [&str; 7] =
    ["keep-alive", "proxy-connection", "upgrade", "http2-settings", "te", "content_length", "transfer_encoding"];

fn framing(fields: &Fields, bytes: &[u8]) -> Result<Option<Delimited>, Fault> {
    if let Some(name) = NEVER.iter().find(|name| values(fields, name).next().is_some()) {
        return fault(&format!("{name} was passed on"), bytes);
    }
    // To a client it may be said; a member is told nothing.
    let connection: Vec<&str> = values(fields, "connection").collect();
    match connection[..] {
        [] => {}
        ["close" | "keep-alive"] if bytes.starts_with(b"HTTP/") => {}
        _ => return fault("Connection was passed on", bytes),
    }
    let lengths: Vec<&str> = values(fields, "content-length").collect();
    let codings: Vec<&str> = values(fields, "transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(None),
        ([], ["chunked"]) => Ok(Some(Delimited::Chunks)),
        ([digits], []) => match digits.parse::<i64>() {
            Ok(n) if n.to_string() == *digits && n >= 0 => Ok(Some(Delimited::Length(n.unsigned_abs()))),
            _ => fault("Content-Length is not the plain number", bytes),
        },
        _ => fault("not one Content-Length or one `Transfer-Encoding: chunked`", bytes),
    }
}

fn finish(bytes: &[u8], at: usize, delimited: Delimited, ended: bool) -> Result<Option<(Message, usize)>, Fault> {
    let mut message = Message { head: String::from_utf8_lossy(&bytes[..at]).into_owned(), ..Message::default() };
    let rest = &bytes[at..];
    let len = match delimited {
        Delimited::Nothing => 0,
        Delimited::Length(n) if n <= rest.len() as u64 => usize::try_from(n).unwrap(),
        Delimited::End if ended => rest.len(),
        Delimited::Length(_) | Delimited::End => return Ok(None),
        Delimited::Chunks => {
            return Ok(chunks(rest, &mut message)?.map(|len| (message, at + len)));
        }
    };
    message.body = rest[..len].to_vec();
    Ok(Some((message, at + len)))
}

/// Chunks without extensions, their sizes without zeros in front, then trailers that say nothing of the message's frame.
fn chunks(bytes: &[u8], into: &mut Message) -> Result<Option<usize>, Fault> {
    let mut at = 0;
    loop {
        let Some((size, len)) = chunk_size(&bytes[at..])? else { return Ok(None) };
        at += len;
        if size == 0 {
            break;
        }
        let end = at + size;
        match bytes.get(end..end + 2) {
            Some(b"\r\n") => into.body.extend(&bytes[at..end]),
            Some(_) => return fault("a chunk longer than its size", bytes),
            None => return Ok(None),
        }
        at = end + 2;
    }
    loop {
        let Some(end) = bytes[at..].windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
        let (name, value) = field(line)?;
        let framing = ["content-length", "transfer-encoding", "host", "connection", "trailer", "te", "expect"];
        if framing.iter().any(|f| name.eq_ignore_ascii_case(f)) || !line.iter().all(|b| *b >= b' ' || *b == b'\t') {
            return fault("a trailer that must not be one", line);
        }
        into.trailers.push((name, value));
    }
}

fn chunk_size(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else {
        let sound = bytes.len() < 18 && bytes.iter().all(|b| b.is_ascii_hexdigit() || *b == b'\r');
        return if sound { Ok(None) } else { fault("a chunk size without end", bytes) };
    };
    let digits = String::from_utf8_lossy(&bytes[..end]);
    match usize::from_str_radix(&digits, 16) {
        Ok(n) if format!("{n:x}").eq_ignore_ascii_case(&digits) => Ok(Some((n, end + 2))),
        _ => fault("a chunk size that is not the plain number", bytes),
    }
}
