//! What hyper understands of the same bytes: somebody else's reading of HTTP/1, as a member or a client might have it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::drive::block_on;
use crate::reference::Fields;

/// More than any input, so that nobody waits for room.
const ROOM: usize = 1 << 20;

/// A message as hyper understood it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Of a request.
    pub(crate) method: String,
    pub(crate) target: String,
    /// Of an answer.
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Its body came to its end.
    pub(crate) is_whole: bool,
}

impl Heard {
    /// Values of a field, by its name in lower case.
    pub(crate) fn values(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == name.as_bytes()).map(|field| &*field.1).collect()
    }
}

/// The requests of one connection, and whether it ended without a complaint.
pub(crate) fn requests(bytes: &[u8]) -> (Vec<Heard>, bool) {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&heard);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let noted = Rc::clone(&noted);
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.to_string();
            let head =
                Heard { method: parts.method.to_string(), target, fields: fields(&parts.headers), ..Heard::default() };
            let message = with_body(head, body).await;
            noted.borrow_mut().push(message);
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let ended = block_on(async {
        let (mut client, server) = tokio::io::duplex(ROOM);
        let asking = async {
            client.write_all(bytes).await.expect("room for all of it");
            let _ = client.shutdown().await;
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
        };
        let mut builder = hyper::server::conn::http1::Builder::new();
        let serving = builder.half_close(true).max_headers(200).serve_connection(TokioIo::new(server), service);
        tokio::join!(serving, asking).0
    });
    (heard.take(), ended.is_ok())
}

/// The answer to a request by that method; `None`: none that hyper takes.
pub(crate) fn answer(method: &str, bytes: &[u8]) -> Option<Heard> {
    block_on(async {
        let (client, mut member) = tokio::io::duplex(ROOM);
        let answering = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") && member.read_buf(&mut asked).await.is_ok_and(|n| n > 0) {}
            let _ = member.write_all(bytes).await;
            let _ = member.shutdown().await;
            // Nothing of it is taken back before the client has read what it wants.
            let _ = member.read_to_end(&mut asked).await;
        };
        let mut builder = hyper::client::conn::http1::Builder::new();
        let (mut sender, connection) = builder.max_headers(200).handshake(TokioIo::new(client)).await.ok()?;
        let request = hyper::Request::builder().method(method).uri("/").header("host", "a");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let asking = async move {
            let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
            let head = Heard { status: parts.status.as_u16(), fields: fields(&parts.headers), ..Heard::default() };
            Some(with_body(head, body).await)
        };
        tokio::join!(asking, connection, answering).0
    })
}

async fn with_body<B: Body<Data = Bytes> + Unpin>(mut heard: Heard, mut body: B) -> Heard {
    loop {
        match body.frame().await {
            None => {
                heard.is_whole = true;
                return heard;
            }
            Some(Err(_)) => return heard,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => heard.body.extend_from_slice(&data),
                Err(frame) => heard.trailers = frame.trailers_ref().map(fields).unwrap_or_default(),
            },
        }
    }
}

/// By name, those of one name in their order.
fn fields(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}
