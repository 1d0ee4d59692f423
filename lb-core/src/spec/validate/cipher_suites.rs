//! The list of cipher suites of a listener or a pool: OpenSSL's names or IANA's, in the order preferred.

use super::{Border, NodeId};
use crate::config::tls::{CipherSuite, TlsVersions};
use crate::spec::mistake::shown;
use crate::spec::near::nearest;
use crate::spec::types::Line;

impl Border<'_> {
    /// The suites of the list that are spoken, each once. What is known and not spoken is skipped, as long as every
    /// version has one left; lists are often Octavia's default with a name more or less. Empty without a list: all.
    pub(super) fn cipher_suites(
        &mut self,
        at: NodeId,
        written: Option<&Line>,
        versions: Option<TlsVersions>,
    ) -> Vec<CipherSuite> {
        let Some(Line(written)) = written else {
            return Vec::new();
        };
        let mut suites = Vec::new();
        let mut unknown: Vec<&str> = Vec::new();
        // OpenSSL takes any of these between two names.
        for name in written.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
            match spoken(name) {
                Some(suite) if !suites.contains(&suite) => suites.push(suite),
                Some(_) => {}
                None if is_known(name) || unknown.contains(&name) => {}
                // Looking for the name that was meant takes time: not for what nobody will read.
                None if self.findings.is_full() => break,
                None => {
                    unknown.push(name);
                    let spot = self.tree.spot_of(at, "tls_ciphers");
                    self.mistake(spot, format!("{} is no cipher suite", shown(name)), meant(name));
                }
            }
        }
        if let (true, Some(versions)) = (unknown.is_empty(), versions) {
            if versions.v1_2 {
                self.one_left(at, "TLSv1.2", &suites, |suite| !suite.is_v1_3());
            }
            if versions.v1_3 {
                self.one_left(at, "TLSv1.3", &suites, CipherSuite::is_v1_3);
            }
        }
        suites
    }

    /// Reports a version that is to be spoken and has no suite in the list.
    fn one_left(&mut self, at: NodeId, version: &str, suites: &[CipherSuite], fits: fn(CipherSuite) -> bool) {
        if suites.iter().copied().any(fits) {
            return;
        }
        let fitting = CipherSuite::ALL.into_iter().filter(|suite| fits(*suite));
        let names: Vec<String> = fitting.map(|suite| format!("`{}`", suite.openssl())).collect();
        let help = format!("add one of {}, or leave {version} out of `tls_versions`", names.join(", "));
        let message = format!("none of these suites can be spoken with {version}");
        self.mistake(self.tree.spot_of(at, "tls_ciphers"), message, help);
    }
}

fn spoken(name: &str) -> Option<CipherSuite> {
    CipherSuite::ALL.into_iter().find(|suite| suite.openssl() == name || suite.iana().0 == name)
}

fn is_known(name: &str) -> bool {
    NOT_SPOKEN.iter().any(|(openssl, iana)| *openssl == name || *iana == name)
}

fn meant(name: &str) -> String {
    let is_shorthand = name.starts_with(['!', '+', '-', '@']) || SHORTHANDS.contains(&name);
    if is_shorthand {
        return "OpenSSL's shorthands are not understood: name each suite".to_owned();
    }
    let names = CipherSuite::ALL.into_iter().flat_map(|suite| [suite.openssl(), suite.iana().0]);
    match nearest(name, names.chain(NOT_SPOKEN.iter().flat_map(|(openssl, iana)| [*openssl, *iana]))) {
        Some(near) if is_known(near) => format!("{} is known, but not spoken: leave it out", shown(near)),
        Some(near) => format!("did you mean {}?", shown(near)),
        None => {
            let names: Vec<&str> = CipherSuite::ALL.into_iter().map(CipherSuite::openssl).collect();
            format!("there are: {}", names.join(", "))
        }
    }
}

/// OpenSSL's words for many suites at once (`openssl-ciphers`), as far as they are usual.
const SHORTHANDS: [&str; 12] = [
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "MEDIUM",
    "LOW",
    "ECDHE",
    "EECDH",
    "AESGCM",
    "CHACHA20",
    "PROFILE=SYSTEM",
];

/// Suites with certificates that OpenSSL knows and nobody here speaks, by its names and IANA's: CBC, 3DES and RC4 (broken),
/// RSA key exchange (no forward secrecy), DHE (slow, and often with weak groups), CCM, ARIA and CAMELLIA (hardly used).
/// Those without encryption or without a certificate are not in it: who lists one is told.
#[rustfmt::skip]
const NOT_SPOKEN: [(&str, &str); 63] = [
    ("AES128-CCM", "TLS_RSA_WITH_AES_128_CCM"),
    ("AES128-CCM8", "TLS_RSA_WITH_AES_128_CCM_8"),
    ("AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    ("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ("AES128-SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    ("AES256-CCM", "TLS_RSA_WITH_AES_256_CCM"),
    ("AES256-CCM8", "TLS_RSA_WITH_AES_256_CCM_8"),
    ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    ("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"),
    ("AES256-SHA256", "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    ("ARIA128-GCM-SHA256", "TLS_RSA_WITH_ARIA_128_GCM_SHA256"),
    ("ARIA256-GCM-SHA384", "TLS_RSA_WITH_ARIA_256_GCM_SHA384"),
    ("CAMELLIA128-SHA", "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    ("CAMELLIA128-SHA256", "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    ("CAMELLIA256-SHA", "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    ("CAMELLIA256-SHA256", "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    ("DHE-RSA-AES128-CCM", "TLS_DHE_RSA_WITH_AES_128_CCM"),
    ("DHE-RSA-AES128-CCM8", "TLS_DHE_RSA_WITH_AES_128_CCM_8"),
    ("DHE-RSA-AES128-GCM-SHA256", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("DHE-RSA-AES128-SHA", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    ("DHE-RSA-AES128-SHA256", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    ("DHE-RSA-AES256-CCM", "TLS_DHE_RSA_WITH_AES_256_CCM"),
    ("DHE-RSA-AES256-CCM8", "TLS_DHE_RSA_WITH_AES_256_CCM_8"),
    ("DHE-RSA-AES256-GCM-SHA384", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("DHE-RSA-AES256-SHA", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    ("DHE-RSA-AES256-SHA256", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    ("DHE-RSA-ARIA128-GCM-SHA256", "TLS_DHE_RSA_WITH_ARIA_128_GCM_SHA256"),
    ("DHE-RSA-ARIA256-GCM-SHA384", "TLS_DHE_RSA_WITH_ARIA_256_GCM_SHA384"),
    ("DHE-RSA-CAMELLIA128-SHA", "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    ("DHE-RSA-CAMELLIA128-SHA256", "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    ("DHE-RSA-CAMELLIA256-SHA", "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    ("DHE-RSA-CAMELLIA256-SHA256", "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256"),
    ("DHE-RSA-CHACHA20-POLY1305", "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-ARIA128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_ARIA_128_GCM_SHA256"),
    ("ECDHE-ARIA256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384"),
    ("ECDHE-ECDSA-AES128-CCM", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    ("ECDHE-ECDSA-AES128-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    ("ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    ("ECDHE-ECDSA-AES128-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    ("ECDHE-ECDSA-AES256-CCM", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    ("ECDHE-ECDSA-AES256-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    ("ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    ("ECDHE-ECDSA-AES256-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    ("ECDHE-ECDSA-ARIA128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256"),
    ("ECDHE-ECDSA-ARIA256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CAMELLIA128-SHA256", "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256"),
    ("ECDHE-ECDSA-CAMELLIA256-SHA384", "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384"),
    ("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ("ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    ("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    ("ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    ("ECDHE-RSA-CAMELLIA128-SHA256", "TLS_ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256"),
    ("ECDHE-RSA-CAMELLIA256-SHA384", "TLS_ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384"),
    ("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_SHA256"),
    ("TLS_AES_128_CCM_8_SHA256", "TLS_AES_128_CCM_8_SHA256"),
    ("ECDHE-RSA-DES-CBC3-SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    ("ECDHE-ECDSA-DES-CBC3-SHA", "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    ("DHE-RSA-DES-CBC3-SHA", "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    ("EDH-RSA-DES-CBC3-SHA", "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    ("DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    ("ECDHE-RSA-RC4-SHA", "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    ("ECDHE-ECDSA-RC4-SHA", "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    ("RC4-SHA", "TLS_RSA_WITH_RC4_128_SHA"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_both_spoken_and_not() {
        for (place, (openssl, iana)) in NOT_SPOKEN.into_iter().enumerate() {
            assert_eq!((spoken(openssl), spoken(iana)), (None, None), "{openssl}");
            assert!(NOT_SPOKEN[..place].iter().all(|(other, _)| *other != openssl), "{openssl} is there twice");
            assert!(iana.starts_with("TLS_") && is_known(openssl) && is_known(iana), "{iana}");
        }
    }
}
