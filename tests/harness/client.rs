//! A client that sends exactly what it is told, in the pieces it is told, and remembers all that came back.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::message::{Body, End, Framing, Head, Wire};
use crate::wait::pause;

/// One answer, interim or final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Body,
    /// How the body was delimited.
    pub framing: Framing,
}

impl Response {
    /// The status code; 0 if there is none to read.
    pub fn status(&self) -> u16 {
        self.head.word(1).parse().unwrap_or(0)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.data).into_owned()
    }

    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// True if all of it came.
    pub fn complete(&self) -> bool {
        self.body.cut.is_none()
    }
}

/// A connection with everything that was seen on it.
#[derive(Debug)]
pub struct Client {
    wire: Option<Wire>,
    /// Answers in order.
    pub responses: Vec<Response>,
    /// How it ended, once it did.
    pub end: Option<End>,
    /// Bytes taken outside of answers (TCP).
    pub stray: Vec<u8>,
    /// True once a send failed because the other side was gone.
    pub send_failed: bool,
}

/// How long an answer may take before a test calls it missing.
const ANSWER_PATIENCE: Duration = Duration::from_secs(8);

impl Client {
    /// Connects.
    pub fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap_or_else(|e| panic!("cannot connect to {to}: {e}"));
        Self::over(stream)
    }

    /// Connects from a given source address.
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&to.into()).unwrap_or_else(|e| panic!("cannot connect from {from} to {to}: {e}"));
        Self::over(socket.into())
    }

    /// As [`Client::connect_from`]; `None` if the connection is refused or reset before it is there.
    pub fn try_from(from: IpAddr, to: SocketAddr) -> Option<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).ok()?;
        socket.bind(&SocketAddr::new(from, 0).into()).ok()?;
        socket.connect(&to.into()).ok()?;
        Some(Self::over(socket.into()))
    }

    /// Takes a connected stream.
    pub fn over(stream: TcpStream) -> Self {
        let wire = Wire::new(stream, ANSWER_PATIENCE);
        Self { wire: Some(wire), responses: Vec::new(), end: None, stray: Vec::new(), send_failed: false }
    }

    /// The wire, while there is one.
    pub fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("the client has left already")
    }

    /// Sends bytes; that the other side is gone is noted, not an error.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.send_failed |= self.wire().send(bytes).is_err();
    }

    /// Sends pieces as segments of their own.
    pub fn send_pieces(&mut self, pieces: &[&[u8]], gap: Duration) {
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0 {
                pause(gap);
            }
            self.send(piece);
        }
    }

    /// Reads interim answers up to and with the final one to a request with this method.
    ///
    /// When the connection ends instead, the end is noted and the last answer returned, if there was any.
    pub fn answer_to(&mut self, method: &str) -> Option<&Response> {
        while let Ok(interim) = self.one_answer(method) {
            if !interim {
                return self.responses.last();
            }
        }
        None
    }

    /// [`Client::answer_to`] GET; panics if no answer came.
    pub fn answer(&mut self) -> &Response {
        let seen = format!("{:?}", self.responses.len());
        self.answer_to("GET").unwrap_or_else(|| panic!("no answer came after {seen} answers"))
    }

    /// As [`Client::answer`], but the connection may end instead.
    pub fn maybe_answer(&mut self) -> Option<&Response> {
        self.answer_to("GET")
    }

    /// Reads one answer, interim or final; `Ok(true)` for an interim one.
    pub fn one_answer(&mut self, method: &str) -> Result<bool, End> {
        let wire = self.wire.as_mut().expect("the client has left already");
        let head = wire.head().inspect_err(|end| {
            self.end = Some(*end);
            self.stray.extend(wire.take_pending());
        })?;
        let status: u16 = head.word(1).parse().unwrap_or(0);
        let interim = (100..200).contains(&status) && status != 101;
        let (framing, body) = if interim || status == 204 || status == 304 || status == 101 || method == "HEAD" {
            (Framing::None, Body::default())
        } else if head.chunked() {
            (Framing::Chunked, wire.body_in_chunks())
        } else if let Some(n) = head.length() {
            (Framing::Length, wire.body_of_length(n))
        } else {
            let (data, end) = wire.to_end();
            self.end = Some(end);
            (Framing::Close, Body { data, trailers: Vec::new(), cut: (end != End::Closed).then_some(end) })
        };
        self.end = self.end.or(body.cut);
        self.responses.push(Response { head, body, framing });
        Ok(interim)
    }

    /// Sends a GET and reads its answer.
    pub fn get(&mut self, target: &str) -> &Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: weir.test\r\n\r\n"));
        self.answer()
    }

    /// Takes exactly `n` raw bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        match self.wire().exact(n) {
            Ok(bytes) => {
                self.stray.extend(&bytes);
                bytes
            }
            Err(end) => panic!("{end:?} while waiting for {n} bytes; had {}", self.wire().take_pending().len()),
        }
    }

    /// Takes raw bytes until the other side ends.
    pub fn take_to_end(&mut self) -> End {
        let (data, end) = self.wire().to_end();
        self.stray.extend(data);
        self.end = Some(end);
        end
    }

    /// FIN towards the proxy.
    pub fn half_close(&mut self) {
        self.wire().half_close();
    }

    /// RST towards the proxy; nothing more is seen.
    pub fn reset(&mut self) {
        self.wire.take().expect("the client has left already").reset();
    }

    /// Leaves.
    pub fn leave(&mut self) {
        self.wire = None;
    }

    /// How the connection stands, as far as can be seen within `patience`; `None` if the client left. Surplus bytes
    /// go to `stray`.
    pub fn fate_if_open(&mut self, patience: Duration) -> Option<End> {
        let wire = self.wire.as_mut()?;
        if self.end.is_none_or(|end| end == End::Idle) {
            let mut end = Ok(0);
            while end.is_ok() {
                assert!(wire.received.len() < 64 << 20, "an endless answer");
                end = wire.fill_within(patience);
            }
            self.stray.extend(wire.take_pending());
            self.end = end.err();
        }
        self.end
    }
}

/// One GET on a connection of its own; its answer.
pub fn get(to: SocketAddr, target: &str) -> Response {
    Client::connect(to).get(target).clone()
}
