//! Who is believed, compiled.

use std::net::IpAddr;

use crate::config::proxy_protocol::ProxyProtocol;
use crate::limits::cidr::CidrSet;

/// Those who may send a header to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Senders {
    trusted: CidrSet,
    /// They must.
    pub required: bool,
}

impl Senders {
    /// Compiles what a document says.
    pub fn new(config: &ProxyProtocol) -> Self {
        Self { trusted: CidrSet::new(&config.trusted), required: config.required }
    }

    /// True if whoever connects from `address` is to be listened to.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.contains(address)
    }
}
