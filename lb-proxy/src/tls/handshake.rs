//! A client's handshake: from the accepted socket to a connection that requests can be read from.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind};

use super::channel::{Channel, Failure};
use super::server::ServerTls;
use super::table::now;
use crate::buffer::Buffer;
use crate::clock;
use crate::listener::Downstream;
use crate::observe::record::{Ending, Load, Record, Times, Words};
use crate::persistence::Noted;
use crate::wire::Stream;
use crate::worker::millis_between;
use crate::{http, http2};

/// Shakes hands with a client and serves it. `first`: what it said already.
pub async fn serve(downstream: Downstream, stream: Stream, tls: Arc<ServerTls>, first: Option<Buffer>) {
    // The handshake's state is large, and gone before the first request.
    let shaken = downstream.ticket.unless_shed(Box::pin(accept(&downstream, stream, &tls, first)).as_mut()).await;
    match shaken {
        Some(Ok(stream)) if stream.speaks_h2() => {
            Box::pin(http2::connection::serve(downstream, stream, Vec::new())).await;
        }
        Some(Ok(stream)) => http::session::serve(downstream, stream, None).await,
        Some(Err(ending)) => close_books(&downstream, ending),
        None => downstream.note_shed(),
    }
}

async fn accept(
    downstream: &Downstream,
    stream: Stream,
    tls: &ServerTls,
    first: Option<Buffer>,
) -> Result<Stream, Ending> {
    let raw = stream.into_raw().map_err(|_| endings::NOT_TLS)?;
    let buffers = Rc::clone(&downstream.worker.buffers);
    let connection = UnbufferedServerConnection::new(Arc::clone(&tls.config)).map_err(|_| endings::OURS)?;
    let mut channel = Channel::server(connection, buffers);
    let patience = match tls.handshake_timeout_ms {
        0 => Duration::from_secs(86_400),
        ms => Duration::from_millis(ms),
    };
    match tokio::time::timeout(patience, channel.shake_hands(&raw, first.as_ref().map_or(&[][..], Buffer::filled)))
        .await
    {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => return Err(why(&failure)),
        Err(_) => return Err(endings::TIMEOUT),
    }
    let cell = downstream.view.listener_cell(&downstream.listener);
    cell.tls_handshakes.inc();
    let is_resumed = channel.facts().handshake_kind() == Some(HandshakeKind::Resumed);
    if is_resumed {
        cell.tls_resumed.inc();
    }
    channel.note_told();
    // A resumed session shows no certificate, so nobody has looked whether it is still good; and each gives a ticket for
    // the next.
    let certificate = channel.told().and_then(|told| told.certificate.as_ref());
    if let Some(certificate) = certificate.filter(|_| is_resumed) {
        let now = now();
        if certificate.ends < now {
            return Err(endings::EXPIRED);
        }
        let shown = channel.facts().peer_certificates().unwrap_or_default();
        tls.still_trusts(shown, now).map_err(|error| why(&Failure::Tls(error)))?;
    }
    Ok(Stream::secured(raw, channel))
}

fn close_books(downstream: &Downstream, ending: Ending) {
    let cell = downstream.view.listener_cell(&downstream.listener);
    cell.request_errors.inc();
    cell.tls_failures.inc();
    let Some(sink) = downstream.view.sink(downstream.position) else { return };
    let total = millis_between(downstream.accepted, clock::now().into_std());
    let record = Record {
        sink,
        http: true,
        began: downstream.accepted,
        client: downstream.peer,
        times: Times { total, ..Times::NONE },
        status: 0,
        bytes_counted: 0,
        bytes_out: 0,
        bytes_in: 0,
        ending,
        unnamed: None,
        noted: Noted::NOTHING,
        load: Load::now(downstream, None, None),
        retries: 0,
        redispatched: false,
        queued: Default::default(),
    };
    let words = Words { listener: &downstream.listener.label, pool: None, member: None, policy: None, line: b"" };
    downstream.worker.process.log.note(downstream.worker.index, &record, words);
}

/// How a handshake ends that leads to nothing.
mod endings {
    use crate::observe::record::Ending;

    pub(super) const fn ending(flags: &[u8; 2], reason: &'static str) -> Ending {
        Ending { flags: *flags, status: 0, reason }
    }

    pub(super) const TIMEOUT: Ending = ending(b"cR", "TLS: the handshake was not over in time");
    pub(super) const CLOSED: Ending = ending(b"CR", "TLS: the client left during the handshake");
    pub(super) const NOT_TLS: Ending = ending(b"PR", "TLS: the client does not speak TLS");
    pub(super) const EXPIRED: Ending = ending(b"PR", "TLS: the client's certificate has expired");
    pub(super) const OURS: Ending = ending(b"RR", "TLS: no connection could be made of the configuration");
}

/// A failed handshake in words that name whose fault it is.
fn why(failure: &Failure) -> Ending {
    let error = match failure {
        Failure::Closed | Failure::Io(_) => return endings::CLOSED,
        Failure::Tls(error) => error,
    };
    let reason = match error {
        Error::InvalidMessage(_) => return endings::NOT_TLS,
        Error::NoCertificatesPresented => "TLS: the client showed no certificate",
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => return endings::EXPIRED,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "TLS: the client's certificate is not valid yet"
            }
            CertificateError::Revoked => "TLS: the client's certificate is revoked",
            CertificateError::UnknownIssuer => "TLS: the client's certificate is from an authority that is not trusted",
            CertificateError::UnknownRevocationStatus => {
                "TLS: no revocation list speaks for the authority of the client's certificate"
            }
            CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
                "TLS: the revocation list for the client's certificate has expired"
            }
            _ => "TLS: the client's certificate is not good",
        },
        Error::PeerIncompatible(_) => "TLS: no version, suite or group in common with the client",
        Error::NoApplicationProtocol => "TLS: no application protocol in common with the client",
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            "TLS: the client does not trust our certificate"
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "TLS: the client says our certificate has expired"
        }
        Error::AlertReceived(_) => "TLS: the client gave up the handshake",
        Error::General(text) if text.contains("server certificate") => "TLS: there is no certificate for that name",
        _ => "TLS: the client broke the rules of the handshake",
    };
    endings::ending(b"PR", reason)
}
