//! Authorities of a test's own, and certificates of theirs: good ones, and ones with a fault each.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

pub use rcgen::DnType;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use crate::place::Place;
use crate::tools::run;

/// Somebody who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    serials: RefCell<u64>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    serial: u64,
}

impl Signed {
    /// Both in one text, as a document wants them.
    pub fn bundle(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }

    /// Writes both into one file and tells where.
    pub fn write(&self, place: &Place, name: &str) -> PathBuf {
        place.write(name, self.bundle())
    }
}

/// When a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// Now, and for years.
    Good,
    /// It ended in 2020.
    Expired,
    /// It begins in 2090.
    NotYet,
    /// It ends in so many seconds.
    Seconds(u64),
}

impl Term {
    /// Its two ends.
    fn ends(self) -> (SystemTime, SystemTime) {
        let day = |year, month, day| SystemTime::from(date_time_ymd(year, month, day));
        match self {
            Self::Good => (day(2020, 1, 2), day(2080, 3, 4)),
            Self::Expired => (day(2019, 1, 2), day(2020, 3, 4)),
            #[expect(clippy::disallowed_methods, reason = "certificates begin and end at moments of the calendar")]
            Self::Seconds(left) => (day(2020, 1, 2), SystemTime::now() + Duration::from_secs(left)),
            Self::NotYet => (day(2090, 1, 2), day(2091, 3, 4)),
        }
    }
}

/// What a certificate is for.
pub struct Wish<'a> {
    /// Names and addresses; the first is its common name.
    pub names: &'a [&'a str],
    /// When it is good.
    pub term: Term,
    /// Its key is RSA with 2048 bits, made by `openssl`; else ECDSA on P-256.
    pub rsa: bool,
    /// Who it is for, beside its common name.
    pub subject: Vec<(DnType, &'a str)>,
}

impl<'a> Wish<'a> {
    /// A good one for `names`.
    pub fn of(names: &'a [&'a str]) -> Self {
        Self { names, term: Term::Good, rsa: false, subject: vec![(DnType::OrganizationName, "weir")] }
    }
}

impl Authority {
    /// One called `name`.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "weir tests");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem, serials: RefCell::new(1) }
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes its own certificate and tells where.
    pub fn write(&self, place: &Place, name: &str) -> PathBuf {
        place.write(name, &self.pem)
    }

    /// A good certificate for `names`.
    pub fn sign(&self, names: &[&str]) -> Signed {
        self.sign_as(&Wish::of(names))
    }

    /// A certificate as wished.
    pub fn sign_as(&self, wish: &Wish<'_>) -> Signed {
        let key = if wish.rsa {
            let words = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
            KeyPair::from_pem(&run(Command::new("openssl").args(words))).unwrap()
        } else {
            KeyPair::generate().unwrap()
        };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let alternative = |name: &&str| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        };
        params.subject_alt_names = wish.names.iter().map(alternative).collect();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in &wish.subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.distinguished_name.push(DnType::CommonName, *wish.names.first().unwrap_or(&"nobody"));
        let (begin, end) = wish.term.ends();
        (params.not_before, params.not_after) = (begin.into(), end.into());
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let serial = self.serials.replace_with(|last| *last + 1) + 1;
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem(), serial }
    }

    /// A good list that revokes these, PEM.
    pub fn revoke(&self, these: &[&Signed]) -> String {
        self.revoke_for(these, Term::Good)
    }

    /// A list that revokes these and is good for that long, PEM.
    pub fn revoke_for(&self, these: &[&Signed], term: Term) -> String {
        let (begin, end) = term.ends();
        let revoked = |signed: &&Signed| RevokedCertParams {
            serial_number: SerialNumber::from(signed.serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: begin.into(),
            next_update: end.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: these.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
