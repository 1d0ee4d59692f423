//! Request heads: read, judged, and written for a member. Long because every rule has its tests beside it.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};

use lb_core::config::InsertHeaders;
use lb_core::persistence::Persistence;
use lb_core::request::Parts as _;

use super::super::certificate_fields;
use super::fields::{self, Ambiguous, Field, Kind, Span};
use super::host::is_host;
use super::upgrade;
use super::{FIELDS_MAX, Framing, TARGET_MAX, lines_end_in_crlf};
use crate::http::policy::Changed;
use crate::persistence;
use crate::tls::facts::Told;

/// What a proxy has to know about a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `HEAD`: its answer has no body.
    Head,
    /// Any other that may be repeated without harm (RFC 9110 section 9.2.2): GET, OPTIONS, TRACE, PUT, DELETE.
    Idempotent,
    /// Everything else.
    Other,
}

impl Method {
    /// True if repeating the request does no harm.
    pub fn idempotent(self) -> bool {
        self != Self::Other
    }
}

/// A request head that is safe to act on. Spans point into the head it was read from.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead {
    /// Bytes of the head, with its empty line.
    pub len: usize,
    /// What the method is to us.
    pub method: Method,
    /// The method as sent.
    pub method_name: Span,
    /// The target as sent: what is logged.
    pub target: Span,
    /// What a member is asked for: the target in origin form or `*`. `None`: `/`, the target had no path.
    path: Option<Span>,
    /// The target's authority, which wins over `Host` (RFC 9112 section 3.2.2).
    authority: Option<Span>,
    /// 0 or 1.
    pub minor_version: u8,
    /// How its body ends.
    pub body: Framing,
    /// The client would send another request on this connection.
    pub keep_alive: bool,
    /// `Expect: 100-continue`
    pub expects_continue: bool,
    has_host: bool,
}

/// Why a request head is refused, each with the status it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not a request line, or characters no token, target or value may have.
    Syntax,
    /// A line that ends in a bare LF.
    BareLineFeed,
    /// An HTTP version that is not 1.0 or 1.1.
    Version,
    /// Target with a fragment, or characters no URI has.
    Target,
    /// Target longer than [`TARGET_MAX`].
    TargetTooLong,
    /// More than [`FIELDS_MAX`] fields, or a head longer than [`super::HEAD_MAX`].
    TooLarge,
    /// HTTP/1.1 without `Host`, or with two, or with one that is no host.
    Host,
    /// The body's length can be read in two ways.
    Framing(Ambiguous),
    /// `Expect` with something else than `100-continue`.
    Expectation,
    /// `CONNECT`: this is no forward proxy.
    Connect,
    /// `OPTIONS` or `TRACE` that may go no further than here.
    LastHop,
    /// A tunnel for another protocol than WebSocket, on a stream of HTTP/2 (RFC 9220 section 3).
    Tunnel,
}

impl Malformed {
    /// The status the client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::TargetTooLong => 414,
            Self::TooLarge => 431,
            Self::Expectation => 417,
            Self::Connect | Self::LastHop => 405,
            Self::Framing(Ambiguous::UnknownEncoding) | Self::Tunnel => 501,
            _ => 400,
        }
    }

    /// In words, for the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "the request head is not HTTP",
            Self::BareLineFeed => "a line of the request head ends in a bare LF",
            Self::Version => "the request is neither HTTP/1.0 nor HTTP/1.1",
            Self::Target => "the request target has characters no URI may have",
            Self::TargetTooLong => "the request target is too long",
            Self::TooLarge => "the request head is too large",
            Self::Host => "Host is missing, doubled or no host",
            Self::Framing(Ambiguous::LengthAndEncoding) => "Content-Length and Transfer-Encoding together",
            Self::Framing(Ambiguous::Lengths) => "Content-Length given twice, differing",
            Self::Framing(Ambiguous::BadLength) => "Content-Length is not a number",
            Self::Framing(Ambiguous::BadEncoding) => "Transfer-Encoding is not exactly chunked",
            Self::Framing(Ambiguous::UnknownEncoding) => "a transfer coding that is not supported",
            Self::Framing(Ambiguous::EncodingInOldVersion) => "Transfer-Encoding in an HTTP/1.0 request",
            Self::Framing(Ambiguous::Lookalike) => "a field that some take for Content-Length or Transfer-Encoding",
            Self::Expectation => "an expectation other than 100-continue",
            Self::Connect => "CONNECT is not served here",
            Self::LastHop => "Max-Forwards lets the request go no further",
            Self::Tunnel => "a tunnel for another protocol than WebSocket",
        }
    }
}

/// Judges what has come of a head that is not whole yet: `Err` if no further byte could make it a request.
pub fn check_beginning(bytes: &[u8]) -> Result<(), Malformed> {
    let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, &mut table) {
        Ok(_) => Ok(()),
        Err(error) => Err(from_httparse(error, bytes)),
    }
}

fn from_httparse(error: httparse::Error, head: &[u8]) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooLarge,
        httparse::Error::Version if names_a_version(head) => Malformed::Version,
        _ => Malformed::Syntax,
    }
}

/// True if the request line ends in a version, only not one that is served here (RFC 9112 section 2.3).
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let version = words.by_ref().nth(2);
    matches!(version, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
        && words.next().is_none()
}

/// Reads a whole head (`head` ends with its empty line). `table` is cleared and filled with its fields.
pub fn parse(head: &[u8], table: &mut Vec<Field>) -> Result<RequestHead, Malformed> {
    table.clear();
    if !lines_end_in_crlf(head) {
        return Err(Malformed::BareLineFeed);
    }
    let mut raw = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let parsing = httparse::ParserConfig::default();
    let complete = parsing
        .parse_request_with_uninit_headers(&mut parsed, head, &mut raw)
        .map_err(|error| from_httparse(error, head))?;
    let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Malformed::Syntax);
    };
    if complete != httparse::Status::Complete(head.len()) {
        return Err(Malformed::Syntax);
    }
    for field in parsed.headers.iter() {
        let kind = Kind::of(field.name.as_bytes());
        table.push(Field {
            name: Span::of(field.name.as_bytes(), head),
            value: Span::of(field.value.trim_ascii(), head),
            kind,
            forward: !matches!(
                kind,
                Kind::Connection | Kind::HopByHop | Kind::Upgrade | Kind::TransferEncoding | Kind::Te
            ),
        });
    }
    let target = Span::of(target.as_bytes(), head);
    judge(head, table, method, target, minor_version)
}

fn judge(
    head: &[u8],
    table: &mut [Field],
    method: &str,
    target: Span,
    minor_version: u8,
) -> Result<RequestHead, Malformed> {
    let method_name = Span::of(method.as_bytes(), head);
    let (path, authority) = split_target(method, target, head)?;
    let has_host = check_host(head, table, minor_version, authority.is_some())?;
    let body = fields::framing(head, table, minor_version).map_err(Malformed::Framing)?;
    fields::settle_lengths(head, table);
    let expects_continue = check_expectation(head, table)?;
    check_hops(method.as_bytes(), head, table)?;
    let words = fields::apply_connection(head, table);
    let is_bare = matches!(body, None | Some(Framing::Length(0)));
    if words.upgrade && is_bare && minor_version > 0 {
        upgrade::admit(head, table, method);
    }
    let keep_alive = if minor_version == 0 { words.keep_alive && !words.close } else { !words.close };
    let method = match method {
        "HEAD" => Method::Head,
        "GET" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Method::Idempotent,
        "CONNECT" if table.iter().any(|field| field.kind == Kind::Upgrade) => return Err(Malformed::Tunnel),
        "CONNECT" => return Err(Malformed::Connect),
        _ => Method::Other,
    };
    Ok(RequestHead {
        len: head.len(),
        method,
        method_name,
        target,
        path,
        authority,
        minor_version,
        body: body.unwrap_or(Framing::None),
        keep_alive,
        expects_continue,
        has_host,
    })
}

type PathAndAuthority = (Option<Span>, Option<Span>);

/// Origin form, absolute form or `*` (RFC 9112 section 3.2).
fn split_target(method: &str, target: Span, head: &[u8]) -> Result<PathAndAuthority, Malformed> {
    let bytes = target.in_(head);
    if bytes.len() > TARGET_MAX {
        return Err(Malformed::TargetTooLong);
    }
    if bytes.iter().any(|b| !b.is_ascii_graphic() || *b == b'#') {
        return Err(Malformed::Target);
    }
    if bytes.first() == Some(&b'/') || (bytes == b"*" && method == "OPTIONS") {
        return Ok((Some(target), None));
    }
    if method == "CONNECT" {
        return Ok((None, None));
    }
    let after_scheme = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| bytes.len() > scheme.len() && bytes[..scheme.len()].eq_ignore_ascii_case(scheme))
        .map(|scheme| target.skip(scheme.len()))
        .ok_or(Malformed::Target)?;
    let rest = after_scheme.in_(head);
    let authority_len = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_len);
    if !is_host(authority) || path.first() == Some(&b'?') {
        return Err(Malformed::Target);
    }
    let path = (!path.is_empty()).then(|| Span::of(path, head));
    Ok((path, Some(Span::of(authority, head))))
}

fn check_host(head: &[u8], table: &mut [Field], minor: u8, replaced: bool) -> Result<bool, Malformed> {
    let mut hosts = 0;
    for field in table.iter_mut().filter(|f| f.kind == Kind::Host) {
        hosts += 1;
        let value = field.value.in_(head);
        if !value.is_empty() && !is_host(value) {
            return Err(Malformed::Host);
        }
        field.forward = !replaced;
    }
    match (hosts, minor) {
        (0, 1) | (2.., _) => Err(Malformed::Host),
        (n, _) => Ok(n == 1),
    }
}

fn check_expectation(head: &[u8], table: &[Field]) -> Result<bool, Malformed> {
    let mut expects = false;
    for field in table.iter().filter(|f| f.kind == Kind::Expect) {
        if expects || !field.value.in_(head).eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

/// How many hops a request may go on from here, if that is limited: only for methods that look at the way itself (RFC 9110
/// section 7.6.2). What is no number limits nothing.
fn hops(method: &[u8], head: &[u8], field: &Field) -> Option<u64> {
    let limited = field.kind == Kind::MaxForwards && counts_hops(method);
    if limited { fields::decimal(field.value.in_(head)) } else { None }
}

fn counts_hops(method: &[u8]) -> bool {
    matches!(method, b"OPTIONS" | b"TRACE")
}

fn check_hops(method: &[u8], head: &[u8], table: &[Field]) -> Result<(), Malformed> {
    let ends = counts_hops(method) && table.iter().any(|field| hops(method, head, field) == Some(0));
    if ends { Err(Malformed::LastHop) } else { Ok(()) }
}

/// A head together with the bytes it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// What was understood.
    pub request: &'a RequestHead,
    /// The bytes its spans point into.
    pub head: &'a [u8],
    /// Its fields.
    pub table: &'a [Field],
}

impl lb_core::request::Parts for Parts<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_name.in_(self.head)
    }

    fn target(&self) -> &[u8] {
        match self.request.path {
            Some(path) => path.in_(self.head),
            None if self.method() == b"OPTIONS" => b"*",
            None => b"/",
        }
    }

    fn target_as_sent(&self) -> &[u8] {
        self.request.target.in_(self.head)
    }

    fn fields<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let authority = self.request.authority.filter(|_| name.eq_ignore_ascii_case(b"host"));
        let of_name = |field: &&Field| field.forward && field.name.in_(self.head).eq_ignore_ascii_case(name);
        let written = self.table.iter().filter(of_name).map(|field| field.value.in_(self.head));
        authority.map(|span| span.in_(self.head)).into_iter().chain(written)
    }
}

/// What a member is told beyond what the client sent.
#[derive(Clone, Copy, Debug)]
pub struct Additions<'a> {
    /// Which `X-Forwarded-*` to write.
    pub insert: InsertHeaders,
    /// What the client told in its TLS handshake.
    pub told: Option<&'a Told>,
    /// The client.
    pub client: IpAddr,
    /// What the client speaks: `http` or `https`.
    pub scheme: &'static str,
    /// Where the client connected to: the `Host` of a request that has none.
    pub local: SocketAddr,
    /// Writes `Cookie` fields, where members see other cookies than clients send.
    pub cookies: Option<&'a Persistence>,
    /// A member may hear that its client takes trailers. `TE` is a word between two ends of one connection: in HTTP/1.1 it has
    /// to be nominated by `Connection`; HTTP/2 has neither, and gRPC asks for it.
    pub trailers: bool,
}

/// Writes the head a member gets. Always HTTP/1.1, in origin form, with exactly the fields that are understood, and what
/// policies changed: those that go are marked in `table` already ([`Changed::drop_from_request`]).
pub fn write(
    request: &RequestHead,
    head: &[u8],
    table: &[Field],
    add: &Additions<'_>,
    changed: Option<&Changed<'_>>,
    out: &mut Vec<u8>,
) {
    let parts = Parts { request, head, table };
    out.extend_from_slice(parts.method());
    out.push(b' ');
    if !changed.is_some_and(|changed| changed.changes.rewrite(parts.target(), out)) {
        out.extend_from_slice(parts.target());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if changed.is_some_and(Changed::sets_host) {
        // It is among what is added.
    } else if let Some(authority) = request.authority {
        fields::write_field(out, b"Host", authority.in_(head));
    } else if !request.has_host {
        fields::write_field(out, b"Host", add.local.to_string().as_bytes());
    }
    let mut switches = false;
    for field in table {
        let replaced = match field.kind {
            Kind::XForwardedPort => add.insert.x_forwarded_port,
            Kind::XForwardedProto => add.insert.x_forwarded_proto,
            Kind::XSsl => certificate_fields::replaces(&add.insert, field.name.in_(head)),
            Kind::Te => {
                let word = |w: &[u8]| w.eq_ignore_ascii_case(b"trailers");
                if add.trailers && fields::list(field.value.in_(head)).any(word) {
                    out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
                }
                true
            }
            Kind::MaxForwards => match hops(parts.method(), head, field) {
                Some(hops) if field.forward => {
                    let mut digits = itoa::Buffer::new();
                    fields::write_field(out, field.name.in_(head), digits.format(hops.saturating_sub(1)).as_bytes());
                    true
                }
                _ => false,
            },
            Kind::Upgrade => {
                switches |= field.forward;
                true
            }
            Kind::ForwardedLookalike => is_lookalike(&add.insert, field.name.in_(head)),
            _ => false,
        };
        if field.forward && !replaced {
            let (name, value) = (field.name.in_(head), field.value.in_(head));
            match add.cookies {
                Some(cookies) if name.eq_ignore_ascii_case(b"cookie") => {
                    persistence::write_cookies(cookies, name, value, out)
                }
                _ => fields::write_field(out, name, value),
            }
        }
    }
    if request.body == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    changed.iter().for_each(|changed| changed.add_to_request(out));
    write_forwarded(add, out);
    if switches {
        upgrade::write(parts.method(), head, table, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// True for a field that some readers would take for one that is written here.
fn is_lookalike(insert: &InsertHeaders, name: &[u8]) -> bool {
    match name.len() {
        15 => insert.x_forwarded_for,
        16 => insert.x_forwarded_port,
        _ => insert.x_forwarded_proto,
    }
}

fn write_forwarded(add: &Additions<'_>, out: &mut Vec<u8>) {
    if add.insert.x_forwarded_for {
        out.extend_from_slice(b"X-Forwarded-For: ");
        write_ip(add.client.to_canonical(), out);
        out.extend_from_slice(b"\r\n");
    }
    if add.insert.x_forwarded_port {
        let mut digits = itoa::Buffer::new();
        fields::write_field(out, b"X-Forwarded-Port", digits.format(add.local.port()).as_bytes());
    }
    if add.insert.x_forwarded_proto {
        fields::write_field(out, b"X-Forwarded-Proto", add.scheme.as_bytes());
    }
    // Only whoever came by TLS has told anything.
    if let Some(told) = add.told {
        certificate_fields::write(&add.insert, told, out);
    }
}

/// An address in its usual spelling, without going through a formatter for IPv4: this is on every request.
fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => {
            let mut digits = itoa::Buffer::new();
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Result<(RequestHead, Vec<Field>), Malformed> {
        let mut table = Vec::new();
        parse(head.as_bytes(), &mut table).map(|request| (request, table))
    }

    fn refused(head: &str) -> Malformed {
        match judged(head) {
            Ok(_) => panic!("{head:?} was taken"),
            Err(bad) => bad,
        }
    }

    fn forwarded(head: &str) -> String {
        forwarded_with(InsertHeaders::default(), head)
    }

    fn forwarded_with(insert: InsertHeaders, head: &str) -> String {
        let (request, table) = judged(head).unwrap_or_else(|bad| panic!("{head:?}: {}", bad.reason()));
        let add = Additions {
            insert,
            told: None,
            client: [192, 0, 2, 7].into(),
            scheme: "http",
            local: "198.51.100.1:80".parse().expect("an address"),
            cookies: None,
            trailers: false,
        };
        let mut out = Vec::new();
        write(&request, head.as_bytes(), &table, &add, None, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn refuses_framing_that_two_parsers_could_read_differently() {
        let post = |fields: &str| refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        use Ambiguous::*;
        for (fields, why) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndEncoding),
            ("Content-Length: 5\r\nContent-Length: 6", Lengths),
            ("Content-Length: 5, 5", BadLength),
            ("Content-Length: +5", BadLength),
            ("Content-Length:", BadLength),
            ("Content-Length: 18446744073709551621", BadLength),
            ("Transfer-Encoding: xchunked", BadEncoding),
            ("Transfer-Encoding: chunked, identity", BadEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadEncoding),
            ("Transfer-Encoding: \"chunked\"", BadEncoding),
            ("Transfer-Encoding: gzip, chunked", UnknownEncoding),
        ] {
            assert_eq!(post(fields), Malformed::Framing(why), "{fields}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refused(old), Malformed::Framing(EncodingInOldVersion));
    }

    #[test]
    fn refuses_heads_that_are_not_clean() {
        for (head, why) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Malformed::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", Malformed::Syntax),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Syntax),
            ("GET /\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Malformed::Version),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", Malformed::Syntax),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Malformed::Syntax),
            ("GET / HTTP/1.1\r\n\r\n", Malformed::Host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Malformed::Host),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Malformed::Host),
            ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", Malformed::Host),
            ("GET / HTTP/1.1\r\nHost: a:99999999\r\n\r\n", Malformed::Host),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
            ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Connect),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n", Malformed::Expectation),
            ("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", Malformed::LastHop),
        ] {
            assert_eq!(refused(head), why, "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX));
        assert_eq!(refused(&many), Malformed::TooLarge);
    }

    #[test]
    fn forwards_only_what_is_understood() {
        let seen = forwarded(
            "GET /x?y HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop, Host, close\r\nKeep-Alive: timeout=5\r\n\
             X-Hop: 1\r\nX-End: 2\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTE: gzip, trailers\r\nProxy-Connection: a\r\n\
             Close: x\r\n\r\n",
        );
        assert_eq!(seen, "GET /x?y HTTP/1.1\r\nHost: a\r\nX-End: 2\r\n\r\n");
    }

    #[test]
    fn what_cgi_takes_for_an_inserted_field_stops_here() {
        let twins = "X_Forwarded_For: 6.6.6.6\r\nx-forwarded_for: 6.6.6.6\r\nX_FORWARDED_PORT: 1\r\n\
                     X_Forwarded-Proto: https\r\nX_SSL_Client_Verify: 0\r\nX-SSL_Client-DN: /CN=x\r\n";
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{twins}X_Other: 1\r\n\r\n");
        assert_eq!(forwarded(&head), head, "nothing is inserted, so nothing can be taken for it");
        let insert = InsertHeaders {
            x_forwarded_for: true,
            x_forwarded_port: true,
            x_forwarded_proto: true,
            x_ssl_client_verify: true,
            x_ssl_client_dn: true,
            ..Default::default()
        };
        let ours = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Proto: http\r\n";
        let all = format!("GET / HTTP/1.1\r\nHost: a\r\nX_Other: 1\r\n{ours}\r\n");
        assert_eq!(forwarded_with(insert, &head), all);
        let only_for = InsertHeaders { x_forwarded_for: true, ..Default::default() };
        let seen = forwarded_with(only_for, &head);
        assert!(!seen.contains("6.6.6.6") && seen.contains("X_FORWARDED_PORT: 1"), "{seen}");
    }

    #[test]
    fn the_authority_of_the_target_wins() {
        let seen = forwarded("GET http://real:81/p HTTP/1.1\r\nHost: other\r\nA: b\r\n\r\n");
        assert_eq!(seen, "GET /p HTTP/1.1\r\nHost: real:81\r\nA: b\r\n\r\n");
        assert_eq!(forwarded("OPTIONS http://a HTTP/1.1\r\nHost: b\r\n\r\n"), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(forwarded("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\nHost: 198.51.100.1:80\r\n\r\n");
    }

    #[test]
    fn hops_are_counted_where_they_count() {
        for (method, said, written) in
            [("OPTIONS", "7", "6"), ("TRACE", "1", "0"), ("GET", "0", "0"), ("OPTIONS", "x", "x")]
        {
            let head = |hops: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n");
            assert_eq!(forwarded(&head(said)), head(written));
        }
    }

    #[test]
    fn decisions_see_what_the_member_will() {
        let head =
            "GET http://real/p?q HTTP/1.1\r\nHost: other\r\nConnection: X-Hop\r\nx-hop: 1\r\nA: b\r\na: c\r\n\r\n";
        let (request, table) = judged(head).unwrap_or_else(|bad| panic!("{}", bad.reason()));
        let parts = Parts { request: &request, head: head.as_bytes(), table: &table };
        let all = |name: &str| parts.fields(name.as_bytes()).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!((parts.method(), parts.target()), (&b"GET"[..], &b"/p?q"[..]));
        assert_eq!(parts.target_as_sent(), b"http://real/p?q");
        assert_eq!(all("HOST"), [b"real"]);
        assert_eq!(all("A"), [b"b", b"c"]);
        assert_eq!(parts.field(b"x-hop"), None);
    }

    #[test]
    fn equal_lengths_are_one_and_chunks_are_announced_anew() {
        let twice = forwarded("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(twice, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
        let chunked = forwarded("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
        assert_eq!(chunked, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_forwarded_reads_the_same(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            cut in 0usize..80,
        ) {
            let mut head = b"GET /p HTTP/1.1\r\nHost: a\r\nX: y\r\n"[..cut.min(32)].to_vec();
            head.extend_from_slice(&bytes);
            head.extend_from_slice(b"\r\n\r\n");
            let mut table = Vec::new();
            if let Some(len) = super::super::head_end(&head, 0)
                && let Ok(request) = parse(&head[..len], &mut table)
            {
                let add = Additions {
                    insert: Default::default(),
                    told: None,
                    client: [192, 0, 2, 7].into(),
                    scheme: "http",
                    local: std::net::SocketAddr::from(([198, 51, 100, 1], 80)),
                    cookies: None,
                    trailers: false,
                };
                let mut out = Vec::new();
                write(&request, &head[..len], &table, &add, None, &mut out);
                let mut again = Vec::new();
                let second = parse(&out, &mut again).expect("what is forwarded is a request");
                proptest::prop_assert_eq!(second.body, request.body);
                let mut twice = Vec::new();
                write(&second, &out, &again, &add, None, &mut twice);
                proptest::prop_assert_eq!(out, twice, "canonical: forwarding it again changes nothing");
            }
        }
    }
}
