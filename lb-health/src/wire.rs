//! A connection to a member: made without waiting where that works, closed with a reset, and never read past a bound.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lb_core::health::{Bad, Step};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::prober::Target;
use crate::words::words;

/// Bytes read from one connection at most, whatever they are: a member that floods costs no more than this.
pub(crate) const READ_MAX: usize = 512 * 1024;

/// Memory that is asked for when something is to be read.
const READ_STEP: usize = 2048;

/// A socket whose connection was begun.
pub(crate) struct Begun {
    socket: Socket,
    /// True if the connection is already there, as with most local members.
    pub(crate) connected: bool,
}

/// Begins a connection. It will be closed by a reset (as HAProxy's checks are): no TIME_WAIT is left on our side.
pub(crate) fn begin(target: &Target) -> Result<Begun, Bad> {
    let address = target.address;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))
        .and_then(|socket| socket.set_linger(Some(Duration::ZERO)).map(|()| socket))
        .map_err(|error| Bad::Ours(errno(&error)))?;
    if let Some(source) = target.source {
        // No crate offers IP_BIND_ADDRESS_NO_PORT safely. Ports are free again as soon as a probe ends.
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(|error| Bad::Ours(errno(&error)))?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {
            not_ourselves(&socket, address)?;
            Ok(Begun { socket, connected: true })
        }
        // On this host the other end has answered before the call is over: a look is cheaper than a wait.
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {
            let connected = socket.peer_addr().is_ok();
            if connected {
                not_ourselves(&socket, address)?;
            }
            Ok(Begun { socket, connected })
        }
        Err(error) => Err(cannot_connect(&error)),
    }
}

impl Begun {
    /// Waits until the connection is there.
    pub(crate) async fn established(self, address: SocketAddr) -> Result<Plain, Bad> {
        let stream = TcpStream::from_std(self.socket.into()).map_err(|error| Bad::Ours(errno(&error)))?;
        if !self.connected {
            poll_fn(|cx| stream.poll_write_ready(cx)).await.map_err(|error| cannot_connect(&error))?;
            match stream.take_error() {
                Ok(None) => not_ourselves(&socket2::SockRef::from(&stream), address)?,
                Ok(Some(error)) | Err(error) => return Err(cannot_connect(&error)),
            }
        }
        // A handshake is several small writes: each would wait for the one before to be acknowledged, 40 ms at worst.
        stream.set_nodelay(true).map_err(|error| Bad::Ours(errno(&error)))?;
        Ok(Plain { stream, left: READ_MAX })
    }
}

/// Connects to `target`.
pub(crate) async fn connect(target: &Target, step: &mut Step) -> Result<Plain, Bad> {
    *step = Step::Connect;
    begin(target)?.established(target.address).await
}

/// A port of this machine where nobody listens may be given to our own end, which then talks to itself.
fn not_ourselves(socket: &Socket, address: SocketAddr) -> Result<(), Bad> {
    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
    if local == Some(address) { Err(Bad::Connect(Errno::ECONNREFUSED as i32)) } else { Ok(()) }
}

fn cannot_connect(error: &io::Error) -> Bad {
    let number = errno(error);
    match Errno::from_raw(number) {
        Errno::EADDRNOTAVAIL | Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EPERM | Errno::EACCES => {
            Bad::Ours(number)
        }
        _ => Bad::Connect(number),
    }
}

pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EIO as i32)
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Plain {
    stream: TcpStream,
    left: usize,
}

impl Plain {
    /// Our end of it.
    pub(crate) fn local(&self) -> Result<SocketAddr, Bad> {
        self.stream.local_addr().map_err(|error| Bad::Ours(errno(&error)))
    }

    /// Sends what can be sent now.
    pub(crate) fn try_send(&self, bytes: &[u8]) {
        let _ = self.stream.try_write(bytes);
    }
}

impl AsyncRead for Plain {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        result
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a probe talks over.
pub(crate) enum Wire {
    Plain(Plain),
    Tls(Box<TlsStream<Plain>>),
}

impl Wire {
    /// Writes all of `bytes`; `step` is what the time it takes is called.
    pub(crate) async fn send(&mut self, bytes: &[u8], step: &mut Step, name: Step) -> Result<(), Bad> {
        *step = name;
        let written = match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => match stream.write_all(bytes).await {
                Ok(()) => stream.flush().await,
                Err(error) => Err(error),
            },
        };
        written.map_err(|error| failed(&error, name))
    }

    /// Adds what has come to `buffer`; 0 at the end. A TLS peer that leaves without saying so has ended, too.
    pub(crate) async fn read(&mut self, buffer: &mut Vec<u8>, step: &mut Step) -> Result<usize, Bad> {
        *step = Step::Answer;
        if buffer.capacity() - buffer.len() < READ_STEP / 2 {
            buffer.reserve(READ_STEP);
        }
        let read = match self {
            Self::Plain(stream) => stream.read_buf(buffer).await,
            Self::Tls(stream) => stream.read_buf(buffer).await,
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other.map_err(|error| failed(&error, Step::Answer)),
        }
    }
}

/// What an error of a connection says about the member.
pub(crate) fn failed(error: &io::Error, step: Step) -> Bad {
    if let Some(number) = error.raw_os_error() {
        return Bad::Closed(step, Some(number));
    }
    match error.kind() {
        io::ErrorKind::QuotaExceeded => Bad::Malformed(words(&format!("more than {} KiB", READ_MAX / 1024))),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => Bad::Closed(step, None),
        _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Bad::Tls(crate::probe::tls::words::of(error)),
            None => Bad::Closed(step, None),
        },
    }
}
