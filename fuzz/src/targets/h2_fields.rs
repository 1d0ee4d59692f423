//! Whatever fields a peer sends, in whatever frames: the framing library never ends the connection for what it is shown of them, and it
//! refuses, as they came, what is called a fault of compression. Requests and answers are held to it alike.
//!
//! An input is a list of blocks: how it is sent, its length, and its bytes.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use h2::Reason;
use hyper::body::Bytes;
use lb_proxy::http2::gate::Gate;
use lb_proxy::http2::law::Side;
use lb_proxy::http2::preface::PREFACE;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use crate::drive::block_on;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// Answers there are streams for.
const ANSWERS: usize = 8;
/// Nothing is too much here: how much there may be is not what is looked for.
const LIST_MAX: u32 = 1 << 30;
/// What a library says is not read.
const ROOM: usize = 1 << 20;

pub(super) fn run(bytes: &[u8]) {
    for side in [Side::Client, Side::Member] {
        let said = frames(side, bytes, true);
        let mut gate = Gate::after(0, side);
        let mut behind = Vec::new();
        let walked = gate.walk(&said, &mut behind);
        match walked.fault {
            // In frames of their own the library takes a change of the table's size behind fields.
            Some(Reason::COMPRESSION_ERROR) => {
                let said = frames(side, bytes, false);
                assert!(is_refused(side, &said), "a fault of compression is none: {said:?}");
            }
            // A field of nothing that is to be remembered.
            Some(reason) => assert_eq!(reason, Reason::PROTOCOL_ERROR),
            None => {
                let shown = [&said[..walked.shown], &behind].concat();
                assert!(!is_refused(side, &shown), "{shown:?} ends the connection, instead of {said:?}");
            }
        }
    }
}

/// Settings, and a frame for each block, or two where that is asked for.
fn frames(side: Side, bytes: &[u8], in_two: bool) -> Vec<u8> {
    let mut frames = frame(SETTINGS, 0, 0, &[]);
    let (mut rest, mut stream, mut is_open) = (bytes, 0, false);
    while let [how, len, more @ ..] = rest {
        let (block, next) = more.split_at(usize::from(*len).min(more.len()));
        rest = next;
        // What follows a head that goes on are its trailers.
        if !is_open {
            stream += 1;
        }
        if side == Side::Member && stream > ANSWERS {
            break;
        }
        is_open = !is_open && how & 4 > 0;
        let end = if is_open { 0 } else { END_STREAM };
        let id = 2 * stream as u32 - 1;
        match how & 3 {
            1 if in_two => {
                let (first, second) = block.split_at(block.len() / 2);
                frames.extend(frame(HEADERS, end, id, first));
                frames.extend(frame(CONTINUATION, END_HEADERS, id, second));
            }
            2 => frames.extend(frame(HEADERS, end | END_HEADERS | PADDED, id, &[&[3], block, &[0; 3]].concat())),
            _ => frames.extend(frame(HEADERS, end | END_HEADERS, id, block)),
        }
    }
    frames
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// True if the library ends the connection of a peer that says so and leaves.
fn is_refused(side: Side, frames: &[u8]) -> bool {
    let ended = block_on(async {
        match side {
            Side::Client => serve(frames).await,
            Side::Member => ask(frames).await,
        }
    });
    ended.is_err_and(|error| error.is_go_away())
}

/// A peer that says so and leaves.
async fn say(mut theirs: DuplexStream, bytes: &[u8]) -> DuplexStream {
    theirs.write_all(bytes).await.expect("room");
    theirs.shutdown().await.expect("an end");
    theirs
}

async fn serve(frames: &[u8]) -> Result<(), h2::Error> {
    let (ours, theirs) = duplex(ROOM);
    let _theirs = say(theirs, &[PREFACE, frames].concat()).await;
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(LIST_MAX).max_local_error_reset_streams(None).max_concurrent_reset_streams(10_000);
    builder.max_pending_accept_reset_streams(10_000);
    let mut connection = builder.handshake::<_, Bytes>(ours).await?;
    while let Some(accepted) = connection.accept().await {
        drop(accepted?);
    }
    Ok(())
}

async fn ask(frames: &[u8]) -> Result<(), h2::Error> {
    let (ours, theirs) = duplex(ROOM);
    let mut builder = h2::client::Builder::new();
    builder.max_header_list_size(LIST_MAX).max_local_error_reset_streams(None).enable_push(false);
    let (mut requests, connection) = builder.handshake::<_, Bytes>(ours).await?;
    let mut connection = pin!(connection);
    let mut asked = Vec::new();
    for _ in 0..ANSWERS {
        let mut request = http::Request::new(());
        *request.uri_mut() = http::Uri::from_static("http://a/");
        asked.push(requests.send_request(request, true)?);
    }
    // Answers come to what was asked.
    poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_pending())).await;
    let _theirs = say(theirs, frames).await;
    connection.await
}
