//! A client that speaks TLS with the library Weir speaks it with, but its ordinary, blocking side.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned};

use crate::certificates::{Authority, Signed};
use crate::message::Head;

/// How long an answer may take before a test calls it missing.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// What clients are made of.
#[derive(Clone, Debug)]
pub struct Trusting {
    config: ClientConfig,
}

impl Trusting {
    /// Clients that trust `authority`, show `certificate` if they have one, and never resume.
    pub fn new(authority: &Authority, certificate: Option<&Signed>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(signed) => {
                let chain = CertificateDer::pem_slice_iter(signed.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap()
            }
        };
        config.resumption = Resumption::disabled();
        Self { config }
    }

    /// The same, that offer these protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|protocol| (*protocol).into()).collect();
        self
    }

    /// The same, that go on with earlier sessions where they can.
    #[must_use]
    pub fn resuming(mut self) -> Self {
        self.config.resumption = Resumption::in_memory_sessions(64);
        self
    }

    /// Connects and shakes hands, asking for `name`.
    pub fn connect(&self, to: SocketAddr, name: &str) -> std::io::Result<Tls> {
        self.over(TcpStream::connect(to)?, name)
    }

    /// Shakes hands over `socket`.
    pub fn over(&self, socket: TcpStream, name: &str) -> std::io::Result<Tls> {
        let mut client = self.before(socket, name)?;
        while client.stream.conn.is_handshaking() {
            client.stream.conn.complete_io(&mut client.stream.sock)?;
        }
        Ok(client)
    }

    /// Connects and leaves the handshake to the caller.
    pub fn begin(&self, to: SocketAddr, name: &str) -> std::io::Result<Tls> {
        self.before(TcpStream::connect(to)?, name)
    }

    fn before(&self, socket: TcpStream, name: &str) -> std::io::Result<Tls> {
        socket.set_read_timeout(Some(ANSWER_PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        let stream = StreamOwned::new(connection, socket);
        Ok(Tls { stream, buffer: Vec::new() })
    }

    /// One GET on a connection of its own.
    pub fn get(&self, to: SocketAddr, name: &str, target: &str) -> std::io::Result<Answer> {
        self.connect(to, name)?.get(name, target)
    }
}

/// A connection.
pub struct Tls {
    /// The library's; its socket is below.
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status and fields.
    pub head: Head,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.word(1).parse().unwrap_or(0)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Tls {
    /// True if it goes on with an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The protocol that was agreed on.
    pub fn alpn(&self) -> Option<String> {
        self.stream.conn.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned())
    }

    /// True for TLS 1.3.
    pub fn is_v1_3(&self) -> bool {
        self.stream.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// The certificate that was shown, as PEM's inside.
    pub fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    fn fill(&mut self) -> std::io::Result<()> {
        let mut room = [0; 16 * 1024];
        match self.stream.read(&mut room)? {
            0 => Err(ErrorKind::ConnectionAborted.into()),
            n => {
                self.buffer.extend_from_slice(&room[..n]);
                Ok(())
            }
        }
    }

    /// Reads an answer with a `Content-Length`. Its end before that is an error: [`ErrorKind::UnexpectedEof`] without a
    /// goodbye, [`ErrorKind::ConnectionAborted`] with one.
    pub fn answer(&mut self) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let rest = self.buffer.split_off(end);
        let head = Head::parse(std::mem::replace(&mut self.buffer, rest));
        let length = head.length().unwrap_or(0);
        while self.buffer.len() < length {
            self.fill()?;
        }
        let rest = self.buffer.split_off(length);
        Ok(Answer { head, body: std::mem::replace(&mut self.buffer, rest) })
    }

    /// Takes exactly `n` bytes.
    pub fn exact(&mut self, n: usize) -> std::io::Result<Vec<u8>> {
        while self.buffer.len() < n {
            self.fill()?;
        }
        let rest = self.buffer.split_off(n);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// A GET and its answer.
    pub fn get(&mut self, host: &str, target: &str) -> std::io::Result<Answer> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        self.answer()
    }

    /// Says that nothing more will be sent, and closes that direction.
    pub fn half_close(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Write);
    }

    /// What is read until the end: `Ok` if that was a goodbye.
    pub fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut all)?;
        Ok(all)
    }
}
