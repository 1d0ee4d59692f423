//! The same for HTTP/2: frames of a client go through the data plane's own connection and streams, each of which carries a request to a
//! member of its own and gets an answer.

use std::future::poll_fn;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::task::Poll;

use h2::server::Builder;
use hyper::body::Bytes;
use lb_proxy::http2::disguise::{Connected, Disguise, has_plain_target};
use lb_proxy::http2::io::Io;
use lb_proxy::http2::preface::PREFACE;
use lb_proxy::timer::{Deadlines, Patience, Wait};
use lb_proxy::wire::{self, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

use crate::drive::{End, Forwarded, block_on, serve};

/// What every request is answered.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Requests of one connection; more say nothing new.
const REQUESTS_MAX: usize = 16;

/// Takes what requests there are in `frames`, which come after a preface.
pub(crate) fn requests(frames: &[u8]) -> Vec<Forwarded> {
    let said = [PREFACE, frames].concat();
    block_on(LocalSet::new().run_until(async {
        let (client, stream) = pair();
        let (mut hearing, mut saying) = client.into_split();
        let hearing = spawn_local(async move { hearing.read_to_end(&mut Vec::new()).await.is_ok() });
        let saying = spawn_local(async move {
            // It may be told to go before it has said everything.
            let _ = saying.write_all(&said).await;
        });
        let begun = accept(Rc::new(stream)).await;
        let mut done = Vec::new();
        for stream in begun {
            done.push(stream.await.expect("a stream that ends"));
        }
        saying.abort();
        hearing.abort();
        done
    }))
}

/// Streams that were opened, each under way.
async fn accept(stream: Rc<Stream>) -> Vec<tokio::task::JoinHandle<Forwarded>> {
    let of = Connected { budget: Rc::default(), told: None, carrier: Weak::new() };
    let io = Io::of_client(stream, Vec::new(), Rc::clone(&of.budget), PREFACE.len());
    let mut begun = Vec::new();
    let mut builder = Builder::new();
    builder.max_header_list_size(16 * 1024).enable_connect_protocol();
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else { return begun };
    while begun.len() < REQUESTS_MAX {
        // Whoever is stopped is not heard any more, and nobody is told when: that is looked for each time.
        let accepted = poll_fn(|cx| match connection.poll_accept(cx) {
            _ if of.budget.verdict().is_some() => Poll::Ready(None),
            accepted => accepted,
        });
        let Some(Ok((request, mut respond))) = accepted.await else { break };
        if has_plain_target(&request) {
            let disguised = Stream::disguised(Disguise::new(request, respond, &of));
            begun.push(spawn_local(exchange(disguised)));
        } else {
            respond.send_reset(h2::Reason::PROTOCOL_ERROR);
        }
    }
    begun
}

/// One stream's request to a member, and the answer back.
async fn exchange(from: Stream) -> Forwarded {
    let (mut member, to) = pair();
    let hearing = spawn_local(async move {
        let mut all = Vec::new();
        let _ = member.read_to_end(&mut all).await;
        all
    });
    let (whole, end) = serve(&from, &to, 1).await;
    if whole == 1 && end == End::Asked {
        let unused = Deadlines::default();
        let patience = Patience::new(&unused, Wait::ClientWrite, 0);
        // The client may be gone.
        let _ = wire::write_all(&from, &mut [std::io::IoSlice::new(ANSWER)], patience).await;
    }
    drop((from, to));
    Forwarded { whole, end, to_member: hearing.await.expect("a member that hears") }
}

/// Somebody's end of a connection, and ours.
fn pair() -> (UnixStream, Stream) {
    let (theirs, ours) = UnixStream::pair().expect("descriptors");
    let ours = ours.into_std().expect("a socket");
    (theirs, Stream::new(TcpStream::from(OwnedFd::from(ours))))
}
