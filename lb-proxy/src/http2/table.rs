//! What fields' numbers mean (RFC 7541 sections 2.3 and 4): of each field that can be said by its number, its size and its kind.

use std::collections::VecDeque;

use h2::Reason;

use super::fields::Name;

/// The most a table may hold: we announce nothing else (RFC 7541 section 4.1).
pub(super) const TABLE_MAX: usize = 4096;

/// A field that can be meant by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// As the peer counts it.
    pub(super) size: u16,
    pub(super) name_len: u16,
    pub(super) name: Name,
    /// No message may have it.
    pub(super) flawed: bool,
    /// The library knows another name by this number, one that no peer said.
    pub(super) renamed: bool,
    /// A status that is not the last one.
    pub(super) interim: bool,
}

/// Names of the fields that everybody knows (RFC 7541 appendix A).
pub(super) const KNOWN: [&str; 61] = [
    ":authority",
    ":method",
    ":method",
    ":path",
    ":path",
    ":scheme",
    ":scheme",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    ":status",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
];

static STATIC: [Entry; KNOWN.len()] = known();

const fn known() -> [Entry; KNOWN.len()] {
    let plain = Entry { size: 0, name_len: 0, name: Name::Plain, flawed: false, renamed: false, interim: false };
    let mut known = [plain; KNOWN.len()];
    let mut n = 0;
    while n < KNOWN.len() {
        known[n].name_len = KNOWN[n].len() as u16;
        known[n].name = match n + 1 {
            1 => Name::Authority,
            2 | 3 => Name::Method,
            4 | 5 => Name::Path,
            6 | 7 => Name::Scheme,
            8..=14 => Name::Status,
            57 => Name::Connection,
            _ => Name::Plain,
        };
        n += 1;
    }
    known
}

/// The sizes and kinds of what a peer's numbers mean.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) entries: VecDeque<Entry>,
    size: usize,
    pub(super) room: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, room: TABLE_MAX }
    }
}

impl Table {
    pub(super) fn get(&self, number: usize) -> Result<Entry, Reason> {
        let place = number.checked_sub(1).ok_or(Reason::COMPRESSION_ERROR)?;
        let found = match STATIC.get(place) {
            Some(entry) => Some(entry),
            None => self.entries.get(place - STATIC.len()),
        };
        found.copied().ok_or(Reason::COMPRESSION_ERROR)
    }

    /// Forgets the oldest until there is so much room.
    pub(super) fn make_room(&mut self, size: usize) {
        while self.size + size > self.room {
            match self.entries.pop_back() {
                Some(oldest) => self.size -= usize::from(oldest.size),
                None => break,
            }
        }
    }

    /// One that is larger than all of the table leaves it empty.
    pub(super) fn add(&mut self, size: usize, entry: Entry) {
        self.make_room(size);
        if size <= self.room {
            self.size += size;
            self.entries.push_front(Entry { size: size as u16, ..entry });
        }
    }
}
