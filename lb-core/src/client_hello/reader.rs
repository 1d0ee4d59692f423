//! Reading a handshake message out of the records it came in, wherever they cut it.

use super::{Nameless, ServerName};

const HANDSHAKE: u8 = 22;
/// Of every version of TLS, in the heads of records.
const MAJOR_VERSION: u8 = 3;
const HEAD_LEN: usize = 5;
/// Most bytes of one record.
const RECORD_MAX: usize = 1 << 14;

/// Why reading ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There are no more bytes.
    Over,
    /// What is there cannot be read.
    Fault(Nameless),
}

/// Where a message is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    /// What is to come, heads of records included.
    bytes: &'b [u8],
    /// Of it, what belongs to the record that has begun.
    record: usize,
    /// Bytes of the message that are to come.
    left: usize,
    /// A record was opened.
    begun: bool,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, record: 0, left: usize::MAX, begun: false }
    }

    /// The message ends after `len` more bytes.
    pub(super) fn ends_in(&mut self, len: usize) {
        self.left = len;
    }

    /// Bytes of the message that are to come.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The message is malformed unless `good`.
    pub(super) fn holds(&self, good: bool) -> Result<(), Stop> {
        if good { Ok(()) } else { Err(Stop::Fault(Nameless::Broken)) }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        // A piece is never empty.
        self.piece(1).map(|piece| piece.first().copied().unwrap_or_default())
    }

    /// A number of `len` bytes, at most 3.
    pub(super) fn number(&mut self, len: usize) -> Result<usize, Stop> {
        (0..len).try_fold(0, |number, _| Ok(number << 8 | usize::from(self.byte()?)))
    }

    pub(super) fn skip(&mut self, len: usize) -> Result<(), Stop> {
        self.each_piece(len, |_| ())
    }

    /// The host of that name; `None`: it is no name of a host.
    pub(super) fn name(&mut self, len: usize) -> Result<Option<ServerName>, Stop> {
        let mut name = ServerName::empty();
        let mut fits = true;
        self.each_piece(len, |piece| fits = fits && name.push(piece))?;
        Ok(name.finished().filter(|_| fits))
    }

    fn each_piece(&mut self, mut len: usize, mut take: impl FnMut(&'b [u8])) -> Result<(), Stop> {
        self.holds(len <= self.left)?;
        while len > 0 {
            let piece = self.piece(len)?;
            take(piece);
            len -= piece.len();
        }
        Ok(())
    }

    /// What is there of the next `most` bytes, without a cut: one byte at least.
    fn piece(&mut self, most: usize) -> Result<&'b [u8], Stop> {
        self.holds(self.left > 0)?;
        if self.record == 0 {
            self.open()?;
        }
        let len = most.min(self.record).min(self.left).min(self.bytes.len());
        if len == 0 {
            return Err(Stop::Over);
        }
        let (piece, rest) = self.bytes.split_at(len);
        (self.bytes, self.record, self.left) = (rest, self.record - len, self.left - len);
        Ok(piece)
    }

    /// Reads the head of a record. What is there of it is judged before the rest is waited for.
    fn open(&mut self) -> Result<(), Stop> {
        let fault = Stop::Fault(if self.begun { Nameless::Broken } else { Nameless::NotTls });
        let at = |place: usize| self.bytes.get(place).copied();
        if at(0).is_some_and(|kind| kind != HANDSHAKE) || at(1).is_some_and(|major| major != MAJOR_VERSION) {
            return Err(fault);
        }
        if at(3).is_some_and(|high| usize::from(high) << 8 > RECORD_MAX) {
            return Err(fault);
        }
        let Some((head, rest)) = self.bytes.split_at_checked(HEAD_LEN) else { return Err(Stop::Over) };
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if len == 0 || len > RECORD_MAX {
            return Err(fault);
        }
        (self.bytes, self.record, self.begun) = (rest, len, true);
        Ok(())
    }
}
