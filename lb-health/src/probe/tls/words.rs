//! Why TLS failed, in an operator's words.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::words::words;

/// In at most 200 bytes.
pub fn of(error: &Error) -> Box<str> {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::InvalidMessage(_) => "not TLS".into(),
        Error::AlertReceived(alert) => words(&format!("the member said: {}", said(*alert))),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => "only TLS before 1.2".into(),
        Error::PeerIncompatible(reason) => words(&format!("nothing in common: {reason:?}")),
        Error::NoCertificatesPresented => "no certificate".into(),
        Error::DecryptError => "a record that does not decrypt".into(),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "a message out of turn".into()
        }
        other => words(&other.to_string()),
    }
}

fn certificate(reason: &CertificateError) -> Box<str> {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet".into()
        }
        CertificateError::UnknownIssuer => "certificate is from an authority that is not trusted".into(),
        CertificateError::Revoked => "certificate is revoked".into(),
        CertificateError::NotValidForName => "certificate is not valid for the name".into(),
        CertificateError::NotValidForNameContext { expected, .. } => {
            words(&format!("certificate is not valid for the name {}", expected.to_str()))
        }
        CertificateError::BadSignature => "a signature that does not verify".into(),
        CertificateError::BadEncoding => "certificate cannot be read".into(),
        CertificateError::Other(inner) if inner.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is an authority's, not a server's".into()
        }
        other => words(&format!("certificate is not good: {other}")),
    }
}

fn said(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    let mut spaced = String::with_capacity(name.len() + 8);
    for (place, character) in name.chars().enumerate() {
        if place > 0 && character.is_ascii_uppercase() {
            spaced.push(' ');
        }
        spaced.push(character.to_ascii_lowercase());
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_words() {
        assert_eq!(
            &*of(&Error::AlertReceived(AlertDescription::HandshakeFailure)),
            "the member said: handshake failure"
        );
        assert_eq!(
            &*of(&Error::AlertReceived(AlertDescription::UnrecognisedName)),
            "the member said: unrecognised name"
        );
    }
}
