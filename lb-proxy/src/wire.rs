//! Reading from and writing to a connection, with patience noted only while it has to wait.

pub mod raw;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::buffer::{Buffer, Buffers};
use crate::http::h1::upgrade::Accept;
use crate::http2::disguise::Disguise;
use crate::http2::mirror::Mirror;
use crate::timer::Patience;
use crate::tls::channel::Channel;
use crate::tls::facts::Told;
pub use raw::{Closing, Raw, Unread};

/// One connection, to a client or to a member.
#[derive(Debug)]
pub struct Stream(Link);

#[derive(Debug)]
enum Link {
    /// The bytes are the peer's.
    Bare(Raw),
    /// They are TLS.
    Secured(Box<Secured>),
    /// They are a stream's of an HTTP/2 connection.
    Disguised(Box<RefCell<Disguise>>),
    /// The same, of a connection to a member.
    Mirrored(Box<RefCell<Mirror>>),
}

/// A connection with TLS over it.
#[derive(Debug)]
pub struct Secured {
    raw: Raw,
    channel: RefCell<Channel>,
}

impl Drop for Secured {
    /// A peer that hears no goodbye must take what it got for cut short.
    fn drop(&mut self) {
        self.channel.get_mut().say_goodbye(&self.raw);
    }
}

/// A connection at rest: the runtime does not know it any more.
#[derive(Debug)]
pub struct Rested(RestedLink);

#[derive(Debug)]
enum RestedLink {
    Bare(TcpStream),
    Secured(Box<Secured>),
}

impl Rested {
    /// The socket, to be watched by other means.
    pub fn socket(&self) -> &TcpStream {
        match &self.0 {
            RestedLink::Bare(socket) => socket,
            RestedLink::Secured(secured) => secured.raw.socket(),
        }
    }

    /// The connection again.
    pub fn wake(self) -> Stream {
        match self.0 {
            RestedLink::Bare(socket) => Stream::new(socket),
            RestedLink::Secured(secured) => Stream(Link::Secured(secured)),
        }
    }
}

impl Stream {
    /// From a socket that does not block.
    pub fn new(socket: TcpStream) -> Self {
        Self(Link::Bare(Raw::new(socket)))
    }

    /// `raw` with TLS over it, which is established.
    pub fn secured(raw: Raw, channel: Channel) -> Self {
        Self(Link::Secured(Box::new(Secured { raw, channel: RefCell::new(channel) })))
    }

    /// What is below TLS, where a handshake is to begin; a connection that has TLS already is left as it is.
    pub fn into_raw(self) -> Result<Raw, Self> {
        match self.0 {
            Link::Bare(raw) => Ok(raw),
            link => Err(Self(link)),
        }
    }

    fn raw(&self) -> Option<&Raw> {
        match &self.0 {
            Link::Bare(raw) => Some(raw),
            Link::Secured(secured) => Some(&secured.raw),
            Link::Disguised(_) | Link::Mirrored(_) => None,
        }
    }

    /// A stream of an HTTP/2 connection, which looks like a connection with one request.
    pub fn disguised(disguise: Disguise) -> Self {
        Self(Link::Disguised(Box::new(RefCell::new(disguise))))
    }

    /// A stream of an HTTP/2 connection to a member, which looks like a connection with one request.
    pub fn mirrored(mirror: Mirror) -> Self {
        Self(Link::Mirrored(Box::new(RefCell::new(mirror))))
    }

    /// True for a stream of an HTTP/2 connection: it carries one request.
    pub fn is_of_http2(&self) -> bool {
        matches!(self.0, Link::Disguised(_) | Link::Mirrored(_))
    }

    /// True if it asks for a WebSocket in a way that any answer of 2xx grants.
    pub fn takes_only_a_switch(&self) -> bool {
        self.wants_proof().is_some()
    }

    /// What a member has to answer to the key of a WebSocket, if the key was made here.
    pub fn wants_proof(&self) -> Option<Accept> {
        match &self.0 {
            Link::Disguised(disguise) => disguise.borrow().accept,
            Link::Bare(_) | Link::Secured(_) | Link::Mirrored(_) => None,
        }
    }

    /// True if a WebSocket can be asked for on it, once that is known; of what is no stream of HTTP/2 it always is.
    pub async fn carries_websockets(&self) -> bool {
        let telling = match &self.0 {
            Link::Mirrored(mirror) => mirror.borrow().carries_websockets(),
            Link::Bare(_) | Link::Secured(_) | Link::Disguised(_) => return true,
        };
        telling.await
    }

    /// True if the peer said that it has not looked at what was asked on this stream.
    pub fn was_refused(&self) -> bool {
        matches!(&self.0, Link::Mirrored(mirror) if mirror.borrow().was_refused())
    }

    /// What TLS knows, if there is TLS.
    pub fn channel(&self) -> Option<&RefCell<Channel>> {
        match &self.0 {
            Link::Secured(secured) => Some(&secured.channel),
            Link::Bare(_) | Link::Disguised(_) | Link::Mirrored(_) => None,
        }
    }

    /// True if HTTP/2 was agreed on in its handshake.
    pub fn speaks_h2(&self) -> bool {
        self.channel().is_some_and(|channel| channel.borrow().facts().alpn_protocol() == Some(b"h2"))
    }

    /// What a client told in its handshake, if there was one.
    pub fn told(&self) -> Option<Rc<Told>> {
        match &self.0 {
            Link::Bare(_) | Link::Mirrored(_) => None,
            Link::Secured(secured) => secured.channel.borrow().told().map(Rc::clone),
            Link::Disguised(disguise) => disguise.borrow().told.clone(),
        }
    }

    /// True if it was made for clients that ask for `name`, or for all.
    pub fn was_made_for(&self, name: Option<&str>) -> bool {
        match &self.0 {
            Link::Bare(_) | Link::Disguised(_) | Link::Mirrored(_) => true,
            Link::Secured(secured) => secured.channel.borrow().asked_for() == name,
        }
    }

    /// Takes it from the runtime; `None`: it is not one that can be left alone.
    pub fn rest(self) -> Option<Rested> {
        Some(Rested(match self.0 {
            Link::Bare(raw) => RestedLink::Bare(raw.into_socket()),
            Link::Secured(mut secured) => {
                secured.raw.unwatch();
                secured.channel.get_mut().settle();
                RestedLink::Secured(secured)
            }
            Link::Disguised(_) | Link::Mirrored(_) => return None,
        }))
    }

    /// The runtime tells when something happens on it.
    pub fn is_watched(&self) -> bool {
        self.raw().is_none_or(Raw::is_watched)
    }

    /// Has the runtime watch it from now on: for when there will hardly be anything yet.
    pub fn watch(&self) -> io::Result<()> {
        self.raw().map_or(Ok(()), Raw::watch)
    }

    /// The runtime watches it no longer: whoever wants to read looks first.
    pub fn unwatch(&mut self) {
        match &mut self.0 {
            Link::Bare(raw) => raw.unwatch(),
            Link::Secured(secured) => secured.raw.unwatch(),
            Link::Disguised(_) | Link::Mirrored(_) => {}
        }
    }

    /// Reads once if there is something to read now; otherwise has the task woken when there is. 0 is the end of the
    /// stream. `room` is not empty.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match &self.0 {
            Link::Bare(raw) => raw.poll_read(cx, room),
            Link::Secured(secured) => secured.channel.borrow_mut().poll_read(&secured.raw, cx, room),
            Link::Disguised(disguise) => disguise.borrow_mut().poll_read(cx, room),
            Link::Mirrored(mirror) => mirror.borrow_mut().poll_read(cx, room),
        }
    }

    /// Throws away what still comes after all was said ([`Stream::shutdown`]): so many bytes; `None`: nothing more will be.
    /// `room` is not empty, and what is in it afterwards means nothing: TLS is not opened any more. A stream of HTTP/2 needs
    /// none.
    pub fn poll_discard(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Option<usize>> {
        let raw = match &self.0 {
            Link::Bare(raw) => raw,
            Link::Secured(secured) => &secured.raw,
            Link::Disguised(disguise) => return disguise.borrow_mut().poll_discard(cx),
            Link::Mirrored(_) => return Poll::Ready(None),
        };
        raw.poll_read(cx, room).map(|read| read.ok().filter(|n| *n > 0))
    }

    /// Ready when there is something to read (or the end, or an error), as far as is known without looking.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Link::Secured(secured) if !secured.channel.borrow().has_plaintext() => secured.raw.poll_readable(cx),
            Link::Bare(raw) => raw.poll_readable(cx),
            Link::Disguised(disguise) => disguise.borrow_mut().poll_readable(cx),
            Link::Mirrored(mirror) => mirror.borrow_mut().poll_readable(cx),
            Link::Secured(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ready when the kernel would take bytes, or the connection is broken; at once where there is more to it than a socket.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.raw().map_or(Poll::Ready(Ok(())), |raw| raw.poll_room(cx))
    }

    /// Writes what is taken of `bytes`, which is not empty.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &self.0 {
            Link::Bare(raw) => raw.poll_write(cx, bytes),
            Link::Secured(secured) => secured.channel.borrow_mut().poll_write(&secured.raw, cx, bytes),
            Link::Disguised(disguise) => disguise.borrow_mut().poll_write(cx, bytes),
            Link::Mirrored(mirror) => mirror.borrow_mut().poll_write(cx, bytes),
        }
    }

    /// Bytes that the other side has acknowledged since the connection began; of a stream of an HTTP/2 connection: all of
    /// the connection's.
    pub fn acknowledged(&self) -> io::Result<u64> {
        match &self.0 {
            Link::Bare(raw) => raw.acknowledged(),
            Link::Secured(secured) => secured.raw.acknowledged(),
            Link::Disguised(disguise) => disguise.borrow().acknowledged(),
            // Members are not held to a pace.
            Link::Mirrored(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Writes what the kernel takes of `bytes` now, without waiting. Nothing is taken where there is more to it than a socket.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Link::Bare(raw) => raw.try_write(bytes),
            Link::Secured(_) | Link::Disguised(_) | Link::Mirrored(_) => Ok(0),
        }
    }

    /// Waits until a connection that was begun is there or has failed.
    pub async fn connected(&self) -> io::Result<()> {
        match self.raw() {
            Some(raw) => raw.connected().await,
            None => Ok(()),
        }
    }

    /// What is known to wait. Costs no system call when nothing came since the last read; else looks, without
    /// taking anything from a bare connection.
    pub fn unread(&self) -> Unread {
        self.look(Raw::unread)
    }

    /// What waits, as the kernel knows: for when the runtime cannot have been told yet.
    pub fn peek(&self) -> Unread {
        self.look(Raw::peek)
    }

    /// Bytes on the socket need not be bytes of the peer when there is TLS: they may be a ticket or a goodbye.
    fn look(&self, look: impl FnOnce(&Raw) -> Unread) -> Unread {
        match &self.0 {
            Link::Bare(raw) => look(raw),
            Link::Disguised(_) | Link::Mirrored(_) => Unread::Nothing,
            Link::Secured(secured) if secured.channel.borrow().has_plaintext() => Unread::Bytes,
            Link::Secured(secured) => match look(&secured.raw) {
                Unread::Bytes => secured.channel.borrow_mut().look(&secured.raw),
                other => other,
            },
        }
    }

    /// As [`Raw::poll_peek_more`], of a bare connection; of others nothing is ever seen.
    fn poll_peek_more(&self, cx: &mut Context<'_>, room: &mut [u8], seen: usize) -> Poll<io::Result<usize>> {
        match &self.0 {
            Link::Bare(raw) => raw.poll_peek_more(cx, room, seen),
            Link::Secured(_) | Link::Disguised(_) | Link::Mirrored(_) => Poll::Ready(Ok(0)),
        }
    }

    /// Says that nothing more will be written.
    pub fn shutdown(&self) -> io::Result<()> {
        match &self.0 {
            Link::Bare(raw) => raw.shutdown(),
            Link::Secured(secured) => {
                secured.channel.borrow_mut().say_goodbye(&secured.raw);
                secured.raw.shutdown()
            }
            Link::Disguised(disguise) => {
                disguise.borrow_mut().finish();
                Ok(())
            }
            // A request says itself where it ends; a tunnel does not.
            Link::Mirrored(mirror) => {
                mirror.borrow_mut().finish();
                Ok(())
            }
        }
    }

    /// Has the connection reset instead of closed when it is dropped.
    pub fn reset(&self) {
        match &self.0 {
            Link::Bare(raw) => raw.reset(),
            Link::Secured(secured) => {
                secured.channel.borrow_mut().keep_silent();
                secured.raw.reset();
            }
            Link::Disguised(disguise) => disguise.borrow_mut().reset(),
            Link::Mirrored(mirror) => mirror.borrow_mut().reset(),
        }
    }
}

/// Polls until it is ready, noting the patience once it has to wait.
async fn patiently<T>(patience: Patience<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut waiting = false;
    poll_fn(|cx| {
        let polled = poll(cx);
        match (polled.is_pending(), waiting) {
            (true, false) => {
                patience.start();
                waiting = true;
            }
            (false, true) => patience.clear(),
            _ => {}
        }
        polled
    })
    .await
}

/// Reads once into `room`; 0 is the end of the stream. `room` is not empty.
pub async fn read(from: &Stream, room: &mut [u8], patience: Patience<'_>) -> io::Result<usize> {
    patiently(patience, |cx| from.poll_read(cx, room)).await
}

/// A buffer that holds no more than this gives back the rest while it waits.
const LITTLE: usize = 2 * 1024;

/// Reads once into `buffer`, `most` bytes at most, and tells how many there were; 0 is the end of the stream. While there is nothing to
/// read an empty buffer holds no memory, and one that holds little not much more than that.
pub async fn fill(from: &Stream, buffer: &mut Buffer, most: usize, patience: Patience<'_>) -> io::Result<usize> {
    patiently(patience, |cx| {
        if buffer.rests() {
            ready!(from.poll_readable(cx))?;
            buffer.wake();
        }
        let room = buffer.room();
        let most = most.min(room.len());
        let read = from.poll_read(cx, &mut room[..most]);
        match &read {
            Poll::Ready(Ok(n)) => buffer.fill(*n),
            Poll::Ready(Err(_)) => {}
            Poll::Pending if buffer.len() <= LITTLE => buffer.shrink(),
            Poll::Pending => {}
        }
        read
    })
    .await
}

/// Throws away once what still comes after all was said, as [`Stream::poll_discard`] does, without holding memory while nothing
/// comes.
pub async fn discard(from: &Stream, buffers: &Rc<Buffers>) -> Option<usize> {
    poll_fn(|cx| {
        if ready!(from.poll_readable(cx)).is_err() {
            return Poll::Ready(None);
        }
        from.poll_discard(cx, buffers.lend().room())
    })
    .await
}

/// Copies what waits into `room` and takes nothing, once that is more than `seen` bytes; no more than that: no more will
/// come.
pub async fn peek_more(from: &Stream, room: &mut [u8], seen: usize) -> io::Result<usize> {
    poll_fn(|cx| from.poll_peek_more(cx, room, seen)).await
}

/// Waits until there is something to read (or the end, or an error), without holding memory for it.
pub async fn readable(from: &Stream, patience: Patience<'_>) -> io::Result<()> {
    patiently(patience, |cx| from.poll_readable(cx)).await
}

/// Waits until the kernel would take bytes. `meanwhile` is called when that is not yet.
pub async fn room(to: &Stream, patience: Patience<'_>, mut meanwhile: impl FnMut()) -> io::Result<()> {
    patiently(patience, |cx| {
        let room = to.poll_room(cx);
        if room.is_pending() {
            meanwhile();
        }
        room
    })
    .await
}

/// Writes what the kernel takes of `bytes`, which is not empty; at least one byte.
pub async fn write_some(to: &Stream, bytes: &[u8]) -> io::Result<usize> {
    match poll_fn(|cx| to.poll_write(cx, bytes)).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

/// Pieces of a message that are together no longer than this are put into one: copying them costs less than having
/// the kernel gather them.
const GATHERED_MAX: usize = 4 * 1024;

/// TLS takes one piece in any case: so much at once.
const SEALED_MAX: usize = 32 * 1024;

thread_local! {
    /// Where this thread puts them; empty between two writes.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes all of `parts`, in one call where the kernel takes it. Each bit of progress renews the patience.
pub async fn write_all(to: &Stream, mut parts: &mut [IoSlice<'_>], patience: Patience<'_>) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    let mut waiting = false;
    poll_fn(|cx| {
        while !parts.is_empty() {
            match poll_write_parts(to, cx, parts) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    IoSlice::advance_slices(&mut parts, n);
                    if waiting {
                        patience.clear();
                        waiting = false;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if !waiting {
                        patience.start();
                        waiting = true;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

fn poll_write_parts(to: &Stream, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    if let [only] = parts {
        return to.poll_write(cx, only);
    }
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let most = match &to.0 {
        Link::Bare(raw) if len > GATHERED_MAX => return raw.poll_write_vectored(cx, parts),
        Link::Bare(_) => len,
        Link::Secured(_) | Link::Disguised(_) | Link::Mirrored(_) => SEALED_MAX,
    };
    GATHERED.with_borrow_mut(|gathered| {
        gathered.clear();
        for part in parts {
            let room = most - gathered.len();
            gathered.extend_from_slice(&part[..part.len().min(room)]);
        }
        to.poll_write(cx, gathered)
    })
}

/// Waits until the peer has left: it reset the connection, or ended it in a way that `closing` takes for leaving.
/// Nothing is read. Where it is not TCP that ends, nobody is known to leave. The runtime may know less of the
/// connection afterwards than there is: it is to be watched anew ([`Stream::unwatch`]).
pub async fn left(stream: &Stream, closing: Closing) {
    match stream.raw() {
        Some(raw) => raw.left(closing).await,
        None => std::future::pending().await,
    }
}
