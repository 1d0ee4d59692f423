//! A DNS server that says what it is told, over UDP and TCP. It writes its messages by hand: what is under test has
//! another reader.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use crate::member::listen;
use crate::wait::{PATIENCE, until_true};

/// What a server says of a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// It leads to these.
    Addresses {
        /// Seconds.
        ttl: u32,
        /// Of both families.
        at: Vec<IpAddr>,
    },
    /// It is another's alias; that one's addresses come with it, as from any resolver.
    Alias {
        /// Seconds.
        ttl: u32,
        /// Whose.
        to: &'static str,
    },
    /// It does not exist, and that may be believed for so many seconds.
    NoSuchName(u32),
    /// It exists, without an address.
    NoAddress(u32),
    /// The server failed.
    ServFail,
    /// Nothing.
    Silence,
    /// Bytes that are no message, and nothing else.
    Garbage,
    /// That it does not fit, over UDP; and this over TCP.
    Cut(Box<Says>),
    /// First an answer with other addresses to a question nobody asked, then this.
    AfterForged(Box<Says>),
}

impl Says {
    /// It leads to these addresses, for a second.
    pub fn at(addresses: &[IpAddr]) -> Self {
        Self::Addresses { ttl: 1, at: addresses.to_vec() }
    }
}

#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<BTreeMap<String, Says>>,
    asked: Mutex<BTreeMap<String, usize>>,
    over_tcp: AtomicUsize,
    stop: AtomicBool,
}

/// See the module. Ended on drop.
#[derive(Debug)]
pub struct Dns {
    socket: SocketAddr,
    shared: Arc<Shared>,
    tcp: TcpListener,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// One that knows no name yet.
    pub fn start(socket: SocketAddr) -> Self {
        let shared = Arc::<Shared>::default();
        let udp = UdpSocket::bind(socket).unwrap_or_else(|e| panic!("cannot bind {socket}: {e}"));
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let tcp = listen(socket, 64);
        let mut threads = Vec::new();
        let answering = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || serve_udp(&udp, &answering)));
        let (answering, accepting) = (Arc::clone(&shared), tcp.try_clone().unwrap());
        threads.push(std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let _ = serve_tcp(stream, &answering);
            }
        }));
        Self { socket, shared, tcp, threads }
    }

    /// Where it is asked.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// From now on.
    pub fn says(&self, name: &str, says: Says) {
        self.shared.zone.lock().unwrap().insert(name.to_owned(), says);
    }

    /// Questions about a name so far.
    pub fn asked(&self, name: &str) -> usize {
        self.shared.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// Waits until a name was asked for as often again as makes sure that what it says now was heard.
    pub fn heard(&self, name: &str) {
        let before = self.asked(name);
        until_true(PATIENCE, &format!("{name} to be asked for"), || self.asked(name) >= before + 4);
    }

    /// Questions over TCP so far.
    pub fn over_tcp(&self) -> usize {
        self.shared.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_udp(udp: &UdpSocket, shared: &Shared) {
    let mut bytes = [0; 1500];
    while !shared.stop.load(Ordering::SeqCst) {
        let Ok((length, from)) = udp.recv_from(&mut bytes) else { continue };
        let Some(question) = Question::read(&bytes[..length]) else { continue };
        let says = shared.heard(&question);
        if let Says::AfterForged(_) = says {
            let forged = Question { id: question.id.wrapping_add(1), ..question.clone() };
            let elsewhere = Says::Addresses { ttl: 3600, at: vec!["127.66.66.66".parse().unwrap()] };
            let _ = udp.send_to(&forged.answer(&elsewhere, shared), from);
        }
        let says = match says {
            Says::Silence => continue,
            Says::Garbage => {
                let _ = udp.send_to(b"\x00garbage\xff", from);
                continue;
            }
            Says::AfterForged(says) => *says,
            says => says,
        };
        let _ = udp.send_to(&question.answer(&says, shared), from);
    }
}

fn serve_tcp(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    shared.over_tcp.fetch_add(1, Ordering::SeqCst);
    let Some(question) = Question::read(&bytes) else { return Ok(()) };
    let says = match shared.heard(&question) {
        Says::Cut(says) => *says,
        says => says,
    };
    let answer = question.answer(&says, shared);
    stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes())?;
    stream.write_all(&answer)
}

impl Shared {
    fn heard(&self, question: &Question) -> Says {
        *self.asked.lock().unwrap().entry(question.name.clone()).or_default() += 1;
        self.of(&question.name)
    }

    fn of(&self, name: &str) -> Says {
        self.zone.lock().unwrap().get(name).cloned().unwrap_or(Says::NoSuchName(1))
    }
}

#[derive(Clone, Debug)]
struct Question {
    id: u16,
    name: String,
    /// 1: A, 28: AAAA.
    kind: u16,
    /// As it was asked.
    section: Vec<u8>,
}

impl Question {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
        let id = u16::from_be_bytes(bytes[..2].try_into().ok()?);
        Some(Self { id, name: labels.join("."), kind, section: bytes.get(12..at + 4)?.to_vec() })
    }

    fn answer(&self, says: &Says, shared: &Shared) -> Vec<u8> {
        let (mut answers, mut authority) = (Vec::new(), Vec::new());
        let (mut cut, mut rcode) = (0, 0);
        let mut says = says.clone();
        let mut owner = self.name.clone();
        if let Says::Alias { ttl, to } = says {
            answers.push(record(&owner, 5, ttl, &wire_name(to)));
            (owner, says) = (to.to_owned(), shared.of(to));
        }
        match says {
            Says::Addresses { ttl, at } => {
                for address in at {
                    match address {
                        IpAddr::V4(v4) if self.kind == 1 => answers.push(record(&owner, 1, ttl, &v4.octets())),
                        IpAddr::V6(v6) if self.kind == 28 => answers.push(record(&owner, 28, ttl, &v6.octets())),
                        _ => {}
                    }
                }
            }
            Says::NoSuchName(minimum) => {
                rcode = 3;
                authority.push(soa(minimum));
            }
            Says::NoAddress(minimum) => authority.push(soa(minimum)),
            Says::ServFail => rcode = 2,
            Says::Cut(_) => cut = 2,
            Says::Alias { .. } | Says::Silence | Says::Garbage | Says::AfterForged(_) => {}
        }
        let counts = [1, answers.len(), authority.len(), 0].map(|n| u16::try_from(n).unwrap().to_be_bytes());
        let head = [&self.id.to_be_bytes()[..], &[0x81 | cut, 0x80 | rcode]].concat();
        [head, counts.concat(), self.section.clone(), answers.concat(), authority.concat()].concat()
    }
}

fn wire_name(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&wire_name(owner)[..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

fn soa(minimum: u32) -> Vec<u8> {
    let numbers = [1, 3600, 600, 86_400, minimum].map(u32::to_be_bytes).concat();
    record("example.com", 6, 3600, &[wire_name("ns.example.com"), wire_name("mail.example.com"), numbers].concat())
}
