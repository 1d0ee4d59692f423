//! One HTTP/2 stream to a member in the clothes of an HTTP/1.1 connection: what is written to it is a request in text,
//! what is read from it is an answer in text. It carries one request and then ends. The mirror image of
//! [`super::disguise`].
//!
//! A WebSocket is asked for by an extended CONNECT (RFC 8441), and its grant told as a 101 with the answer to the key.
//!
//! A request that is given up, by its client or by a deadline, resets the stream; so does a body that breaks off.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};

use super::incoming::{Body, Incoming};
use super::io::REQUEST_CREDIT;
use super::outgoing::{self, Outgoing, broken};
use crate::http::h1::upgrade::{self, Accept};
use crate::http::h1::{fields, head_end};
use crate::upstream::h2::Place;

/// What is told of an answer that was malformed: nothing that HTTP/1.1 knows.
const MALFORMED: &[u8] = b"\0\r\n\r\n";

/// See the module.
#[derive(Debug)]
pub struct Mirror {
    /// On the connection; taken away once all has been said and something is still to be heard.
    place: Option<Place>,
    /// Nobody expects a body: the request is HEAD.
    head_only: bool,
    /// The request asks for a WebSocket; with this the client is told that it has it.
    accept: Option<Accept>,
    request: Asked,
    answer: Answer,
    /// The member has not looked at the request.
    refused: bool,
}

/// How far the request is.
#[derive(Debug)]
enum Asked {
    /// Its head is to come: what was written of it.
    Head(Vec<u8>),
    /// Its head was sent.
    Body(Outgoing),
}

/// How far the answer is.
#[derive(Debug)]
enum Answer {
    /// Nothing was asked yet: whoever waits for an answer all the same.
    Unasked(Option<Waker>),
    /// It is to come; an interim head may be there before.
    Awaited(ResponseFuture, Option<Incoming>),
    /// Its head is there.
    Here(Incoming),
    /// There will be none.
    Broken,
}

impl Mirror {
    /// Of a stream that will be opened when its head has been written.
    pub fn new(place: Place) -> Self {
        Self {
            place: Some(place),
            head_only: false,
            accept: None,
            request: Asked::Head(Vec::new()),
            answer: Answer::Unasked(None),
            refused: false,
        }
    }

    /// Tells, once it is known, whether the member can be asked for a WebSocket.
    pub fn carries_websockets(&self) -> impl Future<Output = bool> + use<> {
        let telling = self.place.as_ref().map(Place::carries_websockets);
        async move {
            match telling {
                Some(telling) => telling.await,
                None => false,
            }
        }
    }

    /// True if the member said that it has not looked at the request, which can so be sent again, whatever it is (RFC
    /// 9113 section 8.7).
    pub fn was_refused(&self) -> bool {
        self.refused
    }

    /// Takes text of the request, as far as the member has room for it. `bytes` is not empty.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while taken < bytes.len() {
            let piece = match &mut self.request {
                Asked::Head(_) => Poll::Ready(self.take_head(&bytes[taken..])),
                Asked::Body(body) => body.poll_write(cx, &bytes[taken..]),
            };
            match piece {
                Poll::Ready(Ok(n)) => taken += n,
                Poll::Pending if taken > 0 => break,
                // What the head was taken with is known to be sent; what follows will fail again.
                Poll::Ready(Err(_)) if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Asked::Head(written) = &mut self.request else { return Err(broken()) };
        if written.is_empty()
            && let Some(len) = head_end(bytes, 0)
        {
            return self.ask(&bytes[..len]).map(|()| len);
        }
        let before = written.len();
        written.extend_from_slice(bytes);
        let Some(len) = head_end(written, before) else { return Ok(bytes.len()) };
        let head = std::mem::take(written);
        self.ask(&head[..len]).map(|()| len - before)
    }

    /// Opens the stream with the head of the request.
    fn ask(&mut self, head: &[u8]) -> io::Result<()> {
        let place = self.place.as_ref().ok_or_else(broken)?;
        let Written { request, body } = read_request(head, place.is_secured())?;
        self.head_only = *request.method() == Method::HEAD;
        if let Framed::Tunnel(accept) = body {
            self.accept = Some(accept);
        }
        let ends = matches!(body, Framed::Nothing);
        let waiting = match place.ask(request, ends) {
            Ok((future, send)) => {
                self.request = Asked::Body(match body {
                    Framed::Nothing => Outgoing::Done,
                    Framed::Length(n) => Outgoing::Length(send, n),
                    Framed::Chunks => Outgoing::chunks(send),
                    Framed::Tunnel(_) => Outgoing::UntilEnd(send),
                });
                std::mem::replace(&mut self.answer, Answer::Awaited(future, None))
            }
            Err(_) => {
                // Nothing was sent.
                self.refused = true;
                self.request = Asked::Body(Outgoing::Broken);
                std::mem::replace(&mut self.answer, Answer::Broken)
            }
        };
        if let Answer::Unasked(Some(waker)) = waiting {
            waker.wake();
        }
        if self.refused { Err(broken()) } else { Ok(()) }
    }

    /// Reads text of the answer; 0 after its end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let heard = match &mut self.answer {
                Answer::Unasked(waiting) => {
                    *waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Answer::Awaited(future, interim) => {
                    if let Some(text) = interim {
                        if let Ok(Some(n)) = ready!(text.poll_read(cx, room)) {
                            return Poll::Ready(Ok(n));
                        }
                        *interim = None;
                    }
                    match ready!(future.poll_informational(cx)) {
                        Some(heard) => heard.map(|head| Heard::Interim(Box::new(head))),
                        None => ready!(std::pin::Pin::new(future).poll(cx)).map(|head| Heard::Head(Box::new(head))),
                    }
                }
                Answer::Here(body) => match ready!(body.poll_read(cx, room)) {
                    Ok(read) => return Poll::Ready(Ok(read.unwrap_or(0))),
                    Err(error) => Err(error),
                },
                Answer::Broken => return Poll::Ready(Err(broken())),
            };
            match heard {
                Ok(Heard::Interim(head)) => self.begin_interim(&head),
                Ok(Heard::Head(head)) => self.begin_answer(*head),
                Err(error) => {
                    let awaited = matches!(self.answer, Answer::Awaited(..));
                    self.refused = awaited && was_not_looked_at(&error);
                    if awaited && is_malformed(&error) && self.begin_malformed() {
                        continue;
                    }
                    self.answer = Answer::Broken;
                    return Poll::Ready(Err(broken()));
                }
            }
        }
    }

    /// Ready when there is something to read; as far as is known without looking, where it is no tunnel.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (&mut self.answer, self.accept) {
            (Answer::Here(body), Some(_)) => body.poll_readable(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn begin_interim(&mut self, head: &Response<()>) {
        let (Answer::Awaited(_, interim), Some(place)) = (&mut self.answer, &self.place) else { return };
        let mut text = Vec::with_capacity(128);
        write_head(head.status(), head.headers(), &[], &mut text);
        place.budget().earn(text.len() as i64);
        *interim = Some(Incoming::new(text, None, Body::Length(0), Rc::clone(place.budget())));
    }

    fn begin_answer(&mut self, answer: Response<RecvStream>) {
        let Some(place) = &self.place else { return };
        let (head, rest) = answer.into_parts();
        if let Some(accept) = self.accept.filter(|_| head.status.is_success()) {
            let mut text = Vec::with_capacity(256);
            write_head(StatusCode::SWITCHING_PROTOCOLS, &head.headers, &granted(&accept), &mut text);
            place.budget().earn(text.len() as i64 + REQUEST_CREDIT);
            let budget = Rc::clone(place.budget());
            self.answer = Answer::Here(Incoming::new(text, Some(rest), Body::Length(u64::MAX), budget));
            return;
        }
        let whole = rest.is_end_stream();
        let bodiless = self.head_only || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length =
            head.headers.get(header::CONTENT_LENGTH).map(|n| fields::decimal(n.as_bytes()).unwrap_or(u64::MAX));
        let has_length = length.is_some();
        let chunked = !whole && !bodiless && !has_length;
        let framing: &[u8] = match (chunked, whole && !bodiless && !has_length) {
            (true, _) => b"transfer-encoding: chunked\r\n",
            (_, true) => b"content-length: 0\r\n",
            _ => b"",
        };
        let mut text = Vec::with_capacity(512);
        write_head(head.status, &head.headers, framing, &mut text);
        place.budget().earn(text.len() as i64 + REQUEST_CREDIT);
        let rest = (!whole).then_some(rest);
        let body = match (chunked, bodiless) {
            (true, _) => Body::Chunks,
            (_, true) => Body::Length(0),
            _ => Body::Length(length.unwrap_or(0)),
        };
        self.answer = Answer::Here(Incoming::new(text, rest, body, Rc::clone(place.budget())));
    }

    /// The answer is none that can be told in text: whoever reads it is to see that it is a bad one.
    fn begin_malformed(&mut self) -> bool {
        let Some(place) = &self.place else { return false };
        let text = MALFORMED.to_vec();
        self.answer = Answer::Here(Incoming::new(text, None, Body::Length(0), Rc::clone(place.budget())));
        true
    }

    /// A tunnel's writer has nothing more to say.
    pub fn finish(&mut self) {
        if let Asked::Body(body) = &mut self.request {
            body.finish();
        }
    }

    /// Breaks it off, so that the member sees it.
    pub fn reset(&mut self) {
        if let Asked::Body(body) = &mut self.request {
            body.reset(Reason::CANCEL);
        }
        self.answer = Answer::Broken;
    }
}

impl Drop for Mirror {
    /// An answer that was read to its length may have its end still to come: it is waited for, where nobody is kept
    /// waiting. Resetting the stream instead would look like an attack to a careful member.
    fn drop(&mut self) {
        let was_sent = matches!(self.request, Asked::Body(Outgoing::Done));
        let answer = std::mem::replace(&mut self.answer, Answer::Broken);
        match (answer, self.place.take()) {
            (Answer::Here(body), Some(place)) if was_sent && body.is_read() => {
                if let Some(rest) = body.into_rest() {
                    place.wait_for_end(rest);
                }
            }
            // What is left of the stream says by being dropped that it is given up.
            _ => self.reset(),
        }
    }
}

enum Heard {
    Interim(Box<Response<()>>),
    Head(Box<Response<RecvStream>>),
}

/// True if the member's answer was malformed: the library has reset the stream for it, and that stream alone.
fn is_malformed(error: &h2::Error) -> bool {
    error.is_library() && error.is_reset()
}

/// True if a member that sends `error` has done nothing for the request.
fn was_not_looked_at(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // A stream is told of a GOAWAY only if it is above the last one that the member will look at.
    error.is_remote() && (refused || error.is_go_away())
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framed {
    Nothing,
    Length(u64),
    Chunks,
    /// Not at all: bytes of a WebSocket follow, if it is granted.
    Tunnel(Accept),
}

/// A head as the library wants it.
#[derive(Debug)]
struct Written {
    request: Request<()>,
    body: Framed,
}

/// Reads a head that was written here.
fn read_request(head: &[u8], secured: bool) -> io::Result<Written> {
    let mut most: outgoing::Table<'_> = [const { std::mem::MaybeUninit::uninit() }; _];
    let mut more = Vec::new();
    let table = outgoing::room_for(head, &mut most, &mut more);
    let mut parsed = httparse::Request::new(&mut []);
    let parsing = httparse::ParserConfig::default();
    let status = parsing.parse_request_with_uninit_headers(&mut parsed, head, table);
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(target)) = (status, parsed.method, parsed.path) else {
        return Err(broken());
    };
    let kept = Bytes::copy_from_slice(head);
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    let (mut authority, mut body) = (None, Framed::Nothing);
    let websocket = upgrade::asked(head).is_some_and(upgrade::has_websocket);
    for field in parsed.headers.iter() {
        let name = outgoing::name(field)?;
        let value = outgoing::value(field, head, &kept)?;
        match name {
            // Nothing else can be asked for here.
            header::CONNECTION | header::UPGRADE => continue,
            header::SEC_WEBSOCKET_KEY if websocket => {
                body = Framed::Tunnel(upgrade::accept(value.as_bytes()));
                continue;
            }
            header::HOST => {
                authority = Authority::from_maybe_shared(Bytes::from_owner(value)).ok();
                continue;
            }
            header::TRANSFER_ENCODING => {
                body = Framed::Chunks;
                continue;
            }
            header::CONTENT_LENGTH => match fields::decimal(value.as_bytes()) {
                None => return Err(broken()),
                Some(0) => {}
                Some(n) => body = Framed::Length(n),
            },
            _ => {}
        }
        headers.append(name, value);
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| broken())?;
    *request.version_mut() = Version::HTTP_2;
    if let Framed::Tunnel(_) = body {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
    }
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(path(target)?);
    if authority.is_some() {
        uri.scheme = Some(if secured { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = authority;
    } else {
        // A request without a host, which HTTP/1.0 knows: the library wants it to be called older.
        *request.version_mut() = Version::HTTP_11;
    }
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| broken())?;
    *request.headers_mut() = headers;
    Ok(Written { request, body })
}

/// The target for a member. What no URI may have, and clients of HTTP/1.1 send all the same, is written as RFC 3986 section
/// 2.1 wants it: the library takes nothing else.
fn path(target: &str) -> io::Result<PathAndQuery> {
    if let Ok(path) = target.parse() {
        return Ok(path);
    }
    let mut encoded = String::with_capacity(target.len() + 16);
    for byte in target.bytes() {
        match byte {
            b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => {
                encoded.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    encoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded.parse().map_err(|_| broken())
}

/// The last lines of a 101.
fn granted(accept: &Accept) -> Vec<u8> {
    [&b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: "[..], accept, b"\r\n"].concat()
}

/// The head of an answer in text, with `framing` as its last lines.
fn write_head(status: StatusCode, headers: &HeaderMap, framing: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        fields::write_field(text, name.as_str().as_bytes(), value.as_bytes());
    }
    text.extend_from_slice(framing);
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Written {
        read_request(head.as_bytes(), false).unwrap()
    }

    #[test]
    fn a_head_becomes_pseudo_fields_and_fields() {
        let Written { request, body } = read(
            "POST /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\nX-One: 1\r\nx-one:  2 \r\nTE: trailers\r\nX-Empty:\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        );
        assert_eq!(request.uri(), "http://example.org:8080/a?b=c");
        assert_eq!((request.method().as_str(), body), ("POST", Framed::Chunks));
        let fields: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("x-one", "1"), ("x-one", "2"), ("te", "trailers"), ("x-empty", "")]);
    }

    #[test]
    fn bodies_are_framed_by_what_the_head_says() {
        for (field, expected) in [
            ("", Framed::Nothing),
            ("Content-Length: 0\r\n", Framed::Nothing),
            ("Content-Length: 17\r\n", Framed::Length(17)),
            ("transfer-encoding: chunked\r\n", Framed::Chunks),
        ] {
            assert_eq!(read(&format!("PUT / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).body, expected, "{field}");
        }
    }

    #[test]
    fn every_target_that_is_let_through_can_be_sent() {
        for (target, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/<a>`{|}^\\\"", "/%3Ca%3E%60%7B%7C%7D%5E%5C%22"),
            ("/%41/~?x=<y>", "/%41/~?x=%3Cy%3E"),
        ] {
            assert_eq!(path(target).unwrap().as_str(), expected);
        }
        for byte in (b'!'..=b'~').filter(|b| *b != b'#') {
            for target in [format!("/{}", char::from(byte)), format!("/?{}", char::from(byte))] {
                assert!(path(&target).is_ok(), "{target}");
            }
        }
    }

    #[test]
    fn a_request_without_a_host_has_no_authority() {
        let Written { request, .. } = read("GET / HTTP/1.1\r\nHost: \r\n\r\n");
        assert_eq!((request.uri().authority(), request.version()), (None, Version::HTTP_11));
    }
}
