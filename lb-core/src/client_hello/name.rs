//! The name of a server, as a client may ask for it.

use std::fmt;

/// Longest name of a host, in bytes (RFC 1035 section 2.3.4, as text without its last dot).
pub const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// A host's name: labels of letters, digits and hyphens, in lower case, without a dot at its end. Not an address: the last label
/// has something else than digits.
#[derive(Clone, Copy)]
pub struct ServerName {
    /// One more than a name has: a dot at its end is taken and then dropped.
    bytes: [u8; NAME_MAX + 1],
    len: u8,
}

impl ServerName {
    pub(super) fn empty() -> Self {
        Self { bytes: [0; NAME_MAX + 1], len: 0 }
    }

    /// Adds some of it; false: it is too long.
    pub(super) fn push(&mut self, piece: &[u8]) -> bool {
        let len = usize::from(self.len);
        let Some(room) = self.bytes[len..].get_mut(..piece.len()) else { return false };
        room.copy_from_slice(piece);
        self.len += piece.len() as u8;
        true
    }

    /// The same in its one way of writing; `None`: it is no name of a host.
    pub(super) fn finished(mut self) -> Option<Self> {
        let len = usize::from(self.len);
        self.len -= u8::from(self.bytes[..len].ends_with(b"."));
        let name = &mut self.bytes[..usize::from(self.len)];
        name.make_ascii_lowercase();
        let is_ldh = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let is_label = |label: &[u8]| {
            let edges = label.first().zip(label.last());
            label.len() <= LABEL_MAX
                && label.iter().all(is_ldh)
                && edges.is_some_and(|(first, last)| *first != b'-' && *last != b'-')
        };
        let mut labels = name.split(|byte| *byte == b'.');
        let good = name.len() <= NAME_MAX && labels.clone().all(is_label);
        let last = labels.next_back()?;
        (good && !last.iter().all(u8::is_ascii_digit)).then_some(self)
    }

    /// From what somebody wrote; `None`: it is no name of a host.
    pub fn parse(text: &str) -> Option<Self> {
        let mut name = Self::empty();
        name.push(text.as_bytes()).then_some(name)?.finished()
    }

    /// As bytes, all of which are ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl PartialEq for ServerName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ServerName {}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
