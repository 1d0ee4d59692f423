//! What a client's certificate says, in the words members and policies ask for.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{one_line, short_name};

/// What a client told in its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The name it asked for, in lower case.
    pub asked_for: Option<Box<str>>,
    /// What its certificate says, if it showed one.
    pub certificate: Option<ClientFacts>,
}

/// Of a client that showed a good certificate. Texts are as HAProxy and OpenSSL write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFacts {
    /// Subject in one line: `/C=DE/O=x/CN=y`.
    pub subject: Box<str>,
    /// The subject's attributes by short name (`CN`, `O`, ...), in order.
    pub subject_fields: Vec<(Box<str>, Box<str>)>,
    /// Issuer in one line.
    pub issuer: Box<str>,
    /// SHA-1 of the certificate, 40 upper-case hex digits: a name for it, no proof of anything.
    pub sha1: Box<str>,
    /// `YYMMDDhhmmssZ`
    pub not_before: Box<str>,
    /// `YYMMDDhhmmssZ`
    pub not_after: Box<str>,
    /// The same in seconds since 1970.
    pub ends: i64,
}

impl ClientFacts {
    /// Of the certificate shown; `None` if its fields cannot be read.
    pub fn of(shown: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(shown).ok()?;
        let attributes = parsed.subject().iter_attributes();
        let subject_fields = attributes
            .map(|field| (short_name(field.attr_type()).into(), clean(field.as_str().unwrap_or_default())))
            .collect();
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, shown);
        let moment = |seconds| {
            let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
            at.strftime("%y%m%d%H%M%SZ").to_string().into_boxed_str()
        };
        Some(Self {
            subject: clean(&one_line(parsed.subject())),
            subject_fields,
            issuer: clean(&one_line(parsed.issuer())),
            sha1: digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<String>().into(),
            not_before: moment(parsed.validity().not_before.timestamp()),
            not_after: moment(parsed.validity().not_after.timestamp()),
            ends: parsed.validity().not_after.timestamp(),
        })
    }

    /// The first attribute of the subject of that name, in any case.
    pub fn subject_field(&self, name: &str) -> Option<&str> {
        let found = self.subject_fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }
}

/// Whoever signs certificates may be careless: what goes into a header has no control characters.
fn clean(text: &str) -> Box<str> {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>().into()
}
