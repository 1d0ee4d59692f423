//! A channel against the library's own blocking client, over real sockets.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::certificate::Certificate;
use super::channel::{Channel, Failure};
use super::names::Names;
use crate::buffer::Buffers;
use crate::wire::{Raw, Stream};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A bundle for `name`, and the certificate alone.
pub(super) fn bundle(name: &str) -> (Vec<u8>, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let certificate = made.cert.pem();
    (format!("{certificate}{}", made.signing_key.serialize_pem()).into_bytes(), certificate)
}

struct Play {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    buffers: Rc<Buffers>,
}

impl Play {
    fn new() -> Self {
        let (bundle, certificate) = bundle("weir.test");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = Certificate::parse(Path::new("/own.pem"), &bundle, &provider).expect("a good bundle");
        assert_eq!(own.names, ["weir.test"]);
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Names::new(&own, &[], false)));
        server.ticketer = aws_lc_rs::Ticketer::new().expect("keys");
        let mut roots = RootCertStore::empty();
        for certificate in super::certificate::certificates(certificate.as_bytes()).expect("PEM") {
            roots.add(certificate).expect("an authority");
        }
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server: Arc::new(server), client: Arc::new(client), buffers: Rc::default() }
    }

    /// Runs `client` on a thread of its own; returns our end after the handshake.
    async fn meet<T: Send + 'static>(
        &self,
        client: impl FnOnce(Client) -> T + Send + 'static,
    ) -> (Result<Stream, Failure>, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = Arc::clone(&self.client);
        let thread = std::thread::spawn(move || {
            let socket = TcpStream::connect(address).expect("a connection");
            let name = ServerName::try_from("weir.test").expect("a name");
            client(StreamOwned::new(ClientConnection::new(config, name).expect("a client"), socket))
        });
        let (socket, _) = listener.accept().expect("a client");
        socket.set_nonblocking(true).expect("a socket");
        let raw = Raw::new(socket);
        let connection = UnbufferedServerConnection::new(Arc::clone(&self.server)).expect("a connection");
        let mut channel = Channel::server(connection, Rc::clone(&self.buffers));
        let shaken = channel.shake_hands(&raw, &[]).await;
        channel.note_told();
        (shaken.map(|()| Stream::secured(raw, channel)), thread)
    }
}

async fn read_some(stream: &Stream, room: &mut [u8]) -> std::io::Result<usize> {
    poll_fn(|cx| stream.poll_read(cx, room)).await
}

async fn read_exactly(stream: &Stream, count: usize, at_once: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut room = vec![0; at_once];
    while all.len() < count {
        let n = read_some(stream, &mut room).await.expect("bytes");
        assert!(n > 0, "the end after {} bytes", all.len());
        all.extend_from_slice(&room[..n]);
    }
    all
}

async fn write_everything(stream: &Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| stream.poll_write(cx, bytes)).await.expect("written");
        bytes = &bytes[n..];
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_of_every_size_get_through_both_ways() {
    for (len, at_once) in [(1, 1), (5, 64), (16_384, 100), (16_385, 40_000), (700_000, 3_000), (3_000_000, 65_000)] {
        let play = Play::new();
        let (stream, client) = play
            .meet(move |mut client| {
                client.write_all(&pattern(len)).expect("written");
                let mut back = vec![0; len];
                client.read_exact(&mut back).expect("read");
                // The goodbye is heard as the end, not as an error.
                assert_eq!(client.read(&mut [0; 1]).expect("a goodbye"), 0);
                back
            })
            .await;
        let stream = stream.expect("hands were shaken");
        assert_eq!(stream.told().and_then(|told| told.asked_for.clone()).as_deref(), Some("weir.test"));
        let got = read_exactly(&stream, len, at_once).await;
        assert!(got == pattern(len), "{len} bytes, {at_once} at once");
        write_everything(&stream, &got).await;
        drop(stream);
        assert!(client.join().expect("the client") == pattern(len));
    }
}

#[tokio::test]
async fn a_goodbye_is_the_end_and_its_absence_an_error() {
    let play = Play::new();
    let (stream, client) = play
        .meet(|mut client| {
            client.write_all(b"last words").expect("written");
            client.conn.send_close_notify();
            client.flush().expect("sent");
            // Closing with tickets unread would reset the connection.
            client.read_to_end(&mut Vec::new()).expect("our goodbye")
        })
        .await;
    let stream = stream.expect("hands were shaken");
    assert_eq!(read_exactly(&stream, 10, 64).await, b"last words");
    assert_eq!(read_some(&stream, &mut [0; 8]).await.expect("the end"), 0);
    drop(stream);
    client.join().expect("the client");

    let (stream, client) = play
        .meet(|mut client| {
            client.write_all(b"cut").expect("written");
            client.flush().expect("sent");
            client.sock.shutdown(std::net::Shutdown::Write).expect("closed");
            let _ = client.read_to_end(&mut Vec::new());
        })
        .await;
    let stream = stream.expect("hands were shaken");
    assert_eq!(read_exactly(&stream, 3, 64).await, b"cut");
    let error = read_some(&stream, &mut [0; 8]).await.expect_err("no goodbye was said");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    drop(stream);
    client.join().expect("the client");
}

#[tokio::test]
async fn a_reset_says_no_goodbye() {
    let play = Play::new();
    let (stream, client) = play
        .meet(|mut client| {
            client.write_all(b"?").expect("written");
            let mut room = [0; 16];
            loop {
                match client.read(&mut room) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(_) => return true,
                }
            }
        })
        .await;
    let stream = stream.expect("hands were shaken");
    assert_eq!(read_exactly(&stream, 1, 8).await, b"?");
    write_everything(&stream, b"half an answer").await;
    stream.reset();
    drop(stream);
    assert!(client.join().expect("the client"), "cut short must not look whole");
}

#[tokio::test]
async fn what_is_not_tls_is_refused_with_an_alert() {
    let play = Play::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(address).expect("a connection");
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("written");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        answer
    });
    let (socket, _) = listener.accept().expect("a client");
    socket.set_nonblocking(true).expect("a socket");
    let raw = Raw::new(socket);
    let connection = UnbufferedServerConnection::new(Arc::clone(&play.server)).expect("a connection");
    let mut channel = Channel::server(connection, Rc::clone(&play.buffers));
    let failure = channel.shake_hands(&raw, &[]).await.expect_err("this is not TLS");
    assert!(matches!(failure, Failure::Tls(rustls::Error::InvalidMessage(_))), "{failure}");
    drop((channel, raw));
    let answer = thread.join().expect("the client");
    assert_eq!(answer.first(), Some(&21), "an alert record: {answer:?}");
}

#[tokio::test]
async fn a_client_at_rest_holds_no_buffer_and_goes_on() {
    let play = Play::new();
    let (stream, client) = play
        .meet(|mut client| {
            client.write_all(b"one").expect("written");
            let mut room = [0; 3];
            client.read_exact(&mut room).expect("read");
            client.write_all(b"two").expect("written");
            client.read_exact(&mut room).expect("read");
            room
        })
        .await;
    let stream = stream.expect("hands were shaken");
    assert_eq!(read_exactly(&stream, 3, 8).await, b"one");
    let stream = stream.rest().expect("a connection").wake();
    write_everything(&stream, b"1..").await;
    assert_eq!(read_exactly(&stream, 3, 8).await, b"two");
    write_everything(&stream, b"2..").await;
    assert_eq!(&client.join().expect("the client"), b"2..");
}

#[test]
fn bundles_that_do_not_fit_are_refused_with_a_reason() {
    let provider = aws_lc_rs::default_provider();
    let (good, certificate) = bundle("a.test");
    let (other, _) = bundle("b.test");
    let key_of = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).expect("PEM");
        text[text.find("-----BEGIN PRIVATE").expect("a key")..].to_owned()
    };
    let why = |text: &[u8]| match Certificate::parse(Path::new("/x.pem"), text, &provider) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    };
    assert!(why(b"").contains("no certificate"));
    assert!(why(certificate.as_bytes()).contains("no private key"));
    assert!(why(key_of(&good).as_bytes()).contains("no certificate"));
    assert!(why(format!("{certificate}{}", key_of(&other)).as_bytes()).contains("does not belong"));
    assert!(why(&good[..good.len() / 3]).contains("/x.pem"));
    let parsed = Certificate::parse(Path::new("/x.pem"), &good, &provider).expect("good");
    assert!(parsed.still_good(0).is_ok());
    assert!(parsed.still_good(i64::MAX).expect_err("ended").to_string().contains("expired"));
}
