//! HTTP/1 read slowly and strictly, by the grammar of RFC 9112 and 9110 and nothing else: a second opinion that shares no code with the
//! parsers it judges, nor httparse. What is not exactly the grammar is refused, and so is what may be read in two ways.

use std::net::Ipv6Addr;

/// Fields in their order, names as sent, values without the white space around them.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end before it does.
    Cut,
    /// It is none.
    Bad(&'static str),
}

/// How a body's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Nothing,
    Length,
    Chunks,
    Close,
}

/// What may stand between a chunk's size and the end of its line, or its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Nothing.
    Plain,
    /// White space, too, which old servers write there.
    Padded,
}

/// A message as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Method, target, version; or version, status, reason.
    pub(crate) start: [Vec<u8>; 3],
    pub(crate) fields: Fields,
    pub(crate) how: How,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Bytes of all of it.
    pub(crate) len: usize,
}

impl Message {
    /// Values of a field, by its name in lower case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |field| is(&field.0, name)).map(|field| &*field.1)
    }

    /// The elements of a field that is a list, in lower case (RFC 9110 section 5.6.1).
    pub(crate) fn words(&self, name: &str) -> Vec<Vec<u8>> {
        let elements = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        elements.map(|word| trimmed(word).to_ascii_lowercase()).filter(|word| !word.is_empty()).collect()
    }
}

/// What is left of `bytes` without the empty lines before a message, which whoever reads it may skip (RFC 9112 section 2.2 says so of
/// requests; HAProxy and httparse do so with answers, too).
pub(crate) fn without_blank_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(after) = bytes.strip_prefix(b"\r\n") {
        bytes = after;
    }
    bytes
}

/// One request from the front of `bytes` (RFC 9112 section 3).
pub(crate) fn request(bytes: &[u8]) -> Result<Message, Fault> {
    let (line, at) = line(bytes, 0)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(Fault::Bad("not three words")) };
    if !is_token(method) {
        return Err(Fault::Bad("a method that is no token"));
    }
    check_target(method, target)?;
    let minor = minor(version)?;
    let (fields, at) = fields(bytes, at)?;
    let hosts: Vec<_> = fields.iter().filter(|field| is(&field.0, "host")).collect();
    if hosts.len() > 1 || hosts.is_empty() && minor == 1 {
        return Err(Fault::Bad("not one Host"));
    }
    if !hosts.iter().all(|host| host.1.is_empty() || is_host(&host.1)) {
        return Err(Fault::Bad("a Host that is none"));
    }
    let how = match said(&fields, minor)? {
        Said::Nothing => Ends::Nothing,
        Said::Length(n) => Ends::Length(n),
        Said::Chunks => Ends::Chunks,
    };
    with_body(bytes, at, [method, target, version], fields, how, Sizes::Plain)
}

/// A path, a URI with a host in it, or what `OPTIONS` asks of all (RFC 9112 section 3.2). Whoever asks for a tunnel is no client of a
/// proxy that stands for servers.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Fault> {
    if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Fault::Bad("a target with characters no target has"));
    }
    if method == b"CONNECT" {
        return Err(Fault::Bad("a tunnel"));
    }
    let is_plain = target[0] == b'/' || target == b"*" && method == b"OPTIONS";
    match authority(target) {
        Some((host, path)) if is_host(host) && (path.is_empty() || path[0] == b'/') => Ok(()),
        _ if is_plain => Ok(()),
        _ => Err(Fault::Bad("a target of another kind")),
    }
}

/// The authority of a target in absolute form, and what stands behind it.
pub(crate) fn authority(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let schemes = [&b"http://"[..], b"https://"];
    let has = |scheme: &&&[u8]| target.len() >= scheme.len() && is_same(&target[..scheme.len()], scheme);
    let rest = &target[schemes.iter().find(has)?.len()..];
    Some(rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len())))
}

/// A host and a port (RFC 3986 section 3.2), of those that everybody reads alike: addresses that are some, escapes that are whole, ports
/// that there are, and not two of them behind a comma.
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let literal = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (is_sound, port) = match literal {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_registered_name(name.as_bytes()), port)
        }
    };
    let is_port = |digits: &str| {
        digits.is_empty() || digits.len() <= 5 && digits.parse::<u16>().is_ok() && !digits.starts_with('+')
    };
    is_sound && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_registered_name(mut name: &[u8]) -> bool {
    let is_empty = name.is_empty();
    while let Some((first, rest)) = name.split_first() {
        name = match (first, rest) {
            (b'%', [one, other, rest @ ..]) if one.is_ascii_hexdigit() && other.is_ascii_hexdigit() => rest,
            (b'%', _) => return false,
            (byte, rest) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte) => rest,
            _ => return false,
        };
    }
    !is_empty
}

/// One answer to a HEAD or to another request from the front of `bytes`, after which nothing comes (RFC 9112 sections 4 and 6.3).
pub(crate) fn answer(bytes: &[u8], to_head: bool, sizes: Sizes) -> Result<Message, Fault> {
    let (line, at) = line(bytes, 0)?;
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let [version, status, reason] = std::array::from_fn(|_| words.next().unwrap_or_default());
    let minor = minor(version)?;
    if status.len() != 3 || !status.iter().all(u8::is_ascii_digit) || status[0] == b'0' {
        return Err(Fault::Bad("no status"));
    }
    if !is_text(reason) {
        return Err(Fault::Bad("a reason that is no text"));
    }
    let (fields, at) = fields(bytes, at)?;
    let said = said(&fields, minor)?;
    let bodiless = to_head || status[0] == b'1' || status == b"204" || status == b"304";
    let how = match said {
        _ if bodiless => Ends::Nothing,
        Said::Nothing => Ends::Close,
        Said::Length(n) => Ends::Length(n),
        Said::Chunks => Ends::Chunks,
    };
    with_body(bytes, at, [version, status, reason], fields, how, sizes)
}

#[derive(Clone, Copy)]
enum Ends {
    Nothing,
    Length(u64),
    Chunks,
    Close,
}

fn with_body(
    bytes: &[u8],
    at: usize,
    start: [&[u8]; 3],
    fields: Fields,
    ends: Ends,
    sizes: Sizes,
) -> Result<Message, Fault> {
    let (how, body, trailers, len) = match ends {
        Ends::Nothing => (How::Nothing, Vec::new(), Fields::new(), at),
        Ends::Close => (How::Close, bytes[at..].to_vec(), Fields::new(), bytes.len()),
        Ends::Length(n) => {
            let end = usize::try_from(n).ok().and_then(|n| at.checked_add(n)).filter(|end| *end <= bytes.len());
            let end = end.ok_or(Fault::Cut)?;
            (How::Length, bytes[at..end].to_vec(), Fields::new(), end)
        }
        Ends::Chunks => {
            let chunks = chunked(&bytes[at..], sizes)?;
            (How::Chunks, chunks.body, chunks.trailers, at + chunks.len)
        }
    };
    Ok(Message { start: start.map(<[u8]>::to_vec), fields, how, body, trailers, len })
}

/// A chunked body as it was understood.
#[derive(Debug)]
pub(crate) struct Chunks {
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Bytes of all of it.
    pub(crate) len: usize,
}

/// A chunked body from the front of `bytes` (RFC 9112 section 7.1).
pub(crate) fn chunked(bytes: &[u8], sizes: Sizes) -> Result<Chunks, Fault> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let (line, data) = line(bytes, at)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let extension = if sizes == Sizes::Padded { without_padding(extension) } else { extension };
        if size.is_empty() || !(extension.is_empty() || extension[0] == b';' && is_text(extension)) {
            return Err(Fault::Bad("no chunk size"));
        }
        let size = size.iter().try_fold(0u64, |n, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            n.checked_mul(16)?.checked_add(u64::from(digit))
        });
        let size = size.ok_or(Fault::Bad("a chunk size that fits no number"))?;
        if size == 0 {
            let (trailers, len) = fields(bytes, data)?;
            return Ok(Chunks { body, trailers, len });
        }
        let end = usize::try_from(size).ok().and_then(|n| data.checked_add(n)).filter(|end| *end <= bytes.len());
        let end = end.ok_or(Fault::Cut)?;
        body.extend_from_slice(&bytes[data..end]);
        match &bytes[end..] {
            [b'\r', b'\n', ..] => at = end + 2,
            [] | [b'\r'] => return Err(Fault::Cut),
            _ => return Err(Fault::Bad("a chunk longer than its size")),
        }
    }
}

enum Said {
    Nothing,
    Length(u64),
    Chunks,
}

/// What the fields say of the body's end (RFC 9112 section 6.3).
fn said(fields: &Fields, minor: u8) -> Result<Said, Fault> {
    let of = |name: &'static str| fields.iter().filter(move |field| is(&field.0, name)).map(|field| &field.1);
    let codings: Vec<_> = of("transfer-encoding").collect();
    let lengths: Vec<_> = of("content-length").collect();
    if of("content_length").chain(of("transfer_encoding")).next().is_some() {
        return Err(Fault::Bad("what CGI takes for a length or a coding"));
    }
    match (&codings[..], &lengths[..]) {
        ([], []) => Ok(Said::Nothing),
        ([_, ..], [_, ..]) => Err(Fault::Bad("two ways to find the end")),
        ([coding], []) if minor == 1 && is(coding, "chunked") => Ok(Said::Chunks),
        ([_, ..], []) => Err(Fault::Bad("a transfer coding other than chunked")),
        ([], [first, ..]) => match number(first) {
            Some(n) if lengths.iter().all(|other| number(other) == Some(n)) => Ok(Said::Length(n)),
            _ => Err(Fault::Bad("no one length")),
        },
    }
}

/// A number of digits, small enough for whoever reads it with a sign.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let is_plain = digits.iter().all(u8::is_ascii_digit);
    let n = std::str::from_utf8(digits).ok().filter(|_| is_plain)?.parse::<i64>().ok()?;
    u64::try_from(n).ok()
}

/// Field lines to the empty one, and where that ends (RFC 9112 section 5).
fn fields(bytes: &[u8], mut at: usize) -> Result<(Fields, usize), Fault> {
    let mut fields = Fields::new();
    loop {
        let (line, next) = line(bytes, at)?;
        at = next;
        if line.is_empty() {
            return Ok((fields, at));
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault::Bad("a field without a colon"))?;
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        if !is_token(name) || !is_text(value) {
            return Err(Fault::Bad("a field that is none"));
        }
        fields.push((name.to_vec(), value.to_vec()));
    }
}

/// The line at `at` without its CRLF, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> Result<(&[u8], usize), Fault> {
    let rest = &bytes[at..];
    let feed = rest.iter().position(|byte| *byte == b'\n').ok_or(Fault::Cut)?;
    match rest[..feed].split_last() {
        Some((b'\r', line)) if !line.contains(&b'\r') => Ok((line, at + feed + 1)),
        _ => Err(Fault::Bad("a line that does not end in CRLF")),
    }
}

fn minor(version: &[u8]) -> Result<u8, Fault> {
    match version {
        b"HTTP/1.0" => Ok(0),
        b"HTTP/1.1" => Ok(1),
        _ => Err(Fault::Bad("another version")),
    }
}

pub(crate) fn is(name: &[u8], word: &str) -> bool {
    is_same(name, word.as_bytes())
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn without_padding(text: &[u8]) -> &[u8] {
    let padding = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[padding..]
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(begin, |last| last + 1);
    &value[begin..end]
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// What values and reasons are made of (RFC 9110 section 5.5).
fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}

/// True for fields that may stand behind a body: those that frame, route, authenticate, describe or control it may not (RFC 9110 section
/// 6.5.1), nor those that are for one hop, or that a condition, a cache or a program behind a gateway would take for its own.
pub(crate) fn may_trail(name: &[u8]) -> bool {
    let stopped = "age authorization cache-control close connection content-encoding content-language content-length content-location \
        content-range content-type content_length cookie date expect expires forwarded host http2-settings if-match if-modified-since \
        if-none-match if-range if-unmodified-since keep-alive location max-forwards pragma proxy-authenticate proxy-authorization \
        proxy-connection range retry-after set-cookie te trailer transfer-encoding transfer_encoding upgrade vary warning \
        www-authenticate x-forwarded-for x-forwarded-port x-forwarded-proto";
    let name = name.to_ascii_lowercase();
    let about_certificates = name.starts_with(b"x-ssl-") && (12..=23).contains(&name.len());
    !about_certificates && !stopped.split(' ').any(|stop| stop.as_bytes() == name)
}
