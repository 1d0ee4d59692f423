//! Which certificate a client gets: by the name it asks for, and by what it can verify.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, SignatureScheme};

use super::certificate::Certificate;

thread_local! {
    /// The name in the greeting that this thread's last resolution was for. The library tells its resolver, and nobody
    /// else.
    static ASKED_FOR: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name the client of the last handshake step on this thread asked for.
pub fn take_asked_for() -> Option<Box<str>> {
    ASKED_FOR.take()
}

/// See the module.
#[derive(Debug)]
pub struct Names {
    default: Vec<Arc<CertifiedKey>>,
    /// Several for a name: of different key types.
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows the first label.
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    strict: bool,
}

impl Names {
    /// `default` is for those who name nobody, and unless `strict` for those who name somebody unknown. Of two
    /// certificates for one name that a client can both verify, the earlier is shown.
    pub fn new(default: &Certificate, others: &[Certificate], strict: bool) -> Self {
        let mut names =
            Self { default: vec![Arc::clone(&default.key)], exact: HashMap::new(), wildcard: HashMap::new(), strict };
        for certificate in std::iter::once(default).chain(others) {
            for name in &certificate.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut names.wildcard, rest),
                    None => (&mut names.exact, &**name),
                };
                table.entry(name.into()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        // Another key type for the same names may stand in for the default one.
        let also: Vec<_> = others.iter().filter(|c| c.names == default.names).map(|c| Arc::clone(&c.key)).collect();
        names.default.extend(also);
        names
    }

    fn for_name(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.default };
        if let Some(keys) = self.exact.get(name) {
            return keys;
        }
        // A wildcard stands for one label (RFC 6125 section 6.4.3).
        let wildcard = name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        match wildcard {
            Some(keys) => keys,
            None if self.strict => &[],
            None => &self.default,
        }
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let keys = self.for_name(asked.as_deref());
        let schemes = hello.signature_schemes();
        let scheme = |key: &Arc<CertifiedKey>| Some(key.key.choose_scheme(schemes)?.scheme());
        let usable = keys.iter().find(|key| scheme(key).is_some_and(|scheme| knows_curve(&hello, scheme)));
        let usable = usable.or_else(|| keys.iter().find(|key| scheme(key).is_some())).or(keys.first());
        ASKED_FOR.set(asked.map(Into::into));
        usable.map(Arc::clone)
    }
}

/// True if a client can verify a key of the curve that `scheme` is for. In TLS 1.2 its groups say so (RFC 8422 section 5.1.1),
/// in TLS 1.3 its schemes alone.
fn knows_curve(hello: &ClientHello<'_>, scheme: SignatureScheme) -> bool {
    let curve = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => NamedGroup::secp256r1,
        SignatureScheme::ECDSA_NISTP384_SHA384 => NamedGroup::secp384r1,
        SignatureScheme::ECDSA_NISTP521_SHA512 => NamedGroup::secp521r1,
        _ => return true,
    };
    let speaks_1_3 = hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13);
    speaks_1_3 || hello.named_groups().is_none_or(|groups| groups.contains(&curve))
}
