//! Words about TLS, as written. The keys that hold them stand flat in a listener and in a pool, as Octavia has them.

use schemars::JsonSchema;
use serde::Deserialize;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(in crate::spec) enum TlsVersion {
    /// Known, and not spoken: broken.
    #[serde(rename = "SSLv3")]
    Ssl3,
    /// TLS 1.0. Known, and not spoken.
    #[serde(rename = "TLSv1")]
    V1_0,
    /// Known, and not spoken.
    #[serde(rename = "TLSv1.1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "TLSv1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSv1.3")]
    V1_3,
}

/// A protocol offered inside the handshake (ALPN).
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(in crate::spec) enum AlpnProtocol {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
    /// HTTP/1.0.
    #[serde(rename = "http/1.0")]
    Http10,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::spec) enum ClientAuthentication {
    /// They are not asked.
    None,
    /// They are asked; who shows one must show a good one.
    Optional,
    /// Without a good one there is no connection.
    Mandatory,
}

impl ClientAuthentication {
    /// As it is written.
    pub(in crate::spec) fn word(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Optional => "OPTIONAL",
            Self::Mandatory => "MANDATORY",
        }
    }
}
