//! The server behind all proxies: one thread, edge-triggered readiness, prebuilt answers, a few microseconds for a
//! request. `/b/N` answers N bytes, `/c/N` the same in chunks, `/head` what it was sent. Bodies sent are discarded.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use anyhow::{Context, bail};
use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use socket2::{Domain, SockRef, Socket, Type};

/// Chunks of a chunked answer.
const CHUNK: usize = 4096;
/// One read.
const READ: usize = 256 * 1024;
/// Events taken by one wait.
const EVENTS: usize = 1024;

/// Serves on all of `sockets`, for ever.
pub fn serve(sockets: &[SocketAddr]) -> anyhow::Result<()> {
    serve_holding(sockets, None)
}

/// The same, with at most `unsent` bytes in the kernel of each connection beside those on their way.
pub fn serve_holding(sockets: &[SocketAddr], unsent: Option<u32>) -> anyhow::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let listeners = sockets.iter().map(|socket| listen(*socket)).collect::<anyhow::Result<Vec<_>>>()?;
    for (n, listener) in listeners.iter().enumerate() {
        if let Some(unsent) = unsent {
            SockRef::from(listener).set_tcp_notsent_lowat(unsent)?;
        }
        epoll::add(&poll, listener, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
    }
    let mut member = Member { answers: Default::default(), scratch: vec![0; READ] };
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let n = event.data.u64() as usize;
            if let Some(listener) = listeners.get(n) {
                let Ok((stream, _)) = listener.accept() else { continue };
                stream.set_nonblocking(true)?;
                let slot = free.pop().unwrap_or_else(|| {
                    connections.push(None);
                    connections.len() - 1
                });
                let data = epoll::EventData::new_u64((slot + listeners.len()) as u64);
                let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP;
                epoll::add(&poll, &stream, data, flags | epoll::EventFlags::ET)?;
                connections[slot] = Some(Connection::new(stream));
                continue;
            }
            let slot = n - listeners.len();
            let Some(connection) = connections.get_mut(slot).and_then(Option::as_mut) else { continue };
            let hangup = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            let flags = event.flags;
            if member.turn(connection, flags.intersects(hangup)).is_err() {
                connections[slot] = None;
                free.push(slot);
            }
        }
    }
}

fn listen(socket: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = Socket::new(Domain::for_address(socket), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_tcp_nodelay(true)?;
    listener.bind(&socket.into()).with_context(|| format!("cannot listen on {socket}"))?;
    listener.listen(4096)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

struct Connection {
    stream: TcpStream,
    /// An unfinished head.
    head: Vec<u8>,
    /// Body bytes of the request still to come.
    discard: u64,
    /// Answers that wait to be written, and how much of the first is.
    answer: Option<(Rc<[u8]>, usize)>,
    /// To be closed behind the answer.
    close: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, head: Vec::new(), discard: 0, answer: None, close: false }
    }

    /// Writes what can be; an error when it is over.
    fn flush(&mut self) -> anyhow::Result<()> {
        while self.discard == 0
            && let Some((bytes, done)) = &mut self.answer
        {
            match self.stream.write(&bytes[*done..]) {
                Ok(n) => *done += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if *done == bytes.len() {
                self.answer = None;
                if self.close {
                    bail!("closed as asked");
                }
            }
        }
        Ok(())
    }
}

struct Member {
    /// By path, for connections that stay and for those that do not.
    answers: [HashMap<Vec<u8>, Rc<[u8]>>; 2],
    scratch: Vec<u8>,
}

impl Member {
    /// Does what there is to do on a connection; an error when it is over.
    fn turn(&mut self, connection: &mut Connection, hangup: bool) -> anyhow::Result<()> {
        connection.flush()?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let read = loop {
            match connection.stream.read(&mut scratch) {
                Ok(0) => break Err(anyhow::anyhow!("ended")),
                Ok(n) => {
                    if let Err(error) = self.take(connection, &scratch[..n]) {
                        break Err(error);
                    }
                    // A short read has emptied the socket (epoll(7)); an end is told by an event of its own.
                    if n < scratch.len() && !hangup {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        self.scratch = scratch;
        read
    }

    fn take(&mut self, connection: &mut Connection, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let body = connection.discard.min(bytes.len() as u64);
            connection.discard -= body;
            bytes = &bytes[body as usize..];
            connection.flush()?;
            if bytes.is_empty() {
                break;
            }
            if connection.answer.is_some() {
                bail!("a request before the answer to the last was taken");
            }
            let mut gathered = std::mem::take(&mut connection.head);
            let seen = gathered.len();
            let whole: &[u8] = if seen == 0 {
                bytes
            } else {
                gathered.extend_from_slice(bytes);
                &gathered
            };
            let Some(end) = memmem::find(whole, b"\r\n\r\n").map(|at| at + 4) else {
                connection.head = whole.to_vec();
                break;
            };
            self.answer(connection, &whole[..end])?;
            bytes = &bytes[end - seen..];
            connection.flush()?;
        }
        Ok(())
    }

    fn answer(&mut self, connection: &mut Connection, head: &[u8]) -> anyhow::Result<()> {
        let mut lines = head.split(|b| *b == b'\n');
        let path = lines.next().and_then(|line| line.split(|b| *b == b' ').nth(1)).unwrap_or_default();
        for line in lines {
            // Only two fields matter here; both begin with a C.
            if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
                continue;
            }
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                connection.discard = String::from_utf8_lossy(value).parse()?;
            } else if name.eq_ignore_ascii_case(b"connection") {
                connection.close = value.eq_ignore_ascii_case(b"close");
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                bail!("no chunked requests here");
            }
        }
        let answer = if path == b"/head" {
            build(head, false, connection.close)
        } else if let Some(known) = self.answers[usize::from(connection.close)].get(path) {
            Rc::clone(known)
        } else {
            let built = built_for(&String::from_utf8_lossy(path), connection.close);
            self.answers[usize::from(connection.close)].insert(path.to_vec(), Rc::clone(&built));
            built
        };
        connection.answer = Some((answer, 0));
        Ok(())
    }
}

fn built_for(path: &str, close: bool) -> Rc<[u8]> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["", kind @ ("b" | "c"), size] if size.parse::<usize>().is_ok_and(|n| n <= 64 << 20) => {
            build(&vec![b'x'; size.parse().unwrap_or(0)], kind == "c", close)
        }
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".as_slice().into(),
    }
}

fn build(body: &[u8], chunked: bool, close: bool) -> Rc<[u8]> {
    let mut all = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n".to_vec();
    if close {
        all.extend_from_slice(b"Connection: close\r\n");
    }
    if chunked {
        all.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for chunk in body.chunks(CHUNK) {
            all.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            all.extend_from_slice(chunk);
            all.extend_from_slice(b"\r\n");
        }
        all.extend_from_slice(b"0\r\n\r\n");
    } else {
        all.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        all.extend_from_slice(body);
    }
    all.into()
}
