//! Runs the data plane's own reading and writing of HTTP/1 between two sockets in memory, with the other side's bytes cut as asked: what
//! a session does from a client's first byte to a member's last, without listeners, pools and clocks.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;

use lb_core::config::InsertHeaders;
use lb_core::config::limits::HeadLimits;
use lb_proxy::buffer::{Buffer, Buffers, LentSheet, Sheet};
use lb_proxy::http::answer::{Answer, Failed, Told};
use lb_proxy::http::body::Pump;
use lb_proxy::http::h1::request::{self, Additions, RequestHead};
use lb_proxy::http::h1::upgrade;
use lb_proxy::http::head::{HeadFailure, Search, read_head};
use lb_proxy::timer::{Deadlines, Patience, Wait};
use lb_proxy::wire::{self, Stream};
use tokio::runtime::Runtime;

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    static BUFFERS: Rc<Buffers> = Rc::default();
}

/// Runs `work` on this thread's runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// Where an input is cut: before each of these places; each piece is read before the next one comes.
pub(crate) type Cuts<'a> = &'a [usize];

/// Why no more requests were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// What came is no request, or not the whole of one.
    NoHead,
    /// A body broke off or is not what its head says.
    BrokenBody,
    /// The client said that this is its last.
    Asked,
}

/// What a client's bytes led to.
#[derive(Debug)]
pub(crate) struct Forwarded {
    /// Requests that were taken whole.
    pub(crate) whole: usize,
    pub(crate) end: End,
    /// All that the member got.
    pub(crate) to_member: Vec<u8>,
}

/// Takes requests from `bytes` for as long as a session would, and forwards them to one member.
pub(crate) fn requests(bytes: &[u8], cuts: Cuts<'_>) -> Forwarded {
    let (client, from) = pair();
    let (to, member) = pair();
    let ((whole, end), to_member) = block_on(async {
        let session = async {
            let (from, to) = (Stream::new(from), Stream::new(to));
            serve(&from, &to, usize::MAX).await
        };
        while_fed(session, &client, bytes, cuts, &member).await
    });
    Forwarded { whole, end, to_member }
}

/// Takes `most` requests, no more.
pub(crate) async fn serve(from: &Stream, to: &Stream, most: usize) -> (usize, End) {
    let buffers = BUFFERS.with(Rc::clone);
    let mut buffer = buffers.lend();
    let (unused, passed, counted) = (Deadlines::default(), Default::default(), Default::default());
    let patience = Patience::new(&unused, Wait::ClientRead, 0);
    let mut whole = 0;
    loop {
        let mut sheet = buffers.lend_sheet();
        let mut search = Search::default();
        let read = read_head(from, &mut buffer, &mut sheet, &mut search, HeadLimits::default(), patience).await;
        let head = match read {
            Ok(head) => head,
            Err(HeadFailure::Malformed(_) | HeadFailure::Left) => return (whole, End::NoHead),
        };
        write_head(&head, &buffer, &mut sheet);
        buffer.consume(head.len);
        let pump = Pump {
            framing: head.body,
            chunked_out: true,
            source: patience,
            sink: patience,
            passed: &passed,
            turn_began: Default::default(),
            end_counted: &counted,
            answers: None,
        };
        let mut framing = Sheet::default();
        if pump.run(from, to, &mut buffer, &mut framing, &sheet.out).await.is_err() {
            return (whole, End::BrokenBody);
        }
        whole += 1;
        if !head.keep_alive || whole == most {
            return (whole, End::Asked);
        }
    }
}

fn write_head(head: &RequestHead, buffer: &Buffer, sheet: &mut LentSheet) {
    let Sheet { fields, out, .. } = &mut **sheet;
    request::write(head, &buffer.filled()[..head.len], fields, &additions(InsertHeaders::default()), None, out);
}

/// What members are told beyond what the client sent.
pub(crate) fn additions(insert: InsertHeaders) -> Additions<'static> {
    Additions {
        insert,
        told: None,
        client: [192, 0, 2, 7].into(),
        scheme: "http",
        local: SocketAddr::from(([198, 51, 100, 1], 80)),
        cookies: None,
        trailers: false,
    }
}

/// What a member's bytes led to.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The answer was passed on whole, with more behind it or not; `Err`: whether the client got a part of it.
    pub(crate) whole: Result<bool, bool>,
    /// All that the client got.
    pub(crate) to_client: Vec<u8>,
}

/// Takes the answer to `asked`, the head of a request, from `bytes`, and passes it on; and what follows it, if it changes to another
/// protocol.
pub(crate) fn answer(asked: &str, bytes: &[u8], cuts: Cuts<'_>) -> Answered {
    let (mut table, mut written) = (Vec::new(), Vec::new());
    let request = request::parse(asked.as_bytes(), &mut table).expect("a request");
    request::write(&request, asked.as_bytes(), &table, &additions(InsertHeaders::default()), None, &mut written);
    let changes_to = upgrade::asked(&written);
    let (member, from) = pair();
    let (to, client) = pair();
    let (whole, to_client) = block_on(async {
        let session = async {
            let (from, to) = (Stream::new(from), Stream::new(to));
            Box::pin(pass(&request, changes_to, &from, &to)).await
        };
        Box::pin(while_fed(session, &member, bytes, cuts, &client)).await
    });
    Answered { whole, to_client }
}

async fn pass(request: &RequestHead, asked: Option<&[u8]>, from: &Stream, to: &Stream) -> Result<bool, bool> {
    let (unused, told, buffers) = (Deadlines::default(), Told::default(), BUFFERS.with(Rc::clone));
    let patience = Patience::new(&unused, Wait::MemberRead, 0);
    let answer = Answer {
        request,
        asked,
        keep_client: &|| true,
        changed: None,
        decline: &|_| false,
        head_patience: patience,
        body_patience: patience,
        client: patience,
        told: &told,
        strict_transport: None,
        buffers: &buffers,
        remembered: None,
    };
    match answer.pass(from, to).await {
        Ok(passed) if passed.switched => {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = wire::read(from, &mut piece, patience).await {
                wire::write_all(to, &mut [IoSlice::new(&piece[..n])], patience).await.expect("the client is there");
            }
            Ok(false)
        }
        Ok(passed) => Ok(passed.surplus),
        Err(Failed::Client) => panic!("the client was there"),
        Err(_) => Err(told.client_told.get()),
    }
}

/// Runs `session` while `bytes` come over `source`, a piece each time it waits, and then the end. Returns what came of it, and all that
/// came out at `sink`.
async fn while_fed<T>(
    session: impl Future<Output = T>,
    mut source: &TcpStream,
    bytes: &[u8],
    cuts: Cuts<'_>,
    sink: &TcpStream,
) -> (T, Vec<u8>) {
    let mut session = pin!(session);
    let mut out = Vec::new();
    let mut at = 0;
    let mut cuts = cuts.iter().copied().filter(|cut| *cut <= bytes.len()).chain([bytes.len()]);
    let mut ended = false;
    let done = poll_fn(|cx| {
        let polled = session.as_mut().poll(cx);
        // So that there is always room for more: a byte by itself takes as much of it as a thousand.
        take_all(sink, &mut out);
        if polled.is_ready() {
            return polled;
        }
        if let Some(cut) = cuts.next() {
            source.write_all(&bytes[at..cut]).expect("room for all of it");
            at = cut;
            cx.waker().wake_by_ref();
        } else if !ended {
            ended = true;
            source.shutdown(Shutdown::Write).expect("a socket that is open");
        }
        polled
    });
    (done.await, out)
}

/// All that waits to be read.
fn take_all(mut from: &TcpStream, out: &mut Vec<u8>) {
    match from.read_to_end(out) {
        // Nothing more for now, or what the other end was told last was not read there.
        Ok(_) => {}
        Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset), "{error}"),
    }
}

/// Two ends of a connection that does not block. The data plane's type says TCP; the calls it makes are the same for any stream socket.
fn pair() -> (TcpStream, TcpStream) {
    let (one, other) = UnixStream::pair().expect("descriptors");
    one.set_nonblocking(true).expect("a socket");
    other.set_nonblocking(true).expect("a socket");
    (TcpStream::from(OwnedFd::from(one)), TcpStream::from(OwnedFd::from(other)))
}
