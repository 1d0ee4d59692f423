//! One HTTP/2 stream of a client in the clothes of an HTTP/1.1 connection: what is read from it is a request in text,
//! what is written to it is an answer in text. It carries one request and then ends.
//!
//! Back-pressure is the stream's own: the peer may send what has been taken, and is sent what it has room for. An
//! answer that breaks off resets the stream, so that nobody takes it for whole (RFC 9113 section 8.1).

use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};

use super::io::{Budget, REQUEST_CREDIT};
use crate::http::h1::{FIELDS_MAX, fields, head_end};
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

/// Bytes of data that mean as much as themselves, and so many for each frame.
const FRAME_MIN: i64 = 64;

/// See the module.
#[derive(Debug)]
pub struct Disguise {
    /// Text to be read before anything else.
    text: Vec<u8>,
    text_at: usize,
    /// Data to be read after the text.
    data: Bytes,
    /// The rest of the request; `None`: it is whole.
    rest: Option<RecvStream>,
    /// It is read in chunks, having no length.
    chunked: bool,
    /// Nobody expects a body: the request was HEAD.
    head_only: bool,
    answer: Answer,
    /// What was written of a head or a line that is not whole yet.
    line: Vec<u8>,
    budget: Rc<Budget>,
    /// By the client in its handshake.
    pub told: Option<Rc<Told>>,
    carrier: Weak<Stream>,
}

/// How far the answer is.
#[derive(Debug)]
enum Answer {
    /// Its head is to come.
    Head(SendResponse<Bytes>),
    /// So many bytes are to come.
    Length(SendStream<Bytes>, u64),
    /// Chunks are to come.
    Chunks(SendStream<Bytes>, Chunk),
    /// Bytes are to come until the writer ends.
    UntilEnd(SendStream<Bytes>),
    /// It is whole.
    Done,
    /// It broke off.
    Broken,
}

/// What of a chunk comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Disguise {
    /// Of a stream that has just been opened.
    pub fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>, of: &Connected) -> Self {
        let Connected { budget, told, carrier } = of.clone();
        let (head, rest) = request.into_parts();
        let whole = rest.is_end_stream();
        let chunked = !whole && !head.headers.contains_key(header::CONTENT_LENGTH);
        let mut text = Vec::with_capacity(512);
        write_head(&head, chunked, &mut text);
        budget.earn(text.len() as i64 + REQUEST_CREDIT);
        Self {
            text,
            text_at: 0,
            data: Bytes::new(),
            rest: (!whole).then_some(rest),
            chunked,
            head_only: head.method == http::Method::HEAD,
            answer: Answer::Head(respond),
            line: Vec::new(),
            budget,
            told,
            carrier,
        }
    }

    /// Reads text of the request; 0 once it has been answered.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.text_at < self.text.len() {
                let n = (self.text.len() - self.text_at).min(room.len());
                room[..n].copy_from_slice(&self.text[self.text_at..self.text_at + n]);
                self.text_at += n;
                return Poll::Ready(Ok(n));
            }
            if !self.data.is_empty() {
                return Poll::Ready(Ok(self.take_data(room)));
            }
            let Some(rest) = &mut self.rest else { return self.poll_gone(cx) };
            match ready!(rest.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.budget.earn(data.len() as i64 + if data.is_empty() { 0 } else { FRAME_MIN });
                    if self.chunked && !data.is_empty() {
                        self.say(|text| text.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes()));
                    }
                    self.data = data;
                }
                Some(Err(_)) => return Poll::Ready(Err(broken())),
                None => {
                    let trailers = ready!(rest.poll_trailers(cx)).map_err(|_| broken())?;
                    self.rest = None;
                    if self.chunked {
                        self.say(|text| write_end(trailers.as_ref(), text));
                    }
                }
            }
        }
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.clear();
        self.text_at = 0;
        write(&mut self.text);
    }

    fn take_data(&mut self, room: &mut [u8]) -> usize {
        let n = self.data.len().min(room.len());
        self.data.copy_to_slice(&mut room[..n]);
        if let Some(rest) = &mut self.rest {
            // The peer may send as much again. A stream that is gone has no window.
            let _ = rest.flow_control().release_capacity(n);
        }
        if self.chunked && self.data.is_empty() {
            self.say(|text| text.extend_from_slice(b"\r\n"));
        }
        n
    }

    /// Nothing more comes of the request: all that can happen is that the peer gives it up.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let reset = match &mut self.answer {
            Answer::Head(respond) => respond.poll_reset(cx),
            Answer::Length(send, _) | Answer::Chunks(send, _) | Answer::UntilEnd(send) => send.poll_reset(cx),
            Answer::Done => return Poll::Ready(Ok(0)),
            Answer::Broken => return Poll::Ready(Err(broken())),
        };
        reset.map(|_| Err(broken()))
    }

    /// Takes text of the answer, as far as the peer has room for it. `bytes` is not empty.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.poll_take(cx, &bytes[taken..]) {
                Poll::Ready(Ok(n)) => taken += n,
                Poll::Ready(Err(error)) => {
                    self.answer = Answer::Broken;
                    return Poll::Ready(Err(error));
                }
                Poll::Pending if taken > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Takes the next piece: a head, a line of framing, or data.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.answer {
            Answer::Head(_) => Poll::Ready(self.take_head(bytes)),
            Answer::Length(send, left) => {
                let most = (bytes.len() as u64).min(*left) as usize;
                let n = ready!(poll_send(send, cx, &bytes[..most], *left))?;
                *left -= n as u64;
                if *left == 0 {
                    self.answer = Answer::Done;
                }
                Poll::Ready(Ok(n))
            }
            Answer::UntilEnd(send) => poll_send(send, cx, bytes, u64::MAX),
            Answer::Chunks(send, Chunk::Data(left)) => {
                let most = (bytes.len() as u64).min(*left) as usize;
                let n = ready!(poll_send(send, cx, &bytes[..most], u64::MAX))?;
                let left = *left - n as u64;
                self.next(if left == 0 { Chunk::DataEnd } else { Chunk::Data(left) });
                Poll::Ready(Ok(n))
            }
            Answer::Chunks(..) => Poll::Ready(self.take_line(bytes)),
            Answer::Done | Answer::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn next(&mut self, chunk: Chunk) {
        if let Answer::Chunks(_, at) = &mut self.answer {
            *at = chunk;
        }
    }

    /// Takes one line of a chunk's framing, or of the trailers.
    fn take_line(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        self.line.extend_from_slice(&bytes[..end]);
        if !self.line.ends_with(b"\n") {
            return Ok(end);
        }
        let Answer::Chunks(_, at) = &self.answer else { return Err(broken()) };
        match at {
            Chunk::Size => {
                let text = std::str::from_utf8(self.line.trim_ascii_end()).map_err(|_| broken())?;
                let size = u64::from_str_radix(text, 16).map_err(|_| broken())?;
                self.line.clear();
                self.next(if size == 0 { Chunk::Trailers } else { Chunk::Data(size) });
            }
            Chunk::DataEnd => {
                self.line.clear();
                self.next(Chunk::Size);
            }
            Chunk::Trailers if self.line == b"\r\n" || self.line.ends_with(b"\r\n\r\n") => self.end_chunks()?,
            Chunk::Trailers | Chunk::Data(_) => {}
        }
        Ok(end)
    }

    fn end_chunks(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let Answer::Chunks(mut send, _) = std::mem::replace(&mut self.answer, Answer::Done) else {
            return Err(broken());
        };
        if line == b"\r\n" {
            return send.send_data(Bytes::new(), true).map_err(|_| broken());
        }
        let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(&line, &mut table) else {
            return Err(broken());
        };
        let mut trailers = HeaderMap::with_capacity(parsed.len());
        for field in parsed {
            trailers.append(name(field)?, value(field)?);
        }
        send.send_trailers(trailers).map_err(|_| broken())
    }

    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.line.len();
        if before == 0
            && let Some(len) = head_end(bytes, 0)
        {
            return self.answer(&bytes[..len]).map(|()| len);
        }
        self.line.extend_from_slice(bytes);
        let Some(len) = head_end(&self.line, before) else { return Ok(bytes.len()) };
        let mut head = std::mem::take(&mut self.line);
        head.truncate(len);
        self.answer(&head).map(|()| len - before)
    }

    /// Sends the head of the answer, or an interim one.
    fn answer(&mut self, head: &[u8]) -> io::Result<()> {
        let mut table = [httparse::EMPTY_HEADER; FIELDS_MAX + 8];
        let mut parsed = httparse::Response::new(&mut table);
        if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
            return Err(broken());
        }
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(broken)?;
        let mut response = Response::new(());
        *response.status_mut() = status;
        let mut length = None;
        let mut chunked = false;
        for field in parsed.headers.iter() {
            let name = name(field)?;
            match name {
                header::CONNECTION => continue,
                header::TRANSFER_ENCODING => {
                    chunked = true;
                    continue;
                }
                header::CONTENT_LENGTH => length = fields::decimal(field.value.trim_ascii()),
                _ => {}
            }
            response.headers_mut().append(name, value(field)?);
        }
        let Answer::Head(respond) = &mut self.answer else { return Err(broken()) };
        if status.is_informational() {
            return respond.send_informational(response).map_err(|_| broken());
        }
        let bodiless = self.head_only || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let ends = bodiless || (length == Some(0) && !chunked);
        let send = respond.send_response(response, ends).map_err(|_| broken())?;
        self.answer = match (ends, chunked, length) {
            (true, ..) => Answer::Done,
            (_, true, _) => Answer::Chunks(send, Chunk::Size),
            (_, _, Some(length)) => Answer::Length(send, length),
            (_, _, None) => Answer::UntilEnd(send),
        };
        Ok(())
    }

    /// Bytes that the client has acknowledged, of all streams.
    pub fn acknowledged(&self) -> io::Result<u64> {
        self.carrier.upgrade().ok_or_else(broken)?.acknowledged()
    }

    /// The writer has nothing more to say.
    pub fn finish(&mut self) {
        if let Answer::UntilEnd(send) = &mut self.answer {
            let _ = send.send_data(Bytes::new(), true);
            self.answer = Answer::Done;
        }
    }

    /// Breaks the answer off, so that the peer sees it.
    pub fn reset(&mut self) {
        match &mut self.answer {
            Answer::Head(respond) => respond.send_reset(Reason::INTERNAL_ERROR),
            Answer::Length(send, _) | Answer::Chunks(send, _) | Answer::UntilEnd(send) => {
                send.send_reset(Reason::INTERNAL_ERROR);
            }
            Answer::Done | Answer::Broken => return,
        }
        self.answer = Answer::Broken;
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        self.finish();
        self.reset();
    }
}

/// Sends what the peer has room for; `left` says how much is to come in all.
fn poll_send(send: &mut SendStream<Bytes>, cx: &mut Context<'_>, bytes: &[u8], left: u64) -> Poll<io::Result<usize>> {
    send.reserve_capacity(bytes.len());
    let capacity = loop {
        match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(Ok(0)) => {}
                Some(Ok(capacity)) => break capacity,
                Some(Err(_)) | None => return Poll::Ready(Err(broken())),
            },
            capacity => break capacity,
        }
    };
    let n = capacity.min(bytes.len());
    let sent = send.send_data(Bytes::copy_from_slice(&bytes[..n]), left == n as u64);
    Poll::Ready(sent.map(|()| n).map_err(|_| broken()))
}

fn name(field: &httparse::Header<'_>) -> io::Result<HeaderName> {
    HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| broken())
}

fn value(field: &httparse::Header<'_>) -> io::Result<HeaderValue> {
    HeaderValue::from_bytes(field.value.trim_ascii()).map_err(|_| broken())
}

/// The request's head in text. The library has checked names, values and pseudo-fields (RFC 9113 section 8.3); what is
/// ambiguous in HTTP/1.1 is found by whoever reads the text.
fn write_head(head: &http::request::Parts, chunked: bool, text: &mut Vec<u8>) {
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b' ');
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let target = match (head.uri.path_and_query(), authority) {
        _ if head.method == http::Method::CONNECT => authority.unwrap_or_default(),
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
        let told = *name == header::COOKIE || (*name == header::HOST && authority.is_some());
        if !told {
            fields::write_field(text, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if chunked {
        text.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    text.extend_from_slice(b"\r\n");
}

fn write_end(trailers: Option<&HeaderMap>, text: &mut Vec<u8>) {
    text.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        fields::write_field(text, name.as_str().as_bytes(), value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
}
