//! One question to one server: over UDP, and over TCP where the answer does not fit.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{Answer, Family, Question, Reading};

/// Longest datagram that is looked at. Without EDNS, which is not asked for, servers send 512 bytes at most.
const DATAGRAM_MAX: usize = 4096;
/// Datagrams that are no answer to the question before it is given up: somebody guesses.
const STRAYS_MAX: usize = 64;

/// Why nothing was heard.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server did not answer in time, or could not be reached.
    Silent,
    /// We could not ask.
    Ours(io::Error),
}

/// Asks `server` for addresses of `name`; ends after `patience`.
pub(super) async fn ask(server: SocketAddr, name: &str, family: Family, patience: Duration) -> Result<Answer, Trouble> {
    match tokio::time::timeout(patience, exchange(server, name, family)).await {
        Ok(answer) => answer,
        Err(_) => Err(Trouble::Silent),
    }
}

async fn exchange(server: SocketAddr, name: &str, family: Family) -> Result<Answer, Trouble> {
    // What cannot be written as a question is no name: nobody has addresses for it.
    let question = |id| Question::new(id, name, family).ok_or(Trouble::Silent);
    let asked = question(random_id()?)?;
    match over_udp(server, &asked).await? {
        Some(answer) => Ok(answer),
        None => over_tcp(server, &question(random_id()?)?).await,
    }
}

/// `None`: the answer was cut.
async fn over_udp(server: SocketAddr, question: &Question) -> Result<Option<Answer>, Trouble> {
    // The kernel draws the port, and hands over only what this server sends to it.
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(trouble)?;
    socket.connect(server).await.map_err(trouble)?;
    socket.send(&question.message()).await.map_err(trouble)?;
    let mut datagram = vec![0; DATAGRAM_MAX];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut datagram).await.map_err(trouble)?;
        match question.read(&datagram[..length]) {
            Reading::NotOurs => {}
            Reading::Cut => return Ok(None),
            Reading::Answer(answer) => return Ok(Some(answer)),
        }
    }
    Err(Trouble::Silent)
}

async fn over_tcp(server: SocketAddr, question: &Question) -> Result<Answer, Trouble> {
    let mut stream = TcpStream::connect(server).await.map_err(trouble)?;
    let message = question.message();
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), message.as_slice()].concat()).await.map_err(trouble)?;
    let length = stream.read_u16().await.map_err(trouble)?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.map_err(trouble)?;
    match question.read(&message) {
        Reading::Answer(answer) => Ok(answer),
        // Cut where nothing has to be: this server does not know how.
        Reading::NotOurs | Reading::Cut => Err(Trouble::Silent),
    }
}

/// Nobody who does not see the question may guess it.
fn random_id() -> Result<u16, Trouble> {
    let mut id = [0; 2];
    getrandom(&mut id, GetRandomFlags::empty()).map_err(|errno| Trouble::Ours(errno.into()))?;
    Ok(u16::from_ne_bytes(id))
}

/// Whose fault a failed call is.
fn trouble(error: io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EACCES | libc::EPERM) => {
            Trouble::Ours(error)
        }
        _ => Trouble::Silent,
    }
}
