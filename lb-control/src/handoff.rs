//! Listening sockets passed between processes over a Unix socket.
//!
//! The agent offers the sockets it made to a data plane; a new agent collects duplicates of what a data plane
//! holds. So they outlive either process, and clients wait in the kernel's queue instead of being refused.
//!
//! Wire: frames of a 4-byte big-endian length and JSON ([`Hello`], [`Inventory`] or [`Verdict`]); the descriptors follow
//! their inventory in its order, at most [`BATCH`] with each single byte `F`.
//!
//! | | asks | answers |
//! |---|---|---|
//! | offer | `Hello{do: offer}`, `Inventory`, descriptors | `Verdict` |
//! | collect | `Hello{do: collect}` | `Verdict`, then `Inventory`, descriptors |

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketType, sockopt,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Listening sockets by the address they are bound to.
pub type Sockets = Vec<(SocketAddr, Vec<OwnedFd>)>;

/// Spoken version; another one is refused.
pub const VERSION: u32 = 1;
/// Descriptors in one message; the kernel's limit is 253.
pub const BATCH: usize = 200;
/// Descriptors in one conversation.
pub const SOCKETS_MAX: usize = 16 * 1024;
/// Bytes of one frame.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// For one whole conversation.
pub const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Conversations at once.
pub const CONVERSATIONS_MAX: usize = 16;

/// What a process that holds listening sockets does with requests for them.
pub trait HandoffStore: Send + Sync + 'static {
    /// Takes sockets that another process made. Each listens on the address it comes with.
    fn offered(&self, sockets: Sockets);
    /// Duplicates of all sockets this process listens on.
    fn held(&self) -> io::Result<Sockets>;
}

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    weir_handoff: u32,
    #[serde(rename = "do")]
    task: Task,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Task {
    Offer,
    Collect,
}

/// Which descriptors follow, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Inventory {
    sockets: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    address: SocketAddr,
    count: usize,
}

/// `error` is absent when all is well.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Verdict {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Gives `sockets` to the process that serves `path`. `Ok` means that it has taken them all.
pub async fn offer(path: impl AsRef<Path>, sockets: &[(SocketAddr, Vec<BorrowedFd<'_>>)]) -> io::Result<()> {
    in_time(async {
        let mut stream = UnixStream::connect(path).await?;
        send_frame(&mut stream, &Hello { weir_handoff: VERSION, task: Task::Offer }).await?;
        send_sockets(&mut stream, sockets).await?;
        accepted(&receive_frame(&mut stream).await?)
    })
    .await
}

/// Duplicates of all listening sockets of the process that serves `path`.
pub async fn collect(path: impl AsRef<Path>) -> io::Result<Sockets> {
    in_time(async {
        let mut stream = UnixStream::connect(path).await?;
        send_frame(&mut stream, &Hello { weir_handoff: VERSION, task: Task::Collect }).await?;
        accepted(&receive_frame(&mut stream).await?)?;
        receive_sockets(&mut stream).await
    })
    .await
}

/// Answers on `listener`, each conversation in a task of the current runtime. Returns only when the listener is broken.
pub async fn serve<S: HandoffStore>(listener: UnixListener, store: Arc<S>) -> io::Result<Infallible> {
    let places = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) if matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let store = store.clone();
        tokio::spawn(async move {
            // Whoever asked learns of an error by the answer, or by its absence.
            let _ = in_time(conversation(&mut stream, &*store)).await;
            drop(place);
        });
    }
}

async fn conversation<S: HandoffStore>(stream: &mut UnixStream, store: &S) -> io::Result<()> {
    let hello: Hello = match receive_frame(stream).await {
        Ok(hello) => hello,
        Err(error) => return refuse(stream, error).await,
    };
    if hello.weir_handoff != VERSION {
        let words = format!("version {} is spoken here, not {}", VERSION, hello.weir_handoff);
        return refuse(stream, invalid(words)).await;
    }
    match hello.task {
        Task::Offer => match receive_sockets(stream).await {
            Ok(sockets) => {
                store.offered(sockets);
                send_frame(stream, &Verdict::default()).await
            }
            Err(error) => refuse(stream, error).await,
        },
        Task::Collect => match store.held() {
            Ok(sockets) => {
                send_frame(stream, &Verdict::default()).await?;
                let lent: Vec<_> = sockets.iter().map(|(a, fds)| (*a, fds.iter().map(AsFd::as_fd).collect())).collect();
                send_sockets(stream, &lent).await
            }
            Err(error) => refuse(stream, error).await,
        },
    }
}

async fn refuse(stream: &mut UnixStream, why: io::Error) -> io::Result<()> {
    send_frame(stream, &Verdict { error: Some(why.to_string()) }).await?;
    Err(why)
}

fn accepted(verdict: &Verdict) -> io::Result<()> {
    match &verdict.error {
        None => Ok(()),
        Some(why) => Err(io::Error::other(format!("refused by the other side: {why}"))),
    }
}

async fn send_sockets(stream: &mut UnixStream, sockets: &[(SocketAddr, Vec<BorrowedFd<'_>>)]) -> io::Result<()> {
    let entries = sockets.iter().map(|(address, fds)| Entry { address: *address, count: fds.len() }).collect();
    send_frame(stream, &Inventory { sockets: entries }).await?;
    let fds: Vec<BorrowedFd<'_>> = sockets.iter().flat_map(|(_, fds)| fds.iter().copied()).collect();
    for batch in fds.chunks(BATCH) {
        stream.async_io(Interest::WRITABLE, || send_batch(stream, batch)).await?;
    }
    Ok(())
}

/// One byte, so it is sent whole or not at all.
fn send_batch(stream: &UnixStream, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(batch)) {
        return Err(invalid("too many descriptors for one message"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(stream, &[IoSlice::new(b"F")], &mut control, flags)?;
    Ok(())
}

async fn receive_sockets(stream: &mut UnixStream) -> io::Result<Sockets> {
    let inventory: Inventory = receive_frame(stream).await?;
    let wanted = inventory.sockets.iter().try_fold(0usize, |sum, entry| sum.checked_add(entry.count));
    let wanted = wanted.filter(|n| *n <= SOCKETS_MAX).ok_or_else(|| invalid("too many sockets announced"))?;

    let mut fds = Vec::with_capacity(wanted);
    while fds.len() < wanted {
        let batch = stream.async_io(Interest::READABLE, || receive_batch(stream)).await?;
        if batch.is_empty() || fds.len() + batch.len() > wanted {
            return Err(invalid("the descriptors that came are not those announced"));
        }
        fds.extend(batch);
    }

    let mut fds = fds.into_iter();
    let mut sockets = Vec::with_capacity(inventory.sockets.len());
    for entry in inventory.sockets {
        let of_entry: Vec<OwnedFd> = fds.by_ref().take(entry.count).collect();
        for fd in &of_entry {
            must_listen_on(fd, entry.address)?;
        }
        sockets.push((entry.address, of_entry));
    }
    Ok(sockets)
}

fn receive_batch(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = part {
            fds.extend(more);
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(invalid("descriptors were cut off: more than one message may carry, or the limit of open files"));
    }
    Ok(fds)
}

/// A descriptor may be anything until it is looked at.
fn must_listen_on(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let stranger = |what: &str| invalid(format!("a descriptor announced as listening on {address} {what}"));
    let stream = sockopt::socket_type(fd).map_err(|_| stranger("is not a socket"))? == SocketType::STREAM;
    let listens = sockopt::socket_acceptconn(fd).map_err(|_| stranger("is not a socket"))?;
    if !stream || !listens {
        return Err(stranger("does not listen"));
    }
    let bound = rustix::net::getsockname(fd).ok().and_then(|any| SocketAddr::try_from(any).ok());
    match bound {
        Some(bound) if bound.ip() == address.ip() && bound.port() == address.port() => Ok(()),
        Some(bound) => Err(stranger(&format!("is bound to {bound}"))),
        None => Err(stranger("is not a TCP socket")),
    }
}

async fn send_frame<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).ok().filter(|n| *n as usize <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| invalid("the frame is too long"))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&json).await
}

/// Reads not a byte past the frame: the next one may carry descriptors.
async fn receive_frame<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(invalid("the frame is too long"));
    }
    let mut json = vec![0u8; length];
    stream.read_exact(&mut json).await?;
    serde_json::from_slice(&json).map_err(|error| invalid(format!("the frame is unreadable: {error}")))
}

async fn in_time<T>(conversation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(CONVERSATION_TIMEOUT, conversation).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side of the handoff does not answer")),
    }
}

fn invalid(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Shelf(Mutex<Sockets>);

    impl HandoffStore for Shelf {
        fn offered(&self, sockets: Sockets) {
            self.0.lock().unwrap().extend(sockets);
        }
        fn held(&self) -> io::Result<Sockets> {
            let copy = |fds: &Vec<OwnedFd>| fds.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>();
            self.0.lock().unwrap().iter().map(|(a, fds)| Ok((*a, copy(fds)?))).collect()
        }
    }

    struct Fixture {
        path: std::path::PathBuf,
        shelf: Arc<Shelf>,
        _dir: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handoff.sock");
        let shelf = Arc::new(Shelf::default());
        tokio::spawn(serve(crate::server::bind_socket(&path, 0o600, None).unwrap(), shelf.clone()));
        Fixture { path, shelf, _dir: dir }
    }

    fn lent(sockets: &[TcpListener]) -> (SocketAddr, Vec<BorrowedFd<'_>>) {
        (sockets[0].local_addr().unwrap(), sockets.iter().map(AsFd::as_fd).collect())
    }

    #[tokio::test]
    async fn hundreds_travel_there_and_back() {
        let f = fixture();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (a, b) = (crate::listen::listen(any, 3).unwrap(), crate::listen::listen(any, 450).unwrap());
        offer(&f.path, &[lent(&a), lent(&b)]).await.unwrap();
        let back = collect(&f.path).await.unwrap();
        let counts: Vec<_> = back.iter().map(|(addr, fds)| (*addr, fds.len())).collect();
        assert_eq!(counts, [(a[0].local_addr().unwrap(), 3), (b[0].local_addr().unwrap(), 450)]);
        // They live on without their maker.
        drop((a, b, f.shelf.0.lock().unwrap().drain(..).collect::<Vec<_>>()));
        let (addr, mut fds) = back.into_iter().next().unwrap();
        fds.truncate(1);
        let socket = TcpListener::from(fds.pop().unwrap());
        let _client = TcpStream::connect(addr).unwrap();
        socket.accept().unwrap();
    }

    #[tokio::test]
    async fn nothing_is_a_fine_collection() {
        let f = fixture();
        assert!(collect(&f.path).await.unwrap().is_empty());
        offer(&f.path, &[]).await.unwrap();
    }

    #[tokio::test]
    async fn strangers_among_descriptors_are_refused() {
        let f = fixture();
        let real = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let pair = UnixStream::pair().unwrap();
        let addr = real.local_addr().unwrap();
        let elsewhere = SocketAddr::new(addr.ip(), addr.port() ^ 1);
        for (address, fd, why) in [
            (addr, file.as_fd(), "not a socket"),
            (addr, pair.0.as_fd(), "does not listen"),
            (elsewhere, real.as_fd(), "is bound to"),
        ] {
            let error = offer(&f.path, &[(address, vec![fd])]).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(f.shelf.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn garbage_is_refused_and_the_next_is_served() {
        let f = fixture();
        let frame = |json: &str| [&(json.len() as u32).to_be_bytes()[..], json.as_bytes()].concat();
        let hello = frame(r#"{"weir_handoff":1,"do":"offer"}"#);
        let cases = [
            b"\xff\xff\xff\xff".to_vec(),
            frame("not json"),
            frame(r#"{"weir_handoff":2,"do":"offer"}"#),
            [hello.clone(), frame(r#"{"sockets":[{"address":"1.2.3.4:5","count":18446744073709551615}]}"#)].concat(),
            [hello.clone(), frame(r#"{"sockets":[{"address":"1.2.3.4:5","count":99999}]}"#)].concat(),
            [hello.clone(), frame(r#"{"sockets":[{"address":"1.2.3.4:5","count":2}]}"#), b"FF".to_vec()].concat(),
        ];
        for bytes in cases {
            let mut stream = UnixStream::connect(&f.path).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let verdict: Verdict = receive_frame(&mut stream).await.unwrap();
            assert!(verdict.error.is_some());
        }
        let mut half = UnixStream::connect(&f.path).await.unwrap();
        half.write_all(&hello[..9]).await.unwrap();
        drop(half);
        assert!(collect(&f.path).await.unwrap().is_empty());
    }
}
