//! One HTTP/2 stream of a client in the clothes of an HTTP/1.1 connection: what is read from it is a request in text,
//! what is written to it is an answer in text. It carries one request and then ends.
//!
//! A WebSocket (RFC 8441) is asked for as in HTTP/1.1, with a key made here. Once the answer is a 101, bytes are the tunnel's.

use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode, header};

use super::incoming::{Body, Incoming};
use super::io::{Budget, MESSAGE_CREDIT, REQUEST_CREDIT};
use super::outgoing::{self, Outgoing, broken};
use crate::http::h1::upgrade::{self, Accept};
use crate::http::h1::{fields, head_end};
use crate::tls::facts::Told;
use crate::wire::Stream;

/// What all streams of a connection have in common.
#[derive(Clone, Debug)]
pub struct Connected {
    /// What its peer may send without meaning anything.
    pub budget: Rc<Budget>,
    /// What the client told in its handshake.
    pub told: Option<Rc<Told>>,
    /// The connection itself, while there is one.
    pub carrier: Weak<Stream>,
}

/// See the module.
#[derive(Debug)]
pub struct Disguise {
    request: Incoming,
    /// Nobody expects a body: the request was HEAD.
    head_only: bool,
    answer: Answer,
    /// It asks for a WebSocket, and this is what a member has to answer to the key.
    pub accept: Option<Accept>,
    budget: Rc<Budget>,
    /// By the client in its handshake.
    pub told: Option<Rc<Told>>,
    carrier: Weak<Stream>,
}

/// How far the answer is.
#[derive(Debug)]
enum Answer {
    /// Its head is to come; the last: what was written of it.
    Head(SendResponse<Bytes>, Vec<u8>),
    /// Its head was sent.
    Body(Outgoing),
    /// There is nobody to take it.
    Broken,
}

/// True if a target is one that only origin servers are asked for (RFC 9113 section 8.3.1): with another one, the text
/// could name a second authority. A scheme that is there is not empty: the library knows the names of schemes, and takes
/// none for one.
pub fn has_plain_target(request: &Request<RecvStream>) -> bool {
    if request.uri().scheme_str() == Some("") {
        return false;
    }
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    match *request.method() {
        // What a tunnel carries has no length.
        http::Method::CONNECT if request.extensions().get::<Protocol>().is_some() => {
            target.starts_with('/') && !request.headers().contains_key(header::CONTENT_LENGTH)
        }
        http::Method::CONNECT => true,
        http::Method::OPTIONS if target == "*" => true,
        _ => target.starts_with('/'),
    }
}

impl Disguise {
    /// Of a stream that has just been opened.
    pub fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>, of: &Connected) -> Self {
        let Connected { budget, told, carrier } = of.clone();
        let (head, rest) = request.into_parts();
        let whole = rest.is_end_stream();
        let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
        let key = asks_for_websocket(&head).then(upgrade::key).and_then(Result::ok);
        // The library holds the peer to the length; whoever reads the text does, too.
        let body = if whole || has_length || key.is_some() { Body::Length(u64::MAX) } else { Body::Chunks };
        let mut text = Vec::with_capacity(512);
        write_head(&head, key.as_ref(), body == Body::Chunks, &mut text);
        budget.earn(text.len() as i64 + REQUEST_CREDIT);
        Self {
            request: Incoming::new(text, (!whole).then_some(rest), body, Rc::clone(&budget)),
            head_only: head.method == http::Method::HEAD,
            answer: Answer::Head(respond, Vec::new()),
            accept: key.map(|key| upgrade::accept(&key)),
            budget,
            told,
            carrier,
        }
    }

    /// Reads text of the request; 0 once it has been answered.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match std::task::ready!(self.request.poll_read(cx, room)) {
            Ok(Some(n)) => Poll::Ready(Ok(n)),
            Ok(None) if self.accept.is_some() => Poll::Ready(Ok(0)),
            Ok(None) => self.poll_gone(cx),
            Err(_) => Poll::Ready(Err(broken())),
        }
    }

    /// Ready when there is something to read; as far as is known without looking, where it is no tunnel.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.accept {
            Some(_) => self.request.poll_readable(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Throws away what still comes of a request that has been answered; `None`: nothing will, or its answer is not whole. A
    /// tunnel's client ends its side when it hears of the other's end.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        match self.answer {
            Answer::Body(Outgoing::Done) if self.accept.is_none() => self.request.poll_discard(cx),
            _ => Poll::Ready(None),
        }
    }

    /// Nothing more comes of the request: all that can happen is that the peer gives it up.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let reset = match &mut self.answer {
            Answer::Head(respond, _) => respond.poll_reset(cx).map(|_| ()),
            Answer::Body(Outgoing::Done) => return Poll::Ready(Ok(0)),
            Answer::Body(body) => body.poll_reset(cx),
            Answer::Broken => Poll::Ready(()),
        };
        reset.map(|()| Err(broken()))
    }

    /// Takes text of the answer, as far as the peer has room for it. `bytes` is not empty.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while taken < bytes.len() {
            let piece = match &mut self.answer {
                Answer::Head(..) => Poll::Ready(self.take_head(&bytes[taken..])),
                Answer::Body(body) => {
                    let sent = body.poll_write(cx, &bytes[taken..]);
                    if self.accept.is_some() && sent.is_ready() {
                        self.budget.earn(MESSAGE_CREDIT);
                    }
                    sent
                }
                Answer::Broken => Poll::Ready(Err(broken())),
            };
            match piece {
                Poll::Ready(Ok(n)) => taken += n,
                Poll::Ready(Err(error)) => {
                    // There is no answer to a stream that the peer has given up.
                    self.reset();
                    return Poll::Ready(Err(error));
                }
                Poll::Pending if taken > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Answer::Head(_, written) = &mut self.answer else { return Err(broken()) };
        if written.is_empty()
            && let Some(len) = head_end(bytes, 0)
        {
            return self.send_head(&bytes[..len]).map(|()| len);
        }
        let before = written.len();
        written.extend_from_slice(bytes);
        let Some(len) = head_end(written, before) else { return Ok(bytes.len()) };
        let head = std::mem::take(written);
        self.send_head(&head[..len]).map(|()| len - before)
    }

    /// Sends the head of the answer, or an interim one.
    fn send_head(&mut self, head: &[u8]) -> io::Result<()> {
        let mut most: outgoing::Table<'_> = [const { std::mem::MaybeUninit::uninit() }; _];
        let mut more = Vec::new();
        let table = outgoing::room_for(head, &mut most, &mut more);
        let mut parsed = httparse::Response::new(&mut []);
        let parsing = httparse::ParserConfig::default();
        let status = parsing.parse_response_with_uninit_headers(&mut parsed, head, table);
        if !status.is_ok_and(|status| status.is_complete()) {
            return Err(broken());
        }
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(broken)?;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        if (switches || status.is_success()) && switches != self.accept.is_some() {
            // Whoever asked for a tunnel takes any success for one, and nobody else may be told of one.
            return Err(broken());
        }
        let status = if switches { StatusCode::OK } else { status };
        let kept = Bytes::copy_from_slice(head);
        let mut response = Response::new(());
        *response.status_mut() = status;
        response.headers_mut().reserve(parsed.headers.len());
        let mut length = None;
        let mut chunked = false;
        for field in parsed.headers.iter() {
            let name = outgoing::name(field)?;
            match name {
                header::CONNECTION => continue,
                header::UPGRADE | header::SEC_WEBSOCKET_ACCEPT if switches => continue,
                header::TRANSFER_ENCODING => {
                    chunked = true;
                    continue;
                }
                header::CONTENT_LENGTH => length = fields::decimal(field.value.trim_ascii()),
                _ => {}
            }
            response.headers_mut().append(name, outgoing::value(field, head, &kept)?);
        }
        let Answer::Head(respond, _) = &mut self.answer else { return Err(broken()) };
        if status.is_informational() {
            return respond.send_informational(response).map_err(|_| broken());
        }
        let bodiless = self.head_only || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let ends = !switches && (bodiless || (length == Some(0) && !chunked));
        let send = respond.send_response(response, ends).map_err(|_| broken())?;
        self.answer = Answer::Body(match (ends, chunked, length) {
            _ if switches => Outgoing::UntilEnd(send),
            (true, ..) => Outgoing::Done,
            (_, true, _) => Outgoing::chunks(send),
            (_, _, Some(length)) => Outgoing::Length(send, length),
            (_, _, None) => Outgoing::UntilEnd(send),
        });
        Ok(())
    }

    /// Bytes that the client has acknowledged, of all streams.
    pub fn acknowledged(&self) -> io::Result<u64> {
        self.carrier.upgrade().ok_or_else(broken)?.acknowledged()
    }

    /// The writer has nothing more to say.
    pub fn finish(&mut self) {
        if let Answer::Body(body) = &mut self.answer {
            body.finish();
        }
    }

    /// Breaks the answer off, so that the peer sees it.
    pub fn reset(&mut self) {
        // RFC 8441 section 5 wants a tunnel's reset to be told so.
        let reason = if self.accept.is_some() { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
        match &mut self.answer {
            Answer::Head(respond, _) => respond.send_reset(reason),
            Answer::Body(Outgoing::Done) => return,
            Answer::Body(body) => body.reset(reason),
            Answer::Broken => return,
        }
        self.answer = Answer::Broken;
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        self.finish();
        self.budget.close_stream(matches!(self.answer, Answer::Body(Outgoing::Done)));
        self.reset();
    }
}

/// True for an extended CONNECT (RFC 8441) to a WebSocket.
fn asks_for_websocket(head: &http::request::Parts) -> bool {
    head.extensions.get::<Protocol>().is_some_and(|asked| asked.as_ref() == upgrade::WEBSOCKET)
}

/// The request's head in text. The library has checked names, values and pseudo-fields (RFC 9113 section 8.3); what is
/// ambiguous in HTTP/1.1 is found by whoever reads the text.
///
/// `key`: of the WebSocket it asks for. Such a request is the last of its connection, so what follows it is never taken for
/// another one.
fn write_head(head: &http::request::Parts, key: Option<&[u8; upgrade::KEY_LEN]>, chunked: bool, text: &mut Vec<u8>) {
    let method = if key.is_some() { "GET" } else { head.method.as_str() };
    text.extend_from_slice(method.as_bytes());
    text.push(b' ');
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let target = match (head.uri.path_and_query(), authority) {
        _ if head.method == http::Method::CONNECT && key.is_none() => authority.unwrap_or_default(),
        (Some(target), _) => target.as_str(),
        (None, _) => "/",
    };
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        fields::write_field(text, b"Host", authority.as_bytes());
    }
    let mut cookies = head.headers.get_all(header::COOKIE).iter();
    if let Some(first) = cookies.next() {
        // One field again of what was cut up to be compressed (RFC 9113 section 8.2.3).
        text.extend_from_slice(b"cookie: ");
        text.extend_from_slice(first.as_bytes());
        for more in cookies {
            text.extend_from_slice(b"; ");
            text.extend_from_slice(more.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
    }
    for (name, value) in &head.headers {
        let told = *name == header::COOKIE
            || (*name == header::HOST && authority.is_some())
            || (*name == header::SEC_WEBSOCKET_KEY && key.is_some());
        if !told {
            fields::write_field(text, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Some(key) = key {
        text.extend_from_slice(b"connection: upgrade, close\r\nupgrade: websocket\r\n");
        fields::write_field(text, b"sec-websocket-key", key);
    }
    if key.is_none() && head.extensions.get::<Protocol>().is_some() {
        // Whatever else it is, it is refused in other words than a plain CONNECT.
        text.extend_from_slice(b"upgrade: other\r\n");
    }
    if chunked {
        text.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    text.extend_from_slice(b"\r\n");
}
