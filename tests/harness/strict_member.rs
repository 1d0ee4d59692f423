//! A member that forgives nothing: every byte it gets is recorded and held against [`crate::canon`], and only whole
//! canonical requests are answered.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use crate::canon::{self, Fault, Message};
use crate::member::listen;
use crate::wait::{PATIENCE, until_true};

/// What came on one connection, told in the order in which it was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A whole request, canonical.
    Request(Message),
    /// Something else.
    Fault(Fault),
    /// The beginning of a request, canonical so far, whose sender left.
    Cut(String),
}

/// How a connection ends behind an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    #[default]
    Keeps,
    /// FIN.
    Closes,
    /// RST.
    Resets,
}

/// What is said to a request, in pieces: segments of their own, a few milliseconds apart.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The bytes.
    pub pieces: Vec<Vec<u8>>,
    /// And then.
    pub after: After,
    /// Asked for once more, it answers as it should: somebody repeats a safe request.
    pub once: bool,
    /// It is said as soon as the request's head is there.
    pub to_head: bool,
}

impl Said {
    /// These pieces, and then the next request may come.
    pub fn of(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        Self { pieces: pieces.into_iter().map(|piece| piece.as_ref().to_vec()).collect(), ..Self::default() }
    }

    /// And then.
    #[must_use]
    pub fn then(self, after: After) -> Self {
        Self { after, ..self }
    }
}

#[derive(Default)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    script: Mutex<BTreeMap<String, Said>>,
    /// Second handles, to end connections whose threads wait. Taken out first when one is to be closed.
    open: Mutex<BTreeMap<usize, TcpStream>>,
}

impl Shared {
    fn is_said_to_head(&self, target: &str) -> bool {
        self.script.lock().unwrap().get(target).is_some_and(|said| said.to_head)
    }

    fn take(&self, target: &str) -> Option<Said> {
        let mut script = self.script.lock().unwrap();
        let said = script.get(target)?.clone();
        if said.once {
            script.remove(target);
        }
        Some(said)
    }
}

/// See the module.
pub struct StrictMember {
    /// Where it listens.
    pub socket: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl StrictMember {
    /// Begins to listen.
    pub fn start(socket: SocketAddr) -> Self {
        let listener = listen(socket, 1024);
        let shared = Arc::new(Shared::default());
        let (accepting, sharing) = (listener.try_clone().unwrap(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                let Ok((stream, _)) = accepting.accept() else { return };
                let shared = Arc::clone(&sharing);
                shared.open.lock().unwrap().insert(number, stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let stream = serve(stream, &shared);
                    shared.open.lock().unwrap().remove(&number);
                    drop(stream);
                });
            }
        });
        Self { socket, shared, listener, thread: Some(thread) }
    }

    /// From now on a request for `target` gets these words.
    pub fn says(&self, target: &str, said: Said) {
        self.shared.script.lock().unwrap().insert(target.to_owned(), said);
    }

    /// What has arrived since it was asked last.
    pub fn arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.shared.arrivals.lock().unwrap())
    }

    /// Waits until something has arrived of which `is` is true.
    pub fn wait_for(&self, what: &str, is: impl Fn(&Arrival) -> bool) {
        until_true(PATIENCE, what, || self.shared.arrivals.lock().unwrap().iter().any(&is));
    }
}

impl Drop for StrictMember {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        for stream in self.shared.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Gives the stream back when the connection is to end.
fn serve(mut stream: TcpStream, shared: &Shared) -> TcpStream {
    let tell = |arrival| shared.arrivals.lock().unwrap().push(arrival);
    let mut bytes = Vec::new();
    let mut chunk = [0; 16384];
    let _ = stream.set_nodelay(true);
    let mut answered = false;
    loop {
        if !answered
            && let Some(target) = target(&bytes)
            && shared.is_said_to_head(&target)
        {
            answered = true;
            say(&mut stream, shared, "", &target, 0);
        }
        match canon::request(&bytes) {
            Err(fault) => {
                tell(Arrival::Fault(fault));
                return stream;
            }
            Ok(Some((message, len))) => {
                bytes.drain(..len);
                tell(Arrival::Request(message.clone()));
                if std::mem::take(&mut answered) {
                    continue;
                }
                match say(&mut stream, shared, message.word(0), message.word(1), message.body.len()) {
                    After::Keeps => {}
                    After::Closes => return stream,
                    After::Resets => {
                        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                        return stream;
                    }
                }
            }
            Ok(None) => match stream.read(&mut chunk) {
                Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
                _ if bytes.is_empty() => return stream,
                _ => {
                    tell(Arrival::Cut(String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()));
                    return stream;
                }
            },
        }
    }
}

/// The target of a request whose head is there.
fn target(bytes: &[u8]) -> Option<String> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    String::from_utf8_lossy(&bytes[..end]).split(' ').nth(1).map(str::to_owned)
}

/// As it was told, or 200 with what was understood: method, target, bytes of the body.
fn say(stream: &mut TcpStream, shared: &Shared, method: &str, target: &str, len: usize) -> After {
    if let Some(said) = shared.take(target) {
        for (n, piece) in said.pieces.iter().enumerate() {
            if n > 0 {
                crate::wait::pause_ms(5);
            }
            if stream.write_all(piece).is_err() {
                return After::Closes;
            }
        }
        return said.after;
    }
    let text = format!("{method} {target} {len}");
    let body = if method == "HEAD" { "" } else { &text };
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", text.len());
    if stream.write_all(answer.as_bytes()).is_err() { After::Closes } else { After::Keeps }
}
