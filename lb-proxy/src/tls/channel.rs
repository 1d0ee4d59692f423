//! One TLS connection's state and what of it is in memory: between two records nothing but keys.
//!
//! The library is driven over buffers of ours, lent while a record is on its way in or out. Invariants: bytes are
//! read from the socket only when no plaintext waits to be taken, and every record that is whole is opened at once. So
//! plaintext never outgrows one buffer, and when something is to be written no whole record is in the way.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::facts::{ClientFacts, Told};
use super::names;
use crate::buffer::{Buffer, Buffers};
use crate::wire::raw::{Raw, Unread};

/// What sealing adds to 16 KiB of plaintext, at most, with room to spare: header, nonce, tag, type.
const SEAL_OVERHEAD: usize = 64;
/// Longest piece of plaintext in one record (RFC 8446 section 5.1).
const RECORD_MAX: usize = 16 * 1024;
/// Steps the library may take over one portion of input; each consumes a record or hands something out.
const STEPS_MAX: usize = 100_000;

/// Which end of the connection we are.
enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Channel {
    side: Side,
    /// Records that are not whole yet.
    incoming: Option<Buffer>,
    /// Opened and not taken.
    plain: Option<Buffer>,
    /// Sealed and not sent.
    outgoing: Option<Buffer>,
    /// Bytes of plaintext in `outgoing` whose writer has not been told yet.
    accepted: usize,
    /// Bytes of a record that had begun when the connection was put to rest.
    rested: Box<[u8]>,
    state: State,
    /// The name the client asked for, in lower case.
    asked_for: Option<Box<str>>,
    /// By a client.
    told: Option<Rc<Told>>,
    buffers: Rc<Buffers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Hands are being shaken.
    Opening,
    Open,
    /// The peer will send nothing more.
    PeerDone,
    /// Something was wrong: nothing more is read or written.
    Failed,
}

/// Why there is no connection, or no connection any more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The peer said what it may not, or refused what we said.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The connection below broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer closed in the middle of the handshake.
    #[error("the connection was closed during the handshake")]
    Closed,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => error,
            Failure::Tls(error) => Self::new(io::ErrorKind::InvalidData, error),
            Failure::Closed => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// Where plaintext goes: to whoever asked, and what does not fit there to the side.
struct Taken<'a> {
    room: &'a mut [u8],
    filled: usize,
    plain: &'a mut Option<Buffer>,
    buffers: &'a Rc<Buffers>,
}

impl Taken<'_> {
    fn take(&mut self, mut payload: &[u8]) -> Result<(), Failure> {
        if self.plain.is_none() {
            let n = payload.len().min(self.room.len() - self.filled);
            self.room[self.filled..self.filled + n].copy_from_slice(&payload[..n]);
            self.filled += n;
            payload = &payload[n..];
        }
        if payload.is_empty() {
            return Ok(());
        }
        let plain = self.plain.get_or_insert_with(|| self.buffers.lend());
        let Some(room) = plain.room().get_mut(..payload.len()) else {
            return Err(overflow());
        };
        room.copy_from_slice(payload);
        plain.fill(payload.len());
        Ok(())
    }
}

/// A buffer that must hold what it is given does not: an invariant is broken, and the connection ends.
fn overflow() -> Failure {
    Failure::Io(io::Error::other("a TLS buffer overflows"))
}

/// What the library wants next.
enum Next {
    /// To be asked again.
    Again,
    /// More bytes from the peer.
    Input,
    /// Nothing: it is open.
    Nothing,
    /// The peer said goodbye.
    Goodbye,
}

impl Channel {
    /// The serving end, before its handshake.
    pub fn server(connection: UnbufferedServerConnection, buffers: Rc<Buffers>) -> Self {
        Self::new(Side::Server(connection), buffers)
    }

    /// The asking end, before its handshake.
    pub fn client(connection: UnbufferedClientConnection, buffers: Rc<Buffers>) -> Self {
        Self::new(Side::Client(connection), buffers)
    }

    fn new(side: Side, buffers: Rc<Buffers>) -> Self {
        let (incoming, plain, outgoing) = (None, None, None);
        Self {
            side,
            incoming,
            plain,
            outgoing,
            accepted: 0,
            rested: Box::default(),
            state: State::Opening,
            asked_for: None,
            told: None,
            buffers,
        }
    }

    /// What the library knows: version, suite, names, certificates.
    pub fn facts(&self) -> &rustls::CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// What the client told, once hands were shaken with one.
    pub fn told(&self) -> Option<&Rc<Told>> {
        self.told.as_ref()
    }

    /// Notes what the client has told.
    pub fn note_told(&mut self) {
        let shown = self.facts().peer_certificates().and_then(<[_]>::first);
        let certificate = shown.and_then(ClientFacts::of);
        self.told = Some(Rc::new(Told { asked_for: self.asked_for.take(), certificate }));
    }

    /// This connection to a member was made for clients that ask for `name`.
    pub fn remember_name(&mut self, name: Option<&str>) {
        self.asked_for = name.map(Into::into);
    }

    /// For clients that ask for which name it was made; `None`: for all.
    pub fn asked_for(&self) -> Option<&str> {
        self.asked_for.as_deref()
    }

    /// True while plaintext waits to be taken.
    pub fn has_plaintext(&self) -> bool {
        self.plain.is_some()
    }

    /// Shakes hands until the connection is open. `first`: bytes that were read from the socket before.
    pub async fn shake_hands(&mut self, raw: &Raw, first: &[u8]) -> Result<(), Failure> {
        self.rested = first.into();
        std::future::poll_fn(|cx| self.poll_handshake(raw, cx)).await
    }

    fn poll_handshake(&mut self, raw: &Raw, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            // Nothing is given to anybody before the handshake is over; what comes with its last record waits.
            let opened = self.open_records(&mut []);
            // Told on this thread in this very step.
            if let Some(name) = names::take_asked_for() {
                self.asked_for = Some(name);
            }
            match ready!(self.poll_flush(raw, cx)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(opened.err().unwrap_or(Failure::Io(error)))),
            }
            opened?;
            match self.state {
                State::Opening => {}
                State::Open => return Poll::Ready(Ok(())),
                // With the handshake's last words came a request, maybe, and a goodbye: it is still to be answered.
                State::PeerDone if !self.facts().is_handshaking() => return Poll::Ready(Ok(())),
                State::PeerDone | State::Failed => return Poll::Ready(Err(Failure::Closed)),
            }
            if ready!(self.poll_fill(raw, cx))? == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
        }
    }

    /// Reads plaintext; 0 is the peer's goodbye. A connection that ends without one is an error.
    pub fn poll_read(&mut self, raw: &Raw, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(n) = self.take_plaintext(room) {
                return Poll::Ready(Ok(n));
            }
            let opened = self.open_records(room);
            // Answers of the protocol itself leave before more is read: nobody makes us pile them up.
            match self.poll_flush(raw, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if matches!(opened, Ok(0)) && self.state == State::Open => return Poll::Pending,
                Poll::Pending => {}
            }
            match opened? {
                0 => {}
                n => return Poll::Ready(Ok(n)),
            }
            match self.state {
                State::PeerDone => return Poll::Ready(Ok(0)),
                State::Failed | State::Opening => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                State::Open => {}
            }
            if ready!(self.poll_fill(raw, cx))? == 0 {
                self.state = State::Failed;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Seals what fits of `bytes`, and tells how much that was once it has been sent.
    pub fn poll_write(&mut self, raw: &Raw, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.accepted == 0 {
            // What is still under way is of the protocol itself.
            ready!(self.poll_flush(raw, cx))?;
            self.accepted = self.seal(bytes)?;
        }
        ready!(self.poll_flush(raw, cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.accepted)))
    }

    /// Looks without waiting whether the peer has said something.
    pub fn look(&mut self, raw: &Raw) -> Unread {
        if self.has_plaintext() {
            return Unread::Bytes;
        }
        loop {
            let filled = match self.fill_from(|room| raw.try_read(room)) {
                Ok(0) => return Unread::End,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Unread::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Unread::End,
            };
            debug_assert!(filled > 0);
            if self.open_records(&mut []).is_err() || self.state != State::Open {
                return Unread::End;
            }
            if self.has_plaintext() {
                return Unread::Bytes;
            }
        }
    }

    /// Says that nothing more will come from us, as far as the kernel takes it now.
    pub fn say_goodbye(&mut self, raw: &Raw) {
        if !matches!(self.state, State::Open | State::PeerDone) {
            return;
        }
        self.keep_silent();
        if self.outgoing.is_some() {
            // In the middle of a record nothing else can be said.
            return;
        }
        let Self { side, incoming, outgoing, buffers, .. } = self;
        let mut nothing = [];
        let input = incoming.as_mut().map_or(&mut nothing[..], |buffer| buffer.filled_mut());
        let mut room = buffers.lend();
        let said = match side {
            Side::Server(connection) => goodbye(connection.process_tls_records(input), room.room()),
            Side::Client(connection) => goodbye(connection.process_tls_records(input), room.room()),
        };
        room.fill(said);
        *outgoing = None;
        if !room.is_empty() {
            let _ = raw.try_write(room.filled());
        }
    }

    /// Nothing more will be said, not even a goodbye.
    pub fn keep_silent(&mut self) {
        self.state = State::Failed;
    }

    /// Lets go of all memory that can be spared while nobody waits for anything.
    pub fn settle(&mut self) {
        if let Some(buffer) = self.incoming.take() {
            self.rested = buffer.filled().into();
        }
    }

    fn take_plaintext(&mut self, room: &mut [u8]) -> Option<usize> {
        let plain = self.plain.as_mut()?;
        let n = plain.len().min(room.len());
        room[..n].copy_from_slice(&plain.filled()[..n]);
        plain.consume(n);
        if plain.is_empty() {
            self.plain = None;
        }
        Some(n)
    }

    /// Opens every record that is whole. Returns how much plaintext was put into `room`.
    fn open_records(&mut self, room: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        for _ in 0..STEPS_MAX {
            let next = match self.step(&mut room[filled..]) {
                (n, Ok(next)) => {
                    filled += n;
                    next
                }
                (_, Err(failure)) => {
                    self.state = State::Failed;
                    // The alert for it waits to be sent. Nothing else may be asked of the library any more.
                    if self.facts().wants_write() {
                        let _ = self.step(&mut []);
                    }
                    return Err(failure);
                }
            };
            match (next, self.state) {
                (Next::Again, _) => continue,
                (Next::Nothing, State::Opening) => self.state = State::Open,
                (Next::Goodbye, State::Open | State::Opening) => self.state = State::PeerDone,
                _ => {}
            }
            return Ok(filled);
        }
        self.state = State::Failed;
        Err(overflow())
    }

    /// One step of the library. Returns how much plaintext was put into `room`.
    fn step(&mut self, room: &mut [u8]) -> (usize, Result<Next, Failure>) {
        let Self { side, incoming, plain, outgoing, buffers, .. } = self;
        let mut taken = Taken { room, filled: 0, plain, buffers };
        let input = incoming.as_mut().map_or(&mut [][..], Buffer::filled_mut);
        let (discard, next) = match side {
            Side::Server(connection) => step(connection.process_tls_records(input), &mut taken, outgoing),
            Side::Client(connection) => step(connection.process_tls_records(input), &mut taken, outgoing),
        };
        let filled = taken.filled;
        if let Some(buffer) = incoming {
            buffer.consume(discard);
        }
        if incoming.as_ref().is_some_and(Buffer::is_empty) {
            *incoming = None;
        }
        (filled, next)
    }

    /// Seals as much of `bytes` as fits into what is sent at once.
    fn seal(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        if !matches!(self.state, State::Open | State::PeerDone) {
            return Err(Failure::Io(io::ErrorKind::BrokenPipe.into()));
        }
        let Self { side, incoming, plain, outgoing, buffers, .. } = self;
        let small = bytes.len() <= RECORD_MAX;
        let room = outgoing.get_or_insert_with(|| if small { buffers.lend() } else { buffers.lend_large() });
        let mut taken = Taken { room: &mut [], filled: 0, plain, buffers };
        let mut nothing = [];
        for _ in 0..STEPS_MAX {
            let input = incoming.as_mut().map_or(&mut nothing[..], |buffer| buffer.filled_mut());
            let (discard, sealed) = match side {
                Side::Server(connection) => seal(connection.process_tls_records(input), bytes, &mut taken, room),
                Side::Client(connection) => seal(connection.process_tls_records(input), bytes, &mut taken, room),
            };
            if let Some(buffer) = incoming {
                buffer.consume(discard);
            }
            match sealed {
                Ok(None) => {}
                Ok(Some(n)) => return Ok(n),
                Err(failure) => {
                    self.state = State::Failed;
                    return Err(failure);
                }
            }
        }
        Err(overflow())
    }

    /// Sends what is sealed.
    fn poll_flush(&mut self, raw: &Raw, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = &mut self.outgoing {
            if !buffer.is_empty() {
                match ready!(raw.poll_write(cx, buffer.filled()))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => buffer.consume(n),
                }
            }
            if buffer.is_empty() {
                self.outgoing = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the socket behind what is there of a record.
    fn poll_fill(&mut self, raw: &Raw, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut waiting = false;
        let filled = self.fill_from(|room| match raw.poll_read(cx, room) {
            Poll::Ready(read) => read,
            Poll::Pending => {
                waiting = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        });
        if waiting { Poll::Pending } else { Poll::Ready(filled) }
    }

    fn fill_from(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let begun = std::mem::take(&mut self.rested);
        let buffer = self.incoming.get_or_insert_with(|| self.buffers.lend());
        if !begun.is_empty() {
            let Some(room) = buffer.room().get_mut(..begun.len()) else {
                return Err(overflow().into());
            };
            room.copy_from_slice(&begun);
            buffer.fill(begun.len());
            return Ok(begun.len());
        }
        buffer.make_room();
        if buffer.room().is_empty() {
            // A message of the handshake that is longer than any we take.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too long"));
        }
        let read = read(buffer.room());
        match read {
            Ok(n) => buffer.fill(n),
            Err(_) if buffer.is_empty() => self.incoming = None,
            Err(_) => {}
        }
        read
    }
}

/// One step of the library over what has come.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    taken: &mut Taken<'_>,
    outgoing: &mut Option<Buffer>,
) -> (usize, Result<Next, Failure>) {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state {
        Err(error) => Err(error.into()),
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                None => break Ok(Next::Again),
                Some(Err(error)) => break Err(error.into()),
                Some(Ok(record)) => {
                    discard += record.discard;
                    if let Err(failure) = taken.take(record.payload) {
                        break Err(failure);
                    }
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let buffers = taken.buffers;
            let buffer = outgoing.get_or_insert_with(|| buffers.lend());
            match message.encode(buffer.room()) {
                Ok(n) => {
                    buffer.fill(n);
                    Ok(Next::Again)
                }
                Err(EncodeError::InsufficientSize(_)) => Err(overflow()),
                Err(EncodeError::AlreadyEncoded) => Ok(Next::Again),
            }
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(Next::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Next::Input),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Next::Nothing),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Next::Goodbye),
        // Early data is never asked for: it can be replayed.
        Ok(_) => Err(Failure::Tls(rustls::Error::General("the TLS library asks for what is not done".to_owned()))),
    };
    (discard, next)
}

/// Seals `bytes` if the library is ready for it; `None`: it had something else to do first.
fn seal<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    bytes: &[u8],
    taken: &mut Taken<'_>,
    out: &mut Buffer,
) -> (usize, Result<Option<usize>, Failure>) {
    let UnbufferedStatus { mut discard, state } = status;
    let sealed = match state {
        Err(error) => Err(error.into()),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let room = out.room();
            let most = room.len().saturating_sub(SEAL_OVERHEAD) / (RECORD_MAX + SEAL_OVERHEAD) * RECORD_MAX;
            let most = most.max(room.len().min(RECORD_MAX).saturating_sub(2 * SEAL_OVERHEAD));
            let n = bytes.len().min(most);
            match traffic.encrypt(&bytes[..n], room) {
                Ok(written) => {
                    out.fill(written);
                    Ok(Some(n))
                }
                Err(EncryptError::InsufficientSize(_)) => Err(overflow()),
                Err(error @ EncryptError::EncryptExhausted) => Err(Failure::Io(io::Error::other(error))),
            }
        }
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                None => break Ok(None),
                Some(Err(error)) => break Err(error.into()),
                Some(Ok(record)) => {
                    discard += record.discard;
                    if let Err(failure) = taken.take(record.payload) {
                        break Err(failure);
                    }
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut message)) => match message.encode(out.room()) {
            Ok(n) => {
                out.fill(n);
                Ok(None)
            }
            Err(_) => Err(overflow()),
        },
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(None)
        }
        Ok(ConnectionState::PeerClosed) => Ok(None),
        Ok(_) => Err(Failure::Io(io::ErrorKind::BrokenPipe.into())),
    };
    (discard, sealed)
}

/// Writes a goodbye into `room` if the library is ready for it.
fn goodbye<Data>(status: UnbufferedStatus<'_, '_, Data>, room: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(room).unwrap_or(0),
        _ => 0,
    }
}
