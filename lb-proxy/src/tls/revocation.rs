//! Lists of revoked certificates: who made them, and until when they speak. Past its end a list says nothing any more,
//! so whoever would have to be looked up in it is refused, as by HAProxy (OpenSSL's error 12).

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::certificate::{BadFile, Wrong, one_line};

/// One list, without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Where it was read from.
    pub path: PathBuf,
    /// Who made it, as `/O=.../CN=...`.
    pub issuer: String,
    /// When it was made, in seconds since 1970.
    pub issued: i64,
    /// Until when the next one was promised, in seconds since 1970: it ends then.
    pub ends: i64,
    /// SHA-256 of it.
    digest: Vec<u8>,
}

/// The lists of a PEM text, for the library and for us.
pub type Lists = (Vec<CertificateRevocationListDer<'static>>, Vec<RevocationList>);

/// Reads a PEM text.
pub fn lists(path: &Path, text: &[u8]) -> Result<Lists, BadFile> {
    let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    let all = read.map_err(|error| Wrong::NotPem(error.to_string()).of(path))?;
    if all.is_empty() {
        return Err(Wrong::NoRevocationList.of(path));
    }
    let known: Result<Vec<_>, _> = all.iter().map(|list| RevocationList::of(path, list)).collect();
    Ok((all, known.map_err(|wrong| wrong.of(path))?))
}

impl RevocationList {
    fn of(path: &Path, list: &[u8]) -> Result<Self, Wrong> {
        let (_, parsed) =
            CertificateRevocationList::from_der(list).map_err(|error| Wrong::BadRevocationList(error.to_string()))?;
        if parsed.extensions().is_empty() {
            let why = "it has neither an authority's key nor a number, so it is of version 1; version 2 is asked for (RFC 5280 \
                       section 5.1.2.1; `openssl ca -gencrl` with `crl_extensions` and `crlnumber` set)";
            return Err(Wrong::BadRevocationList(why.to_owned()));
        }
        let ends =
            parsed.next_update().ok_or_else(|| Wrong::BadRevocationList("it names no next update".to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            issuer: one_line(parsed.issuer()),
            issued: parsed.last_update().timestamp(),
            ends: ends.timestamp(),
            digest: digest::digest(&digest::SHA256, list).as_ref().to_vec(),
        })
    }

    /// True if it says nothing any more at `now` (seconds since 1970).
    pub fn has_ended(&self, now: i64) -> bool {
        self.ends <= now
    }
}

/// Refuses a list among `fresh` that is not in force and has ended at `now` (seconds since 1970).
pub fn still_good(fresh: &[RevocationList], in_force: &[RevocationList], now: i64) -> Result<(), BadFile> {
    let bad = fresh.iter().find(|list| list.has_ended(now) && !in_force.contains(list));
    bad.map_or(Ok(()), |list| {
        let when = jiff::Timestamp::from_second(list.ends).map_or_else(|_| String::new(), |at| at.to_string());
        Err(Wrong::EndedRevocationList(when).of(&list.path))
    })
}
