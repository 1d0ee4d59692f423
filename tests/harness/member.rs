//! Servers behind the proxy: one that behaves, steered by paths, and ones that do what a script says.
//!
//! A thread for each connection. Everything received is kept, so that a test can say what a member saw.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::message::{Body, End, Head, Wire, chunks, pattern};
use crate::wait::{pause_ms, until_true};

/// A request as a member saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Its head.
    pub head: Head,
    /// Its body; empty if the script did not read it.
    pub body: Body,
}

impl Received {
    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// True if its body came whole.
    pub fn complete(&self) -> bool {
        self.body.cut.is_none()
    }
}

/// A connection as a member saw it.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// Bytes received, as they came.
    pub bytes: Vec<u8>,
    /// How the other side ended it, if it did so before the member.
    pub end: Option<End>,
}

/// One connection in the hands of a script.
#[derive(Debug)]
pub struct Conn {
    /// Which connection this is, from 0.
    pub number: usize,
    wire: Option<Wire>,
    shared: Arc<Shared>,
}

impl Conn {
    fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("the script has ended this connection")
    }

    /// Reads a head and records it as a request without body.
    pub fn head(&mut self) -> Result<Head, End> {
        let head = self.wire().head()?;
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        if self.shared.recording.load(Ordering::Relaxed) {
            let request = Received { connection: self.number, head: head.clone(), body: Body::default() };
            self.shared.seen.lock().unwrap().push(request);
        } else {
            self.wire().received.clear();
        }
        Ok(head)
    }

    /// Reads the body of `head` and adds it to the request recorded last on this connection.
    pub fn body(&mut self, head: &Head) -> Result<Body, End> {
        let wire = self.wire();
        let body = if head.chunked() { wire.body_in_chunks() } else { wire.body_of_length(head.length().unwrap_or(0)) };
        if self.shared.recording.load(Ordering::Relaxed) {
            let mut seen = self.shared.seen.lock().unwrap();
            let number = self.number;
            if let Some(last) = seen.iter_mut().rev().find(|r| r.connection == number) {
                last.body = body.clone();
            }
        }
        body.cut.map_or(Ok(body), Err)
    }

    /// Reads a request with its body.
    pub fn request(&mut self) -> Result<(Head, Body), End> {
        let head = self.head()?;
        let body = self.body(&head)?;
        Ok((head, body))
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), End> {
        self.wire().send(bytes)
    }

    /// Takes exactly `n` raw bytes.
    pub fn take(&mut self, n: usize) -> Result<Vec<u8>, End> {
        self.wire().exact(n)
    }

    /// Takes what is there; waits for at least one byte.
    pub fn take_some(&mut self) -> Result<Vec<u8>, End> {
        self.wire().some()
    }

    /// A second handle of the socket, to write while it is read from.
    pub fn other_hand(&mut self) -> TcpStream {
        self.wire().stream().try_clone().unwrap()
    }

    /// Takes whatever comes until the other side ends.
    pub fn take_to_end(&mut self) -> (Vec<u8>, End) {
        let (bytes, end) = self.wire().to_end();
        if end != End::Idle {
            self.ended(end);
        }
        (bytes, end)
    }

    /// FIN; what comes is still read.
    pub fn half_close(&mut self) {
        self.wire().half_close();
    }

    /// Ends it with FIN (RST if something was left unread).
    pub fn close(&mut self) {
        self.let_go();
        self.wire = None;
    }

    /// Ends it with RST.
    pub fn reset(&mut self) {
        self.let_go();
        if let Some(wire) = self.wire.take() {
            wire.reset();
        }
    }

    fn let_go(&mut self) {
        self.shared.open.lock().unwrap().remove(&self.number);
        if let Some(wire) = &mut self.wire
            && self.shared.recording.load(Ordering::Relaxed)
        {
            self.shared.visits.lock().unwrap()[self.number].bytes = std::mem::take(&mut wire.received);
        }
    }

    fn finish(&mut self) {
        while let Some(wire) = &mut self.wire {
            match wire.fill_within(Duration::from_millis(200)) {
                Err(End::Idle) if !self.shared.stop.load(Ordering::Relaxed) => {}
                Err(end) => {
                    self.ended(end);
                    self.close();
                }
                Ok(_) => {}
            }
        }
    }

    /// Notes how the other side ended it.
    pub fn ended(&self, end: End) {
        // A reset is told once; what is read after it looks like an orderly end.
        let visit = &mut self.shared.visits.lock().unwrap()[self.number];
        // Whoever waits for the end reads the bytes next.
        if let Some(wire) = &self.wire
            && self.shared.recording.load(Ordering::Relaxed)
        {
            visit.bytes.clone_from(&wire.received);
        }
        visit.end.get_or_insert(end);
    }
}

type Script = dyn Fn(&mut Conn) -> Result<(), End> + Send + Sync;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    recording: AtomicBool,
    requests: AtomicUsize,
    connections: AtomicUsize,
    seen: Mutex<Vec<Received>>,
    visits: Mutex<Vec<Visit>>,
    /// Second handles, to end connections whose threads are busy. Taken out first when one is to be closed.
    open: Mutex<BTreeMap<usize, TcpStream>>,
}

/// A server in this process, ended on drop.
pub struct Member {
    name: String,
    socket: SocketAddr,
    script: Arc<Script>,
    shared: Arc<Shared>,
    running: Option<(TcpListener, JoinHandle<()>)>,
}

impl Member {
    /// One that behaves: keep-alive, answers as the path says (see [`behave`]).
    pub fn http(name: &str, socket: SocketAddr) -> Self {
        let answer_as = name.to_owned();
        Self::script(name, socket, move |conn| {
            loop {
                let (head, body) = conn.request()?;
                if !behave(conn, &answer_as, &head, &body)? {
                    conn.close();
                    return Ok(());
                }
            }
        })
    }

    /// One that does what `script` says on each connection. When the script ends, the connection stays open until
    /// the other side ends it.
    pub fn script(
        name: &str,
        socket: SocketAddr,
        script: impl Fn(&mut Conn) -> Result<(), End> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { recording: AtomicBool::new(true), ..Shared::default() });
        let mut member = Self { name: name.to_owned(), socket, script: Arc::new(script), shared, running: None };
        member.start();
        member
    }

    /// Counts, but keeps nothing: for load.
    pub fn only_counting(self) -> Self {
        self.shared.recording.store(false, Ordering::Relaxed);
        self
    }

    /// Keeps what comes from now on, after all.
    pub fn keep_all(&self) {
        self.shared.recording.store(true, Ordering::Relaxed);
    }

    /// Begins to listen (again).
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.name);
        self.shared.stop.store(false, Ordering::Relaxed);
        let listener = listen(self.socket, 1024);
        let (accepting, script, shared) =
            (listener.try_clone().unwrap(), Arc::clone(&self.script), Arc::clone(&self.shared));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                serve(stream, &script, &shared);
            }
        });
        self.running = Some((listener, thread));
    }

    /// Stops listening and ends what is open, as the kernel does for a killed process.
    pub fn kill(&mut self) {
        let Some((listener, thread)) = self.running.take() else {
            return;
        };
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        let _ = thread.join();
        for stream in std::mem::take(&mut *self.shared.open.lock().unwrap()).into_values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Stops listening; what is open goes on.
    pub fn stop_listening(&mut self) {
        let Some((listener, thread)) = self.running.take() else {
            return;
        };
        let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        let _ = thread.join();
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Requests received so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Requests received so far, in order.
    pub fn seen(&self) -> Vec<Received> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until it has received `n` requests.
    pub fn wait_requests(&self, n: usize) {
        let what = format!("{} to get {n} requests", self.name);
        until_true(crate::wait::PATIENCE, &what, || self.requests() >= n);
    }

    /// Connections so far, as they went.
    pub fn visits(&self) -> Vec<Visit> {
        self.shared.visits.lock().unwrap().clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Listens with a given backlog, on a port that may have been used just before.
pub fn listen(socket: SocketAddr, backlog: i32) -> TcpListener {
    let listener = Socket::new(Domain::for_address(socket), Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&socket.into()).unwrap_or_else(|e| panic!("cannot bind {socket}: {e}"));
    listener.listen(backlog).unwrap();
    listener.into()
}

fn serve(stream: TcpStream, script: &Arc<Script>, shared: &Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    shared.visits.lock().unwrap().push(Visit::default());
    shared.open.lock().unwrap().insert(number, stream.try_clone().unwrap());
    let (script, shared) = (Arc::clone(script), Arc::clone(shared));
    std::thread::spawn(move || {
        let patience = Duration::from_secs(30);
        let mut conn = Conn { number, wire: Some(Wire::new(stream, patience)), shared };
        match script(&mut conn) {
            Err(End::Idle) | Ok(()) => {}
            Err(end) => conn.ended(end),
        }
        conn.finish();
    });
}

/// Answers `head` as its path says. `false`: close the connection now.
///
/// | path | answer |
/// |---|---|
/// | `/bytes/N` | N bytes with Content-Length |
/// | `/chunked/N/SIZE` | N bytes in chunks of SIZE |
/// | `/trailers` | a chunked body with two trailers |
/// | `/close-delimited/N` | N bytes until the end of the connection |
/// | `/close` | as the default, with `Connection: close` |
/// | `/status/NNN` | that status, with a body where it may have one |
/// | `/delay/MS` | the default, later |
/// | `/echo` | the head as received |
/// | `/body` | the body as received |
/// | anything | JSON: member, method, target, body_bytes |
pub fn behave(conn: &mut Conn, name: &str, head: &Head, body: &Body) -> Result<bool, End> {
    let target = head.word(1).to_owned();
    let path = target.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let number = |n: usize| words.get(n).and_then(|w| w.parse::<usize>().ok()).unwrap_or(0);
    let bodyless = head.word(0) == "HEAD";
    let tag = format!("X-Member: {name}\r\n");
    match words[..] {
        ["bytes", ..] => conn.send(sized(200, &tag, &pattern(number(1)), bodyless))?,
        ["chunked", ..] => {
            conn.send(format!("HTTP/1.1 200 OK\r\n{tag}Transfer-Encoding: chunked\r\n\r\n"))?;
            if !bodyless {
                conn.send(chunks(&pattern(number(1)), number(2).max(1)))?;
                conn.send("0\r\n\r\n")?;
            }
        }
        ["trailers", ..] => conn.send(format!(
            "HTTP/1.1 200 OK\r\n{tag}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 42\r\nX-Other: y\r\n\r\n"
        ))?,
        ["close-delimited", ..] => {
            conn.send(format!("HTTP/1.1 200 OK\r\n{tag}\r\n"))?;
            conn.send(pattern(number(1)))?;
            return Ok(false);
        }
        ["close"] => {
            conn.send(sized(200, &format!("{tag}Connection: close\r\n"), b"bye", bodyless))?;
            return Ok(false);
        }
        ["status", ..] if matches!(number(1), 204 | 304) => {
            conn.send(format!("HTTP/1.1 {} Fine\r\n{tag}\r\n", number(1)))?;
        }
        ["status", ..] => conn.send(sized(number(1), &tag, b"as you wish", bodyless))?,
        ["echo"] => conn.send(sized(200, &tag, &head.raw, bodyless))?,
        ["body"] => conn.send(sized(200, &tag, &body.data, bodyless))?,
        _ => {
            if words.first() == Some(&"delay") {
                pause_ms(number(1) as u64);
            }
            let text = format!(
                r#"{{"member":"{name}","method":"{}","target":"{target}","body_bytes":{}}}"#,
                head.word(0),
                body.data.len()
            );
            let tag = format!("{tag}Content-Type: application/json\r\n");
            conn.send(sized(200, &tag, text.as_bytes(), bodyless))?;
        }
    }
    Ok(true)
}

/// An answer with Content-Length; `fields` end in CRLF each.
pub fn sized(status: usize, fields: &str, body: &[u8], bodyless: bool) -> Vec<u8> {
    let reason = if status == 200 { "OK" } else { "Fine" };
    let head = format!("HTTP/1.1 {status} {reason}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    let mut answer = head.into_bytes();
    if !bodyless {
        answer.extend(body);
    }
    answer
}

/// The plainest answer: 200 with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    sized(200, "", body.as_ref(), false)
}
