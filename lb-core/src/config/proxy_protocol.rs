//! Who may say, by a PROXY header, who its clients are. Extension.

use serde::{Deserialize, Serialize};

use crate::limits::cidr::Cidr;

/// A listener's word on PROXY headers it gets. Without one, nobody's are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyProtocol {
    /// Networks of those that are believed; what others send is not looked at for a header. Never empty.
    pub trusted: Vec<Cidr>,
    /// They must send one; otherwise they may.
    pub required: bool,
}
